"""What people and machines read of a simulated call."""

import asyncio
import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from doctor.caller.call import CallOptions
from doctor.caller.calls import CallsSummary, place_calls
from doctor.caller.dialogue import Turn
from doctor.caller.outcome import CallReport, Webhook
from doctor.caller.report import print_report, print_summary
from doctor.caller.stream import StreamReport
from doctor.errors import Objection

CALL_SID = "CA" + "0" * 32
WEBHOOK, STREAM = "https://voice.example.com/voice/webhook", "wss://voice.example.com/voice/stream"
TURNS = [
    Turn(1, 1.0, 2.0, answered_s=2.35, answered_until_s=3.35).as_json(),
    Turn(2, 4.0, 5.0, "", True, 4.08, 4.9, 6.0).as_json(),
    Turn(3, 7.0, 8.0, "12#").as_json(),
]


def stream(**fields: Any) -> StreamReport:
    opened = {"status": 101, "handshake_ms": 31.4, "ended_by": "caller", "turns": list(TURNS)}
    counted = {
        "sent": 400,
        "received": 250,
        "received_bytes": 40_000,
        "first_audio_ms": 212.0,
        "gap_ms_max": 61.0,
        "underruns": 1,
        "marks": 3,
        "marks_echoed": 2,
        "clears": 1,
        "greeting": {"heard_ms": 213.0, "spoke_ms": 1500.0},
    }
    report = StreamReport(STREAM, "MZ1", True)
    for name, value in (opened | counted | fields).items():
        setattr(report, name, value)
    return report


def called(*streams: StreamReport, **fields: Any) -> CallReport:
    report = CallReport(CALL_SID, is_signed=True, streams=list(streams))
    report.webhook = Webhook(WEBHOOK, 200, 87.6)
    report.twiml = "<Response/>"
    report.events = [{"event": "twiml", "verbs": ["Connect", "Hangup"]}]
    report.ended_by, report.duration_s = "caller", 9.3
    for name, value in fields.items():
        setattr(report, name, value)
    return report


def refused() -> CallReport:
    """A 404 in front of the gateway."""
    failed = stream(
        status=404,
        error_code=31920,
        handshake_ms=None,
        saw="404 Not Found: nothing\x1b[31m here",
        answered_by={"server": "tailscaled"},
        ended_by="never_opened",
        turns=[],
        greeting=None,
    )
    report = called(failed, ended_by="agent")
    report.fail(31920, failed.saw)
    return report


def printed(report: CallReport | CallsSummary, width: int = 40, **options: Any) -> str:
    console = Console(file=io.StringIO(), width=width, **options)
    if isinstance(report, CallReport):
        print_report(console, report)
    else:
        print_summary(console, report)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_good_call_is_a_picture_and_its_turns_one_line_each() -> None:
    lines = printed(called(stream(), said=["One moment"], recording="out.wav")).splitlines()
    assert lines == [
        (
            f"Twilio ──▶ webhook {WEBHOOK} 200, 88 ms ──▶ TwiML Connect Hangup"
            f" ──▶ stream {STREAM} 101, 31 ms"
        ),
        f"call {CALL_SID}, 9.3 s; the caller hung up",
        "<Say>    One moment",
        "greeting heard after 213 ms, 1.5 s",
        "turn 1   said 1.0 s; answered after 350 ms, 1.0 s",
        (
            "turn 2   said 1.0 s, barging in: clear after 80 ms; "
            "the agent spoke over it (100 ms before its end), 1.1 s"
        ),
        "turn 3   dialled 12#; no answer",
        (
            "media    400 sent, 250 received (5.0 s), first after 212 ms, worst gap 61 ms, "
            "underruns 1, marks 3 and echoed 2, clears 1"
        ),
        "recording: out.wav (left: the caller, right: what it heard)",
    ]


