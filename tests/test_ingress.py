"""Which ingress a head came through: all heads in tests/heads, and each mark by itself."""

import random
from pathlib import Path

import pytest

from proxy.ingress import _EVIDENCE, tell_ingress

HEADS = Path(__file__).parent / "heads"
FILES = sorted(HEADS.glob("*/*.head"))
ANSWERS = {ingress for _, ingress in _EVIDENCE} | {"unknown"}

Fields = list[tuple[str, str]]

TWILIO: Fields = [
    ("Host", "voice.example.com"),
    ("User-Agent", "Twilio.TmeWs/1.0"),
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("X-Twilio-Signature", "0000000000000000000000000000"),
]


def parse(data: bytes) -> tuple[str, Fields]:
    line, *rest = data.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    fields = [field.partition(":") for field in rest]
    return line.rpartition("HTTP/")[2], [(name, value.strip(" ")) for name, _, value in fields]


def head(path: str) -> tuple[str, Fields]:
    return parse((HEADS / f"{path}.head").read_bytes())


def without(fields: Fields, *names: str) -> Fields:
    return [(name, value) for name, value in fields if name.lower() not in names]


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_a_captured_head_is_told_as_its_folder_says(file: Path) -> None:
    assert tell_ingress(*parse(file.read_bytes())) == file.parent.name


def test_the_captured_heads_still_have_their_line_endings() -> None:
    for file in FILES:
        data = file.read_bytes()
        assert data.endswith(b"\r\n\r\n"), file
        assert data.count(b"\n") == data.count(b"\r\n"), file


def test_every_answer_has_a_folder_of_heads_and_every_folder_an_answer() -> None:
    assert {file.parent.name for file in FILES} == ANSWERS


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("haproxy-default-upgrade", "http-proxy-3-upgrade"),
        ("haproxy-unique-id-upgrade", "envoy-timeout-0-upgrade"),
        ("caddy-2.6.2-upgrade", "go-rewrite-upgrade"),
    ],
)
def test_two_programs_that_write_the_same_names_in_the_same_order_stay_unknown(
    one: str, other: str
) -> None:
    (version, fields), (other_version, others) = head(f"unknown/{one}"), head(f"unknown/{other}")
    assert version == other_version
    assert [name for name, _ in fields] == [name for name, _ in others]


