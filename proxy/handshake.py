"""One WebSocket opening handshake, and where it departs from RFC 6455 section 4.

Nothing here refuses anything: the sidecar passes a crooked handshake on and writes down what was
crooked, since the hop that bent it is what the user came for.
"""

import base64
import binascii
import hashlib
from dataclasses import dataclass

from proxy.http1 import RequestHead, ResponseHead, list_items
from proxy.redact import shown_value

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
SAW_LIMIT = 200  # characters of a peer's value that are worth quoting


@dataclass(frozen=True, slots=True)
class Violation:
    """One departure from an RFC. `section` names RFC 6455's unless it names another RFC."""

    section: str
    field: str
    saw: str | None
    wanted: str

    def line(self) -> dict[str, str | None]:
        return {
            "section": self.section,
            "field": self.field,
            "saw": self.saw if self.saw is None else self.saw[:SAW_LIMIT],
            "wanted": self.wanted,
        }


def is_handshake(head: RequestHead) -> bool:
    """Whether a request asks for a WebSocket, or did before a hop took its Upgrade away.

    No plain HTTP request carries a Sec-WebSocket-Key or -Version: where one is found without
    Upgrade, a proxy removed the hop-by-hop fields (RFC 9110 section 7.8) and left the rest.
    """
    return wants_upgrade(head) or any(
        head.values(name) for name in ("Sec-WebSocket-Key", "Sec-WebSocket-Version")
    )


def wants_upgrade(head: RequestHead) -> bool:
    """Whether Upgrade names websocket; a missing Connection does not change what is wanted."""
    return head.has_token("Upgrade", "websocket")


def accept_value(key: str) -> str:
    """The Sec-WebSocket-Accept that answers a key (RFC 6455 section 4.2.2, item 5.4)."""
    digest = hashlib.sha1(key.encode("latin-1") + _GUID, usedforsecurity=False).digest()
    return base64.b64encode(digest).decode()


def request_violations(head: RequestHead) -> list[Violation]:
    """What a server may object to (RFC 6455 section 4.2.1), in the order of its list."""
    found = []
    if head.method != "GET":
        found.append(Violation("4.2.1", "method", head.method, "GET"))
    if head.version == "1.0":
        found.append(Violation("4.2.1", "HTTP version", "1.0", "1.1 or higher"))
    if not head.value("Host"):
        found.append(Violation("4.2.1", "Host", head.value("Host"), "the server's authority"))
    if not head.has_token("Upgrade", "websocket"):
        found.append(Violation("4.2.1", "Upgrade", head.value("Upgrade"), "websocket"))
    if not head.has_token("Connection", "upgrade"):
        found.append(Violation("4.2.1", "Connection", head.value("Connection"), "Upgrade"))
    key = head.value("Sec-WebSocket-Key")
    if _key_length(key) != 16:
        found.append(Violation("4.2.1", "Sec-WebSocket-Key", key, "16 bytes in base64"))
    version = head.value("Sec-WebSocket-Version")
    if version != "13":
        found.append(Violation("4.2.1", "Sec-WebSocket-Version", version, "13"))
    return found


def response_violations(request: RequestHead, response: ResponseHead) -> list[Violation]:
    """What a client must fail the connection for (RFC 6455 section 4.1), and 4.4's reply."""
    if response.status != 101:
        return _version_reply_violations(request, response)
    found = []
    if response.version == "1.0":
        found.append(Violation("4.2.2", "HTTP version", "1.0", "1.1 or higher"))
    if not response.has_token("Upgrade", "websocket"):
        found.append(Violation("4.1", "Upgrade", response.value("Upgrade"), "websocket"))
    if not response.has_token("Connection", "upgrade"):
        found.append(Violation("4.1", "Connection", response.value("Connection"), "Upgrade"))
    key = request.value("Sec-WebSocket-Key")
    accept = response.value("Sec-WebSocket-Accept")
    if key is None or accept != accept_value(key):
        wanted = "none: no key was sent" if key is None else accept_value(key)
        found.append(Violation("4.1", "Sec-WebSocket-Accept", accept, wanted))
    found += _selection_violations(request, response)
    # RFC 9110 sections 6.4.1 and 8.6: a 1xx response has no content and no length.
    for name in ("Content-Length", "Transfer-Encoding", "Content-Encoding"):
        if (value := response.value(name)) is not None:
            found.append(Violation("RFC 9110 6.4.1", name, value, "no body behind a 101"))
    return found


def _selection_violations(request: RequestHead, response: ResponseHead) -> list[Violation]:
    found = []
    offered = list_items(request.values(_PROTOCOL))
    selected = response.values(_PROTOCOL)
    if selected and (len(selected) > 1 or selected[0] not in offered):
        # Quoted as it may be shown, since a bearer token may be among those offered.
        saw = shown_value(_PROTOCOL, ", ".join(selected))
        names_offered = shown_value(_PROTOCOL, ", ".join(offered))
        wanted = f"one of {names_offered}" if offered else "none: none was offered"
        found.append(Violation("4.1", _PROTOCOL, saw, wanted))
    names = {_extension_name(item) for item in list_items(request.values(_EXTENSIONS))}
    for item in list_items(response.values(_EXTENSIONS)):
        if _extension_name(item) not in names:
            wanted = f"one of {', '.join(sorted(names))}" if names else "none: none was offered"
            found.append(Violation("4.1", _EXTENSIONS, item, wanted))
    return found


_PROTOCOL = "Sec-WebSocket-Protocol"
_EXTENSIONS = "Sec-WebSocket-Extensions"


def _version_reply_violations(request: RequestHead, response: ResponseHead) -> list[Violation]:
    """RFC 6455 section 4.4: an unknown version is answered with the versions that are known."""
    version = request.value("Sec-WebSocket-Version")
    if version in (None, "13") or response.value("Sec-WebSocket-Version"):
        return []
    saw = f"{response.status} without Sec-WebSocket-Version"
    return [Violation("4.4", "Sec-WebSocket-Version", saw, "426 with the versions understood")]


def _extension_name(item: str) -> str:
    return item.partition(";")[0].strip().lower()


def _key_length(key: str | None) -> int | None:
    """How many bytes a key decodes to, or None if it is not base64."""
    try:
        return None if key is None else len(base64.b64decode(key, validate=True))
    except (binascii.Error, ValueError):
        return None