def test_a_failure_is_told_with_who_answered_what_it_means_and_where_to_look() -> None:
    text = printed(refused())
    assert f" ──✗ stream {STREAM} 404\n" in text
    told = text.splitlines()[-5:]
    assert told[0] == "31920 Stream - WebSocket - Handshake Error"
    assert told[1] == r"  saw      404 Not Found: nothing\x1b[31m here"
    assert told[2] == "  from     server: tailscaled"
    assert told[3].startswith("  means    ")
    assert told[4].startswith("  look at  ")
    assert "\x1b" not in text


def test_a_webhook_that_failed_is_where_the_picture_ends() -> None:
    report = called(webhook=Webhook(WEBHOOK, None, 10_003.0), events=[], ended_by="error")
    report.fail(11201, "voice.example.com:443 did not answer, 2 times 5 s")
    text = printed(report)
    assert text.startswith(f"Twilio ──✗ webhook {WEBHOOK} no answer, 10003 ms\n")
    assert "TwiML" not in text.splitlines()[0]
    assert "11201 HTTP connection timeout" in text


def test_a_webhook_that_was_refused_tells_by_whom() -> None:
    report = called(webhook=Webhook(WEBHOOK, 404, 9.0, {"server": "cloudflare"}), events=[])
    report.fail(11200, "404 Not Found")
    assert "  from     server: cloudflare\n" in printed(report)
    assert report.as_json()["error"]["answered_by"] == {"server": "cloudflare"}


def test_twiml_that_could_not_be_read_is_broken_in_the_picture() -> None:
    report = called(events=[], ended_by="error")
    report.fail(12100, "no element found at line 1, column 10")
    assert " ──✗ TwiML empty" in printed(report)


def test_a_stream_that_was_not_tried_says_so() -> None:
    failed = stream(status=None, error_code=31922, saw="", turns=[], greeting=None)
    assert f" ──✗ stream {STREAM} not tried" in printed(called(failed))


def test_a_barge_in_without_clear_is_told() -> None:
    turn = Turn(1, 1.0, 2.0, is_barge_in=True).as_json()
    assert "barging in: no clear came; no answer" in printed(called(stream(turns=[turn])))


@pytest.mark.parametrize("port", ["", ":443"])
def test_a_stream_on_the_webhooks_way_is_not_remarked_on(port: str) -> None:
    report = stream(url=f"wss://voice.example.com{port}/voice/stream")
    assert "by way of" not in printed(called(report))


def test_a_stream_that_goes_another_way_than_its_webhook_is_remarked_on() -> None:
    elsewhere = stream(url="wss://gateway.example.com/voice/stream")
    assert printed(called(elsewhere), width=200).splitlines()[-1] == (
        "the stream went to gateway.example.com:443, not by way of voice.example.com:443 as the "
        "webhook did; is the gateway's public URL right?"
    )
    never_dialled = stream(url="wss://[::1/", status=None)
    assert "by way of" not in printed(called(never_dialled))


def test_warnings_and_remarks_are_one_line_each() -> None:
    report = called(stream(), is_signed=False)
    report.warn(Objection(31951, "event is 'x'"), Objection(None, "<Dial> is not simulated"))
    report.warn(Objection(31951, "event is 'x'"))
    lines = printed(report).splitlines()
    assert lines[-3] == "31951  event is 'x'"
    assert lines[-2] == "remark  <Dial> is not simulated"
    assert lines[-1].startswith("unsigned: TWILIO_AUTH_TOKEN is not set")


def test_what_strangers_wrote_cannot_steer_the_terminal() -> None:
    evil = "\x1b]0;x\x07\r\n\x9b2J"
    failed = stream(url=evil, saw=evil, error_code=31920, status=404, answered_by={"server": evil})
    report = called(failed, said=[evil])
    report.warn(Objection(31951, evil))
    report.fail(31920, evil)
    text = printed(report)
    assert not set(text) & set("\x1b\x07\r\x9b")


def test_square_brackets_are_text() -> None:
    report = called(stream(), said=["press [bold]1[/bold] [/]"])
    assert "press [bold]1[/bold] [/]" in printed(report)


