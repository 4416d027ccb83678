"""`hopscope lab`: the fault laboratory of the repository, from the command line (see hopscope.py).

The cases are tests (tests/ingress/faults), so they are there in a checkout and nowhere else.
"""

import json
import sys
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

CANNOT_TELL = 2
TESTS = Path(__file__).parents[2] / "tests"

lab = typer.Typer(
    help="The fault laboratory: real programs with one real fault each.", no_args_is_help=True
)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


@lab.command("list")
def list_cases(as_json: AsJson = False) -> None:
    """All cases: a name, the row of the catalogue, what is wrong."""
    cases = _laboratory().list_cases()
    if as_json:
        told = [{"name": case.name, "row": case.row, "says": case.says} for case in cases]
        sys.stdout.write(json.dumps(told, indent=2) + "\n")
        return
    for case in cases:
        sys.stdout.write(f"{case.name:<48} {case.row:<5} {case.says}\n")


@lab.command()
def run(
    name: Annotated[str, typer.Argument(metavar="NAME", help="From `hopscope lab list`.")],
    as_json: AsJson = False,
) -> None:
    """Start the programs of a case, and let the doctor look at them."""
    from rich.console import Console

    from doctor.diagnosis.text import print_diagnosis

    laboratory = _laboratory()
    names = [case.name for case in laboratory.list_cases()]
    if name not in names:
        near = get_close_matches(name, names, 1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise typer.BadParameter(f"there is no case {name!r}.{hint} `hopscope lab list` has all.")
    try:
        with Console(stderr=True).status("starting the programs") as status:
            _seen, outcome = laboratory.run(name, status.update)
    except laboratory.MISSING as missing:
        sys.stderr.write(f"hopscope: {name} cannot be run here: {missing}\n")
        raise typer.Exit(CANNOT_TELL) from None
    if as_json:
        sys.stdout.write(json.dumps(outcome.evidence(), indent=2) + "\n")
    else:
        sys.stdout.write(f"{name}: {outcome.case.says}\n\n")
        print_diagnosis(Console(), outcome.diagnosis, outcome.probes)
    raise typer.Exit(outcome.diagnosis.exit_code)


def _laboratory() -> Any:
    if not (TESTS / "ingress" / "faults").is_dir():
        raise typer.BadParameter(
            "the laboratory is in the repository, not in the installed package; there, after "
            "`make run`, it is .venv/bin/hopscope lab."
        )
    if str(TESTS) not in sys.path:
        sys.path.insert(0, str(TESTS))
    try:
        return import_module("ingress.faults.fault_lab")
    except ModuleNotFoundError as error:
        raise typer.BadParameter(
            f"the laboratory needs the packages of the tests ({error}); after `make run` it is "
            ".venv/bin/hopscope lab."
        ) from None
