"""Pages of lists: which items they hold and where the next one is."""

from typing import Any

import pytest

from doctor.rest_api.lists import Page, alert_list, call_list
from openapi_shapes import differences, read_facts

ACCOUNT = "AC" + "1" * 32
ITEMS: list[dict[str, Any]] = [{"n": n} for n in range(5)]


def test_empty_lists_have_the_published_shapes() -> None:
    calls, alerts = read_facts("calls"), read_facts("alerts")
    listed = call_list([], Page(), ACCOUNT, {})
    assert list(differences(listed, calls["list"]["answer"], calls)) == []
    listed = alert_list([], Page(), {})
    assert list(differences(listed, alerts["list"]["answer"], alerts)) == []


@pytest.mark.parametrize(
    ("number", "shown", "following", "previous"),
    [(0, [0, 1], 1, None), (1, [2, 3], 2, 0), (2, [4], None, 1)],
)
def test_a_page_holds_its_part_and_names_its_neighbours(
    number: int, shown: list[int], following: int | None, previous: int | None
) -> None:
    calls = call_list(ITEMS, Page(number, 2), ACCOUNT, {"To": "+1"})
    meta = alert_list(ITEMS, Page(number, 2), {"LogLevel": "error"})["meta"]
    assert [item["n"] for item in calls["calls"]] == shown
    assert (calls["start"], calls["end"]) == (shown[0], shown[-1])

    def uri(page: int) -> str:
        return f"/2010-04-01/Accounts/{ACCOUNT}/Calls.json?To=%2B1&PageSize=2&Page={page}"

    def url(page: int) -> str:
        return f"https://monitor.twilio.com/v1/Alerts?LogLevel=error&PageSize=2&Page={page}"

    for name, page in [("next", following), ("previous", previous), ("first", 0)]:
        assert calls[f"{name}_page_uri"] == (None if page is None else uri(page))
        assert meta[f"{name}_page_url"] == (None if page is None else url(page))
    assert (calls["uri"], meta["url"]) == (uri(number), url(number))


def test_a_list_that_fills_its_page_has_no_next_one() -> None:
    assert call_list(ITEMS, Page(0, 5), ACCOUNT, {})["next_page_uri"] is None
