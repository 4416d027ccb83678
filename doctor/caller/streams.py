"""The streams of one call: opened, reported to their statusCallback, ended with the call."""

import asyncio
import ssl
from collections.abc import Callable
from typing import Any, Literal

from doctor.addresses import BadUrl, Detour, parse_stream_url
from doctor.caller.dialogue import Dialogue
from doctor.caller.forms import Party, stream_form
from doctor.caller.messages import Track
from doctor.caller.outcome import CallReport
from doctor.caller.recording import StereoRecording
from doctor.caller.stream import MediaStream, StreamPlan, StreamReport
from doctor.caller.verbs import Stream
from doctor.caller.webhooks import FetchFailed, Webhooks
from doctor.dial import Patience
from doctor.errors import Objection
from doctor.signing import Signer, new_sid

_TRACKS: dict[str, tuple[Track, ...]] = {
    "inbound_track": ("inbound",),
    "outbound_track": ("outbound",),
    "both_tracks": ("inbound", "outbound"),
}
Notice = Callable[..., None]


class CallStreams:
    """`notice` is told (event, **fields) of what happens."""

    def __init__(
        self,
        party: Party,
        webhooks: Webhooks,
        signer: Signer,
        way: tuple[Detour, ssl.SSLContext, Patience],
        report: CallReport,
        notice: Notice,
        on_progress: Callable[[float], None],
        *,
        may_be_plain: bool,
        recording: StereoRecording | None,
        began: float,
    ) -> None:
        self._party = party
        self._webhooks = webhooks
        self._signer = signer
        self._way = way
        self._report = report
        self._notice = notice
        self._on_progress = on_progress
        self._may_be_plain = may_be_plain
        self._recording = recording
        self._began = began
        self._sides: dict[str, tuple[MediaStream, asyncio.Task[None]]] = {}
        # Callbacks are sent in order and never hold up the call.
        self._outbox: asyncio.Queue[tuple[Stream, str | None, dict[str, str]] | None] = (
            asyncio.Queue()
        )
        self._sending = asyncio.create_task(self._send_callbacks())
        self._two_way: MediaStream | None = None

    async def converse(self, stream: Stream, base: str | None, dialogue: Dialogue) -> StreamReport:
        """<Connect><Stream>: run until one side ends it."""
        media = self._prepare(stream, base, dialogue, is_two_way=True)
        if isinstance(media, StreamReport):
            return media
        self._two_way = media
        try:
            await self._run(media, stream, base)
        finally:
            self._two_way = None
        return media.report

    def start(self, stream: Stream, base: str | None, dialogue: Dialogue) -> None:
        """<Start><Stream>: run beside the call."""
        media = self._prepare(stream, base, dialogue, is_two_way=False)
        if isinstance(media, MediaStream):
            name = stream.name or media.report.stream_sid
            self._sides[name] = media, asyncio.create_task(self._run(media, stream, base))

    def hang_up(self) -> bool:
        """End the two-way stream as the caller does; False where it is not open yet."""
        if self._two_way is None or self._two_way.report.status is None:
            return False
        self._two_way.hang_up()
        return True

    async def stop(self, name: str | None) -> None:
        """<Stop><Stream>: the one of that name, or all."""
        chosen = [key for key in self._sides if name in (None, key)]
        for key in chosen:
            self._sides[key][0].hang_up()
        for key in chosen:
            await self._sides.pop(key)[1]

    def play(self, audio: bytes) -> None:
        """What the call plays to the caller, for streams that carry it."""
        for media, _ in self._sides.values():
            media.play(audio)

    async def close(self) -> None:
        """End what runs, and send what is still to be told."""
        await self.stop(None)
        self._outbox.put_nowait(None)
        await self._sending

    def abort(self) -> None:
        self._sending.cancel()
        for _, task in self._sides.values():
            task.cancel()

    def _prepare(
        self, stream: Stream, base: str | None, dialogue: Dialogue, *, is_two_way: bool
    ) -> MediaStream | StreamReport:
        stream_sid = new_sid("MZ")
        try:
            target, remark = parse_stream_url(stream.url, base, may_be_plain=self._may_be_plain)
            if is_two_way and stream.track != "inbound_track":
                raise BadUrl(31941, f"<Connect><Stream> asks for {stream.track}")
        except BadUrl as refusal:
            report = StreamReport(stream.url, stream_sid, is_two_way)
            report.error_code, report.saw = refusal.code, refusal.saw
            self._note(report, stream, base)
            return report
        if remark is not None:
            self._report.warn(remark)
        detour = self._way[0]
        if detour.connect_to is not None and target.address.host != detour.host:
            saw = f"the stream's host, {target.address.host}, is dialled as it is: --connect-to "
            self._report.warn(Objection(None, f"{saw}is for {detour.host}"))
        plan = StreamPlan(
            target,
            self._signer.sign(target.url),
            self._party.account_sid,
            self._party.call_sid,
            stream_sid,
            is_two_way,
            _TRACKS[stream.track],
            stream.parameters,
        )

        def spoke(number: int, share: float) -> None:
            self._notice("caller_speaks", number=number, stream_sid=stream_sid)
            self._on_progress(share)

        def opened() -> None:
            self._notice("stream_opened", url=target.url, stream_sid=stream_sid)
            self._tell(stream, base, stream_sid, "stream-started")

        return MediaStream(
            plan,
            dialogue,
            *self._way,
            recording=self._recording if is_two_way else None,
            call_began=self._began,
            on_open=opened,
            on_turn=spoke,
        )

    async def _run(self, media: MediaStream, stream: Stream, base: str | None) -> None:
        try:
            await media.run()
        finally:
            self._note(media.report, stream, base)

    def _note(self, report: StreamReport, stream: Stream, base: str | None) -> None:
        """Keep a stream's end, and tell it."""
        self._report.streams.append(report)
        self._report.warn(*report.objections)
        fields: dict[str, Any] = {"status": report.status, "ended_by": report.ended_by}
        self._notice("stream_ended", **fields, error_code=report.error_code, saw=report.saw)
        if report.error_code is not None:
            self._report.fail(report.error_code, report.saw)
            self._tell(stream, base, report.stream_sid, "stream-error", report.error_code)
        if report.status == 101:
            self._tell(stream, base, report.stream_sid, "stream-stopped")

    def _tell(
        self,
        stream: Stream,
        base: str | None,
        stream_sid: str,
        event: Literal["stream-started", "stream-stopped", "stream-error"],
        code: int | None = None,
    ) -> None:
        if stream.status_callback is not None:
            form = stream_form(self._party, stream_sid, stream.name, event, code)
            self._outbox.put_nowait((stream, base, form))

    async def _send_callbacks(self) -> None:
        while (item := await self._outbox.get()) is not None:
            stream, base, form = item
            url = stream.status_callback or ""
            try:
                await self._webhooks.fetch(url, stream.status_callback_method, form, base)
            except FetchFailed as failure:
                code = 15003 if failure.status is not None else failure.code
                self._report.warn(Objection(code, f"statusCallback of the stream: {failure.saw}"))
