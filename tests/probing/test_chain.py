"""A whole chain: what is recorded of healthy hops, of gateways, and without the admin address."""

import asyncio
import socket
from pathlib import Path

import pytest

from doctor.addresses import Address
from doctor.evidence import Hop, Probe
from doctor.probing import ProbeOptions, probe_chain
from peers import RunningSidecar
from probing.broken_hops import (
    QUICK,
    Handler,
    Peer,
    admin_of,
    chain,
    faults,
    passing,
    probe,
    serving,
)
from probing.conftest import Gateway, proper
from programs import free_port

ECHOES = [
    *("text 1 B", "ping", "burst 10 x 20 ms", "text 1 KiB", "fragments 3"),
    *("binary 64 KiB", "binary 1 MiB"),
    *("close 1000 by client", "close 4000 by client", "close 4001 by server"),
]
PHASES = ["resolve", "connect", "request", "response", "echo", "close"]


def _hops(gateway: Gateway, sidecar: RunningSidecar) -> list[Hop]:
    return [
        Hop("gateway", "gateway", f"http://127.0.0.1:{gateway.port}"),
        Hop("sidecar", "sidecar", f"http://127.0.0.1:{sidecar.port}"),
    ]


def _fronted(hops: list[Hop], handler: Handler, **options: object) -> tuple[Probe, ...]:
    """The hops and one more in front of them."""

    async def run() -> tuple[Probe, ...]:
        async with serving(handler) as port:
            front = Hop("front", "other", f"http://127.0.0.1:{port}")
            told = ProbeOptions(**QUICK | options)  # type: ignore[arg-type]
            return await probe_chain([*hops, front], told, lambda _: None)

    return asyncio.run(run())


def test_a_healthy_chain_has_every_phase_and_every_echo(
    gateway: Gateway, sidecar: RunningSidecar
) -> None:
    first, second, third = _fronted(
        _hops(gateway, sidecar), passing(sidecar), admin=admin_of(sidecar), host="v.example.com"
    )
    assert [phase.name for phase in first.phases] == PHASES[:4]
    for found in (second, third):
        assert [phase.name for phase in found.phases] == PHASES
        assert [echo.name for echo in found.echoes] == ECHOES
        assert list(faults(found)) == []
        assert found.is_good
        assert found.addresses == ("127.0.0.1",)
    assert (first.echoes, first.is_good, first.notes) == ((), True, ())
    assert third.notes == ()
    assert first.upgrade is not None
    assert first.upgrade.sent("X-Hopscope-Probe") is None, "behind the sidecar no id means anything"
    assert first.upgrade.arrivals is None


def test_what_was_sent_lies_beside_what_arrived(sidecar: RunningSidecar) -> None:
    def bend(head: bytes) -> bytes:
        return head.replace(b"User-Agent: ", b"X-Added: 1\r\nuser-agent: ")

    found = probe(passing(sidecar, request=bend), sidecar, host="v.example.com", auth_token="t")
    assert found.upgrade is not None
    arrival = found.upgrade.arrival
    assert arrival is not None
    sent = [name for name, _ in found.upgrade.fields]
    assert sent == [
        *("Host", "User-Agent", "Connection", "Upgrade", "Sec-WebSocket-Version"),
        *("Sec-WebSocket-Key", "X-Twilio-Signature", "X-Hopscope-Probe"),
    ]
    arrived = [name for name, _ in arrival.fields]
    assert arrived == [sent[0], "X-Added", "user-agent", *sent[2:]]
    assert found.upgrade.sent("Host") == arrival.value("Host") == "v.example.com"
    assert arrival.value("X-Twilio-Signature") is None
    assert (arrival.method, arrival.target, arrival.version) == ("GET", "/voice/stream", "1.1")
    assert (arrival.was_echoed, arrival.status, arrival.outcome) == (True, 101, "upgraded")
    assert dict(arrival.answer_fields)["Upgrade"] == "websocket"
    assert found.upgrade.answer is not None
    assert found.upgrade.answer.stamp is not None
    assert found.upgrade.answer.stamp.id == arrival.id
    assert found.upgrade.answer.stamp.received_status == 101


