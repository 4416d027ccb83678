"""HS: what hops make of the upgrade on its way to the sidecar."""

from dataclasses import replace

import pytest

from doctor.evidence import Exchange, Pairs, Sight
from sights import (
    KEY,
    PLAIN,
    SENT,
    SIDECAR,
    STREAM,
    Case,
    arrival,
    changed,
    head,
    plain,
    probe,
    said,
    sight,
    skipped,
    upgrade,
    without,
)


def came(status: int, fields: Pairs, version: str = "1.1", **more: object) -> Exchange:
    """An upgrade that arrived changed, and was answered by the sidecar's echo."""
    seen = arrival(fields, version=version, status=status, **more)  # type: ignore[arg-type]
    return upgrade(status, came=seen)


OTHER_KEY = "AAAAAAAAAAAAAAAAAAAAAA=="
STRIPPED = came(426, without("Upgrade", "Connection"), "1.0")
RECASED = tuple((name.lower(), value) for name, value in SENT)
BY_GATEWAY = arrival(RECASED, status=400, was_echoed=False)
OFFER_SENT: Pairs = (*SENT, ("Sec-WebSocket-Protocol", "hopscope.probe"))
TRADITIONAL = sight("nginx", upgrade(came=arrival(changed(SENT, Connection="upgrade"))))


def offer(fields: Pairs) -> Exchange:
    return upgrade(sent=OFFER_SENT, came=arrival(fields))


CASES = (
    Case(
        "HS01",
        sight("nginx", STRIPPED),
        "nginx removed the Upgrade header: the upgrade left the doctor with Upgrade: websocket and "
        "arrived at the sidecar without it",
        TRADITIONAL,
    ),
    Case(
        "HS02",
        sight("nginx", came(400, changed(SENT, Connection="close"))),
        "with Connection: Upgrade and arrived at the sidecar with Connection: close",
        sight("nginx", STRIPPED),
    ),
    Case(
        "HS03",
        sight("nginx", came(426, SENT, "1.0")),
        "nginx passed the upgrade on as HTTP/1.0",
        sight("nginx", came(101, SENT, "1.0")),
    ),
    Case(
        "HS08",
        sight("nginx", came(101, SENT, target="/stream")),
        "/voice/stream was asked for, and /stream arrived at the sidecar",
        TRADITIONAL,
    ),
    Case(
        "HS09",
        sight("haproxy", offer=offer(SENT)),
        "hopscope.probe was offered and none arrived",
        sight("haproxy", offer=offer(OFFER_SENT)),
    ),
    Case(
        "HS10",
        sight(
            "nginx",
            upgrade(
                421, came=arrival(changed(SENT, Host="10.0.0.2"), status=421, was_echoed=False)
            ),
        ),
        "voice.example.com was sent and 10.0.0.2 arrived, and the gateway answers 421 to it",
        sight("nginx", came(101, changed(SENT, Host="10.0.0.2"))),
    ),
    Case(
        "HS11",
        sight("haproxy", came(400, without("Sec-WebSocket-Key"))),
        "haproxy removed the Sec-WebSocket-Key, and 400 came back",
        sight("other", came(101, changed(SENT, Sec_WebSocket_Key=OTHER_KEY))),
    ),
    Case(
        "HS12",
        sight("nginx", came(101, SENT, "1.0")),
        "HTTP version: 1.0",
        sight("nginx", came(426, SENT, "1.0")),
    ),
    Case(
        "HS13",
        sight("nginx", plain=plain(came=changed(PLAIN, Connection="upgrade"))),
        "nginx sends Connection: upgrade with plain requests, too",
        sight("nginx", plain=plain(came=changed(PLAIN, Connection="close"))),
    ),
    Case(
        "HS14",
        sight("haproxy", upgrade(400, came=BY_GATEWAY)),
        "haproxy respells header names (Host as host, User-Agent as user-agent",
        sight("haproxy", came(101, RECASED)),
    ),
    Case(
        "HS18",
        sight("other", came(426, changed(SENT, Sec_WebSocket_Version="8"))),
        "changed Sec-WebSocket-Version from 13 to 8",
        sight("other", came(400, without("Sec-WebSocket-Version", "Sec-WebSocket-Key"))),
    ),
    Case(
        "HS19",
        sight("other", came(101, (*SENT, ("Sec-WebSocket-Extensions", "permessage-deflate")))),
        "offers an extension that was not asked for: permessage-deflate",
        TRADITIONAL,
    ),
    Case(
        "HS21",
        sight("nginx", came(101, changed(SENT, Host="10.0.0.2"))),
        "nginx replaced Host: voice.example.com was sent and 10.0.0.2 arrived",
        sight(
            "nginx", came(101, changed(SENT, Host="10.0.0.2", X_Forwarded_Host="VOICE.example.com"))
        ),
    ),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_a_rule_fires_alone_and_says_what_was_seen(case: Case) -> None:
    assert case.says in said(case.fires)[case.rule].saw
    assert case.fires_alone, said(case.fires)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_a_rule_stays_quiet_where_something_else_is_wrong(case: Case) -> None:
    assert case.rule not in said(case.quiet)


def captured(name: str, status: int) -> Sight:
    """A head that a real program wrote, as the sidecar recorded it."""
    version, fields = head(name)
    seen = arrival(fields, version=version, status=status)
    return sight("nginx", upgrade(status, came=seen))


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("nginx/h01-upgrade", "HS01"),
        ("nginx/h02-upgrade", "HS01"),
        ("nginx/h03-upgrade", "HS02"),
        ("nginx/h04-upgrade", "HS01"),
        ("nginx/h05-upgrade", "HS03"),
        ("nginx/1.30.4-h03-upgrade", "HS02"),
        ("nginx/1.31.4-h03-upgrade", "HS02"),
        ("nginx/1.31.4-h04-upgrade", "HS01"),
        ("haproxy/h12-upgrade", "HS01"),
        ("apache/plain-upgrade", "HS01"),
        ("cloudflare/typed-as-http-upgrade", "HS01"),
        ("tailscale-funnel/over-h2-upgrade", "HS01"),
    ],
)
def test_heads_of_real_programs_are_told_by_what_they_lost(name: str, rule: str) -> None:
    errors = {each.rule for each in said(captured(name, 426)).values() if each.level == "error"}
    assert errors == {rule}


