"""Which hop an error of Twilio's is about, told from the answer that it got (pure).

Whatever passes the sidecar leaves it with a stamp (Proxy-Status: hopscope; ...). Without one, a
hop in front answered; with `received-status`, the gateway did; with `error`, the sidecar itself.
The id in it names the sidecar's own record, which knows how the request came.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from doctor.incident.incidents import Incident, epoch
from doctor.rules.makers import maker_of
from gateway.stamp import SERVER

Row = Mapping[str, Any]
Hop = Literal["in_front", "sidecar", "gateway"]
HOPS: dict[Hop, str] = {
    "in_front": "a hop in front of the sidecar",
    "sidecar": "the sidecar",
    "gateway": "the gateway",
}
# Raised before any answer: nobody was reached, or nobody spoke.
UNANSWERED = frozenset(
    {11201, 11202, 11203, 11205, 11206, 11210, 11220, 11235, 11236, 11237}
    | {31901, 31902, 31904, 31910}
)
# An HTTP answer that was of no use.
ANSWERED = frozenset({11200, 11215, 11216, 11217, 15003, 31920})
# What the TwiML says, or what is sent over a stream that is open: no hop in between makes it.
OF_THE_GATEWAY = frozenset(
    {11100, 11750, 11770, 12100, 12101, 12102, 12200, 12300, 13520, 21262}
    | {31922, 31923, 31930, 31931, 31941, 31950, 31951}
)
ENDINGS = frozenset({31903, 31921})
SKEW_S = 5.0  # between Twilio's clock, which tells whole seconds, and ours


@dataclass(frozen=True, slots=True)
class Attribution:
    """`because` is read behind the name of the hop. `hop` None: it cannot be told.

    `record` is the sidecar's, of the request that the error is about.
    """

    hop: Hop | None
    because: str
    record: Row | None = None


def is_of_stream(incident: Incident) -> bool:
    return 31900 <= incident.code < 32000


def attribute(incident: Incident, rows: Sequence[Row] | None) -> Attribution:
    """`rows` are the sidecar's records of the call, and those that stamps name; None: not read."""
    has_history, rows = rows is not None, rows or ()
    record = find_record(incident, rows)
    if incident.stamp is not None:
        return _by_stamp(incident, record)
    if incident.has_answer:
        return _without_stamp(incident, record)
    return _by_record(incident, record, has_history=has_history)


def find_record(incident: Incident, rows: Sequence[Row]) -> Row | None:
    """The sidecar's record of the request: by the id in the stamp, else the nearest on its path."""
    if incident.stamp is not None and incident.stamp.id:
        return next((row for row in rows if row.get("id") == incident.stamp.id), None)
    kind = "handshake" if is_of_stream(incident) else "request"
    path = urlsplit(incident.url).path.rstrip("/")
    of_path = [
        row
        for row in rows
        if row.get("kind") == kind and (not path or _is_path(path, str(row.get("target") or "")))
    ]
    # An ingress may add or strip a prefix; what was recorded after the error is another's.
    before = [row for row in of_path if (epoch(row.get("at")) or 0) <= incident.at + SKEW_S]
    return max(before, key=lambda row: str(row.get("id")), default=None)


def _is_path(path: str, target: str) -> bool:
    seen = target.partition("?")[0].rstrip("/")
    return seen.endswith(path) or path.endswith(seen)


def _by_stamp(incident: Incident, record: Row | None) -> Attribution:
    stamp = incident.stamp
    assert stamp is not None  # noqa: S101 - who calls has looked
    if stamp.error:
        details = f": {stamp.details}" if stamp.details else ""
        return Attribution("sidecar", f"it answered itself, {stamp.error}{details}", record)
    status = stamp.received_status or incident.status
    if record is not None and record.get("outcome") == "not_an_upgrade":
        because = f"it took Upgrade away; the gateway answered {status} to the rest"
        return Attribution("in_front", because, record)
    return Attribution("gateway", f"it answered {status}, the stamp says", record)


def _without_stamp(incident: Incident, record: Row | None) -> Attribution:
    server = incident.answer.value("Server") or ""
    if server == SERVER:
        return Attribution("gateway", "it answered, past the sidecar", record)
    if record is not None and incident.status and record.get("status") == incident.status:
        because = f"it answered {incident.status}, and a hop in front took the stamp off"
        return Attribution("gateway", because, record)
    maker = maker_of(incident.answer)
    by = f", {maker} by its words" if maker else f" (Server: {server})" if server else ""
    answered = f"answered {incident.status}" if incident.status else "answered"
    return Attribution("in_front", f"it {answered}{by}, without the stamp", record)


def _by_record(incident: Incident, record: Row | None, *, has_history: bool) -> Attribution:
    """Twilio recorded no header of an answer: the sidecar's record tells, or that there is none."""
    session = (record or {}).get("session")
    if incident.code in ENDINGS and session:
        return _by_ending(session, record)
    if incident.code in OF_THE_GATEWAY:
        return Attribution("gateway", "it writes the TwiML and the messages", record)
    if incident.code in UNANSWERED | ANSWERED and has_history:
        if record is None:
            who = "nobody answered" if incident.code in UNANSWERED else "it answered"
            return Attribution("in_front", f"{who}: nothing came to the sidecar")
        return by_outcome(record)
    return Attribution(None, "Twilio recorded no answer by which its maker could be told", record)


def by_outcome(record: Row) -> Attribution:
    """What the sidecar's own record of a failed request tells."""
    outcome, status = record.get("outcome"), record.get("status")
    if outcome == "not_an_upgrade":
        return Attribution("in_front", "it took Upgrade away", record)
    if outcome in ("timeout", "unreachable", "upstream_closed"):
        because = f"it gave the sidecar no answer ({outcome})"
        return Attribution("gateway", because, record)
    if record.get("error"):
        return Attribution("sidecar", f"it answered itself, {record['error']}", record)
    if outcome in ("upgraded", "client_left"):
        because = f"it broke what was {outcome} at the sidecar"
        return Attribution("in_front", because, record)
    return Attribution("gateway", f"it answered {status}, the sidecar's record says", record)


def _by_ending(session: Row, record: Row | None) -> Attribution:
    """Who ended a stream that was open. What comes from the client's side comes through a hop."""
    code = f" {session['close_code']}" if session.get("close_code") else ""
    how = f"{session.get('ending')}{code}"
    by = {"server": "gateway", "sidecar": "sidecar", "client": "in_front"}
    hop = by.get(str(session.get("ended_by")))
    if hop == "gateway":
        return Attribution("gateway", f"it ended the stream: {how}", record)
    if hop == "sidecar":
        return Attribution("sidecar", f"it ended the stream: {how}", record)
    if hop == "in_front":
        return Attribution("in_front", f"the stream was cut there: {how}", record)
    return Attribution(None, "the sidecar has not seen how the stream ended", record)
