"""What passes a hop beside messages, over real sockets: a sidecar, and hops that meddle."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from doctor.comparing.entries import read_entries
from doctor.comparing.passage import Passage
from doctor.comparing.running import Comparison, compare
from doctor.comparing.table import make_table
from doctor.comparing.verdicts import verdict_of
from doctor.probing import ProbeOptions
from peers import RunningSidecar
from probing.broken_hops import (
    QUICK,
    Handler,
    Peer,
    admin_of,
    passing,
    payload_of,
    serving,
    tls_server,
)

PING, PONG, TEXT = 9, 10, 1


def compared(
    sidecar: RunningSidecar, *handlers: Handler, calls: int = 1, admin: bool = True, **options: Any
) -> Comparison:
    """Ingresses that do what these handlers do, called a, b, c."""

    async def run() -> Comparison:
        async with asyncio.timeout(40):
            servers = [serving(handler) for handler in handlers]
            ports = [await server.__aenter__() for server in servers]
            try:
                urls = [
                    f"{name}=http://127.0.0.1:{port}"
                    for name, port in zip("abc", ports, strict=False)
                ]
                told = asked(sidecar, admin=admin_of(sidecar) if admin else None, **options)
                entries = read_entries(urls)
                return await compare(entries, told, calls, 0.2, lambda _: None)
            finally:
                for server in servers:
                    await server.__aexit__(None, None, None)

    return asyncio.run(run())


def asked(sidecar: RunningSidecar, **options: Any) -> ProbeOptions:
    return ProbeOptions(**{**QUICK, "admin": admin_of(sidecar)} | options)  # type: ignore[arg-type]


def through(sidecar: RunningSidecar, handler: Handler, **options: Any) -> Passage:
    seen = compared(sidecar, handler, **options)
    return seen.passages[-1]


def opcode(frame: bytes) -> int:
    return frame[0] & 15


def test_a_hop_that_passes_everything_on_is_told_so(sidecar: RunningSidecar) -> None:
    seen = compared(sidecar, passing(sidecar), calls=2)
    direct, front = seen.passages
    assert (direct.name, direct.is_direct, front.name) == ("direct", True, "a")
    for each in seen.passages:
        assert verdict_of(each) == "healthy", each.diagnosis.sentence
        assert each.manners is not None
        assert (each.manners.early, each.manners.ping_by_client) == ("passed", "passed")
        assert each.manners.ping_by_server == "passed"
        # The test's own hop ends both ways at once, as many do.
        assert each.manners.half_close == ("passed" if each.is_direct else "cut")
        assert {target.fate for target in each.targets} == {"kept"}
        assert len(each.targets) == 10
        assert [(call.round, call.sent, call.received) for call in each.calls] == [
            (1, 10, 10),
            (2, 10, 10),
        ]
        assert all(call.round_trip_ms > 0 and call.switched_ms > 0 for call in each.calls)
    assert seen.notes == ()


def test_calls_go_through_all_in_turn_and_another_begins_each_round(
    sidecar: RunningSidecar,
) -> None:
    said: list[str] = []

    async def run() -> None:
        async with serving(passing(sidecar)) as one, serving(passing(sidecar)) as other:
            entries = read_entries([f"a=http://127.0.0.1:{one}", f"b=http://127.0.0.1:{other}"])
            options = asked(sidecar)
            await compare(entries, options, 3, 0.1, said.append)

    asyncio.run(run())
    calls = [text.rpartition(" ")[2] for text in said if text.startswith("call ")]
    assert calls == ["direct", "a", "b", "a", "b", "direct", "b", "direct", "a"]


def test_bytes_behind_the_head_are_lost_by_a_hop_that_reads_them_away(
    sidecar: RunningSidecar,
) -> None:
    async def forgets(peer: Peer) -> None:
        async with behind(peer, sidecar) as (reader, writer):
            head = await reader.readuntil(b"\r\n\r\n")
            # What the client said before it had its 101 lies in a buffer that nobody looks into.
            peer.reader._buffer.clear()  # type: ignore[attr-defined]
            await peer.say(head)
            await asyncio.gather(_copy(reader, peer.writer), _copy(peer.reader, writer))

    seen = through(sidecar, forgets)
    assert seen.manners is not None
    assert (seen.manners.early, seen.manners.ping_by_client) == ("lost", "passed")
    assert verdict_of(seen) == "healthy"


@asynccontextmanager
async def behind(
    peer: Peer, sidecar: RunningSidecar
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to the sidecar over which the peer's head has gone."""
    raw = await peer.reader.readuntil(b"\r\n\r\n")
    reader, writer = await asyncio.open_connection("127.0.0.1", sidecar.port)
    try:
        writer.write(raw)
        yield reader, writer
    finally:
        writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
        writer.write_eof()


