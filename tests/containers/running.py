"""Containers of a test: started as compose.yaml starts them, watched by their log, and removed.

They are on a network that docker calls internal: it has no way out, no name of the internet
resolves in it, and this machine reaches them at their own addresses (Linux).
"""

import json
import socket
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from testcontainers.core.container import DockerContainer
from testcontainers.core.network import Network

from programs import PATIENCE_S

START_S = 60.0
# What compose.yaml gives every service; a test compares.
HARDENED: Mapping[str, Any] = {
    "read_only": True,
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges:true"],
}


class Running:
    """A container that runs. By paths in it, `files` are read and `folders` are written."""

    def __init__(
        self,
        image: str,
        *command: str,
        network: Network,
        alias: str,
        environment: Mapping[str, str] | None = None,
        files: Mapping[str, Path] | None = None,
        folders: Mapping[str, Path] | None = None,
        tmpfs: tuple[str, ...] = (),
        **options: Any,
    ) -> None:
        container = DockerContainer(image, env=dict(environment or {}), network=network)
        container.with_network_aliases(alias)
        for inside, outside in (files or {}).items():
            container.with_volume_mapping(str(outside), inside, "ro")
        for inside, outside in (folders or {}).items():
            container.with_volume_mapping(str(outside), inside, "rw")
        for path in tmpfs:
            container.with_tmpfs_mount(path)
        if command:
            container.with_command(list(command))
        container.with_kwargs(**dict(HARDENED) | options)
        self.alias = alias
        self._network = network.name
        self._container = container.start()
        self._told: list[str] = []
        self._has_told = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def docker(self) -> Any:
        """docker-py's container, as it is now."""
        wrapped = self._container.get_wrapped_container()
        wrapped.reload()
        return wrapped

    @property
    def address(self) -> str:
        """Its own, in the network."""
        networks = self.docker.attrs["NetworkSettings"]["Networks"]
        return str(networks[self._network]["IPAddress"])

    @property
    def host_address(self) -> str:
        """This machine's, in the network."""
        networks = self.docker.attrs["NetworkSettings"]["Networks"]
        return str(networks[self._network]["Gateway"])

    def log(self) -> str:
        with self._has_told:
            return "\n".join(self._told)

    def line(self, event: str, **wanted: Any) -> dict[str, Any]:
        """The first JSON line of an event with these fields, now or as soon as it comes."""

        def found() -> dict[str, Any] | None:
            for text in self._told:
                line = _parse(text)
                if line.get("event") == event and wanted.items() <= line.items():
                    return line
            return None

        result: dict[str, Any] = self.wait_for(found, f"{event} {wanted}")
        return result

    def wait_for_text(self, text: str) -> None:
        self.wait_for(lambda: any(text in line for line in self._told), repr(text))

    def wait_for(self, find: Callable[[], Any], what: str, patience_s: float = START_S) -> Any:
        """What `find` finds in the log, bounded in time."""
        with self._has_told:
            self._has_told.wait_for(find, patience_s)
            found = find()
        assert found, f"{self.alias}: no {what}; it said:\n{self.log()}"
        return found

    def run(self, *command: str) -> tuple[int, str]:
        """Run a command in it: its exit code, and what it printed."""
        code, output = self.docker.exec_run(list(command))
        return code, output.decode(errors="replace")

    def health(self) -> str:
        return str(self.docker.attrs["State"]["Health"]["Status"])

    def wait_until_healthy(self) -> None:
        deadline = time.monotonic() + START_S
        while self.health() != "healthy":
            assert time.monotonic() < deadline, f"{self.alias} is {self.health()}: {self.log()}"
            time.sleep(0.2)

    def wait_for_dial(self, port: int) -> None:
        """Until it takes connections."""
        deadline = time.monotonic() + START_S
        while not self._takes(port):
            assert time.monotonic() < deadline, f"{self.alias} is not at {port}: {self.log()}"
            time.sleep(0.05)

    def _takes(self, port: int) -> bool:
        try:
            socket.create_connection((self.address, port), PATIENCE_S).close()
        except OSError:
            return False
        return True

    def exit_code(self) -> int:
        """As soon as it has ended. Its log is then read again, as a whole: who follows a log may
        be left behind by the end of a container, and would wait for its last lines in vain."""
        code = int(self.docker.wait(timeout=START_S)["StatusCode"])
        self._reader.join(PATIENCE_S)
        whole = self._container.get_wrapped_container().logs().decode(errors="replace")
        with self._has_told:
            self._told = whole.splitlines()
        return code

    def close(self) -> None:
        self._container.stop()
        self._reader.join(PATIENCE_S)

    def _read(self) -> None:
        rest = b""
        for data in self._container.get_wrapped_container().logs(stream=True, follow=True):
            *lines, rest = (rest + data).split(b"\n")
            with self._has_told:
                self._told += [line.decode(errors="replace") for line in lines]
                self._has_told.notify_all()


def _parse(text: str) -> dict[str, Any]:
    try:
        line = json.loads(text)
    except ValueError:
        return {}
    return line if isinstance(line, dict) else {}
