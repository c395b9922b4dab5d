"""Which names this server answers to, and whether a page that asks is its own.

A name that somebody else's DNS points at us (DNS rebinding) is not ours; a page of another origin
may not use the session of the browser that it runs in.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from urllib.parse import urlsplit

LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
_ANY_ADDRESS = ("0.0.0.0", "::", "")


def known_hosts(address: str, names: Iterable[str]) -> frozenset[str]:
    """As they stand in a Host header, without port, in lower case."""
    own = () if address in _ANY_ADDRESS else (_bracketed(address),)
    return LOOPBACK | {name.lower() for name in (*own, *names)}


def host_name(header: str) -> str:
    """A Host header without its port: any port, it may have been forwarded as `ssh -L` does."""
    host = header.strip().lower()
    name, colon, port = host.rpartition(":")
    return name if colon and port.isascii() and port.isdecimal() else host


def is_ours(header: str, known: frozenset[str], connected_to: str | None) -> bool:
    """Whether a Host header names us.

    `connected_to` is our own IP address of this connection: who asks for it by number was led here
    by nobody's DNS.
    """
    name = host_name(header)
    return name in known or (connected_to is not None and name == _bracketed(connected_to))


def is_same_origin(origin: str, host: str, *, secure: bool) -> bool:
    """Whether an Origin header is of the page that this server gave to this browser.

    A proxy may have put TLS before a server without; the other way round is never our page.
    """
    try:
        parts = urlsplit(origin)
    except ValueError:  # no address at all
        return False
    schemes = ("https",) if secure else ("http", "https")
    return (
        parts.scheme in schemes
        and origin.lower() == f"{parts.scheme}://{parts.netloc}".lower()
        and parts.netloc.lower() == host.strip().lower()
    )


def is_loopback(address: str) -> bool:
    """Whether an address is this machine's own, which nobody else can reach."""
    try:
        return address == "localhost" or ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _bracketed(address: str) -> str:
    return f"[{address}]".lower() if ":" in address else address.lower()
