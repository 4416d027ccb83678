"""What a fix prints is pasted in: a location of nginx is whole, and names the sidecar's address."""

import re
from pathlib import Path

import pytest

from doctor.linting import engine
from doctor.linting.findings import Paths
from doctor.rules import RULES

LINTED = {each.id: each.fix for each in engine.all_rules() if each.id.startswith("NG")}
PROBED = {each.id: each.page.fixes.get("nginx", "") for each in RULES.values()}
LOCATION = re.compile(r"^location .*?^}", re.MULTILINE | re.DOTALL)
LOCATIONS = [
    pytest.param(block, id=rule)
    for rule, fix in (LINTED | PROBED).items()
    for block in LOCATION.findall(fix)
]
ONLY_WEBHOOK = """\
server {{
    listen 127.0.0.1:8000;
    location /voice/webhook {{ proxy_pass {}; proxy_set_header Host $http_host; }}
}}
"""


def found_in(text: str) -> list[tuple[str, str]]:
    report = engine.lint_text(text, Path("voice.conf"), "nginx", Paths())
    assert report.unreadable == ""
    return [(each.rule, each.fix) for each in report.findings]


def test_locations_are_printed_by_the_doctor_and_by_the_linter() -> None:
    assert len(LOCATIONS) >= 10


@pytest.mark.parametrize("location", LOCATIONS)
def test_a_location_that_a_fix_prints_lets_calls_through_as_it_stands(location: str) -> None:
    if "location = /voice/stream" in location:  # only the stream's; another takes the webhook
        location += re.sub("= /voice/stream", "/voice/", location)
    assert found_in(f"server {{\n    listen 127.0.0.1:8000;\n{location}\n}}\n") == []


@pytest.mark.parametrize("rule", sorted(LINTED | PROBED))
def test_no_location_of_a_fix_is_of_one_line_which_forgets_the_upgrade(rule: str) -> None:
    assert not re.search(r"location [^\n]*proxy_pass", (LINTED | PROBED)[rule])


def test_a_fix_names_the_address_that_the_other_ways_of_the_file_go_to() -> None:
    [(rule, fix)] = found_in(ONLY_WEBHOOK.format("http://127.0.0.1:9090"))
    assert rule == "NG13"
    assert "proxy_pass http://127.0.0.1:9090;" in fix


@pytest.mark.parametrize("upstream", ["http://localhost:9090", "https://127.0.0.1:9090"])
def test_a_name_or_tls_in_its_place_is_no_example_to_follow(upstream: str) -> None:
    [fix] = [fix for rule, fix in found_in(ONLY_WEBHOOK.format(upstream)) if rule == "NG13"]
    assert "proxy_pass http://127.0.0.1:8080;" in fix
