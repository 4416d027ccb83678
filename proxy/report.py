"""What was seen, for people: a line for each row, one row in full, events as they come."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp
from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from proxy.history import CALL, TWILIO_ERROR
from proxy.transcript import call_line, call_view, error_line

Row = Mapping[str, Any]
_STYLES = {
    "upgraded": "green",
    "answered": "green",
    "refused": "yellow",
    "not_an_upgrade": "red",
    "unreachable": "red",
    "timeout": "red",
    "upstream_closed": "red",
    "malformed": "magenta",
    "client_left": "cyan",
}
SENDERS = ("client", "server")


# What to do about an outcome that is not the sidecar's own finding; {} is a field of the row.
_ADVICE = {
    "not_an_upgrade": (
        "A hop in front took Upgrade away before the request came here. nginx needs: "
        "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; "
        "proxy_set_header Connection $http_connection;"
    ),
    "refused": "The gateway itself answered {status} to {seen}; does it serve a WebSocket there?",
}

# Why a stream may never have arrived, in words; {} is a field of the event.
_FACTS = {
    "malformed_url": "its URL is malformed (Twilio: 31923)",
    "not_wss": "Twilio dials nothing but wss:// (31922)",
    "has_query": "it has a query, which Twilio drops",
    "host_not_public": "its host is known to a local network only",
    "host_elsewhere": "the webhook came in under {webhook_hosts}",
    "path_not_routed_here": "no route takes its path",
    "arrived_without_upgrade": "a request for {arrived} came; a hop in front took Upgrade away",
    "arrived_elsewhere": "an upgrade came for {arrived}",
    "stream_error": "Twilio says that it failed ({twilio_error})",
    "call_ended": "the call ended after {call_ended_s} s",
    "unknown": "nothing came: a hop in front answered it, or Twilio never asked",
}


def print_rows(console: Console, rows: Sequence[Row]) -> None:
    """One line for each row, newest first, however narrow the terminal is."""
    for row in rows:
        console.print(_row_line(_printable(row)), soft_wrap=True)


def _row_line(row: Row) -> Text:
    if row.get("kind") == CALL:
        return call_line(row)
    if row.get("kind") == TWILIO_ERROR:
        return error_line(row)
    outcome = _outcome(row)
    outcome.pad_right(max(20 - len(outcome), 0))
    ending = _session_words(row["session"]) if row.get("session") else ""
    way = f"{row['method'] or '?'} {row['target'] or '?'}"
    probe = "a probe of the doctor's" if row.get("probe_id") else ""
    told = "; ".join(filter(None, (_flaws(row), ending, probe)))
    return Text.assemble(
        f"{row['at']}  {row['id']}  ",
        outcome,
        f"  {row['ingress']:<16}  {row['client'] or 'unix':<15}  {way}",
        f"  {told}" if told else "",
    )


def print_row(console: Console, row: Row) -> None:
    """One row in full: the way it took, both heads, violations, the session; or a phone call."""
    row = _printable(row)
    if row.get("kind") == CALL:
        _print_call(console, row)
        return
    if row.get("kind") == TWILIO_ERROR:
        console.print(error_line(row), soft_wrap=True)
        return
    console.print(_picture(row))
    parts = [
        _section(
            "phases",
            {name: f"{ms:.1f} ms" for name, ms in row["phases_ms"].items() if ms is not None},
        ),
    ]
    if row.get("reason"):
        error = f"{row['error']}: " if row.get("error") else ""
        parts.append(Text(error + row["reason"], style="red"))
    elif row["outcome"] in _ADVICE:
        seen = row.get("forwarded_target") or row["target"]
        advice = _ADVICE[row["outcome"]].replace("{status}", str(row["status"]))
        parts.append(Text(advice.replace("{seen}", seen or "it"), style="red"))
    for violation in row.get("violations", []):
        section = violation["section"]
        source = section if section.startswith("RFC") else f"RFC 6455 {section}"
        saw = "absent" if violation["saw"] is None else repr(violation["saw"])
        parts.append(
            Text(f"{violation['field']}: {saw}, wanted {violation['wanted']} ({source})", "yellow")
        )
    for line in parts:
        console.print(line)
    heads = [
        Panel(_head(row[name]), title=title, title_align="left")
        for name, title in (("request_head", "request"), ("response_head", "response"))
        if row.get(name)
    ]
    if row.get("raw_head"):
        heads.append(Panel(Text(row["raw_head"]), title="as received", title_align="left"))
    if heads:
        console.print(Group(*heads))
    if row.get("session"):
        console.print(_session(row["session"]))


def _print_call(console: Console, call: Row) -> None:
    """A phone call turn by turn, then one line for each of its handshakes."""
    console.print(call_view(call))
    handshakes = call.get("handshakes") or []
    console.print(Text("handshakes:" if handshakes else "no handshake of it was seen", "dim"))
    for row in handshakes:
        console.print(_row_line(row), soft_wrap=True)


async def follow(admin: str, console: Console, *, as_json: bool) -> None:
    """Print events of a running sidecar until it ends. Raises OSError, ValueError.

    `admin` is a URL, or HOST:PORT as `hopscope proxy --admin` takes it.
    """
    admin = admin if "://" in admin else f"http://{admin}"
    token = os.environ.get("HOPSCOPE_ADMIN_TOKEN")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=5)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, headers=headers) as session,
            session.get(f"{admin.rstrip('/')}/api/events") as response,
        ):
            if response.status != 200:
                raise ValueError(f"{response.status}: {(await response.text()).strip()}")
            print(f"watching {admin}; Ctrl-C ends", file=sys.stderr, flush=True)
            await _print_events(console, response, as_json=as_json)
    except aiohttp.ClientPayloadError:
        return  # the sidecar was killed in the middle of its answer
    except aiohttp.ClientConnectorError as error:
        reason = error.os_error.strerror or "no connection"
        raise ConnectionError(
            f"{reason}; start `hopscope proxy`, or name its address with --admin"
        ) from None
    except aiohttp.ClientError as error:  # not all of them are OSErrors
        raise ConnectionError(str(error)) from None


async def _print_events(
    console: Console, response: aiohttp.ClientResponse, *, as_json: bool
) -> None:
    event = ""
    async for line in response.content:
        name, _, value = line.decode().rstrip("\n").partition(": ")
        if name == "event":
            event = value
        elif name == "data":
            _print_event(console, event, json.loads(value), as_json=as_json)


def _print_event(console: Console, event: str, fields: Row, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"event": event, **fields}), flush=True)
    else:
        console.print(event_line(event, fields), soft_wrap=True)


def event_line(event: str, fields: Row) -> Text:
    """One event for people, as `tap` and the console log print it."""
    fields = _printable(fields)
    if event in ("handshake", "request"):
        return Text.assemble((f"{event:<9}  ", "dim"), _row_line(fields))
    if event == "session":
        return Text.assemble(("session    ", "dim"), f"{fields['id']}  ", _session_words(fields))
    if event == "stream_never_arrived":
        return Text.assemble((f"{event}  ", "red"), _missing_words(fields))
    told = {name: value for name, value in fields.items() if name not in ("at", "level")}
    at = f"{fields['at']}  " if "at" in fields else ""
    return Text.assemble((f"{event}  ", "dim"), at, _pairs(told))


def _pairs(fields: Row) -> str:
    """name=value of what is known; words with spaces, and what has parts, as JSON."""
    told = ((name, value) for name, value in fields.items() if value is not None)
    return " ".join(
        f"{name}={value}"
        if isinstance(value, str) and not set(value) & set(' "=')
        else f"{name}={json.dumps(value, ensure_ascii=False)}"
        for name, value in told
    )


def _missing_words(missing: Row) -> str:
    """Which stream never arrived, and what is known of why."""
    shown = {**missing, "webhook_hosts": ", ".join(missing["webhook_hosts"])}
    facts = (_FACTS[fact].format_map(shown) for fact in missing["because"])
    call = f"call {missing['call_sid']}, " if missing["call_sid"] else ""
    of = f"{call}webhook {missing['exchange']}"
    return f"{missing['url']} after {missing['waited_s']} s ({of}): {'; '.join(facts)}"


def _printable(value: Any) -> Any:
    """The same, with what would steer a terminal spelled out: heads are written by strangers."""
    if isinstance(value, str):
        lines = value.replace("\r\n", "\n")
        return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in lines)
    if isinstance(value, Mapping):
        return {name: _printable(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_printable(item) for item in value]
    return value


def _picture(row: Row) -> Text:
    """The hops of one exchange in a line, the break where it is."""
    ingress = row["ingress"] if row["ingress"] != "unknown" else "client"
    before, behind = _arrows(row)
    upstream = f"{row['route']} {row['upstream']}" if row["upstream"] else "no upstream"
    return Text.assemble(
        (f"{ingress} {row['client'] or 'unix'}", "bold"),
        before,
        ("hopscope", "bold"),
        behind,
        (upstream, "bold"),
        "   ",
        _outcome(row),
        f"\n{row['method'] or '?'} {row['target'] or '?'}",
        f"  became {row['forwarded_target']}" if row.get("forwarded_target") else "",
        (f"\n{row['at']}  {row['id']}", "dim"),
    )


def _arrows(row: Row) -> tuple[Text, Text]:
    """The way before the sidecar and the way behind it: whole, broken, or not gone."""
    whole, broken, untried = Text(" ──▶ "), Text(" ──✗ ", "bold red"), Text(" ··· ", "dim")
    if row["outcome"] in ("upgraded", "answered"):
        return whole, whole
    if row["outcome"] == "not_an_upgrade":
        return broken, whole  # it was broken before it came here
    if row["upstream"] is None or row["outcome"] == "client_left":
        return broken, untried if row["upstream"] is None else whole
    return whole, broken


def _outcome(row: Row) -> Text:
    status = f" {row['status']}" if row.get("status") else ""
    return Text(f"{row['outcome']}{status}", style=_STYLES.get(row["outcome"], ""))


def _flaws(row: Row) -> str:
    if row.get("reason"):
        return str(row["reason"])
    fields = [violation["field"] for violation in row.get("violations") or []]
    return f"violates: {', '.join(fields)}" if fields else ""


def _session_words(session: Row | None) -> str:
    if not session:
        return ""
    frames = " / ".join(str(sum(session["frames"][sender].values())) for sender in SENDERS)
    code = f" {session['close_code']}" if session["close_code"] else ""
    ending = f"{session['ending']}{code} by {session['ended_by']}" if session["ending"] else "open"
    return f"{session['duration_s']:.1f} s, {frames} frames, {ending}"


def _session(session: Row) -> Group:
    """What passed, by opcode and sender; how it ended; what Twilio's messages told."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("")
    for sender in SENDERS:
        table.add_column(sender, justify="right")
    frames, payload = session["frames"], session["bytes"]
    for opcode in sorted({opcode for sender in SENDERS for opcode in frames[sender]}):
        counts = [frames[sender].get(opcode, 0) for sender in SENDERS]
        sizes = [payload[sender].get(opcode, 0) for sender in SENDERS]
        cells = [f"{count} ({size} B)" for count, size in zip(counts, sizes, strict=True)]
        table.add_row(f"{opcode} frames", *cells)
    for name, unit in (("longest_silence_s", "s"), ("media_frames", "")):
        if session.get(name) is not None:
            values = (f"{session[name][sender]} {unit}".rstrip() for sender in SENDERS)
            table.add_row(name.removesuffix("_s").replace("_", " "), *values)
    lines = [Text(f"session: {_session_words(session)}", "bold")]
    if session.get("close_reason"):
        lines.append(Text(f"close reason: {session['close_reason']}"))
    lines += [
        Text(f"{sender}'s frames: {session['blind'][sender]}", "yellow")
        for sender in SENDERS
        if session["blind"][sender]
    ]
    if session.get("call_sid"):
        lines.append(Text(f"call {session['call_sid']}"))
        lines.append(Text(f"stream {session['stream_sid']}"))
    if "media_read" in session:
        lines.append(Text(_media_words(session)))
    return Group(*lines, table)


def _media_words(session: Row) -> str:
    told = ("sequence_gaps", "jitter_ms", "underruns", "marks_unanswered")
    if session[told[0]] is not None:
        return ", ".join(f"{name.replace('_', ' ')} {session[name]}" for name in told)
    if session["messages_unread"] is None:
        return f"its messages were not read ([media] read: {session['media_read']})"
    unread = session["messages_unread"]
    counts = (
        f"{'?' if unread[sender] is None else unread[sender]} of the {sender}'s"
        for sender in SENDERS
    )
    return f"messages that could not be read: {', '.join(counts)}"


def _section(title: str, values: Row) -> Text:
    return Text.assemble(
        (f"{title}: ", "dim"), ", ".join(f"{name} {value}" for name, value in values.items())
    )


def _head(pairs: list[list[str | None]]) -> Text:
    text = Text()
    for name, value in pairs:
        text.append(f"{name}: ", "bold")
        text.append("present\n" if value is None else f"{value}\n", "dim" if value is None else "")
    text.rstrip()
    return text
