"""The Alert resource: an entry of Twilio's debugger, with the request and the answer behind it."""

from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlencode

from doctor.forms import API_VERSION
from doctor.rest_shapes import iso8601, more_info


@dataclass(frozen=True, slots=True)
class Sent:
    """A request of Twilio's (or to it) and its answer, as an Alert keeps them."""

    method: Literal["GET", "POST"] = "POST"
    url: str = ""
    variables: str = ""
    headers: str = ""
    response_status: int | None = None
    response_headers: str = ""
    response_body: str = ""


NOT_SENT = Sent()


@dataclass(frozen=True, slots=True)
class Alert:
    """One entry of Twilio's debugger."""

    account_sid: str
    code: int
    level: Literal["error", "warning"]
    text: str
    resource_sid: str
    at: float
    sid: str
    sent: Sent = NOT_SENT

    def listed(self) -> dict[str, Any]:
        """The Alert as a list shows it: without the request's and response's contents."""
        text = {"ErrorCode": self.code, "LogLevel": self.level.upper(), "Msg": self.text}
        if self.sent.response_status is not None:
            text["httpResponse"] = self.sent.response_status
        return {
            "account_sid": self.account_sid,
            "alert_text": urlencode(text | {"url": self.sent.url}),
            "api_version": API_VERSION,
            "date_created": iso8601(self.at),
            "date_generated": iso8601(self.at),
            "date_updated": iso8601(self.at),
            "error_code": str(self.code),
            "log_level": self.level,
            "more_info": more_info(self.code),
            "request_method": self.sent.method,
            "request_url": self.sent.url,
            "resource_sid": self.resource_sid,
            "sid": self.sid,
            "url": f"https://monitor.twilio.com/v1/Alerts/{self.sid}",
            "service_sid": None,
        }

    def resource(self) -> dict[str, Any]:
        return self.listed() | {
            "request_variables": self.sent.variables,
            "request_headers": self.sent.headers,
            "response_headers": self.sent.response_headers,
            "response_body": self.sent.response_body,
        }
