"""Whose connection it is: X-Forwarded-For is believed only as far as trusted proxies wrote it."""

import ipaddress

import pytest

from proxy.clients import Occupancy, client_address, client_of, is_trusted

TRUSTED = [
    ipaddress.ip_network("127.0.0.0/8"),
    ipaddress.ip_network("::1/128"),
    ipaddress.ip_network("10.0.0.0/8"),
    ipaddress.ip_network("fd00::/8"),
]


@pytest.mark.parametrize(
    ("forwarded_for", "client"),
    [
        pytest.param([], "127.0.0.1", id="none"),
        pytest.param(["192.0.2.7"], "192.0.2.7", id="one"),
        pytest.param(["6.6.6.6, 192.0.2.7"], "192.0.2.7", id="the left part is a claim"),
        pytest.param(["6.6.6.6", "192.0.2.7"], "192.0.2.7", id="two lines, the claim first"),
        pytest.param(["192.0.2.7", "10.0.0.1"], "192.0.2.7", id="trusted hop in a second line"),
        pytest.param(["192.0.2.7, 10.0.0.1, 10.0.0.2"], "192.0.2.7", id="two trusted hops"),
        pytest.param(["6.6.6.6, 192.0.2.7, 10.0.0.1"], "192.0.2.7", id="claim behind a hop"),
        pytest.param(["127.0.0.1, 192.0.2.7"], "192.0.2.7", id="claim to be trusted"),
        pytest.param(["10.0.0.9, 10.0.0.1"], "10.0.0.9", id="all trusted"),
        pytest.param(["192.0.2.7:5060"], "192.0.2.7", id="port"),
        pytest.param(["[2001:db8::7]:5060"], "2001:db8::7", id="brackets and port"),
        pytest.param(["[2001:db8::7]"], "2001:db8::7", id="brackets"),
        pytest.param(['"[2001:db8::7]:5060"'], "2001:db8::7", id="quotes"),
        pytest.param(["2001:DB8:0::7"], "2001:db8::7", id="IPv6 has one spelling"),
        pytest.param(["::ffff:192.0.2.7"], "192.0.2.7", id="mapped"),
        pytest.param(["192.0.2.7, ::ffff:10.0.0.1"], "192.0.2.7", id="mapped trusted hop"),
        pytest.param(["192.0.2.7, fd00::1, [fd00::2]:80"], "192.0.2.7", id="IPv6 hops"),
        pytest.param([" \t192.0.2.7\t "], "192.0.2.7", id="padding"),
        pytest.param(["unknown"], "127.0.0.1", id="unknown"),
        pytest.param(["_hidden, 10.0.0.1"], "10.0.0.1", id="obfuscated"),
        pytest.param(["6.6.6.6, junk, 10.0.0.1"], "10.0.0.1", id="junk ends the walk"),
        pytest.param(["6.6.6.6, , 10.0.0.1"], "10.0.0.1", id="empty member ends the walk"),
        pytest.param(["6.6.6.6,"], "127.0.0.1", id="empty last member"),
        pytest.param([""], "127.0.0.1", id="empty"),
        pytest.param(["1.2.3.4.5"], "127.0.0.1", id="five parts"),
        pytest.param(["1.2.3"], "127.0.0.1", id="three parts"),
        pytest.param(["0x7f.1.2.3"], "127.0.0.1", id="hexadecimal"),
        pytest.param(["[::1"], "::1", id="half a bracket"),
    ],
)
def test_the_client_is_the_last_address_that_a_trusted_proxy_wrote(
    forwarded_for: list[str], client: str
) -> None:
    assert client_address("127.0.0.1", forwarded_for, TRUSTED) == client


@pytest.mark.parametrize("peer", ["192.0.2.1", "2001:db8::1", "not an address"])
def test_a_stranger_is_believed_nothing(peer: str) -> None:
    assert client_address(peer, ["6.6.6.6, 127.0.0.1"], TRUSTED) == peer


def test_without_trusted_proxies_the_peer_is_the_client() -> None:
    assert client_address("127.0.0.1", ["6.6.6.6"], []) == "127.0.0.1"


def test_who_dials_a_unix_socket_is_trusted() -> None:
    assert client_address("", ["6.6.6.6, 192.0.2.7"], []) == "192.0.2.7"
    assert client_address("", [], []) == ""


@pytest.mark.parametrize(
    ("peer", "trusted"),
    [
        ("", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("::ffff:10.1.2.3", True),
        ("fd12::1", True),
        ("128.0.0.1", False),
        ("::2", False),
        ("::ffff:11.1.2.3", False),
        ("localhost", False),
        ("127.0.0.1.", False),
    ],
)
def test_trust_is_by_network_in_each_family(peer: str, trusted: bool) -> None:
    assert is_trusted(peer, TRUSTED) is trusted


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::9", "2001:db8:1:3::/64"),
        ("::ffff:192.0.2.7", "::ffff:192.0.2.7"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::1"),
        ("", ""),
        ("unknown", "unknown"),
    ],
)
def test_an_ipv6_client_is_a_network_of_64_bits(address: str, client: str) -> None:
    assert client_of(address) == client


def test_places_are_counted_in_all_and_by_client() -> None:
    occupancy = Occupancy()
    for client in ("a", "b", "a"):
        occupancy.enter(client)
    assert occupancy.total == 3
    assert [occupancy.of(client) for client in "abc"] == [2, 1, 0]
    occupancy.leave("a")
    assert (occupancy.total, occupancy.of("a")) == (2, 1)


def test_a_client_that_left_is_forgotten() -> None:
    occupancy = Occupancy()
    occupancy.enter("a")
    occupancy.leave("a")
    assert (occupancy.total, occupancy.of("a")) == (0, 0)
    assert not occupancy._by_client  # one entry for each address ever seen would never end