def test_a_hop_that_answers_pings_itself_is_found_out_on_both_sides(
    sidecar: RunningSidecar,
) -> None:
    """By the echo: it counts the pings that came, and says when a pong did."""
    own: list[asyncio.StreamWriter] = []

    async def asks(frame: bytes, writer: asyncio.StreamWriter) -> None:
        own.append(writer)
        if opcode(frame) != PING:
            writer.write(frame)

    async def frames(frame: bytes, writer: asyncio.StreamWriter) -> None:
        if opcode(frame) != PING:
            writer.write(frame)
            return
        pong = bytes((0x80 | PONG, 0x80 | len(payload_of(frame)))) + b"\0\0\0\0"
        own[-1].write(pong + payload_of(frame))

    async def answers(peer: Peer) -> None:
        """`asks` swallows pings; this hop sends the pong of its own."""
        await passing(sidecar, asks=swallow(peer), frames=frames)(peer)

    def swallow(peer: Peer) -> Callable[..., Any]:
        async def meddle(frame: bytes, writer: asyncio.StreamWriter) -> None:
            await asks(frame, writer)
            if opcode(frame) == PING:
                mask, payload = frame[2:6], frame[6:]
                plain = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
                peer.writer.write(bytes((0x80 | PONG, len(plain))) + plain)

        return meddle

    seen = through(sidecar, answers)
    assert seen.manners is not None
    assert seen.manners.ping_by_client == "answered"
    assert seen.manners.ping_by_server == "answered"


def test_a_half_close_is_passed_on_by_a_hop_that_ends_one_way_at_a_time(
    sidecar: RunningSidecar,
) -> None:
    async def ends(peer: Peer) -> None:
        async with behind(peer, sidecar) as (reader, writer):
            await asyncio.gather(_copy(reader, peer.writer), _copy(peer.reader, writer))

    seen = through(sidecar, ends)
    assert seen.manners is not None
    assert seen.manners.half_close == "passed"


def test_the_clients_end_over_tls_leaves_what_the_hop_still_says_to_be_read(
    sidecar: RunningSidecar, tmp_path: Path
) -> None:
    """asyncio's own TLS ends both ways at the alert, so this hop is one that cuts."""

    async def run() -> Comparison:
        async with serving(passing(sidecar), tls_server(tmp_path)) as port:
            entries = read_entries([f"a=https://127.0.0.1:{port}"])
            return await compare(entries, asked(sidecar), 0, 0, lambda _: None)

    seen = asyncio.run(run()).passages[-1]
    assert seen.manners is not None
    assert (seen.manners.early, seen.manners.half_close) == ("passed", "cut")


def test_a_hop_that_keeps_the_clients_end_to_itself_loses_the_last_words(
    sidecar: RunningSidecar,
) -> None:
    async def keeps(peer: Peer) -> None:
        async with behind(peer, sidecar) as (reader, writer):
            back = asyncio.ensure_future(_copy(reader, peer.writer))
            while data := await peer.reader.read(65536):
                writer.write(data)
            # The echo learns of the end only when the client has given up.
            await asyncio.wait([back], timeout=2 * QUICK["echo_s"])
            back.cancel()
            await asyncio.gather(back, return_exceptions=True)

    seen = through(sidecar, keeps)
    assert seen.manners is not None
    assert seen.manners.half_close == "lost"


