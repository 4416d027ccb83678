"""The way from outside: good health of what runs here says that nobody asked it."""

from dataclasses import replace

import pytest

from doctor.diagnosis.outside import with_outside
from doctor.diagnosis.verdict import Diagnosis, Verdict
from doctor.evidence import Hop

HEALTHY = Diagnosis("healthy", "Healthy: both hops are good (gateway, sidecar).")
ASK = "Only what runs here was looked at: "


def hops(*urls: str) -> list[Hop]:
    return [Hop(f"hop-{number}", "other", url) for number, url in enumerate(urls)]


@pytest.mark.parametrize(
    "outermost",
    ["http://127.0.0.1:8080", "http://[::1]:8080", "http://192.168.1.7", "http://gateway:8081"],
)
def test_good_health_of_what_runs_here_says_how_to_ask_from_outside(outermost: str) -> None:
    here = hops("http://127.0.0.1:8081", outermost)
    assert with_outside(HEALTHY, here).sentence == (
        f"{HEALTHY.sentence} {ASK}name the public URL (hopscope doctor https://...) to test the "
        "way from outside."
    )
    assert with_outside(HEALTHY, here, "my/hops.toml").sentence == (
        f"{HEALTHY.sentence} {ASK}add the public URL to my/hops.toml as the last hop to test the "
        "way from outside."
    )
    assert replace(with_outside(HEALTHY, here), sentence=HEALTHY.sentence) == HEALTHY


def test_what_was_asked_by_a_public_name_needs_no_hint() -> None:
    for url in ("https://voice.example.com", "https://8.8.8.8:8443", "https://gw.tail1.ts.net"):
        assert with_outside(HEALTHY, hops("http://127.0.0.1:8081", url)) == HEALTHY


@pytest.mark.parametrize("verdict", ["broken", "cannot_tell"])
def test_a_break_is_mended_before_the_way_from_outside_is_asked(verdict: Verdict) -> None:
    found = replace(HEALTHY, verdict=verdict)
    assert with_outside(found, hops("http://127.0.0.1:8081")) == found
