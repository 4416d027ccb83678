"""What happened, kept on disk: SQLite in WAL mode, written by a thread in batches.

Nothing waits for it. Rows gather in memory for at most half a second; a kill -9 loses those and
no more, since SQLite's log survives the death of its writer. Several processes may write to one
file, a sidecar and a voice gateway say: each batch is one short transaction, and waits its turn.
Without a file the same tables live in memory, so that the admin address answers alike with
--no-history.
"""

import asyncio
import json
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from platformdirs import user_state_path

# Rows that wait for a disk that does not answer; beyond that they are counted and dropped.
PENDING_LIMIT = 5000
MEMORY_ROWS = 1000
_PRUNE_EVERY_S = 60.0
_BUSY_S = 5.0
_SWITCH_AGAIN_S = 0.01
_SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    id TEXT PRIMARY KEY,        -- of the exchange or the phone call; sorts by time
    kind TEXT NOT NULL,         -- handshake, request, call or twilio_error
    at REAL NOT NULL,           -- epoch seconds
    ingress TEXT, outcome TEXT, call_sid TEXT,
    line TEXT NOT NULL,         -- the log line, JSON
    detail TEXT NOT NULL,       -- what only the full view shows, both heads say; JSON
    session TEXT                -- the line of the session that followed, once it has ended
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS events_at ON events (at);
CREATE INDEX IF NOT EXISTS events_call ON events (call_sid) WHERE call_sid IS NOT NULL;
"""
_VERSION = 1
CALL = "call"  # the kind of a phone call's row
TWILIO_ERROR = "twilio_error"  # ... of what Twilio's debugger told the gateway
# What any stranger can make us write, as often as they like: it is given half of the rows.
_STRANGERS = "kind IN ('handshake', 'request') AND outcome != 'upgraded' AND call_sid IS NULL"
HANDSHAKES_LIMIT = 100  # of one phone call, in its full view


class HistoryError(Exception):
    """The history file can't be used; str() says why and what to do."""


@dataclass(frozen=True, slots=True)
class Query:
    """Which rows to list, newest first. `before` is the id that the last page ended with."""

    kind: str | None = "handshake"
    limit: int = 50
    before: str | None = None
    ingress: str | None = None
    outcome: str | None = None
    call_sid: str | None = None


def default_file() -> Path:
    return user_state_path("hopscope", appauthor=False) / "history.sqlite3"


