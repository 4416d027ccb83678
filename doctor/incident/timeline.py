"""What Twilio says of a call and what the sidecar saw of it, on one time line (pure)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, Literal

from doctor.incident.attribution import HOPS, Attribution, Hop, attribute, by_outcome, is_of_stream
from doctor.incident.incidents import (
    Incident,
    epoch,
    from_alert,
    from_notification,
    from_row,
    merged,
    shown_url,
)
from doctor.meanings import meaning

Record = Mapping[str, Any]
Who = Literal["twilio", "sidecar", "gateway"]
Verdict = Literal["healthy", "broken", "cannot_tell"]
FINE = frozenset({"upgraded", "answered", "client_left"})


@dataclass(frozen=True, slots=True)
class Moment:
    """One line. `at` is epoch seconds; `id` is of the sidecar's record, `code` Twilio's."""

    at: float
    who: Who
    what: str
    text: str
    is_bad: bool = False
    code: int | None = None
    id: str | None = None

    @property
    def is_whole(self) -> bool:
        """Whether its time is told in whole seconds, as Twilio does."""
        return self.who == "twilio" and self.at == int(self.at)

    @property
    def order(self) -> float:
        """Within its second, what Twilio began stands first, what it found out or ended last."""
        is_late = self.is_whole and self.what in ("error", "warning", "end")
        return self.at + 0.9995 if is_late else self.at


@dataclass(frozen=True, slots=True)
class Explained:
    """An incident with the hop that it is about, and what is known of its request."""

    incident: Incident
    attribution: Attribution
    arrival: str


@dataclass(slots=True)
class CallStory:
    """A call as both sides tell it. `notes` say what is missing, and why."""

    call_sid: str
    verdict: Verdict
    call: Record | None
    errors: list[Explained]
    moments: list[Moment]
    notes: list[str] = field(default_factory=list)
    refused: Attribution | None = None  # a handshake that failed at the sidecar

    @property
    def began(self) -> float:
        """The second in which it began, from which times are told."""
        return float(int(self.moments[0].at)) if self.moments else 0.0

    @property
    def hop(self) -> Hop | None:
        known = self.refused if self._first is None else self._first.attribution
        return known.hop if known is not None else None

    @property
    def sentence(self) -> str:
        first = self._first
        if first is not None:
            hop = first.attribution.hop
            told = meaning(first.incident.code)
            where = HOPS[hop] if hop else "cannot tell which hop"
            return f"{told.code} {told.name}: {where}: {first.attribution.because}"
        if self.refused is not None and self.refused.hop is not None:
            return f"a handshake failed: {HOPS[self.refused.hop]}: {self.refused.because}"
        if self.verdict == "broken":
            return "the call failed, and Twilio tells no error of it"
        if self.verdict == "healthy":
            return "neither Twilio nor the sidecar has anything against this call"
        return "cannot tell: what is missing is said below"

    @property
    def _first(self) -> Explained | None:
        """The first error: what comes behind it may be its consequence. Else the first warning,
        where no handshake failed."""
        bad = [each for each in self.errors if not each.incident.is_warning]
        if not bad and self.refused is not None:
            return None
        return next(iter(bad or self.errors), None)


def tell(
    call_sid: str,
    records: Record | None,
    rows: Sequence[Record] | None,
    notes: Iterable[str] = (),
) -> CallStory:
    """`records` are Twilio's (call, alerts, notifications, events), `rows` the sidecar's.

    None of either: it could not be asked, and a note says why.
    """
    twilios = records or {}
    incidents = merged(
        [from_alert(alert) for alert in twilios.get("alerts", ())]
        + [from_notification(entry) for entry in twilios.get("notifications", ())]
        + [from_row(row) for row in rows or () if row.get("kind") == "twilio_error"]
    )
    errors = [_explained(incident, rows) for incident in incidents]
    moments = _of_call(twilios.get("call") or {})
    moments += filter(None, map(_of_event, twilios.get("events", ())))
    for row in rows or ():
        moments += _of_row(row)
    moments += map(_of_incident, errors)
    moments.sort(key=lambda moment: moment.order)
    call = twilios.get("call")
    bad = next((row for row in reversed(rows or ()) if _has_failed(row)), None)  # the oldest
    refused = by_outcome(bad) if bad is not None else None
    verdict = _verdict(call, errors, is_refused=refused is not None)
    return CallStory(call_sid, verdict, call, errors, moments, list(notes), refused)


def _has_failed(row: Record) -> bool:
    return row.get("kind") == "handshake" and row.get("outcome") not in FINE


def _verdict(call: Record | None, errors: Sequence[Explained], *, is_refused: bool) -> Verdict:
    """Broken where anything failed; healthy where Twilio says that nothing did."""
    is_bad = is_refused or any(not each.incident.is_warning for each in errors)
    if is_bad or (call or {}).get("status") == "failed":
        return "broken"
    return "cannot_tell" if call is None else "healthy"


def _explained(incident: Incident, rows: Sequence[Record] | None) -> Explained:
    attribution = attribute(incident, rows)
    return Explained(incident, attribution, _arrival(incident, attribution.record, rows))


def _arrival(incident: Incident, record: Record | None, rows: Sequence[Record] | None) -> str:
    """The sidecar's side of it, in words."""
    what = "handshake" if is_of_stream(incident) else "request"
    if record is not None:
        return f"{what} {record['id']} at the sidecar: {_outcome(record)}"
    if incident.stamp is not None:
        return f"{what} {incident.stamp.id or 'without an id'}: not in this history"
    if rows is None:
        return "the sidecar was not asked"
    return f"no {what} came to the sidecar"


