"""The files in the output of `nginx -T` (pure).

nginx prints each file behind a line "# configuration file PATH:" and ends it with an empty line;
what it says itself ("nginx: the configuration file ... syntax is ok") stands before the first.
"""

import re
from pathlib import Path

_MARK = re.compile(r"^# configuration file (\S.*):$")


def sections(text: str) -> dict[Path, str]:
    """Path and text of each file, the main one first; empty where the text is no such output."""
    files: dict[Path, list[str]] = {}
    lines: list[str] | None = None
    for line in text.split("\n"):
        match = _MARK.match(line.rstrip("\r"))
        if match:
            # A file that is included twice is printed once; a mark quoted in a file is a comment.
            lines = files.setdefault(Path(match[1]), [])
        elif lines is not None:
            lines.append(line)
    return {path: "\n".join(content) for path, content in files.items()}
