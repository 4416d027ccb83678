"""How far an upgrade came, and whose doing its answer is: what many rules ask first.

Three things tell them apart: the sidecar's record of the request (arrivals), its stamp on the
answer, and the hop behind, asked the same. Where none of them is there the answer is None.
"""

from doctor.evidence import Answer, Arrival, Exchange, Probe, Sight
from doctor.rules.makers import maker_of, may_be_of


def upgrade_answer(probe: Probe | None) -> Answer | None:
    return probe.upgrade.answer if probe is not None and probe.upgrade is not None else None


def exchange_behind(sight: Sight) -> Exchange | None:
    """The same upgrade, sent to the hop behind."""
    return sight.behind.upgrade if sight.behind is not None else None


def is_gateway(sight: Sight) -> bool:
    """Whether the hop is the end of the chain, or speaks for it: nothing else was probed."""
    kind = sight.probe.hop.kind
    return kind == "gateway" or (kind == "sidecar" and sight.behind is None)


def is_in_front(sight: Sight) -> bool:
    """Whether the sidecar is behind this hop, and so can tell what came through it."""
    return sight.has_sidecar and sight.probe.hop.kind not in ("gateway", "sidecar")


def wants_tls(sight: Sight) -> bool:
    """Whether a hop that was asked in plain turned out to speak TLS."""
    return sight.probe.tls is not None and sight.probe.hop.url.startswith("http:")


def has_failed(sight: Sight) -> bool:
    """Whether the upgrade through this hop came to nothing, as judged when it was probed."""
    phases = (sight.probe.phase("request"), sight.probe.phase("response"))
    return any(phase is not None and phase.fault for phase in phases)


def is_repeated(sight: Sight) -> bool:
    """Whether the hop behind ended the same way, so that this one only passes it on."""
    ours, behind = sight.probe.upgrade, exchange_behind(sight)
    if ours is None or behind is None or not behind.fault:
        return False
    if _end(ours) != _end(behind):
        return False
    stamped, stamped_behind = _is_stamped(ours), _is_stamped(behind)
    return stamped or not stamped_behind


def _end(exchange: Exchange) -> tuple[str, int | None]:
    return exchange.fault, exchange.answer.status if exchange.answer else None


def _is_stamped(exchange: Exchange) -> bool:
    return exchange.answer is not None and exchange.answer.stamp is not None


def has_arrived(sight: Sight) -> bool | None:
    """Whether the upgrade reached the sidecar through this hop; None where that is not known."""
    upgrade = sight.probe.upgrade
    if upgrade is None or not sight.has_sidecar or sight.probe.hop.kind == "gateway":
        return None
    if upgrade.arrivals or _is_stamped(upgrade):
        return True
    return None if upgrade.arrivals is None else False


def was_malformed(sight: Sight) -> str | None:
    """Why the sidecar could not read what this hop sent it, by its stamp; None where it could."""
    answer = upgrade_answer(sight.probe)
    stamp = answer.stamp if answer is not None else None
    if stamp is None or stamp.error != "http_request_error" or not is_in_front(sight):
        return None
    return None if is_repeated(sight) else stamp.details


def switched_behind(sight: Sight) -> Arrival | None:
    """The upgrade that the sidecar answered with a 101, if it did."""
    upgrade = sight.probe.upgrade
    if upgrade is None:
        return None
    return next((arrival for arrival in upgrade.arrivals or () if arrival.status == 101), None)


def own_answer(sight: Sight) -> Answer | None:
    """The answer of this hop's upgrade where it was made here, and the sidecar was not asked."""
    answer = upgrade_answer(sight.probe)
    kind = sight.probe.hop.kind
    if answer is None or answer.status == 101 or kind in ("gateway", "sidecar"):
        return None
    if answer.stamp is not None or is_repeated(sight):
        return None
    arrived = has_arrived(sight)
    if arrived is not None:
        return None if arrived else answer
    # Without the admin API a missing stamp does not show that the sidecar was not asked: its 101
    # may have been lost on the way back. Errors that a program writes in its own words do.
    if answer.status < 300:
        return None
    behind = exchange_behind(sight)
    is_stamped_behind = behind is not None and _is_stamped(behind)
    is_known = maker_of(answer) is not None and is_stamped_behind
    return answer if is_known or may_be_of(answer, kind) else None


