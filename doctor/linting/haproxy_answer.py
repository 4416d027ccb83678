"""What HAProxy's rules for answers make of the 101 (pure)."""

from collections.abc import Iterator

from doctor.linting.haproxy_expressions import condition_of, formatted, holds
from doctor.linting.haproxy_parser import Line, Proxy
from doctor.linting.haproxy_passage import Passage

_SENT = {"upgrade": "websocket", "connection": "Upgrade", "sec-websocket-accept": "accept"}
# HAProxy computes Sec-WebSocket-Accept itself where a rule took it away.
_GONE = ("upgrade", "connection")


def changes(passage: Passage) -> Iterator[tuple[Line, str]]:
    """Each rule that spoils the 101, and how. The backend's rules run before the frontend's."""
    state = passage.state
    state.status = "101"
    for kind in ("http-response", "http-after-response"):
        for proxy in reversed(passage.proxies):
            state.acls = [each for each in proxy.all("acl") if len(each.words) > 2]
            for each in _lines(proxy, kind):
                words, condition = condition_of(each.words[2:])
                if holds(condition, state) and (how := _harm(each, tuple(words), passage)):
                    yield each, how


def _lines(proxy: Proxy, kind: str) -> Iterator[Line]:
    for each in (*proxy.defaults, *proxy.lines):
        if each.words[0] == kind and len(each.words) > 1:
            yield each


def _harm(line: Line, words: tuple[str, ...], passage: Passage) -> str:
    action = line.words[1]
    if action in ("deny", "return", "redirect"):
        return "is replaced by another answer"
    name = words[0].lower() if words else ""
    if action == "del-header" and name in _GONE:
        return f"loses {words[0]}"
    if action == "set-header" and name in _SENT and len(words) > 1:
        value = formatted(words[1], passage.state)
        is_same = value is None or _SENT[name].lower() in value.lower()
        return "" if is_same else f"gets {words[0]}: {value}"
    return ""
