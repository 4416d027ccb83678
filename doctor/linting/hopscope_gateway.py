"""Rules of hopscope.toml's limits, and of the public URL of its gateway."""

from collections.abc import Iterator

from doctor.linting.family import Family, Saw
from doctor.linting.hopscope_config import GATEWAY, Config
from doctor.linting.urls import LONGEST_CALL_S
from proxy.stream_url import parse_stream_url

SETTINGS = Family[Config]()
_SILENCE_S = 60  # what a call on hold is silent for, at least


@SETTINGS.rule("HO20")
def public_url_holds_path(config: Config) -> Iterator[Saw]:
    """The public URL ends in one of the gateway's paths.

    Why:
        The gateway adds its paths itself: Twilio would be told /voice/webhook/voice/stream, and
        signatures are checked over a URL that Twilio never asked for (403).
    Fix:
        public_url = "https://voice.example.com", with the path that an ingress strips, if one does.
    """
    if config.gateway is None:
        return
    for path in config.gateway.paths.model_dump().values():
        if config.prefix.endswith(path):
            yield config.saw(config.public_url, f"public_url = {config.gateway.public}")


@SETTINGS.rule("HO21", level="warning")
def public_url_port(config: Config) -> Iterator[Saw]:
    """The public URL has a port other than 443.

    Why:
        Twilio documents port 443 for wss; its errors 31901 and 31910 speak of no other.
    Fix:
        Let the ingress listen on 443, and leave the port out of public_url.
    """
    url = config.gateway.public if config.gateway and config.public_url else None
    if url and url.scheme == "https" and parse_stream_url(str(url)).port not in (None, 443):
        yield config.saw(config.public_url, f"public_url = {url}")


@SETTINGS.rule("HO22", level="warning")
def public_url_private(config: Config) -> Iterator[Saw]:
    """The public URL names an address or host that only a local network knows.

    Why:
        Twilio calls from the internet (11205, 11210, and 31920 or 31901 for the stream). A call
        from within that network works, so a test there shows nothing.
    Fix:
        Write the name under which the ingress is known to everybody.
    """
    url = config.gateway.public if config.gateway and config.public_url else None
    if url is None or url.scheme != "https":  # http is for loopback, and for trials
        return
    if "host_not_public" in parse_stream_url(url.stream_url("/")).facts((), ()):
        yield config.saw(config.public_url, f"public_url = {url}")


@SETTINGS.rule("HO23", level="warning")
def silence_cut(config: Config) -> Iterator[Saw]:
    """The sidecar cuts a stream after a short silence.

    Why:
        session_idle_seconds counts from the last byte of either side. Media keep a stream alive;
        one that waits for them, or pauses, is cut.
    Fix:
        session_idle_seconds = 0, which is what it is without a word.
    """
    limits = config.settings.limits if config.settings else None
    if limits and 0 < limits.session_idle_seconds < _SILENCE_S:
        node = config.root["limits"]["session_idle_seconds"]
        yield config.saw(node, f"session_idle_seconds = {limits.session_idle_seconds:g}")


@SETTINGS.rule("HO24", level="warning")
def stream_cut(config: Config) -> Iterator[Saw]:
    """The sidecar cuts a stream at an age that a call may reach.

    Why:
        session_seconds counts from the upgrade, whatever is sent. Twilio lets a call last four
        hours; our gateway ends one at gateway.limits.call_seconds, and says goodbye.
    Fix:
        session_seconds = 0, which is what it is without a word.
    """
    limits = config.settings.limits if config.settings else None
    longest_s = config.gateway.limits.call_seconds if config.gateway else LONGEST_CALL_S
    if limits and 0 < limits.session_seconds < longest_s:
        node = config.root["limits"]["session_seconds"]
        text = f"session_seconds = {limits.session_seconds:g}, and a call may last {longest_s:g} s"
        yield config.saw(node, text)


@SETTINGS.rule("HO25", level="warning")
def connections_below_calls(config: Config) -> Iterator[Saw]:
    """There may be more calls than connections.

    Why:
        A call holds one connection for its stream, in the gateway as in the sidecar, and webhooks
        need others. A call that finds none is answered 503: its webhook (11200), or its stream
        (31920).
    Fix:
        Set connections to twice gateway.limits.calls, or more.
    """
    if config.gateway is None or config.settings is None:
        return
    calls = config.gateway.limits.calls
    tables = (
        ("limits", config.settings.limits.connections, config.root["limits"]),
        (f"{GATEWAY}.limits", config.gateway.limits.connections, config.root[GATEWAY]["limits"]),
    )
    for name, connections, table in tables:
        if connections < calls:
            node = table["connections"] or config.root[GATEWAY]["limits"]["calls"]
            text = f"{name}.connections = {connections}, and {GATEWAY}.limits.calls = {calls}"
            yield config.saw(node, text)
