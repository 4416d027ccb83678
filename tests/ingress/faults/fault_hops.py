"""The laboratory's own broken hops: a reverse proxy that does everything right but one thing.

A case is TOML: `upstream` is HOST:PORT, `does` names one or more of FAULTS, the rest are their
options. Each fault is a function that edits a head, answers in place of the upstream, or carries
frames (fault_frames.py). It runs by itself: `python fault_hops.py LISTEN FILE`.
"""

import asyncio
import re
import sys
import tomllib
from base64 import b64encode
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha1
from pathlib import Path
from typing import Any

import fault_frames  # type: ignore[import-not-found,unused-ignore]

PATIENCE_S = 20.0
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
Lines = list[bytes]
Options = dict[str, Any]


class Head:
    """A head that can be edited: the first line, and the fields as they came."""

    def __init__(self, raw: bytes) -> None:
        self.first, *self.fields = raw.removesuffix(b"\r\n\r\n").split(b"\r\n")

    def get(self, name: bytes) -> bytes:
        prefix = name.lower() + b":"
        found = (line for line in self.fields if line.lower().startswith(prefix))
        return next(found, b":").split(b":", 1)[1].strip()

    def put(self, name: bytes, value: bytes | None) -> None:
        """Replace a field, or remove it where the value is None."""
        prefix = name.lower() + b":"
        self.fields = [line for line in self.fields if not line.lower().startswith(prefix)]
        if value is not None:
            self.fields.append(name + b": " + value)

    @property
    def path(self) -> bytes:
        return self.first.split(b" ")[1]

    @path.setter
    def path(self, value: bytes) -> None:
        method, _, version = self.first.split(b" ")
        self.first = b" ".join((method, value, version))

    @property
    def is_switch(self) -> bool:
        return self.first.startswith(b"HTTP/1.1 101")

    def __bytes__(self) -> bytes:
        return b"\r\n".join((self.first, *self.fields, b"", b""))


def response(status: str, *fields: str, body: str = "") -> bytes:
    head = (f"HTTP/1.1 {status}", *fields, f"Content-Length: {len(body.encode())}")
    return "\r\n".join((*head, "Connection: close", "", body)).encode()


def accept(head: Head) -> bytes:
    key = head.get(b"Sec-WebSocket-Key")
    return b64encode(sha1(key + _GUID).digest())  # noqa: S324 - RFC 6455 section 4.2.2


# -- requests: edited on their way in --------------------------------------------------------------


def drops_upgrade(head: Head, options: Options) -> None:
    """Upgrade and Connection are hop-by-hop, and are dropped as such (V08)."""
    head.put(b"Upgrade", None)
    head.put(b"Connection", b"keep-alive")


def drops_subprotocol(head: Head, options: Options) -> None:
    head.put(b"Sec-WebSocket-Protocol", None)


def drops_key(head: Head, options: Options) -> None:
    """A filter takes away all that begins with Sec- (H10)."""
    head.fields = [line for line in head.fields if not line.lower().startswith(b"sec-")]


def offers_compression(head: Head, options: Options) -> None:
    """It offers an extension of its own (P18)."""
    if head.get(b"Upgrade"):
        head.put(b"Sec-WebSocket-Extensions", b"permessage-deflate")


def drops_query(head: Head, options: Options) -> None:
    head.path = head.path.partition(b"?")[0]


def reencodes(head: Head, options: Options) -> None:
    """It decodes the path, and encodes it anew: %2F becomes a slash (R11)."""
    head.path = head.path.replace(b"%2F", b"/")


def asks_root(head: Head, options: Options) -> None:
    """Whatever was asked, it asks for / (R12)."""
    head.path = b"/"


def strips_mount(head: Head, options: Options) -> None:
    """As Go's StripPrefix: the mount is taken off the path (R13)."""
    head.path = b"/" + head.path.removeprefix(options["mount"].encode()).lstrip(b"/")


def upstream_host(head: Head, options: Options) -> None:
    """Host becomes the upstream's address, and nobody is told which it was (R19)."""
    head.put(b"Host", options["upstream"].encode())


def forwards_http10(head: Head, options: Options) -> None:
    head.first = head.first.removesuffix(b"1.1") + b"1.0"


def adds_cf_ray(head: Head, options: Options) -> None:
    """What Cloudflare adds to every request; nothing wrong with it."""
    head.put(b"Cf-Ray", b"8f1d2c3b4a5e6f70-FRA")
    head.put(b"Cf-Connecting-Ip", b"54.172.60.1")
    head.put(b"X-Forwarded-Proto", b"https")


# -- responses: edited on their way out ------------------------------------------------------------


