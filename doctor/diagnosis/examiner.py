"""The doctor, asked for by the live page: a process of its own, one at a time.

Beside running calls nothing may be waited for: probing runs ingresses' own programs and reads
their configuration, so it happens in a process apart from the one that relays frames.
"""

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

LIMIT_S = 120.0
URL_LIMIT = 2048
REPORT_LIMIT = 8 << 20
_USAGE = 64


class Examiner:
    """Runs `hopscope doctor` against the sidecar whose admin address `admin_url` tells."""

    def __init__(self, admin_url: Callable[[], str]) -> None:
        self._admin_url = admin_url
        self._lock = asyncio.Lock()

    async def examine(self, public_url: str | None = None) -> dict[str, Any] | None:
        """{diagnosis, html} as the command gives them, or {error} with what it said instead.

        None while another examination runs.
        """
        if self._lock.locked():
            return None
        async with self._lock:
            with TemporaryDirectory(prefix="hopscope-") as folder:
                return await self._run(Path(folder) / "report.html", public_url)

    async def _run(self, report: Path, public_url: str | None) -> dict[str, Any]:
        command = [sys.executable, "-m", "hopscope", "doctor", "--json", f"--html={report}"]
        command.append(f"--admin={self._admin_url()}")
        if public_url:
            command += ["--", public_url[:URL_LIMIT]]  # a URL is no option, whatever it begins with
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        try:
            async with asyncio.timeout(LIMIT_S):
                out, complaints = await process.communicate()
        except TimeoutError:
            return {"error": f"the doctor was not done within {LIMIT_S:.0f} s"}
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode == _USAGE or not out:
            return {"error": complaints.decode(errors="replace").strip()[-URL_LIMIT:]}
        with report.open(encoding="utf-8") as file:
            return {"diagnosis": json.loads(out), "html": file.read(REPORT_LIMIT)}
