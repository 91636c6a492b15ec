"""Run the service on this machine: behind `make run`, `make show` and `make flask`.

With S3_BUCKET set this only executes gunicorn. Without it, it starts an embedded S3
(`deploy/embedded_s3.py`) before the service and stops it after the service. It knows the service by
its command line, its environment and its HTTP contract, and imports none of it.
"""

import contextlib
import http.client
import os
import queue
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EMBEDDED_S3 = ROOT / "deploy" / "embedded_s3.py"
LOOPBACK = "127.0.0.1"
BUCKET = "bucket-brigade"
DEFAULT_S3_PORT = "9000"
DEFAULT_SPOOL_DIR = "spool"
# The script, not `-m`: SIGUSR2 executes the same command again, which fails for a module.
GUNICORN = [
    str(Path(sys.executable).with_name("gunicorn")), "-c", "gunicorn.conf.py", "wsgi:app",
]  # fmt: skip
FLASK = [sys.executable, "-m", "flask", "--app", "wsgi"]
ASK_S3 = (["check"], ["objects"], ["receipt"])  # The others work while `make run` is down.
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
S3_START_SECONDS = 60.0  # moto takes a second or two to import; a slow disk takes longer.
READY_POLL_SECONDS = 0.2


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run the command line and return the exit code."""
    os.chdir(ROOT)
    match arguments:
        case []:
            return run(environ)
        case ["flask", *rest]:
            return flask(environ, rest)
        case _:
            sys.exit("usage: local.py [flask COMMAND ...]")


def run(environ: Mapping[str, str]) -> int:
    """Serve until a stop signal and return the exit code; with a real bucket, execute gunicorn."""
    if has_bucket(environ):
        os.execve(GUNICORN[0], GUNICORN, dict(environ))
    environment = local_environment(environ)
    environment["PORT"] = str(free_port(int(environment["PORT"])))
    # From here on a signal only goes into a queue, so none can leave a child behind.
    signals = queue_signals()
    with s3_listener(int(environment["S3_PORT"])) as listener:
        environment = at_s3_port(environment, listener.getsockname()[1])
        with embedded_s3(listener) as (s3, pipe):
            status = ask("PUT", f"/{BUCKET}", port=environment["S3_PORT"], seconds=S3_START_SECONDS)
            if status != http.client.OK:
                sys.exit("local.py: the embedded S3 did not start")
            return serve(environment, s3=s3, pipe=pipe, signals=signals)


def flask(environ: Mapping[str, str], arguments: Sequence[str]) -> int:
    """Execute a `flask` command with the environment that `run` gives the service."""
    environment = dict(environ)
    if not has_bucket(environ):
        environment = local_environment(environ)
        status = ask("HEAD", f"/{BUCKET}", port=environment["S3_PORT"], seconds=5)
        asks = arguments[:1] in ASK_S3 and "--help" not in arguments
        if asks and status != http.client.OK:
            sys.exit(
                f"local.py: no embedded S3 answers at {environment['AWS_ENDPOINT_URL_S3']}: is "
                "`make run` up (it prints S3_PORT), and its S3 not off (`make s3-on`)?"
            )
    os.execve(FLASK[0], [*FLASK, *arguments], environment)


def has_bucket(environ: Mapping[str, str]) -> bool:
    """Tell whether the environment names a bucket; `S3_BUCKET=` names none."""
    return bool(environ.get("S3_BUCKET", "").strip())


def local_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a service that uses the embedded S3.

    AWS variables, files and an HTTP proxy of the caller's are left out.

    Raises:
        SystemExit: PORT or S3_PORT is not a port number.
    """
    kept = {
        name: value
        for name, value in environ.items()
        if value.strip() and not name.startswith("AWS_") and name.lower() != "http_proxy"
    }
    environment = {
        "PORT": "8080",
        "S3_PORT": DEFAULT_S3_PORT,
        # A person waits to see the first object.
        "OBJECT_MAX_AGE_SECONDS": "1",
        "SPOOL_DIR": DEFAULT_SPOOL_DIR,
        **kept,
        "S3_BUCKET": BUCKET,
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_REGION": "us-east-1",
        # The name that boto3 reads.
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }
    for name in ("PORT", "S3_PORT"):
        if not (environment[name].isdecimal() and int(environment[name]) < 1 << 16):
            sys.exit(f"local.py: {name} is not a port number: {environment[name]}")
    return at_s3_port(environment, int(environment["S3_PORT"]))


def at_s3_port(environment: Mapping[str, str], port: int) -> dict[str, str]:
    """Return the environment with the embedded S3 at that port."""
    endpoint = f"http://{LOOPBACK}:{port}"
    return {**environment, "S3_PORT": str(port), "AWS_ENDPOINT_URL_S3": endpoint}


def queue_signals() -> "queue.SimpleQueue[int]":
    """Return a queue that gets the number of every stop signal and SIGCHLD from now on."""
    signals: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in (*STOPS, signal.SIGCHLD):
        signal.signal(number, lambda received, _: signals.put(received))
    return signals


def free_port(port: int) -> int:
    """Return `port` if it is free on loopback, or any free port for 0; exit if it is not free."""
    try:
        with listen(port) as probe:
            return int(probe.getsockname()[1])
    except OSError as error:
        sys.exit(f"local.py: PORT={port}: {reason(error)}. Another one: make run PORT=8081")


def listen(port: int) -> socket.socket:
    """Return a socket that listens on loopback; port 0 is any free one."""
    return socket.create_server((LOOPBACK, port), backlog=128)


