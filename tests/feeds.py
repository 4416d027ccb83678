"""The ways in which the network may cut a stream of bytes on its way to a reader."""

import random
from collections.abc import Iterator

# Every two-way cut of longer data would cost more than the seeded cuts leave to be found.
SHORT = 160
SEEDED_CUTS = 12


def every_split(data: bytes) -> Iterator[list[bytes]]:
    """The same bytes whole, byte by byte, in seeded random pieces, and cut in two at each place."""
    yield [data]
    yield [data[at : at + 1] for at in range(len(data))]
    chance = random.Random(len(data))
    for _ in range(SEEDED_CUTS if len(data) > 2 else 0):
        places = chance.sample(range(1, len(data)), chance.randint(1, min(8, len(data) - 1)))
        yield _cut(data, sorted(places))
    if len(data) <= SHORT:
        yield from (_cut(data, [at]) for at in range(1, len(data)))


def _cut(data: bytes, places: list[int]) -> list[bytes]:
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]
