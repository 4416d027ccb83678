"""Which of a machine's programs are on the way of a call: told by a machine that is made up."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from doctor.evidence import Hop
from doctor.probing import Discovery, HopsError, discover
from doctor.probing.discovery import dialled, in_order
from doctor.probing.ingresses import (
    Ingress,
    find_cloudflared,
    find_servers,
    find_tailscale,
    mentions,
)
from doctor.probing.machine import Machine, Process
from doctor.probing.sidecar import AdminAddress, Routed, Unavailable

URL = "https://voice.example.com"
SERVE = """{
  "TCP": {"443": {"HTTPS": true}},
  "Web": {"gw.tail-scale.ts.net:443": {"Handlers": {"/": {"Proxy": "http://127.0.0.1:8080"}}}},
  "AllowFunnel": {"gw.tail-scale.ts.net:443": true}
}"""
NGINX = "server { listen 443 ssl; location / { proxy_pass http://127.0.0.1:8080; } }"


class MadeUp(Machine):
    """Processes, files, commands and pages as the test says."""

    def __init__(
        self,
        processes: Sequence[Process] = (),
        files: Mapping[str, str] | None = None,
        commands: Mapping[str, str] | None = None,
        pages: Mapping[str, str] | None = None,
        tls_ports: Sequence[int] = (443, 8443),
    ) -> None:
        super().__init__()
        self._processes = list(processes)
        self._files = dict(files or {})
        self._commands = dict(commands or {})
        self._pages = dict(pages or {})
        self._tls_ports = tls_ports

    async def run(self, *command: str) -> str | None:
        return self._commands.get(" ".join(command))

    def read(self, file: Path) -> str | None:
        return self._files.get(str(file))

    def expand(self, pattern: str) -> list[Path]:
        return [Path(name) for name in sorted(self._files) if Path(name).match(pattern)]

    async def fetch(self, url: str) -> str | None:
        return self._pages.get(url)

    async def speaks_tls(self, port: int) -> bool:
        return port in self._tls_ports

    async def processes(self, programs: Sequence[str]) -> list[Process]:
        return [each for each in self._processes if each.program in programs]


@pytest.fixture
def sidecar(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What a sidecar's admin address tells; without "listen" there is none."""
    told: dict[str, Any] = {"listen": "127.0.0.1:8080", "upstream": "http://127.0.0.1:8081"}

    async def index(self: AdminAddress) -> dict[str, Any]:
        if told.get("silent"):
            raise Unavailable(f"nothing listens on {self.url}")
        return told

    async def route(_self: AdminAddress, target: str, _host: str | None) -> Routed | None:
        return Routed(told["upstream"], target) if told["upstream"] else None

    monkeypatch.setattr(AdminAddress, "index", index)
    monkeypatch.setattr(AdminAddress, "route", route)
    monkeypatch.delenv("HOPSCOPE_PUBLIC_URL", raising=False)
    return told


def _discover(machine: Machine, public_url: str | None = URL) -> Discovery:
    return asyncio.run(discover(public_url, machine=machine, home=Path("/home/me")))


def _names(found: Discovery) -> list[tuple[str, str]]:
    return [(hop.name, hop.url) for hop in found.hops]


INSIDE = [("gateway", "http://127.0.0.1:8081"), ("sidecar", "http://127.0.0.1:8080")]


def test_the_sidecar_tells_itself_and_its_gateway(sidecar: dict[str, Any]) -> None:
    found = _discover(MadeUp())
    assert _names(found) == [*INSIDE, ("public", URL)]
    assert found.admin == "http://127.0.0.1:9101"
    assert found.notes == ()


def test_nginx_is_on_the_way_where_its_configuration_names_the_sidecars_port(
    sidecar: dict[str, Any],
) -> None:
    title = "nginx: master process /usr/sbin/nginx -c /srv/nginx.conf -g daemon off;"
    processes = [
        Process(7, (title,), (80, 443)),
        Process(8, ("nginx: worker process",), (80, 443)),
    ]
    dump = f"# configuration file /srv/nginx.conf:\n{NGINX}"
    machine = MadeUp(
        processes, {"/srv/nginx.conf": "include sites/*;"}, {"nginx -T -c /srv/nginx.conf": dump}
    )
    found = _discover(machine)
    assert found.hops[2] == Hop("nginx", "nginx", "https://127.0.0.1:443", Path("/srv/nginx.conf"))
    assert _names(found)[3:] == [("public", URL)]
    [(name, document)] = found.documents
    assert (name, document.text) == ("nginx", dump)


