"""A fix speaks of the hops and paths at hand, not of the defaults."""

from dataclasses import replace

import pytest

from doctor.evidence import HopKind
from doctor.rules import RULES, addressed
from own_answers import own
from sights import HOST, probe, sight, upgrade


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("nginx", "    proxy_pass http://127.0.0.1:9000;"),
        (
            "tailscale",
            "tailscale funnel --bg --set-path /talk/ws http://127.0.0.1:9000/talk/ws",
        ),
        ("tailscale", "Or one mount for everything: tailscale funnel --bg 9000"),
        ("caddy", "voice.example.com { reverse_proxy 127.0.0.1:9000 }"),
    ],
)
def test_a_fix_names_the_hop_behind_and_the_path_as_they_are(kind: HopKind, line: str) -> None:
    behind = probe("sidecar", url="http://127.0.0.1:9000")
    seen = replace(own(kind, 404, "go"), behind=behind, stream_path="/talk/ws")
    assert line in addressed(RULES["RO01"].page.fix_for(kind), seen).splitlines()


def test_a_fix_names_the_public_name_that_was_asked_for() -> None:
    seen = own("nginx", 404, "go")
    asked = seen.probe.upgrade
    assert asked is not None
    for host, told in (("calls.example.org:8443", "calls.example.org"), ("192.0.2.1", HOST)):
        fields = tuple(("Host", host) if name == "Host" else (name, v) for name, v in asked.fields)
        sent = replace(seen, probe=replace(seen.probe, upgrade=replace(asked, fields=fields)))
        fix = addressed(RULES["RO01"].page.fix_for("nginx"), sent)
        assert f"server_name {told};" in fix


def test_a_fix_stays_as_it_is_written_where_nothing_behind_is_known() -> None:
    seen = replace(own("tailscale", 404, "go"), behind=None)
    fix = RULES["RO01"].page.fix_for("tailscale")
    assert addressed(fix, seen) == fix


def test_a_fix_for_the_sidecar_itself_keeps_its_own_addresses() -> None:
    seen = sight("sidecar", upgrade(404, "gateway"))
    fix = "hopscope proxy --listen 127.0.0.1:8080"
    assert addressed(fix, seen) == fix
