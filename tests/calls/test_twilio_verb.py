"""`hopscope twilio` after calls that failed on the way: Twilio's code, the handshake, the hop.

    Twilio's stand-in -> Front (a hop that may answer itself) -> a real sidecar -> a gateway

The calls are placed by REST; what the command line asks is the same stand-in's REST.
"""

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from aiohttp import web
from structlog.testing import capture_logs

import hopscope
from calls.twilio_peers import Arrived, Gateway, connect_twiml, raw_server, running, xml
from doctor.caller.call import CallOptions
from doctor.rest_api.answering import simulated_callers
from doctor.rest_api.placed_call import Failure
from doctor.rest_api.server import TwilioApi
from gateway.stamp import SERVER
from proxy.process import running_sidecar
from proxy.routes import Route, Upstream
from proxy.settings import HistorySettings, HostPort, Settings
from rest_peers import ACCOUNT, ask, form, run

NGINX_404 = (
    b"HTTP/1.1 404 Not Found\r\nServer: nginx/1.22.1\r\nContent-Type: text/html\r\n"
    b"Set-Cookie: session=s3cret\r\nContent-Length: 66\r\nConnection: close\r\n\r\n"
    b"<html><body>404 Not Found<hr><center>nginx/1.22.1</center></body>\n"
)


class Printed(NamedTuple):
    code: Any
    out: str
    err: str

    def line_of(self, code: int) -> str:
        """The one line of the time line that tells of Twilio's error."""
        found = [line for line in self.out.splitlines() if re.search(rf"twilio +{code} ", line)]
        assert len(found) == 1, self.out
        return found[0]


@dataclass
class Way:
    """All that a call passes. `hopscope` runs the console script."""

    api: TwilioApi
    webhook: str
    stream: str
    admin: str
    hopscope: Callable[..., Any]

    async def call(self) -> str:
        fields = form(Twiml="", Url=self.webhook)
        _, call = await ask(self.api, "POST", "Calls.json", fields)
        await self.api.settled()
        return str(call["sid"])


