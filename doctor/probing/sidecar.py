"""The sidecar's admin address: probes are armed there, and what arrived is fetched."""

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from doctor.addresses import Detour, parse_url
from doctor.dial import Patience, Unanswered, default_tls
from doctor.evidence import Arrival, Pairs, Stranger
from doctor.exchange import ask
from doctor.probing.showing import printable
from proxy.preface import HTTP2_PREFACE, explain_stranger

ROWS_LIMIT = 500
PATIENCE = Patience(connect_s=2.0, tries=1, total_s=4.0)


# How the sidecar puts it, asked of the function that it asks.
_STRANGERS: dict[str, Stranger] = {
    explain_stranger(b"\x16\x03\x01") or "": "tls",
    explain_stranger(HTTP2_PREFACE) or "": "http2",
    explain_stranger(b"PROXY TCP4 ") or "": "proxy",
}


@dataclass(frozen=True, slots=True)
class Routed:
    """Where a request goes behind the sidecar, and what its target is there."""

    upstream: str
    target: str


class Unavailable(Exception):  # noqa: N818 - a fact about a sidecar, not an error of ours
    """The admin address did not give what was asked for."""


class AdminAddress:
    """One sidecar's. `url` is [http://]HOST:PORT. Raises ValueError for anything else."""

    def __init__(self, url: str, token: str | None) -> None:
        self.url = (url if "://" in url else f"http://{url}").rstrip("/")
        self._token = token
        parse_url(self.url)

    async def index(self) -> dict[str, Any]:
        """What the sidecar tells of itself. Raises Unavailable."""
        return await self._ask("GET", "/")

    async def arm(self) -> str:
        """A probe id that the sidecar will recognise. Raises Unavailable."""
        return str((await self._ask("POST", "/api/probes")).get("id", ""))

    async def disarm(self, probe_id: str) -> None:
        """Leave the id's place to another. Raises Unavailable."""
        await self._ask("DELETE", f"/api/probes/{probe_id}")

    async def arrivals(self, probe_id: str) -> tuple[Arrival, ...]:
        """What arrived under an id, oldest first. Raises Unavailable."""
        found = await self._ask("GET", f"/api/arrivals/{probe_id}")
        return tuple(read_arrival(row) for row in found.get("arrivals", ()))

    async def route(self, target: str, host: str | None) -> Routed | None:
        """Where a request would go; None where nowhere, or where the sidecar cannot tell."""
        query = urlencode({"target": target, "host": host or ""})
        try:
            found = await self._ask("GET", f"/api/route?{query}")
        except Unavailable:
            return None
        return Routed(str(found.get("upstream")), str(found.get("target")))

    async def newest_id(self) -> str:
        """The id of the newest handshake or request; "" where there is none. Raises Unavailable."""
        found = await self._ask("GET", "/api/handshakes?kind=all&limit=1")
        return next((str(row["id"]) for row in found.get("handshakes", ())), "")

    async def rows_of(self, call_sid: str) -> list[dict[str, Any]]:
        """All rows of a call, of whatever kind, newest first. Raises Unavailable."""
        query = urlencode({"kind": "all", "call_sid": call_sid, "limit": ROWS_LIMIT})
        found = await self._ask("GET", f"/api/handshakes?{query}")
        return list(found.get("handshakes", ()))

    async def row(self, row_id: str) -> dict[str, Any]:
        """One of them by its id, the one that is in a stamp. Raises Unavailable."""
        return await self._ask("GET", f"/api/handshakes/{quote(row_id, safe='')}")

    async def strangers(self, since: str) -> tuple[Stranger, ...]:
        """What came after an id and was no request. Raises Unavailable."""
        found = await self._ask("GET", "/api/handshakes?kind=all&outcome=malformed&limit=50")
        rows = [row for row in found.get("handshakes", ()) if row["id"] > since]
        return tuple(_STRANGERS.get(row.get("reason") or "", "unreadable") for row in rows)

    async def _ask(self, method: str, path: str) -> dict[str, Any]:
        target = parse_url(self.url + path)
        fields = [("Host", target.authority), ("Connection", "close")]
        if self._token:
            fields.append(("Authorization", f"Bearer {self._token}"))
        if method == "POST":
            fields.append(("Content-Length", "0"))
        try:
            tls = default_tls() if target.is_secure else None
            detour = Detour(target.address.host)
            answer = await ask(method, target, fields, b"", detour, tls, PATIENCE)
        except Unanswered as error:
            raise Unavailable(error.saw) from None
        if answer.status == 401:
            raise Unavailable(f"{self.url} wants the bearer token HOPSCOPE_ADMIN_TOKEN")
        if not 200 <= answer.status < 300:
            said = printable(b" ".join(answer.body[:200].split()))
            raise Unavailable(f"{self.url}{path} answered {answer.status}: {said}")
        if answer.status == 204:
            return {}
        try:
            content = json.loads(answer.body)
        except ValueError:
            raise Unavailable(f"{self.url}{path} is no sidecar's admin address") from None
        if not isinstance(content, dict):
            raise Unavailable(f"{self.url}{path} is no sidecar's admin address")
        return content


def read_arrival(row: dict[str, Any]) -> Arrival:
    """One row of /api/arrivals as a record."""
    return Arrival(
        id=row["id"],
        method=row.get("method") or "",
        target=row.get("target") or "",
        version=row.get("http_version") or "",
        fields=_pairs(row.get("request_head")),
        client=row.get("client") or "",
        ingress=row.get("ingress") or "unknown",
        outcome=row.get("outcome") or "",
        status=row.get("status"),
        error=row.get("error") or "",
        reason=row.get("reason") or "",
        route=row.get("route"),
        upstream=row.get("upstream"),
        target_digest=row.get("target_digest") or "",
        violations=tuple(row.get("violations") or ()),
        answer_fields=_pairs(row.get("response_head")),
        was_echoed=row.get("route") == "probe-echo",
    )


def _pairs(rows: list[list[str | None]] | None) -> Pairs:
    return tuple((str(name), value) for name, value in rows or ())