def s3_listener(port: int) -> socket.socket:
    """Return a socket that listens at `port`; if that is taken, print so and use a free one."""
    try:
        return listen(port)
    except OSError as error:
        listener = listen(0)
        print(f"S3_PORT={port}: {reason(error)}; using {listener.getsockname()[1]}", flush=True)
        return listener


def reason(error: OSError) -> str:
    """Return the operating system's message without what `create_server` adds to it."""
    return os.strerror(error.errno or 0)


@contextlib.contextmanager
def embedded_s3(listener: socket.socket) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Start the embedded S3; yield its process and a pipe; at the end close that and wait.

    S3 ends when no process has the pipe open. It runs in its own session: otherwise Ctrl-C in the
    terminal would end it before the service has uploaded its last segments.
    """
    end_of_input, pipe = os.pipe()
    s3 = subprocess.Popen(
        [sys.executable, str(EMBEDDED_S3), "serve", str(listener.fileno())],
        stdin=end_of_input,
        pass_fds=[listener.fileno()],
        start_new_session=True,
    )
    os.close(end_of_input)
    # While it is open here, connections to an S3 that has ended would hang instead of fail.
    listener.close()
    try:
        yield s3, pipe
    finally:
        os.close(pipe)
        s3.wait()


def serve(
    environment: Mapping[str, str],
    *,
    s3: subprocess.Popen[bytes],
    pipe: int,
    signals: "queue.SimpleQueue[int]",
) -> int:
    """Run gunicorn until it ends; return its exit code.

    It runs in its own session, so that it gets one SIGTERM for any number of Ctrl-Cs.
    """
    bind = f"{LOOPBACK}:{environment['PORT']}"
    gunicorn = subprocess.Popen(
        [*GUNICORN, "--bind", bind], env=environment, pass_fds=[pipe], start_new_session=True
    )
    try:
        stopping = supervise(gunicorn, environment=environment, s3=s3, signals=signals)
    finally:
        # Also after an error of ours, such as a closed terminal. A no-op once it has ended.
        gunicorn.terminate()
        code = exit_code(gunicorn.wait())
    if not stopping:
        print(f"local.py: gunicorn ended by itself, exit code {code}", file=sys.stderr)
    return code


def supervise(
    gunicorn: subprocess.Popen[bytes],
    *,
    environment: Mapping[str, str],
    s3: subprocess.Popen[bytes],
    signals: "queue.SimpleQueue[int]",
) -> bool:
    """Block until gunicorn ends; return whether it was stopped from here.

    Prints the greeting when the service is ready, and stops it on a signal or when S3 has ended.
    """
    ready = stopping = False
    while gunicorn.poll() is None:
        number = next_signal(signals, seconds=None if ready or stopping else READY_POLL_SECONDS)
        if number is None:
            ready = ask("GET", "/readyz", port=environment["PORT"], seconds=1) == http.client.OK
            if ready:
                print(greeting(environment), flush=True)
        elif number in STOPS and stopping:
            print("Still stopping: the service uploads what it has.", flush=True)
        elif number in STOPS or (s3.poll() is not None and not stopping):
            stopping = True
            gunicorn.terminate()
            why = "" if number in STOPS else "The embedded S3 has ended. "
            print(f"{why}Stopping: the service first, then S3.", flush=True)
    return stopping


def next_signal(signals: "queue.SimpleQueue[int]", *, seconds: float | None) -> int | None:
    """Return the next signal's number, or None after `seconds`; blocks without limit for None."""
    try:
        return signals.get(timeout=seconds)
    except queue.Empty:
        return None


def exit_code(returncode: int) -> int:
    """Return a child's exit code as a shell reports it: 128 + the signal that killed it."""
    return returncode if returncode >= 0 else 128 - returncode


def ask(method: str, path: str, *, port: str, seconds: float) -> int:
    """Return the status of a request on loopback, 0 without an answer; blocks up to `seconds`."""
    connection = http.client.HTTPConnection(LOOPBACK, int(port), timeout=seconds)
    try:
        connection.request(method, path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def greeting(environment: Mapping[str, str]) -> str:
    """Return what runs where, a command that posts, one that shows the objects, the console."""
    base_url, s3_port = f"http://{LOOPBACK}:{environment['PORT']}", environment["S3_PORT"]
    at_port = "" if s3_port == DEFAULT_S3_PORT else f" S3_PORT={s3_port}"
    spool_dir = environment["SPOOL_DIR"]
    at_spool = "" if spool_dir == DEFAULT_SPOOL_DIR else f" SPOOL_DIR={shlex.quote(spool_dir)}"
    json = "-H 'Content-Type: application/json'"
    key = ' -H "X-API-Key: $KEY"' if "ACCESS_FILE" in environment else ""
    return f"""\
Bucket Brigade is at {base_url}, its spool in {ROOT / spool_dir}
S3 is at http://{LOOPBACK}:{s3_port}, bucket {BUCKET}, in memory: its objects end with it
Post:  curl {base_url}/payloads {json}{key} -d '{{"payloads": [{{"hello": "world"}}]}}'
Look:  make show{at_port}  (in another terminal, a second later)
Watch: {base_url}/console in a browser, or make flask ARGS=top{at_spool}
Try:   make s3-off{at_port}, then make s3-on{at_port}: an outage comes and goes
Stop:  Ctrl-C stops the service, which uploads what it has, and then S3"""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