def test_targets_that_a_hop_tidies_up_are_told(sidecar: RunningSidecar) -> None:
    def tidy(head: bytes) -> bytes:
        return head.replace(b"stream//a", b"stream/a").replace(b"%2F", b"/")

    async def refusing(peer: Peer) -> None:
        reader = peer.reader
        raw = await reader.readuntil(b"\r\n\r\n")
        if b";" in raw.partition(b"\r\n")[0]:
            await peer.answer("400 Bad Request")
            return
        again = asyncio.StreamReader()
        again.feed_data(tidy(raw))
        rest = asyncio.ensure_future(_feed(reader, again))
        await passing(sidecar)(Peer(again, peer.writer))
        rest.cancel()
        await asyncio.gather(rest, return_exceptions=True)

    seen = through(sidecar, refusing)
    told = {target.name: (target.fate, target.arrived, target.status) for target in seen.targets}
    assert told["double slash"] == ("changed", "/voice/stream/a", 101)
    assert told["escaped slash %2F"] == ("changed", "/voice/stream/a/b", 101)
    assert told["; in the query"] == ("lost", "", 400)
    assert told["trailing slash"] == ("kept", "", 101)


async def _feed(reader: asyncio.StreamReader, other: asyncio.StreamReader) -> None:
    while data := await reader.read(65536):
        other.feed_data(data)
    other.feed_eof()


def test_a_hop_that_takes_upgrade_away_is_broken_and_no_call_is_placed(
    sidecar: RunningSidecar,
) -> None:
    def strip(head: bytes) -> bytes:
        return head.replace(b"Upgrade: websocket\r\n", b"").replace(
            b"Connection: Upgrade", b"Connection: close"
        )

    good, bad = compared(sidecar, passing(sidecar), passing(sidecar, request=strip)).passages[1:]
    assert (verdict_of(good), verdict_of(bad)) == ("healthy", "broken")
    assert (bad.diagnosis.rule, bad.calls, bad.manners, bad.targets) == ("HS01", (), None, ())
    dropped = next(r for r in make_table([good, bad]).rows if r.title == "request: dropped")
    assert dropped.cells == ("nothing", "Upgrade: websocket")


def test_a_hop_that_is_not_there_is_broken_beside_others(sidecar: RunningSidecar) -> None:
    async def gone(peer: Peer) -> None:
        peer.reset()

    good, bad = compared(sidecar, passing(sidecar), gone).passages[1:]
    assert (verdict_of(good), verdict_of(bad)) == ("healthy", "broken")


def test_without_the_admin_address_only_answers_are_known(sidecar: RunningSidecar) -> None:
    [seen] = compared(sidecar, passing(sidecar), admin=False).passages
    assert (seen.name, seen.calls, seen.manners, seen.targets) == ("a", (), None, ())
    titles = {row.title: row.cells[0] for row in make_table([seen]).rows}
    assert titles["upgrade"] == "101"
    assert "request: added" not in titles
    assert "round trip" not in titles


def test_a_sidecar_that_is_not_reached_directly_is_no_column(sidecar: RunningSidecar) -> None:
    seen = compared(sidecar, passing(sidecar), connect_s=0.5)
    assert seen.passages[0].is_direct
    other = asyncio.run(
        compare(
            read_entries([f"a=http://127.0.0.1:{sidecar.port}"]),
            asked(sidecar, admin="http://127.0.0.1:1"),
            1,
            0.1,
            lambda _: None,
        )
    )
    assert [each.name for each in other.passages] == ["a"]
    assert other.notes[0].startswith("the sidecar's admin address gave nothing")


def test_authorities_that_cannot_be_read_are_said(sidecar: RunningSidecar, tmp_path: Path) -> None:
    entries = read_entries(["https://voice.example.com"], ["voice.example.com=127.0.0.1:1"])
    options = asked(sidecar, ca=tmp_path / "none.pem")
    with pytest.raises(OSError, match=r"none\.pem"):
        asyncio.run(compare(entries, options, 1, 0.1, lambda _: None))
