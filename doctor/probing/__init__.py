"""Probing: what is sent to each hop, phase by phase, and what is recorded of it."""

from doctor.probing.chain import probe_chain
from doctor.probing.discovery import Discovery, discover
from doctor.probing.hops import HopsError, default_hops, load_hops
from doctor.probing.options import ProbeOptions

__all__ = [
    "Discovery",
    "HopsError",
    "ProbeOptions",
    "default_hops",
    "discover",
    "load_hops",
    "probe_chain",
]
