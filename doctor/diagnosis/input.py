"""What `hopscope doctor` is told, checked before anything is sent."""

from pathlib import Path

import typer

from doctor.addresses import BadUrl, parse_url


class Misuse(typer.BadParameter):
    """What is wrong with an option, in one sentence that says what to do."""

    def __init__(self, said: str) -> None:
        super().__init__(said if said.endswith("?") else f"{said}.")


def check_path(option: str, path: str) -> None:
    """A path of the gateway, with or without a query. Raises Misuse."""
    if not path.startswith("/"):
        hint = f"; did you mean /{path}?" if path and "://" not in path else ""
        raise Misuse(f"{option} = {path!r}: should begin with /, as in /voice/stream{hint}")
    if not path.isascii() or not path.isprintable() or " " in path:
        raise Misuse(f"{option}: holds what no URL holds; write it with %, as in /a%20b")


def checked_admin(url: str) -> str:
    """The sidecar's admin address with its scheme. Raises Misuse."""
    given = url if "://" in url else f"http://{url}"
    try:
        target = parse_url(given)
    except BadUrl:
        due = "should be [http://]HOST:PORT, as in 127.0.0.1:9101"
        raise Misuse(f"--admin: {due}") from None
    if target.user is not None:
        raise Misuse("--admin: takes no name and password; set HOPSCOPE_ADMIN_TOKEN")
    return given


def check_report(file: Path | None) -> None:
    """Where the report is to be written, if it is. Raises Misuse."""
    if file is None:
        return
    if file.is_dir():
        raise Misuse(f"--html = {str(file)!r}: is a folder; name a file in it")
    if not file.parent.is_dir():
        raise Misuse(f"--html = {str(file)!r}: there is no folder {str(file.parent)!r}")
