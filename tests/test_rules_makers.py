"""Who made an answer: real answers of real programs, and what may not be told."""

import pytest

from doctor.evidence import Answer, Stamp
from doctor.rules.makers import MAKES, maker_of, may_be_of
from sights import answer

NGINX_TOKENS_OFF = (
    "<html>\r\n<head><title>404 Not Found</title></head>\r\n<body>\r\n<center><h1>404 Not Found"
    "</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
)


@pytest.mark.parametrize(
    ("given", "maker"),
    [
        (answer(502, "nginx"), "nginx"),
        (answer(404, body=NGINX_TOKENS_OFF), "nginx"),
        (answer(404, body=NGINX_TOKENS_OFF.replace("nginx", "openresty/1.25")), "nginx"),
        (answer(503, "haproxy"), "haproxy"),
        (answer(403, "apache"), "apache"),
        (answer(502, "caddy"), "caddy"),
        (answer(502, "traefik"), "traefik"),
        (answer(404, "go"), "go"),
        (answer(503, "envoy"), "envoy"),
        (answer(403, "envoy-empty"), "envoy"),
        (answer(502, "tailscale"), "tailscale"),
        (answer(404, fields=(("cf-ray", "8f-AMS"), ("Server", "cloudflare"))), "cloudflared"),
        (answer(502, body="error code: 502"), "cloudflare"),
        (answer(404, fields=(("ngrok-error-code", "ERR_NGROK_3200"),)), "ngrok"),
        (answer(404, body="... ERR_NGROK_3200 ..."), "ngrok"),
    ],
)
def test_a_program_is_told_by_what_only_it_writes(given: Answer, maker: str) -> None:
    assert maker_of(given) == maker


@pytest.mark.parametrize(
    "given",
    [
        answer(404, body="no such path\n", fields=(("Server", "nginx/1.22.1"),)),
        answer(404, body='{"detail":"Not Found"}', fields=(("server", "uvicorn"),)),
        answer(403, body="no", fields=(("server", "envoy"),)),
        answer(404, fields=(("server", "envoy"), ("x-envoy-upstream-service-time", "3"))),
        answer(404, fields=(("Server", "Caddy"), ("Via", "1.1 Caddy"))),
        answer(502, body="Bad Gateway", fields=(("Server", "something"),)),
        answer(404),
    ],
)
def test_an_answer_that_a_proxy_relays_is_not_its_own(given: Answer) -> None:
    assert maker_of(given) is None


def test_what_carries_the_sidecar_s_stamp_was_made_by_no_hop_in_front() -> None:
    assert maker_of(answer(404, "nginx", stamp=Stamp("01", 404))) is None


def test_a_plain_go_answer_may_be_of_each_of_the_programs_that_write_it() -> None:
    assert may_be_of(answer(404, "go"), "traefik")
    assert may_be_of(answer(404, "go"), "tailscale")
    assert not may_be_of(answer(404, "go"), "nginx")
    assert not may_be_of(answer(404, "go"), "gateway")
    assert set(MAKES["sidecar"]) == set()
