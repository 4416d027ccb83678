"""What Twilio keeps of one call: the call itself, its events, its notifications, its alerts.

Alerts cannot be asked for by call: those of the time around it are listed, and the ones about the
call or one of its streams are fetched. Everything is bounded, in pages and in time. The headers
and the form of Twilio's requests, which hold signatures and tokens, are never taken.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from gateway.dial_errors import TwilioError
from gateway.settings import read_account
from gateway.twilio_rest import ANSWER_S, Rest, RestHttp

TOTAL_S = 60.0
PAGE = 1000
ALERTS_LIMIT = 2 * PAGE  # of all calls of the account, in the time of this one
FETCHED_LIMIT = 20  # alerts, and notifications, whose answer is asked for
EVENTS_LIMIT = 100
AHEAD, BEHIND = timedelta(minutes=1), timedelta(minutes=15)  # alerts lag
_CREDENTIALS = (20003, 20005, 20006, 20008)
_CALL = ("status", "direction", "duration", "answered_by")
_ALERT = (
    "sid error_code log_level resource_sid alert_text request_method request_url "
    "response_headers response_body"
).split()
_NOTIFICATION = (
    "sid error_code log message_text request_method request_url response_headers response_body"
).split()
Record = dict[str, Any]
Found = tuple[list[Record], str]  # and what is missing of them


@dataclass(slots=True)
class CallRecords:
    """Resources with Twilio's names; times are epoch seconds, under `at` and `..._at`.

    `problems` says what could not be asked for, and why.
    """

    call: Record
    events: list[Record] = field(default_factory=list)
    notifications: list[Record] = field(default_factory=list)
    alerts: list[Record] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Told:
    """What Twilio said, or why it said nothing. `records` are `CallRecords`, as a table."""

    credentials: Literal["accepted", "missing", "refused"]
    records: Record | None = None
    problems: list[str] = field(default_factory=list)


class Account:
    """Twilio's side of any call of the account in the environment. Raises SettingsError."""

    def __init__(self, config: Path | None = None) -> None:
        settings = read_account(config)
        keys, twilio = settings.credentials, settings.twilio
        named = {"TWILIO_ACCOUNT_SID": keys.account_sid, "TWILIO_AUTH_TOKEN": keys.auth_token}
        self._missing = [name for name, value in named.items() if not value]
        is_chosen = bool(twilio.region or twilio.edge)
        self._rest = Rest(
            keys.account_sid or "none",
            keys.auth_token or "none",
            twilio.chosen_region if is_chosen else None,
            twilio.chosen_edge if is_chosen else None,
            RestHttp(ANSWER_S, twilio.api_url),
        )

    async def ask(self, call_sid: str, stream_sids: Collection[str]) -> Told:
        """What is kept of a call. Never raises for what Twilio or the network does."""
        if self._missing:
            names = " and ".join(self._missing)
            return Told("missing", problems=[f"Twilio was not asked: {names} not set"])
        try:
            records = await fetch_records(self._rest, call_sid, stream_sids)
        except TwilioError as error:
            hint = f" ({error.hint})" if error.hint and not error.may_have_happened else ""
            is_refused = is_refusal_of_credentials(error)
            problem = f"Twilio: {error.error}{hint}"
            return Told("refused" if is_refused else "accepted", problems=[problem])
        return Told("accepted", asdict(records), records.problems)


def is_refusal_of_credentials(error: TwilioError) -> bool:
    return error.code in _CREDENTIALS


async def fetch_records(
    rest: Rest,
    call_sid: str,
    stream_sids: Collection[str] = (),
    *,
    total_s: float = TOTAL_S,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> CallRecords:
    """Raises TwilioError where not even the call can be had: 20404 where there is none."""
    records: CallRecords | None = None
    try:
        async with asyncio.timeout(total_s):
            call = await rest.ask(lambda client: client.calls(call_sid).fetch())
            records = CallRecords(_taken(call, _CALL) | _times(call))
            whose = {call_sid, *stream_sids}
            began = call.date_created or call.start_time or now() - timedelta(hours=1)
            window = began - AHEAD, min((call.end_time or now()) + BEHIND, now() + AHEAD)
            gathering: dict[str, Callable[[], Awaitable[Found]]] = {
                "alerts": lambda: _alerts(rest, whose, window),
                "notifications": lambda: _notifications(rest, call_sid),
                "events": lambda: _events(rest, call_sid),
            }
            for what, gather in gathering.items():
                try:
                    found, problem = await gather()
                except TwilioError as error:
                    records.problems.append(f"{what}: {error.error}")
                else:
                    setattr(records, what, found)
                    records.problems += [problem] if problem else []
    except TimeoutError:
        late = f"Twilio's API took longer than {total_s:g} s"
        if records is None:
            raise TwilioError(late) from None
        records.problems.append(f"{late}; what had come by then is shown")
    return records


async def _alerts(rest: Rest, whose: set[str], window: tuple[datetime, datetime]) -> Found:
    dates = {"start_date": window[0], "end_date": window[1]}
    paged = {"limit": ALERTS_LIMIT, "page_size": PAGE}
    listed = await rest.ask(lambda client: client.monitor.v1.alerts.list(**dates, **paged))
    ours = [entry for entry in listed if entry.resource_sid in whose]
    found = []
    for entry in ours[:FETCHED_LIMIT]:
        whole = await _whole(rest, lambda client, sid: client.monitor.v1.alerts(sid), entry.sid)
        found.append(_taken(whole, _ALERT) | {"at": _epoch(whole.date_generated)})
    if len(listed) >= ALERTS_LIMIT:
        return found, f"alerts: the account has more than {ALERTS_LIMIT} in the time of the call"
    return found, _cut("alerts", len(ours))


async def _notifications(rest: Rest, call_sid: str) -> Found:
    def one(client: Any, sid: str) -> Any:
        return client.calls(call_sid).notifications(sid)

    paged = {"limit": FETCHED_LIMIT + 1, "page_size": FETCHED_LIMIT + 1}
    listed = await rest.ask(lambda client: client.calls(call_sid).notifications.list(**paged))
    found = []
    for entry in listed[:FETCHED_LIMIT]:
        whole = await _whole(rest, one, entry.sid)
        found.append(_taken(whole, _NOTIFICATION) | {"at": _epoch(whole.message_date)})
    return found, _cut("notifications", len(listed))


async def _events(rest: Rest, call_sid: str) -> Found:
    listed = await rest.ask(
        lambda client: client.calls(call_sid).events.list(
            limit=EVENTS_LIMIT, page_size=EVENTS_LIMIT
        )
    )
    return [{"request": entry.request, "response": entry.response} for entry in listed], ""


async def _whole(rest: Rest, one: Callable[[Any, str], Any], sid: str) -> Any:
    """What a list leaves out of its entries."""
    return await rest.ask(lambda client: one(client, sid).fetch())


def _cut(what: str, count: int) -> str:
    return f"{what}: only {FETCHED_LIMIT} were asked for" if count > FETCHED_LIMIT else ""


def _taken(resource: Any, names: Collection[str]) -> Record:
    return {name: getattr(resource, name) for name in names}


def _times(call: Any) -> Record:
    return {
        "created_at": _epoch(call.date_created),
        "started_at": _epoch(call.start_time),
        "ended_at": _epoch(call.end_time),
    }


def _epoch(at: datetime | None) -> float | None:
    return None if at is None else (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
