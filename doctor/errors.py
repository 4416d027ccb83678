"""Which of Twilio's error codes a failure raises.

Where two codes fit one cause, or Twilio does not document its choice, a comment says what ours is
inferred from. doctor/meanings.py tells what the codes mean.
"""

from dataclasses import dataclass
from typing import Literal

# What went wrong on the way to an answer, told by the phase that failed.
Fault = Literal[
    "unresolved",  # the name has no address
    "unreachable",  # no route to the address
    "refused",  # TCP RST instead of a connection
    "connect_timeout",  # nobody answered the SYN
    "certificate_name",
    "certificate_expired",
    "certificate_untrusted",
    "tls",  # any other end of the TLS handshake
    "reset",  # connected, then RST before the answer
    "closed",  # connected, then EOF before the answer was whole
    "silent",  # connected, and no whole answer in time
    "not_http",  # something answered that is no HTTP/1.x
]


@dataclass(frozen=True, slots=True)
class Objection:
    """What Twilio would write into its debugger; `code` is None for a remark of ours."""

    code: int | None
    saw: str


# "reset" and "closed" are inferred: no document tells them apart from other broken connections.
_WEBHOOK_CODES: dict[Fault, int] = {
    "unresolved": 11210,
    "unreachable": 11205,
    "refused": 11202,
    "connect_timeout": 11201,
    "certificate_name": 11235,
    "certificate_expired": 11236,
    "certificate_untrusted": 11237,
    "tls": 11220,
    "reset": 11205,
    "closed": 11205,
    "silent": 11203,
    "not_http": 11206,
}
# 31901 is documented as a request that receives no response, which an early EOF is, too.
_STREAM_CODES: dict[Fault, int] = {
    "unresolved": 31904,
    "unreachable": 31904,
    "refused": 31902,
    "connect_timeout": 31901,
    "certificate_name": 31910,
    "certificate_expired": 31910,
    "certificate_untrusted": 31910,
    "tls": 31910,
    "reset": 31903,
    "closed": 31901,
    "silent": 31901,
    "not_http": 31920,
}
# RFC 6455 section 7.4.1: 1000 is a normal closure, 1005 stands for a Close without a code.
_NORMAL_CLOSES = (1000, 1005)


def webhook_code(fault: Fault) -> int:
    """The code for a webhook that was not answered."""
    return _WEBHOOK_CODES[fault]


def status_code(status: int) -> int | None:
    """The code for a webhook's HTTP status; None for 2xx. Redirects are not judged here."""
    return None if 200 <= status < 300 else 11200


def stream_code(fault: Fault) -> int:
    """The code for a stream that no HTTP response was received for."""
    return _STREAM_CODES[fault]


def ending_code(close_code: int | None, *, has_spoken: bool) -> int | None:
    """The code for an open stream that the server ended; None where that was no error.

    `close_code` is that of its Close, None where the connection just ended: 31903 is documented as
    an abrupt close by the server, 31921 as one with a close event. What is documented of 31921
    covers the normal end of a conversation, too; it is left out where the agent has said something
    before it closed normally.
    """
    if close_code is None:
        return 31903
    return None if close_code in _NORMAL_CLOSES and has_spoken else 31921
