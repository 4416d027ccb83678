"""Targets that proxies like to tidy up: what arrives of each, told by its digest.

An arrival shows a target without what may be a secret in it, and a digest of the whole. What we
sent ourselves is no secret, so the usual ways to rewrite it are tried until one has that digest.
"""

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote

from doctor.evidence import Arrival
from doctor.probing.passed import TargetSeen
from proxy.probes import target_digest


@dataclass(frozen=True, slots=True)
class Variant:
    """One target that is to be asked for. `name` says what is unusual about it."""

    name: str
    target: str


def variants(path: str) -> list[Variant]:
    """The stream's path as it is, and with what is legal and often rewritten behind it.

    What stands in front of the path is left alone: an ingress may route by it.
    """
    return [
        Variant("as it is", path),
        Variant("escaped slash %2F", f"{path}/a%2Fb"),
        Variant("escaped letter %7E", f"{path}/%7Ea"),
        Variant("double slash", f"{path}//a"),
        Variant("dot segments", f"{path}/a/../b"),
        Variant("trailing slash", f"{path}/"),
        Variant("; in the path", f"{path}/a;v=1"),
        Variant("query", f"{path}?a=1&b=x%2Fy+z"),
        Variant("; in the query", f"{path}?a=1;b=2&c=3"),
        Variant("bad escape in the query", f"{path}?a=%zz&c=3"),
    ]


def judge_target(
    variant: Variant, status: int | None, arrivals: tuple[Arrival, ...] | None
) -> TargetSeen:
    """What became of a variant, by what arrived of it."""
    seen = TargetSeen(variant.name, variant.target, "unknown", "", status)
    if arrivals is None:
        return seen
    if not arrivals:
        return TargetSeen(variant.name, variant.target, "lost", "", status)
    arrival = arrivals[0]
    if arrival.target_digest in ("", target_digest(variant.target)):
        fate = "kept" if arrival.target_digest else "unknown"
        return TargetSeen(variant.name, variant.target, fate, "", status)  # type: ignore[arg-type]
    arrived = next(
        (each for each in rewritings(variant.target) if _has(each, arrival)), arrival.target
    )
    return TargetSeen(variant.name, variant.target, "changed", arrived, status)


def _has(target: str, arrival: Arrival) -> bool:
    return target_digest(target) == arrival.target_digest


def rewritings(target: str) -> Iterator[str]:
    """What proxies are known to make of a target: each way with its path, with its query."""
    path, _, query = target.partition("?")
    cut = [path[at:] for at, sign in enumerate(path) if sign == "/"]  # a mount is stripped
    for new_path in dict.fromkeys(shape for each in cut or [path] for shape in _paths(each)):
        for new_query in dict.fromkeys(_queries(query)):
            yield new_path + (f"?{new_query}" if new_query else "")


def _paths(path: str) -> Iterator[str]:
    for each in (path, unquote(path), path.partition(";")[0]):
        merged = re.sub("/+", "/", each)
        clean = posixpath.normpath(merged)
        for shape in (each, merged, clean, clean + "/"):
            yield shape
            yield shape.rstrip("/")
            yield shape.replace("~", "%7E")
            yield shape.replace(";", "%3B")


def _queries(query: str) -> Iterator[str]:
    kept = [pair for pair in query.split("&") if ";" not in pair and "%zz" not in pair]
    ordered = "&".join(sorted(kept))
    yield from (query, query.replace(";", "&"), query.replace(";", "%3B"), "")
    yield from ("&".join(kept), ordered, query.replace("+", "%20"), query.replace("%zz", "%25zz"))
