"""What happens in calls reaches log, metrics and listeners; what is secret reaches none of them."""

import json
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.calls import Call, Calls, Ending, Plan
from gateway.events import REPEAT_LIMIT, REPEAT_S, Events, shown_number, shown_url
from gateway.signatures import Verdict
from gateway.speech import ProviderError

NUMBER = "+15550100001"


class Bench:
    """Events whose log, metrics and listener are at hand."""

    def __init__(self, **options: Any) -> None:
        self.now = 100.0
        self.events = Events(clock=lambda: self.now, **options)
        self.heard: list[tuple[str, dict[str, Any]]] = []
        self.stop = self.events.listen(lambda event, fields: self.heard.append((event, {**fields})))

    def value(self, name: str, **labels: str) -> float | None:
        return self.events.registry.get_sample_value(name, labels)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def a_call(mode: Any = "conversation", call_sid: str = "CA1") -> Call:
    call = Calls(make_token=lambda: "made-up-token").admit(
        call_sid, "inbound", NUMBER, Plan(mode), 90
    )
    assert isinstance(call, Call)
    return call


def end(call: Call, ending: Ending, at: float = 102.34) -> Call:
    call.ending, call.ended_at, call.phase = ending, at, "ended"
    return call


def line_of(told: Any) -> dict[str, Any]:
    """The one line that was logged, as it would be written: JSON."""
    assert len(told) == 1
    line: dict[str, Any] = json.loads(json.dumps(told[0]))
    assert not {"at"} & line.keys()  # the time of the line itself
    return line


def test_a_call_is_counted_from_its_start_to_its_end(bench: Bench) -> None:
    call = a_call()
    with capture_logs() as logged:
        bench.events.call_started(call)
    assert line_of(logged) == {
        "event": "call_started",
        "log_level": "info",
        "call_sid": "CA1",
        "direction": "inbound",
        "mode": "conversation",
        "number": "+********001",
    }
    bench.events.call_started(call)  # a retried webhook
    assert bench.value("hopscope_calls_active") == 1
    with capture_logs() as logged:
        bench.events.call_ended(end(call, "done"), turns=2)
    assert line_of(logged) == {
        "event": "call_ended",
        "log_level": "info",
        "call_sid": "CA1",
        "direction": "inbound",
        "mode": "conversation",
        "ending": "done",
        "duration_s": 12.3,
        "turns": 2,
    }
    labels = {"direction": "inbound", "mode": "conversation", "ending": "done"}
    assert bench.value("hopscope_calls_total", **labels) == 1
    assert bench.value("hopscope_calls_active") == 0


def test_a_call_that_was_never_answered_does_not_make_the_active_ones_negative(
    bench: Bench,
) -> None:
    with capture_logs() as logged:
        bench.events.call_ended(end(a_call("notify"), "busy"))
    assert line_of(logged)["log_level"] == "warning"
    assert bench.value("hopscope_calls_active") == 0
    labels = {"direction": "inbound", "mode": "notify", "ending": "busy"}
    assert bench.value("hopscope_calls_total", **labels) == 1


def test_a_turn_has_its_words_and_its_times(bench: Bench) -> None:
    with capture_logs() as logged:
        bench.events.turn(
            "CA1",
            2,
            caller="What time is it?",
            agent="Noon.",
            was_interrupted=True,
            ms={"pause": 200.4, "first_audio": 612.6, "made_up": 1},
        )
    assert line_of(logged) == {
        "event": "turn",
        "log_level": "info",
        "call_sid": "CA1",
        "number": 2,
        "caller": "What time is it?",
        "agent": "Noon.",
        "was_interrupted": True,
        "ms": {"pause": 200, "first_audio": 613, "made_up": 1},
    }
    assert bench.value("hopscope_turn_seconds_sum", phase="first_audio") == pytest.approx(0.6126)
    assert bench.value("hopscope_turn_seconds_count", phase="pause") == 1
    assert bench.value("hopscope_turn_seconds_count", phase="made_up") is None


