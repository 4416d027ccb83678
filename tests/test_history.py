"""What is kept on disk, what is found again, and what a kill leaves of it."""

import asyncio
import os
import sqlite3
import stat
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from proxy import history
from proxy.history import (
    PENDING_LIMIT,
    Book,
    History,
    HistoryError,
    Query,
    default_file,
    open_for_reading,
)


def line(number: int, **fields: Any) -> dict[str, Any]:
    """A log line as far as the tables look into it; ids sort by number."""
    return {"id": f"{number:018}", "ingress": "nginx", "outcome": "upgraded", "call_sid": None} | (
        fields
    )


def filled(book: Book, *lines: dict[str, Any], kind: str = "handshake", at: float = 0.0) -> History:
    kept = History(book)
    for row in lines:
        kept.add_event(kind, at or time.time(), row, {"request_head": [], "response_head": []})
    return kept


def ids(rows: list[dict[str, Any]]) -> list[int]:
    return [int(row["id"]) for row in rows]


def found(kept: History, query: Query | None = None) -> list[dict[str, Any]]:
    return asyncio.run(kept.find(query or Query()))


@pytest.fixture
def book() -> Book:
    return Book(None, rows=1000, days=1)


def test_an_event_is_found_as_it_was_told_and_shown_with_both_heads(book: Book) -> None:
    kept = History(book)
    told = line(1, target="/voice/stream", violations=[{"field": "Upgrade", "saw": None}])
    heads = {"request_head": [["Host", "a"], ["Cookie", None]], "response_head": []}
    kept.add_event("handshake", time.time(), told, heads)
    row = told | {"kind": "handshake", "session": None}
    assert found(kept) == [row]
    assert asyncio.run(kept.get(told["id"])) == row | heads
    kept.close()


def test_an_id_that_is_not_there_is_none(book: Book) -> None:
    kept = filled(book, line(1))
    assert asyncio.run(kept.get(line(2)["id"])) is None
    kept.close()


def test_a_session_joins_its_handshake_and_brings_the_call_sid(book: Book) -> None:
    kept = filled(book, line(1), line(2, call_sid="CA2"))
    kept.add_session({"id": line(1)["id"], "call_sid": "CA1", "ending": "reset"})
    kept.add_session({"id": line(2)["id"], "ending": "close_handshake"})
    first, second = reversed(found(kept))
    assert first["session"] == {"id": first["id"], "call_sid": "CA1", "ending": "reset"}
    assert second["session"]["ending"] == "close_handshake"
    assert ids(found(kept, Query(call_sid="CA1"))) == [1]
    assert ids(found(kept, Query(call_sid="CA2"))) == [2]
    kept.close()


def phone_call(number: int, call_sid: str | None = "CA1", **fields: Any) -> dict[str, Any]:
    """The line of a phone call: it has neither ingress nor outcome."""
    turns = [{"number": 1, "caller": "Hello?", "agent": "Hello!", "ms": {"first_audio": 620}}]
    told = {"id": f"{number:018}", "call_sid": call_sid, "direction": "inbound", "turns": turns}
    return told | fields


def test_a_phone_call_is_a_row_of_its_own(book: Book) -> None:
    kept = filled(book, line(1, call_sid="CA1"))
    kept.add_event("call", time.time(), phone_call(2), {})
    kept.add_event("call", time.time(), phone_call(3, "CA3"), {})
    assert ids(found(kept)) == [1]
    assert found(kept, Query(kind="call", limit=1)) == [phone_call(3, "CA3") | {"kind": "call"}]
    assert ids(found(kept, Query(kind="call", call_sid="CA1"))) == [2]
    assert ids(found(kept, Query(kind=None, call_sid="CA1"))) == [2, 1]
    kept.close()


def test_a_phone_call_is_found_by_its_id_or_call_sid_with_its_handshakes(book: Book) -> None:
    kept = filled(book, line(1, call_sid="CA1"), line(2), line(4, call_sid="CA2"))
    kept.add_event("call", time.time(), phone_call(3), {"parties": ["+15550001"]})
    kept.add_session({"id": line(2)["id"], "call_sid": "CA1"})
    told = asyncio.run(kept.get("CA1"))
    assert told is not None
    assert told == asyncio.run(kept.get(phone_call(3)["id"]))
    assert ids(told.pop("handshakes")) == [2, 1]
    assert told == phone_call(3) | {"kind": "call", "parties": ["+15550001"]}
    kept.close()


