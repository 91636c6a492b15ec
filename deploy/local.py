"""Run the service on this machine: behind `make run`, `make show` and `make flask`.

With S3_BUCKET set this steps aside for gunicorn. Without, it brings an S3 of its own (moto's
server, in memory), there before the service and gone after it. It knows the service by its command
line, its environment and its HTTP contract, and imports none of it.
"""

import contextlib
import http.client
import logging
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).resolve().parent.parent
LOOPBACK = "127.0.0.1"
BUCKET = "bucket-brigade"
DEFAULT_S3_PORT = "9000"
# The script, not `-m`: SIGUSR2 starts the same command again, and as a module it would not start.
GUNICORN = [
    str(Path(sys.executable).with_name("gunicorn")), "-c", "gunicorn.conf.py", "wsgi:app",
]  # fmt: skip
FLASK = [sys.executable, "-m", "flask", "--app", "wsgi"]
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
# moto takes a second or two to import; a slow disk takes longer.
S3_START_SECONDS = 60.0
READY_POLL_SECONDS = 0.2


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Do what the command line says and return the exit code. `s3 FD` is this module's own call."""
    os.chdir(ROOT)
    match arguments:
        case []:
            return run(environ)
        case ["flask", *rest]:
            return flask(environ, rest)
        case ["s3", descriptor]:
            return hold_s3(int(descriptor))
        case _:
            sys.exit("usage: local.py [flask COMMAND ...]")


def run(environ: Mapping[str, str]) -> int:
    """Serve until told to stop and return gunicorn's exit code; with a real bucket, be gunicorn."""
    if has_bucket(environ):
        os.execve(GUNICORN[0], GUNICORN, dict(environ))
    environment = local_environment(environ)
    environment["PORT"] = str(free_port(int(environment["PORT"])))
    # From here on a signal is a note in a queue: it cuts nothing short and orphans no child.
    notes = note_signals()
    with s3_listener(int(environment["S3_PORT"])) as listener:
        environment = at_s3_port(environment, listener.getsockname()[1])
        with embedded_s3(listener) as (s3, lifeline):
            made = ask("PUT", f"/{BUCKET}", port=environment["S3_PORT"], seconds=S3_START_SECONDS)
            if made != http.client.OK:
                sys.exit("local.py: the embedded S3 did not start")
            return serve(environment, s3=s3, lifeline=lifeline, notes=notes)


def flask(environ: Mapping[str, str], arguments: Sequence[str]) -> int:
    """Become the `flask` command of the service that `run` runs; returns only if it cannot."""
    command = [*FLASK, *arguments]
    if has_bucket(environ):
        os.execve(command[0], command, dict(environ))
    environment = local_environment(environ)
    if ask("HEAD", f"/{BUCKET}", port=environment["S3_PORT"], seconds=5) != http.client.OK:
        where = environment["AWS_ENDPOINT_URL_S3"]
        sys.exit(f"local.py: no embedded S3 at {where}: is `make run` up? It says which S3_PORT.")
    os.execve(command[0], command, environment)


def has_bucket(environ: Mapping[str, str]) -> bool:
    """Tell whether the environment names a bucket; `S3_BUCKET=` names none."""
    return bool(environ.get("S3_BUCKET", "").strip())


def local_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a service whose S3 is the embedded one.

    Nothing of a real AWS account, and no proxy, comes near it: only what is set here.

    Raises:
        SystemExit: PORT or S3_PORT is no port.
    """
    mine = {
        name: value
        for name, value in environ.items()
        if value.strip() and not name.startswith("AWS_") and name.lower() != "http_proxy"
    }
    environment = {
        "PORT": "8080",
        "S3_PORT": DEFAULT_S3_PORT,
        # A person is waiting to see an object.
        "OBJECT_MAX_AGE_SECONDS": "1",
        "SPOOL_DIR": "spool",
        **mine,
        "S3_BUCKET": BUCKET,
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_REGION": "us-east-1",
        # boto3 asks for the region under this name.
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }
    for name in ("PORT", "S3_PORT"):
        if not (environment[name].isdecimal() and int(environment[name]) < 1 << 16):
            sys.exit(f"local.py: {name} is not a port: {environment[name]}")
    return at_s3_port(environment, int(environment["S3_PORT"]))


def at_s3_port(environment: Mapping[str, str], port: int) -> dict[str, str]:
    """Return the environment with the embedded S3 at that port."""
    endpoint = f"http://{LOOPBACK}:{port}"
    return {**environment, "S3_PORT": str(port), "AWS_ENDPOINT_URL_S3": endpoint}


def note_signals() -> "queue.SimpleQueue[int]":
    """Return a queue that from now on gets the number of every stop signal and child's end."""
    notes: queue.SimpleQueue[int] = queue.SimpleQueue()

    def note(number: int, _: FrameType | None) -> None:
        notes.put(number)

    for number in (*STOPS, signal.SIGCHLD):
        signal.signal(number, note)
    return notes


def free_port(port: int) -> int:
    """Return `port` if nobody listens there on loopback, any free one for 0.

    Raises:
        SystemExit: the port is taken, or not ours to have.
    """
    try:
        with listen(port) as probe:
            return int(probe.getsockname()[1])
    except OSError as error:
        sys.exit(f"local.py: PORT={port}: {reason(error)}. Another one: make run PORT=8081")


def listen(port: int) -> socket.socket:
    """Return a socket that listens on loopback; port 0 is any free one.

    Raises:
        OSError: the port is taken, or not ours to have.
    """
    return socket.create_server((LOOPBACK, port), backlog=128)


