"""Rules of the voice-call section itself: what OpenClaw refuses, and what has no effect."""

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches

from doctor.linting.family import Family, Saw
from doctor.linting.nodes import Node
from doctor.linting.openclaw_config import PLUGIN, Config, is_literal, is_on, paths_written

SETTINGS = Family[Config]()
_CHOICES: Mapping[tuple[str, ...], tuple[str, ...]] = {
    ("provider",): ("twilio", "telnyx", "plivo", "mock"),
    ("inboundPolicy",): ("disabled", "allowlist", "pairing", "open"),
    ("outbound", "defaultMode"): ("notify", "conversation"),
    ("tailscale", "mode"): ("off", "serve", "funnel"),
    ("tunnel", "provider"): ("none", "ngrok", "tailscale-serve", "tailscale-funnel"),
    ("twilio", "region"): ("us1", "ie1", "au1"),
}
# Of all versions from 2026.1 to 2026.9: a file of another version is not to be found fault with.
_KEYS: Mapping[str, str] = {
    "": """
    enabled provider telnyx twilio plivo fromNumber toNumber inboundPolicy allowFrom inboundGreeting
    numbers outbound maxDurationSeconds staleCallReaperSeconds silenceTimeoutMs transcriptTimeoutMs
    ringTimeoutMs maxConcurrentCalls serve tailscale tunnel webhookSecurity streaming realtime
    sessionScope publicUrl skipSignatureVerification stt tts store agentId responseModel
    responseSystemPrompt responseTimeoutMs
    """,
    "serve": "port bind path",
    "tailscale": "mode port path",
    "tunnel": "provider ngrokAuthToken ngrokDomain allowNgrokFreeTierLoopbackBypass",
    "webhookSecurity": "allowedHosts trustForwardingHeaders trustedProxyIPs",
    "outbound": "defaultMode notifyHangupDelaySec",
    "streaming": """
    enabled provider providers sttProvider openaiApiKey sttModel silenceDurationMs vadThreshold
    streamPath preStartTimeoutMs maxPendingConnections maxPendingConnectionsPerIp maxConnections
    """,
    "twilio": "accountSid authToken region",
}
# So near to a known name that it can hardly be one of a version that we do not know.
_NEAR = 0.85
_E164 = re.compile(r"\+[1-9]\d{1,14}")
_GATEWAY_PORT = 18789


@SETTINGS.rule("OC20", level="warning")
def plugin_off(config: Config) -> Iterator[Saw]:
    """The plugin is switched off.

    Why:
        OpenClaw does not load it: nothing listens on its port, and every call fails.
    Fix:
        plugins.entries.voice-call: enabled: true in the entry and in its config, and "voice-call"
        in plugins.allow where that list exists.
    """
    plugins = config.root["plugins"]
    for name, node in (
        ("plugins.enabled", plugins["enabled"]),
        (f"plugins.entries.{PLUGIN}.enabled", config.entry["enabled"]),
        (f"plugins.entries.{PLUGIN}.config.enabled", config.plugin["enabled"]),
    ):
        if node.scalar is False:
            yield config.saw(node, f"{name}: false")
    allow = plugins["allow"]
    if allow.entries and PLUGIN not in [each.text for each in allow]:
        yield config.saw(allow, f"plugins.allow lacks {PLUGIN}")


@SETTINGS.rule("OC21")
def setting_refused(config: Config) -> Iterator[Saw]:
    """A value that the plugin refuses.

    Why:
        Its schema is strict: OpenClaw does not start with it.
    Fix:
        Write one of the values that are named, and numbers in E.164 form: +15550001234
    """
    for place, allowed in _CHOICES.items():
        node = config.plugin.at(*place)
        if is_literal(node) and node.text not in allowed:
            name = ".".join(place)
            yield config.saw(node, f"{name}: {node.text[:80]} is none of {', '.join(allowed)}")
    numbers = [(name, config.plugin[name]) for name in ("fromNumber", "toNumber")]
    numbers += [("allowFrom", each) for each in config.plugin["allowFrom"]]
    for name, node in numbers:
        if is_literal(node) and _E164.fullmatch(node.text) is None:
            yield config.saw(node, f"{name}: {node.text[:80]} is no number such as +15550001234")


@SETTINGS.rule("OC22", level="warning")
def setting_unknown(config: Config) -> Iterator[Saw]:
    """A key is written a little differently from one that the plugin knows.

    Why:
        Its schema is strict: OpenClaw refuses to start, or says that the plugin's configuration is
        invalid.
    Fix:
        Write the key that was meant.
    """
    for table, known in _KEYS.items():
        node = config.plugin[table] if table else config.plugin
        names = known.split()
        for name, value in node.items():
            near = [] if name in names else get_close_matches(name, names, 1, _NEAR)
            if near:
                dotted = f"{table}.{name}" if table else name
                yield config.saw(value, f"{dotted}: did you mean {near[0]}?")


