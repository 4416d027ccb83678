"""The table of `hopscope compare`: what it says of what was seen, and what it leaves out."""

import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from doctor.comparing.passage import Passage
from doctor.comparing.rendering import markdown, print_comparison
from doctor.comparing.table import added_ms, as_contract, make_table, ratio, without_times
from doctor.comparing.verdicts import diagnosis_of, exit_code, verdict_of, verdict_of_all
from doctor.evidence import Exchange, Silence
from doctor.probing.passed import Manners, TargetSeen
from passages import CALLS, DIRECT, GOOD, SLOWER, passage
from sights import ECHOES, SENT, arrival, changed, echoes, probe, unreached, upgrade, without


def row(title: str, *passages: Passage) -> tuple[str, ...]:
    found = [each.cells for each in make_table(passages).rows if each.title == title]
    assert len(found) == 1, title
    return found[0]


def titles(*passages: Passage) -> list[str]:
    return [each.title for each in make_table(passages).rows]


def test_a_clean_upgrade_is_said_in_a_word() -> None:
    seen = passage()
    assert row("upgrade", seen) == ("101",)
    assert row("verdict", seen) == ("healthy",)
    assert row("arrives as", seen) == ("GET HTTP/1.1",)
    assert row("request: added", seen) == ("nothing",)
    assert row("request: names spelled", seen) == ("kept",)


def test_fields_are_told_by_name_and_values_only_where_they_tell_something() -> None:
    came = changed(
        SENT,
        Connection="upgrade",
        X_Forwarded_For="192.0.2.7",
        X_Forwarded_Proto="https",
        X_Request_Id="abc",
    )
    seen = passage(upgrade(101, came=without("User-Agent", fields=came)))
    assert row("request: added", seen) == (
        "X-Forwarded-For, X-Forwarded-Proto: https, X-Request-Id",
    )
    assert row("request: changed", seen) == ("Connection: Upgrade → upgrade",)
    assert row("request: dropped", seen) == ("User-Agent",)


def test_names_that_are_spelled_anew_are_told() -> None:
    lower = tuple((name.lower(), value) for name, value in SENT)
    assert row("request: names spelled", passage(upgrade(101, came=lower))) == ("lower case",)
    go = tuple((name.replace("WebSocket", "Websocket"), value) for name, value in SENT)
    told = row("request: names spelled", passage(upgrade(101, came=go)))
    assert told == ("Sec-Websocket-Key, Sec-Websocket-Version",)


def test_the_answers_fields_are_compared_and_a_stamp_that_is_gone_is_told() -> None:
    exchange = upgrade(101, came=arrival())
    assert exchange.answer is not None
    stamped = replace(exchange.answer, fields=(*exchange.answer.fields, ("Server", "nginx")))
    seen = passage(replace(exchange, answer=stamped))
    assert row("101: added", seen) == ("Server",)
    assert row("101: dropped", seen) == ("nothing",)
    bare = passage(replace(exchange, answer=replace(stamped, stamp=None)))
    assert row("101: dropped", bare) == ("Proxy-Status",)


@pytest.mark.parametrize(
    ("exchange", "told"),
    [
        (upgrade(404, "nginx"), "404, by the ingress"),
        (upgrade(403, "gateway"), "403, from behind the ingress"),
        (upgrade(None, fault="timeout"), "request: timeout"),
    ],
)
def test_an_upgrade_that_fails_is_told_by_its_answer_and_who_made_it(
    exchange: Exchange, told: str
) -> None:
    assert row("upgrade", passage(exchange)) == (told,)


def test_an_ingress_that_takes_upgrade_away_is_broken_by_the_rule_that_knows_it() -> None:
    seen = passage(upgrade(426, came=without("Upgrade")))
    assert row("verdict", seen)[0].startswith("broken (HS01")
    assert exit_code([DIRECT, seen]) == 1


