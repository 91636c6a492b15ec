"""The embedded S3 of `make run`: moto's server, in memory; and `make s3-off`, `make s3-on`.

While it is off it refuses connections, as an S3 that is away; its objects stay. `make s3-off` and
`s3-on` reach it by an abstract Unix socket that its port names (unix(7)), which ends with it.
"""

import logging
import selectors
import socket
import sys
import threading
from collections.abc import Sequence
from typing import Any

LOOPBACK = "127.0.0.1"
OFF, ON = "off", "on"
DONE = {OFF: "S3 is off: it refuses connections.", ON: "S3 is on again."}


def main(arguments: Sequence[str]) -> int:
    """Run the command line and return the exit code."""
    match arguments:
        case ["serve", descriptor]:
            return serve(socket.socket(fileno=int(descriptor)))
        case [("off" | "on") as wanted, port]:
            return switch(wanted, port)
        case _:
            sys.exit("usage: embedded_s3.py serve FD | off PORT | on PORT")


def serve(listener: socket.socket) -> int:
    """Serve on a listening socket until standard input ends; off and on again as asked."""
    port = listener.getsockname()[1]
    s3: S3 | None = S3(listener)
    control = socket.create_server(_address(port), family=socket.AF_UNIX)
    with control, selectors.DefaultSelector() as selector:
        selector.register(control, selectors.EVENT_READ)
        selector.register(sys.stdin, selectors.EVENT_READ)
        while True:
            ready = [key.fileobj for key, _ in selector.select()]
            if sys.stdin in ready:
                return 0
            with control.accept()[0] as asked:
                wanted = asked.recv(16).decode()
                if wanted == OFF and s3 is not None:
                    s3.stop()
                    s3 = None
                elif wanted == ON and s3 is None:
                    s3 = S3(socket.create_server((LOOPBACK, port), backlog=128))
                asked.sendall(b"done")


def switch(wanted: str, port: str) -> int:
    """Turn the embedded S3 at a port off or on; returns once it is."""
    with socket.socket(socket.AF_UNIX) as control:
        try:
            control.connect(_address(int(port)))
        except (OSError, ValueError):
            sys.exit(f"No embedded S3 at port {port}: is `make run` up? It prints S3_PORT.")
        control.sendall(wanted.encode())
        control.recv(16)
    print(DONE[wanted])
    return 0


class S3:
    """A server of what is in this process's memory, from now until `stop`."""

    def __init__(self, listener: socket.socket) -> None:
        # Only `serve` needs moto, which is slow to import and not a part of the service.
        from moto.moto_server.werkzeug_app import (  # noqa: PLC0415
            DomainDispatcherApplication,
            MotoRequestHandler,
            create_backend_app,
        )
        from werkzeug.serving import make_server  # noqa: PLC0415

        class Handler(MotoRequestHandler):
            # No connection is kept: one that is kept would still be served while it is off.
            protocol_version = "HTTP/1.0"

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        application = DomainDispatcherApplication(create_backend_app)
        options: dict[str, Any] = {"threaded": True, "request_handler": Handler}
        self._listener = listener
        self._server = make_server(LOOPBACK, 0, application, fd=listener.fileno(), **options)
        serving = threading.Thread(target=self._server.serve_forever, name="s3", daemon=True)
        serving.start()

    def stop(self) -> None:
        """Refuse connections from now on."""
        self._server.shutdown()
        self._server.server_close()
        self._listener.close()


def _address(port: int) -> str:
    return f"\0bucket-brigade-s3-{port}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
