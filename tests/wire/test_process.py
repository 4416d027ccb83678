"""`hopscope proxy` as a process: its signals, its files, and the verbs that look at it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from peers import SWITCH, UPGRADE, RawSocket, RawUpstream
from programs import PATIENCE_S, ROOT, HopscopeProcess, dial


@pytest.fixture
def settings_file(tmp_path: Path, upstream: RawUpstream) -> Path:
    file = tmp_path / "hopscope.toml"
    file.write_text(
        f'drain_seconds = 5\n[[route]]\nname = "first"\nupstream = "{upstream.url}"\n'
        f'[history]\nfile = "{tmp_path}/history.sqlite3"\n'
    )
    return file


@pytest.fixture
def hopscope(settings_file: Path) -> Iterator[HopscopeProcess]:
    process = HopscopeProcess(None, "--config", str(settings_file))
    yield process
    process.close()


def _upgrade(hopscope: HopscopeProcess, upstream: RawUpstream) -> tuple[RawSocket, RawSocket]:
    client = RawSocket(dial(hopscope.port))
    client.send(UPGRADE)
    server = upstream.accept()
    server.receive_head()
    server.send(SWITCH)
    client.receive_head()
    return client, server


def _run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "hopscope", *arguments],
        cwd=ROOT,
        env=os.environ | {"COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def test_sighup_takes_a_good_file_and_refuses_a_bad_one(
    hopscope: HopscopeProcess, settings_file: Path, upstream: RawUpstream
) -> None:
    client, server = _upgrade(hopscope, upstream)
    good = settings_file.read_text()
    settings_file.write_text(good.replace('"first"', '"second"'))
    hopscope.process.send_signal(signal.SIGHUP)
    assert hopscope.line("reloaded")["routes"] == [f"second -> {upstream.url}"]
    settings_file.write_text(good.replace('"first"', '"first"\nprefiks = "/voice"'))
    hopscope.process.send_signal(signal.SIGHUP)
    [reason] = hopscope.line("reload_refused")["reasons"]
    assert reason == "route 'first'.prefiks: there is no such setting; did you mean prefix?"
    server.send(b"\x81\x02hi")
    assert client.receive(4) == b"\x81\x02hi"
    again = _upgrade(hopscope, upstream)
    for sock in (client, server, *again):
        sock.close()
    assert hopscope.line("handshake")["route"] == "first"
    assert hopscope.line("handshake")["route"] == "second"


def test_a_second_sigterm_does_not_wait_for_sessions(
    hopscope: HopscopeProcess, upstream: RawUpstream
) -> None:
    client, server = _upgrade(hopscope, upstream)
    hopscope.process.send_signal(signal.SIGTERM)
    assert hopscope.line("draining")["sessions"] == 1
    hopscope.process.send_signal(signal.SIGTERM)
    assert client.receive(4)[:1] == b"\x88"
    assert server.receive(4)[:1] == b"\x88"
    client.close()
    server.close()
    assert hopscope.line("session")["ending"] == "drain"
    assert hopscope.process.wait(PATIENCE_S) == 0


def test_a_kill_loses_at_most_the_last_moment_of_history(
    hopscope: HopscopeProcess, upstream: RawUpstream, tmp_path: Path
) -> None:
    client, server = _upgrade(hopscope, upstream)
    client.send(b"\x88\x82\0\0\0\0\x03\xe8")
    server.send(b"\x88\x02\x03\xe8")
    client.close()
    server.close()
    session = hopscope.line("session")
    file = str(tmp_path / "history.sqlite3")

    def listed() -> list[dict[str, Any]]:
        return list(json.loads(_run("history", "--json", "--file", file).stdout)["handshakes"])

    hopscope.wait_until(lambda: listed() and listed()[0]["session"], "the row on disk")
    hopscope.process.kill()
    hopscope.process.wait(PATIENCE_S)
    [row] = listed()
    assert row["id"] == session["id"]
    assert row["session"]["close_code"] == 1000
    shown = _run("show", row["id"], "--file", file)
    assert shown.returncode == 0
    assert "Twilio.TmeWs/1.0" in shown.stdout
    assert "close_handshake 1000 by client" in shown.stdout


def test_tap_prints_what_happens_while_it_watches(
    hopscope: HopscopeProcess, upstream: RawUpstream
) -> None:
    tap = subprocess.Popen(
        [
            *(sys.executable, "-m", "hopscope", "tap", "--json"),
            *("--admin", f"http://127.0.0.1:{hopscope.admin_port}"),
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert tap.stdout is not None
    assert tap.stderr is not None
    try:
        assert tap.stderr.readline().startswith("watching http://127.0.0.1:")
        client, server = _upgrade(hopscope, upstream)
        client.close()
        server.close()
        events = [json.loads(tap.stdout.readline()) for _ in range(2)]
    finally:
        tap.send_signal(signal.SIGINT)
        assert tap.wait(PATIENCE_S) == 0
        tap.stdout.close()
        tap.stderr.close()
    assert [event["event"] for event in events] == ["handshake", "session"]
    assert events[0]["id"] == events[1]["id"]


def test_an_address_in_use_is_said_plainly(hopscope: HopscopeProcess) -> None:
    taken = f"127.0.0.1:{hopscope.port}"
    ended = _run(
        *("proxy", "--upstream", "http://127.0.0.1:1", "--listen", taken),
        *("--admin", "127.0.0.1:0", "--no-history"),
    )
    assert ended.returncode == 1
    assert f"listen = {taken}: another program listens there" in ended.stderr
    assert "Traceback" not in ended.stderr