def test_a_call_sid_without_a_phone_call_gives_its_newest_handshake(book: Book) -> None:
    kept = filled(book, line(1, call_sid="CA1"), line(2, call_sid="CA1"))
    kept.add_event("request", time.time(), line(3, call_sid="CA1"), {})
    kept.add_event("request", time.time(), line(4, call_sid="CA4"), {})
    numbers = [asyncio.run(kept.get(name)) for name in ("CA1", "CA4", "CA9")]
    assert [told and int(told["id"]) for told in numbers] == [2, 4, None]
    kept.close()


def test_a_phone_call_without_a_call_sid_has_no_handshakes(book: Book) -> None:
    kept = filled(book, line(1))
    kept.add_event("call", time.time(), phone_call(2, None), {})
    told = asyncio.run(kept.get(phone_call(2)["id"]))
    assert told is not None
    assert told["handshakes"] == []
    kept.close()


def test_pages_follow_each_other_newest_first(book: Book) -> None:
    kept = filled(book, *(line(number) for number in range(5)))
    first = found(kept, Query(limit=2))
    second = found(kept, Query(limit=2, before=first[-1]["id"]))
    third = found(kept, Query(limit=2, before=second[-1]["id"]))
    assert [ids(page) for page in (first, second, third)] == [[4, 3], [2, 1], [0]]
    kept.close()


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        pytest.param(Query(), [3, 2, 1, 0], id="handshakes only"),
        pytest.param(Query(kind=None), [9, 3, 2, 1, 0], id="requests, too"),
        pytest.param(Query(kind="request"), [9], id="requests only"),
        pytest.param(Query(ingress="cloudflare"), [1], id="ingress"),
        pytest.param(Query(outcome="refused"), [3, 2], id="outcome"),
        pytest.param(Query(call_sid="CA1"), [2], id="call"),
        pytest.param(Query(outcome="refused", call_sid="CA1"), [2], id="both"),
        pytest.param(Query(outcome="refused", limit=1), [3], id="limit"),
        pytest.param(Query(ingress="' OR 1=1 --"), [], id="quoted"),
    ],
)
def test_filters_narrow_what_is_found(book: Book, query: Query, numbers: list[int]) -> None:
    kept = filled(
        book,
        line(0),
        line(1, ingress="cloudflare"),
        line(2, outcome="refused", call_sid="CA1"),
        line(3, outcome="refused"),
    )
    kept.add_event("request", time.time(), line(9, outcome="answered"), {})
    assert ids(found(kept, query)) == numbers
    kept.close()


def test_an_event_told_again_replaces_the_first(book: Book) -> None:
    kept = filled(book, line(1, outcome="refused"), line(1))
    assert [row["outcome"] for row in found(kept)] == ["upgraded"]
    kept.close()


def test_the_newest_rows_are_kept() -> None:
    book = Book(None, rows=3, days=1)
    kept = filled(book, *(line(number) for number in range(10)))
    found(kept)
    book.prune(time.time())
    assert ids(book.find(Query())) == [9, 8, 7]
    kept.close()


def test_a_flood_of_refusals_leaves_the_calls_alone() -> None:
    book = Book(None, rows=6, days=1)
    kept = filled(book, line(1), line(2, outcome="refused", call_sid="CA1"), line(3))
    for number in range(4, 104):
        kind = "handshake" if number % 2 else "request"
        kept.add_event(kind, time.time(), line(number, outcome="refused"), {})
    found(kept)
    book.prune(time.time())
    assert ids(book.find(Query(kind=None))) == [103, 102, 101, 3, 2, 1]
    kept.close()


def test_rows_older_than_the_days_are_pruned() -> None:
    book = Book(None, rows=1000, days=2)
    now = time.time()
    old = filled(book, line(1), at=now - 2 * 86400 - 1)
    old.add_event("handshake", now - 2 * 86400 + 60, line(2), {})
    found(old)
    book.prune(now)
    assert ids(book.find(Query())) == [2]
    old.close()


def test_writing_prunes_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "_PRUNE_EVERY_S", 0.0)
    kept = filled(Book(None, rows=3, days=1), *(line(number) for number in range(10)))
    assert ids(found(kept)) == [9, 8, 7]
    kept.close()


def test_rows_beyond_the_limit_are_counted_and_not_kept(book: Book) -> None:
    kept = filled(book, *(line(number) for number in range(PENDING_LIMIT + 7)))
    assert kept.dropped == 7
    assert ids(found(kept, Query(limit=1))) == [PENDING_LIMIT - 1]
    kept.close()


