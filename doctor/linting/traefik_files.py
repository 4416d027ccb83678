"""Rules of Traefik's configuration as a whole: routers that it drops."""

from collections.abc import Iterator

from doctor.linting.family import Family, Saw
from doctor.linting.traefik_config import Config

FILE = Family[Config]()


@FILE.rule("TR10")
def reference_missing(config: Config) -> Iterator[Saw]:
    """A router names a service or a middleware that does not exist.

    Why:
        Traefik drops the router, logs one line, and answers 404 to what it would have taken.
    Fix:
        Define it in the same file, or name its provider: gateway@docker
    """
    for router in config.routers:
        for what, node in router.missing:
            yield config.saw(node, f"router {router.name} names {what}, which the file has not")
        if not router.node["service"].text:
            yield config.saw(router.node, f"router {router.name} names no service")


@FILE.rule("TR11")
def rule_refused(config: Config) -> Iterator[Saw]:
    """A rule that Traefik does not take.

    Why:
        Traefik drops the router, logs one line, and answers 404 to what it would have taken.
        Version 3 takes one value a matcher: Host(`a`,`b`) of version 2 is refused.
    Fix:
        Write Host(`voice.example.com`) && PathPrefix(`/voice/`), and || between several values.
    """
    for router in config.routers:
        node = router.node["rule"]
        if router.refused:
            yield config.saw(node, f"rule: {node.text}: {router.refused}")
        elif router.rule and router.rule.is_version_2 and router.node["ruleSyntax"].text != "v2":
            text = f"rule: {node.text}: more values than version 3 takes"
            yield Saw(text, config.file, node.line, level="warning")


@FILE.rule("TR12")
def entry_point_missing(config: Config) -> Iterator[Saw]:
    """A router stands on an entry point that does not exist.

    Why:
        Nothing listens there. Traefik logs one line.
    Fix:
        Use a name of entryPoints in the static configuration.
    """
    known = config.root["entryPoints"].fields
    for router in config.routers:
        for node in router.node["entryPoints"]:
            if known and node.text not in known:
                text = f"router {router.name} is on {node.text}; there are {', '.join(known)}"
                yield config.saw(node, text)