def test_without_nginx_t_the_file_and_what_it_includes_are_read(sidecar: dict[str, Any]) -> None:
    files = {
        "/etc/nginx/nginx.conf": "http { include conf.d/*.conf; }",
        "/etc/nginx/conf.d/voice.conf": NGINX,
    }
    found = _discover(MadeUp([Process(7, ("nginx: master process nginx",))], files))
    assert found.hops[2].url == "https://127.0.0.1:443", "the port is taken from the file"
    assert found.documents == ()


def test_an_ingress_that_serves_something_else_is_left_out_and_told(
    sidecar: dict[str, Any],
) -> None:
    files = {"/etc/nginx/nginx.conf": "server { listen 80; proxy_pass http://127.0.0.1:3000; }"}
    found = _discover(MadeUp([Process(7, ("nginx",), (80,))], files))
    assert _names(found) == [*INSIDE, ("public", URL)]
    [note] = found.notes
    assert note.startswith(
        "nginx runs here, and its configuration does not name the sidecar's port"
    )
    assert note.endswith("write hops.toml if calls pass it")


def test_an_ingress_whose_configuration_cannot_be_read_is_told(sidecar: dict[str, Any]) -> None:
    found = _discover(MadeUp([Process(7, ("haproxy", "-f", "/root/h.cfg"), (443,))]))
    assert _names(found) == [*INSIDE, ("public", URL)]
    assert "haproxy runs here (pid 7), and its configuration cannot be read" in found.notes[0]


@pytest.mark.parametrize(
    ("kind", "argv", "text"),
    [
        ("caddy", ("caddy", "run", "--config", "/srv/f"), "a { reverse_proxy localhost:8080 }"),
        ("haproxy", ("/usr/sbin/haproxy", "-Ws", "-f", "/srv/f"), "server s 127.0.0.1:8080"),
        ("traefik", ("traefik", "--configFile=/srv/f"), "- url: http://127.0.0.1:8080"),
        ("envoy", ("envoy", "-c", "/srv/f"), "port_value: 8080"),
        ("apache", ("/usr/sbin/apache2", "-f", "/srv/f"), "ProxyPass / http://127.0.0.1:8080/"),
    ],
)
def test_other_servers_are_found_by_their_arguments(
    sidecar: dict[str, Any], kind: str, argv: tuple[str, ...], text: str
) -> None:
    machine = MadeUp([Process(7, argv, (2019, 8443))], {"/srv/f": text})
    found = _discover(machine)
    assert found.hops[2] == Hop(kind, kind, "https://127.0.0.1:8443", Path("/srv/f"))  # type: ignore[arg-type]


def test_a_port_of_plain_http_is_taken_where_calls_come_by_http(sidecar: dict[str, Any]) -> None:
    files = {"/etc/caddy/Caddyfile": "reverse_proxy :8080"}
    machine = MadeUp([Process(7, ("caddy", "run"), (443, 8000))], files)
    assert _discover(machine, "http://v.example.com").hops[2].url == "http://127.0.0.1:8000"
    assert _discover(machine).hops[2].url == "https://127.0.0.1:443"


def test_a_port_for_operators_is_no_way_for_a_call(sidecar: dict[str, Any]) -> None:
    files = {"/etc/caddy/Caddyfile": "reverse_proxy :8080"}
    machine = MadeUp([Process(7, ("caddy", "run"), (2019, 8000))], files)
    assert _discover(machine, "http://v.example.com").hops[2].url == "http://127.0.0.1:8000"


