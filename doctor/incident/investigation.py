"""Both sides of a call asked: Twilio, and the sidecar that has recorded it."""

import os
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from doctor.incident.timeline import CallStory, tell
from doctor.probing.sidecar import AdminAddress, Unavailable

Row = Mapping[str, Any]


class Told(Protocol):
    """What Twilio said of a call. `credentials`: accepted, missing or refused."""

    @property
    def credentials(self) -> str: ...
    @property
    def records(self) -> Mapping[str, Any] | None: ...
    @property
    def problems(self) -> Sequence[str]: ...


class Account(Protocol):
    async def ask(self, call_sid: str, stream_sids: Collection[str]) -> Told: ...


class Sidecar(Protocol):
    """The records of a sidecar."""

    async def rows_of(self, call_sid: str) -> tuple[Sequence[Row] | None, str]:
        """All rows of a call; or None, and why they cannot be had."""

    async def row(self, row_id: str) -> Row | None: ...


class RunningSidecar:
    """One that is asked at its admin address."""

    def __init__(self, url: str) -> None:
        self._admin = AdminAddress(url, os.environ.get("HOPSCOPE_ADMIN_TOKEN") or None)

    async def rows_of(self, call_sid: str) -> tuple[Sequence[Row] | None, str]:
        try:
            return await self._admin.rows_of(call_sid), ""
        except Unavailable as error:
            return None, f"the sidecar: {error}"

    async def row(self, row_id: str) -> Row | None:
        try:
            return await self._admin.row(row_id)
        except Unavailable:
            return None


async def investigate(call_sid: str, sidecar: Sidecar, account: Account) -> tuple[CallStory, str]:
    """The story; or, in place of it, what is wrong with the credentials."""
    rows, problem = await sidecar.rows_of(call_sid)
    streams = {str((row.get("session") or {}).get("stream_sid")) for row in rows or ()} - {"None"}
    told = await account.ask(call_sid, streams)
    refusal = ""
    if told.credentials == "refused" or (told.credentials == "missing" and not rows):
        refusal = "; ".join(told.problems)
        if told.credentials == "missing":
            refusal += f"; and {problem or 'the sidecar has nothing of this call'}"
    notes = [*([problem] if problem else []), *told.problems]
    story = tell(call_sid, told.records, rows, notes)
    more = await _named(story, rows or (), sidecar)
    # Of a handshake that was refused, often only its stamp says whose it was.
    return (tell(call_sid, told.records, [*(rows or ()), *more], notes) if more else story), refusal


async def _named(story: CallStory, rows: Sequence[Row], sidecar: Sidecar) -> list[Row]:
    """The records that stamps name and that are not known to be of the call."""
    known = {row.get("id") for row in rows}
    stamps = [each.incident.stamp for each in story.errors]
    ids = dict.fromkeys(stamp.id for stamp in stamps if stamp is not None and stamp.id)
    found = [await sidecar.row(row_id) for row_id in ids if row_id not in known]
    return [row for row in found if row is not None]
