"""TW: what Twilio objects to."""

from dataclasses import replace
from typing import Any

import pytest

from doctor.evidence import Exchange, Sight
from sights import (
    GATEWAY,
    HOST,
    SENT,
    STREAM,
    Case,
    answer,
    arrival,
    changed,
    probe,
    said,
    sight,
    skipped,
    upgrade,
    webhook,
)


def twiml(url: str) -> str:
    return f'<Response><Connect><Stream url="{url}"/></Connect></Response>'


def call(
    status: int | None = 200, url: str = f"wss://{HOST}{STREAM}", **more: Any
) -> dict[str, Any]:
    """What `hopscope call --json` prints, as far as it is read."""
    told = {"webhook": {"status": status, "ms": 3.0}, "twiml": twiml(url)} | more
    return {"call": told}


def at_gateway(extra: dict[str, Any], exchange: Exchange | None = None) -> Sight:
    return sight("gateway", exchange, extra=extra)


def asked(proto: str | None, host: str = HOST) -> Exchange:
    """The webhook's path, asked by https, and what arrived of it."""
    fields = changed(SENT, Host=host, X_Forwarded_Proto=proto)
    return replace(webhook(), arrivals=(arrival(fields, target="/voice/webhook", status=405),))


def edge(exchange: Exchange, status: int | None = 403) -> Sight:
    """A hop that is asked by https; the upgrade itself arrives with https in its field."""
    fine = upgrade(came=arrival(changed(SENT, X_Forwarded_Proto="https")))
    url = f"https://{HOST}"
    return sight("nginx", fine, url=url, webhook=exchange, extra=call(status))


def proto(value: str | None, url: str = f"https://{HOST}") -> Sight:
    return sight("traefik", upgrade(came=arrival(changed(SENT, X_Forwarded_Proto=value))), url=url)


MISSING = {
    "missing": ({"url": f"wss://{HOST}{STREAM}", "because": ["host_elsewhere", "call_ended"]},)
}
UNSERVED = upgrade(answer(404))

CASES = (
    Case(
        "TW01",
        edge(asked("http")),
        f"https://{HOST}/voice/webhook was asked for, the gateway is shown http://{HOST}",
        edge(asked("https")),
        also=(),
    ),
    Case(
        "TW02",
        at_gateway(call(url=f"wss://{HOST}{STREAM}?token=abc")),
        "gateway advertises a stream with a query",
        at_gateway(call()),
    ),
    Case(
        "TW03",
        at_gateway(call(url=f"ws://{HOST}{STREAM}")),
        f"gateway advertises a stream that is not wss: ws://{HOST}{STREAM}",
        at_gateway(call()),
    ),
    Case("TW04", at_gateway(call(500, twiml="")), "answered with 500", at_gateway(call())),
    Case(
        "TW05",
        sight("sidecar", extra=MISSING),
        f"wss://{HOST}{STREAM} (host elsewhere, call ended)",
        sight("sidecar", extra={"missing": ()}),
    ),
    Case(
        "TW06",
        at_gateway(call(), UNSERVED),
        "and answers 404 to the upgrade there",
        at_gateway(call()),
        also=("AN04",),
    ),
    Case(
        "TW07",
        proto("wss"),
        "traefik was asked by https, and X-Forwarded-Proto: wss arrived",
        proto("wss", "http://192.0.2.1"),
    ),
    Case(
        "TW08",
        at_gateway(call(url=f"wss://{HOST}/media")),
        f"gateway advertises wss://{HOST}/media, and /voice/stream was probed",
        at_gateway(call()),
    ),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_a_rule_fires_alone_and_says_what_was_seen(case: Case) -> None:
    assert case.says in said(case.fires)[case.rule].saw
    assert case.fires_alone, said(case.fires)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_a_rule_stays_quiet_where_something_else_is_wrong(case: Case) -> None:
    assert case.rule not in said(case.quiet)


def test_what_is_the_gateway_s_own_is_told_at_the_gateway_alone() -> None:
    extra = call(url=f"ws://{HOST}/media?token=abc")
    assert {"TW02", "TW03", "TW08"} <= set(said(at_gateway(extra)))
    assert said(sight("nginx", extra=extra)) == {}
    assert said(sight("sidecar", extra=extra, behind=GATEWAY)) == {}


def test_a_ws_stream_of_a_call_by_plain_http_is_followed_and_no_fault() -> None:
    extra = call(url=f"ws://{HOST}{STREAM}")
    extra["call"]["url"] = "http://127.0.0.1:8080/voice/webhook"
    assert said(at_gateway(extra)) == {}


def test_twiml_of_a_gateway_that_answers_a_get_is_read_too() -> None:
    given = replace(webhook(), answer=answer(200, body=twiml(f"ws://{HOST}{STREAM}")))
    assert "TW03" in said(sight("gateway", webhook=given))


@pytest.mark.parametrize(
    ("webhook_status", "document", "says"),
    [(None, "", "got no answer"), (200, "<html>", "no TwiML"), (403, "", "403")],
)
def test_a_webhook_without_twiml_is_told_as_what_it_was(
    webhook_status: int | None, document: str, says: str
) -> None:
    assert says in said(at_gateway(call(webhook_status, twiml=document)))["TW04"].saw


@pytest.mark.parametrize(("value", "fires"), [("https", False), ("http", True), (None, True)])
def test_a_forwarded_scheme_is_wrong_where_it_is_not_https(value: str | None, fires: bool) -> None:
    assert ("TW07" in said(proto(value))) is fires


def test_the_standard_field_tells_the_scheme_too() -> None:
    fields = changed(SENT, Forwarded="for=192.0.2.7;proto=https")
    seen = sight("nginx", upgrade(came=arrival(fields)), url=f"https://{HOST}")
    assert said(seen) == {}


def test_a_signature_that_was_accepted_is_over_the_right_url() -> None:
    assert "TW01" not in said(edge(asked("http"), 200))


def test_a_host_that_was_replaced_changes_the_url_that_is_signed() -> None:
    assert "10.0.0.2" in said(edge(asked("https", "10.0.0.2")))["TW01"].saw


def test_a_hop_that_is_shown_the_wrong_url_already_is_not_accused() -> None:
    behind = probe("nginx", webhook=asked("http"))
    seen = replace(edge(asked("http")), behind=behind)
    assert "TW01" not in said(seen)


def test_without_a_call_the_rules_about_it_say_what_they_lack() -> None:
    lacks = skipped(sight("gateway"))
    assert "hopscope call" in lacks["TW04"]
    assert "hopscope call" in lacks["TW02"]
    assert "log" in lacks["TW05"]