def test_ingresses_are_ordered_by_who_sends_to_whom(sidecar: dict[str, Any]) -> None:
    processes = [
        Process(5, ("cloudflared", "tunnel", "--config", "/srv/c.yml", "run")),
        Process(7, ("nginx",), (8000,)),
    ]
    files = {
        "/srv/c.yml": "ingress:\n- hostname: voice.example.com\n  service: http://localhost:8000\n",
        "/etc/nginx/nginx.conf": NGINX,
    }
    pages = {"http://127.0.0.1:20243/ready": '{"status":200,"readyConnections":4}'}
    found = _discover(MadeUp(processes, files, pages=pages))
    assert _names(found) == [*INSIDE, ("nginx", "http://127.0.0.1:8000"), ("cloudflared", URL)]
    assert found.hops[3].kind == "cloudflared"
    assert found.hops[3].config == Path("/srv/c.yml")
    notes = dict(found.hop_notes)["cloudflared"]
    assert notes == ("cloudflared says it is connected to the edge, 4 times",)


def test_a_quick_tunnel_tells_its_own_public_url(sidecar: dict[str, Any]) -> None:
    argv = ("cloudflared", "tunnel", "--url", "http://localhost:8080", "--metrics", "0.0.0.0:9")
    pages = {
        "http://127.0.0.1:9/ready": '{"status":503,"readyConnections":0}',
        "http://127.0.0.1:9/quicktunnel": '{"hostname":"four-words.trycloudflare.com"}',
    }
    found = _discover(MadeUp([Process(5, argv)], pages=pages), None)
    assert _names(found)[2:] == [("cloudflared", "https://four-words.trycloudflare.com")]
    assert "not connected to the edge" in dict(found.hop_notes)["cloudflared"][0]


def test_a_tunnel_without_file_and_metrics_is_told(sidecar: dict[str, Any]) -> None:
    [ingress] = asyncio.run(
        find_cloudflared(MadeUp([Process(5, ("cloudflared", "tunnel", "run"))]), Path("/home/me"))
    )
    assert ingress.notes == (
        "cloudflared runs here, and no metrics port of it answers",
        "cloudflared runs here without a file: its rules come from Cloudflare",
    )


def test_funnel_tells_its_public_url_and_its_configuration(sidecar: dict[str, Any]) -> None:
    machine = MadeUp(commands={"tailscale serve status --json": SERVE})
    found = _discover(machine, None)
    assert _names(found) == [*INSIDE, ("tailscale", "https://gw.tail-scale.ts.net")]
    [(name, document)] = found.documents
    assert (name, document.kind, document.text) == ("tailscale", "tailscale", SERVE)
    assert document.source == "tailscale serve status --json"


def test_of_two_ingresses_to_one_port_the_one_of_the_public_name_is_taken(
    sidecar: dict[str, Any],
) -> None:
    machine = MadeUp(
        [Process(7, ("nginx",), (443,))],
        {"/etc/nginx/nginx.conf": NGINX},
        {"tailscale serve status --json": SERVE},
    )
    found = _discover(machine, "https://gw.tail-scale.ts.net")
    assert _names(found)[2:] == [("tailscale", "https://gw.tail-scale.ts.net")]
    assert found.notes[0].startswith("nginx runs here")


@pytest.mark.parametrize("text", ["{}", "no json", "[]"])
def test_tailscale_that_serves_nothing_is_no_ingress(text: str) -> None:
    machine = MadeUp(commands={"tailscale serve status --json": text})
    assert asyncio.run(find_tailscale(machine)) == []
    silent = MadeUp([Process(3, ("/usr/sbin/tailscaled",))])
    [ingress] = asyncio.run(find_tailscale(silent))
    assert "tells nothing" in ingress.notes[0]


def test_a_sidecar_that_does_not_answer_leaves_the_public_url(sidecar: dict[str, Any]) -> None:
    sidecar["silent"] = True
    found = _discover(MadeUp([Process(7, ("nginx",), (443,))], {"/etc/nginx/nginx.conf": NGINX}))
    assert _names(found) == [("public", URL)]
    assert found.admin is None
    assert "no sidecar was found" in found.notes[0]


def test_nothing_to_probe_is_an_error_that_says_what_to_do(sidecar: dict[str, Any]) -> None:
    sidecar["silent"] = True
    with pytest.raises(HopsError, match=r"give the public URL, start the sidecar .* hops\.toml"):
        _discover(MadeUp(), None)


