"""Keeps pages of other sites from the console: they cannot read it, nor act through a browser.

A browser sends the credentials of HTTP Basic with every request to a site, whichever page makes it;
and without an access file it needs none. Knows headers, no server.
"""

import ipaddress
import socket
from urllib.parse import urlsplit

from app.access.credentials import Forbidden, Header

# A page of another site cannot send it without a preflight, which none of ours allows.
ACTION_HEADER, ACTION = "X-Requested-With", "console"


def check_host(host: str | None) -> None:
    """See that an open service was not reached by a name that may be another site's.

    The owner of a domain can have its name lead to this machine, and its pages would be of our
    origin (DNS rebinding). They cannot have an address, nor a name without a dot.

    Raises:
        Forbidden: it was reached by such a name.
    """
    name = urlsplit(f"//{host or ''}").hostname or ""
    if "." not in name or name.endswith(".localhost") or name == socket.gethostname().lower():
        return
    try:
        ipaddress.ip_address(name)
    except ValueError:
        raise Forbidden(
            "Without ACCESS_FILE the console is open by address or by a name without a dot only."
        ) from None


def check_action(header: Header) -> None:
    """See that an action was asked for by the console, or by a program, and by no other page.

    Raises:
        Forbidden: the header is missing, or a page of another origin sent this.
    """
    if header(ACTION_HEADER.lower()) != ACTION:
        raise Forbidden(f"An action needs the header {ACTION_HEADER}: {ACTION}.")
    # https://www.w3.org/TR/fetch-metadata/: browsers send it where the connection is trustworthy.
    site, origin = header("sec-fetch-site"), header("origin")
    if site is not None:
        is_ours = site == "same-origin"
    else:
        is_ours = origin is None or urlsplit(origin).netloc == header("host")
    if not is_ours:
        raise Forbidden("Pages of other origins may not do this.")
