"""Gateways: directly, and through the sidecar that is in front of them."""

import asyncio

import pytest

from doctor.evidence import Hop, Probe
from doctor.probing import ProbeOptions, probe_chain
from doctor.signing import Signer
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
from probing.conftest import Gateway
from programs import free_port


def _hops(gateway: Gateway, sidecar: RunningSidecar) -> list[Hop]:
    return [
        Hop("gateway", "gateway", f"http://127.0.0.1:{gateway.port}"),
        Hop("sidecar", "sidecar", f"http://127.0.0.1:{sidecar.port}"),
    ]


def _gateway(handler: Handler, **options: object) -> Probe:
    async def run() -> Probe:
        async with serving(handler) as port:
            hop = Hop("gateway", "gateway", f"http://127.0.0.1:{port}")
            [found] = await probe_chain([hop], ProbeOptions(**QUICK | options), lambda _: None)  # type: ignore[arg-type]
            return found

    return asyncio.run(run())


@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden"])
def test_a_gateway_that_refuses_who_is_not_twilio_is_there(status: str) -> None:
    async def refuse(peer: Peer) -> None:
        await peer.head()
        await peer.answer(status)

    found = _gateway(refuse)
    assert found.is_good
    assert f"the gateway refused the unsigned upgrade: {status}" in found.notes


@pytest.mark.parametrize("status", ["426 Upgrade Required", "404 Not Found", "502 Bad Gateway"])
def test_a_gateway_that_does_not_switch_is_broken(status: str) -> None:
    async def refuse(peer: Peer) -> None:
        await peer.head()
        await peer.answer(status)

    found = _gateway(refuse)
    assert list(faults(found)) == [("request", "not_upgraded")]


@pytest.mark.parametrize(
    ("close", "fault"),
    [(b"\x03\xf0", ""), (b"", ""), (b"\x0f\xa1", ""), (b"\x03\xf3", "cut"), (b"\x03\xe9", "cut")],
)
def test_a_gateway_may_refuse_by_a_close_but_not_fail_by_one(close: bytes, fault: str) -> None:
    async def refuse(peer: Peer) -> None:
        await peer.switch(await peer.head())
        await peer.say(bytes((0x88, len(close))) + close)
        await peer.linger()

    found = _gateway(refuse)
    assert [each for _, each in faults(found)] == ([fault] if fault else [])
    assert bool(found.notes) or fault


def test_an_upgrade_is_signed_over_the_public_url_where_the_token_is_known() -> None:
    seen = []

    async def look(peer: Peer) -> None:
        head = await peer.head()
        if head.value("Upgrade"):
            seen.append(head)
        await peer.answer("403 Forbidden")

    _gateway(look, auth_token="0123", host="v.example.com", stream_path="/s?x=1")
    assert seen[0].value("X-Twilio-Signature") == Signer("0123").sign("ws://v.example.com/s")
    assert seen[0].value("Origin") is None
    assert seen[0].values("Sec-WebSocket-Extensions") == []


def test_no_probe_posts_anything_and_at_most_four_connections_are_open(
    sidecar: RunningSidecar,
) -> None:
    methods = set()
    count = most = 0
    inner = passing(sidecar)

    async def counting(peer: Peer) -> None:
        nonlocal count, most
        count += 1
        most = max(most, count)
        raw = await peer.reader.readuntil(b"\r\n\r\n")
        methods.add(raw.split(b" ")[0])
        peer.reader._buffer[:0] = raw  # type: ignore[attr-defined]
        try:
            await inner(peer)
        finally:
            count -= 1

    assert probe(counting, sidecar, soak_s=0.1, idle_s=0.1).is_good
    assert methods == {b"GET"}
    assert most <= 4


def test_a_refusal_without_a_stamp_is_the_gateways_where_it_says_the_same(
    sidecar: RunningSidecar,
) -> None:
    async def refuse(peer: Peer) -> None:
        await peer.head()
        await peer.answer("403 Forbidden", body="bad signature")

    async def other(peer: Peer) -> None:
        await peer.head()
        await peer.answer("403 Forbidden", body="blocked by policy")

    async def run(front: Handler) -> Probe:
        async with serving(refuse) as behind, serving(front) as port:
            hops = [
                Hop("gateway", "gateway", f"http://127.0.0.1:{behind}"),
                Hop("front", "nginx", f"http://127.0.0.1:{port}"),
            ]
            told = ProbeOptions(**QUICK)  # type: ignore[arg-type]
            return (await probe_chain(hops, told, lambda _: None))[1]

    passed = asyncio.run(run(refuse))
    assert passed.is_good
    assert any("gateway's own refusal" in note for note in passed.notes)
    assert list(faults(asyncio.run(run(other)))) == [("request", "not_upgraded")]


