"""The servers that a stop is tested on."""

from tests.acceptance.service import each_server

server_mode = each_server(scope="function")