def test_transcripts_stay_out_of_log_and_history_where_they_are_not_wanted() -> None:
    bench = Bench(log_transcripts=False)
    with capture_logs() as logged:
        bench.events.turn(
            "CA1", 1, caller="my pin is 1234", agent="Thanks.", was_interrupted=False, ms={}
        )
    assert (logged[0]["caller_chars"], logged[0]["agent_chars"]) == (14, 7)
    assert "1234" not in json.dumps([logged, bench.heard])
    assert "Thanks" not in json.dumps([logged, bench.heard])


def test_a_barge_in_tells_how_late_the_silence_was(bench: Bench) -> None:
    with capture_logs() as logged:
        bench.events.barge_in("CA1", 18.26)
    assert line_of(logged)["clear_ms"] == 18.3
    assert bench.value("hopscope_barge_ins_total") == 1


def test_a_provider_that_failed_is_told_with_who_takes_its_place(bench: Bench) -> None:
    error = ProviderError("elevenlabs", "no_credit", "quota", status=402)
    with capture_logs() as logged:
        bench.events.speech_failed("voice", error, call_sid="CA1", fallback="hibari")
    assert line_of(logged) == {
        "event": "speech_failed",
        "log_level": "warning",
        "call_sid": "CA1",
        "kind": "voice",
        "provider": "elevenlabs",
        "reason": "no_credit",
        "status": 402,
        "fallback": "hibari",
        "detail": "elevenlabs: no_credit (quota)",
    }
    labels = {"kind": "voice", "provider": "elevenlabs", "reason": "no_credit"}
    assert bench.value("hopscope_speech_failures_total", **labels) == 1


REFUSED = Verdict(
    False, "https://a/voice/webhook?plan=made-up", "", "mismatch", ("it matches http://",)
)


def test_a_refused_signature_is_told_with_what_it_matches(bench: Bench) -> None:
    with capture_logs() as logged:
        bench.events.signature_refused("webhook", REFUSED)
    assert line_of(logged) == {
        "event": "signature_refused",
        "log_level": "warning",
        "what": "webhook",
        "url": "https://a/voice/webhook?plan=[hidden]",
        "reason": "mismatch",
        "matches": ["it matches http://"],
    }
    assert bench.value("hopscope_signatures_refused_total", what="webhook") == 1


def test_strangers_cannot_fill_the_log_and_are_counted_all_the_same(bench: Bench) -> None:
    with capture_logs() as logged:
        for _ in range(REPEAT_LIMIT + 7):
            bench.events.signature_refused("webhook", REFUSED)
        bench.events.stream_refused("no_token", code=1008)
        bench.now += REPEAT_S
        bench.events.signature_refused("stream", REFUSED)
        bench.events.signature_refused("stream", REFUSED)
    assert [line["event"] for line in logged].count("signature_refused") == REPEAT_LIMIT + 2
    assert [line.get("unsaid") for line in logged][-3:] == [None, 7, None]
    total = bench.value("hopscope_signatures_refused_total", what="webhook")
    assert total == REPEAT_LIMIT + 7
    assert len(bench.heard) == len(logged)


@pytest.mark.parametrize("answer", [{"code": 1008}, {"status": 403}])
def test_a_refused_stream_is_told_with_how_it_was_answered(
    bench: Bench, answer: dict[str, int]
) -> None:
    with capture_logs() as logged:
        bench.events.stream_refused("used_token", call_sid="CA1", **answer)
    assert line_of(logged) == {
        "event": "stream_refused",
        "log_level": "warning",
        "reason": "used_token",
        "call_sid": "CA1",
        **answer,
    }
    assert bench.value("hopscope_streams_refused_total", reason="used_token") == 1


def test_a_refused_call_is_told_with_its_reason(bench: Bench) -> None:
    with capture_logs() as logged:
        bench.events.call_refused("CA1", NUMBER, "not_allowed")
        bench.events.call_refused("CA2", NUMBER, "unservable", "the voice has no model")
    assert line_of(logged[:1]) == {
        "event": "call_refused",
        "log_level": "warning",
        "call_sid": "CA1",
        "number": "+********001",
        "reason": "not_allowed",
    }
    assert logged[1]["detail"] == "the voice has no model"
    assert bench.value("hopscope_calls_refused_total", reason="not_allowed") == 1


