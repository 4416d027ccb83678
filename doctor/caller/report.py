"""A simulated call for people: the way it took, its turns, what Twilio would have raised."""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from rich.console import Console
from rich.table import Table
from rich.text import Text

from doctor.caller.calls import CallsSummary
from doctor.caller.outcome import CallReport
from doctor.caller.stream import StreamReport
from doctor.meanings import meaning

_ENDINGS = {
    "agent": "the agent's side ended it",
    "caller": "the caller hung up",
    "limit": "the caller's time was up",
    "error": "Twilio would say that an application error has occurred, and hang up",
    "rejected": "the call was rejected",
    "api": "it was ended from outside",
    "interrupted": "it was interrupted",
}


def print_report(console: Console, report: CallReport) -> None:
    """One call in full. Without colours where the console is no terminal."""
    for line in _lines(report):
        console.print(line, soft_wrap=True)


def print_summary(console: Console, summary: CallsSummary) -> None:
    """Many calls in a table, and each kind of failure once."""
    told = summary.as_json()
    console.print(
        f"{told['calls']} calls, {told['failed']} failed; "
        f"{told['turns_answered']} of {told['turns']} turns answered",
        soft_wrap=True,
    )
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("milliseconds", "median", "p95", "worst"):
        table.add_column(name, justify="left" if name == "milliseconds" else "right")
    rows = (("webhook", "webhook_ms"), ("first audio", "first_audio_ms"), ("answer", "answer_ms"))
    for title, name in rows:
        spread: Mapping[str, float] = told[name] or {}
        table.add_row(title, *(f"{spread[key]:.0f}" if spread else "-" for key in _SPREAD))
    console.print(table)
    console.print(
        f"worst gap {told['gap_ms_max']:.0f} ms, underruns {told['underruns']}, "
        f"media {told['media_sent']} sent, {told['media_received']} received",
        soft_wrap=True,
    )
    firsts = {
        report.twilio_error: report for report in reversed(summary.reports) if report.twilio_error
    }
    for code, count in told["errors"].items():
        console.print(Text(f"{count} times:", "bold"))
        for line in _error(firsts[int(code)]):
            console.print(line, soft_wrap=True)
    for code, count in told["warnings"].items():
        known = meaning(int(code))
        console.print(Text(f"{count} calls: {code} {known.name}", "yellow"), soft_wrap=True)


_SPREAD = ("median", "p95", "worst")


def _lines(report: CallReport) -> Iterator[Text]:
    yield _picture(report)
    ending = _ENDINGS[report.ended_by]
    yield Text(f"call {report.call_sid}, {report.duration_s:.1f} s; {ending}", "dim")
    for text in report.said:
        yield Text.assemble(("<Say>    ", "dim"), _printable(text))
    if report.stream is not None:
        yield from _conversation(report.stream)
    if report.twilio_error is not None:
        yield Text()
        yield from _error(report)
    for objection in report.warnings:
        yield Text(_printable(f"{objection.code or 'remark'}  {objection.saw}"), "yellow")
    yield from _elsewhere(report)
    if not report.is_signed:
        yield Text(
            "unsigned: TWILIO_AUTH_TOKEN is not set, so a gateway that checks signatures refuses",
            "yellow",
        )
    if report.recording is not None:
        yield Text(f"recording: {report.recording} (left: the caller, right: what it heard)")


def _picture(report: CallReport) -> Text:
    """Webhook, TwiML and stream in one line, the break where it is."""
    text = Text("Twilio", "bold")
    if report.webhook is not None:
        webhook = report.webhook
        is_good = webhook.status is not None and webhook.status < 300
        status = str(webhook.status or "no answer")
        _step(text, is_good, f"webhook {_printable(webhook.url)}", f"{status}, {webhook.ms:.0f} ms")
        if not is_good:
            return text
    verbs = next((event["verbs"] for event in report.events if event["event"] == "twiml"), None)
    _step(text, verbs is not None, "TwiML", " ".join(verbs or []) or "empty")
    for stream in report.streams:
        is_good = stream.status == 101
        if stream.status is not None:
            status = str(stream.status)
        else:
            status = "no answer" if stream.saw else "not tried"
        if stream.handshake_ms is not None:
            status += f", {stream.handshake_ms:.0f} ms"
        _step(text, is_good, f"stream {_printable(stream.url)}", status)
    return text


