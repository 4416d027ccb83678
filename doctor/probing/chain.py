"""All hops of a chain, probed side by side where that is safe, in an order that disturbs no call.

Requests of all hops go out together, at most four connections to one hop. What is bulky (the echo
of a mebibyte) goes over one hop at a time. Nothing is posted, reloaded or retried.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

from doctor.addresses import parse_url
from doctor.evidence import Hop, Probe, Stranger
from doctor.probing import tls
from doctor.probing.dial import is_name
from doctor.probing.hop import HopProbe
from doctor.probing.hops import checked_url
from doctor.probing.options import ProbeOptions
from doctor.probing.plan import Plan
from doctor.probing.sidecar import AdminAddress, Unavailable
from doctor.probing.switching import is_gateways_own

Progress = Callable[[str], None]


async def probe_chain(
    hops: Sequence[Hop], options: ProbeOptions, progress: Progress
) -> tuple[Probe, ...]:
    """Probe every hop, inside first. Never raises for what a hop does.

    Raises HopsError for a hop whose URL is none, OSError for a CA file that cannot be read.
    """
    for hop in hops:
        checked_url(hop.url, f"hop {hop.name!r}: url")
    plan, why_not = await make_plan(hops, options)
    probing = [
        HopProbe(
            hop,
            plan,
            is_behind=is_behind(hops, index),
            notes=(*options.hop_notes.get(hop.name, ()), *why_not),
        )
        for index, hop in enumerate(hops)
    ]

    async def first_look(probe: HopProbe) -> None:
        progress(f"{probe.hop.name}: connecting")
        await probe.reach()
        progress(f"{probe.hop.name}: asking")
        await probe.ask()

    began = await _newest(plan)
    await asyncio.gather(*(first_look(probe) for probe in probing))
    strangers = await _strangers(plan, began)
    for probe in probing:
        if probe.can_echo:
            progress(f"{probe.hop.name}: echo")
        await probe.echo()
    await asyncio.gather(*(probe.open_idle() for probe in probing))
    if options.idle_s:
        progress(f"silent for {options.idle_s:g} s")
    await asyncio.gather(*(probe.stay_silent() for probe in probing))
    if options.soak_s:
        progress(f"media for {options.soak_s:g} s")
    await asyncio.gather(*(probe.soak() for probe in probing))
    probes = [await probe.finish() for probe in probing]
    return tuple(settled([with_strangers(probe, strangers) for probe in probes]))


async def make_plan(hops: Sequence[Hop], options: ProbeOptions) -> tuple[Plan, tuple[str, ...]]:
    """What all hops share, and notes about what is not known. Raises OSError."""
    speaks_tls = any(hop.url.startswith("https://") for hop in hops)
    plan = Plan(
        options,
        public_host(hops, options),
        trust=tls.trust(options.ca) if speaks_tls else None,
        is_secure=bool(hops) and hops[-1].url.startswith("https://"),
    )
    if options.admin is None:
        why = "the sidecar's admin address is not known (--admin)"
        return replace(plan, why_no_admin=why), (f"{why}: no echo, no arrivals",)
    try:
        admin = AdminAddress(options.admin, options.admin_token)
        index = await admin.index()
        paths = await _paths_behind(admin, options, plan.host)
    except (Unavailable, ValueError) as error:
        why = f"the sidecar's admin address gave nothing: {error}"
        return replace(plan, why_no_admin=why), (f"{why}; no echo, no arrivals",)
    wants_header = index.get("proxy_protocol") is True
    return replace(plan, admin=admin, wants_proxy_header=wants_header, paths=paths), ()


async def _paths_behind(
    admin: AdminAddress, options: ProbeOptions, host: str | None
) -> dict[str, tuple[str, str]]:
    """What the paths become behind the sidecar, by the URL of who gets the stream."""
    stream = await admin.route(options.stream_path, host)
    webhook = await admin.route(options.webhook_path, host)
    if stream is None:
        return {}
    is_same = webhook is not None and webhook.upstream == stream.upstream
    path = webhook.target if webhook is not None and is_same else options.webhook_path
    return {stream.upstream: (stream.target, path)}


def settled(probes: Sequence[Probe]) -> list[Probe]:
    """The probes, where a refusal that carries no stamp is known to be the gateway's own word."""
    gateway = next((probe for probe in probes if probe.hop.kind == "gateway"), None)
    if gateway is None or not gateway.is_good:
        return list(probes)
    return [_settled(probe, gateway) for probe in probes]


def _settled(probe: Probe, gateway: Probe) -> Probe:
    upgrade = probe.upgrade
    is_known = upgrade is None or upgrade.arrivals is not None
    if is_known or probe.is_good or not is_gateways_own(probe, gateway):
        return probe
    phases = tuple(
        replace(phase, fault="") if phase.fault == "not_upgraded" else phase
        for phase in probe.phases
    )
    note = "the answer is the gateway's own refusal, so whatever is between passes it on"
    return replace(probe, phases=phases, notes=(*probe.notes, note))


def with_strangers(probe: Probe, strangers: tuple[Stranger, ...]) -> Probe:
    """The probe, with what came to the sidecar in place of an upgrade that did not arrive."""
    upgrade = probe.upgrade
    if not strangers or upgrade is None or upgrade.arrivals != () or upgrade.fault == "":
        return probe
    return replace(probe, upgrade=replace(upgrade, strangers=strangers))


async def _newest(plan: Plan) -> str:
    """The sidecar's newest record: what it notes from now on is newer. "" where none is known."""
    try:
        return "" if plan.admin is None else await plan.admin.newest_id()
    except Unavailable:
        return ""


async def _strangers(plan: Plan, began: str) -> tuple[Stranger, ...]:
    try:
        return () if plan.admin is None else await plan.admin.strangers(began)
    except Unavailable:
        return ()


def public_host(hops: Sequence[Hop], options: ProbeOptions) -> str | None:
    """The Host that callers send: as told, else the outermost hop's, where that is a name."""
    if options.host is not None or not hops:
        return options.host
    target = parse_url(hops[-1].url)
    return target.authority if is_name(target.address.host) else None


def is_behind(hops: Sequence[Hop], index: int) -> bool:
    """Whether the sidecar is in front of a hop, so that it cannot echo for it."""
    sidecars = [number for number, hop in enumerate(hops) if hop.kind == "sidecar"]
    return index < sidecars[0] if sidecars else hops[index].kind == "gateway"
