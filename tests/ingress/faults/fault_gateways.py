"""Gateways of the laboratory: proper voice gateways, and one function for each way to fail.

Each behaviour gets an accepted connection and is a small server by itself.
"""

import socket
import ssl
import struct
from collections.abc import Callable
from contextlib import suppress

from ingress.faults.fault_peers import Behaviour, Peer, good_lines, is_upgrade
from proxy.http1 import Malformed, RequestHead

TWIML = b'<?xml version="1.0" encoding="UTF-8"?><Response/>'


def _serve(peer: Peer, *, missing: str, is_tolerant: bool = False) -> None:
    """What a voice gateway does; `missing` is its answer on the stream's path to a plain GET."""
    head = peer.read_head()
    path = head.target.partition("?")[0]
    if path == "/voice/webhook":
        if head.method == "POST":
            peer.answer("200 OK", TWIML, "Content-Type: text/xml")
        else:
            peer.answer("405 Method Not Allowed", b"", "Allow: POST")
    elif path != "/voice/stream":
        peer.answer("404 Not Found", b"no such path\n")
    elif is_upgrade(head) or (is_tolerant and head.value("Upgrade")):
        peer.switch(*good_lines(head))
        peer.echo_frames()
    else:
        peer.answer(missing, b"a WebSocket is served here\n", "Upgrade: websocket")


# -- gateways without a fault ----------------------------------------------------------------------


def proper(peer: Peer) -> None:
    """A voice gateway as most are: 426 for who does not upgrade."""
    _serve(peer, missing="426 Upgrade Required")


def proper_404(peer: Peer) -> None:
    """As uvicorn and Starlette: 404 for who does not upgrade."""
    _serve(peer, missing="404 Not Found")


def proper_400(peer: Peer) -> None:
    """As ws and others: 400 for who does not upgrade."""
    _serve(peer, missing="400 Bad Request")


def tolerant(peer: Peer) -> None:
    """It upgrades HTTP/1.0, too (as uvicorn 0.54)."""
    _serve(peer, missing="426 Upgrade Required", is_tolerant=True)


def signed_only(peer: Peer) -> None:
    """It is healthy and refuses who is not Twilio."""
    peer.read_head()
    peer.answer("403 Forbidden", b"the signature is missing\n")


def closes_unsigned(peer: Peer) -> None:
    """It is healthy, upgrades, and closes with 1008 for who is not Twilio."""
    head = peer.read_head()
    if not is_upgrade(head):
        peer.answer("426 Upgrade Required")
        return
    peer.switch(*good_lines(head))
    peer.sock.sendall(b"\x88\x02" + struct.pack("!H", 1008))
    peer.wait_for_end()


# -- gateways without a fault that mind what others do not ----------------------------------------


def exact_path(peer: Peer) -> None:
    """It serves /voice/stream/a%2Fb, byte by byte."""
    _serve_if(peer, lambda head: head.target == "/voice/stream/a%2Fb", "404 Not Found")


def wants_token(peer: Peer) -> None:
    """It serves who brings ?token=abc."""
    _serve_if(peer, lambda head: head.target.endswith("?token=abc"), "403 Forbidden")


def wants_version(peer: Peer) -> None:
    """It serves Sec-WebSocket-Version: 13, as RFC 6455 section 4.2.1 has it."""
    _serve_if(peer, lambda head: head.value("Sec-WebSocket-Version") == "13", "400 Bad Request")


def knows_its_name(peer: Peer) -> None:
    """It serves voice.example.com and nobody else (RFC 9110 section 7.4)."""
    known = "voice.example.com"
    _serve_if(peer, lambda head: head.value("Host") == known, "421 Misdirected Request")


def _serve_if(peer: Peer, is_wanted: Callable[[RequestHead], bool], otherwise: str) -> None:
    head = peer.read_head()
    if not is_upgrade(head):
        peer.answer("426 Upgrade Required", b"", "Upgrade: websocket")
    elif not is_wanted(head):
        peer.answer(otherwise)
    else:
        peer.switch(*good_lines(head))
        peer.echo_frames()


# -- gateways that answer something else -----------------------------------------------------------


def no_route(peer: Peer) -> None:
    """404 for the stream's path: the route is wrong or was never mounted (R23)."""
    peer.read_head()
    peer.answer("404 Not Found", b'{"detail":"Not Found"}', "Server: uvicorn")


def no_websocket_library(peer: Peer) -> None:
    """404 to a whole upgrade, as uvicorn without a WebSocket library (P09)."""
    peer.read_head()
    peer.answer("404 Not Found", b"Not Found", "server: uvicorn", "content-type: text/plain")


def raises(peer: Peer) -> None:
    """500: an exception before the stream was accepted (P12)."""
    peer.read_head()
    peer.answer("500 Internal Server Error", b"Internal Server Error", "Server: uvicorn")


def single_page_app(peer: Peer) -> None:
    """200 and index.html, whatever was asked (P08)."""
    peer.read_head()
    peer.answer("200 OK", b"<!doctype html><title>app</title>", "Content-Type: text/html")


def wants_upgrade(peer: Peer) -> None:
    """426 to a whole upgrade."""
    peer.read_head()
    peer.answer("426 Upgrade Required", b"", "Upgrade: h2c")