def test_the_sidecar_passes_an_upgrade_through_to_the_gateway(
    gateway: Gateway, sidecar: RunningSidecar
) -> None:
    _, found = chain(_hops(gateway, sidecar), admin=admin_of(sidecar))
    assert found.through is not None
    assert found.through.answer is not None
    assert found.through.answer.status == 101
    assert found.through.arrival is not None
    assert found.through.arrival.upstream == f"http://127.0.0.1:{gateway.port}"
    assert not found.through.arrival.was_echoed


def test_a_sidecar_whose_gateway_cannot_be_reached_fails_on_the_way_in() -> None:
    sidecar = RunningSidecar("asyncio", upstream=f"http://127.0.0.1:{free_port()}")
    try:
        hop = Hop("sidecar", "sidecar", f"http://127.0.0.1:{sidecar.port}")
        [found] = chain([hop], admin=admin_of(sidecar))
    finally:
        sidecar.close()
    assert list(faults(found)) == [("request", "not_upgraded")]
    assert found.broken is not None
    assert found.broken.detail == "through to the gateway: 503 Service Unavailable"
    assert found.through is not None
    assert found.through.answer is not None
    assert found.through.answer.stamp is not None
    assert found.through.answer.stamp.error == "connection_refused"
    assert [echo.fault for echo in found.echoes] == [""] * 10


def test_a_gateway_is_asked_for_what_the_sidecar_makes_of_the_paths() -> None:
    asked = []

    async def note(peer: Peer) -> None:
        head = await peer.head()
        asked.append(head.target)
        if head.value("Upgrade"):
            await peer.switch(head)
            await peer.linger()
        await peer.answer("404 Not Found")

    async def run() -> Probe:
        async with serving(note) as port:
            route = {"upstream": f"http://127.0.0.1:{port}", "strip_prefix": "/voice"}
            sidecar = RunningSidecar("asyncio", route=[{"name": "all", **route}])
            try:
                hop = Hop("gateway", "gateway", f"http://127.0.0.1:{port}")
                told = ProbeOptions(admin=admin_of(sidecar), **QUICK)  # type: ignore[arg-type]
                [found] = await probe_chain([hop], told, lambda _: None)
            finally:
                sidecar.close()
        return found

    assert asyncio.run(run()).is_good
    assert sorted(asked) == ["/stream", "/stream", "/webhook"]


def test_a_sidecar_that_wants_a_proxy_header_gets_one(gateway: Gateway) -> None:
    sidecar = RunningSidecar(
        "asyncio", upstream=f"http://127.0.0.1:{gateway.port}", proxy_protocol=True
    )
    try:
        _, found = chain(_hops(gateway, sidecar), admin=admin_of(sidecar))
    finally:
        sidecar.close()
    assert list(faults(found)) == []


def test_a_webhook_that_goes_to_another_gateway_is_not_asked_of_this_one_by_its_path_there() -> (
    None
):
    asked = []

    async def note(peer: Peer) -> None:
        head = await peer.head()
        asked.append(head.target)
        await peer.answer("403 Forbidden")

    async def run() -> None:
        async with serving(note) as port:
            routes = [
                {"name": "hook", "path": "/voice/webhook", "rewrite": "/elsewhere"}
                | {"upstream": f"http://127.0.0.1:{free_port()}"},
                {"name": "rest", "upstream": f"http://127.0.0.1:{port}"},
            ]
            sidecar = RunningSidecar("asyncio", route=routes)
            try:
                hop = Hop("gateway", "gateway", f"http://127.0.0.1:{port}")
                told = ProbeOptions(admin=admin_of(sidecar), **QUICK)  # type: ignore[arg-type]
                await probe_chain([hop], told, lambda _: None)
            finally:
                sidecar.close()

    asyncio.run(run())
    assert sorted(asked) == ["/voice/stream", "/voice/stream", "/voice/webhook"]
