"""Rules of the route that takes the stream. What is said was seen with Envoy 1.40."""

from collections.abc import Iterator

from doctor.linting.envoy_config import duration_s
from doctor.linting.envoy_takers import EDITED, PROTOCOLS, Taker
from doctor.linting.family import Family, Saw
from doctor.linting.urls import LONGEST_CALL_S

_KEPT = (("upgrade", "websocket"), ("connection", "upgrade"))
_SILENCE_S = 60
STREAMS = Family[Taker]()


@STREAMS.rule("EN10")
def upgrade_not_enabled(taker: Taker) -> Iterator[Saw]:
    """Envoy does not let WebSockets through unless it is told to.

    Why:
        Without upgrade_configs Envoy answers an upgrade with 403 and an empty body, and logs
        upgrade_failed. Plain requests pass.
    Fix:
        upgrade_configs: [{upgrade_type: websocket}] in the HttpConnectionManager.
    """
    if not taker.passage.upgrade():
        text = "neither the HttpConnectionManager nor the route has upgrade_configs with websocket"
        yield taker.saw(taker.passage.chain.manager, text)


@STREAMS.rule("EN11")
def upgrade_disabled(taker: Taker) -> Iterator[Saw]:
    """WebSockets are turned off for the route of the stream.

    Why:
        enabled: false of a route counts more than what the HttpConnectionManager allows. Envoy
        answers 403 with an empty body.
    Fix:
        Remove enabled: false
    """
    enabled = taker.passage.upgrade()["enabled"]
    if enabled.is_false:
        yield taker.saw(enabled, "upgrade_type: websocket, enabled: false")


@STREAMS.rule("EN12")
def upgrade_removed(taker: Taker) -> Iterator[Saw]:
    """A header of the upgrade is removed or replaced.

    Why:
        The gateway gets a plain GET and answers 400, 404 or 426, or a 101 that fits no key.
    Fix:
        Remove it from request_headers_to_remove and request_headers_to_add.
    """
    for level in taker.passage.levels():
        for each in level["request_headers_to_remove"]:
            if each.text.lower() in EDITED:
                yield taker.saw(each, f"request_headers_to_remove: {each.text}")
    for name, value, node in taker.added():
        if name in EDITED and (name, value.lower()) not in _KEPT:
            yield taker.saw(node, f"request_headers_to_add: {name}: {value}")


@STREAMS.rule("EN15")
def request_buffered(taker: Taker) -> Iterator[Saw]:
    """The buffer filter waits for the end of a stream.

    Why:
        It holds a request back until it is whole, and an upgrade never is: the gateway sees
        nothing, and Twilio gives up (31920).
    Fix:
        Turn the filter off for the stream: typed_per_filter_config with BufferPerRoute,
        disabled: true
    """
    for name, node in taker.passage.filters():
        if name == "buffer":
            yield taker.saw(node, "http_filters: buffer is before the stream")


@STREAMS.rule("EN16", level="warning")
def silence_cut(taker: Taker) -> Iterator[Saw]:
    """A stream is cut after a short silence.

    Why:
        idle_timeout of the route, else stream_idle_timeout, counts from the last byte of either
        side. Media keep a stream alive; one that waits for them, or pauses, is cut.
    Fix:
        stream_idle_timeout: 300s, which is what it is without a word.
    """
    route = taker.passage.action["idle_timeout"]
    node = route or taker.passage.chain.manager["stream_idle_timeout"]
    limit_s = duration_s(node) or 0
    if 0 < limit_s < _SILENCE_S:
        yield taker.saw(node, f"{'idle_timeout' if route else 'stream_idle_timeout'}: {limit_s:g}s")


@STREAMS.rule("EN17", level="warning")
def stream_cut(taker: Taker) -> Iterator[Saw]:
    """A stream is cut at an age that a call may reach.

    Why:
        max_stream_duration counts from the first byte, whatever is sent. Twilio lets a call last
        four hours.
    Fix:
        Remove it, or set max_stream_duration: 0s in the route.
    """
    name = "max_stream_duration"
    own = taker.passage.action.at(name, name)
    common = taker.passage.chain.manager.at("common_http_protocol_options", name)
    options = ("typed_extension_protocol_options", PROTOCOLS, "common_http_protocol_options")
    clusters = [cluster.at(*options, name) for cluster in taker.clusters()]
    for node in (own or common, *clusters):
        limit_s = duration_s(node) or 0
        if 0 < limit_s < LONGEST_CALL_S:
            yield taker.saw(node, f"{name}: {limit_s:g}s")
