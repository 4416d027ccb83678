"""openclaw.json: each rule of the voice-call section fires and stays quiet; its Funnel."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from doctor.linting import engine, openclaw
from doctor.linting.findings import LintReport, Paths
from doctor.linting.openclaw_config import read_config
from lint_cases import (
    Case,
    cases_of,
    check_every_rule_has_a_case,
    check_fires,
    check_no_prefix_raises,
    check_quiet,
    mangled,
)
from programs import ROOT

CASES = cases_of("openclaw")
URL = "https://voice.example.com/voice/webhook"
FOUNDING = {
    "provider": "twilio",
    "inboundPolicy": "open",
    "tailscale": {"mode": "funnel", "path": "/voice/webhook"},
    "streaming": {"enabled": True, "streamPath": "/voice/stream", "openaiApiKey": "sk-made-up"},
}


def written(plugin: dict[str, Any], version: str | None = "2026.2.12") -> str:
    meta = {"lastTouchedVersion": version} if version else {}
    entries = {"voice-call": {"enabled": True, "config": plugin}}
    return json.dumps({"meta": meta, "plugins": {"entries": entries}}, indent=2)


def lint(plugin: dict[str, Any], version: str | None = "2026.2.12") -> LintReport:
    return openclaw.lint(written(plugin, version), Path("openclaw.json"), Paths())


def fired(plugin: dict[str, Any], version: str | None = "2026.2.12") -> list[str]:
    report = lint(plugin, version)
    assert not report.unreadable
    return [finding.rule for finding in report.findings]


@pytest.mark.parametrize("version", ["2026.2.12", "2026.3.13", "2026.9.6"])
def test_what_our_page_about_openclaw_advises_has_no_finding(version: str) -> None:
    blocks = re.findall(r"```json\n(.*?)```", (ROOT / "docs" / "openclaw.md").read_text(), re.S)
    advised: dict[str, Any] = {"provider": "twilio", "inboundPolicy": "open"}
    for block in blocks:
        advised |= json.loads(block)
    assert set(advised) >= {"publicUrl", "streaming", "webhookSecurity"}
    report = lint(advised, version)
    assert (report.findings, report.unreadable) == ((), "")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_a_rule_fires_on_its_line_and_alone(case: Case) -> None:
    check_fires(openclaw, case)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_a_healthy_file_has_no_finding(case: Case) -> None:
    check_quiet(openclaw, case)


def test_every_rule_has_a_case_and_a_page() -> None:
    check_every_rule_has_a_case(openclaw, CASES)


def test_a_file_may_end_anywhere() -> None:
    check_no_prefix_raises(openclaw, CASES)


@settings(max_examples=60, deadline=None)
@given(mangled(CASES))
def test_garbage_is_read_or_refused(text: str) -> None:
    openclaw.lint(text, Path("openclaw.json"), Paths())


# The founding failure, and what was tried against it


def test_the_funnel_of_the_plugin_mounts_the_webhook_alone() -> None:
    report = lint(FOUNDING)
    [finding] = report.findings
    assert (finding.rule, finding.level) == ("OC01", "error")
    assert finding.saw == (
        "/voice/webhook goes to http://127.0.0.1:3334, and nothing takes /voice/stream: "
        "404 by tailscaled"
    )
    assert [(each.path, each.upstream, each.target) for each in report.paths] == [
        ("/voice/webhook", "http://127.0.0.1:3334", "/voice/webhook"),
        ("/voice/stream", "", ""),
    ]
    assert report.remarks == ()


@pytest.mark.parametrize(
    ("version", "level"),
    [
        ("2026.1.29", "error"),
        ("2026.7.35", "error"),
        ("2026.8.1-beta.1", "error"),
        (None, "warning"),
        ("nightly", "warning"),
        ("2026.8.1", None),
        ("2026.9.6-beta.1", None),
    ],
)
def test_later_versions_mount_both_and_of_an_unknown_one_it_is_a_warning(
    version: str | None, level: str | None
) -> None:
    findings = lint(FOUNDING, version).findings
    assert [finding.level for finding in findings] == ([level] if level else [])


def test_the_root_as_mount_sends_the_stream_below_the_webhook() -> None:
    report = lint(FOUNDING | {"tailscale": {"mode": "funnel", "path": "/"}})
    assert [(finding.rule, finding.saw) for finding in report.findings] == [
        ("OC03", "/voice/stream goes to http://127.0.0.1:3334 as /voice/webhook/voice/stream"),
        ("OC04", "/ goes to http://127.0.0.1:3334 as /voice/webhook/"),
    ]


@pytest.mark.parametrize(
    "plugin",
    [
        FOUNDING | {"streaming": {"enabled": True, "streamPath": "/voice/webhook/stream"}},
        FOUNDING | {"tailscale": {"mode": "funnel", "path": "/"}, "serve": {"path": "/"}},
        FOUNDING | {"streaming": {"enabled": False}},
        FOUNDING | {"tailscale": {"mode": "off"}, "tunnel": {"provider": "ngrok"}},
        FOUNDING | {"tailscale": {"mode": "off"}, "publicUrl": URL},
        FOUNDING | {"tailscale": {"mode": "off"}, "publicUrl": "${VOICE_URL}"},
    ],
)
def test_what_works_with_every_version_has_no_finding(plugin: dict[str, Any]) -> None:
    assert fired(plugin) == []


def test_a_realtime_stream_is_looked_for_beside_the_webhook() -> None:
    plugin = {key: value for key, value in FOUNDING.items() if key != "streaming"}
    plugin["realtime"] = {"enabled": True}
    assert plugin["inboundPolicy"] == "open"
    [finding] = lint(plugin, "2026.5.2").findings
    assert "nothing takes /voice/stream/realtime" in finding.saw
    assert fired(plugin, "2026.9.6") == []


def test_the_unified_tunnel_mounts_the_path_that_is_served() -> None:
    plugin = FOUNDING | {"tailscale": {}, "tunnel": {"provider": "tailscale-funnel"}}
    assert fired(plugin) == ["OC01"]


@pytest.mark.parametrize(
    ("public_path", "before", "since"),
    [
        ("/voice/webhook", [], []),
        ("/bot/voice/webhook", ["OC14"], []),
        ("", ["OC14"], ["OC14"]),
        ("/", ["OC14"], ["OC14"]),
    ],
)
def test_later_versions_are_made_for_an_ingress_that_maps_the_path(
    public_path: str, before: list[str], since: list[str]
) -> None:
    plugin = {"provider": "twilio", "publicUrl": f"https://voice.example.com{public_path}"}
    assert fired(plugin, "2026.7.35") == before
    assert fired(plugin, None) == before
    assert fired(plugin, "2026.8.1") == since


@pytest.mark.parametrize("by", [{"tailscale": {}}, {"tunnel": {"provider": "tailscale-funnel"}}])
def test_the_port_of_a_funnel_is_seen_whoever_starts_it(by: dict[str, Any]) -> None:
    mode = {} if "tunnel" in by else {"mode": "funnel"}
    plugin = {"provider": "twilio", **by, "tailscale": {"port": 8443, **mode}}
    assert fired(plugin, "2026.9.6") == ["OC15"]


@pytest.mark.parametrize(
    ("version", "streaming", "level"),
    [
        ("2026.3.13", False, "warning"),
        ("2026.3.13", True, "error"),
        ("2026.9.6", False, "error"),
        (None, False, "warning"),
    ],
)
def test_without_a_public_url_early_versions_lack_the_stream_and_later_ones_do_not_start(
    version: str | None, streaming: bool, level: str
) -> None:
    [finding] = lint({"provider": "twilio", "streaming": {"enabled": streaming}}, version).findings
    assert (finding.rule, finding.level) == ("OC11", level)


def test_serve_is_for_the_tailnet_and_the_public_url_of_another_ingress_mends_it() -> None:
    plugin = FOUNDING | {"tailscale": {"mode": "serve"}, "streaming": {}}
    assert fired(plugin) == ["OC10"]
    assert fired(plugin | {"publicUrl": URL}) == ["OC16"]


# The section itself


@pytest.mark.parametrize(
    ("change", "rule", "told"),
    [
        ({"provider": "twillio"}, "OC21", "provider: twillio is none of twilio, telnyx,"),
        ({"twilio": {"region": "sydney"}}, "OC21", "twilio.region: sydney is none of us1"),
        ({"allowFrom": ["+1555", "555"]}, "OC21", "allowFrom: 555 is no number"),
        ({"serve": {"path": "/voice/webhook?a=b"}}, "OC23", "serve.path: /voice/webhook"),
        ({"tailscale": {"path": "voice/webhook"}}, "OC23", "tailscale.path: voice/webhook"),
        ({"inboundpolicy": "open"}, "OC22", "inboundpolicy: did you mean inboundPolicy?"),
        ({"serve": {"port": 18789}}, "OC24", "serve.port: 18789 is the port of the gateway"),
        ({"publicUrl": "voice.example.com"}, "OC12", "publicUrl: voice.example.com"),
        ({"publicUrl": "https://localhost/voice/webhook"}, "OC13", "publicUrl: https://localhost"),
        (
            {"publicUrl": "https://voice.example.com/bot/voice/webhook"},
            "OC14",
            "publicUrl: https://voice.example.com/bot/voice/webhook, and serve.path is",
        ),
        (
            {"publicUrl": "https://voice.example.com:8443/voice/webhook"},
            "OC15",
            "publicUrl: https://voice.example.com:8443",
        ),
    ],
)
def test_a_finding_quotes_the_file(change: dict[str, Any], rule: str, told: str) -> None:
    found = {finding.rule: finding.saw for finding in lint({"publicUrl": URL} | change).findings}
    assert found[rule].startswith(told)


@pytest.mark.parametrize("version", ["2026.2.12", "2026.9.6"])
def test_a_full_section_of_either_end_of_the_year_has_no_finding(version: str) -> None:
    streaming: dict[str, Any] = {"enabled": True, "streamPath": "/voice/stream"}
    if version == "2026.2.12":
        streaming |= {"sttProvider": "openai-realtime", "openaiApiKey": "sk-made-up"}
    else:
        streaming |= {"provider": "openai", "providers": {"openai": {"apiKey": "sk-made-up"}}}
    plugin = {
        "enabled": True,
        "provider": "twilio",
        "fromNumber": "+15550001234",
        "twilio": {"accountSid": "AC0", "authToken": "made-up"},
        "inboundPolicy": "open",
        "serve": {"port": 3334, "bind": "127.0.0.1", "path": "/voice/webhook"},
        "publicUrl": URL,
        "outbound": {"defaultMode": "conversation"},
        "maxConcurrentCalls": 50,
        "streaming": streaming,
    }
    report = lint(plugin, version)
    assert (report.findings, report.remarks) == ((), ())


def test_no_key_in_the_file_is_remarked_on_as_it_may_be_in_the_environment() -> None:
    report = lint({"publicUrl": URL, "inboundPolicy": "open", "streaming": {"enabled": True}})
    [remark] = report.remarks
    assert remark.startswith("streaming is enabled, and the file has no key")


def test_credentials_are_not_shown() -> None:
    report = lint(
        {
            "provider": "twilio",
            "publicUrl": "http://me:hunter2@voice.example.com/x?token=hunter2",
            "twilio": {"accountSid": "AC0", "authToken": "hunter2", "authtoken": "hunter2"},
            "streaming": {"streamPath": "/voice/stream?token=hunter2"},
        }
    )
    assert {"OC12", "OC14", "OC22", "OC23"} <= {finding.rule for finding in report.findings}
    assert "hunter2" not in str(report)


def test_a_file_without_the_plugin_is_no_defect() -> None:
    report = openclaw.lint("{ channels: {}, }", Path("openclaw.json"), Paths())
    assert report.findings == ()
    assert report.remarks == (
        "The file has no plugins.entries.voice-call: OpenClaw takes no calls with it.",
    )


def test_what_is_no_object_is_refused() -> None:
    report = openclaw.lint("[]", Path("openclaw.json"), Paths())
    assert report.unreadable.startswith("it is no configuration of OpenClaw")


def test_a_comment_excuses_a_line(tmp_path: Path) -> None:
    file = tmp_path / "voice.json5"
    text = written(FOUNDING).replace(
        '"path": "/voice/webhook"', '"path": "/voice/webhook" // hopscope:ignore OC01'
    )
    file.write_text(text)
    report = engine.lint_file(file, None, Paths())
    assert (report.kind, report.findings) == ("openclaw", ())


def test_a_version_is_three_numbers() -> None:
    for text, version in (
        ("2026.4.29", (2026, 4, 29)),
        ("2026.9.6-1", (2026, 9, 6)),
        ("2026.9.6-beta.1", (2026, 9, 5)),
        ("v1", None),
        ("2026.10.111", None),
    ):
        config = read_config(written({}, text), Path("openclaw.json"))
        assert config.version == version, text
