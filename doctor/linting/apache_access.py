"""Whether Apache lets a request in: Require, Order and Deny, by address (pure).

https://httpd.apache.org/docs/2.4/howto/access.html
"""

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from doctor.linting.apache_expressions import Facts
from doctor.linting.apache_parser import Directive

FAR, NEAR = "203.0.113.7", "127.0.0.1"  # an address of the internet, and this machine's own
_LOGINS = ("valid-user", "user", "group", "ldap-user", "ldap-group", "file-owner", "dbm-group")
_CONTAINERS = ("requireall", "requireany", "requirenone")


@dataclass(frozen=True, slots=True)
class Refusal:
    """What refuses a request: a demand for a login, a list of addresses, or anything else."""

    by: Directive
    wants_login: bool = False
    wants_address: bool = False


def refusal(blocks: Sequence[Sequence[Directive]], facts: Facts) -> Refusal | None:
    """None where a request is let in, or where that is not known.

    `blocks` are the sections that apply, the last one counting most. Who is let in from this very
    machine is let in: a tunnel's agent is there.
    """
    for block in reversed(blocks):
        statements = list(_of_method(block, facts))
        required = [each for each in statements if each.name in ("require", *_CONTAINERS)]
        if required:
            return _refused(required, facts)
        denied = [each for each in statements if each.name in ("order", "deny", "allow")]
        if denied:
            return _refused_of_old(denied)
    return None


def _of_method(block: Iterable[Directive], facts: Facts) -> Iterable[Directive]:
    """Statements with those of <Limit> and <LimitExcept> that speak of the method."""
    for each in block:
        if each.name in ("limit", "limitexcept"):
            is_named = facts.request.method in (arg.upper() for arg in each.args)
            if is_named == (each.name == "limit"):
                yield from each.block or ()
        else:
            yield each


def _refused(required: Sequence[Directive], facts: Facts) -> Refusal | None:
    if _any(_lets_in(each, facts, NEAR) for each in required) is not False:
        return None
    if _any(_lets_in(each, facts, FAR) for each in required) is not False:
        return None
    spelled = [" ".join(each.args).lower() for each in _flat(required)]
    words = [text.removeprefix("not ").partition(" ")[0] for text in spelled]
    return Refusal(
        required[0],
        any(word in _LOGINS for word in words),
        any(word in ("ip", "host", "forward-dns") for word in words),
    )


def _lets_in(each: Directive, facts: Facts, address: str) -> bool | None:
    if each.block is not None:
        values = [
            _lets_in(inner, facts, address)
            for inner in each.block
            if inner.name in ("require", *_CONTAINERS)
        ]
        if each.name == "requireall":
            return False if False in values else None if None in values else True
        value = _any(values)
        return value if each.name == "requireany" or value is None else not value
    kind, *rest = [*each.args, ""]
    is_negated = kind.lower() == "not"
    if is_negated:
        kind, *rest = rest
    value = _lets_in_by(kind.lower(), [word for word in rest if word], facts, address)
    return value if value is None or not is_negated else not value


def _lets_in_by(kind: str, rest: Sequence[str], facts: Facts, address: str) -> bool | None:
    if kind == "all":
        return [word.lower() for word in rest] == ["granted"]
    if kind == "ip":
        return _any(_is_within(address, network) for network in rest)
    if kind == "local":
        return address == NEAR
    if kind == "host":
        return False if address == FAR else None
    if kind == "method":
        return facts.request.method in (word.upper() for word in rest)
    if kind == "expr":
        return facts.holds(" ".join(rest))
    return False if kind in _LOGINS else None


def _refused_of_old(statements: Sequence[Directive]) -> Refusal | None:
    """mod_access_compat: `Order deny,allow` lets in what no line denies, the other way round not.

    With `allow,deny` a Deny is the last word.
    """
    order = next((each.args[0].lower() for each in statements if _is_order(each)), "deny,allow")
    denies = [each for each in statements if each.name == "deny"]
    allows = [each for each in statements if each.name == "allow"]
    is_denied = any(_names(each, FAR) and _names(each, NEAR) for each in denies)
    is_allowed = any(_names(each, FAR) or _names(each, NEAR) for each in allows)
    if order == "allow,deny":
        is_refused, by = is_denied or not is_allowed, (*denies, *statements)[0]
    else:
        is_refused, by = is_denied and not is_allowed, (*denies, *statements)[0]
    return Refusal(by, wants_address=bool(allows)) if is_refused else None


def _is_order(each: Directive) -> bool:
    return each.name == "order" and bool(each.args)


def _names(each: Directive, address: str) -> bool:
    """Deny from all, or from networks."""
    words = [arg for arg in each.args if arg.lower() != "from"]
    return any(word.lower() == "all" or _is_within(address, word) for word in words)


def _is_within(address: str, network: str) -> bool:
    try:
        return ipaddress.ip_address(address) in ipaddress.ip_network(_whole(network), strict=False)
    except ValueError:
        return False


def _whole(network: str) -> str:
    """ "10.1" is 10.1.0.0/16."""
    parts = network.split(".")
    if "/" in network or ":" in network or len(parts) == 4 or not network[:1].isdigit():
        return network
    return (
        f"{'.'.join([*filter(None, parts), '0', '0', '0'][:4])}/{8 * len([p for p in parts if p])}"
    )


def _flat(required: Iterable[Directive]) -> Iterable[Directive]:
    for each in required:
        if each.block is None:
            yield each
        else:
            yield from _flat(each.block)


def _any(values: Iterable[bool | None]) -> bool | None:
    listed = list(values)
    return True if True in listed else None if None in listed else False
