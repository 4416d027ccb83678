"""`hopscope capture` and `hopscope export`: keep what passes, take it away (see hopscope.py)."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn
from urllib.parse import quote

import aiohttp
import typer

from proxy.exports.captured import Captured, parse_lines
from proxy.exports.har import har
from proxy.exports.pcapng import pcapng
from proxy.exports.wav import wav

BROKEN, USAGE = 1, 64
_NAME_LIMIT = 100
_ANSWER_S = 60.0
Id = Annotated[str, typer.Argument(metavar="ID", help="Of `hopscope history`, or a CallSid.")]
AdminUrl = Annotated[
    str, typer.Option("--admin", help="The sidecar's admin address.", metavar="URL")
]
_NOT_CAPTURED = (
    "no frame was captured: run `hopscope capture ID` while the stream runs, or set\n"
    "capture = true in its [[route]] before it begins"
)
DEFAULT_ADMIN = "http://127.0.0.1:9101"


def capture(
    name: Id,
    admin: AdminUrl = DEFAULT_ADMIN,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Keep what passes over a running stream from now on, in the sidecar's memory."""
    status, body = _ask(admin, "POST", f"/api/captures/{quote(name[:_NAME_LIMIT], safe='')}")
    if status != 201:
        _fail(body.strip(), BROKEN)
    begun = json.loads(body)
    if as_json:
        sys.stdout.write(json.dumps(begun, indent=2) + "\n")
        return
    session_id = begun["id"]
    sys.stdout.write(f"{session_id} is captured; take it with: hopscope export {session_id} ...\n")


def export(
    name: Id,
    har_file: Annotated[
        Path | None, typer.Option("--har", help="For browsers' developer tools.", metavar="F")
    ] = None,
    lines_file: Annotated[
        Path | None, typer.Option("--jsonl", help="Frame by frame; `replay` reads it.", metavar="F")
    ] = None,
    wav_file: Annotated[
        Path | None, typer.Option("--wav", help="Both sides of a Twilio stream.", metavar="F")
    ] = None,
    pcapng_file: Annotated[
        Path | None, typer.Option("--pcapng", help="For Wireshark.", metavar="F")
    ] = None,
    admin: AdminUrl = DEFAULT_ADMIN,
) -> None:
    """Write a handshake and what was captured of its stream; - is standard output."""
    if not any((har_file, lines_file, wav_file, pcapng_file)):
        _fail("name at least one file: --har, --jsonl, --wav or --pcapng", USAGE)
    captured, lines = _fetch(admin, name[:_NAME_LIMIT])
    if wav_file and not captured.frames:
        _fail(f"{wav_file}: {_NOT_CAPTURED}", BROKEN)
    written: list[tuple[Path, bytes]] = []
    try:
        if har_file:
            written.append((har_file, json.dumps(har(captured), indent=1).encode() + b"\n"))
        if lines_file:
            written.append((lines_file, lines.encode()))
        if wav_file:
            written.append((wav_file, wav(captured)))
        if pcapng_file:
            written.append((pcapng_file, pcapng(captured)))
    except ValueError as error:
        _fail(str(error), BROKEN)
    for file, content in written:
        _write(file, content)
    files = [f"{file} ({len(content)} bytes)" for file, content in written if str(file) != "-"]
    if files:
        sys.stderr.write(f"wrote {', '.join(files)}\n")
    if not captured.frames:
        sys.stderr.write(f"{_NOT_CAPTURED}\n")
    elif captured.dropped:
        sys.stderr.write(f"{captured.dropped} older frames had made room (capture.session_bytes)\n")


def _fetch(admin: str, name: str) -> tuple[Captured, str]:
    """The capture with its lines; of an id without one, the handshake alone."""
    status, text = _ask(admin, "GET", f"/api/captures/{quote(name, safe='')}")
    if status == 404:
        status, row = _ask(admin, "GET", f"/api/handshakes/{quote(name, safe='')}")
        if status != 200:
            _fail(row.strip(), BROKEN)
        if json.loads(row)["kind"] != "handshake":
            _fail(f"{name} is no handshake", BROKEN)
        text = (
            json.dumps({"hopscope": "capture", "handshake": json.loads(row), "dropped": 0}) + "\n"
        )
    elif status != 200:
        _fail(text.strip(), BROKEN)
    return parse_lines(text.splitlines()), text


def _write(file: Path, content: bytes) -> None:
    try:
        if str(file) == "-":
            sys.stdout.buffer.write(content)
        else:
            file.write_bytes(content)
    except OSError as error:
        _fail(f"{file}: {error.strerror}", BROKEN)


def _ask(admin: str, method: str, path: str) -> tuple[int, str]:
    """Status and body. Ends the command where nobody answers."""
    admin = admin if "://" in admin else f"http://{admin}"
    try:
        return asyncio.run(_request(method, f"{admin.rstrip('/')}{path}"))
    except (aiohttp.ClientError, TimeoutError, ValueError, OSError) as error:
        hint = "start `hopscope proxy`, or name its address with --admin"
        _fail(f"{admin}: {error or 'no answer'}; {hint}", BROKEN)


async def _request(method: str, url: str) -> tuple[int, str]:
    token = os.environ.get("HOPSCOPE_ADMIN_TOKEN")
    headers: dict[str, Any] = {"Authorization": f"Bearer {token}"} if token else {}
    timeout = aiohttp.ClientTimeout(total=_ANSWER_S, sock_connect=5)
    async with (
        aiohttp.ClientSession(timeout=timeout, headers=headers) as session,
        session.request(method, url) as answer,
    ):
        return answer.status, await answer.text()


def _fail(message: str, code: int) -> NoReturn:
    for line in message.splitlines():
        sys.stderr.write(f"hopscope: {line}\n")
    raise typer.Exit(code)
