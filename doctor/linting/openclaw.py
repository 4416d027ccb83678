"""OpenClaw's openclaw.json: the voice-call plugin, its paths, and what makes them public (pure)."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from doctor.linting.findings import LintFinding, LintReport, LintRule, Paths
from doctor.linting.nodes import Unreadable
from doctor.linting.openclaw_config import MENDED, PLUGIN, Config, read_config
from doctor.linting.openclaw_public import PUBLIC
from doctor.linting.openclaw_settings import SETTINGS
from doctor.linting.way_rules import WayRules
from doctor.linting.ways import Ways

WAYS = WayRules(
    "OC",
    "The plugin's own Funnel",
    serve="Put the stream below the webhook, which needs no mount of its own: streaming: "
    '{ streamPath: "/voice/webhook/stream" }. Or mount the whole port by hand, tailscale funnel '
    '--bg 3334, and set publicUrl: "https://NODE.TAILNET.ts.net/voice/webhook". OpenClaw mounts '
    "both paths since 2026.8.1.",
    keep="Let tailscale.path be what serve.path is: tailscaled takes the mount away and puts "
    "serve.path in front of the rest.",
)
# The webhook is always mounted, on the port of the stream, and is the status callback as well.
_WAYS = ("OC01", "OC03", "OC04")

RULES: tuple[LintRule, ...] = tuple(
    sorted(
        (*(rule for rule in WAYS.rules if rule.id in _WAYS), *PUBLIC.rules, *SETTINGS.rules),
        key=lambda rule: rule.id,
    )
)


def lint(text: str, file: Path, paths: Paths) -> LintReport:
    """`paths` are not asked for: the file itself says what Twilio is told."""
    try:
        config = read_config(text, file)
    except Unreadable as unreadable:
        return LintReport(unreadable=str(unreadable))
    if not config.entry:
        told = f"The file has no plugins.entries.{PLUGIN}: OpenClaw takes no calls with it."
        return LintReport(remarks=(told,))
    ways = config.ways()
    findings = (
        *(_judge(config, ways) if ways else ()),
        *PUBLIC.judge([config]),
        *SETTINGS.judge([config]),
    )
    told_of = {way.path: way for way in (ways.stream, ways.webhook)} if ways else {}
    becomes = tuple(way.becomes() for way in reversed(told_of.values()))
    return LintReport(findings, becomes, remarks=tuple(_remarks(config)))


def _judge(config: Config, ways: Ways) -> Iterator[LintFinding]:
    """What an OpenClaw of an unknown version may do right is a warning."""
    for finding in () if config.is_mended else _found(config, ways):
        if config.version is None:
            version = ".".join(str(part) for part in MENDED)
            saw = f"{finding.saw}, if this OpenClaw is older than {version}"
            finding = replace(finding, level="warning", saw=saw)
        yield finding


def _found(config: Config, ways: Ways) -> Iterator[LintFinding]:
    """The plugin is mount and gateway in one: what it serves is known."""
    plain = (replace(way, target="") for way in ways)
    yield from (each for each in WAYS.judge(Ways("", *plain), config.file) if each.rule == "OC01")
    for rule, way in (("OC03", ways.stream), ("OC04", ways.webhook)):
        # The webhook arrives as it is served, under whichever name it was asked for.
        if way.is_rewritten:
            page = next(page for page in RULES if page.id == rule)
            saw = way.told()
            yield LintFinding(page.id, page.slug, page.level, config.file, way.line, saw, page.fix)


def _remarks(config: Config) -> Iterator[str]:
    streaming = config.plugin["streaming"]
    providers = streaming["providers"].fields.values()
    has_key = streaming["openaiApiKey"] or any(each["apiKey"] for each in providers)
    if config.is_streaming and not has_key:
        yield (
            "streaming is enabled, and the file has no key for its recognition: without "
            "OPENAI_API_KEY in its environment the plugin opens no stream (404, Twilio's 31920), "
            "and its TwiML advertises it all the same."
        )
    if config.plugin and not config.plugin["inboundPolicy"].text:
        yield "inboundPolicy is not set: inbound calls are rejected."
