"""Rules of the route that takes one of our paths. What is said was seen with Envoy 1.40."""

from collections.abc import Iterator
from dataclasses import dataclass

from doctor.linting.envoy_config import Config, Passage, cluster_names, duration_s
from doctor.linting.family import Family, Saw
from doctor.linting.nodes import Node
from doctor.linting.urls import read_url, scheme_doubt

EDITED = ("upgrade", "connection", "sec-websocket-key", "sec-websocket-version")
PROTOCOLS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
# A webhook may look up who calls, and synthesise a greeting.
_ANSWER_S = 5
_RETRIED = frozenset(("5xx", "gateway-error", "reset", "retriable-status-codes"))


@dataclass(frozen=True, slots=True)
class Taker:
    config: Config
    passage: Passage

    @property
    def is_stream(self) -> bool:
        return self.passage.request.role == "stream"

    def clusters(self) -> Iterator[Node]:
        for name in cluster_names(self.passage.action):
            if cluster := self.config.cluster(name):
                yield cluster

    def saw(self, node: Node, text: str) -> Saw:
        return self.config.saw(node, text)

    def added(self) -> Iterator[tuple[str, str, Node]]:
        """Request headers that Envoy sets: name in lower case, value, entry."""
        for level in self.passage.levels():
            for each in level["request_headers_to_add"]:
                header = each["header"]
                yield header["key"].text.lower(), header["value"].text, each


TAKERS = Family[Taker]()


@TAKERS.rule("EN13")
def upgrade_forced(taker: Taker) -> Iterator[Saw]:
    """Every request is made an upgrade, the webhook, too.

    Why:
        The gateway sees a POST that asks for a WebSocket and refuses it, or switches protocols
        under a form.
    Fix:
        Remove upgrade from request_headers_to_add; upgrade_configs pass it on.
    """
    for name, value, node in taker.added():
        is_forced = (name, value.lower()) == ("upgrade", "websocket")
        if taker.passage.request.role == "webhook" and is_forced:
            yield taker.saw(node, f"request_headers_to_add: {name}: {value}")


@TAKERS.rule("EN14")
def http2_upstream(taker: Taker) -> Iterator[Saw]:
    """The gateway is spoken to in HTTP/2.

    Why:
        A gateway of voice calls speaks HTTP/1.1. It gets the preface of HTTP/2, and Envoy answers
        502 (UPE).
    Fix:
        explicit_http_config: {http_protocol_options: {}}
    """
    for cluster in taker.clusters():
        own = cluster.at("typed_extension_protocol_options", PROTOCOLS, "explicit_http_config")
        for node in (own["http2_protocol_options"], cluster["http2_protocol_options"]):
            if node:
                yield taker.saw(node, f"cluster {cluster['name'].text}: http2_protocol_options")


@TAKERS.rule("EN18", level="warning")
def host_rewritten(taker: Taker) -> Iterator[Saw]:
    """The gateway does not get the public name.

    Why:
        Twilio signs the public URL. A gateway that rebuilds it from Host computes another
        signature and refuses.
    Fix:
        Remove host_rewrite_literal and auto_host_rewrite, or tell the gateway its public URL.
    """
    action = taker.passage.action
    for name in ("host_rewrite_literal", "host_rewrite_header", "host_rewrite_path_regex"):
        if action[name]:
            yield taker.saw(action[name], f"{name}: {action[name].text}".rstrip(": "))
    # Addresses have no names that they could be replaced by.
    named = any("DNS" in cluster["type"].text for cluster in taker.clusters())
    if action["auto_host_rewrite"].is_true and named:
        yield taker.saw(action["auto_host_rewrite"], "auto_host_rewrite: true")


@TAKERS.rule("EN19")
def login_required(taker: Taker) -> Iterator[Saw]:
    """A login stands before a path that Twilio asks for.

    Why:
        Twilio opens streams without credentials; it signs its requests instead. It is answered
        401, or with a redirect to a login page.
    Fix:
        typed_per_filter_config with disabled: true for the voice routes.
    """
    for name, node in taker.passage.filters():
        if name in ("basic_auth", "oauth2", "api_key_auth"):
            yield taker.saw(node, f"http_filters: {name} is before {taker.passage.request.path}")


@TAKERS.rule("EN20", level="warning")
def limited(taker: Taker) -> Iterator[Saw]:
    """A filter that may refuse Twilio stands before its paths.

    Why:
        Twilio calls from a few addresses that it does not promise to keep, without tokens. Rules
        for addresses answer 403 once they change, rate limits 429 in a busy minute.
    Fix:
        typed_per_filter_config with disabled: true for the voice routes, or allow them by path.
    """
    for name, node in taker.passage.filters():
        if name in ("rbac", "ext_authz", "jwt_authn", "local_ratelimit", "ratelimit"):
            yield taker.saw(node, f"http_filters: {name} is before {taker.passage.request.path}")


@TAKERS.rule("EN21", level="warning")
def scheme_and_port(taker: Taker) -> Iterator[Saw]:
    """TLS or the lack of it, and the port of a cluster, hardly belong together.

    Why:
        TLS to a plain port, or HTTP to a TLS port, is a 503 for every request.
    Fix:
        Remove the cluster's transport_socket; voice gateways mostly speak plain HTTP.
    """
    for cluster in taker.clusters():
        url = read_url(taker.config.upstream(cluster["name"].text))
        if url and (doubt := scheme_doubt(url.scheme == "https", url.host, url.port)):
            yield taker.saw(cluster, f"cluster {cluster['name'].text}: {url.text}: {doubt}")


@TAKERS.rule("EN24", level="warning")
def webhook_retried(taker: Taker) -> Iterator[Saw]:
    """A retry posts the webhook again.

    Why:
        A gateway has begun the call when the first one arrived. To the second it answers what is
        for a call in progress, and Twilio plays that.
    Fix:
        retry_on: connect-failure, which repeats only what was never sent.
    """
    own = taker.passage.action["retry_policy"] or taker.passage.virtual_host["retry_policy"]
    reasons = {each.strip() for each in own["retry_on"].text.split(",")}
    if taker.passage.request.role == "webhook" and reasons & _RETRIED:
        yield taker.saw(own["retry_on"], f"retry_on: {own['retry_on'].text}")


@TAKERS.rule("EN25", level="warning")
def tls_required(taker: Taker) -> Iterator[Saw]:
    """A listener without TLS redirects what did not come over TLS.

    Why:
        Only X-Forwarded-Proto: https of a hop in front keeps Envoy from answering 301, and Twilio
        follows no redirect of a stream.
    Fix:
        require_tls: NONE
    """
    required = taker.passage.virtual_host["require_tls"]
    if required.text in ("ALL", "EXTERNAL_ONLY") and not taker.passage.chain.is_tls:
        yield taker.saw(required, f"require_tls: {required.text}, and the listener has no TLS")


@TAKERS.rule("EN26", level="warning")
def answer_cut(taker: Taker) -> Iterator[Saw]:
    """The gateway has less than five seconds to answer.

    Why:
        Twilio itself waits fifteen. The timeout of a route ends a webhook, and the handshake of a
        stream; what was upgraded it leaves alone.
    Fix:
        timeout: 15s, which is what it is without a word.
    """
    timeout = taker.passage.action["timeout"]
    limit_s = duration_s(timeout) or 0
    if 0 < limit_s < _ANSWER_S:
        yield taker.saw(timeout, f"timeout: {limit_s:g}s")
