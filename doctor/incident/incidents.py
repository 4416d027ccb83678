"""Errors and warnings of Twilio's about one call, whatever told of them (pure).

An Alert of the Monitor, a Notification of the call, and what the debugger's webhook told the
gateway (a row of the history) are three views of the same thing, often under the same SID.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal
from urllib.parse import parse_qsl, urlsplit

from doctor.evidence import Answer, Stamp
from doctor.meanings import meaning
from doctor.probing.stamp import parse_stamp
from proxy.redact import shown_target, shown_value

Record = Mapping[str, Any]
Source = Literal["alert", "notification", "debugger"]
# Two views without a SID in common are one where they lie so close.
SAME_S = 5.0
BODY_LIMIT = 2000


@dataclass(frozen=True, slots=True)
class Incident:
    """One error or warning. `fields` are of the answer, as far as they may be shown.

    `url` is shown without secrets; `body` is for recognising who wrote it, never for printing.
    """

    sources: tuple[Source, ...]
    sid: str
    at: float
    code: int
    is_warning: bool
    method: str
    url: str
    status: int | None
    fields: tuple[tuple[str, str | None], ...] = ()
    body: str = ""
    stamp: Stamp | None = None

    @property
    def has_answer(self) -> bool:
        """Whether anything of an answer is known by which its maker can be told."""
        return bool(self.fields)

    @property
    def answer(self) -> Answer:
        return Answer(self.status or 0, "", "1.1", self.fields, self.body, self.stamp)


def from_alert(alert: Record) -> Incident | None:
    """An Alert of monitor/v1."""
    is_warning = str(alert.get("log_level")).lower() != "error"
    return _from_record(alert, "alert", is_warning, alert.get("alert_text"))


def from_notification(entry: Record) -> Incident | None:
    """A Notification of a call: `log` is 0 for an error."""
    is_warning = str(entry.get("log")) != "0"
    return _from_record(entry, "notification", is_warning, entry.get("message_text"))


def from_row(row: Record) -> Incident | None:
    """A row of kind twilio_error: what the debugger's webhook told the gateway."""
    told = row.get("answered_by")
    fields = _shown(told.items()) if isinstance(told, dict) else ()
    code = row.get("code")
    if not isinstance(code, int):
        return None
    return Incident(
        ("debugger",),
        str(row.get("sid") or ""),
        epoch(row.get("occurred_at")) or epoch(row.get("at")) or 0.0,
        code,
        row.get("severity") == "warning",
        str(row.get("method") or ""),
        shown_url(str(row.get("url") or "")),
        row.get("status"),
        fields,
        stamp=_stamp(fields),
    )


def merged(incidents: Iterable[Incident | None]) -> list[Incident]:
    """Each error once, oldest first. Earlier views win; what they lack comes from the others."""
    found: list[Incident] = []
    for incident in incidents:
        if incident is None:
            continue
        for number, known in enumerate(found):
            if _is_same(known, incident):
                found[number] = _joined(known, incident)
                break
        else:
            found.append(incident)
    return sorted(found, key=lambda incident: incident.at)


def shown_url(url: str) -> str:
    """A URL without what may be secret in it: user, query values, tokens in its path."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return "[hidden]" if url else ""
    query = f"?{parts.query}" if parts.query else ""
    origin = f"{parts.scheme}://{host}" if host else ""
    return origin + shown_target(parts.path + query)


def epoch(at: object) -> float | None:
    """ISO 8601 as epoch seconds; None for what is none."""
    try:
        return datetime.fromisoformat(str(at)).timestamp()
    except ValueError:
        return None


def _from_record(record: Record, source: Source, is_warning: bool, text: object) -> Incident | None:
    code = str(record.get("error_code") or "")
    if not re.fullmatch("[1-9][0-9]{3,4}", code):
        return None
    fields = _shown(_header_pairs(str(record.get("response_headers") or "")))
    return Incident(
        (source,),
        str(record.get("sid") or ""),
        float(record.get("at") or 0.0),
        int(code),
        is_warning or (meaning(int(code)).is_warning),
        str(record.get("request_method") or ""),
        shown_url(str(record.get("request_url") or "")),
        _status(str(text or "")),
        fields,
        str(record.get("response_body") or "")[:BODY_LIMIT],
        _stamp(fields),
    )


def _status(text: str) -> int | None:
    """The HTTP status in an alert's text, which is a form."""
    told = {name.lower(): value for name, value in parse_qsl(text)}
    found = told.get("httpresponse") or ""
    if not found and (said := re.search(r"\bHTTP (\d{3})\b", told.get("msg", ""))):
        found = said[1]
    return int(found) if re.fullmatch("[1-9][0-9]{2}", found) else None


def _header_pairs(text: str) -> Sequence[tuple[str, str]]:
    """How header fields are written is not documented: a form, an object, or lines."""
    if text.lstrip().startswith("{"):
        try:
            table = json.loads(text)
        except (ValueError, RecursionError):
            return ()
        return [(str(name), str(value)) for name, value in table.items()]
    if re.match(r"[!-9;-~]+: ", text):
        lines = (line.partition(":") for line in text.splitlines())
        return [(name.strip(), value.strip()) for name, colon, value in lines if colon]
    return parse_qsl(text, keep_blank_values=True)


def _shown(pairs: Iterable[tuple[str, str]]) -> tuple[tuple[str, str | None], ...]:
    return tuple((str(name), shown_value(str(name), str(value))) for name, value in pairs)


def _stamp(fields: Iterable[tuple[str, str | None]]) -> Stamp | None:
    return parse_stamp(value for name, value in fields if name.lower() == "proxy-status" and value)


def _is_same(one: Incident, other: Incident) -> bool:
    if one.sid and one.sid == other.sid:
        return True
    if set(one.sources) & set(other.sources) or one.code != other.code:
        return False
    return abs(one.at - other.at) <= SAME_S and (
        one.url == other.url or not (one.url and other.url)
    )


def _joined(one: Incident, other: Incident) -> Incident:
    return replace(
        one,
        sources=tuple(dict.fromkeys(one.sources + other.sources)),
        method=one.method or other.method,
        url=one.url or other.url,
        status=one.status or other.status,
        fields=one.fields or other.fields,
        body=one.body or other.body,
        stamp=one.stamp or other.stamp,
    )
