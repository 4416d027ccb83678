"""Reads text/event-stream (HTML standard, section 9.2): bytes in, the data of whole events out.

Only `data` is kept. Names, ids and retry times mean nothing to a chat endpoint.
"""

import re

# Of one event. What is longer is no token of a language model.
EVENT_LIMIT = 1024 * 1024
_LINE_END = re.compile(rb"\r\n|\n|\r")


class EventStream:
    """One stream. `is_blind`: an event was longer than EVENT_LIMIT; nothing is read any more."""

    def __init__(self) -> None:
        self.is_blind = False
        self._buffer = b""
        self._data: list[bytes] = []
        self._size = 0
        self._is_first = True

    def receive_data(self, data: bytes) -> list[str]:
        """The data of the events that end within these bytes."""
        if self.is_blind:
            return []
        self._buffer += data
        events: list[str] = []
        begin = 0
        while found := _LINE_END.search(self._buffer, begin):
            if found[0] == b"\r" and found.end() == len(self._buffer):
                break  # the \n that belongs to it may come next
            self._receive_line(self._buffer[begin : found.start()], events)
            begin = found.end()
        self._buffer = self._buffer[begin:]
        if self._size + len(self._buffer) > EVENT_LIMIT:
            self.is_blind = True
            self._buffer = b""
        return events

    def receive_eof(self) -> list[str]:
        """What no empty line ended. The standard drops it, but some servers forget the line."""
        events: list[str] = []
        for line in (self._buffer.rstrip(b"\r"), b""):
            self._receive_line(line, events)
        self._buffer = b""
        return events

    def _receive_line(self, line: bytes, events: list[str]) -> None:
        if self._is_first:
            line = line.removeprefix(b"\xef\xbb\xbf")
            self._is_first = False
        if not line:
            if self._data:
                events.append(b"\n".join(self._data).decode(errors="replace"))
            self._data, self._size = [], 0
            return
        field, _, value = line.partition(b":")  # a comment has an empty field name
        if field == b"data":
            self._data.append(value.removeprefix(b" "))
            self._size += len(value)
