"""`python -m tests.support.s3`: the server, a process of its own."""

import argparse
import asyncio
import sys

from tests.support.s3.fake import BODY_SECONDS
from tests.support.s3.faults import Faults
from tests.support.s3.server import LOOPBACK, Server
from tests.support.s3.store import Store


async def serve(given: argparse.Namespace) -> None:
    """Run until killed or, if `tied`, until that connection ends, as when the parent dies."""
    store, faults = Store(given.bucket), Faults(given.seed)
    server = Server(port=given.port, store=store, faults=faults, body_seconds=given.body_seconds)
    await server.listen()
    control = await asyncio.start_server(server.control, LOOPBACK, 0)
    ports = f"{server.port} {control.sockets[0].getsockname()[1]}\n"
    if given.tied:
        reader, writer = await asyncio.open_connection(LOOPBACK, given.tied)
        writer.write(ports.encode())
        await reader.read()
    else:
        sys.stdout.write(ports)
        sys.stdout.flush()
        await control.serve_forever()


def main() -> None:
    """Serve S3 on loopback, after a line with its port and its control port."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0, help="of what faults leave to chance")
    parser.add_argument("--body-seconds", type=float, default=BODY_SECONDS)
    parser.add_argument("--bucket", action="append", default=[])
    tied = "a port to send that line to instead of standard output; ends with this connection"
    parser.add_argument("--tied", type=int, help=tied)
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
