"""Which host of a file is ours, and what is told of it; what becomes of a path, in one sentence."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from doctor.linting.findings import Becomes, LintFinding, Paths
from doctor.linting.ways import Verdict, Way, Ways, judge_hosts, requests_of

GATEWAY = "http://127.0.0.1:8080"
ANSWERED = Way("/a", "rule 2 (config.yml:9)", 9, answer="404")


def served(path: str, *, line: int = 7, is_named: bool = False, target: str = "") -> Way:
    return Way(path, f"rule 1 (config.yml:{line})", line, GATEWAY, target, is_named=is_named)


def host(
    name: str, *, line: int = 7, is_named: bool = False, webhook: bool = True, stream: bool = True
) -> Ways:
    return Ways(
        name,
        served("/w", line=line, is_named=is_named) if webhook else Way("/w", answer="404"),
        served("/s", line=line, is_named=is_named) if stream else Way("/s", answer="404"),
        Way("/x", answer="404"),
    )


def finding(rule: str, line: int) -> LintFinding:
    return LintFinding(rule, "slug", "error", Path("config.yml"), line, "saw", "fix")


def judged(*hosts: Ways, fires: dict[str, str] | None = None) -> Verdict:
    """`fires` has the ids that fire for each host."""

    def check(ways: Ways) -> Iterator[LintFinding]:
        for rule in (fires or {}).get(ways.host, "").split():
            yield finding(rule, ways.webhook.line)

    return judge_hosts(hosts, check)


def rules(verdict: Verdict) -> list[str]:
    return [each.rule for each in verdict.findings]


def test_the_requests_are_those_of_twilio() -> None:
    webhook, stream, status = requests_of(Paths("/w", "/s", "/x"), "voice.example.com")
    assert [(each.method, each.path) for each in (webhook, stream, status)] == [
        ("POST", "/w"),
        ("GET", "/s"),
        ("POST", "/x"),
    ]
    assert stream.headers["upgrade"] == "websocket"
    assert "upgrade" not in webhook.headers
    for each in (webhook, stream, status):
        assert each.headers["host"] == each.host == "voice.example.com"
        assert all(name == name.lower() for name in each.headers)
        assert not {"origin", "sec-websocket-protocol"} & set(each.headers)


@pytest.mark.parametrize(
    ("way", "told"),
    [
        (served("/a"), f"/a goes to {GATEWAY}"),
        (served("/a", target="/a"), f"/a goes to {GATEWAY}"),
        (served("/a", target="/b"), f"/a goes to {GATEWAY} as /b"),
        (ANSWERED, "/a is answered 404 by rule 2 (config.yml:9)"),
        (Way("/a", answer="404"), "nothing takes /a: 404"),
    ],
)
def test_a_way_is_told_in_one_sentence(way: Way, told: str) -> None:
    assert way.told() == told


def test_only_what_arrives_changed_is_rewritten() -> None:
    assert served("/a", target="/b").is_rewritten
    assert not served("/a", target="/a").is_rewritten
    assert not served("/a").is_rewritten  # it cannot be told
    assert not Way("/a", target="/b").is_rewritten  # nobody sees it


def test_a_way_becomes_what_is_reported() -> None:
    assert served("/a", target="/b").becomes() == Becomes(
        "/a", "rule 1 (config.yml:7)", GATEWAY, "/b"
    )


def test_the_name_of_a_host_ends_a_sentence() -> None:
    assert host("a.example").at == " (host a.example)"
    assert host("").at == ""


def test_a_file_without_hosts_has_no_verdict() -> None:
    assert judged() == Verdict()


def test_a_host_whose_rules_name_the_paths_is_ours() -> None:
    other, ours = host("other", line=1), host("ours", line=5, is_named=True)
    verdict = judged(other, ours, fires={"other": "XX01", "ours": "XX02"})
    assert rules(verdict) == ["XX02"]
    assert verdict.paths == tuple(way.becomes() for way in ours)
    assert verdict.remarks == ()


def test_a_named_path_that_is_not_passed_on_makes_no_host_ours() -> None:
    named = Way("/s", "rule", 3, answer="404", is_named=True)
    refusing = Ways("refusing", served("/w"), named, ANSWERED)
    verdict = judged(refusing, host("other", line=8), fires={"other": "XX01"})
    assert rules(verdict) == []  # it fires for one of two that may be ours
    assert len(verdict.remarks) == 1


def test_of_several_that_may_be_ours_only_what_fires_for_all_counts() -> None:
    hosts = [host("a", line=1), host("b", line=2), host("", line=3)]
    verdict = judged(*hosts, fires={"a": "XX01 XX02", "b": "XX02", "": "XX03 XX02"})
    assert [(each.rule, each.line) for each in verdict.findings] == [
        ("XX02", 1),
        ("XX02", 2),
        ("XX02", 3),
    ]
    assert verdict.remarks == (
        "Several hosts take the paths (a, b, any other); name the one that Twilio asks.",
    )


def test_at_most_five_hosts_are_listed() -> None:
    verdict = judged(*(host(f"h{i}") for i in range(9)))
    assert "(h0, h1, h2, h3, h4)" in verdict.remarks[0]


def test_what_several_hosts_share_is_said_once() -> None:
    verdict = judged(host("a"), host("b"), fires={"a": "XX01", "b": "XX01"})
    assert rules(verdict) == ["XX01"]


def test_where_none_takes_the_webhook_the_one_that_takes_the_stream_is_looked_at() -> None:
    neither = host("neither", webhook=False, stream=False)
    streaming = host("streaming", webhook=False)
    fires = {"neither": "XX01", "streaming": "XX02"}
    assert rules(judged(neither, streaming, fires=fires)) == ["XX02"]
    assert rules(judged(neither, neither, fires=fires)) == ["XX01"]