def test_colours_are_for_terminals() -> None:
    terminal = printed(refused(), force_terminal=True, color_system="standard")
    assert "\x1b[" in terminal
    assert "\x1b[" not in printed(refused())


def test_json_keeps_the_contract() -> None:
    told = json.loads(json.dumps(called(stream()).as_json()))
    assert told["webhook"] == {"url": WEBHOOK, "status": 200, "ms": 87.6, "answered_by": {}}
    assert told["twiml"] == "<Response/>"
    assert {"url", "status", "error_code"} <= told["stream"].keys()
    assert {"sent", "received", "first_audio_ms", "gap_ms_max", "underruns"} <= told["media"].keys()
    assert told["turns"] == TURNS
    assert told["twilio_error"] is None
    assert told["error"] is None
    assert told["recording"] is None


def test_json_of_a_failure_names_the_code_and_its_meaning() -> None:
    report = refused()
    report.fail(31921, "a consequence")
    told = report.as_json()
    assert told["twilio_error"] == 31920
    assert told["error"]["saw"] == "404 Not Found: nothing\x1b[31m here"
    assert told["error"]["look_at"]
    assert told["stream"]["answered_by"] == {"server": "tailscaled"}
    assert told["turns"] == []


def test_json_of_a_call_without_a_stream_has_its_fields_all_the_same() -> None:
    told = called(twilio_error=11200, webhook=None).as_json()
    assert (told["webhook"], told["stream"], told["media"], told["turns"]) == (None, None, None, [])


def test_the_two_way_stream_is_the_calls_stream() -> None:
    side = StreamReport("wss://a/side", "MZ2", False)
    report = called(side, stream())
    assert report.stream is report.streams[1]
    assert called(side).stream is side
    assert len(report.as_json()["streams"]) == 2


def test_a_summary_has_medians_the_worst_and_errors_by_code() -> None:
    quick = stream(turns=[Turn(1, 1.0, 2.0, answered_s=2.1, answered_until_s=3.0).as_json()])
    summary = CallsSummary((called(stream()), called(quick), refused()))
    summary.reports[0].warn(Objection(31951, "a"), Objection(31951, "b"), Objection(None, "c"))
    told = json.loads(json.dumps(summary.as_json()))
    assert (told["calls"], told["failed"], told["errors"]) == (3, 1, {"31920": 1})
    assert told["warnings"] == {"31951": 1}  # one call, however often
    assert told["ended_by"] == {"caller": 2, "agent": 1}
    assert (told["turns"], told["turns_answered"]) == (4, 3)
    assert told["answer_ms"] == {"median": 100.0, "p95": 350.0, "worst": 350.0}
    assert told["first_audio_ms"] == {"median": 212.0, "p95": 212.0, "worst": 212.0}
    assert (told["gap_ms_max"], told["underruns"]) == (61.0, 3)


def test_a_summary_is_printed_with_each_failure_once() -> None:
    text = printed(CallsSummary((called(stream()), refused(), refused())), width=100)
    assert text.startswith("3 calls, 2 failed; 2 of 3 turns answered\n")
    assert "webhook" in text
    assert "2 times:\n31920 Stream - WebSocket - Handshake Error\n" in text
    assert text.count("31920") == 1


def test_a_summary_of_calls_that_measured_nothing_has_dashes() -> None:
    report = called(webhook=None)
    report.fail(11200, "404")
    text = printed(CallsSummary((report,)), width=100)
    assert "answer" in text
    assert text.count("-  ") >= 3


@pytest.mark.parametrize("count", [1, 2])
def test_a_recording_that_cannot_be_written_is_told_as_it_is(count: int, tmp_path: Path) -> None:
    options = CallOptions("http://127.0.0.1:9/", record=tmp_path / "nowhere" / "out.wav")
    with pytest.raises(FileNotFoundError):
        asyncio.run(place_calls(options, count))
