"""Whose connection it is: the client's address, and how many connections each client holds."""

import ipaddress
from collections import Counter
from collections.abc import Iterable, Sequence

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def client_address(peer: str, forwarded_for: Iterable[str], trusted: Sequence[Network]) -> str:
    """The address to hold responsible for a request.

    X-Forwarded-For is read from the right, and only as far as trusted proxies wrote it: what
    stands further left is the client's own claim (RFC 7239 section 8.1). A member that is not an
    address ends the walk at the last address that was.
    """
    client = peer
    hops = [item.strip() for value in forwarded_for for item in value.split(",")]
    while hops and is_trusted(client, trusted):
        address = _parse_address(hops.pop())
        if address is None:
            break
        client = str(address)
    return client


def is_trusted(peer: str, trusted: Sequence[Network]) -> bool:
    """Whether an address lies in one of the networks; a unix socket's peer ("") does."""
    if not peer:
        return True
    address = _parse_address(peer)
    return address is not None and any(address in network for network in trusted)


def _parse_address(text: str) -> Address | None:
    """An address as proxies write it: bare, with a port, or in brackets."""
    text = text.strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped
    return address


def client_of(address: str) -> str:
    """Who is counted for an address: of IPv6 a /64, since a client may use all of it (RFC 6177)."""
    parsed = _parse_address(address)
    if isinstance(parsed, ipaddress.IPv6Address) and not parsed.is_loopback:
        return str(ipaddress.IPv6Network((int(parsed), 64), strict=False))
    return address


class Occupancy:
    """How many places are taken, in all and by each client."""

    def __init__(self) -> None:
        self.total = 0
        self._by_client: Counter[str] = Counter()

    def enter(self, client: str) -> None:
        self.total += 1
        self._by_client[client] += 1

    def leave(self, client: str) -> None:
        self.total -= 1
        self._by_client[client] -= 1
        if not self._by_client[client]:
            del self._by_client[client]

    def of(self, client: str) -> int:
        return self._by_client[client]
