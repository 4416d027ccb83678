"""Who answers the calls that Twilio's stand-in places: the simulated caller, a new one a call."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal
from urllib.parse import urlencode

from doctor.caller.call import CallOptions, SimulatedCall
from doctor.caller.outcome import CallReport
from doctor.rest_api.alerts import Sent
from doctor.rest_api.forms import Account, Instructions
from doctor.rest_api.placed_call import Answer, AnsweredCall, Failure


def simulated_callers(account: Account, options: CallOptions | None = None) -> Answer:
    """Callers that say what `options` say; whom they are and what they fetch comes with a call."""
    chosen = options or CallOptions()

    def answer(call: AnsweredCall) -> SimulatedAnswer:
        return SimulatedAnswer(account, chosen, call)

    return answer


class SimulatedAnswer:
    """One answered call. `report` is there once `run` has ended."""

    def __init__(self, account: Account, options: CallOptions, answered: AnsweredCall) -> None:
        fetched, call = answered.instructions.fetched, answered.call
        self._note = answered.note
        known = {} if answered.answered_by is None else {"AnsweredBy": answered.answered_by}
        self._method: Literal["GET", "POST"] = "POST" if fetched is None else fetched.method
        self._call = SimulatedCall(
            replace(
                options,
                webhook_url=None if fetched is None else fetched.url,
                twiml=answered.instructions.twiml,
                method=self._method,
                auth_token=account.token,
                account_sid=account.sid,
                call_sid=call.sid,
                from_number=call.from_,
                to_number=call.to,
                direction="outbound-api",
                parameters={**options.parameters, **known},
            )
        )
        self.report: CallReport | None = None

    async def run(self) -> Sequence[Failure]:
        self.report = await self._call.run()
        for requested in self.report.requests:
            self._note(requested)
        return failures(self.report, self._method)

    def hang_up(self) -> None:
        self._call.hang_up()

    def redirect(self, instructions: Instructions) -> None:
        if instructions.fetched is not None:
            self._call.redirect(url=instructions.fetched.url, method=instructions.fetched.method)
        else:
            self._call.redirect(twiml=instructions.twiml)


def failures(report: CallReport, method: Literal["GET", "POST"] = "POST") -> list[Failure]:
    """What Twilio's debugger would have shown of a call: its error, and its warnings."""
    found = [
        Failure(objection.code, objection.saw, "warning")
        for objection in report.warnings
        if objection.code is not None
    ]
    if report.twilio_error is not None:
        found.append(
            Failure(report.twilio_error, report.error_saw, "error", _behind(report, method))
        )
    return found


def _behind(report: CallReport, method: Literal["GET", "POST"]) -> Sent:
    """The request that the error is about: the stream that has it, else the webhook."""
    for stream in report.streams:
        if stream.error_code == report.twilio_error:
            return Sent(
                method="GET",
                url=stream.url,
                response_status=stream.status,
                response_headers=urlencode(stream.answer_fields),
                response_body=stream.saw,
            )
    if report.webhook is None:
        return Sent()
    return Sent(
        method=method,
        url=report.webhook.url,
        response_status=report.webhook.status,
        response_headers=urlencode(report.webhook.answer_fields),
        response_body=report.error_saw,
    )
