"""The control side of a gateway on a real port, asked as Twilio asks: signed by its own library."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import urlencode
from xml.etree import ElementTree

from aiohttp import web
from structlog.testing import capture_logs
from twilio.request_validator import RequestValidator

from gateway.addresses import parse_public_url
from gateway.calls import Call, Calls, Plan
from gateway.credentials import Credentials
from gateway.events import Events
from gateway.settings import GatewaySettings
from gateway.signatures import SignatureChecker
from gateway.webhooks import Webhooks

TOKEN = "made-up-auth-token"
PUBLIC = "https://voice.example.com"
WEBHOOK, STATUS = "/voice/webhook", "/voice/status"
STREAM_STATUS, AMD = "/voice/stream-status", "/voice/amd"
SID, OTHER_SID = "CA" + "1" * 32, "CA" + "2" * 32
ALICE, OURS = "+15550100001", "+15550100099"
FORM_TYPE = "application/x-www-form-urlencoded"
INBOUND = {"From": ALICE, "To": OURS, "Direction": "inbound", "CallStatus": "ringing"}
PATIENCE_S = 10.0


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    text: str

    @property
    def verbs(self) -> list[str]:
        assert self.status == 200
        assert self.headers["content-type"] == "text/xml; charset=utf-8"
        return [element.tag for element in ElementTree.fromstring(self.text)]  # noqa: S314

    @property
    def says(self) -> str:
        """What Twilio is to say before it hangs up."""
        assert self.verbs == ["Say", "Hangup"]
        return ElementTree.fromstring(self.text).findtext("Say") or ""  # noqa: S314

    @property
    def stream(self) -> tuple[str, str]:
        """URL and token of the promised stream."""
        stream = ElementTree.fromstring(self.text).find("Connect/Stream")  # noqa: S314
        assert stream is not None
        parameter = stream.find("Parameter")
        assert parameter is not None
        assert parameter.get("name") == "token"
        return stream.get("url", ""), parameter.get("value", "")


class Gateway:
    """The control side of a gateway whose streams the test plays."""

    def __init__(
        self,
        runner: asyncio.Runner,
        public_url: str,
        credentials: Credentials | None = None,
        **settings: Any,
    ) -> None:
        self._runner = runner
        given = {"public_url": parse_public_url(public_url), **settings}
        self.settings = GatewaySettings(**given)
        self.settings._credentials = credentials or Credentials(auth_token=TOKEN)
        self.public = public_url
        self.events = Events()
        limits = self.settings.limits.call_limits()
        inbound = self.settings.inbound
        self.calls = Calls(limits, inbound.policy, inbound.allow)
        self.because: str | None = None
        self.warmed = 0
        self.warm_fails = False
        self.machines: list[str] = []
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.events.listen(lambda event, fields: self.told.append((event, {**fields})))
        checker = SignatureChecker(
            self.settings.public, {"primary": TOKEN, "ie1": "made-up-of-ireland"}
        )
        self.webhooks = Webhooks(
            self.settings,
            self.calls,
            checker,
            self.events,
            unservable=lambda: self.because,
            warm=self._warm,
            on_machine=lambda call: self.machines.append(call.call_sid),
        )

    async def start(self) -> web.ServerRunner:
        server = web.ServerRunner(self.webhooks.server())
        await server.setup()
        await web.TCPSite(server, "127.0.0.1", 0).start()
        self.port = int(server.addresses[0][1])
        return server

    def post(
        self, path: str = WEBHOOK, sid: str = SID, /, *, retry: str = "", **form: str
    ) -> Reply:
        """As Twilio posts it, and signs it."""
        body, headers = self.signed(path, {"CallSid": sid, **(form or INBOUND)})
        if retry:
            headers["I-Twilio-Idempotency-Token"] = retry
        return self.ask("POST", path, headers, body)

    def signed(
        self, path: str, form: dict[str, str], by: str = TOKEN, over: str | None = None
    ) -> tuple[bytes, dict[str, str]]:
        signature = RequestValidator(by).compute_signature(over or self.public + path, form)
        body = urlencode(form).encode()
        return body, {"Content-Type": FORM_TYPE, "X-Twilio-Signature": signature}

    def ask(
        self, method: str, target: str, headers: dict[str, str] | None = None, body: bytes = b""
    ) -> Reply:
        return self._runner.run(self.aask(method, target, headers, body))

    def raw(self, data: bytes) -> Reply:
        return self._runner.run(self.araw(data))

    def run(self, coroutine: Any) -> Any:
        return self._runner.run(coroutine)

    async def aask(
        self, method: str, target: str, headers: dict[str, str] | None = None, body: bytes = b""
    ) -> Reply:
        fields = {"Host": "voice.example.com", **(headers or {})}
        if body or method == "POST":
            fields.setdefault("Content-Length", str(len(body)))
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        return await self.araw(f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode() + body)

    async def araw(self, data: bytes) -> Reply:
        """Until the gateway closes, which every answer is to be followed by."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            async with asyncio.timeout(PATIENCE_S):
                writer.write(data)
                head, _, text = (await reader.read()).partition(b"\r\n\r\n")
        finally:
            writer.close()
            await writer.wait_closed()
        first, *lines = head.decode().split("\r\n")
        headers = {
            name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)
        }
        return Reply(int(first.split()[1]), headers, text.decode())

    def plan(self, plan: Plan) -> str:
        plan_id = self.calls.plan(plan, ALICE, self.webhooks._clock())
        assert isinstance(plan_id, str)
        return plan_id

    def open_stream(self, reply: Reply, sid: str = SID) -> Call:
        call = self.calls.open_stream(sid, reply.stream[1], self.webhooks._clock())
        assert isinstance(call, Call)
        return call

    def end(self, ending: Any, sid: str = SID) -> None:
        call = self.calls.end(sid, ending, self.webhooks._clock())
        assert call is not None
        self.events.call_ended(call)

    def of(self, event: str) -> list[dict[str, Any]]:
        return [fields for name, fields in self.told if name == event]

    def value(self, name: str, **labels: str) -> float | None:
        return self.events.registry.get_sample_value(name, labels)

    def _warm(self, _call: Call) -> None:
        if self.warm_fails:
            raise OSError("no such model")
        self.warmed += 1


@contextmanager
def running(public_url: str = PUBLIC, **settings: Any) -> Iterator[Gateway]:
    with asyncio.Runner() as runner, capture_logs():
        gateway = Gateway(runner, public_url, **settings)
        server = runner.run(gateway.start())
        try:
            yield gateway
        finally:
            runner.run(server.cleanup())
