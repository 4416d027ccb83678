"""From a hop's URL to a connection: all its addresses, and which of them answer."""

import asyncio
import errno
import ipaddress
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from doctor.addresses import Target
from doctor.evidence import Fault

Flaw = Fault | Literal[""]  # what a step has, or nothing

ADDRESSES_LIMIT = 8
_NO_ROUTE = {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EACCES}
_CGNAT = ipaddress.ip_network("100.64.0.0/10")  # RFC 6598; a tailnet's addresses lie in it
_TAILNET6 = ipaddress.ip_network("fd7a:115c:a1e0::/48")


class Lost(Exception):  # noqa: N818 - a fact about a peer, not an error of ours
    """A step that went wrong: `fault` names it, `detail` is one sentence."""

    def __init__(self, fault: Fault, detail: str) -> None:
        super().__init__(detail)
        self.fault: Fault = fault
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Place:
    """One socket address of a hop."""

    family: socket.AddressFamily
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(slots=True)
class Line:
    """How connections to a hop are opened, once it is known how."""

    place: Place
    tls: ssl.SSLContext | None
    server_name: str
    connect_s: float
    preface: bytes = b""  # what the hop wants to read before anything else

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Raises Lost."""
        sock = await connect(self.place, self.connect_s)
        try:
            async with asyncio.timeout(self.connect_s):
                if self.tls is None:
                    return await asyncio.open_connection(sock=sock)
                return await asyncio.open_connection(
                    sock=sock, ssl=self.tls, server_hostname=self.server_name
                )
        except TimeoutError:
            sock.close()
            raise Lost("timeout", f"{self.place}: TLS was not finished") from None
        except OSError as error:
            sock.close()
            fault: Fault = "reset" if isinstance(error, ConnectionResetError) else "tls_eof"
            raise Lost(fault, f"{self.place}: {error.strerror or error}") from None


async def resolve(target: Target, others: Mapping[str, str], seconds: float) -> list[Place]:
    """Every address of a hop, in the resolver's order. Raises Lost."""
    host, port = target.address.host, target.address.port
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(seconds):
            found = await loop.getaddrinfo(
                others.get(host, host), port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
            )
    except TimeoutError:
        raise Lost("unresolved", f"{host}: no answer from DNS in {seconds:g} s") from None
    except socket.gaierror as error:
        raise Lost("unresolved", f"{host}: {error.strerror}") from None
    except UnicodeError:  # what Python says of an empty or overlong label
        raise Lost("unresolved", f"{host}: is no host name") from None
    places = [Place(family, str(where[0]), port) for family, _, _, _, where in found]
    return list(dict.fromkeys(places))[:ADDRESSES_LIMIT]


async def connect(place: Place, seconds: float) -> socket.socket:
    """One TCP connection. Raises Lost."""
    sock = socket.socket(place.family, socket.SOCK_STREAM)
    sock.setblocking(False)
    try:
        async with asyncio.timeout(seconds):
            await asyncio.get_running_loop().sock_connect(sock, (place.host, place.port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except TimeoutError:
        sock.close()
        raise Lost("timeout", f"{place} did not accept within {seconds:g} s") from None
    except ConnectionRefusedError:
        sock.close()
        raise Lost("refused", f"nothing listens on {place}") from None
    except OSError as error:
        sock.close()
        fault: Fault = "unreachable" if error.errno in _NO_ROUTE else "reset"
        raise Lost(fault, f"{place}: {error.strerror or error}") from None
    except BaseException:
        sock.close()
        raise
    return sock


async def reach(places: list[Place], seconds: float) -> tuple[Place, list[Lost]]:
    """The first address that answers, and how the others failed. Raises Lost where none does."""

    async def try_one(place: Place) -> Lost | None:
        try:
            (await connect(place, seconds)).close()
        except Lost as lost:
            return lost
        return None

    ends = await asyncio.gather(*(try_one(place) for place in places))
    failed = [end for end in ends if end is not None]
    for place, lost in zip(places, ends, strict=True):
        if lost is None:
            return place, failed
    said = "; ".join(dict.fromkeys(lost.detail for lost in failed))
    raise Lost(failed[0].fault, said)


def is_name(host: str) -> bool:
    """Whether a host is a name that the public may know, and no address."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host != "localhost"
    return False


def address_class(host: str) -> str:
    """What an address tells of where it is: loopback, private, tailnet or public."""
    address = ipaddress.ip_address(host.partition("%")[0])
    if address.is_loopback:
        return "loopback"
    if address in (_CGNAT if address.version == 4 else _TAILNET6):
        return "tailnet"
    return "private" if address.is_private else "public"