def _step(text: Text, is_good: bool, name: str, status: str) -> None:
    text.append(" ──▶ " if is_good else " ──✗ ", "green" if is_good else "bold red")
    text.append(name, "bold")
    text.append(f" {status}", "green" if is_good else "red")


def _conversation(stream: StreamReport) -> Iterator[Text]:
    if stream.greeting is not None:
        greeting = stream.greeting
        yield Text.assemble(
            ("greeting ", "dim"),
            f"heard after {greeting['heard_ms']:.0f} ms, {greeting['spoke_ms'] / 1000:.1f} s",
        )
    for turn in stream.turns:
        yield Text.assemble((f"turn {turn['number']:<4}", "dim"), _turn(turn))
    if stream.status == 101:
        yield Text.assemble(("media    ", "dim"), _media(stream))


def _turn(turn: Mapping[str, Any]) -> str:
    if turn["digits"]:
        told = f"dialled {_printable(turn['digits'])}"
    else:
        told = f"said {turn['said_ms'] / 1000:.1f} s"
    if turn["barge_in"] is not None:
        clear_ms = turn["barge_in"]["clear_ms"]
        told += ", barging in: "
        told += "no clear came" if clear_ms is None else f"clear after {clear_ms:.0f} ms"
    answer_ms = turn["answer_ms"]
    if answer_ms is None:
        return f"{told}; no answer"
    spoke = f"{turn['spoke_ms'] / 1000:.1f} s"
    if answer_ms < 0:
        return f"{told}; the agent spoke over it ({-answer_ms:.0f} ms before its end), {spoke}"
    return f"{told}; answered after {answer_ms:.0f} ms, {spoke}"


def _media(stream: StreamReport) -> str:
    first = "none" if stream.first_audio_ms is None else f"after {stream.first_audio_ms:.0f} ms"
    return (
        f"{stream.sent} sent, {stream.received} received ({stream.received_bytes / 8000:.1f} s), "
        f"first {first}, worst gap {stream.gap_ms_max:.0f} ms, underruns {stream.underruns}, "
        f"marks {stream.marks} and echoed {stream.marks_echoed}, clears {stream.clears}"
    )


def _error(report: CallReport) -> Iterator[Text]:
    assert report.twilio_error is not None  # noqa: S101 - asked before
    known = meaning(report.twilio_error)
    yield Text(f"{known.code} {known.name}", "bold red")
    yield Text(f"  saw      {_printable(report.error_saw)}")
    fields = ", ".join(f"{name}: {value}" for name, value in report.answered_by.items())
    if fields:
        yield Text(f"  from     {_printable(fields)}")
    yield Text(f"  means    {known.cause}")
    yield Text(f"  look at  {known.look_at}")


def _elsewhere(report: CallReport) -> Iterator[Text]:
    """A stream that goes another way than its webhook says nothing of the webhook's hops."""
    for stream in report.streams:
        if stream.status is None or report.webhook is None:
            continue
        host, webhook = _authority(stream.url), _authority(report.webhook.url)
        if host != webhook:
            told = f"the stream went to {host}, not by way of {webhook} as the webhook did"
            yield Text(_printable(f"{told}; is the gateway's public URL right?"), "yellow")


def _authority(url: str) -> str:
    """Name and port of a URL that was dialled, the port spelled where its scheme implies it."""
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port or (443 if parts.scheme in ('https', 'wss') else 80)}"


def _printable(text: str) -> str:
    """The same on one line, with what would steer a terminal spelled out: strangers wrote it."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
