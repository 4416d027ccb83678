"""Rules of what makes OpenClaw's webhook public: publicUrl, tunnel, tailscale."""

from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import urlsplit

from doctor.linting.family import Family, Saw
from doctor.linting.findings import Level
from doctor.linting.openclaw_config import Config, is_literal, is_on
from doctor.linting.urls import shown_url
from proxy.stream_url import parse_stream_url

PUBLIC = Family[Config]()
_CALLED = ("twilio", "telnyx", "plivo")


@PUBLIC.rule("OC10")
def tailnet_only(config: Config) -> Iterator[Saw]:
    """The webhook is open to the tailnet alone.

    Why:
        tailscale serve is no Funnel: Twilio is outside. From a machine of the tailnet it works, so
        a test there shows nothing.
    Fix:
        tailscale: { mode: "funnel" }, or publicUrl where another ingress stands in front.
    """
    by = config.exposure
    if by.text in ("serve", "tailscale-serve") and config.provider in _CALLED:
        yield config.saw(by, f"{'tailscale.mode' if by.text == 'serve' else 'tunnel'}: {by.text}")


@PUBLIC.rule("OC11")
def public_url_missing(config: Config) -> Iterator[Saw]:
    """Nothing makes the webhook public.

    Why:
        The plugin knows no URL that Twilio could call: later versions refuse to start. Earlier ones
        give Twilio a loopback address for outbound calls, and their TwiML has no stream; inbound
        calls without one work behind an ingress that keeps Host.
    Fix:
        publicUrl: "https://voice.example.com/voice/webhook", the URL that the ingress passes on.
    """
    names = ("publicUrl", "tunnel", "tailscale")
    is_open = any("${" in _all_text(config, name) for name in names)
    if config.provider in _CALLED and not config.exposure and not is_open:
        text = f"provider: {config.provider} without publicUrl, tunnel and tailscale"
        has_stream = config.is_streaming or config.is_realtime
        level: Level = "error" if has_stream or config.is_mended else "warning"
        yield replace(config.saw(config.plugin, text), level=level)


@PUBLIC.rule("OC12")
def public_url_not_https(config: Config) -> Iterator[Saw]:
    """publicUrl is no https:// URL.

    Why:
        The stream is advertised under its origin: of http:// it is ws://, which Twilio refuses
        (31922), and of anything else no URL at all (31923).
    Fix:
        publicUrl: "https://voice.example.com/voice/webhook"
    """
    node, url = config.plugin["publicUrl"], config.public_url
    if is_literal(node) and (url is None or url.scheme != "https"):
        yield config.saw(node, f"publicUrl: {shown_url(node.text)[:200]}")


@PUBLIC.rule("OC13")
def public_url_private(config: Config) -> Iterator[Saw]:
    """publicUrl names an address or host that only a local network knows.

    Why:
        Twilio calls from the internet. Later versions refuse to start so.
    Fix:
        Write the name under which the ingress is known to everybody.
    """
    node, url = config.plugin["publicUrl"], config.public_url
    if not is_literal(node) or url is None:
        return
    stream = parse_stream_url(f"wss://{urlsplit(node.text).netloc.rpartition('@')[2]}/")
    if "host_not_public" in stream.facts((), ()):
        yield config.saw(node, f"publicUrl: {url.text}")


@PUBLIC.rule("OC14", level="warning")
def public_path_differs(config: Config) -> Iterator[Saw]:
    """The path of publicUrl is not the one that the plugin answers.

    Why:
        Twilio asks for publicUrl as it is, and the plugin compares paths exactly (404). It works
        only behind an ingress that rewrites the one into the other; then versions before 2026.8.1
        compute another signature than Twilio (401). The stream is advertised at the origin of
        publicUrl, without its path: a prefix that the ingress wants is missing there.
    Fix:
        Let publicUrl end in serve.path, with nothing in front:
        publicUrl: "https://voice.example.com/voice/webhook"
    """
    node, url = config.plugin["publicUrl"], config.public_url
    serve = config.plugin.at("serve", "path")
    if not is_literal(node) or url is None or "${" in serve.text:
        return
    path = url.path.rstrip("/")
    # Later versions are made for an ingress that maps a path; hardly any maps the root.
    if path != config.webhook_path.rstrip("/") and not (config.is_mended and path):
        text = f"publicUrl: {url.text}, and serve.path is {config.webhook_path}"
        yield config.saw(node, text)


@PUBLIC.rule("OC15", level="warning")
def public_port(config: Config) -> Iterator[Saw]:
    """The public port is not 443.

    Why:
        The port is kept in the stream's URL. Twilio documents port 443 for wss; its errors 31901
        and 31910 speak of no other.
    Fix:
        Let the ingress listen on 443; for Funnel that is tailscale: { port: 443 }
    """
    node, url = config.plugin["publicUrl"], config.public_url
    if is_literal(node) and url and url.scheme == "https" and url.port not in (None, 443):
        yield config.saw(node, f"publicUrl: {url.text}")
    port = config.plugin["tailscale"]["port"]
    is_funnel = config.exposure.text in ("funnel", "tailscale-funnel")
    if is_funnel and is_literal(port) and port.text != "443":
        yield config.saw(port, f"tailscale.port: {port.text}")


@PUBLIC.rule("OC16", level="warning")
def tunnel_ignored(config: Config) -> Iterator[Saw]:
    """A tunnel is configured that is not started.

    Why:
        publicUrl wins over tunnel, and both over tailscale: with it the plugin starts neither, and
        takes for granted that something else passes its paths on.
    Fix:
        Remove publicUrl, or the tunnel: tunnel: { provider: "none" }, tailscale: { mode: "off" }
    """
    if not config.plugin["publicUrl"].text:
        return
    for name, node in (
        ("tunnel.provider", config.plugin["tunnel"]["provider"]),
        ("tailscale.mode", config.plugin["tailscale"]["mode"]),
    ):
        if is_on(node):
            yield config.saw(node, f"{name}: {node.text} beside publicUrl")


def _all_text(config: Config, name: str) -> str:
    node = config.plugin[name]
    return " ".join((node.text, *(each.text for each in node.fields.values())))
