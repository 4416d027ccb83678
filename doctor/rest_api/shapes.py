"""What Twilio's REST API says about a call: the Call resource, the callbacks' forms, errors.

Fields and formats are those of Twilio's OpenAPI documents (tests/openapi has the facts); the
callbacks' fields are those of captured requests, empty ones included: they are signed like others.
"""

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from hashlib import sha256
from typing import Any, Literal

from doctor.caller.forms import API_VERSION, Party, call_form

# The order in which an outbound call goes through them, up to the one that ends it.
CallStatus = Literal[
    "queued",
    "initiated",
    "ringing",
    "in-progress",
    "completed",
    "busy",
    "no-answer",
    "failed",
    "canceled",
]
ENDED: frozenset[CallStatus] = frozenset(("completed", "busy", "no-answer", "failed", "canceled"))
# What the network said last; Twilio passes it on with the event that ends a call.
_SIP_CODES: dict[CallStatus, int] = {
    "completed": 200,
    "busy": 486,
    "no-answer": 487,
    "failed": 404,
    "canceled": 487,
}
_SUBRESOURCES = (
    "notifications recordings payments events siprec streams transcriptions "
    "user_defined_message_subscriptions user_defined_messages"
).split()


class RestError(Exception):
    """What the API refuses. `code` is Twilio's, `status` is HTTP's."""

    def __init__(self, code: int, message: str, status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status

    def body(self) -> dict[str, Any]:
        return {
            "code": self.code,
            "message": self.message,
            "more_info": more_info(self.code),
            "status": self.status,
        }


def more_info(code: int) -> str:
    return f"https://www.twilio.com/docs/errors/{code}"


def rfc2822(at: float | None) -> str | None:
    """A time as the 2010 API writes it; `at` is seconds since 1970."""
    return None if at is None else format_datetime(datetime.fromtimestamp(int(at), UTC))


def iso8601(at: float) -> str:
    """A time as the newer APIs write it."""
    return datetime.fromtimestamp(int(at), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(slots=True)
class Call:
    """One outbound call. Times are seconds since 1970; `answered_at` None: nobody took it."""

    account_sid: str
    to: str
    from_: str
    sid: str
    created_at: float
    status: CallStatus = "queued"
    updated_at: float = 0.0
    dialed_at: float | None = None
    answered_at: float | None = None
    ended_at: float | None = None
    answered_by: str | None = None

    @property
    def has_ended(self) -> bool:
        return self.status in ENDED

    @property
    def duration_s(self) -> int:
        """Whole seconds from answer to end, begun ones included."""
        if self.answered_at is None or self.ended_at is None:
            return 0
        return math.ceil(self.ended_at - self.answered_at)

    def move(self, status: CallStatus, now: float) -> None:
        """Enter a status; the times of the call follow from it."""
        self.status = status
        self.updated_at = now
        if status == "initiated":
            self.dialed_at = now
        elif status == "in-progress":
            self.answered_at = now
        elif status in ENDED:
            self.ended_at = now

    def resource(self) -> dict[str, Any]:
        """The Call resource. Its enumeration of statuses has no `initiated`."""
        is_complete = self.status == "completed"
        uri = f"/{API_VERSION}/Accounts/{self.account_sid}/Calls/{self.sid}"
        return {
            "sid": self.sid,
            "date_created": rfc2822(self.created_at),
            "date_updated": rfc2822(self.updated_at or self.created_at),
            "parent_call_sid": None,
            "account_sid": self.account_sid,
            "to": self.to,
            "to_formatted": _formatted(self.to),
            "from": self.from_,
            "from_formatted": _formatted(self.from_),
            "phone_number_sid": "PN" + sha256(self.from_.encode()).hexdigest()[:32],
            "status": "queued" if self.status == "initiated" else self.status,
            "start_time": rfc2822(self.dialed_at),
            "end_time": rfc2822(self.ended_at) if is_complete else None,
            "duration": str(self.duration_s) if is_complete else None,
            "price": None,  # known minutes after the call, if at all
            "price_unit": "USD",
            "direction": "outbound-api",
            "answered_by": self.answered_by,
            "api_version": API_VERSION,
            "forwarded_from": None,
            "group_sid": None,
            "caller_name": None,
            "queue_time": "0",
            "trunk_sid": None,
            "uri": f"{uri}.json",
            "subresource_uris": {
                name: f"{uri}/{name.title().replace('_', '')}.json" for name in _SUBRESOURCES
            },
        }

    def about(self) -> dict[str, str]:
        """What every request of Twilio's about this call says."""
        party = Party(self.account_sid, self.sid, self.from_, self.to, "outbound-api")
        return call_form(party, self.status)

    def progress_form(self, sequence: int, now: float) -> dict[str, str]:
        """The status callback for the status that the call is in.

        `sequence` counts the callbacks sent for this call from 0.
        """
        form = self.about() | {
            "CallbackSource": "call-progress-events",
            "SequenceNumber": str(sequence),
            "Timestamp": str(rfc2822(now)),
        }
        if self.answered_by is not None:
            form["AnsweredBy"] = self.answered_by
        if self.has_ended:
            form["CallDuration"] = str(self.duration_s)
            form["Duration"] = str(math.ceil(self.duration_s / 60))  # minutes, as billed
            form["SipResponseCode"] = str(_SIP_CODES[self.status])
        return form

    def machine_form(self, answered_by: str, detection_ms: int) -> dict[str, str]:
        """The callback of asynchronous answering machine detection."""
        return {
            "AccountSid": self.account_sid,
            "AnsweredBy": answered_by,
            "CallSid": self.sid,
            "MachineDetectionDuration": str(detection_ms),
        }


def _formatted(number: str) -> str:
    """A number as people of its country write it: only North America has a form of its own."""
    found = re.fullmatch(r"\+1([0-9]{3})([0-9]{3})([0-9]{4})", number)
    return f"({found[1]}) {found[2]}-{found[3]}" if found else number
