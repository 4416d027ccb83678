"""Writes docs/ingress.md: PYTHONPATH=tests python -m ingress.side_by_side docs/ingress.md"""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

import pytest

from doctor.comparing.running import Comparison, compare
from ingress.side_by_side import reloads
from ingress.side_by_side.ingresses import ALL, MOUNTED, SHORT, Ingresses, running, version
from ingress.side_by_side.page import Seen, page

PROGRAMS = (
    *("nginx", "haproxy", "caddy", "traefik", "envoy", "apache"),
    *("cloudflared", "tailscaled"),
)


def tell(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="side_by_side")
    parser.add_argument("file", type=Path)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--idle", type=float, default=70, help="longer than nginx's 60 s")
    asked = parser.parse_args(arguments)
    with (
        tempfile.TemporaryDirectory() as folder,
        running(Path(folder), [*ALL, *SHORT, MOUNTED]) as ingresses,
    ):
        proper = _compared(ingresses, ALL, asked.rounds, asked.seconds, asked.idle)
        short = _compared(ingresses, (*SHORT, MOUNTED), 0, 0, asked.idle)
        told = dict(_reloads(ingresses, Path(folder)))
    seen = Seen(
        proper.passages,
        [each for each in short.passages if not each.is_direct],
        told,
        {name: version(name) for name in PROGRAMS},
        "make ingress",
        asked.seconds,
    )
    asked.file.write_text(page(seen), encoding="utf-8")
    return 0


def _compared(
    ingresses: Ingresses, names: tuple[str, ...], rounds: int, seconds: float, idle_s: float
) -> Comparison:
    entries, options = ingresses.entries(names), ingresses.options(idle_s)
    return asyncio.run(compare(entries, options, rounds, seconds, tell))


def _reloads(ingresses: Ingresses, folder: Path) -> list[tuple[str, tuple[str, str]]]:
    """Each ingress that can be told, what it was told and what came of it."""
    told = []
    for name in reloads.TOLD:
        tell(f"{name}: a reload")
        if name in reloads.RELOADED:
            with reloads.server(ingresses, name, folder / f"reloaded-{name}") as reload:
                told.append((name, (reload.how, reloads.outcome(ingresses, name, reload))))
            continue
        is_known = name in ingresses.tunnels
        reload = reloads.cloudflared(ingresses, name) if is_known else reloads.funnel(ingresses)
        told.append((name, (reload.how, reloads.outcome(ingresses, name, reload))))
    return told


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except pytest.skip.Exception as missing:
        sys.exit(f"{missing}: the page is of all or of none")
