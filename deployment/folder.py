"""Writes files into a folder, and overwrites nothing that is not theirs to overwrite."""

from collections.abc import Sequence
from pathlib import Path

from deployment.files import File


class OccupiedError(OSError):
    """Files are there with another text; str() names them."""


def write_files(folder: Path, files: Sequence[File], *, force: bool = False) -> list[Path]:
    """Write them all or, where one is there with another text, none. The paths that changed.

    Raises OccupiedError, and OSError.
    """
    targets = {folder / file.path: file.text.encode() for file in files}
    changed = [path for path, data in targets.items() if not _holds(path, data)]
    occupied = [str(path) for path in changed if path.exists() or path.is_symlink()]
    if occupied and not force:
        raise OccupiedError(f"{', '.join(occupied)}: there already, with another text; --force")
    for path in changed:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(targets[path])
    return changed


def _holds(path: Path, data: bytes) -> bool:
    try:
        return path.read_bytes() == data
    except FileNotFoundError:
        return False
