"""Streams that TwiML promised: which upgrade keeps which promise, and what is known of the others.

Twilio asks for a stream within a second or two of coming to its verb. What is told of one that
never arrived is facts, each true by itself and none of them a verdict: most failures happen in
front of the sidecar, where it sees nothing.

A caller who hangs up during a spoken greeting ends the call before its stream is due; where a
status callback that passes here says so, the promise is forgotten. Behind the greeting the same
callback is no excuse: Twilio ends a call whose stream can't be reached, too. It is told
(`call_ended`), since without a callback the sidecar can't know of it at all.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from proxy.redact import shown_target
from proxy.routes import Route
from proxy.stream_url import StreamUrl, UrlFact, parse_stream_url
from proxy.twiml import AdvertisedStream, Posted

ARRIVAL_S = 10.0  # Twilio gives a connection attempt 5 s, and may try twice
SOON_S = 3.0  # most streams are asked for within one or two
PENDING_LIMIT = 1000
STRAYS_LIMIT = 100

ArrivalFact = Literal[
    "arrived_without_upgrade",  # a request for it came; a hop in front had taken Upgrade away
    "arrived_elsewhere",  # an upgrade that nobody promised came meanwhile, on another path
    "stream_error",  # Twilio's own status callback says that it failed
    "call_ended",  # before it came: the caller hung up, or Twilio gave up on the stream
    "unknown",  # nothing came that could be it: a hop in front, or Twilio, stopped it
]
Fact = UrlFact | ArrivalFact


@dataclass(frozen=True, slots=True)
class Webhook:
    """The request that was answered with TwiML. `hosts` are the names that it came in under."""

    exchange: str
    call_sid: str | None
    hosts: tuple[str, ...]
    is_signed: bool


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request that may ask for a stream. `call_sid` is what its target names, if any."""

    exchange: str
    path: str
    at: float
    is_upgrade: bool
    has_key: bool  # a Sec-WebSocket-Key or -Version, which no other request carries
    is_signed: bool
    call_sid: str | None = None


@dataclass(slots=True, eq=False)
class Promise:
    """One advertised stream. Times are seconds on the caller's steady clock."""

    url: StreamUrl
    webhook: Webhook
    at: float
    after_s: float
    is_only: bool  # of its document: news of "the stream" is news of this one
    call_ended_at: float | None = None
    has_failed: bool = False
    error: int | None = None

    def is_kept_by(self, arrival: Arrival) -> bool:
        """Whether a request may be for this stream. An ingress may strip or add a prefix."""
        if self.url.path is None or not self.may_be_of_call(arrival.call_sid):
            return False
        here, there = arrival.path.rstrip("/"), self.url.path.rstrip("/")
        return there.endswith(here) or here.endswith(there)

    def may_be_of_call(self, call_sid: str | None) -> bool:
        return None in (call_sid, self.webhook.call_sid) or call_sid == self.webhook.call_sid


@dataclass(frozen=True, slots=True)
class Missing:
    """A stream that never arrived. `arrived` is the path of the request that came instead."""

    promise: Promise
    waited_s: float
    because: list[Fact]
    arrived: str | None

    def line(self) -> dict[str, Any]:
        """The fields of the `stream_never_arrived` log line, without secrets."""
        promise, ended_at = self.promise, self.promise.call_ended_at
        return {
            "exchange": promise.webhook.exchange,
            "call_sid": promise.webhook.call_sid,
            "url": promise.url.shown(),
            "waited_s": round(self.waited_s, 1),
            "because": list(self.because),
            "arrived": self.arrived and shown_target(self.arrived),
            "webhook_hosts": list(promise.webhook.hosts),
            "call_ended_s": None if ended_at is None else round(ended_at - promise.at, 1),
            "twilio_error": promise.error,
        }