def _outcome(row: Record) -> str:
    status = f" {row['status']}" if row.get("status") else ""
    return f"{row.get('outcome')}{status}"


def _of_incident(told: Explained) -> Moment:
    """The one line: Twilio's code, the handshake or its absence, the hop."""
    incident, known = told.incident, meaning(told.incident.code)
    asked = f"{incident.method} {incident.url}".strip()
    answered = f"answered {incident.status}" if incident.status else ""
    hop = told.attribution.hop
    parts = (
        " ".join(filter(None, (asked, answered))),
        told.arrival,
        f"hop: {HOPS[hop] if hop else 'cannot tell'} ({told.attribution.because})",
    )
    record = told.attribution.record
    return Moment(
        incident.at,
        "twilio",
        "warning" if incident.is_warning else "error",
        f"{known.code} {known.name}: " + "; ".join(filter(None, parts)),
        not incident.is_warning,
        known.code,
        str(record["id"]) if record is not None else None,
    )


def _of_call(call: Record) -> list[Moment]:
    found = []
    if call.get("created_at"):
        direction = call.get("direction") or "call"
        found.append(Moment(call["created_at"], "twilio", "call", f"{direction} call created"))
    if call.get("ended_at"):
        lasted = f" after {call['duration']} s" if call.get("duration") else ""
        text = f"call ended: {call.get('status')}{lasted}"
        found.append(
            Moment(call["ended_at"], "twilio", "end", text, call.get("status") == "failed")
        )
    return found


def _of_event(event: Record) -> Moment | None:
    """A request of Twilio's. Its form and the answer's body may hold secrets and are left out."""
    request, response = event.get("request") or {}, event.get("response") or {}
    try:
        answered_at = parsedate_to_datetime(str(response.get("date_created"))).timestamp()
    except ValueError:
        return None
    ms = response.get("request_duration") or 0
    status = response.get("response_code")
    is_bad = not isinstance(status, int) or status >= 400
    text = f"{request.get('method')} {shown_url(str(request.get('url') or ''))}"
    text += f" answered {status} in {ms} ms" if status else " was not answered"
    return Moment(answered_at, "twilio", "request", text, is_bad)


def _of_row(row: Record) -> list[Moment]:
    """A handshake and its session, a plain request, the gateway's account of the call."""
    at, kind = epoch(row.get("at")), str(row.get("kind"))
    if at is None or kind == "twilio_error":
        return []
    row_id = str(row.get("id"))
    if kind == "call":
        text = f"call ended: {row.get('ending')}"
        return [Moment(at, "gateway", "call", text, id=row_id)]
    is_bad = row.get("outcome") not in FINE
    text = f"{kind} {row.get('method')} {row.get('target')}: {_outcome(row)}"
    if row.get("error") or row.get("reason"):
        text += f" ({row.get('error') or row.get('reason')})"
    ingress = row.get("ingress")
    text += f", by way of {ingress}" if ingress not in (None, "unknown") else ""
    found = [Moment(at, "sidecar", kind, text, is_bad, id=row_id)]
    session = row.get("session")
    if session and session.get("ending"):
        code = f" {session['close_code']}" if session.get("close_code") else ""
        ended = f"stream ended: {session['ending']}{code} by {session.get('ended_by')}"
        lasted_s = float(session.get("duration_s") or 0)
        found.append(Moment(at + lasted_s, "sidecar", "session", ended, id=row_id))
    return found
