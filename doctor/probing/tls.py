"""The TLS handshake with a hop: verified as a client would, then looked at even if it failed.

Done over memory, not by asyncio, because what a plain port says to a ClientHello is evidence.
"""

import asyncio
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from doctor.evidence import Fault, Tls
from doctor.probing.dial import Line, Lost, Place, connect
from doctor.probing.showing import shown_strange

HTTP1 = ("http/1.1",)  # what a client of WebSockets offers
BOTH = ("h2", "http/1.1")
# OpenSSL's verify codes (X509_verify_cert_error_string(3)).
_DATES = (9, 10)  # not yet valid, expired
_NAMES = (62, 64)  # host name, IP address
_PLAIN = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "PACKET_LENGTH_TOO_LONG")
CERTIFICATE_FAULTS = ("certificate_expired", "certificate_name", "certificate_untrusted")


@dataclass(frozen=True, slots=True)
class Look:
    """What one TLS handshake came to. `tls` is None where none was agreed on."""

    tls: Tls | None = None
    fault: Fault | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Shaken:
    """What the handshakes with a hop came to; `context` is what to talk to it with, if at all."""

    context: ssl.SSLContext | None
    tls: Tls | None
    fault: Fault | None = None
    detail: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Trust:
    """The contexts of a client: as Twilio would, without looking, and offering HTTP/2, too."""

    verifying: ssl.SSLContext
    trusting: ssl.SSLContext
    offering: ssl.SSLContext


def trust(ca: Path | None) -> Trust:
    """The system's authorities, and those of a file. Raises OSError for a file that has none."""
    verifying = ssl.create_default_context()
    if ca is not None:
        try:
            verifying.load_verify_locations(cafile=ca)
        except OSError as error:  # ssl's own errors are among them, and name no file
            raise OSError(f"{ca}: no certificates: {error.strerror or error}") from None
    verifying.set_alpn_protocols(list(HTTP1))
    return Trust(verifying, trusting(HTTP1), trusting(BOTH))


def trusting(alpn: tuple[str, ...]) -> ssl.SSLContext:
    """A context that trusts whoever answers, to look at who does."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(list(alpn))
    return context


async def shake(line: Line, trust: Trust) -> Shaken:
    """Verify as a client would; where that fails, look at who is there all the same."""
    place, name, seconds = line.place, line.server_name, line.connect_s
    context = trust.verifying
    seen = await look(place, context, name, seconds)
    if seen.fault in ("plaintext", "timeout", "refused"):
        return Shaken(None, None, seen.fault, seen.detail)
    tls = seen.tls
    if seen.fault in CERTIFICATE_FAULTS:
        # What is behind a bad certificate is worth seeing, though no caller gets there.
        context = trust.trusting
        tls = (await look(place, context, name, seconds)).tls
    both = (await look(place, trust.offering, name, seconds)).tls
    if seen.fault == "tls_eof" and both is not None and both.alpn != "h2":
        # It can shake hands, then: what was cut was one connection, and not every one is.
        seen = await look(place, context, name, seconds)
        if seen.tls is not None:
            notes = ("one of three TLS handshakes was cut",)
            return Shaken(context, seen.tls, seen.fault, seen.detail, notes)
    if both is None or both.alpn != "h2":
        return Shaken(context if tls else None, tls, seen.fault, seen.detail)
    notes = ("offered h2 and http/1.1, the peer chooses h2",)
    if tls is None:
        return Shaken(None, both, "http2", "it speaks h2 and refuses http/1.1", notes)
    return Shaken(context, tls, seen.fault, seen.detail, notes)


async def look(place: Place, context: ssl.SSLContext, server_name: str, seconds: float) -> Look:
    """Shake hands once and hang up. Never raises."""
    try:
        sock = await connect(place, seconds)
    except Lost as lost:
        return Look(None, lost.fault, lost.detail)
    reader, writer = await asyncio.open_connection(sock=sock)
    received = bytearray()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname=server_name)
    try:
        async with asyncio.timeout(seconds):
            while not _step(tls):
                writer.write(outgoing.read())
                data = await reader.read(65536)
                if not data:
                    raise EOFError
                received += data[: 4096 - len(received)]
                incoming.write(data)
            writer.write(outgoing.read())
            return Look(_told(tls))
    except TimeoutError:
        return Look(None, "timeout", f"TLS was not finished in {seconds:g} s")
    except ssl.SSLCertVerificationError as error:
        return Look(None, _certificate_fault(error), error.verify_message)
    except ssl.SSLError as error:
        return _failed(error, bytes(received))
    except EOFError:
        if _is_plain(bytes(received)):
            return _plain(bytes(received))
        return Look(None, "tls_eof", "the connection was closed within the TLS handshake")
    except OSError as error:
        return Look(None, "tls_eof", f"the TLS handshake broke: {error.strerror or error}")
    finally:
        writer.transport.abort()


def _step(tls: ssl.SSLObject) -> bool:
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True


def _failed(error: ssl.SSLError, received: bytes) -> Look:
    reason = error.reason or str(error)
    if _is_plain(received) or (reason in _PLAIN and received[:1] not in (b"\x15", b"\x16")):
        return _plain(received)
    said = reason.lower().replace("_", " ")
    return Look(None, "tls_alert", said)


def _is_plain(received: bytes) -> bool:
    """Whether the bytes start no TLS record (RFC 8446 section 5.1: alert 21, handshake 22)."""
    return bool(received) and received[:1] not in (b"\x15", b"\x16")


def _plain(received: bytes) -> Look:
    return Look(None, "plaintext", f"it answered TLS with: {shown_strange(received)}")


def _certificate_fault(error: ssl.SSLCertVerificationError) -> Fault:
    if error.verify_code in _NAMES:
        return "certificate_name"
    return "certificate_expired" if error.verify_code in _DATES else "certificate_untrusted"


def _told(tls: ssl.SSLObject) -> Tls:
    certificates = _chain(tls)
    info = certificates[0] if certificates else {}
    not_after, days_left = _end_of(info)
    return Tls(
        tls.version() or "",
        tls.selected_alpn_protocol() or "",
        tuple(str(name) for _, name in info.get("subjectAltName", ())),
        ", ".join(str(value) for part in info.get("issuer", ()) for _, value in part),
        not_after,
        days_left,
        len(certificates) or None,
    )


def _chain(tls: ssl.SSLObject) -> list[dict[str, Any]]:
    """The certificates as they were sent, decoded also where they are not trusted.

    ssl decodes only what it has verified; what it keeps beneath has no public name for this.
    """
    inner = getattr(tls, "_sslobj", None)
    chain: list[Any] = getattr(inner, "get_unverified_chain", list)() or []
    return [certificate.get_info() for certificate in chain]


def _end_of(info: dict[str, Any]) -> tuple[str, float | None]:
    if "notAfter" not in info:
        return "", None
    end = ssl.cert_time_to_seconds(info["notAfter"])
    left = end - datetime.now(UTC).timestamp()
    iso = datetime.fromtimestamp(end, UTC).isoformat().replace("+00:00", "Z")
    return iso, round(left / 86400, 2)
