"""A diagnosis as one self-contained HTML file, to be attached to a ticket (pure).

No script, no font, no image from elsewhere; every word of a peer is escaped. It reads as well
printed in black and white: what changed is marked by signs, not by colour alone.
"""

from collections.abc import Iterable, Sequence
from html import escape

from doctor.diagnosis.heads import Line
from doctor.diagnosis.picture import ARROWS, stations
from doctor.diagnosis.text import answers_of, heads_of
from doctor.diagnosis.verdict import Diagnosis
from doctor.evidence import Probe
from doctor.rules import Finding

_SIGNS = {"same": "", "respelled": "", "changed": "~", "removed": "-", "added": "+"}
_STYLE = """
:root { color-scheme: light dark; --line: #8884; --good: #2a7d2a; --bad: #c22; --maybe: #a60 }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.4rem; border-left: .4rem solid var(--maybe); padding-left: .8rem }
h1.broken { border-color: var(--bad) } h1.healthy { border-color: var(--good) }
h2, summary { font-size: 1.1rem; font-weight: bold; margin-top: 2rem }
summary { cursor: pointer }
ol.way { list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: .4rem }
ol.way b { display: block }
ol.way div { border: 1px solid var(--line); border-radius: .4rem; padding: .3rem .8rem }
ol.way li { display: flex; gap: .4rem; align-items: center }
ol.way .guilty div { border: 3px solid var(--bad) }
ol.way .broken > span { color: var(--bad); font-weight: bold }
table { border-collapse: collapse; width: 100%; font: 13px/1.4 ui-monospace, monospace }
th, td { text-align: left; vertical-align: top; padding: .15rem .5rem; overflow-wrap: anywhere }
th, td { border-bottom: 1px solid var(--line) }
tr.removed, .fault { color: var(--bad) }
tr.changed { color: var(--maybe) }
tr.added { color: var(--good) }
pre { background: #8881; padding: .8rem; overflow-x: auto; border-radius: .4rem }
small { opacity: .75 }
""".strip()


def page(diagnosis: Diagnosis, probes: Sequence[Probe], made_at: str) -> str:
    """The file. `made_at` is the time to print, ISO 8601."""
    guilty = next((probe for probe in probes if probe.hop.name == diagnosis.hop), None)
    parts = [
        f'<h1 class="{diagnosis.verdict}">{escape(diagnosis.sentence)}</h1>',
        _way(probes, diagnosis.hop),
        *(_finding(finding) for finding in diagnosis.findings),
    ]
    if guilty is not None:
        parts += [_heads(*heads) for heads in (heads_of(guilty), answers_of(guilty)) if heads]
    parts += [_configuration(diagnosis), _phases(probes), _notes(probes), _skipped(diagnosis)]
    body = "\n".join(part for part in parts if part)
    return (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width">\n'
        f"<title>{escape(diagnosis.sentence)}</title>\n<style>\n{_STYLE}\n</style>\n{body}\n"
        f"<p><small>hopscope doctor, {escape(made_at)}</small></p>\n</html>\n"
    )


def _way(probes: Sequence[Probe], guilty: str | None) -> str:
    items = ["<li><div><b>Twilio</b>&nbsp;</div></li>"]
    for station in stations(probes, guilty):
        classes = f"{station.way}{' guilty' if station.is_guilty else ''}"
        items.append(
            f'<li class="{classes}"><span>{ARROWS[station.way]}</span><div>'
            f"<b>{escape(station.name)}</b>{escape(station.note)}</div></li>"
        )
    return f'<ol class="way">{"".join(items)}</ol>'


def _finding(finding: Finding) -> str:
    return (
        f"<h2>{finding.rule} {escape(finding.slug)} at {escape(finding.hop)}</h2>\n"
        f"<p>{escape(finding.saw)}</p>\n<pre>{escape(finding.fix)}</pre>"
    )


def _heads(left: str, right: str, lines: Sequence[Line]) -> str:
    rows = "".join(
        f'<tr class="{line.change}"><td>{_SIGNS[line.change]}</td><td>{escape(line.left)}</td>'
        f"<td>{escape(line.right)}</td></tr>"
        for line in lines
    )
    head = f"<tr><th></th><th>{escape(left)}</th><th>{escape(right)}</th></tr>"
    return f"<h2>{escape(right)}</h2>\n<table>{head}{rows}</table>"


def _phases(probes: Sequence[Probe]) -> str:
    rows = []
    for probe in reversed(probes):
        cells = []
        for phase in probe.phases:
            if phase.fault:
                told = f"{phase.fault.replace('_', ' ')} {phase.detail}".strip()
                cells.append(f'{phase.name} <span class="fault">{escape(told)}</span>')
            else:
                cells.append(f"{phase.name} {phase.ms:.0f} ms")
        told = ", ".join(cells) or "not probed"
        url = escape(probe.hop.url)
        rows.append(f"<tr><td>{escape(probe.hop.name)}</td><td>{url}</td><td>{told}</td></tr>")
    return f"<h2>Every hop, outside first</h2>\n<table>{''.join(rows)}</table>"


def _notes(probes: Sequence[Probe]) -> str:
    return _list((f"{probe.hop.name}: {note}" for probe in probes for note in probe.notes), "Notes")


def _configuration(diagnosis: Diagnosis) -> str:
    told = (
        f"{each.hop}: {each.found.rule} {each.found.file}:{each.found.line}: {each.found.saw}. "
        f"{each.found.fix}"
        for each in diagnosis.configuration
    )
    return _list(told, "In the configurations")


def _skipped(diagnosis: Diagnosis) -> str:
    """Folded: there are always some, and most of them are so by nature."""
    told = dict.fromkeys(f"{each.rule} at {each.hop}: {each.because}" for each in diagnosis.skipped)
    if not told:
        return ""
    title = f"<summary>Not looked at ({len(told)})</summary>"
    return f"<details>\n{title}\n{_items(told)}\n</details>"


def _list(items: Iterable[str], title: str) -> str:
    told = list(items)
    return f"<h2>{title}</h2>\n{_items(told)}" if told else ""


def _items(told: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(item)}</li>' for item in told)}</ul>"
