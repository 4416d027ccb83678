"""From an address to a connection, one phase after the other, each failure told by its phase."""

import asyncio
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import aiohappyeyeballs
from aiohappyeyeballs import AddrInfoType

from doctor.addresses import Address
from doctor.errors import Fault

# RFC 8305 section 5: start with the next address when the first has not answered for so long.
NEXT_ADDRESS_S = 0.25
# OpenSSL's verify codes (X509_verify_cert_error_string(3)): chains that end nowhere.
_UNTRUSTED = {18, 19, 20, 21, 24, 26}


@dataclass(frozen=True, slots=True)
class Patience:
    """How long things may take. The defaults are Twilio's (webhooks: 5 s twice, 15 s in all)."""

    connect_s: float = 5.0
    tries: int = 2
    total_s: float = 15.0
    close_s: float = 2.0


class Unanswered(Exception):  # noqa: N818 - a fact about a peer, not an error of ours
    """No answer came. `fault` is the phase that failed, `saw` one sentence."""

    def __init__(self, fault: Fault, saw: str) -> None:
        super().__init__(saw)
        self.fault = fault
        self.saw = saw


@lru_cache(maxsize=1)
def default_tls() -> ssl.SSLContext:
    """The system's authorities, which take 50 ms to read: too long to do it once a call."""
    return ssl.create_default_context()


async def connect(
    address: Address, tls: ssl.SSLContext | None, server_name: str, patience: Patience
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Resolve, connect, and agree on TLS where a context is given. Raises Unanswered.

    Each phase has its own time, and all together no more than `total_s`.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + patience.total_s
    phase_s = patience.connect_s * patience.tries
    addresses = await _resolved(address, min(end, loop.time() + phase_s))
    sock = await _connected(address, addresses, patience, end)
    try:
        if tls is None:
            return await asyncio.open_connection(sock=sock)
        async with asyncio.timeout_at(min(end, loop.time() + phase_s)):
            return await asyncio.open_connection(
                sock=sock, ssl=tls, server_hostname=server_name or address.host
            )
    except TimeoutError:
        raise Unanswered("tls", f"{address} took TCP and never finished TLS") from None
    except ssl.SSLCertVerificationError as error:
        raise Unanswered(_certificate_fault(error), f"{address}: {_reason(error)}") from None
    except ssl.SSLError as error:
        raise Unanswered("tls", f"{address}: {_reason(error)}") from None
    except OSError as error:
        raise Unanswered("tls", f"{address} ended the TLS handshake: {error}") from None
    except BaseException:
        sock.close()
        raise


async def _resolved(address: Address, end: float) -> Sequence[AddrInfoType]:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout_at(end):
            return await loop.getaddrinfo(
                address.host, address.port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
            )
    except socket.gaierror as error:
        raise Unanswered("unresolved", f"{address.host}: {error.strerror}") from None
    except UnicodeError:  # what Python says of an empty or overlong label
        raise Unanswered("unresolved", f"{address.host}: not a host name") from None
    except TimeoutError:
        raise Unanswered("unresolved", f"{address.host}: no answer from DNS") from None


async def _connected(
    address: Address, addresses: Sequence[AddrInfoType], patience: Patience, end: float
) -> socket.socket:
    loop = asyncio.get_running_loop()
    for _ in range(patience.tries):
        try:
            async with asyncio.timeout_at(min(end, loop.time() + patience.connect_s)):
                return await aiohappyeyeballs.start_connection(
                    addresses, happy_eyeballs_delay=NEXT_ADDRESS_S
                )
        except TimeoutError:
            continue
        except ConnectionRefusedError:
            raise Unanswered("refused", f"nothing listens on {address}") from None
        except OSError as error:
            fault: Fault = "reset" if isinstance(error, ConnectionError) else "unreachable"
            raise Unanswered(fault, f"{address}: {error.strerror or error}") from None
    tries = f"{patience.tries} times {patience.connect_s:g} s"
    raise Unanswered("connect_timeout", f"{address} did not answer, {tries}")


def _certificate_fault(error: ssl.SSLCertVerificationError) -> Fault:
    if error.verify_code in (62, 64):  # host name, IP address
        return "certificate_name"
    if error.verify_code in (9, 10):  # not yet valid, expired
        return "certificate_expired"
    return "certificate_untrusted" if error.verify_code in _UNTRUSTED else "tls"


def _reason(error: ssl.SSLError) -> str:
    message = getattr(error, "verify_message", "") or error.reason or str(error)
    return str(message).replace("_", " ").lower()
