"""How a path differs from what it became (pure)."""


def moved(path: str, target: str) -> tuple[str, str] | None:
    """The prefix that went and the one that came; None where the rest is not the same either.

    ("/voice", "") of /voice/stream and /stream; None of /voice/stream and /fixedstream.
    """
    path, target = path.partition("?")[0], target.partition("?")[0]
    if target == "/" != path:
        return None
    for place, character in enumerate(path):
        if character == "/" and target.endswith(path[place:]):
            return path[:place], target.removesuffix(path[place:])
    return None


def are_moved_alike(path: str, target: str, other: str, other_target: str) -> bool:
    """Two paths lost and got the same prefix: an arrangement, where one alone would be a slip."""
    move = moved(path, target)
    return move is not None and move == moved(other, other_target)