def redirects(peer: Peer) -> None:
    """301 to the path with a slash."""
    head = peer.read_head()
    peer.answer("301 Moved Permanently", b"", f"Location: {head.target}/")


# -- gateways that give a bad 101 -----------------------------------------------------------------


def wrong_accept(peer: Peer) -> None:
    """The 101 answers another key (P01)."""
    peer.read_head()
    peer.switch(
        "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Accept: " + "A" * 27 + "="
    )
    peer.wait_for_end()


def no_accept(peer: Peer) -> None:
    """The 101 has no Sec-WebSocket-Accept (P02)."""
    peer.read_head()
    peer.switch("Upgrade: websocket", "Connection: Upgrade")
    peer.wait_for_end()


def no_upgrade_in_101(peer: Peer) -> None:
    """The 101 names no protocol."""
    peer.switch("Connection: Upgrade", good_lines(peer.read_head())[2])
    peer.wait_for_end()


def no_connection_in_101(peer: Peer) -> None:
    """The 101 has no Connection: Upgrade (P04)."""
    upgrade, _, accept = good_lines(peer.read_head())
    peer.switch(upgrade, accept)
    peer.echo_frames()


def chunked_101(peer: Peer) -> None:
    """The 101 says Transfer-Encoding: chunked (P05)."""
    peer.switch(*good_lines(peer.read_head()), "Transfer-Encoding: chunked")
    peer.echo_frames()


def length_on_101(peer: Peer) -> None:
    """The 101 has a Content-Length of 0 (P06): wrong, and harmless."""
    peer.switch(*good_lines(peer.read_head()), "Content-Length: 0")
    peer.echo_frames()


def encoded_101(peer: Peer) -> None:
    """The 101 says Content-Encoding, as a compressing middleware writes it (cloudflared 1465)."""
    peer.switch(*good_lines(peer.read_head()), "Content-Encoding: gzip")
    peer.echo_frames()


def unoffered_subprotocol(peer: Peer) -> None:
    """The 101 selects a subprotocol that nobody offered (P16)."""
    peer.switch(*good_lines(peer.read_head()), "Sec-WebSocket-Protocol: audio.twilio.com")
    peer.echo_frames()


def unoffered_extension(peer: Peer) -> None:
    """The 101 selects an extension that nobody offered (P16)."""
    peer.switch(*good_lines(peer.read_head()), "Sec-WebSocket-Extensions: permessage-deflate")
    peer.echo_frames()


# -- gateways that end ----------------------------------------------------------------------------


def silent(peer: Peer) -> None:
    """It takes the request and never answers (U05)."""
    with suppress(Malformed):
        peer.read_head()
    peer.wait_for_end()


def resets(peer: Peer) -> None:
    """RST in place of an answer (U02)."""
    peer.read_head()
    peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def closes(peer: Peer) -> None:
    """EOF in place of an answer (U03)."""
    peer.read_head()


def half_head(peer: Peer) -> None:
    """EOF within the head of the answer."""
    peer.read_head()
    peer.sock.sendall(b"HTTP/1.1 101 Switching Pro")


def not_http(peer: Peer) -> None:
    """Another protocol answers."""
    peer.sock.sendall(b"220 mail.example.com ESMTP\r\n")
    peer.wait_for_end()


def leaves(peer: Peer) -> None:
    """EOF right behind a good 101, without a Close (D32)."""
    head = peer.read_head()
    if is_upgrade(head):
        peer.switch(*good_lines(head))
    else:
        peer.answer("426 Upgrade Required")


def closes_1011(peer: Peer) -> None:
    """A Close 1011 right behind a good 101: the agent behind it failed (S13)."""
    peer.switch(*good_lines(peer.read_head()))
    peer.sock.sendall(b"\x88\x0d" + struct.pack("!H", 1011) + b"agent lost.")
    peer.wait_for_end()


def speaks_tls(peer: Peer) -> None:
    """A proper gateway that wants TLS (V10)."""
    _through_tls(peer, "voice", proper)


def speaks_tls_expired(peer: Peer) -> None:
    """... whose certificate has expired (T08)."""
    _through_tls(peer, "expired", proper)


def speaks_tls_other_name(peer: Peer) -> None:
    """... whose certificate is for another name (T09)."""
    _through_tls(peer, "other", proper)


def speaks_tls_go(peer: Peer) -> None:
    """It wants TLS, and tells who comes in plain, as Go's net/http does (V10)."""
    peer.read_head()
    peer.sock.sendall(
        b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"
    )


def _through_tls(peer: Peer, certificate: str, behaviour: Behaviour) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(peer.certs / f"{certificate}.pem", peer.certs / f"{certificate}.key")
    with context.wrap_socket(peer.sock, server_side=True) as inner:
        behaviour(Peer(inner, peer.heads, peer.certs))


BEHAVIOURS: dict[str, Behaviour] = {
    name: value
    for name, value in list(globals().items())
    if callable(value)
    and getattr(value, "__module__", "") == __name__
    and getattr(value, "__annotations__", {}).keys() == {"peer", "return"}
}