def s3_listener(port: int) -> socket.socket:
    """Return a socket that listens at `port`, or else at a free one, and say so."""
    try:
        return listen(port)
    except OSError as error:
        listener = listen(0)
        print(f"S3_PORT={port}: {reason(error)}; taking {listener.getsockname()[1]}", flush=True)
        return listener


def reason(error: OSError) -> str:
    """Return the system's own words; `create_server` adds ours to them."""
    return os.strerror(error.errno or 0)


@contextlib.contextmanager
def embedded_s3(listener: socket.socket) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Start the embedded S3; yield its process and its lifeline; at the end wait for it to go.

    The lifeline is a descriptor: S3 lives while any process holds it. It has a session of its own,
    or the terminal's Ctrl-C would end it before the service has stored what it holds.
    """
    watched, lifeline = os.pipe()
    s3 = subprocess.Popen(
        [sys.executable, __file__, "s3", str(listener.fileno())],
        stdin=watched,
        pass_fds=[listener.fileno()],
        start_new_session=True,
    )
    os.close(watched)
    # Were it open here too, requests to an S3 that died would wait for ever.
    listener.close()
    try:
        yield s3, lifeline
    finally:
        os.close(lifeline)
        s3.wait()


def hold_s3(descriptor: int) -> int:
    """Serve S3 out of memory on a listening socket until standard input ends."""
    # Only this child needs moto, which is slow to import and no part of the service.
    from moto.moto_server.werkzeug_app import (  # noqa: PLC0415
        DomainDispatcherApplication,
        MotoRequestHandler,
        create_backend_app,
    )
    from werkzeug.serving import make_server  # noqa: PLC0415

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    application = DomainDispatcherApplication(create_backend_app)
    server = make_server(
        LOOPBACK, 0, application, threaded=True, request_handler=MotoRequestHandler, fd=descriptor
    )
    threading.Thread(target=server.serve_forever, name="embedded-s3", daemon=True).start()
    sys.stdin.buffer.read()
    return 0


def serve(
    environment: Mapping[str, str],
    *,
    s3: subprocess.Popen[bytes],
    lifeline: int,
    notes: "queue.SimpleQueue[int]",
) -> int:
    """Run gunicorn until it ends, by our signal or by itself; return its exit code.

    It has a session of its own, so that a Ctrl-C reaches it as one SIGTERM and no second one does.
    """
    bind = f"{LOOPBACK}:{environment['PORT']}"
    gunicorn = subprocess.Popen(
        [*GUNICORN, "--bind", bind], env=environment, pass_fds=[lifeline], start_new_session=True
    )
    try:
        stopping = attend(gunicorn, environment=environment, s3=s3, notes=notes)
    finally:
        # Also where our own output is gone, a closed terminal's say. No-op for what has ended.
        gunicorn.terminate()
        code = exit_code(gunicorn.wait())
    if not stopping:
        print(f"local.py: gunicorn ended by itself, exit code {code}", file=sys.stderr)
    return code


def attend(
    gunicorn: subprocess.Popen[bytes],
    *,
    environment: Mapping[str, str],
    s3: subprocess.Popen[bytes],
    notes: "queue.SimpleQueue[int]",
) -> bool:
    """Greet when gunicorn is ready, pass a stop on, once; say at its end if it was told to stop."""
    ready = stopping = False
    while gunicorn.poll() is None:
        number = next_note(notes, seconds=None if ready or stopping else READY_POLL_SECONDS)
        if number is None:
            ready = ask("GET", "/readyz", port=environment["PORT"], seconds=1) == http.client.OK
            if ready:
                print(greeting(environment), flush=True)
        elif number in STOPS and stopping:
            print("Still stopping: the service stores what it holds.", flush=True)
        elif number in STOPS or (s3.poll() is not None and not stopping):
            stopping = True
            gunicorn.terminate()
            why = "" if number in STOPS else "The embedded S3 is gone. "
            print(f"{why}Stopping: the service first, then S3.", flush=True)
    return stopping


def next_note(notes: "queue.SimpleQueue[int]", *, seconds: float | None) -> int | None:
    """Return the next signal's number, None after that many seconds without; None blocks."""
    try:
        return notes.get(timeout=seconds)
    except queue.Empty:
        return None


def exit_code(returncode: int) -> int:
    """Return a child's exit code as a shell counts it: 128 and the signal that killed it."""
    return returncode if returncode >= 0 else 128 - returncode


def ask(method: str, path: str, *, port: str, seconds: float) -> int:
    """Return the HTTP status of a request on loopback, 0 if none came; blocks for `seconds`."""
    connection = http.client.HTTPConnection(LOOPBACK, int(port), timeout=seconds)
    try:
        connection.request(method, path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def greeting(environment: Mapping[str, str]) -> str:
    """Say in five lines what runs where, what to paste, and how to look."""
    base_url, s3_port = f"http://{LOOPBACK}:{environment['PORT']}", environment["S3_PORT"]
    show = "make show" if s3_port == DEFAULT_S3_PORT else f"make show S3_PORT={s3_port}"
    json = "-H 'Content-Type: application/json'"
    return f"""\
Bucket Brigade is at {base_url}, its spool in {ROOT / environment["SPOOL_DIR"]}
S3 is at http://{LOOPBACK}:{s3_port}, bucket {BUCKET}, in memory: all gone when it stops
Post:  curl {base_url}/payloads {json} -d '{{"payloads": [{{"hello": "world"}}]}}'
Look:  {show}  (in another terminal, a second later)
Stop:  Ctrl-C stops both: the service stores what it holds, then S3 goes"""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
