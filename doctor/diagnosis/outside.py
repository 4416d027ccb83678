"""What good health leaves open where nothing was asked by a public name. Pure."""

from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import urlsplit

from doctor.diagnosis.verdict import Diagnosis
from doctor.evidence import Hop
from proxy.stream_url import is_public


def with_outside(found: Diagnosis, hops: Sequence[Hop], hops_file: str | None = None) -> Diagnosis:
    """The diagnosis, saying so where the way from outside was not looked at.

    `hops_file` is where the hops were read, None where they were found.
    """
    hosts = [urlsplit(hop.url).hostname or "" for hop in hops]
    if found.verdict != "healthy" or any(is_public(host) for host in hosts):
        return found
    if hops_file is None:
        how = "name the public URL (hopscope doctor https://...)"
    else:
        how = f"add the public URL to {hops_file} as the last hop"
    said = f"Only what runs here was looked at: {how} to test the way from outside."
    return replace(found, sentence=f"{found.sentence} {said}")
