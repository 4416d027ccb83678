"""All hops of a chain, probed side by side where that is safe, in an order that disturbs no call.

Requests of all hops go out together, at most four connections to one hop. What is bulky (the echo
of a mebibyte) goes over one hop at a time. Nothing is posted, reloaded or retried.
"""

import asyncio
from collections.abc import Callable, Sequence

from doctor.addresses import parse_url
from doctor.evidence import Hop, Probe
from doctor.probing.dial import is_name
from doctor.probing.hop import HopProbe, Plan
from doctor.probing.options import ProbeOptions
from doctor.probing.sidecar import AdminAddress, Unavailable

Progress = Callable[[str], None]


async def probe_chain(
    hops: Sequence[Hop], options: ProbeOptions, progress: Progress
) -> tuple[Probe, ...]:
    """Probe every hop, inside first. Never raises for what a hop does.

    Raises ValueError for a hop whose URL is none, OSError for a CA file that cannot be read.
    """
    admin, why_not = await _admin(options)
    plan = Plan(options, public_host(hops, options), admin, is_secure=_is_secure(hops))
    probes = [
        HopProbe(hop, plan, is_behind=_is_behind(hops, index), why_not=why_not)
        for index, hop in enumerate(hops)
    ]

    async def first_look(probe: HopProbe) -> None:
        progress(f"{probe.hop.name}: connecting")
        await probe.reach()
        progress(f"{probe.hop.name}: asking")
        await probe.ask()

    await asyncio.gather(*(first_look(probe) for probe in probes))
    for probe in probes:
        if probe.echoes_wanted:
            progress(f"{probe.hop.name}: echo")
        await probe.echo()
    if options.idle_s:
        progress(f"all hops: silent for {options.idle_s:g} s")
    await asyncio.gather(*(probe.stay_silent() for probe in probes))
    if options.soak_s:
        progress(f"all hops: media for {options.soak_s:g} s")
    await asyncio.gather(*(probe.soak() for probe in probes))
    return tuple([await probe.finish() for probe in probes])


def public_host(hops: Sequence[Hop], options: ProbeOptions) -> str | None:
    """The Host that callers send: as told, else the outermost hop's, where that is a name."""
    if options.host is not None or not hops:
        return options.host
    target = parse_url(hops[-1].url)
    return target.authority if is_name(target.address.host) else None


def _is_secure(hops: Sequence[Hop]) -> bool:
    return bool(hops) and hops[-1].url.startswith("https://")


def _is_behind(hops: Sequence[Hop], index: int) -> bool:
    """Whether the sidecar is in front of a hop, so that it cannot echo for it."""
    sidecars = [number for number, hop in enumerate(hops) if hop.kind == "sidecar"]
    return index < sidecars[0] if sidecars else hops[index].kind == "gateway"


async def _admin(options: ProbeOptions) -> tuple[AdminAddress | None, str]:
    """The sidecar's admin address if it answers, else why there is none."""
    if options.admin is None:
        return None, "the sidecar's admin address is not known (--admin): no echo, no arrivals"
    try:
        admin = AdminAddress(options.admin, options.admin_token)
        await admin.index()
    except (Unavailable, ValueError) as error:
        return None, f"the sidecar's admin address gave nothing: {error}; no echo, no arrivals"
    return admin, ""