@SETTINGS.rule("OC23")
def path_malformed(config: Config) -> Iterator[Saw]:
    """A path that no request has.

    Why:
        The plugin compares whole paths, which begin with a slash and hold neither host nor query.
        It answers 404, or hangs up, which a proxy in front makes a 502. tailscale.path is written
        behind the name of the node as it is. (In serve.path alone a missing slash is put there.)
    Fix:
        streamPath: "/voice/stream"
    """
    for name, node in paths_written(config):
        is_bare = not node.text.startswith("/") and name != "serve.path"
        if is_bare or re.search(r"[?#\s]|://", node.text):
            yield config.saw(node, f"{name}: {node.text.partition('?')[0][:80]}")


@SETTINGS.rule("OC24")
def port_taken(config: Config) -> Iterator[Saw]:
    """The plugin is to listen on the port of OpenClaw's gateway.

    Why:
        It has a server of its own, beside the gateway's; the second one to start fails
        (EADDRINUSE). A tunnel to the gateway's port reaches no call.
    Fix:
        serve: { port: 3334 }, and let the ingress dial that.
    """
    port = config.plugin.at("serve", "port")
    if port.number == (config.root.at("gateway", "port").number or _GATEWAY_PORT):
        yield config.saw(port, f"serve.port: {port.text} is the port of the gateway")


@SETTINGS.rule("OC25")
def two_stream_modes(config: Config) -> Iterator[Saw]:
    """Both streaming and realtime are enabled.

    Why:
        They exclude each other: the plugin refuses its configuration.
    Fix:
        Enable one. streaming: recognition, agent, voice; realtime: a model that hears and speaks.
    """
    if config.is_streaming and config.is_realtime:
        yield config.saw(config.plugin["realtime"]["enabled"], "streaming and realtime: true")


@SETTINGS.rule("OC26", level="warning")
def nobody_allowed(config: Config) -> Iterator[Saw]:
    """Inbound calls are for an empty list.

    Why:
        With allowlist and with pairing the plugin hangs up on every number that is not in
        allowFrom.
    Fix:
        allowFrom: ["+15550001234"], or inboundPolicy: "disabled" where nobody shall call.
    """
    policy, allowed = config.plugin["inboundPolicy"], config.plugin["allowFrom"]
    if policy.text in ("allowlist", "pairing") and not allowed.entries:
        yield config.saw(policy, f"inboundPolicy: {policy.text} without allowFrom")


@SETTINGS.rule("OC27", level="warning")
def signatures_skipped(config: Config) -> Iterator[Saw]:
    """Signatures are not checked on a public webhook.

    Why:
        Whoever finds the URL can place and answer calls. Later versions refuse to start so. It is
        set where signatures fail, which has another cause: a path that an ingress rewrites, or a
        publicUrl that is not what Twilio calls. On the upgrade of a stream it has no effect.
    Fix:
        Remove skipSignatureVerification, and set publicUrl to the URL that Twilio has.
    """
    node = config.plugin["skipSignatureVerification"]
    if node.is_true and is_on(config.exposure):
        yield config.saw(node, "skipSignatureVerification: true")


@SETTINGS.rule("OC28", level="warning")
def trust_without_effect(config: Config) -> Iterator[Saw]:
    """Proxies are named, and what they forward is not believed.

    Why:
        trustedProxyIPs only narrows down what allowedHosts or trustForwardingHeaders allow. Alone
        it does nothing: every caller has the address of the proxy, and all of them together may
        have four streams that wait for their start (1013).
    Fix:
        webhookSecurity: { trustedProxyIPs: ["127.0.0.1"], trustForwardingHeaders: true,
        allowedHosts: ["voice.example.com"] }
    """
    security: Node = config.plugin["webhookSecurity"]
    is_believed = security["trustForwardingHeaders"].is_true or security["allowedHosts"].entries
    if security["trustedProxyIPs"].entries and not is_believed:
        text = "trustedProxyIPs without trustForwardingHeaders and allowedHosts"
        yield config.saw(security["trustedProxyIPs"], text)


@SETTINGS.rule("OC29")
def realtime_without_inbound(config: Config) -> Iterator[Saw]:
    """realtime is enabled, and inbound calls are disabled.

    Why:
        The plugin refuses its configuration, also where all calls are outbound.
    Fix:
        inboundPolicy: "allowlist", with the numbers in allowFrom
    """
    policy = config.plugin["inboundPolicy"]
    if config.provider and config.is_realtime and policy.text in ("", "disabled"):
        text = f"realtime.enabled: true, and inboundPolicy is {policy.text or 'not set'}"
        yield config.saw(config.plugin["realtime"]["enabled"], text)


@SETTINGS.rule("OC30")
def streaming_without_twilio(config: Config) -> Iterator[Saw]:
    """streaming is enabled for a provider that has none.

    Why:
        It is Twilio's Media Streams. Later versions refuse the configuration, earlier ones open no
        stream.
    Fix:
        provider: "twilio", or streaming: { enabled: false }
    """
    node = config.plugin["provider"]
    if config.is_streaming and is_literal(node) and node.text in ("telnyx", "plivo", "mock"):
        text = f"streaming.enabled: true, and provider is {node.text}"
        yield config.saw(config.plugin["streaming"]["enabled"], text)
