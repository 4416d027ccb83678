"""One simulated call: from the webhook through its TwiML to the report."""

import asyncio
import ssl
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from doctor.addresses import Address, BadUrl, Detour, is_loopback, parse_url
from doctor.caller.dialogue import Manners
from doctor.caller.documents import Document, Refused, read_answer, read_document
from doctor.caller.forms import Direction, Party, call_form
from doctor.caller.interpreter import CallEnded, Interpreter, Source
from doctor.caller.line import Interrupted, Line
from doctor.caller.outcome import EVENTS_LIMIT, CallReport, EndedBy, Webhook
from doctor.caller.recording import StereoRecording
from doctor.caller.requested import BODY_LIMIT, Requested
from doctor.caller.streams import CallStreams
from doctor.caller.webhooks import Fetched, FetchFailed, Webhooks
from doctor.dial import Patience, default_tls
from doctor.errors import Objection
from doctor.exchange import answered_by
from doctor.signing import Signer, new_sid

DOCUMENTS_LIMIT = 50
TWIML_KEPT = 65536
# Numbers that belong to nobody (555-01xx).
FROM_NUMBER, TO_NUMBER = "+12025550143", "+12025550199"


@dataclass(frozen=True, slots=True)
class CallOptions:
    """A call to be placed: to `webhook_url`, or by `twiml` that is there already.

    `says` are sentences in mu-law, said one after the other; `digits` are dialled before them.
    """

    webhook_url: str | None = None
    twiml: str | None = None
    method: str = "POST"
    says: tuple[bytes, ...] = field(default=(), repr=False)
    digits: str = ""
    manners: Manners = field(default_factory=Manners)
    limit_s: float = 60.0
    record: Path | None = None
    connect_to: Address | None = None
    plain: bool = False
    follow_streams: bool = True
    auth_token: str | None = field(default=None, repr=False)
    account_sid: str = ""
    call_sid: str = ""
    from_number: str = FROM_NUMBER
    to_number: str = TO_NUMBER
    direction: Direction = "inbound"
    parameters: Mapping[str, str] = field(default_factory=dict)  # more fields for the first form
    patience: Patience = field(default_factory=Patience)
    tls: ssl.SSLContext | None = None
    say_letters_s: float = 14.0  # how fast <Say> is taken to speak


