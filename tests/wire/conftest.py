"""Fixtures of the loopback tests: an upstream that the test plays, and sidecars in front of it."""

from collections.abc import Iterator
from typing import Any

import pytest

from peers import FLAVOURS, RawUpstream, RunningSidecar, StartSidecar


@pytest.fixture
def upstream() -> Iterator[RawUpstream]:
    raw = RawUpstream()
    yield raw
    raw.close()


@pytest.fixture(params=FLAVOURS)
def start_sidecar(request: pytest.FixtureRequest, upstream: RawUpstream) -> Iterator[StartSidecar]:
    """Start sidecars with the given settings; the upstream is the test's own by default."""
    running: list[RunningSidecar] = []

    def start(**settings: Any) -> RunningSidecar:
        running.append(RunningSidecar(request.param, **{"upstream": upstream.url} | settings))
        return running[-1]

    yield start
    for sidecar in running:
        sidecar.close()


@pytest.fixture
def sidecar(start_sidecar: StartSidecar) -> RunningSidecar:
    return start_sidecar()
