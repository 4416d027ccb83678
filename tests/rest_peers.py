"""The two ends of a call that Twilio's stand-in places: who gets its callbacks, who answers.

gateway, with the real twilio client  ->  TwilioApi  ->  Line (answers)
              CallbackBook  <- status callbacks -'
"""

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import aiohttp
from aiohttp import web
from twilio.request_validator import RequestValidator
from twilio.rest import Client

from doctor.rest_api.forms import Account, Instructions
from doctor.rest_api.placed_call import AnsweredCall, Failure
from doctor.rest_api.server import TwilioApi
from gateway.twilio_rest import RestHttp

T = TypeVar("T")
PATIENCE_S = 10.0
ACCOUNT = Account("AC" + "1" * 32, "0123456789abcdef0123456789abcdef")
TO, FROM = "+14155550100", "+15005550006"


def rest_client(api: TwilioApi, **changed: str) -> Any:
    """The real twilio client, sent to the stand-in."""
    credentials = {"username": ACCOUNT.sid, "password": ACCOUNT.token} | changed
    return Client(**credentials, http_client=RestHttp(PATIENCE_S, api.url))


@dataclass(frozen=True, slots=True)
class Posted:
    path: str  # with its query
    form: dict[str, str]
    has_valid_signature: bool


@dataclass(slots=True)
class CallbackBook:
    """Writes down every callback, with the verdict of the library's validator."""

    url: str = ""
    public_url: str = ""  # what is signed, where it is another than `url`
    posted: list[Posted] = field(default_factory=list)
    status: int = 204
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def receive(self, request: web.BaseRequest) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        url = (self.public_url or self.url) + request.path_qs
        signature = request.headers.get("X-Twilio-Signature", "")
        is_valid = RequestValidator(ACCOUNT.token).validate(url, form, signature)
        async with self.changed:
            self.posted.append(Posted(request.path_qs, form, bool(is_valid)))
            self.changed.notify_all()
        return web.Response(status=self.status)

    async def until(self, call_status: str) -> None:
        """Wait for the callback that says so."""
        async with asyncio.timeout(PATIENCE_S), self.changed:
            await self.changed.wait_for(lambda: call_status in self.statuses())

    def statuses(self) -> list[str]:
        return [posted.form["CallStatus"] for posted in self.posted if "CallStatus" in posted.form]


@asynccontextmanager
async def callback_book() -> AsyncIterator[CallbackBook]:
    book = CallbackBook()
    runner = web.ServerRunner(web.Server(book.receive, access_log=None))
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        book.url = "http://{}:{}".format(*runner.addresses[0][:2])
        yield book
    finally:
        await runner.cleanup()


class Line:
    """Answers calls: each stays up until it is hung up, by REST or by `hang_up_now`."""

    def __init__(self, *failures: Failure, hang_up_now: bool = True) -> None:
        self.answered: list[AnsweredCall] = []
        self.redirected: list[Instructions] = []
        self._failures = failures
        self._hangs_up = hang_up_now
        self._hung_up = asyncio.Event()

    def __call__(self, call: AnsweredCall) -> "Line":
        self.answered.append(call)
        self._hung_up = asyncio.Event()
        if self._hangs_up:
            self._hung_up.set()
        return self

    async def run(self) -> Sequence[Failure]:
        await self._hung_up.wait()
        return self._failures

    def hang_up(self) -> None:
        self._hung_up.set()

    def redirect(self, instructions: Instructions) -> None:
        self.redirected.append(instructions)


def run(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    async def bounded() -> T:
        async with asyncio.timeout(2 * PATIENCE_S):
            return await work()

    return asyncio.run(bounded())


async def ask(
    api: TwilioApi, method: str, path: str, form: list[tuple[str, str]] | None = None, **more: Any
) -> tuple[int, Any]:
    """One request by hand; `path` is behind the account's where it starts with Calls."""
    if path.startswith("Calls"):
        path = f"/2010-04-01/Accounts/{ACCOUNT.sid}/{path}"
    token = b64encode(f"{ACCOUNT.sid}:{ACCOUNT.token}".encode()).decode()
    more.setdefault("headers", {"Authorization": f"Basic {token}"})
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, api.url + path, data=form, **more) as response,
    ):
        return response.status, await response.json()


def form(**changed: str) -> list[tuple[str, str]]:
    fields = {"To": TO, "From": FROM, "Twiml": "<Response/>"} | changed
    return [(name, value) for name, value in fields.items() if value]
