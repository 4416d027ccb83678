"""docs/ingress.md is what the real programs do now: every cell of behaviour, none of the times."""

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from doctor.comparing.passage import Passage
from doctor.comparing.running import compare
from doctor.comparing.table import make_table
from ingress.side_by_side import reloads
from ingress.side_by_side.claims import RELOAD_TITLE, claims
from ingress.side_by_side.ingresses import (
    ALL,
    CLOUDFLARE,
    MOUNTED,
    SERVERS,
    SHORT,
    Ingresses,
    running,
)
from ingress.side_by_side.page import (
    INTRODUCTION,
    RELOAD_INTRODUCTION,
    RELOADS_TITLE,
    SHORT_COLUMNS,
    SHORT_INTRODUCTION,
    SHORT_TITLE,
    Seen,
    Unborne,
    behaviour,
    page,
    parse_tables,
    short_rows,
    short_table,
)
from passages import CALLS, DIRECT, GOOD, passage
from programs import ROOT

DOCS = (ROOT / "docs" / "ingress.md").read_text(encoding="utf-8")
TABLES = parse_tables(DOCS)
HINT = "run `make ingress`"
SILENCE = "silence"


pytestmark = pytest.mark.timeout(240)

Judge = Callable[[tuple[Passage, ...]], list[str]]


def complaints(folder: Path, names: Sequence[str], judge: Judge) -> list[str]:
    """What these ingresses do otherwise than the page says, twice: once may be a busy machine.

    No calls are placed: what a call is like is no behaviour. The direct way is left out.
    """
    with running(folder, names) as ingresses:
        found = judge(_compared(ingresses, names))
        if found:
            again = judge(_compared(ingresses, names))
            found = [said for said in found if said in again]
    return found


def _compared(ingresses: Ingresses, names: Sequence[str]) -> tuple[Passage, ...]:
    entries, options = ingresses.entries(names), ingresses.options(idle_s=0.5)
    seen = asyncio.run(compare(entries, options, 0, 0, lambda _: None)).passages
    return tuple(each for each in seen if not each.is_direct)


def proper_complaints(seen: tuple[Passage, ...]) -> list[str]:
    wrong = []
    for (heading, column), cells in behaviour(make_table(seen)).items():
        for name, cell in cells.items():
            told = TABLES.get((heading, column), {}).get(name, "nothing on the page")
            # The page's silence is longer than a test's.
            is_same = told.startswith("alive") if column == SILENCE else told == cell
            if not is_same:
                wrong.append(f"{name}, {column}: {cell!r}, and the page says {told!r}")
    return wrong


def short_complaints(seen: tuple[Passage, ...]) -> list[str]:
    wrong = []
    for name, cells in short_rows(seen).items():
        for column, cell in zip(SHORT_COLUMNS, cells, strict=True):
            told = TABLES[SHORT_TITLE, column][name]
            # What a long silence ends is found broken on the page, and not here.
            is_longer = column == "verdict" and "CL01" in told
            if column != SILENCE and not is_longer and told != cell:
                wrong.append(f"{name}, {column}: {cell!r}, and the page says {told!r}")
    return wrong


@pytest.mark.parametrize(
    "names",
    [SERVERS, *((name,) for name in CLOUDFLARE), ("funnel-https", "funnel-tcp")],
    ids=["servers", *CLOUDFLARE, "funnel"],
)
def test_what_the_page_says_of_an_ingress_is_what_it_does(
    names: tuple[str, ...], tmp_path: Path
) -> None:
    assert complaints(tmp_path, names, proper_complaints) == [], HINT


@pytest.mark.parametrize("names", [tuple(SHORT), (MOUNTED,)], ids=["servers", "funnel"])
def test_short_configurations_break_as_the_page_says(
    names: tuple[str, ...], tmp_path: Path
) -> None:
    assert complaints(tmp_path, names, short_complaints) == [], HINT