def test_plain_requests_and_the_webhooks_path_go_through_to_the_gateway(
    sidecar: RunningSidecar,
) -> None:
    found = probe(passing(sidecar), sidecar, webhook_path="/hook?token=s3cret")
    assert found.plain is not None
    assert found.webhook is not None
    for exchange, target in (
        (found.plain, "/voice/stream"),
        (found.webhook, "/hook?token=[hidden]"),
    ):
        assert (exchange.method, exchange.target, exchange.fault) == ("GET", target, "")
        assert exchange.answer is not None
        assert (exchange.answer.status, exchange.answer.body) == (404, "no such path")
        assert exchange.answer.stamp is not None
        assert exchange.arrival is not None
        assert exchange.arrival.target == target
        assert not exchange.arrival.was_echoed
    assert "s3cret" not in repr(found)


def test_an_offer_shows_what_a_hop_drops(sidecar: RunningSidecar) -> None:
    def drop(head: bytes) -> bytes:
        return head.replace(b"Sec-WebSocket-Protocol: hopscope.probe\r\n", b"")

    found = probe(passing(sidecar, request=drop), sidecar)
    assert found.offer is not None
    assert found.offer.arrival is not None
    assert found.offer.sent("Sec-WebSocket-Protocol") == "hopscope.probe"
    assert not found.offer.arrival.has("Sec-WebSocket-Protocol")
    assert found.offer.arrival.value("Sec-WebSocket-Extensions") == "permessage-deflate"
    assert found.is_good


def test_an_upgrade_that_loses_its_upgrade_fails_on_the_way_in(sidecar: RunningSidecar) -> None:
    def strip(head: bytes) -> bytes:
        return head.replace(b"Upgrade: websocket\r\n", b"").replace(b"Upgrade", b"close")

    found = probe(passing(sidecar, request=strip), sidecar)
    assert list(faults(found)) == [("request", "not_upgraded")]
    assert found.upgrade is not None
    assert found.upgrade.arrival is not None
    assert not found.upgrade.arrival.has("Upgrade")
    assert found.echoes == ()


def test_an_upgrade_that_loses_its_101_fails_on_the_way_back(sidecar: RunningSidecar) -> None:
    def lose(head: bytes) -> bytes:
        return head.replace(b"101 Switching Protocols", b"200 OK")

    found = probe(passing(sidecar, response=lose), sidecar)
    assert list(faults(found)) == [("response", "not_upgraded")]
    assert found.upgrade is not None
    assert found.upgrade.arrival is not None
    assert found.upgrade.arrival.status == 101


def test_the_way_back_is_told_by_the_stamp_where_the_admin_address_is_not_known(
    sidecar: RunningSidecar,
) -> None:
    def lose(head: bytes) -> bytes:
        return head.replace(b"101 Switching Protocols", b"200 OK")

    found = probe(passing(sidecar, response=lose))
    assert list(faults(found)) == [("response", "not_upgraded")]
    assert found.upgrade is not None
    assert found.upgrade.arrivals is None
    assert found.upgrade.fields[-1][0] == "Sec-WebSocket-Key", "no id was armed, none is sent"
    assert any("admin address is not known" in note for note in found.notes)


def test_an_admin_address_that_does_not_answer_is_a_note(sidecar: RunningSidecar) -> None:
    found = probe(passing(sidecar), admin=f"http://127.0.0.1:{free_port()}")
    assert found.is_good
    assert found.upgrade is not None
    assert found.upgrade.arrivals is None
    assert any("gave nothing: nothing listens on" in note for note in found.notes)
    found = probe(passing(sidecar), admin=f"http://127.0.0.1:{sidecar.port}")
    assert any("gave nothing" in note for note in found.notes), "that is no admin address"
    found = probe(passing(sidecar), admin="127.0.0.1:9101")
    assert any("gave nothing" in note for note in found.notes)