class Book:
    """The tables. Used from one thread at a time; `rows` and `days` bound what is kept."""

    def __init__(self, file: Path | None, *, rows: int, days: float) -> None:
        self._rows, self._days = rows, days
        try:
            self._db = _open(file)
        except (OSError, sqlite3.Error) as error:
            raise HistoryError(
                f"{file}: {error}; name another file, or run without history"
            ) from None

    def write(self, rows: list[tuple[str, tuple[Any, ...]]]) -> None:
        """Execute statements in one transaction."""
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            for statement, values in rows:
                self._db.execute(statement, values)

    def prune(self, now: float) -> None:
        """Delete what is too old or too much; a flood of refusals leaves the calls alone."""
        with self._db:
            self._db.execute("DELETE FROM events WHERE at < ?", (now - self._days * 86400,))
            for which, rows in ((_STRANGERS, self._rows // 2), ("TRUE", self._rows)):
                self._db.execute(
                    f"DELETE FROM events WHERE {which} AND id <= "  # noqa: S608 - ours
                    f"(SELECT id FROM events WHERE {which} ORDER BY id DESC LIMIT 1 OFFSET ?)",
                    (rows,),
                )

    def find(self, query: Query) -> list[dict[str, Any]]:
        """The matching rows: `kind`, the log line, and `session` where one has ended."""
        wanted = {
            "kind": query.kind,
            "ingress": query.ingress,
            "outcome": query.outcome,
            "call_sid": query.call_sid,
        }
        wanted = {name: value for name, value in wanted.items() if value is not None}
        where = [f"{name} = ?" for name in wanted]
        values: list[Any] = list(wanted.values())
        if query.before is not None:
            where.append("id < ?")
            values.append(query.before)
        clause = f"WHERE {' AND '.join(where)}" if where else ""
        rows = self._db.execute(
            f"SELECT kind, line, session FROM events {clause} ORDER BY id DESC LIMIT ?",  # noqa: S608 - names are ours
            (*values, query.limit),
        )
        return [_merged(*row) for row in rows]

    def get(self, name: str) -> dict[str, Any] | None:
        """One row with all that is kept of it, or None. `name` is its id, or a CallSid.

        A CallSid names its phone call, or else the newest handshake of it. A phone call comes
        with its `handshakes`, newest first.
        """
        columns = "SELECT kind, line, session, detail, call_sid FROM events"
        row = self._db.execute(f"{columns} WHERE id = ?", (name,)).fetchone()
        if row is None:
            kinds = "kind = 'call' DESC, kind = 'handshake' DESC, id DESC"
            row = self._db.execute(
                f"{columns} WHERE call_sid = ? ORDER BY {kinds} LIMIT 1", (name,)
            ).fetchone()
        if row is None:
            return None
        kind, line, session, detail, call_sid = row
        told: dict[str, Any] = _merged(kind, line, session) | json.loads(detail)
        if kind == CALL:
            query = Query(limit=HANDSHAKES_LIMIT, call_sid=call_sid)
            told["handshakes"] = self.find(query) if call_sid is not None else []
        return told

    def close(self) -> None:
        self._db.close()


def _open(file: Path | None) -> sqlite3.Connection:
    """The database with our tables in it. Raises OSError, sqlite3.Error, HistoryError."""
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        file.touch(mode=0o600)
    db = sqlite3.connect(
        file or ":memory:", timeout=_BUSY_S, isolation_level=None, check_same_thread=False
    )
    try:
        _prepare(db, file)
    except BaseException:
        db.close()
        raise
    return db


def _prepare(db: sqlite3.Connection, file: Path | None) -> None:
    if file is not None:
        _write_ahead(db)
        # NORMAL may lose the last commits with the power, never with the process.
        db.execute("PRAGMA synchronous=NORMAL")
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version not in (0, _VERSION):
        raise HistoryError(
            f"{file} was written by a newer hopscope; name another file in [history]"
        )
    db.executescript(_SCHEMA)
    if version != _VERSION:
        db.execute(f"PRAGMA user_version={_VERSION}")


def _write_ahead(db: sqlite3.Connection) -> None:
    """Switch to WAL mode, for which SQLite does not wait its turn as it does for all else."""
    deadline = time.monotonic() + _BUSY_S
    while True:
        try:
            db.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline:
                raise
            time.sleep(_SWITCH_AGAIN_S)
        else:
            return


def open_for_reading(file: Path) -> Book:
    """The book of a sidecar that may be running. Raises HistoryError if there is none."""
    if not file.is_file():
        raise HistoryError(f"no history at {file}; `hopscope proxy` writes one as it runs")
    return Book(file, rows=1 << 60, days=1e6)


class History:
    """A book with a thread that writes it and answers questions about it."""

    def __init__(self, book: Book) -> None:
        self.dropped = 0
        self.error: str | None = None  # why the last batch could not be written
        self._book = book
        self._pending: list[tuple[str, tuple[Any, ...]]] = []
        self._lock = threading.Lock()
        self._thread = ThreadPoolExecutor(1, "history")
        self._pruned_at = 0.0

    def add_event(self, kind: str, at: float, line: dict[str, Any], detail: dict[str, Any]) -> None:
        """Keep a row; one of the same id is replaced. `line` has `id`, and what filters look for.

        `at` is an epoch second. A phone call is of kind `CALL`, and has a `call_sid`.
        """
        wanted = (line.get(name) for name in ("ingress", "outcome", "call_sid"))
        values = (line["id"], kind, at, *wanted)
        self._add(
            "INSERT OR REPLACE INTO events (id, kind, at, ingress, outcome, call_sid, line, detail)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (*values, json.dumps(line), json.dumps(detail)),
        )

    def add_session(self, line: dict[str, Any]) -> None:
        self._add(
            "UPDATE events SET session = ?, call_sid = coalesce(?, call_sid) WHERE id = ?",
            (json.dumps(line), line.get("call_sid"), line["id"]),
        )

    def flush(self) -> None:
        """Let the thread write what is pending; the sidecar calls it every TICK_S."""
        if self._pending:
            self._thread.submit(self._write)

    async def find(self, query: Query) -> list[dict[str, Any]]:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._find, query)

    async def get(self, name: str) -> dict[str, Any] | None:
        """As `Book.get`."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._get, name)

    def close(self) -> None:
        self._thread.submit(self._write)
        self._thread.submit(self._book.close)
        self._thread.shutdown(wait=True)

    def _add(self, statement: str, values: tuple[Any, ...]) -> None:
        with self._lock:
            if len(self._pending) >= PENDING_LIMIT:
                self.dropped += 1
            else:
                self._pending.append((statement, values))

    def _write(self) -> None:
        with self._lock:
            rows, self._pending = self._pending, []
        try:
            if rows:
                self._book.write(rows)
            now = time.time()
            if now - self._pruned_at >= _PRUNE_EVERY_S:
                self._pruned_at = now
                self._book.prune(now)
            self.error = None
        except (sqlite3.Error, ValueError) as error:
            self.dropped += len(rows)
            self.error = str(error)

    def _find(self, query: Query) -> list[dict[str, Any]]:
        self._write()
        return self._book.find(query)

    def _get(self, name: str) -> dict[str, Any] | None:
        self._write()
        return self._book.get(name)


def _merged(kind: str, line: str, session: str | None) -> dict[str, Any]:
    row: dict[str, Any] = {"kind": kind} | json.loads(line)
    if kind not in (CALL, TWILIO_ERROR):
        row["session"] = json.loads(session) if session else None
    return row