def test_an_ingress_that_is_not_reached_has_a_row_of_dashes() -> None:
    made = unreached("nginx", "connect", "refused")
    chain = (probe("sidecar", name="direct"), made)
    said = diagnosis_of(chain, "/voice/stream", "/voice/webhook")
    seen = Passage("nginx", made, said)
    assert row("upgrade", DIRECT, seen) == ("101", "connect: refused")
    assert row("request: added", DIRECT, seen) == ("nothing", "-")
    assert verdict_of(seen) == "broken"


def test_targets_are_told_one_by_one() -> None:
    sent = "/voice/stream"
    seen = passage(
        targets=(
            TargetSeen("double slash", f"{sent}//a", "changed", f"{sent}/a"),
            TargetSeen("escaped slash", f"{sent}/a%2Fb", "lost", "", 404),
            TargetSeen("query", f"{sent}?a=1", "kept"),
            TargetSeen("dots", f"{sent}/../x", "unknown"),
            TargetSeen("mount", sent, "changed", "/stream"),
            TargetSeen("hung up", sent, "lost"),
        )
    )
    assert row("double slash", seen) == ("becomes …/a",)
    assert row("escaped slash", seen) == ("answered 404 in front",)
    assert row("query", seen) == ("kept",)
    assert row("dots", seen) == ("cannot tell",)
    assert row("mount", seen) == ("becomes /stream",)
    assert row("hung up", seen) == ("no answer",)


def test_the_stream_is_told_by_what_came_back() -> None:
    seen = passage(manners=Manners("lost", "answered", "passed", "cut"), echoes=ECHOES)
    assert row("bytes behind the head", seen) == ("lost",)
    assert row("ping by the client", seen) == ("answered by the hop itself",)
    assert row("ping by the server", seen) == ("passed",)
    assert row("half-close by the client", seen) == ("the stream is cut",)
    assert row("messages to 1 MiB", seen) == ("as sent",)
    assert row("close codes", seen) == ("as sent",)
    cut = passage(echoes=echoes(binary_1_MiB=("cut", "EOF"), close_4000_by_client=("missing", "")))
    assert row("messages to 1 MiB", cut) == ("binary 1 MiB: cut",)
    assert row("close codes", cut) == ("close 4000 by client: missing",)
    merged = tuple(
        replace(echo, saw="came back in one frame") if echo.name == "fragments 3" else echo
        for echo in ECHOES
    )
    told = row("messages to 1 MiB", passage(echoes=merged))
    assert told == ("fragments 3: came back in one frame",)


def test_silence_is_told_where_it_was_asked_for() -> None:
    assert "silence" not in titles(passage())
    lived, died = (
        passage(echoes=ECHOES, silence=Silence(5.0, after, how))
        for after, how in ((None, ""), (3.04, "EOF without a Close"))
    )
    assert row("silence", lived, died) == ("alive after 5 s", "EOF without a Close after 3.0 s")


def test_times_are_medians_and_what_is_added_is_of_the_same_rounds() -> None:
    seen = passage(calls=SLOWER)
    assert row("round trip", DIRECT, seen) == ("0.60 ms", "1.20 ms")
    assert added_ms(seen, DIRECT) == pytest.approx(0.6)
    assert ratio(seen, DIRECT) == pytest.approx(2.0)
    assert row("added to the direct way", DIRECT, seen) == ("-", "+0.60 ms (2.0 times)")
    assert "added to the direct way" not in titles(seen)
    # A round that one of them has not is of no use.
    assert added_ms(passage(calls=SLOWER[:1]), replace(DIRECT, calls=CALLS[1:])) is None
    drifted = tuple(replace(call, round_trip_ms=call.round_trip_ms + 5) for call in SLOWER[:2])
    slow = tuple(replace(call, round_trip_ms=call.round_trip_ms + 5) for call in CALLS[:2])
    assert added_ms(passage(calls=drifted), replace(DIRECT, calls=slow)) == pytest.approx(0.6)