# What nginx 1.22.1 writes in front of the client's own fields, for each fault of its configuration.
FAULTS = {
    "h01": ("1.0", ["Host: 127.0.0.1:8080", "Connection: close"]),
    "h02": ("1.1", ["Host: 127.0.0.1:8080", "Connection: close"]),
    "h03": ("1.1", ["Upgrade: websocket", "Host: 127.0.0.1:8080", "Connection: close"]),
    "h04": ("1.1", ["Connection: upgrade", "Host: 127.0.0.1:8080"]),
    "h05": ("1.0", ["Upgrade: websocket", "Connection: upgrade", "Host: 127.0.0.1:8080"]),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_nginx_is_told_from_the_fields_it_puts_before_the_clients(fault: str) -> None:
    version, own = FAULTS[fault]
    saw_version, saw = head(f"nginx/{fault}-upgrade")
    assert (saw_version, [f"{name}: {value}" for name, value in saw[: len(own)]]) == (version, own)
    assert tell_ingress(version, saw) == "nginx"
    client_first = saw[len(own) :] + saw[: len(own)]
    assert tell_ingress(version, client_first) == "unknown"


def test_a_field_that_nginx_always_drops_shows_that_nginx_did_not_write_the_head() -> None:
    version, fields = head("nginx/usual-upgrade")
    for name in ("Keep-Alive", "TE", "Expect", "Connection", "Host"):
        assert tell_ingress(version, [*fields, (name, "x")]) != "nginx"


def test_the_usual_fields_of_nginx_are_told_without_a_connection_field() -> None:
    version, fields = head("nginx/usual-keepalive-webhook")
    assert "connection" not in {name.lower() for name, _ in fields}
    assert tell_ingress(version, fields) == "nginx"
    assert tell_ingress(version, without(fields, "x-real-ip")) == "unknown"


def test_the_lineup_of_ingress_nginx_is_told() -> None:
    own = """Host Upgrade Connection X-Request-ID X-Real-IP X-Forwarded-For X-Forwarded-Host
        X-Forwarded-Port X-Forwarded-Proto X-Forwarded-Scheme X-Scheme""".split()
    fields = [(name, "upgrade") for name in own]
    rest = without(TWILIO, "host", "upgrade", "connection")
    assert tell_ingress("1.1", fields + rest) == "nginx"


@pytest.mark.parametrize(
    "client", ["ab-keepalive", "java-websocket", "old-webkit", "beast", "perl"]
)
def test_a_client_that_opens_nearly_like_nginx_is_not_taken_for_it(client: str) -> None:
    assert tell_ingress(*head(f"unknown/direct-{client}")) == "unknown"


def test_php_without_a_user_agent_is_not_taken_for_nginx() -> None:
    fields = [("Host", "a"), ("Connection", "close"), ("Content-Length", "3"), ("Accept", "*/*")]
    assert tell_ingress("1.0", fields) == "unknown"
    assert tell_ingress("1.1", fields) == "unknown"


@pytest.mark.parametrize(
    ("name", "ingress"),
    [
        ("Cf-Ray", "cloudflare"),
        ("CF-Connecting-IP", "cloudflare"),
        ("cf-warp-tag-id", "cloudflare"),
        ("Tailscale-Funnel-Request", "tailscale-funnel"),
        ("tailscale-user-login", "tailscale-serve"),
        ("Tailscale-Headers-Info", "tailscale-serve"),
        ("X-Envoy-External-Address", "envoy"),
    ],
)
def test_a_vendors_name_is_told_wherever_it_stands_and_however_it_is_spelt(
    name: str, ingress: str
) -> None:
    for place in range(len(TWILIO)):
        assert tell_ingress("1.1", [*TWILIO[:place], (name, "x"), *TWILIO[place:]]) == ingress


def test_a_vendors_name_outweighs_the_order_that_a_later_hop_gave_the_head() -> None:
    for path in ("nginx/h01-upgrade", "haproxy/forwardfor-upgrade", "apache/plain-upgrade"):
        version, fields = head(path)
        assert tell_ingress(version, [*fields, ("Cf-Ray", "8f00000000000000-IAD")]) == "cloudflare"


def test_funnel_outweighs_serve_and_cloudflare_outweighs_both() -> None:
    both = [*TWILIO, ("Tailscale-User-Login", "a"), ("Tailscale-Funnel-Request", "?1")]
    assert tell_ingress("1.1", both) == "tailscale-funnel"
    assert tell_ingress("1.1", [*both, ("Cf-Ray", "x")]) == "cloudflare"


@pytest.mark.parametrize(
    ("host", "ingress"),
    [
        ("calls.ngrok-free.app", "ngrok"),
        ("Calls.NGROK.app:443", "ngrok"),
        ("a.b.ngrok.io", "ngrok"),
        ("ngrok.app", "unknown"),
        ("calls.ngrok.app.example.com", "unknown"),
        ("notngrok.app", "unknown"),
        ("", "unknown"),
    ],
)
def test_ngrok_is_told_from_a_name_under_its_domains(host: str, ingress: str) -> None:
    fields = [*without(TWILIO, "host"), ("X-Forwarded-For", "203.0.113.9")]
    assert tell_ingress("1.1", [("Host", host), *fields]) == ingress
    rewritten = [("Host", "127.0.0.1:8080"), *fields, ("X-Forwarded-Host", f"{host}, proxy.local")]
    assert tell_ingress("1.1", rewritten) == ingress


def test_a_name_under_ngroks_domains_alone_does_not_show_ngrok() -> None:
    version, fields = head("ngrok/upgrade")
    assert tell_ingress(version, without(fields, "x-forwarded-for")) == "unknown"


@pytest.mark.parametrize(
    ("via", "ingress"),
    [
        (["1.1 Caddy"], "caddy"),
        (["2.0 Caddy"], "caddy"),
        (["1.1 varnish, 1.1 Caddy"], "caddy"),
        (["1.1 varnish", "1.1 Caddy"], "caddy"),
        (["1.1 www.example.com (Apache/2.4.71)"], "apache"),
        (["http/1.1 a (ApacheTrafficServer/9.1)"], "unknown"),
        (["1.1 Caddyshack"], "unknown"),
        (["1.1 google"], "unknown"),
        (["Caddy"], "unknown"),
        (["", ","], "unknown"),
    ],
)
def test_via_is_read_as_a_list_of_hops(via: list[str], ingress: str) -> None:
    assert tell_ingress("1.1", [*TWILIO, *(("Via", line) for line in via)]) == ingress


def test_traefik_needs_its_whole_set() -> None:
    version, fields = head("traefik/upgrade")
    for name in ("x-real-ip", "x-forwarded-server", "x-forwarded-port"):
        assert tell_ingress(version, without(fields, name)) == "unknown"


def test_apache_needs_its_connection_field_behind_its_own_three() -> None:
    version, fields = head("apache/upgrade-websocket-upgrade")
    assert tell_ingress(version, without(fields, "connection")) == "unknown"
    assert tell_ingress(version, [*fields, ("Accept", "*/*")]) == "unknown"


def test_haproxy_needs_lower_case_throughout_and_its_field_last() -> None:
    version, fields = head("haproxy/forwardfor-upgrade")
    assert tell_ingress(version, [*fields, ("connection", "close")]) == "haproxy"
    assert tell_ingress(version, [*fields, ("accept", "*/*")]) == "unknown"
    assert tell_ingress(version, [("Host", "a"), *without(fields, "host")]) == "unknown"


def test_twilio_is_direct_only_while_nothing_else_shows() -> None:
    assert tell_ingress("1.1", TWILIO) == "twilio-direct"
    assert tell_ingress("1.0", TWILIO) == "unknown"
    for name in ("X-Forwarded-For", "X-Forwarded-Proto", "Forwarded", "Via", "X-Real-IP"):
        assert tell_ingress("1.1", [*TWILIO, (name, "x")]) == "unknown"
    for name in ("upgrade", "connection", "user-agent"):
        assert tell_ingress("1.1", without(TWILIO, name)) == "unknown"


def test_a_lineup_that_a_silent_hop_could_have_written_is_not_twilio_direct() -> None:
    assert tell_ingress("1.1", [(name.lower(), value) for name, value in TWILIO]) == "unknown"
    host, agent, upgrade, connection, *rest = TWILIO
    assert tell_ingress("1.1", [host, upgrade, connection, agent, *rest]) == "unknown"
    assert tell_ingress("1.1", [host, agent, *rest, connection, upgrade]) == "unknown"


def test_no_head_raises_whatever_is_in_it() -> None:
    rng = random.Random(6455)
    assert tell_ingress("1.1", []) == "unknown"
    pool = [field for file in FILES for field in parse(file.read_bytes())[1]]
    pool += [
        ("", ""),
        ("Via", ", ,"),
        ("Host", "\xff:,"),
        ("X-Forwarded-Server", "\n"),
        ("\n", "a"),
    ]
    for _ in range(2000):
        fields = rng.sample(pool, rng.randrange(12))
        assert tell_ingress(rng.choice(["1.0", "1.1"]), fields) in ANSWERS
