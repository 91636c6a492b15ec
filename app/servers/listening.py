"""Where the service listens when it is given a port, or nothing. Knows gunicorn's `bind`."""

import socket
from collections.abc import Iterable
from ipaddress import ip_address

DEFAULT = "127.0.0.1:8000"


def addresses(port: int | None) -> list[str]:
    """Return gunicorn's `bind`: with a port all addresses, of IPv6 too where there is IPv6."""
    if port is None:
        return [DEFAULT]
    ipv4 = f"0.0.0.0:{port}"
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::", 0))
            only_ipv6 = probe.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
    except OSError:
        return [ipv4]
    # By default (net.ipv6.bindv6only) a socket for `::` takes IPv4 too.
    return [f"[::]:{port}", ipv4] if only_ipv6 else [f"[::]:{port}"]


def is_exposed(listeners: Iterable[tuple[str, int] | str]) -> bool:
    """Whether other machines may reach one of gunicorn's addresses; a Unix socket they cannot."""
    hosts = (listener[0] for listener in listeners if not isinstance(listener, str))
    return any(not _is_loopback(host) for host in hosts)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