def test_a_101_that_did_not_pass_the_sidecar_is_not_echoed_on(sidecar: RunningSidecar) -> None:
    heard = bytearray()

    async def bypass(peer: Peer) -> None:
        head = await peer.head()
        await peer.switch(head)
        while data := await peer.reader.read(65536):
            heard.extend(data)

    found = probe(bypass, sidecar)
    assert found.is_good
    assert (found.echoes, found.upgrade and found.upgrade.arrivals) == ((), ())
    assert len(heard) == 8, "nothing but a Close was said to whoever it is"
    assert heard[0] == 0x88


def test_strangers_at_the_sidecars_port_are_told_where_an_upgrade_did_not_arrive(
    sidecar: RunningSidecar,
) -> None:
    async def dials_tls(peer: Peer) -> None:
        await peer.head()
        for opening in (b"\x16\x03\x01\0\x05hello", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"):
            reader, writer = await asyncio.open_connection("127.0.0.1", sidecar.port)
            writer.write(opening)
            await reader.read()
            writer.close()
        await peer.answer("502 Bad Gateway")

    found = probe(dials_tls, sidecar)
    assert found.upgrade is not None
    assert found.upgrade.arrivals == ()
    assert set(found.upgrade.strangers) == {"tls", "http2"}

    async def refuses(peer: Peer) -> None:
        await peer.head()
        await peer.answer("502 Bad Gateway")

    found = probe(refuses, sidecar)
    assert found.upgrade is not None
    assert found.upgrade.strangers == (), "those of an earlier run are not this one's"


def test_a_name_can_be_given_another_address_as_curls_resolve_does(
    sidecar: RunningSidecar,
) -> None:
    hop = Hop("public", "other", f"http://voice.example.com:{sidecar.port}")
    [found] = chain([hop], admin=admin_of(sidecar), resolve={"voice.example.com": "127.0.0.1"})
    assert found.is_good
    assert found.addresses == ("127.0.0.1",)
    assert found.upgrade is not None
    assert found.upgrade.sent("Host") == f"voice.example.com:{sidecar.port}"


def test_the_public_name_can_be_dialled_elsewhere_and_no_other_hop_is(
    gateway: Gateway, sidecar: RunningSidecar
) -> None:
    public = Hop("public", "other", "http://voice.example.com")
    there = Address("127.0.0.1", sidecar.port)
    *inner, found = chain(
        [*_hops(gateway, sidecar), public], admin=admin_of(sidecar), connect_to=there
    )
    assert [probe.is_good for probe in inner] == [True, True]
    assert found.is_good
    assert found.upgrade is not None
    assert found.upgrade.sent("Host") == "voice.example.com"


def test_an_address_that_does_not_answer_beside_one_that_does_is_a_note(
    sidecar: RunningSidecar, monkeypatch: pytest.MonkeyPatch
) -> None:
    def both(_host: str, port: int, **_: object) -> list[object]:
        stream = socket.SOCK_STREAM
        return [
            (socket.AF_INET6, stream, 6, "", ("::1", port, 0, 0)),
            (socket.AF_INET, stream, 6, "", ("127.0.0.1", port)),
        ]

    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: both(a[0], a[1]))
    [found] = chain([Hop("sidecar", "sidecar", f"http://voice.example.com:{sidecar.port}")])
    assert found.addresses == ("::1", "127.0.0.1")
    assert any("[::1]:" in note and "not every address answers" in note for note in found.notes)
    assert found.phase("response") is not None


def test_the_progress_names_hop_and_phase(sidecar: RunningSidecar) -> None:
    said: list[str] = []
    hop = Hop("sidecar", "sidecar", f"http://127.0.0.1:{sidecar.port}")
    options = ProbeOptions(admin=admin_of(sidecar), idle_s=0.1, soak_s=0.1)
    asyncio.run(probe_chain([hop], options, said.append))
    assert said == [
        "sidecar: connecting",
        "sidecar: asking",
        "sidecar: echo",
        "silent for 0.1 s",
        "media for 0.1 s",
    ]


def test_notes_of_discovery_are_the_hops(sidecar: RunningSidecar) -> None:
    found = probe(passing(sidecar), sidecar, hop_notes={"front": ("from a metrics port",)})
    assert found.notes == ("from a metrics port",)


def test_a_ca_file_without_certificates_is_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    hop = Hop("front", "other", "https://127.0.0.1:1")
    with pytest.raises(OSError, match=r"ca\.pem: no certificates: No such file"):
        chain([hop], ca=file)
    file.write_text("no pem")
    with pytest.raises(OSError, match=r"ca\.pem: no certificates"):
        chain([hop], ca=file)


def test_a_hop_whose_url_is_none_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(ValueError, match=r"hop 'front': url = 'voice.example.com': has no scheme"):
        chain([Hop("front", "other", "voice.example.com")])


def test_no_hops_give_no_probes() -> None:
    assert chain([]) == ()


def test_the_admin_address_gets_its_token_and_a_missing_one_is_told() -> None:
    asked = []

    async def guarded(peer: Peer) -> None:
        head = await peer.head()
        asked.append((head.method, head.target))
        if head.value("Authorization") != "Bearer t0ken":
            await peer.answer("401 Unauthorized")
        elif head.target == "/":
            await peer.answer("200 OK", body='{"listen": null}')
        elif head.method == "POST":
            await peer.answer("429 Too Many Requests", body="too many probes are armed")
        else:
            await peer.answer("200 OK", body="[]")

    async def run(token: str | None) -> Probe:
        async with serving(guarded) as port, serving(proper) as behind:
            hop = Hop("front", "other", f"http://127.0.0.1:{behind}")
            admin = {"admin": f"http://127.0.0.1:{port}", "admin_token": token}
            told = ProbeOptions(**QUICK | admin)  # type: ignore[arg-type]
            return (await probe_chain([hop], told, lambda _: None))[0]

    found = asyncio.run(run(None))
    assert any("wants the bearer token HOPSCOPE_ADMIN_TOKEN" in note for note in found.notes)
    assert asked == [("GET", "/")]
    found = asyncio.run(run("t0ken"))
    assert ("POST", "/api/probes") in asked
    assert any("answered 429: too many probes are armed" in note for note in found.notes)
    assert found.is_good
    assert "t0ken" not in repr(found)


def test_an_admin_address_that_is_something_else_is_told_in_one_line() -> None:
    async def other(peer: Peer) -> None:
        await peer.head()
        await peer.answer("404 Not Found", body="<h1>\n\x1b[2J\n token=hunter2</h1>")

    async def run() -> Probe:
        async with serving(other) as port, serving(proper) as behind:
            hop = Hop("front", "other", f"http://127.0.0.1:{behind}")
            options = ProbeOptions(admin=f"http://127.0.0.1:{port}", **QUICK)  # type: ignore[arg-type]
            return (await probe_chain([hop], options, lambda _: None))[0]

    [note] = asyncio.run(run()).notes
    assert "answered 404: <h1> \\x1b[2J token=[hidden]" in note
    assert "\n" not in note


def test_nothing_stays_armed_when_an_examination_is_over(sidecar: RunningSidecar) -> None:
    found = probe(passing(sidecar), sidecar, idle_s=0.1, soak_s=0.1)
    assert list(faults(found)) == []
    assert found.upgrade is not None
    assert found.upgrade.arrivals, "they were fetched before"
    assert sidecar.call(lambda: len(sidecar.sidecar.probes._probes)) == 0


def test_an_upgrade_that_may_still_be_on_its_way_stays_armed(sidecar: RunningSidecar) -> None:
    async def sleeps(peer: Peer) -> None:
        await peer.linger()

    found = probe(sleeps, sidecar)
    assert found.upgrade is not None
    assert found.upgrade.fault == "timeout"
    left = sidecar.call(lambda: list(sidecar.sidecar.probes._probes))
    assert found.upgrade.sent("X-Hopscope-Probe") in [f"{each}; echo" for each in left]


def test_where_no_probe_can_be_armed_it_is_told_what_was_not_tried(
    sidecar: RunningSidecar, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.probes.PROBES_LIMIT", 0)
    found = probe(passing(sidecar), sidecar, idle_s=0.1, soak_s=0.1)
    assert list(faults(found)) == []
    assert [each.phase for each in found.untried] == ["echo", "idle", "media"]
    assert all("429: too many probes are armed" in each.because for each in found.untried)
    assert (found.echoes, found.silence, found.soak) == ((), None, None)