def test_a_disk_that_fails_is_told_and_the_next_batch_is_tried_again(tmp_path: Path) -> None:
    file = tmp_path / "history.sqlite3"
    kept = filled(Book(file, rows=1000, days=1), line(1))
    found(kept)
    other = sqlite3.connect(file)
    other.execute("ALTER TABLE events RENAME TO gone")
    kept.add_event("handshake", time.time(), line(2), {})
    with pytest.raises(sqlite3.OperationalError):
        found(kept)
    assert (kept.dropped, str(kept.error)) == (1, "no such table: events")
    other.execute("ALTER TABLE gone RENAME TO events")
    other.close()
    kept.add_event("handshake", time.time(), line(3), {})
    assert ids(found(kept)) == [3, 1]
    assert (kept.dropped, kept.error) == (1, None)
    kept.close()


def test_a_batch_is_written_whole_or_not_at_all(book: Book) -> None:
    insert = "INSERT INTO events (id, kind, at, line, detail) VALUES (?, 'handshake', 0, ?, '{}')"
    with pytest.raises(sqlite3.IntegrityError):
        book.write([(insert, ("1", "{}")), (insert, ("2", None))])
    assert book.find(Query()) == []
    book.write([(insert, ("1", "{}"))])
    assert len(book.find(Query())) == 1
    book.close()


def test_a_row_that_sqlite_cannot_hold_is_counted(book: Book) -> None:
    kept = filled(book, line(1, call_sid="\ud800"))
    assert found(kept) == []
    assert kept.dropped == 1
    assert kept.error is not None
    kept.close()


def test_closing_writes_what_is_pending(tmp_path: Path) -> None:
    file = tmp_path / "history.sqlite3"
    filled(Book(file, rows=1000, days=1), line(1)).close()
    reading = open_for_reading(file)
    assert ids(reading.find(Query())) == [1]
    reading.close()


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX's")
def test_the_file_and_its_folder_are_its_owners_alone(tmp_path: Path) -> None:
    file = tmp_path / "state" / "hopscope" / "history.sqlite3"
    kept = filled(Book(file, rows=1000, days=1), line(1))
    found(kept)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in file.parent.iterdir()}
    assert modes == {
        "history.sqlite3": 0o600,
        "history.sqlite3-wal": 0o600,
        "history.sqlite3-shm": 0o600,
    }
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    kept.close()


def test_the_default_file_belongs_to_the_users_state(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert default_file().name == "history.sqlite3"
    if sys.platform == "linux":
        assert default_file() == tmp_path / "hopscope" / "history.sqlite3"


def test_a_book_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "history.sqlite3"
    newer = sqlite3.connect(file)
    newer.execute("PRAGMA user_version=2")
    newer.close()
    with pytest.raises(HistoryError, match=r"written by a newer hopscope; name another file"):
        Book(file, rows=1000, days=1)
    again = sqlite3.connect(file)
    assert again.execute("SELECT name FROM sqlite_master").fetchall() == []
    again.close()


def test_a_file_that_is_no_book_is_refused_with_what_to_do(tmp_path: Path) -> None:
    file = tmp_path / "history.sqlite3"
    file.write_text("Dear diary, " * 100)
    with pytest.raises(HistoryError) as refused:
        Book(file, rows=1000, days=1)
    assert str(refused.value) == (
        f"{file}: file is not a database; name another file, or run without history"
    )


def test_a_folder_that_cannot_be_made_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(HistoryError, match="name another file, or run without history"):
        Book(tmp_path / "file" / "history.sqlite3", rows=1000, days=1)


def test_a_book_that_is_not_there_cannot_be_read_and_is_not_made(tmp_path: Path) -> None:
    file = tmp_path / "history.sqlite3"
    with pytest.raises(HistoryError, match="`hopscope proxy` writes one as it runs"):
        open_for_reading(file)
    assert not file.exists()


def test_reading_sees_what_another_writes_and_disturbs_it_not(tmp_path: Path) -> None:
    file = tmp_path / "history.sqlite3"
    writing = filled(Book(file, rows=1000, days=1), line(1))
    found(writing)
    reading = open_for_reading(file)
    assert ids(reading.find(Query())) == [1]
    for number in range(2, 30):
        writing.add_event("handshake", time.time(), line(number), {})
        assert ids(found(writing, Query(limit=1))) == [number]
        assert ids(reading.find(Query(limit=1))) == [number]
    assert (writing.dropped, writing.error) == (0, None)
    reading.close()
    writing.close()
