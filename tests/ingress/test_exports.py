"""A captured call, taken away and opened by the programs that the files are for."""

import asyncio
import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator
from referencing import Registry, Resource

from calls.gateways_at_work import CALLS_TOKEN, TOKEN, AtWork, at_work, run, simple_cast
from doctor.addresses import Address
from programs import ROOT, HopscopeProcess, require

pytestmark = pytest.mark.timeout(150)
SCHEMAS = ROOT / ".tools" / "node_modules" / "har-schema" / "lib"
FORMATS = ("har", "jsonl", "wav", "pcapng")


def _export(admin_port: int, name: str, folder: Path) -> dict[str, Path]:
    files = {form: folder / f"call.{form}" for form in FORMATS}
    flags = [f"--{form}={file}" for form, file in files.items()]
    command = [sys.executable, "-m", "hopscope", "export", name, *flags]
    command.append(f"--admin=http://127.0.0.1:{admin_port}")
    subprocess.run(command, check=True, timeout=60, cwd=ROOT)
    return files


async def _captured_call(at: AtWork, hopscope: HopscopeProcess) -> str:
    """A call of one turn; its CallSid."""
    heard = await at.call("words", connect_to=Address("127.0.0.1", hopscope.port))
    assert heard.report.twilio_error is None
    await asyncio.to_thread(hopscope.line, "session")
    return heard.report.call_sid


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The four files of one call through a route that captures."""
    folder = tmp_path_factory.mktemp("exports")
    made: dict[str, Path] = {}

    async def work() -> None:
        credentials = {"calls_token": CALLS_TOKEN}
        async with at_work(greeting="Hi.", credentials=credentials, **simple_cast("one")) as at:
            config = folder / "hopscope.toml"
            upstream = f'upstream = "http://{at.address}"'
            config.write_text(f'[[route]]\nname = "voice"\n{upstream}\ncapture = true\n')
            hopscope = await asyncio.to_thread(
                HopscopeProcess, None, "--no-history", f"--config={config}"
            )
            try:
                call_sid = await _captured_call(at, hopscope)
                made.update(await asyncio.to_thread(_export, hopscope.admin_port, call_sid, folder))
            finally:
                assert await asyncio.to_thread(hopscope.close) == 0

    run(work, limit_s=100)
    return made


def _frames(files: dict[str, Path]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in files["jsonl"].read_text().splitlines()][1:]


def test_wireshark_lists_the_same_frames(files: dict[str, Path]) -> None:
    command = [require("tshark"), "-r", str(files["pcapng"]), "-Y", "websocket", "-T", "json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    told = []
    for packet in json.loads(done.stdout):
        layers = packet["_source"]["layers"]
        frame = layers["websocket"]
        assert "tcp.checksum.bad" not in layers["tcp"]
        sender = "client" if layers["tcp"]["tcp.dstport"] == "80" else "server"
        told.append((sender, int(frame["websocket.opcode"]), frame["websocket.mask"] == "1"))
    seen = [(each["sender"], each["opcode"], bool(each["mask"])) for each in _frames(files)]
    assert told == seen
    assert len(told) > 50


def test_the_har_validates_and_its_messages_are_what_was_sent(files: dict[str, Path]) -> None:
    if not SCHEMAS.exists():
        message = "har-schema is not installed; `make tools` installs it"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    document = json.loads(files["har"].read_text())
    schemas = [json.loads(file.read_text()) for file in SCHEMAS.glob("*.json")]
    registry: Registry[Any] = Registry().with_resources(
        (schema["$id"], Resource.from_contents(schema)) for schema in schemas if "$id" in schema
    )
    whole = json.loads((SCHEMAS / "har.json").read_text())
    assert list(Draft7Validator(whole, registry=registry).iter_errors(document)) == []
    messages = document["log"]["entries"][0]["_webSocketMessages"]
    kinds = {"client": "send", "server": "receive"}
    sent = [(kinds[each["sender"]], each["text"]) for each in _frames(files) if "text" in each]
    assert [(each["type"], each["data"]) for each in messages] == sent


def test_the_wav_holds_both_sides(files: dict[str, Path]) -> None:
    data = files["wav"].read_bytes()
    assert struct.unpack_from("<HHI", data, 20) == (7, 2, 8000)
    samples = data[data.index(b"data") + 8 :]
    for track in (samples[::2], samples[1::2]):
        assert len(set(track)) > 3


def test_no_file_holds_a_secret_of_the_run(files: dict[str, Path]) -> None:
    start = next(each for each in _frames(files) if '"start"' in each.get("text", ""))
    parameters = json.loads(start["text"])["start"]["customParameters"]
    assert parameters
    assert set(parameters.values()) == {"[hidden]"}
    for file in files.values():
        for secret in (TOKEN, CALLS_TOKEN):
            assert secret.encode() not in file.read_bytes()


def test_a_stream_is_captured_while_it_runs(
    start_hopscope: Callable[..., HopscopeProcess], tmp_path: Path
) -> None:
    async def work() -> None:
        async with at_work(greeting="Hi.", **simple_cast("one", "two")) as at:
            hopscope = await asyncio.to_thread(start_hopscope, at.address.port)
            through = Address("127.0.0.1", hopscope.port)
            call = asyncio.create_task(at.call("words", "words", "words", connect_to=through))
            handshake = await asyncio.to_thread(hopscope.line, "handshake")
            command = [sys.executable, "-m", "hopscope", "capture", handshake["id"], "--json"]
            command.append(f"--admin=http://127.0.0.1:{hopscope.admin_port}")
            done = await asyncio.to_thread(
                lambda: subprocess.run(
                    command, check=True, timeout=30, cwd=ROOT, stdout=subprocess.PIPE
                )
            )
            assert json.loads(done.stdout) == {"id": handshake["id"]}
            await call
            files = await asyncio.to_thread(_export, hopscope.admin_port, handshake["id"], tmp_path)
            assert len(_frames(files)) > 20

    run(work, limit_s=100)
