"""The life of one upgraded connection: what each sender sent, who ended it, and how.

A session ends once, for the first reason that applies: a Close frame answered or followed by the
end of the stream, an EOF without one, a reset, a time limit, or the drain of the sidecar.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from proxy.capture import Capture
from proxy.frames import OPCODES, TEXT, CloseSeen, FrameReader, Seen, WentBlind
from proxy.media import MESSAGE_LIMIT, SERVER_MESSAGE_LIMIT, MediaReader, Sampling

Sender = Literal["client", "server"]
Ending = Literal["close_handshake", "eof_without_close", "reset", "timeout", "drain"]
SENDERS: tuple[Sender, Sender] = ("client", "server")


@dataclass(frozen=True, slots=True)
class Close:
    """A Close frame and who sent it."""

    sender: Sender
    code: int | None
    reason: str


class Session:
    """Everything known about one session. `id` is its handshake's; times are on a steady clock."""

    __slots__ = (
        "blind",
        "capture",
        "closes",
        "ended_at",
        "ended_by",
        "ending",
        "eof_from",
        "id",
        "ingress",
        "media",
        "readers",
        "route",
        "sampling",
        "started_at",
    )

    def __init__(
        self,
        session_id: str,
        route: str,
        ingress: str,
        now: float,
        *,
        is_websocket: bool = True,
        sampling: Sampling | None = None,
    ) -> None:
        self.id = session_id
        self.route = route
        self.ingress = ingress
        self.started_at = now
        self.readers = {
            "client": FrameReader(now, is_client=True),
            "server": FrameReader(now, is_client=False),
        }
        self.media = MediaReader()
        self.sampling = sampling or Sampling()  # asked once, if this is a Twilio stream
        self.capture: Capture | None = None  # of its payloads, where somebody asked for it
        self.closes: list[Close] = []  # the first of each sender, in the order they were seen
        self.blind: list[tuple[Sender, WentBlind]] = []
        self.eof_from: list[Sender] = []
        self.ended_by: Sender | Literal["sidecar"] | None = None
        self.ending: Ending | None = None
        self.ended_at: float | None = None
        if is_websocket:
            self.readers["client"].text_limit = MESSAGE_LIMIT
            self.readers["client"].on_text = self._receive_first_text
        else:
            for sender in SENDERS:
                self.readers[sender].blind = "the 101 did not switch to websocket"

    def receive_data(self, sender: Sender, data: bytes, now: float) -> None:
        """Read bytes that were already passed on."""
        self.receive_seen(sender, self.reading(sender)(data, now), now)

    def reading(self, sender: Sender) -> Callable[[bytes, float], Sequence[Seen]]:
        """What takes a sender's bytes; the relay keeps it at hand for its hot path."""
        if self.capture is None:
            return self.readers[sender].receive_data
        return partial(self._receive_captured, self.capture, sender)

    def _receive_captured(
        self, capture: Capture, sender: Sender, data: bytes, now: float
    ) -> Sequence[Seen]:
        capture.receive_data(sender, data, now)
        return self.readers[sender].receive_data(data, now)

    def receive_seen(self, sender: Sender, what: Sequence[Seen], now: float) -> None:
        """Take what a sender's reader found worth a closer look."""
        for seen in what:
            if isinstance(seen, CloseSeen):
                if all(close.sender != sender for close in self.closes):
                    self.closes.append(Close(sender, seen.code, seen.reason))
            else:
                self.blind.append((sender, seen))

    def lose_sight(self, sender: Sender, defect: str) -> None:
        """Go blind for a reason of our own: the reader failed on bytes it should have followed."""
        reader = self.readers[sender]
        reader.blind = f"the reader failed: {defect}"
        self.blind.append((sender, WentBlind(reader.blind, reader.wire_bytes)))

    def receive_eof(self, sender: Sender) -> None:
        if sender not in self.eof_from:
            self.eof_from.append(sender)

    def end(self, ending: Ending, by: Sender | Literal["sidecar"], now: float) -> None:
        """Record why the session ends; the first reason stands."""
        if self.ending is not None:
            return
        self.ending, self.ended_by, self.ended_at = ending, by, now

    def end_quietly(self, now: float) -> None:
        """Both streams have ended: by the Close that started it, or by whose EOF came first."""
        if self.closes:
            self.end("close_handshake", self.closes[0].sender, now)
        else:
            self.end("eof_without_close", (self.eof_from or ["client"])[0], now)

    def end_reset(self, by: Sender, now: float) -> None:
        """A reset after a Close is how impatient peers finish; without one it is the ending."""
        if self.closes:
            self.end("close_handshake", self.closes[0].sender, now)
        else:
            self.end("reset", by, now)

    def _receive_first_text(self, payload: bytes, now: float) -> None:
        """The client's first message decides whether messages are worth reading at all."""
        client, server = self.readers["client"], self.readers["server"]
        if not self.media.decide(payload):
            client.on_text, client.text_limit = None, 0
            return
        self.media.read = self.sampling.take()
        if self.media.is_read:
            client.on_text, server.on_text = (
                self.media.receive_from_client,
                self.media.receive_from_server,
            )
            server.text_limit = SERVER_MESSAGE_LIMIT
            # What came before could not name the stream: it is none of its messages.
            self.media.others["server"] = server.frames[TEXT]
        else:
            client.on_text = self._receive_names
        client.on_text(payload, now)

    def _receive_names(self, payload: bytes, _now: float) -> None:
        """Of a stream that is not read, take whose it is, and then look at its frames only."""
        if self.media.receive_names(payload):
            self.readers["client"].on_text, self.readers["client"].text_limit = None, 0

    @property
    def last_at(self) -> float:
        """When either sender was last heard."""
        return max(reader.last for reader in self.readers.values())

    def line(self, now: float) -> dict[str, Any]:
        """The fields of the `session` log line; of a running session so far."""
        end = self.ended_at if self.ended_at is not None else now
        first = self.closes[0] if self.closes else None
        line: dict[str, Any] = {
            "id": self.id,
            "route": self.route,
            "ingress": self.ingress,
            "duration_s": round(end - self.started_at, 3),
            "frames": {sender: _by_opcode(self.readers[sender].frames) for sender in SENDERS},
            "bytes": {
                sender: _by_opcode(self.readers[sender].payload, self.readers[sender].frames)
                for sender in SENDERS
            },
            "wire_bytes": {sender: self.readers[sender].wire_bytes for sender in SENDERS},
            "close_code": first and first.code,
            "close_reason": first and first.reason,
            "close_sender": first and first.sender,
            "closes": [
                {"sender": close.sender, "code": close.code, "reason": close.reason}
                for close in self.closes
            ],
            "ended_by": self.ended_by,
            "ending": self.ending,
            "eof_from": list(self.eof_from),
            "longest_silence_s": {sender: self._longest_silence(sender, end) for sender in SENDERS},
            "mask_misfits": {sender: self.readers[sender].mask_misfits for sender in SENDERS},
            "blind": {sender: self.readers[sender].blind for sender in SENDERS},
        }
        if self.media.is_twilio:
            line |= self.media.line({sender: self._texts(sender) for sender in SENDERS})
        return line

    def _texts(self, sender: Sender) -> int | None:
        """Text messages of a sender that have come to their end; None once its reader is blind."""
        reader = self.readers[sender]
        is_within = bool(reader.bytes_to_boundary)
        return None if reader.blind else max(reader.frames[TEXT] - is_within, 0)

    def _longest_silence(self, sender: Sender, end: float) -> float:
        reader = self.readers[sender]
        return round(max(reader.longest_gap, end - reader.last), 3)


def _by_opcode(counts: list[int], seen: list[int] | None = None) -> dict[str, int]:
    """Counts by opcode name, of the opcodes that were seen; text always, since it is looked for."""
    seen = counts if seen is None else seen
    return {
        OPCODES.get(opcode, f"reserved_{opcode:x}"): count
        for opcode, count in enumerate(counts)
        if seen[opcode] or opcode == TEXT
    }