def unasked(sight: Sight) -> str:
    """What shows that the sidecar did not make the answer, in words."""
    if has_arrived(sight) is False:
        return "nothing arrived at the sidecar"
    return "the sidecar's stamp is not on it" if sight.has_sidecar else "the hop behind says else"


def to_gateway(sight: Sight) -> Exchange | None:
    """The upgrade that the gateway answered, where this hop is it or speaks for it."""
    if not is_gateway(sight):
        return None
    return sight.probe.through or sight.probe.upgrade


def gateway_answer(sight: Sight) -> Answer | None:
    """The gateway's answer that is no 101."""
    exchange = to_gateway(sight)
    answer = exchange.answer if exchange is not None else None
    if answer is None or answer.status == 101:
        return None
    if sight.probe.hop.kind == "sidecar":
        stamp = answer.stamp
        return answer if stamp is not None and stamp.received_status is not None else None
    return answer


def gateway_refusal(sight: Sight) -> Answer | None:
    """What the gateway answered through this hop in place of the 101 that it gives behind it."""
    if is_gateway(sight) or not has_failed(sight):
        return None
    ours, behind = sight.probe, sight.behind
    pairs = [
        (ours.through, behind.through if behind else None),
        (ours.upgrade, behind.upgrade if behind else None),
    ]
    for exchange, inner in pairs:
        if exchange is None or not exchange.fault or exchange.answer is None:
            continue
        if inner is not None and inner.fault:
            continue  # the gateway's own flaw, whatever this hop makes of it
        if exchange.answer.status != 101 and _is_of_gateway(exchange):
            return exchange.answer
    return None


def is_proven_through(front: Probe, hop: Probe) -> bool:
    """Whether something that was sent to `front` demonstrably passed `hop` on its way.

    The sidecar and all in front of it are passed by whatever it recorded or stamped; the gateway
    by an answer that the sidecar received and did not make.
    """
    exchanges = [each for each in (front.upgrade, front.plain, front.webhook) if each is not None]
    if hop.hop.kind == "gateway":
        return any(_is_of_gateway(exchange) for exchange in exchanges)
    return any(exchange.arrivals or _is_stamped(exchange) for exchange in exchanges)


def _is_of_gateway(exchange: Exchange) -> bool:
    arrival = exchange.arrival
    if arrival is not None:
        return arrival.status is not None and not arrival.error and not arrival.was_echoed
    stamp = exchange.answer.stamp if exchange.answer else None
    return stamp is not None and stamp.received_status is not None


def is_taken_by_gateway(exchange: Exchange) -> bool:
    """Whether an upgrade reached the gateway, which took it or refused who is not Twilio."""
    answer, arrival = exchange.answer, exchange.arrival
    if answer is None or answer.status not in (101, 401, 403):
        return False
    if arrival is not None:
        return not arrival.was_echoed and arrival.status == answer.status
    return answer.status == 101 or _is_of_gateway(exchange)


def fields_differ(exchange: Exchange, arrival: Arrival, name: str) -> bool:
    """Whether a field's value changed on the way."""
    return exchange.sent(name) != arrival.value(name)


def has_token(value: str | None, token: str) -> bool:
    """Whether a comma-separated value lists a token, compared without case."""
    return token in (item.strip().lower() for item in (value or "").split(","))


def arrived_behind(sight: Sight) -> Arrival | None:
    """What the sidecar saw of the same upgrade, sent to the hop behind."""
    behind = exchange_behind(sight)
    return behind.arrival if behind is not None else None


def asks_upgrade(value: str | None) -> bool:
    return has_token(value, "websocket")