def test_the_public_url_may_stand_in_the_environment(
    sidecar: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOPSCOPE_PUBLIC_URL", "https://gw.tail-scale.ts.net")
    assert _discover(MadeUp(), None).hops[-1].kind == "tailscale"
    monkeypatch.setenv("HOPSCOPE_PUBLIC_URL", "gw.tail-scale.ts.net")
    with pytest.raises(HopsError, match="has no scheme"):
        _discover(MadeUp(), None)


def test_a_gateway_on_a_unix_socket_and_a_route_to_nowhere_are_told(
    sidecar: dict[str, Any],
) -> None:
    sidecar["upstream"] = "unix:/run/gateway"
    assert "unix:/run/gateway, which is not dialled" in _discover(MadeUp()).notes[0]
    sidecar["upstream"] = ""
    assert "routes /voice/stream nowhere" in _discover(MadeUp()).notes[0]
    sidecar["listen"] = None
    found = _discover(MadeUp())
    assert [hop.name for hop in found.hops] == ["public"]
    assert "does not tell where it listens" in found.notes[1]


@pytest.mark.parametrize(
    ("listen", "url"),
    [
        ("127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("0.0.0.0:8080", "http://admin.local:8080"),
        (":::8080", "http://admin.local:8080"),
        ("::1:8080", "http://[::1]:8080"),
        ("[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_a_sidecar_on_every_address_is_dialled_where_its_admin_is(listen: str, url: str) -> None:
    assert dialled(listen, "http://admin.local:9101") == url


@pytest.mark.parametrize(
    ("text", "port", "is_named"),
    [
        ("proxy_pass http://127.0.0.1:8080;", 8080, True),
        ("proxy_pass http://127.0.0.1:80801;", 8080, False),
        ("port_value: 8080", 8080, True),
        ('"port": 8080', 8080, True),
        ("version 8080", 8080, False),
        ("service: http://localhost", 80, True),
        ("service: http://localhost/x", 80, True),
        ("service: http://localhost:3000", 80, False),
        ("service: https://127.0.0.1", 443, True),
        ("service: http://localhost.example", 80, False),
    ],
)
def test_a_port_is_named_where_something_is_sent_to_it(
    text: str, port: int, is_named: bool
) -> None:
    assert mentions(text, port) is is_named


def test_a_circle_of_ingresses_ends() -> None:
    one = Ingress("nginx", ":8080 :2", (1,))
    two = Ingress("caddy", ":1", (2,))
    assert in_order([two, one], 8080, None) == ([one, two], [])


def test_masters_and_workers_of_one_configuration_are_one_server() -> None:
    processes = [
        Process(n, ("haproxy", "-f", "/h.cfg"), ports) for n, ports in ((1, ()), (2, (5,)))
    ]
    [server] = asyncio.run(find_servers(MadeUp(processes, {"/h.cfg": "server s :8080"})))
    assert (server.ports, server.config) == ((5,), Path("/h.cfg"))


@pytest.mark.parametrize(
    ("argv", "program", "value"),
    [
        (("nginx: master process /usr/sbin/nginx -c /a",), "nginx", "/a"),
        (("/usr/sbin/nginx", "-c", "/a"), "nginx", "/a"),
        (("/usr/sbin/nginx", "-c=/a"), "nginx", "/a"),
        (("/usr/sbin/nginx", "-c"), "nginx", None),
        ((), "", None),
    ],
)
def test_a_process_tells_its_program_and_its_options(
    argv: tuple[str, ...], program: str, value: str | None
) -> None:
    process = Process(1, argv)
    assert (process.program, process.option("-c")) == (program, value)


def test_a_process_of_another_network_namespace_is_a_containers(tmp_path: Path) -> None:
    for pid, network in (("self", "net:[1]"), ("7", "net:[1]"), ("8", "net:[2]")):
        (tmp_path / pid / "ns").mkdir(parents=True)
        (tmp_path / pid / "ns/net").symlink_to(network)
        (tmp_path / pid / "cmdline").write_bytes(b"nginx\0-c\0/a\0")
    (tmp_path / "9").mkdir()
    (tmp_path / "9/cmdline").write_bytes(b"nginx\0")
    found = asyncio.run(Machine(tmp_path).processes(["nginx"]))
    assert [process.pid for process in found] == [7, 9], "what cannot be seen is ours"
