"""Rows out of the events of the gateway, for a history: one a call, one an error of Twilio's."""

from collections.abc import Callable, Mapping
from typing import Any

# Calls under way whose turns are gathered; far more than lines can carry.
CALLS_LIMIT = 10_000

Keep = Callable[[dict[str, Any]], None]


class Journal:
    """A listener of Events.

    `keep` is given each call that ended, with its turns; `keep_error` what Twilio's debugger told,
    which it mostly does when the call is over.
    """

    def __init__(self, keep: Keep, keep_error: Keep = lambda _: None) -> None:
        self._keep, self._keep_error = keep, keep_error
        self._turns: dict[str, list[dict[str, Any]]] = {}

    def __call__(self, event: str, fields: Mapping[str, Any]) -> None:
        if event == "twilio_error":
            self._keep_error(dict(fields))
            return
        call_sid = fields.get("call_sid")
        if not isinstance(call_sid, str):
            return
        if event == "call_started" and len(self._turns) < CALLS_LIMIT:
            self._turns[call_sid] = []
        elif event == "turn" and call_sid in self._turns:
            turn = {name: value for name, value in fields.items() if name != "call_sid"}
            self._turns[call_sid].append(turn)
        elif event == "call_ended":
            self._keep(dict(fields) | {"turns": self._turns.pop(call_sid, [])})