def test_without_times_only_behaviour_is_left() -> None:
    table = without_times(make_table([DIRECT, passage(calls=SLOWER)]))
    assert table.group("times") == ()
    assert len(table.group("heads")) > 5


@pytest.mark.parametrize(
    ("faults", "verdict"),
    [
        (("", "", ""), "healthy"),
        (("held", "", ""), "healthy"),
        (("held", "held", ""), "broken"),
        (("cut", "", ""), "broken"),
        (("", "missing", "held"), "broken"),
    ],
)
def test_one_call_that_was_held_up_is_the_machines_two_are_the_ingress(
    faults: tuple[str, ...], verdict: str
) -> None:
    calls = tuple(
        replace(call, fault=fault)  # type: ignore[arg-type]
        for call, fault in zip(CALLS, faults, strict=True)
    )
    assert verdict_of(passage(calls=calls)) == verdict


def test_all_together_are_as_good_as_the_worst() -> None:
    good, bad = passage(), passage(upgrade(404, "nginx"))
    unknown = replace(good, diagnosis=replace(good.diagnosis, verdict="cannot_tell"))
    assert (verdict_of_all([good, good]), exit_code([good, good])) == ("healthy", 0)
    assert (verdict_of_all([good, unknown]), exit_code([good, unknown])) == ("cannot_tell", 2)
    assert (verdict_of_all([unknown, bad]), exit_code([unknown, bad])) == ("broken", 1)


def test_the_direct_way_is_a_way_and_no_hop() -> None:
    sidecar, nginx = probe("sidecar", name="direct"), probe("nginx")
    sentences = [
        diagnosis_of(chain, "/voice/stream", "/voice/webhook").sentence
        for chain in ([sidecar], [sidecar, nginx], [sidecar, probe("nginx", name="sidecar")])
    ]
    assert [each.partition(";")[0] for each in sentences] == [
        "Healthy: sidecar is good",
        "Healthy: both hops are good (sidecar, nginx)",
        "Healthy: both hops are good (direct, sidecar)",  # who is called so keeps the name
    ]


def test_json_has_every_ingress_and_the_same_table() -> None:
    seen = passage(calls=SLOWER, manners=GOOD)
    told = as_contract([DIRECT, seen], ["a note"])
    json.dumps(told)
    assert set(told) == {"verdict", "direct", "ingresses", "table", "notes"}
    assert (told["verdict"], told["notes"]) == ("healthy", ["a note"])
    direct, other = told["ingresses"]
    assert (direct["added_ms"], other["ratio"]) == (None, pytest.approx(2.0))
    assert other["medians"]["round_trip_ms"] == pytest.approx(1.2)
    assert {"request", "answer", "targets", "manners", "calls", "sentence"} <= set(other)
    assert told["table"]["columns"] == ["direct", "nginx"]
    assert {"group", "title", "cells", "is_measured"} == set(told["table"]["rows"][0])


def test_markdown_has_a_table_a_group_and_as_many_cells_in_every_line() -> None:
    seen = passage(name="a|b", calls=SLOWER, manners=GOOD)
    lines = markdown(make_table([DIRECT, seen])).splitlines()
    assert sum(line.startswith("## ") for line in lines) == 4
    widths: set[int] = set()
    for line in [*lines, ""]:
        if line.startswith("|"):
            widths.add(line.replace("\\|", "").count("|"))
        else:
            assert len(widths) < 2
            widths = set()
    assert any(line.startswith("| a\\|b | 101 |") for line in lines)


def test_a_terminal_is_told_a_sentence_each_and_is_not_steered() -> None:
    out = io.StringIO()
    seen = passage(name="ngi\x1b[2Jnx", calls=SLOWER)
    print_comparison(Console(file=out, width=160), make_table([DIRECT, seen]), [DIRECT, seen])
    text = out.getvalue()
    assert "\x1b" not in text
    assert text.splitlines()[0].startswith("direct  Healthy")
    assert "added to the direct way" in text
