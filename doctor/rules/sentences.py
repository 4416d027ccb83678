"""What is said of a break that no rule knows: the hop, the phase, and what was seen there."""

from doctor.evidence import PhaseName, Probe

_DOES: dict[PhaseName, str] = {
    "resolve": "has a name that does not resolve",
    "connect": "does not accept connections",
    "tls": "does not finish the TLS handshake",
    "request": "does not upgrade",
    "response": "does not pass the 101 on as it should",
    "echo": "does not pass messages on as it should",
    "idle": "does not keep a silent stream open",
    "close": "does not pass a Close on as it should",
    "media": "does not pass media on as it should",
}


def explain_break(probe: Probe, behind: str | None) -> str:
    """One sentence; `behind` names the hop that did the same well."""
    broken = probe.broken
    if broken is None:
        return f"{probe.hop.name} is not as it should be."
    detail = broken.detail or broken.fault.replace("_", " ")
    well = f"; {behind} behind it does" if behind is not None else ""
    return f"{probe.hop.name} {_DOES[broken.name]}: {detail}{_stamp(probe)}{well}."


def _stamp(probe: Probe) -> str:
    """Who made the answer, where the sidecar's stamp tells."""
    answer = probe.upgrade.answer if probe.upgrade is not None else None
    if answer is None or answer.status == 101:
        return ""
    if answer.stamp is None:
        return " (without the sidecar's stamp)" if probe.hop.kind != "gateway" else ""
    if answer.stamp.error:
        return f" (from the sidecar itself: {answer.stamp.error})"
    return " (from behind the sidecar)"
