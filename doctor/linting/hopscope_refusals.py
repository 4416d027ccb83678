"""What Hopscope does not start with: unknown names, refused values, routes that lead nowhere."""

import re
from collections.abc import Iterator

from doctor.linting.family import Family, Saw
from doctor.linting.hopscope_config import GATEWAY, Config, Refusal
from gateway.credentials import VARIABLES
from proxy.routes import Upstream
from proxy.settings import HostPort, Settings, parse_host_port

REFUSALS = Family[Config]()
_SECRETS = {*VARIABLES, *VARIABLES.values(), "HOPSCOPE_ADMIN_TOKEN"}
_SECRET = re.compile(r"token|password|passwd|api_?key", re.IGNORECASE)


def _is_secret(refusal: Refusal) -> bool:
    name = str(refusal.place[-1])
    return bool(refusal.node.text and (name in _SECRETS or _SECRET.search(name)))


@REFUSALS.rule("HO10")
def setting_unknown(config: Config) -> Iterator[Saw]:
    """A name that is no setting.

    Why:
        Hopscope refuses to start, and at a reload keeps the old settings: a setting that nobody
        reads would look as if it were in force.
    Fix:
        Write the name that was meant. README.md has those of the sidecar, gateway/README.md those
        of [gateway]; a key below a [table] belongs to that table.
    """
    for refusal in config.refusals:
        if refusal.is_unknown and not _is_secret(refusal):
            yield config.saw(refusal.node, refusal.text)


@REFUSALS.rule("HO11")
def setting_refused(config: Config) -> Iterator[Saw]:
    """A value that Hopscope refuses.

    Why:
        It does not start with it, and at a reload keeps the old settings.
    Fix:
        Write what the sentence says is allowed. README.md and gateway/README.md show every setting
        with its default.
    """
    is_told = any(True for rule in (route_unreachable, upstream_is_sidecar) for _ in rule(config))
    for refusal in config.refusals:
        is_else = refusal.is_unknown or refusal.place[-1:] == ("upstream",)
        is_routing = refusal.is_together and refusal.place[:1] != (GATEWAY,)
        if not is_else and not (is_routing and is_told):
            yield config.saw(refusal.node, refusal.text)


@REFUSALS.rule("HO12")
def upstream_refused(config: Config) -> Iterator[Saw]:
    """An upstream that the sidecar does not dial.

    Why:
        The sidecar stands beside its gateway and dials it without TLS; an upgrade travels over
        http. What its path should be there is a route's to say.
    Fix:
        upstream = "http://127.0.0.1:3334", or "unix:/path/to.sock"
    """
    for refusal in config.refusals:
        if not refusal.is_unknown and refusal.place[-1:] == ("upstream",):
            yield config.saw(refusal.node, refusal.text)


@REFUSALS.rule("HO13")
def secret_in_file(config: Config) -> Iterator[Saw]:
    """A secret stands among the settings.

    Why:
        Hopscope reads no secret from there and refuses to start; and settings are shown, copied
        and committed.
    Fix:
        Remove it, and make a new one if others have seen it. Set it in the environment, or write
        NAME=value into a file readable by you alone, and name that: [gateway] secrets =
        "secrets.env". HOPSCOPE_ADMIN_TOKEN is read from the environment alone.
    """
    for refusal in config.refusals:
        if refusal.is_unknown and _is_secret(refusal):
            name = ".".join(str(part) for part in refusal.place if isinstance(part, str))
            yield config.saw(refusal.node, f"{name} = [hidden]")


@REFUSALS.rule("HO14")
def route_unreachable(config: Config) -> Iterator[Saw]:
    """A route that never gets a request.

    Why:
        The first route that matches takes a request, and one before this takes all that it would.
        The sidecar refuses to start.
    Fix:
        Move the narrower route up, or remove it.
    """
    for number, later in enumerate(config.routes):
        for earlier in config.routes[:number]:
            if earlier.route.takes_all_of(later.route):
                text = f"{later.name} stands behind {earlier.name}, which takes all of it"
                yield config.saw(later.node, text)
                break


@REFUSALS.rule("HO15")
def upstream_is_sidecar(config: Config) -> Iterator[Saw]:
    """An upstream is the sidecar itself.

    Why:
        A request would come back to where it was, and the sidecar refuses to start. Its admin
        address knows no calls.
    Fix:
        Write the address of the gateway. Hopscope's own listens on 127.0.0.1:8081, OpenClaw's
        plugin on 127.0.0.1:3334.
    """
    for each in config.routes:
        for name in ("listen", "admin"):
            address = _address(config, name)
            if address is not None and _is_same(each.route.upstream, address):
                text = f"{each.name} leads to {each.route.upstream}, and {name} is {address}"
                yield config.saw(each.node["upstream"], text)


def _address(config: Config, name: str) -> HostPort | None:
    """As written, else the default; None where it was refused."""
    try:
        return parse_host_port(config.root[name].text or Settings.model_fields[name].default)
    except ValueError:
        return None


def _is_same(upstream: Upstream, address: HostPort) -> bool:
    """As proxy.settings compares them."""
    theirs = HostPort(upstream.host, upstream.port)
    is_any = address.host in ("0.0.0.0", "::")  # noqa: S104 - compared, not bound
    is_here = theirs.is_loopback and (is_any or address.is_loopback)
    return 0 < theirs.port == address.port and (theirs == address or is_here)
