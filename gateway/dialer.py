"""The client of a running gateway's POST /calls: ask for a call, and follow it to its end.

POST /calls is sent once. Where its answer is lost, the call may ring all the same, and a second
request would be a second call.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, Literal
from urllib.parse import urlsplit

import aiohttp

from gateway.addresses import is_loopback
from gateway.calls import FINAL_STATUSES, DialError

Detection = Literal["off", "enable", "detect_message_end"]
View = dict[str, Any]  # a call as the gateway shows it

# The gateway may wait for its turn (30 s), for Twilio's answer, and look for a lost call.
PLACED_S = 90.0
ANSWER_S = 10.0
POLL_S = 1.0
# A gateway that is being restarted is given so long to come back.
LOST_S = 15.0
# Twilio and the stream tell of the end on two ways; so long the second is waited for.
SETTLE_S = 3.0
BODY_LIMIT = 1 << 20

_TOKEN_HINT = "HOPSCOPE_CALLS_TOKEN must be the same here and where the gateway runs"  # noqa: S105


async def dial(
    gateway_url: str,
    token: str,
    to: str,
    *,
    say: str | None = None,
    converse: bool = False,
    machine_detection: Detection | None = None,
    on_status: Callable[[View], None] = lambda _: None,
    poll_s: float = POLL_S,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> View:
    """Have `to` called, to say a text or to converse; how the call was at its end.

    `on_status` is told the call whenever its status, its ending, who answered or the number of its
    turns changed. Raises DialError, which says whether the call goes on without us.
    """
    if (say is None) == (not converse):
        raise ValueError("a call either says a text or converses")
    _check(gateway_url, token)
    wanted: View = {"to": to, "converse": True} if converse else {"to": to, "say": say}
    if machine_detection is not None:
        wanted["machine_detection"] = machine_detection
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        gateway = _Gateway(session, gateway_url.rstrip("/"))
        placed = await gateway.place(wanted)
        on_status(placed)
        return await _follow(gateway, placed, on_status, poll_s, sleep)


class _Gateway:
    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def place(self, wanted: View) -> View:
        try:
            status, body = await self._ask("POST", "/calls", PLACED_S, json=wanted)
        except aiohttp.ClientSSLError:
            hint = "check what stands in front of the gateway, or dial where it runs"
            raise DialError(f"{self._url} has no certificate that is trusted", hint) from None
        except aiohttp.ClientConnectorError:
            raise _absent(self._url) from None
        except (aiohttp.ClientError, TimeoutError, OSError):
            raise DialError(
                "the gateway did not answer; the call may have been placed, so it is not asked for "
                "again",
                "look at the gateway's log before trying again",
                status=504,
            ) from None
        if status == 404:
            raise DialError(
                f"the gateway at {self._url} takes no calls",
                "set HOPSCOPE_CALLS_TOKEN where it runs, and check the URL",
                status=status,
            )
        if status != 201:
            raise _refused(status, body)
        if not isinstance(body.get("call_sid"), str):
            raise _stranger(status)
        return body

    async def look(self, call_sid: str) -> View | None:
        """The call, or None where the gateway could not be asked just now."""
        try:
            status, body = await self._ask("GET", f"/calls/{call_sid}", ANSWER_S)
        except (aiohttp.ClientError, TimeoutError, OSError):
            return None
        if status == 404:
            raise DialError(
                f"the gateway does not know the call {call_sid} any more; it may go on",
                "it was restarted, or the call ended long ago; Twilio's Console has it",
                status=status,
            )
        if status >= 500:  # an ingress in front of a gateway that is being restarted
            return None
        if status != 200:
            raise _refused(status, body)
        return body

    async def _ask(self, method: str, path: str, seconds: float, **more: Any) -> tuple[int, View]:
        async with self._session.request(
            method,
            self._url + path,
            timeout=aiohttp.ClientTimeout(total=seconds),
            allow_redirects=False,
            **more,
        ) as response:
            raw = await response.content.read(BODY_LIMIT)
            try:
                body = json.loads(raw)
            except (ValueError, RecursionError):
                body = None
            return response.status, body if isinstance(body, dict) else {}


async def _follow(
    gateway: _Gateway,
    view: View,
    on_status: Callable[[View], None],
    poll_s: float,
    sleep: Callable[[float], Awaitable[None]],
) -> View:
    call_sid = view["call_sid"]
    unseen_s = settling_s = 0.0
    while True:
        await sleep(poll_s)
        seen = await gateway.look(call_sid)
        if seen is None:
            unseen_s += poll_s
            if unseen_s >= LOST_S:
                raise DialError(
                    f"the gateway does not answer any more; the call {call_sid} may go on",
                    "look at the gateway's log",
                    status=504,
                )
            continue
        unseen_s = 0.0
        if _telling(seen) != _telling(view):
            on_status(seen)
        view = seen
        is_over = seen.get("status") in FINAL_STATUSES
        if is_over and seen.get("ending"):
            return seen
        if is_over or seen.get("ending"):
            settling_s += poll_s
            if settling_s >= SETTLE_S:
                return seen


def _telling(view: View) -> tuple[Any, ...]:
    turns = view.get("turns")
    names = ("status", "answered_by", "ending")
    return (*(view.get(name) for name in names), len(turns) if isinstance(turns, list) else 0)


def _check(gateway_url: str, token: str) -> None:
    """What is wrong before anything is sent."""
    if not token:
        raise DialError("no token for the gateway is set", _TOKEN_HINT, status=401)
    try:
        parts = urlsplit(gateway_url)
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        is_url = False
    if not is_url:
        hint = "for example http://127.0.0.1:8081"
        raise DialError(f"{gateway_url} is not the address of a gateway", hint, status=400)
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        hint = "use https://, or dial on the machine that the gateway runs on"
        raise DialError("the token would cross the network in the clear", hint, status=400)


def _absent(url: str) -> DialError:
    hint = "start one with `hopscope gateway`, or name where it listens"
    return DialError(f"no gateway answers at {url}", hint, status=502)


def _stranger(status: int) -> DialError:
    hint = "check its URL, and what stands in front of it"
    return DialError(f"what answered (HTTP {status}) is not the gateway", hint, status=502)


def _refused(status: int, body: View) -> DialError:
    """The gateway said no; its own words where it has some."""
    if status in (401, 403):
        return DialError("the gateway does not accept the token", _TOKEN_HINT, status=status)
    error, hint = body.get("error"), body.get("hint")
    if not isinstance(error, str):
        return _stranger(status)
    return DialError(error[:300], hint[:300] if isinstance(hint, str) else "", status=status)
