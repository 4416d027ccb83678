"""One TLS handshake that is cut is one connection, and not yet a hop that cuts them."""

import asyncio
import socket
from pathlib import Path

import pytest

from calls.certificates import OURS
from doctor.probing.dial import Line, Place
from doctor.probing.tls import Shaken, shake, trust
from probing.broken_hops import tls_server

NAME = "voice.example.com"


@pytest.fixture
def ca(tmp_path: Path) -> Path:
    file = tmp_path / "ca.pem"
    file.write_text(OURS)
    return file


def _shaken(folder: Path, ca: Path, cut: set[int]) -> Shaken:
    """What comes of a port that cuts the connections with these numbers."""
    context = tls_server(folder, alpn=["http/1.1"])
    count = 0

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        count += 1
        if count not in cut:
            await writer.start_tls(context)
            await reader.read()
        writer.close()

    async def run() -> Shaken:
        async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            place = Place(socket.AF_INET, "127.0.0.1", port)
            return await shake(Line(place, None, NAME, 5.0), trust(ca))

    return asyncio.run(run())


def test_a_handshake_that_is_cut_once_is_noted_and_no_fault(tmp_path: Path, ca: Path) -> None:
    shaken = _shaken(tmp_path, ca, {1})
    assert shaken.fault is None
    assert shaken.tls is not None
    assert shaken.notes == ("one of three TLS handshakes was cut",)


@pytest.mark.parametrize("cut", [{1, 2, 3}, {1, 3}], ids=["each", "what a caller offers"])
def test_handshakes_that_are_cut_again_are_a_fault(tmp_path: Path, ca: Path, cut: set[int]) -> None:
    shaken = _shaken(tmp_path, ca, cut)
    assert (shaken.fault, shaken.tls) == ("tls_eof", None)
