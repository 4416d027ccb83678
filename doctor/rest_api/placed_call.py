"""The life of one call that the REST API placed: dialled, rung, answered or not, ended.

    queued -> initiated -> ringing -> in-progress -> completed
                                   -> busy, no-answer, failed, canceled

Each step is told to the status callback, in order and without holding up the call. What is said
on an answered call is not decided here: an Answer makes the caller that obeys the TwiML.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol
from urllib.parse import urlencode

from doctor.caller.requested import Requested
from doctor.caller.webhooks import FetchFailed, Webhooks
from doctor.rest_api.alerts import NOT_SENT, Sent
from doctor.rest_api.forms import Callback, CreateCall, Event, Instructions, UpdateCall
from doctor.rest_api.shapes import Call, CallStatus, RestError

# Call Progress: Warning Response to Callback URL.
REFUSED_CALLBACK = 15003
_EVENTS: dict[CallStatus, Event] = {
    "initiated": "initiated",
    "ringing": "ringing",
    "in-progress": "answered",
}


@dataclass(frozen=True, slots=True)
class Scenario:
    """What happens to a call to one number. Times are seconds."""

    outcome: Literal["answered", "busy", "no-answer", "failed"] = "answered"
    answered_by: Literal["human", "machine", "fax", "unknown"] = "human"
    dial_s: float = 0.0  # from the request until it rings
    ring_s: float = 0.0
    detect_s: float = 0.0  # what answering machine detection takes


@dataclass(frozen=True, slots=True)
class AnsweredCall:
    """What the caller of an answered call needs to know; `answered_by` where it is known yet.

    `note` takes each request that the caller has made.
    """

    call: Call
    instructions: Instructions
    answered_by: str | None
    note: Callable[[Requested], None] = field(default=lambda _: None, compare=False)


@dataclass(frozen=True, slots=True)
class Failure:
    """Something that Twilio's debugger would have shown. `code` is Twilio's."""

    code: int
    text: str = ""
    level: Literal["error", "warning"] = "error"
    sent: Sent = NOT_SENT


class Caller(Protocol):
    """Twilio's side of one answered call."""

    async def run(self) -> Sequence[Failure]:
        """Obey the TwiML until one side hangs up; what went wrong meanwhile."""

    def hang_up(self) -> None: ...

    def redirect(self, instructions: Instructions) -> None: ...


Answer = Callable[[AnsweredCall], Caller]
RaiseAlert = Callable[[Failure, str], None]