def test_what_twilio_says_of_calls_and_streams_is_passed_on(bench: Bench) -> None:
    with capture_logs() as logged:
        bench.events.call_status("CA1", "completed")
        bench.events.call_status("CA1", "no-answer")
        bench.events.stream_status("CA1", "MZ1", "stream-started", "")
        bench.events.stream_status("CA1", "MZ1", "stream-error", "31924 - protocol")
        bench.events.amd("CA1", "machine_start", 3200)
        bench.events.amd("CA1", "<script>", None)
    assert [line["log_level"] for line in logged] == [
        "info",
        "warning",
        "info",
        "warning",
        "info",
        "info",
    ]
    assert logged[3]["error"] == "31924 - protocol"
    assert (logged[4]["answered_by"], logged[4]["ms"]) == ("machine_start", 3200)
    assert logged[5]["answered_by"] == "other"


def test_answers_are_counted_by_path_and_status(bench: Bench) -> None:
    with capture_logs() as logged:
        bench.events.webhook_answered("webhook", 200)
    assert bench.value("hopscope_webhooks_total", path="webhook", status="200") == 1
    assert logged == []


def test_what_is_no_http_is_counted_and_not_quoted(bench: Bench) -> None:
    with capture_logs() as logged:
        bench.events.request_malformed(ValueError("made-up"))
        bench.events.request_malformed(None)
    assert logged[0] == {
        "event": "request_malformed",
        "log_level": "warning",
        "error": "ValueError",
    }
    assert bench.value("hopscope_webhooks_total", path="other", status="400") == 2


def test_what_broke_inside_is_told_with_the_place(bench: Bench) -> None:
    try:
        raise ValueError("x" * 500)
    except ValueError as error:
        with capture_logs() as logged:
            bench.events.webhook_failed("webhook", error)
    line = line_of(logged)
    assert (line["log_level"], line["path"], line["error"]) == ("error", "webhook", "ValueError")
    assert len(line["detail"]) == 200
    assert line["where"][-1].startswith("test_events.py:")


def test_a_listener_hears_what_is_logged_until_it_stops(bench: Bench) -> None:
    bench.events.say("gateway_started", listen="127.0.0.1:8081")
    assert bench.heard == [("gateway_started", {"listen": "127.0.0.1:8081"})]
    bench.stop()
    bench.events.say("gateway_stopped")
    assert len(bench.heard) == 1


def test_the_metrics_are_those_of_the_documentation() -> None:
    names = {metric.name for metric in Events().registry.collect()}
    assert names == {
        "hopscope_calls",
        "hopscope_calls_active",
        "hopscope_turn_seconds",
        "hopscope_barge_ins",
        "hopscope_speech_failures",
        "hopscope_webhooks",
        "hopscope_signatures_refused",
        "hopscope_streams_refused",
        "hopscope_calls_refused",
        "hopscope_twilio_errors",
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("+15550100001", "+********001"),
        ("15550100001", "********001"),
        ("+1234", "+***4"),
        ("911", "***"),
        ("", ""),
        ("anonymous", "anonymous"),
        ("client:alice", "client:[hidden]"),
        ("sip:alice@example.com", "sip:[hidden]"),
        ("tel:+15550100001", "[hidden]"),
        ("alice", "[hidden]"),
        ("+1555 0100001", "[hidden]"),
        ("+١٢٣٤٥٦٧", "[hidden]"),
    ],
)
def test_numbers_show_their_last_digits_alone(text: str, expected: str) -> None:
    assert shown_number(text) == expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://a/b", "https://a/b"),
        ("https://a/b?plan=made-up&after=stream", "https://a/b?plan=[hidden]&after=[hidden]"),
        ("https://a/b?made-up", "https://a/b?[hidden]"),
        ("https://a/" + "b" * 500, "https://a/" + "b" * 290),
    ],
)
def test_urls_show_the_names_of_their_query_alone(url: str, expected: str) -> None:
    assert shown_url(url) == expected
