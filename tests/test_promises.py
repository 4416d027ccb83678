"""Which promises an upgrade keeps, and what is known of those that nobody kept."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from proxy.promises import (
    ARRIVAL_S,
    PENDING_LIMIT,
    STRAYS_LIMIT,
    Arrival,
    Fact,
    Missing,
    Promises,
    Webhook,
)
from proxy.routes import Route, Upstream
from proxy.twiml import AdvertisedStream, Posted

HOST = "voice.example.com"
URL = f"wss://{HOST}/voice/stream"
OTHER = f"wss://{HOST}/other"
ANY = (Route("default", Upstream("127.0.0.1", 8081)),)


def webhook(
    exchange: str = "webhook",
    call_sid: str | None = "CA1",
    hosts: Sequence[str] = (HOST,),
    *,
    is_signed: bool = False,
) -> Webhook:
    return Webhook(exchange, call_sid, tuple(hosts), is_signed)


def expecting(*urls: str, after_s: float = 0.0) -> Promises:
    """One promise a second, each of a call of its own."""
    promises = Promises()
    for number, url in enumerate(urls):
        stream = AdvertisedStream(url, after_s)
        promises.expect([stream], webhook(f"webhook {number}", f"CA{number}"), float(number))
    return promises


def upgrade(path: str, at: float = 1.0, **fields: Any) -> Arrival:
    told = {"is_upgrade": True, "has_key": True, "is_signed": False} | fields
    return Arrival("upgrade", path, at, **told)


def lost(path: str, **fields: Any) -> Arrival:
    """An upgrade without its Upgrade."""
    return upgrade(path, **({"is_upgrade": False} | fields))


def told(promises: Promises, routes: Sequence[Route] = ANY) -> Missing:
    [missing] = promises.overdue(ARRIVAL_S, routes)
    return missing


@pytest.mark.parametrize(
    ("url", "path"),
    [
        pytest.param(URL, "/voice/stream", id="as advertised"),
        pytest.param(URL + "?token=x", "/voice/stream", id="without the query that Twilio drops"),
        pytest.param(URL, "/stream", id="a prefix was stripped"),
        pytest.param(URL, "/", id="the whole path was stripped"),
        pytest.param(URL, "/gateway/voice/stream", id="a prefix was added"),
        pytest.param(URL + "/", "/voice/stream", id="a slash was lost"),
        pytest.param("wss://voice.example.com", "/", id="no path"),
    ],
)
def test_an_upgrade_keeps_the_promise_of_its_path(url: str, path: str) -> None:
    promises = expecting(url)
    kept = promises.receive_upgrade(upgrade(path))
    assert kept is not None
    assert (kept.url.text, kept.webhook) == (url, webhook("webhook 0", "CA0"))
    assert len(promises) == 0
    assert promises.receive_upgrade(upgrade(path)) is None


@pytest.mark.parametrize("path", ["/voice", "/eam", "/voice/streams", "/voice/stream/CA1"])
def test_an_upgrade_of_another_path_keeps_no_promise(path: str) -> None:
    promises = expecting(URL)
    assert promises.receive_upgrade(upgrade(path)) is None
    assert len(promises) == 1


def test_of_two_promises_for_one_path_the_older_is_kept_first() -> None:
    promises = expecting(URL, OTHER, URL)
    kept = [promises.receive_upgrade(upgrade("/voice/stream")) for _ in range(3)]
    exchanges = [promise and promise.webhook.exchange for promise in kept]
    assert exchanges == ["webhook 0", "webhook 2", None]
    assert len(promises) == 1


def test_an_upgrade_that_names_its_call_keeps_the_promise_of_that_call() -> None:
    promises = expecting(URL, URL)
    kept = promises.receive_upgrade(upgrade("/voice/stream", call_sid="CA1"))
    assert kept is not None
    assert kept.webhook.exchange == "webhook 1"
    assert promises.receive_upgrade(upgrade("/voice/stream", call_sid="CA1")) is None


def test_a_promise_is_overdue_after_its_time_and_told_once() -> None:
    promises = expecting(URL, OTHER)
    assert promises.overdue(ARRIVAL_S - 0.1, ANY) == []
    [missing] = promises.overdue(ARRIVAL_S, ANY)
    assert (missing.promise.url.text, missing.waited_s) == (URL, ARRIVAL_S)
    assert promises.overdue(ARRIVAL_S, ANY) == []
    assert promises.receive_upgrade(upgrade("/voice/stream")) is None
    [missing] = promises.overdue(ARRIVAL_S + 1, ANY)
    assert missing.promise.url.text == OTHER
    assert len(promises) == 0


def test_twilio_first_says_what_stands_before_the_stream() -> None:
    promises = expecting(URL, after_s=30.0)
    assert promises.overdue(30.0 + ARRIVAL_S - 0.1, ANY) == []
    assert len(promises.overdue(30.0 + ARRIVAL_S, ANY)) == 1


def test_promises_are_bounded() -> None:
    promises = Promises()
    promises.expect([AdvertisedStream(URL, 0.0)] * (PENDING_LIMIT + 1), webhook(), 0.0)
    promises.expect([AdvertisedStream(OTHER, 0.0)], webhook("another"), 0.0)
    assert len(promises) == PENDING_LIMIT
    assert promises.receive_upgrade(upgrade("/other")) is None


def test_a_webhook_that_twilio_repeats_promises_the_same_stream() -> None:
    promises = Promises()
    for exchange, at in (("first", 0.0), ("again", 3.0)):
        promises.expect([AdvertisedStream(URL, 0.0)], webhook(exchange), at)
    assert len(promises) == 1
    assert promises.overdue(ARRIVAL_S + 2.9, ANY) == []
    [missing] = promises.overdue(ARRIVAL_S + 3, ANY)
    assert missing.promise.webhook.exchange == "again"


@pytest.mark.parametrize("call_sid", [None, "CA2"])
def test_other_calls_and_unknown_ones_are_not_repetitions(call_sid: str | None) -> None:
    promises = Promises()
    promises.expect([AdvertisedStream(URL, 0.0)] * 2, webhook("first", call_sid), 0.0)
    promises.expect([AdvertisedStream(URL, 0.0)], webhook("second", None), 0.0)
    assert len(promises) == 3


def test_a_malformed_url_is_kept_by_no_upgrade() -> None:
    promises = expecting("wss:///stream")
    assert promises.receive_upgrade(upgrade("/stream")) is None
    assert promises.receive_upgrade(upgrade("/")) is None
    assert len(promises) == 1


def test_an_upgrade_that_nobody_promised_arrived_elsewhere() -> None:
    promises = expecting(URL)
    assert promises.receive_upgrade(upgrade("/media")) is None
    missing = told(promises)
    assert (missing.because, missing.arrived) == (["arrived_elsewhere"], "/media")


def test_a_request_that_lost_its_upgrade_keeps_no_promise_and_names_its_call() -> None:
    promises = expecting(URL)
    promise = promises.receive_request(lost("/voice/stream"))
    assert promise is not None
    assert promise.webhook.call_sid == "CA0"
    missing = told(promises)
    assert (missing.because, missing.arrived) == (["arrived_without_upgrade"], "/voice/stream")


@pytest.mark.parametrize(
    ("arrival", "because"),
    [
        pytest.param(lost("/media"), ["arrived_without_upgrade"], id="a key, on another path"),
        pytest.param(
            lost("/stream", has_key=False), ["arrived_without_upgrade"], id="its path, no key left"
        ),
        pytest.param(lost("/media", has_key=False), ["unknown"], id="a plain request"),
        pytest.param(lost("/", has_key=False), ["unknown"], id="a health check"),
    ],
)
def test_only_what_may_have_been_an_upgrade_counts_as_one(
    arrival: Arrival, because: list[Fact]
) -> None:
    promises = expecting(URL)
    assert promises.receive_request(arrival) is None
    assert told(promises).because == because


@pytest.mark.parametrize(
    ("fields", "because"),
    [
        ({"at": -1.0}, "unknown"),
        ({"call_sid": "CA9"}, "unknown"),
        ({"is_signed": False}, "unknown"),
        ({}, "arrived_elsewhere"),
    ],
    ids=["before the promise", "of another call", "unsigned", "of this call"],
)
def test_what_is_certainly_another_callers_is_not_told(
    fields: dict[str, Any], because: Fact
) -> None:
    promises = Promises()
    promises.expect([AdvertisedStream(OTHER, 0.0)], webhook("earlier", None), -2.0)
    promises.expect([AdvertisedStream(URL, 0.0)], webhook(is_signed=True), 0.0)
    promises.receive_upgrade(upgrade("/media", **({"is_signed": True} | fields)))
    promises.overdue(ARRIVAL_S - 2, ANY)
    assert told(promises).because == [because]


def test_a_stream_of_the_call_on_an_unpromised_path_has_arrived_after_all() -> None:
    promises = expecting(URL, URL)
    promises.receive_upgrade(upgrade("/rewritten"))
    promises.receive_start("upgrade", None)
    promises.receive_start("another", "CA0")
    assert len(promises) == 2
    promises.receive_start("upgrade", "CA1")
    promises.receive_start("upgrade", "CA0")
    [missing] = promises.overdue(99.0, ANY)
    assert missing.promise.webhook.call_sid == "CA0"
    assert missing.because == ["unknown"]


def test_of_two_calls_at_once_the_one_whose_stream_came_is_told_by_its_start() -> None:
    promises = expecting(URL, URL)
    kept = promises.receive_upgrade(upgrade("/voice/stream"))
    assert kept is not None
    assert kept.webhook.call_sid == "CA0"  # a guess: it may as well be the other's
    promises.receive_start("upgrade", "CA1")
    missing = told(promises)
    assert missing.promise.webhook.call_sid == "CA0"
    assert len(promises) == 0


@pytest.mark.parametrize("call_sid", ["CA0", "CA9", None])
def test_a_start_that_contradicts_no_promise_changes_nothing(call_sid: str | None) -> None:
    promises = expecting(URL, URL)
    promises.receive_upgrade(upgrade("/voice/stream"))
    promises.receive_start("upgrade", call_sid)
    [missing] = promises.overdue(99.0, ANY)
    assert missing.promise.webhook.call_sid == "CA1"


def test_what_was_kept_is_remembered_within_bounds() -> None:
    promises = Promises()
    for number in range(PENDING_LIMIT + 1):
        call = webhook(f"webhook {number}", f"CA{number}")
        promises.expect([AdvertisedStream(URL, 0.0)], call, 0.0)
        promises.receive_upgrade(replace(upgrade("/voice/stream"), exchange=f"stream {number}"))
    promises.expect([AdvertisedStream(URL, 0.0)], webhook("last", "CA last"), 0.0)
    promises.receive_start("stream 0", "CA last")  # too long ago to know whose it was taken for
    assert told(promises).promise.webhook.exchange == "last"


def test_a_stream_that_kept_its_own_promise_keeps_no_other_of_its_call() -> None:
    promises = Promises()
    streams = [AdvertisedStream(URL, 0.0), AdvertisedStream(OTHER, 0.0)]
    promises.expect(streams, webhook(), 0.0)
    promises.receive_upgrade(upgrade("/voice/stream"))
    promises.receive_start("upgrade", "CA1")
    assert told(promises).promise.url.text == OTHER


def test_strays_are_bounded_and_forgotten_with_the_last_promise() -> None:
    promises = expecting(URL)
    for number in range(STRAYS_LIMIT + 5):
        promises.receive_upgrade(upgrade(f"/{number}"))
    assert told(promises).arrived == "/5"
    promises.receive_upgrade(upgrade("/nobody waits"))
    promises.expect([AdvertisedStream(URL, 0.0)], webhook(), 0.0)
    assert told(promises).because == ["unknown"]


def test_a_call_that_ended_is_told_as_such() -> None:
    promises = expecting(URL)
    promises.receive_form(Posted("CA9", is_final=True), 1.0)
    assert len(promises) == 1
    promises.receive_form(Posted("CA0", is_final=False), 1.0)
    promises.receive_form(Posted("CA0", is_final=True), 2.0)
    missing = told(promises)
    assert missing.because == ["call_ended"]
    assert missing.line()["call_ended_s"] == 2.0


def test_a_caller_who_hangs_up_during_the_greeting_is_forgotten() -> None:
    promises = expecting(URL, after_s=30.0)
    promises.receive_form(Posted("CA0", is_final=True), 29.0)
    assert len(promises) == 0
    promises = expecting(URL, after_s=30.0)
    promises.receive_form(Posted("CA0", is_final=True), 31.0)
    assert promises.overdue(99.0, ANY)[0].because == ["call_ended"]


def test_an_error_that_twilio_reports_is_told_at_once() -> None:
    promises = expecting(URL)
    promises.receive_form(Posted("CA0", False, "stream-error", 31920), 0.5)
    [missing] = promises.overdue(0.5, ANY)
    assert missing.because == ["stream_error"]
    assert missing.line()["twilio_error"] == 31920
    assert missing.line()["waited_s"] == 0.5


def test_a_stream_that_twilio_has_started_goes_elsewhere_and_is_forgotten() -> None:
    promises = expecting(URL)
    promises.receive_form(Posted("CA0", False, "stream-started"), 0.5)
    assert len(promises) == 0


@pytest.mark.parametrize("event", ["stream-started", "stream-error"])
def test_of_several_streams_of_a_document_news_of_one_is_taken_for_none(event: str) -> None:
    promises = Promises()
    streams = [AdvertisedStream(URL, 0.0), AdvertisedStream(OTHER, 0.0)]
    promises.expect(streams, webhook(), 0.0)
    promises.receive_form(Posted("CA1", False, event, 31920), 0.5)
    facts = [missing.because for missing in promises.overdue(ARRIVAL_S, ANY)]
    assert facts == [["unknown"], ["unknown"]]


def test_the_line_tells_all_that_is_known() -> None:
    promises = Promises()
    promises.expect([AdvertisedStream(URL, 0.0)], webhook(hosts=["a.example.com", "gw"]), 5.0)
    promises.receive_upgrade(upgrade("/0123456789abcdefs3cret", 6.0))
    [missing] = promises.overdue(5.04 + ARRIVAL_S, ANY)
    assert missing.line() == {
        "exchange": "webhook",
        "call_sid": "CA1",
        "url": URL,
        "waited_s": ARRIVAL_S,
        "because": ["host_elsewhere", "arrived_elsewhere"],
        "arrived": "/[hidden]",
        "webhook_hosts": ["a.example.com", "gw"],
        "call_ended_s": None,
        "twilio_error": None,
    }
