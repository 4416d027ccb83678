"""Rules of the routes that take our paths: fields that they change, times, and the gateway's own
paths."""

from collections.abc import Iterator
from dataclasses import dataclass

from doctor.linting.family import Family, Saw
from doctor.linting.hopscope_config import GATEWAY, Config, Placed
from doctor.linting.hopscope_ways import find
from doctor.linting.nodes import Node

TAKERS = Family["Taker"]()
_ASKED = frozenset(("upgrade", "connection", "sec-websocket-key", "sec-websocket-version"))
_ANSWERED = frozenset(("upgrade", "connection", "sec-websocket-accept"))
# Twilio asks for neither, so a gateway may not choose any.
_NEGOTIATED = frozenset(("sec-websocket-protocol", "sec-websocket-extensions"))


@dataclass(frozen=True, slots=True)
class Taker:
    """A route that takes some of our paths, as they were asked for on one host."""

    config: Config
    placed: Placed
    is_stream: bool
    host: str

    def edited(self, table: str) -> Iterator[tuple[str, str, Node]]:
        """Fields that a route changes: what it does, the name in lower case, where."""
        edits = self.placed.node[table]
        for name, node in edits["set"].items():
            yield "set", name.lower(), node
        for each in edits["remove"]:
            yield "remove", each.text.lower(), each

    def saw(self, node: Node, text: str) -> Saw:
        return self.config.saw(node, f"{self.placed.name} {text}")


@TAKERS.rule("HO16")
def handshake_edited(taker: Taker) -> Iterator[Saw]:
    """The route of the stream changes a field of the handshake.

    Why:
        Gateway and Twilio agree on the WebSocket by these fields (RFC 6455 section 4). Without one,
        or with another value, either of them refuses. Twilio asks for no subprotocol and no
        extension, so one that is answered fails the handshake.
    Fix:
        Remove the field from request_headers and response_headers: the sidecar passes on what
        comes.
    """
    if not taker.is_stream:
        return
    for what, name, node in taker.edited("request_headers"):
        if name in _ASKED or _is_invented(what, name):
            yield taker.saw(node, f"request_headers.{what}: {name}")
    for what, name, node in taker.edited("response_headers"):
        if name in _ANSWERED or _is_invented(what, name):
            yield taker.saw(node, f"response_headers.{what}: {name}")


@TAKERS.rule("HO17")
def signature_edited(taker: Taker) -> Iterator[Saw]:
    """Twilio's signature does not arrive.

    Why:
        A gateway knows by X-Twilio-Signature that a request is Twilio's. Without it, or with
        another one, it answers 401 or 403; one that does not can be called by anybody.
    Fix:
        Remove X-Twilio-Signature from request_headers.
    """
    for what, name, node in taker.edited("request_headers"):
        if name == "x-twilio-signature":
            yield taker.saw(node, f"request_headers.{what}: {name}")


@TAKERS.rule("HO18", level="warning")
def host_rewritten(taker: Taker) -> Iterator[Saw]:
    """A route replaces the public name.

    Why:
        Twilio signs the public URL. A gateway that rebuilds it from Host computes another
        signature and refuses.
    Fix:
        Remove Host from request_headers, or tell the gateway its public URL.
    """
    if taker.config.leads_to_gateway(taker.placed.route):
        return  # it does not look at Host
    for what, name, node in taker.edited("request_headers"):
        if name == "host":
            yield taker.saw(node, f"request_headers.{what}: host")


@TAKERS.rule("HO19", level="warning")
def callback_unserved(taker: Taker) -> Iterator[Saw]:
    """A route leads to this file's gateway, and none takes a callback that it asks Twilio for.

    Why:
        On the stream's own status callback Twilio says why a stream failed, and nowhere else; the
        other one says that a machine answered. The sidecar answers both 404, and Twilio warns
        (15003).
    Fix:
        Route the prefix that all of them have: prefix = "/voice"
    """
    config = taker.config
    if config.gateway is None or not config.leads_to_gateway(taker.placed.route):
        return
    is_asked = config.gateway.twilio.machine_detection != "off"
    for name in ("stream_status", "amd") if is_asked else ("stream_status",):
        path = getattr(config.gateway.paths, name)
        if not find(config, taker.host, name, path).way.is_served:
            yield config.saw(
                config.root[GATEWAY]["paths"][name] or taker.placed.node,
                f"{taker.placed.name} leads to the gateway, and no route takes {path} "
                f"({GATEWAY}.paths.{name})",
            )


def _is_invented(what: str, name: str) -> bool:
    return what == "set" and name in _NEGOTIATED