def wrong_accept(head: Head, options: Options) -> None:
    """The 101 answers another key: it came from a cache (P01)."""
    if head.is_switch:
        head.put(b"Sec-WebSocket-Accept", b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")


def drops_accept(head: Head, options: Options) -> None:
    head.put(b"Sec-WebSocket-Accept", None)


def chooses_subprotocol(head: Head, options: Options) -> None:
    """It selects a subprotocol that nobody offered (P15)."""
    if head.is_switch:
        head.put(b"Sec-WebSocket-Protocol", b"audio.twilio.com")


def ok_for_101(head: Head, options: Options) -> None:
    """It knows no 101: what is no error is 200 (P14)."""
    if head.is_switch:
        head.first = b"HTTP/1.1 200 OK"
        head.fields = [b"Content-Length: 0", b"Connection: close"]


def hides_stamp(head: Head, options: Options) -> None:
    """Fields that it does not know are removed. Not a fault by itself."""
    head.put(b"Proxy-Status", None)
    head.put(b"Sec-WebSocket-Extensions", None)


def drops_connection_in_101(head: Head, options: Options) -> None:
    """Connection is hop-by-hop, and is dropped from the 101, too."""
    if head.is_switch:
        head.put(b"Connection", None)


# -- answers in place of the upstream's: None lets a request pass ----------------------------------


def shows_interstitial(head: Head, options: Options) -> bytes | None:
    """ngrok's page for browsers (A13)."""
    fields = ("Content-Type: text/html", "ngrok-error-code: ERR_NGROK_6024")
    return response("200 OK", *fields, body="<!DOCTYPE html><title>ERR_NGROK_6024</title>")


def says_offline(head: Head, options: Options) -> bytes | None:
    """ngrok's edge without an agent (U13)."""
    fields = ("Content-Type: text/html", "ngrok-error-code: ERR_NGROK_3200")
    body = "<!DOCTYPE html><p>The endpoint voice.ngrok.app is offline. ERR_NGROK_3200</p>"
    return response("404 Not Found", *fields, body=body)


def says_agent_refused(head: Head, options: Options) -> bytes | None:
    """ngrok's agent is up, the application is not (U12)."""
    fields = ("Content-Type: text/html", "ngrok-error-code: ERR_NGROK_8012")
    body = "<!DOCTYPE html><p>dial tcp 127.0.0.1:3334: connection refused. ERR_NGROK_8012</p>"
    return response("502 Bad Gateway", *fields, body=body)


def says_quota(head: Head, options: Options) -> bytes | None:
    """ngrok's account has used up its bytes (A14)."""
    fields = ("Content-Type: text/html", "ngrok-error-code: ERR_NGROK_725")
    return response("403 Forbidden", *fields, body="<!DOCTYPE html><p>ERR_NGROK_725</p>")


def challenges(head: Head, options: Options) -> bytes | None:
    """Cloudflare's Bot Fight Mode (A11)."""
    fields = (*_CLOUDFLARE, "cf-mitigated: challenge", "Content-Type: text/html; charset=UTF-8")
    return response("403 Forbidden", *fields, body=_CHALLENGE)


def wants_access_login(head: Head, options: Options) -> bytes | None:
    """Cloudflare Access in front of the whole name (A11)."""
    place = "https://team.cloudflareaccess.com/cdn-cgi/access/login/voice.example.com"
    return response("302 Found", *_CLOUDFLARE, f"Location: {place}?redirect_url=%2Fvoice")


def says_1033(head: Head, options: Options) -> bytes | None:
    """Cloudflare's edge without a tunnel (U13)."""
    return response("530 <none>", *_CLOUDFLARE, _PLAIN, body="error code: 1033")


def says_origin_down(head: Head, options: Options) -> bytes | None:
    """cloudflared is up, and does not reach its service (U12)."""
    return response("502 Bad Gateway", *_CLOUDFLARE, _PLAIN, body="error code: 502")


def matches_nothing(head: Head, options: Options) -> bytes | None:
    """cloudflared's last rule, `service: http_status:404`, took it."""
    return response("404 Not Found", *_CLOUDFLARE)


def serves_mounts(head: Head, options: Options) -> bytes | None:
    """As tailscaled: what is not mounted is Go's http.NotFound (R14)."""
    path = head.path.decode()
    if any(path == mount or path.startswith(mount + "/") for mount in options["mounts"]):
        return None
    fields = ("Content-Type: text/plain; charset=utf-8", "X-Content-Type-Options: nosniff")
    return response("404 Not Found", *fields, body="404 page not found\n")


def redirects_to_https(head: Head, options: Options) -> bytes | None:
    """The origin wants https and Cloudflare's Flexible mode asks by http (T11)."""
    host = head.get(b"Host").decode()
    return response("301 Moved Permanently", f"Location: https://{host}{head.path.decode()}")


def refuses_upgrades(head: Head, options: Options) -> bytes | None:
    """WebSockets are switched off for the zone (A12)."""
    return response("400 Bad Request", *_CLOUDFLARE) if head.get(b"Upgrade") else None


def hangs_up(head: Head, options: Options) -> bytes | None:
    """EOF in place of an answer, as mitmproxy and proxy.py do where nobody listens (U01)."""
    return b""


def speaks_http2(head: Head, options: Options) -> bytes | None:
    """Its first words are HTTP/2's: SETTINGS, then GOAWAY (V12)."""
    return b"\0\0\0\x04\0\0\0\0\0" + b"\0\0\x08\x07\0\0\0\0\0" + b"\0\0\0\0\0\0\0\x01"


def speaks_smtp(head: Head, options: Options) -> bytes | None:
    return b"220 mail.example.com ESMTP\r\n"


_CLOUDFLARE = ("Server: cloudflare", "CF-RAY: 8f1d2c3b4a5e6f70-FRA")
_PLAIN = "Content-Type: text/plain; charset=UTF-8"
_CHALLENGE = "<!DOCTYPE html><title>Just a moment...</title>"

Edit = Callable[[Head, Options], None]
Replace = Callable[[Head, Options], bytes | None]
REQUESTS: dict[str, Edit] = {
    each.__name__: each
    for each in (
        *(drops_upgrade, drops_subprotocol, drops_key, offers_compression, drops_query),
        *(reencodes, asks_root, strips_mount, upstream_host, forwards_http10, adds_cf_ray),
    )
}
RESPONSES: dict[str, Edit] = {
    each.__name__: each
    for each in (
        *(wrong_accept, drops_accept, chooses_subprotocol, ok_for_101, hides_stamp),
        drops_connection_in_101,
    )
}
REPLACEMENTS: dict[str, Replace] = {
    each.__name__: each
    for each in (
        *(shows_interstitial, says_offline, says_agent_refused, says_quota, challenges),
        *(wants_access_login, says_1033, says_origin_down, matches_nothing, serves_mounts),
        *(redirects_to_https, refuses_upgrades, hangs_up, speaks_http2, speaks_smtp),
    )
}
# What needs more than one head at a time is told apart in `serve`.
WAYS = ("accepts_first", "never_answers", "holds_101", "never_passes_101_on")


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, hop: Options) -> None:
    """One connection: a request, its answer, and what goes over it after a 101."""
    head = Head(await reader.readuntil(b"\r\n\r\n"))
    does = hop["does"]
    for name in does:
        if name in REPLACEMENTS and (said := REPLACEMENTS[name](head, hop)) is not None:
            writer.write(said)
            return
    if "never_answers" in does:
        await reader.read()
        return
    original = bytes(head)
    if "accepts_first" in does and head.get(b"Upgrade"):
        fields = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\n" + fields + accept(head) + b"\r\n\r\n")
    for name in does:
        if name in REQUESTS:
            REQUESTS[name](head, hop)
    host, _, port = hop["upstream"].rpartition(":")
    behind, ahead = await asyncio.open_connection(host, int(port))
    try:
        ahead.write(bytes(head))
        answer = Head(await behind.readuntil(b"\r\n\r\n"))
        await _give(Head(original), answer, reader, writer, (behind, ahead), hop)
    finally:
        ahead.close()


Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _give(
    head: Head,
    answer: Head,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    upstream: Pair,
    hop: Options,
) -> None:
    """Hand the upstream's answer to the client, then carry what follows."""
    does = hop["does"]
    is_switch = answer.is_switch
    for name in does:
        if name in RESPONSES:
            RESPONSES[name](answer, hop)
    if "accepts_first" in does and head.get(b"Upgrade"):
        if not is_switch:
            return
    elif is_switch and "never_passes_101_on" in does:
        await reader.read()
    else:
        if is_switch and "holds_101" in does:
            await asyncio.sleep(hop["held_s"])
        writer.write(bytes(answer))
    if not is_switch or not answer.first.startswith(b"HTTP/1.1 101"):
        length = re.search(rb"\d+", answer.get(b"Content-Length"))
        writer.write(await upstream[0].readexactly(int(length[0])) if length else b"")
        return
    await fault_frames.carry((reader, writer), upstream, hop)


async def main(listen: str, hop: Options) -> None:
    known = {*REQUESTS, *RESPONSES, *REPLACEMENTS, *WAYS, *fault_frames.FAULTS}
    unknown = set(hop["does"]) - known
    if unknown:
        raise SystemExit(f"there is no fault {', '.join(sorted(unknown))}")

    async def accept_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(OSError, EOFError, asyncio.IncompleteReadError):
                await serve(reader, writer, hop)
                await writer.drain()
        finally:
            writer.close()

    host, _, port = listen.rpartition(":")
    server = await asyncio.start_server(accept_one, host, int(port))
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main(sys.argv[1], tomllib.loads(Path(sys.argv[2]).read_text())))