class PlacedCall:
    """One call. `now` gives seconds since 1970; `raise_alert` takes a failure and a SID."""

    def __init__(
        self,
        call: Call,
        request: CreateCall,
        scenario: Scenario,
        answer: Answer,
        webhooks: Webhooks,
        raise_alert: RaiseAlert,
        now: Callable[[], float],
    ) -> None:
        self.call = call
        self.requests: list[Requested] = []
        self._request = request
        self._scenario = scenario
        self._answer = answer
        self._webhooks = webhooks
        self._raise_alert = raise_alert
        self._now = now
        self._caller: Caller | None = None
        self._is_canceled = asyncio.Event()
        self._callbacks_sent = 0
        # None ends it; a callback that is slow holds up the ones behind it and nothing else.
        self._outbox: asyncio.Queue[tuple[Callback, dict[str, str]] | None] = asyncio.Queue()

    async def run(self) -> None:
        """Go through the call, to its end and to the answer of its last callback."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._send_callbacks())
            self._move(await self._ring())
            if self.call.status == "in-progress":
                await self._talk(group)
                self._move("completed")
            self._outbox.put_nowait(None)

    def update(self, request: UpdateCall) -> None:
        """Change the call as POST Calls/{Sid}.json does. Raises RestError."""
        is_talking = self.call.status == "in-progress"
        if request.status == "completed" or (request.status == "canceled" and not is_talking):
            if self._caller is not None:
                self._caller.hang_up()
            self._is_canceled.set()
        elif request.instructions is not None:
            if self._caller is None:
                raise RestError(21220, "the call is not in progress; only such can be redirected")
            self._caller.redirect(request.instructions)

    async def _ring(self) -> CallStatus:
        """Dial and ring; the status that this leads to."""
        scenario = self._scenario
        self._move("initiated")
        if await self._is_canceled_within(scenario.dial_s):
            return "canceled"
        if scenario.outcome == "failed":
            return "failed"
        self._move("ringing")
        if await self._is_canceled_within(min(scenario.ring_s, self._request.ring_limit_s)):
            return "canceled"
        if scenario.ring_s > self._request.ring_limit_s:
            return "no-answer"
        return "in-progress" if scenario.outcome == "answered" else scenario.outcome

    async def _talk(self, group: asyncio.TaskGroup) -> None:
        request = self._request
        detection = None
        if request.machine_detection is not None:
            if request.machine_callback is None:
                if await self._is_canceled_within(self._scenario.detect_s):
                    return
                self.call.answered_by = self._detected()
            else:
                detection = group.create_task(self._detect(request.machine_callback, group))
        caller = self._answer(
            AnsweredCall(
                self.call, request.instructions, self.call.answered_by, self.requests.append
            )
        )
        self._caller = caller
        limit = asyncio.get_running_loop().call_later(request.call_limit_s, caller.hang_up)
        try:
            for failure in await caller.run():
                self._raise_alert(failure, self.call.sid)
        finally:
            self._caller = None
            limit.cancel()
            if detection is not None:
                detection.cancel()

    async def _detect(self, callback: Callback, group: asyncio.TaskGroup) -> None:
        await asyncio.sleep(self._scenario.detect_s)
        self.call.answered_by = self._detected()
        milliseconds = round(self._scenario.detect_s * 1000)
        form = self.call.machine_form(self.call.answered_by, milliseconds)
        # A task of its own: what was detected is told although the call ends meanwhile.
        group.create_task(self._deliver(callback, form))

    def _detected(self) -> str:
        """AnsweredBy in Twilio's words: which machine depends on how long was listened to."""
        if self._scenario.answered_by != "machine":
            return self._scenario.answered_by
        wants_end = self._request.machine_detection == "DetectMessageEnd"
        return "machine_end_beep" if wants_end else "machine_start"

    async def _is_canceled_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._is_canceled.wait()
        except TimeoutError:
            return self._is_canceled.is_set()
        return True

    def _move(self, status: CallStatus) -> None:
        if status != self.call.status:
            self.call.move(status, self._now())
        callback = self._request.status_callback
        if callback is not None and _EVENTS.get(status, "completed") in self._request.events:
            form = self.call.progress_form(self._callbacks_sent, self._now())
            self._callbacks_sent += 1
            self._outbox.put_nowait((callback, form))

    async def _send_callbacks(self) -> None:
        while (item := await self._outbox.get()) is not None:
            await self._deliver(*item)

    async def _deliver(self, callback: Callback, form: dict[str, str]) -> None:
        asked = (self._now(), callback.method, callback.url, form)
        try:
            fetched = await self._webhooks.fetch(callback.url, callback.method, form)
            told = (fetched.status, fetched.content_type, "", fetched.ms)
            self.requests.append(Requested(*asked, *told))
        except FetchFailed as failed:
            self.requests.append(Requested(*asked, failed.status, None, failed.saw, failed.ms))
            self._raise_alert(_failure(callback, form, failed), self.call.sid)


def _failure(callback: Callback, form: Mapping[str, str], failed: FetchFailed) -> Failure:
    """A status callback that failed. An answer of the wrong kind is a warning, none an error."""
    sent = Sent(
        method=callback.method,
        url=callback.url,
        variables=urlencode(form),
        response_status=failed.status,
        response_headers="" if failed.head is None else urlencode(failed.head.fields),
        response_body=failed.saw,
    )
    if failed.status is None:
        return Failure(failed.code, failed.saw, "error", sent)
    return Failure(REFUSED_CALLBACK, f"HTTP {failed.status}", "warning", sent)
