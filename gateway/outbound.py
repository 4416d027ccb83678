"""Twilio's REST: place a call, ask how it is doing, hang it up.

A create is never sent twice where the first may have arrived: somebody's telephone would ring
twice. It is looked for instead, and where that tells nothing the error says so.
"""

import asyncio
import re
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from twilio.http.http_client import TwilioHttpClient

from gateway.dial_errors import ENDED_CODES, TwilioError, may_ring, too_many, uncertain
from gateway.pace import Pace
from gateway.twilio_rest import ANSWER_S, Rest, RestHttp

STATUS_EVENTS = ["initiated", "ringing", "answered", "completed"]
CALLS_PER_S = 1.0  # what an account may place unless it was raised
WAIT_LIMIT_S = 30.0  # for a turn to place a call
BACK_OFF_S = (1.0, 2.0, 4.0)  # after 429, which Twilio documents as not carried out
# When to look for a call whose create was not answered: it may still be in the making.
LOOK_UP_AFTER_S = (1.0, 3.0)
LOOK_UP_CALLS = 20
CLOCK_SKEW_S = 5.0  # between Twilio's clock and ours
REMEMBERED_CALLS = 1000

Detection = Literal["Enable", "DetectMessageEnd"]


@dataclass(frozen=True, slots=True)
class CallState:
    """What Twilio says of a call. `status` is its word; `duration_s` is None until it ended."""

    call_sid: str
    status: str
    answered_by: str | None
    duration_s: int | None


@dataclass(slots=True, eq=False)
class _Attempt:
    """A create under way. `is_alone`: any new call between its two numbers can only be its own."""

    pair: tuple[str, str]
    started_at: float
    is_alone: bool = True


class Outbound:
    """Calls of one account, in one region. `sleep`, `clock` (steady) and `now` can be a test's."""

    def __init__(
        self,
        account_sid: str,
        auth_token: str,
        *,
        region: str | None = None,
        edge: str | None = None,
        api_url: str | None = None,
        timeout_s: float = ANSWER_S,
        calls_per_s: float = CALLS_PER_S,
        wait_limit_s: float = WAIT_LIMIT_S,
        http_client: TwilioHttpClient | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        http_client = http_client or RestHttp(timeout_s, api_url)
        self._rest = Rest(account_sid, auth_token, region, edge, http_client)
        self._pace = Pace(1 / calls_per_s, wait_limit_s)
        self._wait_limit_s = wait_limit_s
        self._sleep = sleep
        self._clock = clock
        self._now = now
        self._under_way: list[_Attempt] = []
        self._created: deque[str] = deque(maxlen=REMEMBERED_CALLS)
        # Between which numbers a call may ring that was never found.
        self._lost: deque[tuple[str, str]] = deque(maxlen=REMEMBERED_CALLS)

    async def create(
        self,
        to: str,
        url: str,
        status_callback: str,
        *,
        from_: str,
        machine_detection: Detection | None = None,
        async_amd_callback: str | None = None,
        timeout_s: int = 30,
        time_limit_s: int = 3600,
    ) -> str:
        """Place a call and return its CallSid; it may wait for its turn first.

        `timeout_s` is how long it rings, `time_limit_s` how long it may last. Without
        `async_amd_callback`, detection comes before the webhook, which is told its result.
        Raises TwilioError; one that `may_have_happened` says that the call may ring all the same.
        """
        fields: dict[str, Any] = {
            "to": to,
            "from_": from_,
            "url": url,
            "method": "POST",
            "status_callback": status_callback,
            "status_callback_method": "POST",
            # A list: one string with blanks in it is taken, and silences every callback (21626).
            "status_callback_event": STATUS_EVENTS,
            "timeout": timeout_s,
            "time_limit": time_limit_s,
        }
        if machine_detection is not None:
            fields["machine_detection"] = machine_detection
            if async_amd_callback is not None:
                fields["async_amd"] = "true"
                fields["async_amd_status_callback"] = async_amd_callback
        await self._take_turn()
        attempt = _Attempt((to, from_), self._now())
        for other in self._under_way:
            if other.pair == attempt.pair:
                other.is_alone = attempt.is_alone = False
        attempt.is_alone = attempt.is_alone and attempt.pair not in self._lost
        self._under_way.append(attempt)
        try:
            call_sid = await self._create(attempt, fields)
        finally:
            self._under_way.remove(attempt)
        self._created.append(call_sid)
        return call_sid

    async def hang_up(self, call_sid: str) -> bool:
        """End a call. False: Twilio says that there is none any more. Raises TwilioError."""
        is_last = False
        while True:
            try:
                await self._rest.ask(lambda rest: rest.calls(call_sid).update(status="completed"))
            except TwilioError as error:
                if error.code in ENDED_CODES:
                    return False
                # To hang up twice does no harm; not to hang up costs money.
                if is_last or not error.may_have_happened:
                    raise
                is_last = True
            else:
                return True

    async def fetch(self, call_sid: str) -> CallState:
        """What Twilio says of a call now. Raises TwilioError."""
        call = await self._rest.ask(lambda rest: rest.calls(call_sid).fetch())
        duration = str(call.duration or "")
        return CallState(
            call_sid,
            str(call.status),
            str(call.answered_by) if call.answered_by else None,
            int(duration) if duration.isdecimal() else None,
        )

    async def _take_turn(self) -> None:
        wait_s = self._pace.reserve(self._clock())
        if wait_s is None:
            raise too_many(self._wait_limit_s)
        if wait_s:
            await self._sleep(wait_s)

    async def _create(self, attempt: _Attempt, fields: dict[str, Any]) -> str:
        back_off = list(BACK_OFF_S)
        while True:
            try:
                call = await self._rest.ask(lambda rest: rest.calls.create(**fields))
                if re.fullmatch("CA[0-9a-fA-F]{32}", str(call.sid)) is None:
                    raise uncertain("something that is not Twilio's API took the request")
            except TwilioError as error:
                if error.code == 20429 and back_off:
                    await self._sleep(back_off.pop(0))
                    continue
                if not error.may_have_happened:
                    raise
                found = await self._look_up(attempt)
                if found is None:
                    self._lost.append(attempt.pair)
                    raise may_ring(error) from None
                return found
            return str(call.sid)

    async def _look_up(self, attempt: _Attempt) -> str | None:
        """The call that an unanswered create made, where it is beyond doubt which one it is."""
        to, from_ = attempt.pair
        since = datetime.fromtimestamp(attempt.started_at - CLOCK_SKEW_S, UTC)
        for wait_s in LOOK_UP_AFTER_S:
            await self._sleep(wait_s)
            try:
                listed = await self._rest.ask(
                    lambda rest: rest.calls.list(to=to, from_=from_, limit=LOOK_UP_CALLS)
                )
            except TwilioError:
                continue
            new = [
                str(call.sid)
                for call in listed
                if str(call.sid) not in self._created
                and call.date_created is not None
                and call.date_created >= since
            ]
            if new:
                return new[0] if len(new) == 1 and attempt.is_alone else None
        return None