@pytest.mark.parametrize("name", reloads.RELOADED)
def test_a_reload_does_to_an_open_stream_what_the_page_says(name: str, tmp_path: Path) -> None:
    with (
        running(tmp_path, ()) as ingresses,
        reloads.server(ingresses, name, tmp_path / "reloaded") as reload,
    ):
        became = reloads.outcome(ingresses, name, reload)
    assert TABLES[RELOADS_TITLE, RELOAD_TITLE][name] == became, HINT


@pytest.mark.parametrize("name", sorted({*reloads.TOLD} - {*reloads.RELOADED}))
def test_other_rules_do_to_a_tunnels_stream_what_the_page_says(name: str, tmp_path: Path) -> None:
    with running(tmp_path, (name,)) as ingresses:
        is_funnel = name == "funnel-https"
        reload = reloads.funnel(ingresses) if is_funnel else reloads.cloudflared(ingresses, name)
        became = reloads.outcome(ingresses, name, reload)
    assert TABLES[RELOADS_TITLE, RELOAD_TITLE][name] == became, HINT


# -- the page itself -------------------------------------------------------------------------------


def test_every_sentence_of_the_answer_is_borne_out_by_the_tables_below_it() -> None:
    by_title: dict[str, dict[str, str]] = {}
    for (_heading, column), cells in TABLES.items():
        by_title[column] = cells | by_title.get(column, {})

    def cell(ingress: str, title: str) -> str:
        return by_title.get(title, {}).get(ingress, "")

    for claim in claims(ALL):
        assert claim.says in " ".join(DOCS.split()), HINT
        assert claim.is_borne(cell), claim.says


def test_every_ingress_has_its_rows() -> None:
    assert set(TABLES["The upgrade", "upgrade"]) == {"direct", *ALL}
    assert set(TABLES[SHORT_TITLE, "verdict"]) == {*SHORT, MOUNTED}
    assert set(TABLES["Times", "round trip"]) == set(ALL)
    assert set(TABLES[RELOADS_TITLE, RELOAD_TITLE]) == set(reloads.TOLD)


def test_every_program_says_its_version() -> None:
    told = dict(line.split() for line in DOCS.splitlines() if re.fullmatch(r" {4}\S+ +\S+", line))
    told.pop("make")
    assert set(told) == {*SERVERS, "cloudflared", "tailscaled"}
    assert all(re.match(r"v?\d+\.\d+", number) for number in told.values()), told


def test_what_was_run_is_told_as_the_page_would_tell_it_now() -> None:
    for paragraph in (SHORT_INTRODUCTION, RELOAD_INTRODUCTION):
        assert paragraph in DOCS, HINT
    for paragraph in INTRODUCTION.split("\n\n"):
        assert "{" in paragraph or paragraph in DOCS, HINT


def test_no_sentence_is_borne_out_by_nothing() -> None:
    assert all(not claim.is_borne(lambda *_: "") for claim in claims(ALL))


def test_a_page_whose_answer_is_not_borne_out_is_not_written() -> None:
    seen = Seen([DIRECT, passage(name="nginx", calls=CALLS, manners=GOOD)], [], {}, {}, "make", 1.0)
    with pytest.raises(Unborne, match="Funnel"):
        page(seen)


def test_what_differs_from_the_page_is_complained_of() -> None:
    nginx = passage(name="nginx", manners=replace(GOOD, early="lost"))
    assert any("bytes behind the head" in said for said in proper_complaints((nginx,)))
    assert any("HS01" in said for said in short_complaints((replace(nginx, name="nginx-bare"),)))


def test_tables_are_read_back_as_they_were_written() -> None:
    seen = passage(name="a|b", manners=GOOD)
    told = behaviour(make_table([DIRECT, replace(seen, name="nginx-bare")]))
    assert told["The upgrade", "upgrade"] == {"direct": "101", "nginx-bare": "101"}
    assert told["The stream", "ping by the client"]["nginx-bare"] == "passed"
    assert not any(heading == "Times" for heading, _ in told)
    short = parse_tables(f"## {SHORT_TITLE}\n\n{short_table([replace(seen, name='nginx-bare')])}")
    assert short[SHORT_TITLE, "upgrade"] == {"nginx-bare": "101"}
