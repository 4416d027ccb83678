"""A captured stream, played again: the same answers, other answers, none."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner
from websockets.asyncio.server import ServerConnection, serve

from doctor.replaying.differences import compare
from doctor.replaying.playing import play
from doctor.replaying.script import Script, write_script
from hopscope import app
from peers import RunningSidecar
from proxy.exports.captured import Captured, parse_lines
from proxy.redact import HIDDEN

Answer = Callable[[int, str], str]
START = {"event": "start", "start": {"callSid": "CA1", "customParameters": {"token": "s3cret"}}}


@asynccontextmanager
async def _gateway(answer: Answer) -> AsyncIterator[int]:
    """Answers each message, and says goodbye to "bye" with a code of its own."""

    async def talk(connection: ServerConnection) -> None:
        for number in itertools.count(1):
            message = str(await connection.recv())
            await connection.send(answer(number, message))
            if message == "bye":
                await connection.close(4001, "so long")
                return

    async with serve(talk, "127.0.0.1", 0, compression=None) as server:
        yield server.sockets[0].getsockname()[1]


def _counted(number: int, message: str) -> str:
    token = json.loads(message)["start"]["customParameters"] if "start" in message else ""
    return f"{number} {len(message)} {token}"


async def _capture(*messages: str) -> list[str]:
    """The lines of a stream through a sidecar that captures it."""
    from websockets.asyncio.client import connect

    async with _gateway(_counted) as port:
        route = {"name": "voice", "upstream": f"http://127.0.0.1:{port}", "capture": True}
        sidecar = await asyncio.to_thread(RunningSidecar, "asyncio", upstream=None, route=[route])
        try:
            async with connect(f"ws://127.0.0.1:{sidecar.port}/", compression=None) as stream:
                for message in messages:
                    await stream.send(message)
                    await stream.recv()
                await stream.wait_closed()
            line = await asyncio.to_thread(sidecar.event, "session")
            kept = sidecar.sidecar.captures.get(line["id"])
            assert kept is not None
            row = await asyncio.wrap_future(_row(sidecar, line["id"]))
            head = {"hopscope": "capture", "handshake": row, "dropped": 0}
            return [json.dumps(each) for each in (head, *(frame.line() for frame in kept.frames))]
        finally:
            await asyncio.to_thread(sidecar.close)


def _row(sidecar: RunningSidecar, session_id: str) -> Any:
    return asyncio.run_coroutine_threadsafe(
        sidecar.sidecar.history.get(session_id), sidecar.sidecar._loop
    )


async def _again(captured: Captured, answer: Answer, **parameters: str) -> tuple[Script, Any, Any]:
    script = write_script(captured, parameters)
    async with _gateway(answer) as port:
        url = f"ws://127.0.0.1:{port}/"
        replayed = await play(script, captured, url, is_fast=True)
    return script, replayed, compare(script.expected, replayed.received)


def _run(work: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(50):
            await work

    asyncio.run(bounded())


def test_the_same_server_gives_the_same_answers() -> None:
    async def work() -> None:
        captured = parse_lines(await _capture("one", "two", "bye"))
        script, replayed, differences = await _again(captured, _counted)
        assert (replayed.error, differences, script.missing) == (None, [], [])
        assert replayed.sent >= 3
        assert (script.close_code, replayed.close_code) == (4001, 4001)

    _run(work())


def test_another_answer_is_told_by_its_number() -> None:
    async def work() -> None:
        captured = parse_lines(await _capture("one", "two", "bye"))
        _, _, differences = await _again(
            captured, lambda number, text: "odd" if number == 2 else _counted(number, text)
        )
        assert differences == [{"message": 2, "expected": "2 3 ", "got": "odd"}]

    _run(work())


def test_what_the_capture_hides_is_named_and_may_be_given() -> None:
    async def work() -> None:
        captured = parse_lines(await _capture(json.dumps(START), "bye"))
        assert "s3cret" not in str(captured.frames[0])
        script, _, _ = await _again(captured, _counted)
        assert script.missing == ["message 1 of the client holds what was hidden"]
        script, _, _ = await _again(captured, _counted, token="s3cret")
        assert script.missing == []
        assert "s3cret" in str(script.lines[0].payload)
        assert HIDDEN not in str(script.lines[0].payload)

    _run(work())


def test_the_command_tells_it_and_its_exit_code(tmp_path: Path) -> None:
    file = tmp_path / "stream.jsonl"

    async def work() -> None:
        file.write_text("\n".join(await _capture("one", "bye")) + "\n")
        for answer, code, said in (
            (_counted, 0, "the same answers as then"),
            (lambda _number, _text: "\x1b[31modd", 1, "now   \\x1b[31modd"),
        ):
            async with _gateway(answer) as port:
                command = ["replay", str(file), "--to", f"ws://127.0.0.1:{port}/", "--fast"]
                done = await asyncio.to_thread(CliRunner().invoke, app, command)
                assert done.exit_code == code, done.output
                assert said in done.output

    _run(work())


def test_a_recording_is_no_capture_and_is_told_so(tmp_path: Path) -> None:
    file = tmp_path / "call.wav"
    file.write_bytes(b"RIFF\xd4\x00")
    done = CliRunner().invoke(app, ["replay", str(file), "--to", "ws://127.0.0.1:1/"])
    assert (done.exit_code, done.output) == (
        64,
        f"{file}: is no text; `hopscope export --jsonl` writes what is read here\n",
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["FILE", "--to", "http://127.0.0.1/"], "should be a URL such as wss://"),
        (["FILE", "--to", "ws://127.0.0.1:1/", "--param", "token"], "should be NAME=VALUE"),
        (["FILE", "--to", "ws://127.0.0.1:1/"], "line 1 is no JSON"),
        (["nowhere.jsonl", "--to", "ws://127.0.0.1:1/"], "No such file"),
    ],
)
def test_bad_input_is_told(arguments: list[str], said: str, tmp_path: Path) -> None:
    file = tmp_path / "stream.jsonl"
    file.write_text("no JSON\n")
    command = ["replay", *(str(file) if each == "FILE" else each for each in arguments)]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 64
    assert said in done.output
