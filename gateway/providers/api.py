"""One provider's HTTP API: requests whose every failure is a ProviderError.

Bodies are given on as they arrive. A body that was cut short is told from one that ended by its
length or its last chunk (RFC 9112 section 8).

Redirects are not followed: they would take the key along to wherever they point. Exceptions of
aiohttp are never chained to ours: they carry the request with its headers.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any, TypeVar

import aiohttp
from pydantic import SecretStr

from gateway.providers.failures import WORDS_LIMIT, refusal, shown
from gateway.speech import ProviderError, Reason

BODY_LIMIT = 8 * 1024 * 1024
# A connection that was warmed when a call came in is still there for its first sentence.
KEEP_ALIVE_S = 60.0

Sign = Callable[[str], Mapping[str, str]]
_T = TypeVar("_T")


def bearer(key: str) -> Mapping[str, str]:
    """The header of OpenAI and its like; none for a server that wants no key."""
    return {"Authorization": f"Bearer {key}"} if key else {}


class Api:
    """`sign` makes the header that carries the key. Connections are opened by the first request."""

    def __init__(
        self,
        provider: str,
        base_url: str,
        api_key: str,
        sign: Sign = bearer,
        *,
        connect_s: float = 5.0,
        first_byte_s: float = 10.0,
        idle_s: float = 5.0,
    ) -> None:
        self.provider = provider
        self.base_url = base_url.rstrip("/")
        self.connect_s, self.first_byte_s, self.idle_s = connect_s, first_byte_s, idle_s
        self._key = SecretStr(api_key.strip())
        self._sign = sign
        self._session: aiohttp.ClientSession | None = None
        self._is_closed = False

    @property
    def secret(self) -> str:
        return self._key.get_secret_value()

    def url(self, path: str) -> str:
        """The address of a path. A /v1 that ends the base is not said twice."""
        if path.startswith("/v1/"):
            return self.base_url.removesuffix("/v1") + path
        return self.base_url + path

    def headers(self) -> dict[str, str]:
        return {"User-Agent": "hopscope", **self._sign(self.secret)}

    def error(self, reason: Reason, detail: str) -> ProviderError:
        return ProviderError(self.provider, reason, shown(detail, self.secret))

    async def warm(self, path: str) -> None:
        """Open a connection by a GET that costs nothing. Raises ProviderError if there is none.

        The answer is not judged: a key that may speak may be forbidden to list models.
        """
        response = await self._request("GET", path)
        try:
            await self._body(response)  # to its end, or the connection could not be kept
        finally:
            response.close()

    async def get_json(self, path: str) -> Any:
        """The JSON value at a path. Raises ProviderError."""
        response = await self._request("GET", path)
        try:
            if response.status != 200:
                raise await self._refusal(response)
            return await self.read_json(response)
        finally:
            response.close()  # nothing, once the body was read to its end

    async def read_json(self, response: aiohttp.ClientResponse) -> Any:
        """The body as a JSON value. Raises ProviderError."""
        body = await self._body(response)
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            raise self.error("bad_answer", f"no JSON: {body[:80]!r}") from None

    async def post(
        self, path: str, content: Mapping[str, Any], *, is_repeatable: bool = False
    ) -> aiohttp.ClientResponse:
        """The head of the answer to a JSON body; `stream` has the rest. Raises ProviderError.

        A repeatable request is sent again where the connection, kept from an earlier one, turns
        out to be closed (RFC 9110 section 9.2.2 leaves that to who knows what it asks for).
        """
        response = await self._request("POST", path, content, attempts=2 if is_repeatable else 1)
        if response.status != 200:
            try:
                raise await self._refusal(response)
            finally:
                response.close()
        return response

    async def stream(
        self, response: aiohttp.ClientResponse, *media: str
    ) -> AsyncGenerator[bytes, None]:
        """The body, piece by piece, if its media type begins with one of these.

        Closing the iterator closes the connection. Raises ProviderError, also for no body.
        """
        try:
            piece = await self._within(self.first_byte_s, response.content.readany())
            if not response.content_type.startswith(media):
                raise self.error("bad_answer", f"{response.content_type}: {piece[:80]!r}")
            if not piece:
                raise self.error("bad_answer", "an empty answer")
            while piece:
                yield piece
                piece = await self._within(self.idle_s, response.content.readany())
        finally:
            response.close()

    async def close(self) -> None:
        self._is_closed = True
        if self._session is not None:
            await self._session.close()

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        body = b""
        while piece := await self._within(self.idle_s, response.content.readany()):
            body += piece
            if len(body) > BODY_LIMIT:
                raise self.error("bad_answer", f"more than {BODY_LIMIT} bytes")
        return body

    async def _request(
        self,
        method: str,
        path: str,
        content: Mapping[str, Any] | None = None,
        *,
        attempts: int = 2,
    ) -> aiohttp.ClientResponse:
        wait_s = self.connect_s + self.first_byte_s
        for attempt in range(attempts):
            try:
                request = self._connections().request(
                    method,
                    self.url(path),
                    json=content,
                    headers=self.headers(),
                    allow_redirects=False,
                )
                return await self._within(wait_s, request)
            except _StaleError:
                if attempt + 1 == attempts:
                    raise
        raise AssertionError("no attempt")

    def _connections(self) -> aiohttp.ClientSession:
        if self._is_closed:
            raise self.error("closed", "the provider was closed")
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_S),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=self.connect_s),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session

    async def _refusal(self, response: aiohttp.ClientResponse) -> ProviderError:
        body = await self._within(self.idle_s, response.content.read(WORDS_LIMIT))
        return refusal(self.provider, response.status, body, secret=self.secret)

    async def _within(self, seconds: float, work: Awaitable[_T]) -> _T:
        try:
            async with asyncio.timeout(seconds):
                return await work
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise self.error("unreachable", str(error)) from None
        except TimeoutError:
            raise self.error("timeout", f"silent for {seconds:g} s") from None
        except aiohttp.ServerDisconnectedError:
            raise _StaleError(self.provider, "closed", "no answer before the end") from None
        except (aiohttp.ClientPayloadError, OSError) as error:
            raise self.error("closed", str(error)) from None
        except aiohttp.InvalidURL:
            raise self.error("refused", f"no address: {self.base_url}") from None
        except aiohttp.ClientError as error:
            raise self.error("bad_answer", f"{type(error).__name__}: {error}") from None


class _StaleError(ProviderError):
    """The connection ended before a head came."""
