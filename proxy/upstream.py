"""Dialling the upstream, and naming what went wrong in RFC 9209's words."""

import asyncio
import errno
import ipaddress
import socket

import aiohappyeyeballs

from proxy.routes import Upstream

# RFC 8305 section 5: start with the next address when the first has not answered for so long.
NEXT_ADDRESS_S = 0.25
_UNROUTABLE = {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EADDRNOTAVAIL}


class DialError(Exception):
    """The upstream was not reached. `error` is RFC 9209's type, `outcome` the log's word."""

    def __init__(self, error: str, reason: str, outcome: str = "unreachable") -> None:
        super().__init__(reason)
        self.error = error
        self.reason = reason
        self.outcome = outcome


async def dial(upstream: Upstream, timeout: float) -> socket.socket:
    """Connect, within `timeout` seconds for all addresses of the name. Raises DialError."""
    try:
        async with asyncio.timeout(timeout):
            return await _connect(upstream)
    except TimeoutError:
        reason = f"{upstream} did not accept the connection within {timeout:g} s"
        raise DialError("connection_timeout", reason, "timeout") from None
    except socket.gaierror as error:
        raise DialError("dns_error", f"{upstream.host}: {error.strerror}") from None
    except OSError as error:
        raise _explain(upstream, error) from None


async def _connect(upstream: Upstream) -> socket.socket:
    loop = asyncio.get_running_loop()
    if upstream.unix_path:
        return await _connect_one(socket.AF_UNIX, upstream.unix_path)
    try:
        version = ipaddress.ip_address(upstream.host).version
    except ValueError:
        addresses = await loop.getaddrinfo(
            upstream.host, upstream.port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
        )
        return await aiohappyeyeballs.start_connection(
            addresses, happy_eyeballs_delay=NEXT_ADDRESS_S
        )
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    return await _connect_one(family, (upstream.host, upstream.port))


async def _connect_one(family: int, address: str | tuple[str, int]) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock


def _explain(upstream: Upstream, error: OSError) -> DialError:
    if isinstance(error, ConnectionRefusedError):
        return DialError("connection_refused", f"nothing listens on {upstream}")
    if upstream.unix_path and isinstance(error, FileNotFoundError):
        return DialError("destination_unavailable", f"{upstream} does not exist")
    if error.errno in _UNROUTABLE:
        return DialError("destination_ip_unroutable", f"{upstream}: {error.strerror}")
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return DialError("proxy_internal_error", "the sidecar ran out of file descriptors")
    return DialError("destination_unavailable", f"{upstream}: {error.strerror or error}")
