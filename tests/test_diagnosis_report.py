"""A diagnosis as it is shown: text, JSON, one HTML file. What peers wrote steers none of them."""

import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from doctor.diagnosis.html import page
from doctor.diagnosis.json import as_contract
from doctor.diagnosis.pages import find_pages, pages
from doctor.diagnosis.picture import line, stations
from doctor.diagnosis.text import print_diagnosis
from doctor.diagnosis.verdict import Diagnosis, Written
from doctor.evidence import Answer, Arrival, Exchange, Hop, Linted, Pairs, Phase, Probe
from doctor.rules import Finding, Skipped

SENT: Pairs = (("Host", "voice.example.com"), ("Upgrade", "websocket"), ("Cookie", None))
EVIL = "<script>alert(1)</script>\x1b[2J"


def _probe(name: str, *phases: Phase, status: int = 101, body: str = "") -> Probe:
    kind = "nginx" if name == "front" else "sidecar"
    arrival = Arrival(
        *("01", "GET", "/voice/stream", "1.0", (("Host", "voice.example.com"),)),
        *("192.0.2.1", "nginx", "not_an_upgrade", 404),
    )
    upgrade = Exchange(
        *("upgrade", "GET", "/voice/stream", SENT, 3.0),
        answer=Answer(status, "Not Found", "1.1", (("Server", EVIL),), body),
        arrivals=(arrival,),
    )
    return Probe(Hop(name, kind, "http://127.0.0.1:8080"), phases, upgrade=upgrade)  # type: ignore[arg-type]


GOOD = _probe("sidecar", Phase("connect", 1.0), Phase("response", 2.0))
BAD = _probe(
    "front", Phase("connect", 1.0), Phase("request", 3.0, "not_upgraded", EVIL), status=404
)
FINDING = Finding(
    "HS01", "upgrade-stripped", "front", "error", f"front removed {EVIL}", "proxy_http_version 1.1;"
)
BROKEN = Diagnosis(
    "broken",
    f"front removed the Upgrade header {EVIL}",
    hop="front",
    phase="request",
    rule="HS01",
    findings=(FINDING,),
    consequences=(replace(FINDING, rule="HS05", hop="edge"),),
    skipped=(Skipped("CL01", "front", "the stream was not left idle (--idle)"),),
)


def _text(diagnosis: Diagnosis, *probes: Probe) -> str:
    shown = io.StringIO()
    print_diagnosis(Console(file=shown, width=100), diagnosis, probes)
    return shown.getvalue()


def test_what_the_linters_found_is_shown_with_its_place_and_mended_at_the_guilty_hop() -> None:
    found = Linted("NG01", "upgrade-not-passed", "/etc/nginx.conf", 12, f"no {EVIL}", "Write it.")
    other = replace(found, rule="HA05", file="/etc/haproxy.cfg", fix="Leave it.", level="warning")
    told = replace(BROKEN, configuration=(Written("front", found), Written("inner", other)))
    text = _text(told, GOOD, BAD)
    assert "in the configuration of front\n  NG01 /etc/nginx.conf:12: no <script>" in text
    assert "Write it." in text
    assert "HA05 /etc/haproxy.cfg:12" in text
    assert "Leave it." not in text, "nothing is broken there"
    assert "\x1b" not in text
    html = page(told, (GOOD, BAD), "2026-01-01")
    assert "front: NG01 /etc/nginx.conf:12: no &lt;script&gt;" in html
    assert as_contract(told, (GOOD, BAD), 1.0)["configuration"][1] == {
        "hop": "inner",
        "rule": "HA05",
        "slug": "upgrade-not-passed",
        "level": "warning",
        "file": "/etc/haproxy.cfg",
        "line": 12,
        "saw": f"no {EVIL}",
        "fix": "Leave it.",
    }


def test_the_picture_is_drawn_as_a_call_travels_with_the_break_behind_the_guilty_hop() -> None:
    assert line(stations([GOOD, BAD], "front")) == "Twilio ──▶ front (404) ──✗ sidecar (101)"
    assert line(stations([GOOD], None)) == "Twilio ──▶ sidecar (101)"


