"""TwiML's verbs, obeyed in order.

What Twilio does with sound, a simulated caller does with time: <Say> is silence for as long as the
text would take, and its text is kept; <Play> is fetched and recorded. The caller's own voice is
heard on the streams.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from doctor.caller import verbs
from doctor.caller.clip import UnreadableClip, read_clip
from doctor.caller.dialogue import DIGIT_S, Dialogue, Manners
from doctor.caller.documents import Document
from doctor.caller.line import Line
from doctor.caller.outcome import CallReport
from doctor.caller.recording import StereoRecording
from doctor.caller.streams import CallStreams
from doctor.caller.webhooks import Fetched, FetchFailed
from doctor.errors import Objection
from gateway.g711 import seconds

VERBS_LIMIT = 1000
SAY_LEAST_S = 0.5
UNREADABLE_S = 2.0  # what stands for audio that cannot be decoded here
ONE_WAY = Manners(greeting_s=0.5, answer_s=1.0)  # nobody answers on a one-way stream


@dataclass(frozen=True, slots=True)
class Source:
    """Where the next TwiML comes from: an address, relative to `base`, or the TwiML itself."""

    url: str | None = None
    method: str = "POST"
    extra: Mapping[str, str] = field(default_factory=dict)
    base: str | None = None
    twiml: str | None = None
    is_audio: bool = False


class CallEnded(Exception):  # noqa: N818 - a way out of the document, not an error
    def __init__(self, by: Literal["agent", "caller", "rejected"]) -> None:
        super().__init__(by)
        self.by = by


@dataclass(slots=True)
class Interpreter:
    """Obeys for one call. `says` and `digits` are the caller's; digits are dialled once."""

    says: tuple[bytes, ...]
    digits: str
    manners: Manners
    say_letters_s: float
    follow_streams: bool
    line: Line
    streams: CallStreams
    fetch: Callable[[Source], Awaitable[Fetched]]
    recording: StereoRecording | None
    report: CallReport
    began: float
    notice: Callable[..., None]
    _clips: dict[str, bytes] = field(default_factory=dict)

    async def obey(self, document: Document, base: str | None) -> Source | None:
        """Go through a document; where the call goes on, or None at its end.

        Raises CallEnded, Interrupted.
        """
        for verb in document.verbs[:VERBS_LIMIT]:
            self.line.check()
            source = await self._obey(verb, base)
            if source is not None:
                return source
        return None

    async def _obey(self, verb: verbs.Verb, base: str | None) -> Source | None:
        match verb:
            case verbs.Say() | verbs.Play() | verbs.Pause():
                await self._prompt(verb, base)
            case verbs.Gather():
                return await self._gather(verb, base)
            case verbs.Redirect(url, method):
                return Source(url or base, method, base=base)
            case verbs.Hangup():
                raise CallEnded("agent")
            case verbs.Reject(reason):
                self.notice("rejected", reason=reason)
                raise CallEnded("rejected")
            case verbs.Connect():
                return await self._connect(verb, base)
            case verbs.Start(stream):
                if self.follow_streams:
                    self.streams.start(stream, base, Dialogue(self.says, "", ONE_WAY))
            case verbs.Stop(name):
                await self.streams.stop(name)
            case verbs.NotSimulated(name, because, action, method):
                self.report.warn(Objection(None, f"<{name}> is not simulated: {because}"))
                if name == "Dial" and action is not None:
                    return Source(action, method, {"DialCallStatus": "failed"}, base)
        return None

    async def _connect(self, verb: verbs.Connect, base: str | None) -> Source | None:
        if not self.follow_streams:
            self.notice("stream_not_followed", url=verb.stream.url)
            return None
        dialogue = Dialogue(self.says, self.digits, self.manners)
        self.digits = ""
        conversing = self.streams.converse(verb.stream, base, dialogue)
        report = await self.line.run(conversing, self.streams.hang_up)
        if report.ended_by == "caller":
            raise CallEnded("caller")
        return None if verb.action is None else Source(verb.action, verb.method, base=base)

    async def _prompt(self, verb: verbs.Prompt, base: str | None) -> None:
        match verb:
            case verbs.Say(text, loop):
                self.report.said.append(text)
                self.notice("said", text=text)
                once_s = max(len(text) / self.say_letters_s, SAY_LEAST_S)
                await self.line.wait(once_s * loop)
            case verbs.Pause(length_s):
                await self.line.wait(length_s)
            case verbs.Play(digits=digits) if digits:
                await self.line.wait(len(digits) * DIGIT_S)
            case verbs.Play(loop=loop):
                audio = await self._clip(verb, base)
                for _ in range(loop):
                    await self._play(audio)

    async def _play(self, audio: bytes) -> None:
        if self.recording is not None:
            at_s = asyncio.get_running_loop().time() - self.began
            self.recording.add("agent", audio, at_s)
        self.streams.play(audio)
        await self.line.wait(seconds(audio) or SAY_LEAST_S)

    async def _clip(self, verb: verbs.Play, base: str | None) -> bytes:
        """The audio of a <Play>; nothing where there is none that can be read."""
        data, content_type = verb.audio, verb.content_type
        if verb.url in self._clips:
            return self._clips[verb.url]
        try:
            if not data:
                fetched = await self.fetch(Source(verb.url, "GET", base=base, is_audio=True))
                data, content_type = fetched.body, fetched.content_type or ""
                if not content_type.lower().startswith("audio/"):
                    self.report.fail(13420, f"<Play> got {content_type or 'no Content-Type'}")
                    return b""
            audio = read_clip(data, content_type)
        except FetchFailed as failure:
            self.report.fail(failure.code, f"<Play>: {failure.saw}")
            return b""
        except UnreadableClip as clip:
            saw = f"<Play> of {content_type} is recorded as silence: {clip}"
            self.report.warn(Objection(None, saw))
            await self.line.wait(UNREADABLE_S)
            return b""
        self.notice("played", url=verb.url, seconds=round(seconds(audio), 2))
        if verb.url:
            self._clips[verb.url] = audio
        return audio

    async def _gather(self, verb: verbs.Gather, base: str | None) -> Source | None:
        for prompt in verb.prompts:
            await self._prompt(prompt, base)
        pressed = self._pressed(verb) if verb.takes_digits else ""
        extra = {"Digits": pressed}
        if pressed:
            await self.line.wait(len(pressed) * DIGIT_S)
            self.notice("pressed", digits=pressed)
        else:
            await self.line.wait(verb.timeout_s)
            if not verb.action_on_empty:
                return None
        return Source(verb.action or base, verb.method, extra, base)

    def _pressed(self, verb: verbs.Gather) -> str:
        """The digits that a <Gather> takes of those that the caller has to dial."""
        digits = self.digits.replace("w", "")
        finish = digits.find(verb.finish_on_key) if verb.finish_on_key else -1
        limit = verb.num_digits or len(digits)
        if 0 <= finish < limit:
            pressed, taken = digits[:finish], finish + 1
        else:
            pressed, taken = digits[:limit], limit
        self.digits = digits[taken:]
        return pressed
