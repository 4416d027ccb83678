"""The forms that Twilio posts about a call: to its webhook, and to a stream's statusCallback."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from doctor.meanings import meaning

Direction = Literal["inbound", "outbound-api"]
API_VERSION = "2010-04-01"
_PLACES = ("City", "Country", "State", "Zip")


@dataclass(frozen=True, slots=True)
class Party:
    """Who calls whom, and under which names."""

    account_sid: str
    call_sid: str
    from_number: str
    to_number: str
    direction: Direction


def call_form(party: Party, status: str) -> dict[str, str]:
    """What every request about a call carries.

    Places that Twilio does not know are sent empty. A gateway whose form parser drops empty fields
    computes another signature, so they belong to the picture.
    """
    form = {
        "AccountSid": party.account_sid,
        "ApiVersion": API_VERSION,
        "CallSid": party.call_sid,
        "CallStatus": status,
        "Direction": party.direction,
    }
    ends = ((("From", "Caller"), party.from_number), (("To", "Called"), party.to_number))
    for names, number in ends:
        for name in names:
            form[name] = number
            form |= {f"{name}{place}": "" for place in _PLACES}
            form[f"{name}Country"] = "US" if number.startswith("+1") else ""
    return dict(sorted(form.items()))


def stream_form(
    party: Party,
    stream_sid: str,
    stream_name: str | None,
    event: Literal["stream-started", "stream-stopped", "stream-error"],
    error_code: int | None = None,
) -> dict[str, str]:
    """One report of a stream's life. How StreamError is worded is not documented."""
    form = {
        "AccountSid": party.account_sid,
        "CallSid": party.call_sid,
        "StreamSid": stream_sid,
        "StreamName": stream_name or stream_sid,
        "StreamEvent": event,
        "Timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }
    if error_code is not None:
        form["StreamError"] = f"{error_code} {meaning(error_code).name}"
    return form
