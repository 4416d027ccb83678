"""Outbound calls from their plan to Twilio's word that they ring, and hanging up."""

import time
from typing import Protocol

from gateway.calls import Call, CallRefusal, Calls, DialError, Plan
from gateway.calls_api import Detection
from gateway.outbound import Detection as TwiliosDetection
from gateway.settings import GatewaySettings

_DETECTIONS: dict[Detection, TwiliosDetection] = {
    "enable": "Enable",
    "detect_message_end": "DetectMessageEnd",
}


class Rest(Protocol):
    """gateway/outbound.py, or what stands for it in a test."""

    async def create(
        self,
        to: str,
        url: str,
        status_callback: str,
        *,
        from_: str,
        machine_detection: TwiliosDetection | None = None,
        async_amd_callback: str | None = None,
        timeout_s: int = 30,
        time_limit_s: int = 3600,
    ) -> str: ...
    async def hang_up(self, call_sid: str) -> bool: ...


class Dialling:
    """Places calls for their plans. The id of a plan is in the URLs that Twilio is given."""

    def __init__(self, settings: GatewaySettings, calls: Calls, rest: Rest) -> None:
        self._settings, self._calls, self._rest = settings, calls, rest

    async def dial(self, to: str, plan: Plan, machine_detection: Detection) -> Call:
        """The call, once Twilio has named it. Raises DialError."""
        settings = self._settings
        plan_id = self._calls.plan(plan, to, time.monotonic())
        if isinstance(plan_id, CallRefusal):
            hint = "wait until a call has ended, or raise gateway.limits.calls"
            raise DialError("all lines are busy", hint, status=503)
        public, paths, twilio = settings.public, settings.paths, settings.twilio
        detection = _DETECTIONS.get(machine_detection)
        # A message is left behind the beep: Twilio asks what to say only then. A person who
        # answers must not wait for that, so elsewhere the result follows by itself.
        is_async = detection is not None and twilio.on_machine != "leave_message"
        try:
            call_sid = await self._rest.create(
                to,
                public.url(f"{paths.webhook}?plan={plan_id}"),
                public.url(f"{paths.status}?plan={plan_id}"),
                from_=twilio.from_number or "",
                machine_detection=detection,
                async_amd_callback=public.url(paths.amd) if is_async else None,
                timeout_s=twilio.ring_seconds,
                time_limit_s=int(settings.limits.call_seconds),
            )
        except DialError as error:
            if not getattr(error, "may_have_happened", False):
                self._calls.forget_plan(plan_id)
            raise
        call = self._calls.dialled(plan_id, call_sid, time.monotonic())
        if call is None:
            raise DialError("Twilio gave the call of another plan")
        return call

    async def hang_up(self, call: Call) -> bool:
        """False: it had ended already. Raises DialError."""
        return await self._rest.hang_up(call.call_sid)
