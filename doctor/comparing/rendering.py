"""A comparison for people: in a terminal, or as Markdown for a page."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from doctor.comparing.passage import Passage
from doctor.comparing.table import GROUPS, Row, Table
from doctor.comparing.verdicts import verdict_of
from doctor.diagnosis.text import VERDICTS, printable


def print_comparison(console: Console, table: Table, passages: Sequence[Passage]) -> None:
    """One sentence an ingress, then the table. Without colours where the console is no terminal."""
    for passage in passages:
        style = VERDICTS[verdict_of(passage)]
        said = printable(passage.diagnosis.sentence)
        line = Text.assemble((f"{printable(passage.name)}  ", "bold"), (said, style))
        console.print(line, soft_wrap=True)
    drawn = RichTable(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    drawn.add_column("")
    for name in table.columns:
        drawn.add_column(printable(name), overflow="fold")
    for group, title in GROUPS.items():
        rows = table.group(group)
        if rows:
            drawn.add_row(*([""] * (len(table.columns) + 1)))
            drawn.add_row(Text(title, "dim"))
        for row in rows:
            drawn.add_row(row.title, *_cells(row))
    console.print(drawn)


def _cells(row: Row) -> list[Text]:
    """What differs from the direct way or from most is not marked: the reader sees the row."""
    return [Text(printable(cell), "red" if cell.startswith("broken") else "") for cell in row.cells]


def markdown(table: Table, *, level: int = 2) -> str:
    """One table a group, an ingress a row: there are more aspects than fit beside each other."""
    parts = []
    for group, title in GROUPS.items():
        rows = table.group(group)
        if not rows:
            continue
        lines = [
            _line(["", *(row.title for row in rows)]),
            "|" + "---|" * (len(rows) + 1),
            *(
                _line([name, *(row.cells[index] for row in rows)])
                for index, name in enumerate(table.columns)
            ),
        ]
        parts.append(f"{'#' * level} {title}\n\n" + "\n".join(lines) + "\n")
    return "\n".join(parts)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(printable(cell).replace("|", "\\|") for cell in cells) + " |"
