"""A WebSocket to a provider, on which every failure is a ProviderError.

The `websockets` library does the protocol. No compression (audio does not shrink), no proxy taken
from the environment, no redirect followed: a redirect would take the key along.
"""

import json
import logging
import ssl
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidMessage,
    InvalidStatus,
    InvalidURI,
)
from websockets.protocol import State

from gateway.providers.api import Api
from gateway.providers.failures import closure, refusal
from gateway.speech import ProviderError

MESSAGE_LIMIT = 4 * 1024 * 1024
CLOSE_S = 2.0
# Above DEBUG, whatever the program's own level: the library writes down the key with the headers.
_log = logging.getLogger("gateway.providers.channel")
_log.setLevel(logging.INFO)


class Channel:
    """Text messages that are JSON objects come in; texts and bytes go out."""

    def __init__(self, api: Api, websocket: ClientConnection) -> None:
        self._api, self._websocket = api, websocket

    @classmethod
    async def open(cls, api: Api, path: str) -> "Channel":
        """Raises ProviderError."""
        url = "ws" + api.url(path).removeprefix("http")
        try:
            websocket = await _Direct(
                url,
                user_agent_header=None,
                additional_headers=api.headers(),  # in no variable: tracebacks may show those
                compression=None,
                open_timeout=api.connect_s,
                close_timeout=CLOSE_S,
                max_size=MESSAGE_LIMIT,
                proxy=None,
                logger=_log,
            )
        except InvalidStatus as error:
            answer = error.response
            raise refusal(
                api.provider, answer.status_code, bytes(answer.body or b""), secret=api.secret
            ) from None
        except InvalidMessage:  # the end of the stream instead of a head, or not HTTP
            raise api.error("closed", "no answer to the upgrade") from None
        except TimeoutError:
            raise api.error("timeout", f"no WebSocket within {api.connect_s:g} s") from None
        except ssl.SSLError as error:
            raise api.error("unreachable", str(error)) from None
        except InvalidURI:
            raise api.error("refused", f"no address: {api.base_url}") from None
        except InvalidHandshake as error:
            raise api.error("bad_answer", str(error)) from None
        except OSError as error:
            raise api.error("unreachable", str(error)) from None
        return cls(api, websocket)

    async def send(self, message: str | bytes) -> None:
        """Raises ProviderError, once it has ended. Waits while the provider reads nothing."""
        try:
            await self._websocket.send(message)
        except ConnectionClosed:
            raise self._ending() from None

    async def receive(self) -> dict[str, Any]:
        """The next message. Raises ProviderError, at the end and for what is no JSON object."""
        try:
            message = await self._websocket.recv()
        except ConnectionClosed:
            raise self._ending() from None
        try:
            value = json.loads(message)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise self._api.error("bad_answer", f"no JSON object: {message[:80]!r}")
        return value

    @property
    def is_open(self) -> bool:
        return self._websocket.state is State.OPEN

    async def close(self) -> None:
        await self._websocket.close()

    def abort(self) -> None:
        """End it without a word, for a provider that does not answer."""
        self._websocket.transport.abort()

    def _ending(self) -> ProviderError:
        code, text = self._websocket.close_code, self._websocket.close_reason
        return closure(self._api.provider, code or 1006, text or "", secret=self._api.secret)


class _Direct(connect):
    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc
