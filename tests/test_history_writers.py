"""Processes that write to a history: what a kill leaves, and two that write at once."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from proxy import history
from proxy.history import Query, open_for_reading

PATIENCE_S = 20.0


def wait_for(is_so: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.01)


# What the sidecar does with its rows: it hands them over, and flushes every TICK_S.
_WRITER = """
import sys, time
from pathlib import Path
from proxy.history import Book, History
from proxy.server import TICK_S
kept = History(Book(Path(sys.argv[1]), rows=1000, days=1))
for number in range(200):
    line = {"id": f"{number:018}", "ingress": "nginx", "outcome": "upgraded", "call_sid": None}
    kept.add_event("handshake", time.time(), line, {})
print("handed over", flush=True)
while True:
    time.sleep(TICK_S)
    kept.flush()
"""


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is POSIX's")
def test_what_was_flushed_survives_a_kill(tmp_path: Path) -> None:
    file = tmp_path / "history.sqlite3"
    with subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(file)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(history.__file__).parents[1],
    ) as writer:
        assert writer.stdout is not None
        try:
            assert writer.stdout.readline() == "handed over\n"
            reading = open_for_reading(file)
            wait_for(lambda: reading.find(Query()), "the first batch")
            reading.close()
        finally:
            writer.kill()
    assert writer.returncode == -signal.SIGKILL
    kept = open_for_reading(file)
    found = kept.find(Query(limit=1000))
    assert [int(row["id"]) for row in found] == list(range(199, -1, -1))
    kept.close()
    book = sqlite3.connect(file)
    assert book.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    book.close()


# Two programs that open a new file in the same moment, and write at once: no wait between rows.
_ONE_OF_TWO = """
import sys, time
from pathlib import Path
from proxy.history import Book, History
name, file = sys.argv[1], Path(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
kept = History(Book(file, rows=100_000, days=1))
for number in range(500):
    row = {"id": f"{name}{number:017}", "call_sid": None}
    kept.add_event("call" if name == "g" else "handshake", time.time(), row, {})
    kept.flush()
kept.close()
print(kept.dropped, kept.error)
"""


def test_a_sidecar_and_a_gateway_write_to_one_file(tmp_path: Path) -> None:
    file = tmp_path / "history.sqlite3"
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", _ONE_OF_TWO, name, str(file)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(history.__file__).parents[1],
        )
        for name in "pg"
    ]
    try:
        for writer in writers:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "ready\n"
        for writer in writers:
            assert writer.stdin is not None
            writer.stdin.write("\n")
            writer.stdin.flush()
        assert [writer.communicate(timeout=PATIENCE_S)[0] for writer in writers] == ["0 None\n"] * 2
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()
    kept = open_for_reading(file)
    assert len(kept.find(Query(kind="handshake", limit=1000))) == 500
    assert len(kept.find(Query(kind="call", limit=1000))) == 500
    kept.close()