@asynccontextmanager
async def front(sidecar: Callable[[], HostPort], refused: str) -> AsyncIterator[int]:
    """A hop that passes bytes on, and answers itself where the target begins with `refused`."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if refused and head.split()[1].decode().startswith(refused):
            writer.write(NGINX_404)
            await writer.drain()
            writer.close()
            return
        there, back = await asyncio.open_connection(*sidecar())
        back.write(head)
        copying = [
            asyncio.create_task(_copy(reader, back)),
            asyncio.create_task(_copy(there, writer)),
        ]
        await asyncio.wait(copying, return_when=asyncio.FIRST_COMPLETED)
        for task in copying:
            task.cancel()
        back.close()

    async with raw_server(serve) as port:
        yield port


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()


def _refusing(gateway: Gateway, arrived: Arrived) -> web.StreamResponse:
    """A gateway that promises a stream and refuses its upgrade."""
    if arrived.method == "POST":
        host = arrived.value("Host")
        return xml(connect_twiml(f"ws://{host}/voice/media"))
    return web.Response(status=403, text="no", headers={"Server": SERVER})


@asynccontextmanager
async def way(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    in_front: str = "",
    is_gone: bool = False,
) -> AsyncIterator[Way]:
    """`in_front`: what the hop in front answers itself; `is_gone`: the gateway, for streams."""
    file = folder / "history.sqlite3"
    settings = Settings.model_construct(
        listen=HostPort("127.0.0.1", 0), history=HistorySettings(file=file), drain_seconds=1.0
    )
    monkeypatch.setenv("TWILIO_ACCOUNT_SID", ACCOUNT.sid)
    monkeypatch.setenv("TWILIO_AUTH_TOKEN", ACCOUNT.token)
    options = CallOptions(limit_s=15.0, say_letters_s=1000.0)
    address: list[HostPort] = []
    async with (
        running(_refusing) as gateway,
        running_sidecar(settings) as (sidecar, admin),
        front(lambda: address[0], in_front) as port,
        TwilioApi(ACCOUNT, simulated_callers(ACCOUNT, options)) as api,
    ):
        upstream = Upstream("127.0.0.1", gateway.port)
        sidecar.routes = (Route("gateway", upstream),)
        if is_gone:
            nothing = Route("gone", Upstream("127.0.0.1", _free_port()), path="/voice/media")
            sidecar.routes = (nothing, *sidecar.routes)
        address.append(await sidecar.start())
        admin_url = f"http://{await admin.start(HostPort('127.0.0.1', 0))}"
        config = folder / "hopscope.toml"
        config.write_text(
            f'[history]\nfile = "{file}"\n[gateway.twilio]\napi_url = "{api.url}"\n', "utf-8"
        )

        def command(*arguments: str) -> Printed:
            monkeypatch.setattr(
                sys, "argv", ["hopscope", "twilio", "--config", str(config), *arguments]
            )
            with pytest.raises(SystemExit) as ended:
                hopscope.main()
            printed = capsys.readouterr()
            return Printed(ended.value.code, printed.out, printed.err)

        async def hopscope_twilio(*arguments: str) -> Printed:
            sidecar.telemetry.flush()
            await sidecar.history.get("")  # behind what is pending
            return await asyncio.to_thread(command, *arguments)

        base = f"127.0.0.1:{port}"
        yield Way(
            api,
            f"http://{base}/voice/webhook",
            f"ws://{base}/voice/media",
            admin_url,
            hopscope_twilio,
        )


def _free_port() -> int:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


Try = Callable[..., Any]


@pytest.fixture
def on_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Try:
    for name in ("HOPSCOPE_ADMIN_TOKEN", "HOPSCOPE_PUBLIC_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "80")

    def on_way(work: Callable[[Way], Any], **options: Any) -> None:
        async def within() -> None:
            async with way(tmp_path, monkeypatch, capsys, **options) as there:
                await work(there)

        with capture_logs():
            run(within)

    return on_way


def test_a_stream_that_a_hop_in_front_refused(on_way: Try) -> None:
    async def work(there: Way) -> None:
        call_sid = await there.call()
        printed = await there.hopscope(call_sid)
        assert printed.code == 1
        assert printed.line_of(31920).split("twilio  ")[1] == (
            "31920 Stream - WebSocket - Handshake Error: "
            f"GET {there.stream} answered 404; no handshake came to the sidecar; "
            "hop: a hop in front of the sidecar (it answered 404, nginx by its words, "
            "without the stamp)"
        )
        assert "request POST /voice/webhook: answered 200" in printed.out
        assert "s3cret" not in printed.out + printed.err

    on_way(work, in_front="/voice/media")


def test_a_stream_that_the_gateway_refused(on_way: Try) -> None:
    async def work(there: Way) -> None:
        call_sid = await there.call()
        printed = await there.hopscope(call_sid)
        assert printed.code == 1
        told = printed.line_of(31920)
        assert re.search(r"answered 403; handshake (\w{18}) at the sidecar: refused 403; ", told)
        assert told.endswith("hop: the gateway (it answered 403, the stamp says)")

    on_way(work)


def test_a_stream_that_the_sidecar_could_not_pass_on(on_way: Try) -> None:
    async def work(there: Way) -> None:
        call_sid = await there.call()
        printed = await there.hopscope(call_sid)
        told = printed.line_of(31920)
        assert re.search(r"handshake \w{18} at the sidecar: unreachable 503; ", told)
        assert "hop: the sidecar (it answered itself, connection_refused" in told

    on_way(work, is_gone=True)


def test_a_webhook_that_never_came_is_told_as_such(on_way: Try) -> None:
    async def work(there: Way) -> None:
        call_sid = await there.call()
        printed = await there.hopscope(call_sid)
        assert printed.code == 1
        told = printed.line_of(11200)
        assert "no request came to the sidecar; hop: a hop in front of the sidecar" in told

    on_way(work, in_front="/voice/webhook")


def test_json_names_the_hop_and_the_record_and_a_running_sidecar_can_be_asked(on_way: Try) -> None:
    async def work(there: Way) -> None:
        call_sid = await there.call()
        printed = await there.hopscope(call_sid, "--admin", there.admin, "--json")
        told = json.loads(printed.out)
        assert (told["verdict"], told["hop"], printed.code) == ("broken", "gateway", 1)
        [error] = told["errors"]
        assert (error["code"], error["status"], error["told_by"]) == (
            31920,
            403,
            ["alert", "notification"],
        )
        assert error["record"] == error["stamp"]
        [handshake] = [line for line in told["timeline"] if line["what"] == "handshake"]
        assert handshake["id"] == error["record"]
        assert told["call"]["status"] == "completed"
        assert told["notes"] == []
        whats = [line["what"] for line in told["timeline"]]
        assert whats.index("call") < whats.index("handshake") < whats.index("error")

    on_way(work)


def test_a_call_of_which_nobody_has_anything_bad_to_say_is_healthy(on_way: Try) -> None:
    async def work(there: Way) -> None:
        _, call = await ask(there.api, "POST", "Calls.json", form())
        await there.api.settled()
        printed = await there.hopscope(call["sid"])
        assert printed.code == 0
        assert printed.out.startswith("healthy: ")

    on_way(work)


def test_a_warning_is_told_and_the_call_is_healthy(on_way: Try) -> None:
    async def work(there: Way) -> None:
        _, call = await ask(there.api, "POST", "Calls.json", form())
        await there.api.settled()
        there.api.raise_alert(Failure(31951, "bad", "warning"), call["sid"])
        printed = await there.hopscope(call["sid"])
        assert printed.code == 0
        assert "hop: the gateway" in printed.line_of(31951)

    on_way(work)


def test_an_unknown_call_cannot_be_told_of(on_way: Try) -> None:
    async def work(there: Way) -> None:
        printed = await there.hopscope("CA" + "0" * 32)
        assert printed.code == 2
        assert "Twilio has no such account or call here" in printed.out

    on_way(work)


def test_wrong_credentials_are_refused(on_way: Try, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(there: Way) -> None:
        call_sid = await there.call()
        monkeypatch.setenv("TWILIO_AUTH_TOKEN", "made-up-and-wrong")
        printed = await there.hopscope(call_sid)
        assert printed.code == 64
        assert printed.out == ""
        assert "does not accept the account and its token" in printed.err
        assert "made-up-and-wrong" not in printed.err

    on_way(work)


def test_without_credentials_the_sidecar_tells_what_it_has(
    on_way: Try, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(there: Way) -> None:
        call_sid = await there.call()
        monkeypatch.delenv("TWILIO_AUTH_TOKEN")
        printed = await there.hopscope(call_sid)
        assert printed.code == 1
        assert "handshake GET /voice/media: refused 403" in printed.out
        assert "Twilio was not asked: TWILIO_AUTH_TOKEN not set" in printed.out
        nothing = await there.hopscope("CA" + "0" * 32)
        assert nothing.code == 64
        assert "the sidecar has nothing of this call" in nothing.err

    on_way(work)


def test_a_twilio_that_cannot_be_reached_is_a_note(on_way: Try, tmp_path: Path) -> None:
    async def work(there: Way) -> None:
        call_sid = await there.call()
        text = (tmp_path / "hopscope.toml").read_text("utf-8")
        gone = f"http://127.0.0.1:{_free_port()}"
        (tmp_path / "hopscope.toml").write_text(text.replace(there.api.url, gone), "utf-8")
        printed = await there.hopscope(call_sid)
        assert printed.code == 1
        assert "Twilio's API cannot be reached: no connection" in printed.out
        assert (await there.hopscope("CA" + "0" * 32)).code == 2

    on_way(work)


@pytest.mark.parametrize("name", ["", "CA1", "MZ" + "1" * 32])
def test_what_is_no_call_sid_is_refused(on_way: Try, name: str) -> None:
    async def work(there: Way) -> None:
        printed = await there.hopscope(name)
        assert printed.code == 64
        assert "is no CallSid" in printed.err

    on_way(work)