@pytest.mark.parametrize(
    "name",
    [
        "nginx/usual-upgrade",
        "nginx/1.31.4-usual-upgrade",
        "haproxy/forwardfor-upgrade",
        "caddy/upgrade",
        "traefik/upgrade",
        "envoy/upgrade",
        "cloudflare/upgrade",
        "tailscale-funnel/upgrade",
        "tailscale-serve/upgrade",
        "apache/preserve-host-upgrade",
        "ngrok/upgrade",
    ],
)
def test_heads_of_healthy_programs_are_nothing_to_talk_about(name: str) -> None:
    seen = captured(name, 101)
    sent = dict(seen.probe.upgrade.fields)["Host"] if seen.probe.upgrade else None
    host = {n.lower(): v for n, v in head(name)[1]}["host"]
    if host != sent:
        seen = captured_under(name, str(host))
    assert said(seen) == {}


def captured_under(name: str, host: str) -> Sight:
    """The same where the capture was made under another name."""
    version, fields = head(name)
    seen = arrival(fields, version=version)
    return sight("nginx", upgrade(came=seen, sent=changed(SENT, Host=host)))


def test_what_the_hop_behind_has_lost_already_is_not_this_hop_s_doing() -> None:
    behind = probe("nginx", STRIPPED)
    assert said(sight("cloudflared", STRIPPED, behind=behind)) == {}
    assert "HS01" in said(sight("cloudflared", STRIPPED, behind=SIDECAR))


@pytest.mark.parametrize(
    ("rule", "exchange"),
    [
        ("HS02", came(400, changed(SENT, Connection="close"))),
        ("HS03", came(426, SENT, "1.0")),
        ("HS08", came(101, SENT, target="/stream")),
        ("HS10", CASES[5].fires.probe.upgrade),
        ("HS11", came(400, without("Sec-WebSocket-Key"))),
        ("HS12", came(101, SENT, "1.0")),
        ("HS18", came(426, changed(SENT, Sec_WebSocket_Version="8"))),
        ("HS19", came(101, (*SENT, ("Sec-WebSocket-Extensions", "permessage-deflate")))),
        ("HS21", came(101, changed(SENT, Host="10.0.0.2"))),
    ],
)
def test_a_hop_that_only_passes_it_on_is_not_accused(rule: str, exchange: Exchange) -> None:
    front = sight("cloudflared", exchange, behind=probe("nginx", exchange))
    assert rule not in said(front)
    assert rule in said(sight("nginx", exchange))


def test_the_gateway_and_the_sidecar_are_not_judged_by_what_came_to_the_sidecar() -> None:
    assert "HS01" not in said(sight("sidecar", STRIPPED))
    assert "HS08" not in said(sight("sidecar", came(101, SENT, target="/stream")))


def test_a_prefix_that_is_added_where_the_hop_behind_strips_it_again_is_no_rewriting() -> None:
    inner = probe("nginx", came(101, SENT, target="/stream"))
    assert "HS08" not in said(sight("caddy", came(101, SENT, target="/stream"), behind=inner))
    restored = sight("caddy", came(101, SENT, target=STREAM), behind=inner)
    assert "HS08" in said(restored)


def test_only_the_query_that_is_gone_is_a_rewritten_target_too() -> None:
    query = replace(came(101, SENT), target=f"{STREAM}?token=[hidden]")
    assert "token" in said(sight("haproxy", query, behind=None))["HS08"].saw


def test_a_query_whose_values_are_hidden_is_told_apart_by_its_digest() -> None:
    target = f"{STREAM}?token=[hidden]"
    seen = replace(arrival(target=target), target_digest="b" * 16)
    exchange = replace(upgrade(came=seen), target=target, target_digest="a" * 16)
    changed_on_the_way = said(sight("other", exchange, behind=None))
    assert "it arrived spelt otherwise" in changed_on_the_way["HS08"].saw
    same = replace(exchange, target_digest="b" * 16)
    assert said(sight("other", same, behind=None)) == {}


def test_a_key_that_was_replaced_is_told_from_one_that_was_removed() -> None:
    fields = changed(SENT, Sec_WebSocket_Key=OTHER_KEY)
    found = said(sight("other", upgrade(502, "go", came=arrival(fields, status=502))))
    assert "replaced the Sec-WebSocket-Key" in found["HS11"].saw
    assert KEY not in found["HS11"].saw


def test_without_the_admin_address_what_arrived_is_skipped_and_says_so() -> None:
    exchange = upgrade(426, "gateway", admin=False)
    seen = sight("nginx", exchange)
    assert {"HS01", "HS02", "HS03", "HS08"} <= set(skipped(seen))
    assert "--admin" in skipped(seen)["HS01"]
    assert said(seen) == {}
