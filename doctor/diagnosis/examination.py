"""One examination from start to verdict: find the hops, probe them, read their configurations."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from doctor.diagnosis.input import Misuse
from doctor.diagnosis.outside import with_outside
from doctor.diagnosis.verdict import Diagnosis, diagnose, sights_of
from doctor.evidence import Hop, Linted, Probe
from doctor.linting import engine
from doctor.linting.findings import LintReport, Paths
from doctor.probing import ProbeOptions, load_hops, probe_chain
from doctor.probing.chain import public_host
from doctor.probing.discovery import discover
from doctor.probing.hops import with_public

HOPS_FILE = Path("hops.toml")


@dataclass(frozen=True, slots=True)
class Examination:
    """What came of it. `notes` are about the machine and the files, not about one hop."""

    diagnosis: Diagnosis
    probes: tuple[Probe, ...]
    notes: tuple[str, ...]
    elapsed_s: float


async def examine(
    hops_file: Path | None,
    public_url: str | None,
    configs: Sequence[Path],
    options: ProbeOptions,
    progress: Callable[[str], None],
) -> Examination:
    """Raises HopsError where the hops cannot be known, Misuse for a file that cannot be read."""
    began = time.monotonic()
    reports: dict[str, list[LintReport]] = {}
    notes: list[str] = []
    if hops_file is not None:
        hops: tuple[Hop, ...] = tuple(with_public(load_hops(hops_file), public_url))
        paths = paths_of(hops, options)
    else:
        progress("finding the hops")
        found = await discover(
            public_url,
            admin=options.admin,
            admin_token=options.admin_token,
            stream_path=options.stream_path,
        )
        hops = found.hops
        notes += found.notes
        options = replace(options, admin=found.admin, hop_notes=dict(found.hop_notes))
        paths = paths_of(hops, options)
        for name, document in found.documents:
            report = engine.lint_text(document.text, Path(document.source), document.kind, paths)
            reports.setdefault(name, []).append(report)
    for hop in hops:
        if hop.config is not None and hop.name not in reports:
            reports[hop.name] = [engine.lint_file(hop.config, None, paths)]
    for file in configs:
        report = engine.lint_file(file, None, paths)
        if report.unreadable:
            raise Misuse(f"--config: {report.unreadable}")
        names = [hop.name for hop in hops if hop.kind == report.kind]
        if not names:
            notes.append(f"{file}: none of the hops is a {report.kind}; it was not used")
        for name in names or [""]:
            reports.setdefault(name, []).append(report)
    notes += [each.unreadable for many in reports.values() for each in many if each.unreadable]
    probes = await probe_chain(hops, options, progress)
    sights = sights_of(
        probes,
        linted={name: _linted(many) for name, many in reports.items()},
        stream_path=options.stream_path,
        webhook_path=options.webhook_path,
    )
    elapsed_s = round(time.monotonic() - began, 2)
    listed = None if hops_file is None else str(hops_file)
    diagnosis = with_outside(diagnose(sights), hops, listed)
    return Examination(diagnosis, probes, tuple(notes), elapsed_s)


def paths_of(hops: Sequence[Hop], options: ProbeOptions) -> Paths:
    """What the linters are asked about: the two paths that are probed, under the public name.

    The scheme is known only of a public name: what is dialled at an address may be the inner end
    of a tunnel that nobody listed.
    """
    authority = public_host(hops, options) or ""
    host = authority.partition(":")[0]
    scheme = ""
    if hops and urlsplit(hops[-1].url).hostname == host:
        scheme = urlsplit(hops[-1].url).scheme
    return Paths(options.webhook_path, options.stream_path, status="", host=host, scheme=scheme)


def _linted(reports: Sequence[LintReport]) -> tuple[Linted, ...]:
    return tuple(
        Linted(f.rule, f.slug, str(f.file), f.line, f.saw, f.fix, f.level)
        for report in reports
        for f in report.findings
    )
