"""Probing: what is sent to each hop, phase by phase, and what is recorded of it.

Read `chain` first (all hops), then `hop` (one, phase by phase). Behind them:

    hops, discovery, ingresses, machine       which hops there are: by hops.toml, or by looking
    options, plan                             what is asked of all of them
    dial, tls, tls_ending, recognising        to a connection, and who listens there
    asking, switching, stamp, sidecar         one request, and what arrived of it
    stream, battery, endurance                what goes over an open stream
    passing, targets, passed                  what passes a hop beside that, for doctor/comparing
    showing                                   what of all this may be written down
"""

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
