"""The same call through several ingresses, in turn, so that drift hits all of them alike."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from doctor.comparing.entries import Entry, direct_entry
from doctor.comparing.passage import Passage
from doctor.comparing.verdicts import diagnosis_of
from doctor.evidence import Probe
from doctor.probing.chain import make_plan
from doctor.probing.discovery import dialled
from doctor.probing.hops import checked_url
from doctor.probing.options import ProbeOptions
from doctor.probing.passed import CallSeen, Manners, TargetSeen
from doctor.probing.passing import PassingProbe
from doctor.probing.sidecar import AdminAddress, Unavailable

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Passages in the order in which the ingresses were named, the direct way first."""

    passages: tuple[Passage, ...]
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class _Way:
    """One ingress while it is being looked at."""

    entry: Entry
    probe: PassingProbe
    targets: tuple[TargetSeen, ...] = ()
    manners: Manners | None = None
    calls: tuple[CallSeen, ...] = ()


async def compare(
    entries: Sequence[Entry], options: ProbeOptions, calls: int, seconds: float, progress: Progress
) -> Comparison:
    """Place `calls` calls of so many seconds through each. Never raises for what an ingress does.

    Raises OSError for a CA file that cannot be read.
    """
    entries, notes = await _with_direct(entries, options)
    ways = [_Way(entry, await probe_of(entry, options)) for entry in entries]
    progress("connecting")
    await asyncio.gather(*(way.probe.reach() for way in ways))
    progress("asking")
    await asyncio.gather(*(way.probe.ask() for way in ways))
    for way in ways:
        progress(f"{way.entry.name}: messages and closes")
        await way.probe.echo()
    for way in ways:
        if way.probe.can_echo:
            progress(f"{way.entry.name}: what passes")
            way.targets = await way.probe.targets()
            way.manners = await way.probe.manners()
    for number in range(calls):
        for way in _in_turn([way for way in ways if way.probe.can_echo], number):
            progress(f"call {number + 1} of {calls} through {way.entry.name}")
            seen = await way.probe.call(number + 1, seconds)
            way.calls += () if seen is None else (seen,)
    await asyncio.gather(*(way.probe.open_idle() for way in ways))
    if options.idle_s:
        progress(f"silent for {options.idle_s:g} s")
    await asyncio.gather(*(way.probe.stay_silent() for way in ways))
    probes = [await way.probe.finish() for way in ways]
    behind = next((probe for probe in probes if probe.hop.kind == "sidecar"), None)
    passages = [
        _passage(way, probe, behind, options) for way, probe in zip(ways, probes, strict=True)
    ]
    return Comparison(tuple(passages), notes)


async def _with_direct(
    entries: Sequence[Entry], options: ProbeOptions
) -> tuple[tuple[Entry, ...], tuple[str, ...]]:
    """The entries behind the direct way to the sidecar, if it tells where it listens."""
    if options.admin is None:
        return tuple(entries), ()
    try:
        listen = (await AdminAddress(options.admin, options.admin_token).index()).get("listen")
    except (Unavailable, ValueError) as error:
        return tuple(entries), (f"the sidecar's admin address gave nothing: {error}",)
    if not listen:
        return tuple(entries), ("the sidecar does not tell where it listens",)
    url = checked_url(dialled(str(listen), options.admin), "the sidecar")
    direct = direct_entry(url, next((each.host for each in entries if each.host), None))
    probe = await probe_of(direct, options)
    await probe.reach()
    if (await probe.finish()).broken is not None:
        return tuple(entries), (f"the sidecar at {url} is not reached from here: no direct way",)
    # Who names the sidecar itself compares it with the direct way, which is the same.
    return (direct, *entries), ()


async def probe_of(entry: Entry, options: ProbeOptions) -> PassingProbe:
    """One ingress's probe, by its own Host and address. Raises OSError."""
    own = replace(options, host=entry.host, resolve=dict(options.resolve) | dict(entry.resolve))
    plan, why_not = await make_plan([entry.hop], own)
    return PassingProbe(entry.hop, plan, is_behind=False, notes=why_not)


def _in_turn(ways: list[_Way], number: int) -> list[_Way]:
    """Another one begins each round: what comes first after a pause is often slower."""
    first = number % len(ways) if ways else 0
    return ways[first:] + ways[:first]


def _passage(way: _Way, probe: Probe, behind: Probe | None, options: ProbeOptions) -> Passage:
    is_direct = behind is probe
    chain = [probe] if is_direct or behind is None else [behind, probe]
    return Passage(
        way.entry.name,
        probe,
        diagnosis_of(chain, options.stream_path, options.webhook_path),
        way.targets,
        way.manners,
        way.calls,
        is_direct=is_direct,
    )
