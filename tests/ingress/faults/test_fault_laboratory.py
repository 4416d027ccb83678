"""The laboratory itself: its files are read strictly, its table is complete, and it sees wrongs."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from doctor.diagnosis.verdict import Diagnosis
from doctor.rules import RULES, Finding
from ingress.faults.fault_cases import (
    BadCase,
    Case,
    Expected,
    all_cases,
    places_of,
    read_case,
    render,
)
from ingress.faults.fault_chains import Chain, Laboratory, Seen, StartError
from ingress.faults.fault_gateways import BEHAVIOURS
from ingress.faults.fault_lab import Crew, Outcome
from ingress.faults.fault_table import page, summary
from programs import ROOT

CASE = Case(
    name="nginx/x",
    set="faults",
    row="H01",
    says="A fault.",
    chain=("nginx",),
    files={},
    expected=Expected("broken", "nginx", "request", "HS01"),
)
RIGHT = Diagnosis("broken", "So it is.", hop="nginx", phase="request", rule="HS01")


def _finding(rule: str, level: str) -> Finding:
    return Finding(rule, "slug", "nginx", level, "saw", "fix")  # type: ignore[arg-type]


def _file(folder: Path, text: str, name: str = "nginx/x.conf") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_case_is_read_from_its_first_comment(tmp_path: Path) -> None:
    text = '# row = "H01"\n# says = "A fault."\n# hop = "nginx"\nserver {\n    # own\n}\n'
    case = read_case(_file(tmp_path, text), tmp_path)
    assert (case.name, case.set, case.row, case.chain) == ("nginx/x", "faults", "H01", ("nginx",))
    assert case.expected == Expected("broken", "nginx")
    assert case.text("nginx") == "server {\n    # own\n}\n"


def test_a_healthy_case_needs_no_row_and_expects_health(tmp_path: Path) -> None:
    path = _file(tmp_path, '# says = "Good."\n', "healthy/nginx/x.conf")
    case = read_case(path, tmp_path)
    assert (case.set, case.expected, case.text("nginx")) == ("healthy", Expected("healthy"), "")


def test_sections_are_the_configurations_of_programs_and_further_files(tmp_path: Path) -> None:
    text = (
        '# row = "H01"\n# says = "A fault."\n# chain = ["haproxy", "nginx"]\n'
        "# ==> nginx\nserver {}\n# ==> snippets/ws.conf\nwords;\n"
    )
    case = read_case(_file(tmp_path, text), tmp_path)
    assert case.text("nginx") == "server {}\n"
    assert case.text("haproxy") == ""
    assert case.snippets == {"snippets/ws.conf": "words;\n"}


@pytest.mark.parametrize(
    "head",
    ["# row = H01\n", '# row = "H01"\n', '# says = "A fault."\n', '# says = ""\n# rwo = "H01"\n'],
)
def test_a_case_with_a_mistake_is_refused_by_name(tmp_path: Path, head: str) -> None:
    with pytest.raises(BadCase, match="nginx/x"):
        read_case(_file(tmp_path, head), tmp_path)


def test_places_are_filled_in_and_unknown_ones_are_refused() -> None:
    text = "proxy_pass http://@upstream@; error_page 404 = @named; # @x"
    assert places_of(text) == {"upstream"}
    assert render(text, {"upstream": "h:1"}).startswith("proxy_pass http://h:1; error_page 404 = @")
    with pytest.raises(KeyError):
        render(text, {})


def test_every_case_names_what_there_is() -> None:
    for case in all_cases():
        assert case.gateway in (*BEHAVIOURS, "refused"), case.name
        assert case.expected.rule is None or case.expected.rule in RULES, case.name
        hops = {None, "gateway", "sidecar", *case.chain}
        assert case.expected.hop in hops, case.name
        is_healthy = case.expected.verdict == "healthy"
        assert is_healthy == (case.set == "healthy") or case.expected.warns, case.name


def test_there_are_at_least_eighty_rows_of_faults_by_real_programs() -> None:
    assert len([case for case in all_cases() if case.set == "faults"]) >= 80
    assert len({case.row for case in all_cases()} - {""}) >= 50


@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        (RIGHT, "right"),
        (replace(RIGHT, rule="HS02"), "right hop"),
        (replace(RIGHT, phase="response"), "right hop"),
        (replace(RIGHT, findings=(_finding("HS01", "error"),)), "right"),
        (replace(RIGHT, findings=(_finding("HS02", "error"),)), "right hop"),
        (replace(RIGHT, findings=(_finding("HS10", "warning"),)), "right"),
        (replace(RIGHT, hop="gateway"), "wrong"),
        (Diagnosis("healthy", "All is well."), "wrong"),
        (Diagnosis("cannot_tell", "Who knows."), "cannot tell"),
    ],
)
def test_an_outcome_is_right_only_if_nothing_else_was_said(said: Diagnosis, verdict: str) -> None:
    assert Outcome(CASE, said, ()).verdict == verdict


def test_a_healthy_case_allows_no_warning_that_it_does_not_name() -> None:
    healthy = replace(CASE, set="healthy", expected=Expected("healthy", warns=("HS03",)))
    warned = Diagnosis("healthy", "Well.", findings=(_finding("HS03", "warning"),))
    assert Outcome(healthy, warned, ()).verdict == "right"
    other = replace(warned, findings=(_finding("HS10", "warning"),))
    assert Outcome(healthy, other, ()).complaints
    assert Outcome(healthy, Diagnosis("cannot_tell", "Who knows."), ()).verdict == "wrong"


def test_what_arrived_is_compared_by_what_it_has_and_lacks() -> None:
    seen = Seen("101", "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n")
    assert seen.lacks(("HTTP/1.1", "upgrade: websocket", "no Connection")) == []
    assert len(seen.lacks(("HTTP/1.0", "no Host"))) == 2
    assert seen.lacks(("nothing",))
    assert Seen("404", "").lacks(("nothing",)) == []
    assert Seen("404", "").lacks(("no Host",))


def test_the_table_counts_each_set() -> None:
    outcomes = [
        Outcome(CASE, RIGHT, ()),
        Outcome(CASE, replace(RIGHT, rule="HS02"), ()),
        Outcome(CASE, replace(RIGHT, hop="gateway"), ()),
        Outcome(replace(CASE, set="unseen"), Diagnosis("cannot_tell", ""), ()),
    ]
    assert [line.split() for line in summary(outcomes)[1:]] == [
        ["faults", "3", "2", "1", "1", "0"],
        ["unseen", "1", "0", "0", "0", "1"],
        ["healthy", "0", "0", "0", "0", "0"],
    ]


def test_the_page_in_docs_lists_the_cases_that_there_are() -> None:
    listed = [
        row.rsplit(" | ", 1)[0]
        for row in (ROOT / "docs" / "faults.md").read_text().splitlines()
        if row.startswith("| ") and not row.startswith("| case ")
    ]
    outcomes = [Outcome(case, RIGHT, ()) for case in all_cases()]
    due = [
        row.rsplit(" | ", 1)[0]
        for row in page(outcomes).splitlines()
        if row.startswith("| ") and not row.startswith("| case ")
    ]
    assert listed == due, "run `make faults`"


@pytest.mark.parametrize("failures", [1, 2])
def test_a_program_that_does_not_come_up_is_started_once_more(
    failures: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Case] = []
    running = Laboratory.running

    @contextmanager
    def fails_at_first(laboratory: Laboratory, case: Case) -> Iterator[Chain]:
        started.append(case)
        if len(started) <= failures:
            raise StartError("its port was taken")
        with running(laboratory, case) as chain:
            yield chain

    monkeypatch.setattr(Laboratory, "running", fails_at_first)
    with Crew(tmp_path) as crew:
        examined = crew.submit(replace(CASE, chain=(), expected=Expected("healthy")))
        if failures == 2:
            with pytest.raises(StartError, match="its port was taken"):
                examined.result()
        else:
            assert examined.result().outcome.complaints == []
    assert (len(started), crew.started_anew) == (2, ["nginx/x: its port was taken"])
