"""Property lists of launchd, for /Library/LaunchDaemons: they run before anybody has logged in."""

import plistlib
from collections.abc import Sequence

from deployment.files import File

_LOGS = "/usr/local/var/log"


def plist(path: str, arguments: Sequence[str]) -> File:
    """A daemon. Its label is its file's name, as launchd's manual wants it."""
    label = path.rpartition("/")[2].removesuffix(".plist")
    log = f"{_LOGS}/{label}.log"
    value = {
        "Label": label,
        "ProgramArguments": list(arguments),
        "UserName": "_hopscope",
        "RunAtLoad": True,
        # As Restart=on-failure: what ends well stays ended.
        "KeepAlive": {"SuccessfulExit": False},
        "ExitTimeOut": 45,
        # Media has a beat of 20 ms: what is throttled in the background is heard.
        "ProcessType": "Interactive",
        "SoftResourceLimits": {"NumberOfFiles": 8192},
        "HardResourceLimits": {"NumberOfFiles": 8192},
        "StandardOutPath": log,
        "StandardErrorPath": log,
    }
    return File(path, "launchd", plistlib.dumps(value, sort_keys=False).decode())


def hopscope_plists() -> tuple[File, ...]:
    """The sidecar and the gateway."""
    command = "/opt/hopscope/bin/hopscope"
    options = ("--config", "/usr/local/etc/hopscope/hopscope.toml")
    return tuple(
        plist(f"launchd/com.hopscope.{verb}.plist", (command, verb, *options))
        for verb in ("proxy", "gateway")
    )