class Promises:
    """The streams that are due. Times are seconds on the caller's steady clock."""

    def __init__(self) -> None:
        self._due: list[Promise] = []
        self._strays: deque[Arrival] = deque(maxlen=STRAYS_LIMIT)  # they keep no promise
        # By the exchange that keeps them, until its stream says whose it is.
        self._kept: dict[str, Promise] = {}

    def __len__(self) -> int:
        return len(self._due)

    def are_fresh(self, now: float) -> bool:
        """Whether a stream may be expected any moment."""
        return any(now - due.at < due.after_s + SOON_S for due in self._due)

    def expect(self, streams: Sequence[AdvertisedStream], webhook: Webhook, now: float) -> None:
        """Wait for what a document advertised; a document that Twilio fetched again counts once."""
        for stream in streams:
            url, is_only = parse_stream_url(stream.url), len(streams) == 1
            promise = Promise(url, webhook, now, stream.after_s, is_only)
            self._due = [due for due in self._due if not _is_repeated(due, promise)]
            if len(self._due) < PENDING_LIMIT:
                self._due.append(promise)

    def receive_upgrade(self, arrival: Arrival) -> Promise | None:
        """The promise that an upgrade keeps, for all that can be told: the oldest that fits."""
        promise = self._asked_for(arrival)
        if promise is not None:
            self._due.remove(promise)
            self._kept[arrival.exchange] = promise
            if len(self._kept) > PENDING_LIMIT:
                del self._kept[next(iter(self._kept))]
        elif self._due:
            self._strays.append(arrival)
        return promise

    def receive_request(self, arrival: Arrival) -> Promise | None:
        """The promise that a request would keep, had its Upgrade not been lost on the way."""
        promise = self._asked_for(arrival)
        is_worth_telling = arrival.has_key or (promise is not None and arrival.path != "/")
        if self._due and is_worth_telling:
            self._strays.append(arrival)
        return promise if arrival.has_key else None

    def receive_start(self, exchange: str, call_sid: str | None) -> None:
        """A stream named its call: the promise that it keeps is that call's.

        Of two calls at once the other may be the one that waits; and a path that nobody promised
        may be what a hop has made of the one that was.
        """
        is_stray = any(stray.exchange == exchange for stray in self._strays)
        kept = self._kept.get(exchange)
        if call_sid is None or not (is_stray or kept):
            return
        self._kept.pop(exchange, None)
        if kept is not None and kept.may_be_of_call(call_sid):
            return
        of_call = (due for due in self._due if due.webhook.call_sid == call_sid)
        if (promise := next(of_call, None)) is not None:
            self._due.remove(promise)
            self._due += [kept] if kept is not None else []
            strays = (stray for stray in self._strays if stray.exchange != exchange)
            self._strays = deque(strays, maxlen=STRAYS_LIMIT)

    def receive_form(self, posted: Posted, now: float) -> None:
        """Take what Twilio says of a call, or of the stream that it knows and we do not."""
        for promise in [due for due in self._due if due.webhook.call_sid == posted.call_sid]:
            is_served_elsewhere = promise.is_only and posted.stream_event == "stream-started"
            if is_served_elsewhere or (posted.is_final and now - promise.at < promise.after_s):
                self._due.remove(promise)
            if posted.is_final:
                promise.call_ended_at = now
            if promise.is_only and posted.stream_event == "stream-error":
                promise.has_failed, promise.error = True, posted.error

    def overdue(self, now: float, routes: Sequence[Route]) -> list[Missing]:
        """Take out the promises that were not kept in time, with what is known of each."""
        late = [due for due in self._due if due.has_failed or _is_late(due, now)]
        if not late:
            return []
        self._due = [due for due in self._due if not (due.has_failed or _is_late(due, now))]
        found = [self._missing(promise, now, routes) for promise in late]
        if not self._due:
            self._strays.clear()
        return found

    def _asked_for(self, arrival: Arrival) -> Promise | None:
        return next((due for due in self._due if due.is_kept_by(arrival)), None)

    def _missing(self, promise: Promise, now: float, routes: Sequence[Route]) -> Missing:
        strays = [stray for stray in self._strays if _may_be_of(stray, promise)]
        lost = [s for s in strays if not s.is_upgrade and (s.has_key or promise.is_kept_by(s))]
        upgrades = [stray for stray in strays if stray.is_upgrade]
        found: list[tuple[Fact, bool]] = [
            ("arrived_without_upgrade", bool(lost)),
            ("arrived_elsewhere", bool(upgrades)),
            ("stream_error", promise.has_failed),
            ("call_ended", promise.call_ended_at is not None),
        ]
        because: list[Fact] = [
            *promise.url.facts(promise.webhook.hosts, routes),
            *(fact for fact, is_so in found if is_so),
        ]
        arrived = next((stray.path for stray in (*lost, *upgrades)), None)
        return Missing(promise, now - promise.at, because or ["unknown"], arrived)


def _is_late(promise: Promise, now: float) -> bool:
    return now - promise.at >= promise.after_s + ARRIVAL_S


def _is_repeated(due: Promise, promise: Promise) -> bool:
    """Whether a promise is made again: Twilio repeats a webhook whose answer it did not get."""
    ours, theirs = due.webhook, promise.webhook
    is_same_call = ours.call_sid is not None and ours.call_sid == theirs.call_sid
    return is_same_call and due.url == promise.url and ours.exchange != theirs.exchange


def _may_be_of(stray: Arrival, promise: Promise) -> bool:
    """Whether a request came after a promise and may come from whom it was given to."""
    is_alike = stray.is_signed or not promise.webhook.is_signed
    return stray.at >= promise.at and is_alike and promise.may_be_of_call(stray.call_sid)