def test_a_hop_that_cannot_be_reached_is_broken_on_the_way_to_it() -> None:
    refused = replace(BAD, phases=(Phase("connect", 1.0, "refused"),), upgrade=None)
    assert line(stations([GOOD, refused], "front")) == (
        "Twilio ──✗ front (connect: refused) ──▶ sidecar (101)"
    )
    unprobed = replace(BAD, phases=(), upgrade=None)
    assert line(stations([GOOD, unprobed], None)) == (
        "Twilio ··· front (not probed) ──▶ sidecar (101)"
    )


def test_the_text_begins_with_the_sentence_and_shows_what_was_removed() -> None:
    text = _text(BROKEN, GOOD, BAD)
    assert text.startswith("front removed the Upgrade header")
    assert "HS01 upgrade-stripped at front" in text
    assert "proxy_http_version 1.1;" in text
    assert any(row.startswith("-  Upgrade: websocket") for row in text.splitlines())
    assert "follows from it: HS05 at edge" in text
    assert "\x1b" not in text


def test_a_command_of_a_fix_is_one_line_however_long_it_is() -> None:
    command = f"tailscale funnel --bg --set-path /voice/stream http://127.0.0.1:8080/{'x' * 80}"
    fix = f"{command}\nOr one mount for everything."
    text = _text(replace(BROKEN, findings=(replace(FINDING, fix=fix),)), GOOD, BAD)
    assert f"    {command}\n    Or one mount for everything.\n" in text


def test_a_healthy_chain_has_neither_heads_nor_fix() -> None:
    text = _text(Diagnosis("healthy", "All hops pass the stream."), GOOD)
    assert text.startswith("All hops pass the stream.")
    assert "fix" not in text
    assert "Upgrade: websocket" not in text


def test_the_html_escapes_what_peers_wrote() -> None:
    html = page(BROKEN, [GOOD, BAD], "2026-01-02T03:04:05Z")
    assert "<script" not in html
    assert "&lt;script&gt;alert(1)" in html
    assert '<li class="whole guilty">' in html
    assert '<tr class="removed">' in html
    assert "http://" not in html.replace("http://127.0.0.1:8080", "")  # nothing from elsewhere


def test_the_json_is_the_contract() -> None:
    told = json.loads(json.dumps(as_contract(BROKEN, [GOOD, BAD], 1.5)))
    assert (told["verdict"], told["hop"], told["phase"]) == ("broken", "front", "request")
    assert (told["rule"], told["between"], told["elapsed_s"]) == ("HS01", None, 1.5)
    [finding] = told["findings"]
    assert {"rule", "slug", "hop", "saw", "fix", "evidence"} <= set(finding)
    assert finding["evidence"]["differences"] == [
        {"sent": "Upgrade: websocket", "arrived": "", "change": "removed"},
        {"sent": "Cookie: (present)", "arrived": "", "change": "removed"},
    ]
    assert told["skipped"] == [
        {"rule": "CL01", "hop": "front", "because": "the stream was not left idle (--idle)"}
    ]
    assert [probe["hop"]["name"] for probe in told["probes"]] == ["sidecar", "front"]


def test_every_page_has_an_id_a_name_and_a_fix_of_its_own() -> None:
    known = pages()
    assert len({each.id for each in known}) == len(known) > 60
    assert len({(each.id[:2], each.slug) for each in known}) == len(known)  # once in a family
    assert all("\nFix:\n" in each.text and "\nWhy:\n" in each.text for each in known)


@pytest.mark.parametrize("name", ["HS01", "hs01", "upgrade-stripped"])
def test_a_page_is_found_by_id_or_name(name: str) -> None:
    [found], _ = find_pages(name)
    assert found.text.startswith("HS01 upgrade-stripped (error)\n\nThe hop removed the Upgrade")


def test_the_nearest_name_is_offered_for_a_wrong_one() -> None:
    assert find_pages("upgrade-striped") == ((), "upgrade-stripped")
    assert find_pages("qqqq") == ((), "")
    assert find_pages("HS1") == ((), "hs01")