class SimulatedCall:
    """`run` once. `on_progress` is told the share that was said, `on_event` what happens."""

    def __init__(
        self,
        options: CallOptions,
        on_progress: Callable[[float], None] = lambda _: None,
        on_event: Callable[[dict[str, Any]], None] = lambda _: None,
    ) -> None:
        self._options = options
        self._on_progress = on_progress
        self._on_event = on_event
        self._party = Party(
            options.account_sid or new_sid("AC"),
            options.call_sid or new_sid("CA"),
            options.from_number,
            options.to_number,
            options.direction,
        )
        self._signer = Signer(options.auth_token)
        self._status = "ringing" if options.direction == "inbound" else "in-progress"
        self._line = Line()
        self._ending: EndedBy | None = None
        self._redirection: Source | None = None
        self.report = CallReport(self._party.call_sid, options.auth_token is not None)

    @property
    def call_sid(self) -> str:
        return self._party.call_sid

    def hang_up(self) -> None:
        """End the call, as REST does with Status=completed."""
        self._end("api")

    def redirect(
        self, *, url: str | None = None, twiml: str | None = None, method: str = "POST"
    ) -> None:
        """Leave what is being done for other TwiML, as a REST update does."""
        self._redirection = Source(url, method, twiml=twiml)
        self._line.interrupt()

    async def run(self) -> CallReport:
        """Place the call. Raises OSError, ValueError where the recording cannot be written."""
        options, loop = self._options, asyncio.get_running_loop()
        recording = StereoRecording(options.record) if options.record is not None else None
        self._began = loop.time()
        tls = options.tls or default_tls()
        host, may_be_plain = self._origin()
        way = Detour(host, options.connect_to, options.plain), tls, options.patience
        self._webhooks = Webhooks(self._signer, *way)
        streams = CallStreams(
            self._party,
            self._webhooks,
            self._signer,
            way,
            self.report,
            self._notice,
            self._on_progress,
            may_be_plain=may_be_plain,
            recording=recording,
            began=self._began,
        )
        limit = loop.call_later(options.limit_s, self._end, "limit")
        try:
            self.report.ended_by = await self._follow(self._interpreter(streams, recording))
            await streams.close()
            self.report.duration_s = round(loop.time() - self._began, 3)
            self._notice("call_ended", ended_by=self.report.ended_by)
            if recording is not None:
                self.report.recording = str(recording.finish())
        finally:
            limit.cancel()
            streams.abort()
            if recording is not None:
                recording.discard()
        self._on_progress(1.0)
        return self.report

    def _interpreter(self, streams: CallStreams, recording: StereoRecording | None) -> Interpreter:
        options = self._options
        return Interpreter(
            says=options.says,
            digits=options.digits,
            manners=options.manners,
            say_letters_s=options.say_letters_s,
            follow_streams=options.follow_streams,
            line=self._line,
            streams=streams,
            fetch=self._fetch,
            recording=recording,
            report=self.report,
            began=self._began,
            notice=self._notice,
        )

    def _origin(self) -> tuple[str, bool]:
        """The webhook's host, and whether ws:// may be followed: plain http on loopback."""
        with suppress(BadUrl):
            if self._options.webhook_url is not None:
                target = parse_url(self._options.webhook_url)
                host = target.address.host
                return host, not target.is_secure and is_loopback(host)
        return "", False

    def _end(self, by: EndedBy) -> None:
        self._ending = self._ending or by
        self._line.interrupt()

    def _notice(self, event: str, **fields: Any) -> None:
        at_ms = round((asyncio.get_running_loop().time() - self._began) * 1000, 1)
        told = {"event": event, "at_ms": at_ms, "call_sid": self.call_sid, **fields}
        if len(self.report.events) < EVENTS_LIMIT:
            self.report.events.append(told)
        self._on_event(told)

    async def _follow(self, interpreter: Interpreter) -> EndedBy:
        """One document after the other, until there is none."""
        options = self._options
        source: Source | None = Source(
            options.webhook_url, options.method, options.parameters, twiml=options.twiml
        )
        for _ in range(DOCUMENTS_LIMIT):
            try:
                if source is None:
                    return "agent"
                document, base = await self._read(source)
                source = await interpreter.obey(document, base)
            except CallEnded as end:
                return end.by
            except Interrupted:
                if self._ending is not None:
                    return self._ending
                self._line.resume()
                source, self._redirection = self._redirection, None
            except (FetchFailed, Refused) as failure:
                self.report.fail(failure.code, failure.saw)
                self._notice("application_error", code=failure.code, saw=failure.saw)
                return "error"
        self.report.warn(Objection(None, f"more than {DOCUMENTS_LIMIT} documents: hung up"))
        return "limit"

    async def _read(self, source: Source) -> tuple[Document, str | None]:
        """Get TwiML and read it. Raises FetchFailed, Refused, Interrupted."""
        if source.twiml is not None or source.url is None:
            body, base = (source.twiml or "").encode(), source.base
            self._keep(body)
            document = read_document(body)
        else:
            is_first = self.report.webhook is None
            try:
                fetched = await self._fetch(source)
            except FetchFailed as failure:
                if is_first:
                    telling = {} if failure.head is None else answered_by(failure.head)
                    fields = () if failure.head is None else failure.head.fields
                    webhook = Webhook(source.url, failure.status, failure.ms, telling, fields)
                    self.report.webhook = webhook
                raise
            if is_first:
                self.report.webhook = Webhook(source.url, fetched.status, fetched.ms)
            body, base = fetched.body, fetched.url
            self._keep(body)
            document = read_answer(fetched.content_type, body)
        self.report.warn(*document.objections)
        verbs = [getattr(verb, "name", type(verb).__name__) for verb in document.verbs]
        self._notice("twiml", url=base, verbs=verbs)
        return document, base

    def _keep(self, body: bytes) -> None:
        if self.report.twiml is None:
            self.report.twiml = body[:TWIML_KEPT].decode(errors="replace")

    async def _fetch(self, source: Source) -> Fetched:
        """Ask for TwiML by a form, or for audio without one."""
        form: dict[str, str] = {}
        if not source.is_audio:
            form = call_form(self._party, self._status) | dict(source.extra)
            self._status = "in-progress"
        asking = self._webhooks.fetch(source.url or "", source.method, form, source.base)
        asked = Requested(time.time(), source.method, source.url or source.base or "", form)
        try:
            fetched = await self._line.run(asking)
        except FetchFailed as failure:
            told = replace(asked, status=failure.status, body=failure.saw, ms=failure.ms)
            self.report.requests.append(told)
            raise
        body = fetched.body[:BODY_LIMIT].decode(errors="replace")
        told = replace(asked, status=fetched.status, content_type=fetched.content_type, body=body)
        self.report.requests.append(replace(told, ms=fetched.ms))
        return fetched
