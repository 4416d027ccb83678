"""Lists of Twilio's REST API, a page at a time: the form of 2010 and the newer one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from doctor.caller.forms import API_VERSION


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list is asked for. `size` is at most 1000, `number` counts from 0."""

    number: int = 0
    size: int = 50

    def of(self, items: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        return list(items[self.number * self.size : (self.number + 1) * self.size])

    def has_next(self, items: Sequence[object]) -> bool:
        return (self.number + 1) * self.size < len(items)


def call_list(
    items: Sequence[dict[str, Any]], page: Page, account_sid: str, query: dict[str, str]
) -> dict[str, Any]:
    """The calls of an account."""
    return list_2010("calls", f"Accounts/{account_sid}/Calls.json", items, page, query)


def list_2010(
    key: str, path: str, items: Sequence[dict[str, Any]], page: Page, query: dict[str, str]
) -> dict[str, Any]:
    """A list of the 2010 API: addresses are relative. `path` is behind the version."""

    def uri(number: int) -> str:
        asked = query | {"PageSize": str(page.size), "Page": str(number)}
        return f"/{API_VERSION}/{path}?{urlencode(asked)}"

    shown = page.of(items)
    start = page.number * page.size
    return {
        key: shown,
        "start": start,
        "end": start + max(len(shown) - 1, 0),
        "page": page.number,
        "page_size": page.size,
        "uri": uri(page.number),
        "first_page_uri": uri(0),
        "next_page_uri": uri(page.number + 1) if page.has_next(items) else None,
        "previous_page_uri": uri(page.number - 1) if page.number else None,
    }


def alert_list(
    items: Sequence[dict[str, Any]], page: Page, query: dict[str, str]
) -> dict[str, Any]:
    """The list of the newer APIs: addresses are absolute and under `meta`."""

    def url(number: int) -> str:
        asked = query | {"PageSize": str(page.size), "Page": str(number)}
        return f"https://monitor.twilio.com/v1/Alerts?{urlencode(asked)}"

    return {
        "alerts": page.of(items),
        "meta": {
            "key": "alerts",
            "page": page.number,
            "page_size": page.size,
            "url": url(page.number),
            "first_page_url": url(0),
            "next_page_url": url(page.number + 1) if page.has_next(items) else None,
            "previous_page_url": url(page.number - 1) if page.number else None,
        },
    }
