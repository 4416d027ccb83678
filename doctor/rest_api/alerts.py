"""An entry of Twilio's debugger, with the request and the answer behind it.

Twilio shows it in three forms: the Alert of its Monitor, the Notification of the call that it is
about, and the form that its debugger posts to a webhook.
"""

import json
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import parse_qsl, urlencode

from doctor.caller.forms import API_VERSION
from doctor.rest_api.shapes import iso8601, more_info, rfc2822


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
        return {
            "account_sid": self.account_sid,
            "alert_text": urlencode(self._text()),
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

    def notification_listed(self) -> dict[str, Any]:
        """The Notification of the call, as a list shows it. Its `log` is 0 for an error."""
        uri = f"/{API_VERSION}/Accounts/{self.account_sid}/Calls/{self.resource_sid}"
        return {
            "account_sid": self.account_sid,
            "api_version": API_VERSION,
            "call_sid": self.resource_sid,
            "date_created": rfc2822(self.at),
            "date_updated": rfc2822(self.at),
            "error_code": str(self.code),
            "log": "0" if self.level == "error" else "1",
            "message_date": rfc2822(self.at),
            "message_text": urlencode(self._text()),
            "more_info": more_info(self.code),
            "request_method": self.sent.method,
            "request_url": self.sent.url or None,
            "sid": self.sid,
            "uri": f"{uri}/Notifications/{self.sid}.json",
        }

    def notification(self) -> dict[str, Any]:
        return self.notification_listed() | {
            "request_variables": self.sent.variables,
            "response_headers": self.sent.response_headers,
            "response_body": self.sent.response_body,
        }

    def debugger_form(self) -> dict[str, str]:
        """What the debugger posts (docs/usage/troubleshooting/debugging-event-webhooks)."""
        sent = self.sent
        response = {
            "status_code": sent.response_status,
            "headers": dict(parse_qsl(sent.response_headers)),
            "body": sent.response_body,
        }
        payload = {
            "resource_sid": self.resource_sid,
            "service_sid": None,
            "error_code": str(self.code),
            "more_info": {name: str(value) for name, value in self._text().items()},
            "webhook": {
                "type": "application/json",
                "request": {
                    "url": sent.url,
                    "method": sent.method,
                    "headers": dict(parse_qsl(sent.headers)),
                    "parameters": dict(parse_qsl(sent.variables)),
                },
                "response": response,
            },
        }
        return {
            "AccountSid": self.account_sid,
            "Level": self.level.upper(),
            "Payload": json.dumps(payload),
            "PayloadType": "application/json",
            "Sid": self.sid,
            "Timestamp": iso8601(self.at),
        }

    def _text(self) -> dict[str, Any]:
        text = {"ErrorCode": self.code, "LogLevel": self.level.upper(), "Msg": self.text}
        if self.sent.response_status is not None:
            text["httpResponse"] = self.sent.response_status
        return text | {"url": self.sent.url}
