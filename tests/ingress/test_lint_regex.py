"""Caddy (Go) and Envoy (RE2) agree with our reader on what is a regular expression."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from go_patterns import FOUND, REFUSED
from programs import require

# How RE2's reasons begin.
RE2 = "missing|unexpected|no argument for|bad repetition|invalid (rep|perl|escape)|trailing"


def validated(command: list[str], config: dict[str, Any], folder: Path) -> str:
    """What a program says of a configuration that it refuses; "" where it takes it."""
    file = folder / "config.json"
    file.write_text(json.dumps(config))
    homes = {f"XDG_{name}_HOME": str(folder) for name in ("DATA", "CONFIG")}
    done = subprocess.run(
        [*command, str(file)],
        capture_output=True,
        text=True,
        env={**os.environ, **homes},
        timeout=50,
        check=False,
    )
    return done.stderr if done.returncode else ""


def in_caddy(patterns: list[str], folder: Path) -> str:
    """Validating starts nothing, so what this machine trusts is left alone."""
    routes = [
        {
            "match": [{"path_regexp": {"pattern": pattern}}],
            "handle": [{"handler": "static_response"}],
        }
        for pattern in patterns
    ]
    servers = {"voice": {"listen": ["127.0.0.1:0"], "routes": routes}}
    config = {"admin": {"disabled": True}, "apps": {"http": {"servers": servers}}}
    return validated([require("caddy"), "validate", "--config"], config, folder)


def in_envoy(patterns: list[str], folder: Path) -> str:
    extensions = "type.googleapis.com/envoy.extensions.filters"
    routes = [
        {"match": {"safe_regex": {"regex": pattern}}, "direct_response": {"status": 200}}
        for pattern in patterns
    ]
    manager = {
        "@type": f"{extensions}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "voice",
        "http_filters": [
            {"name": "router", "typed_config": {"@type": f"{extensions}.http.router.v3.Router"}}
        ],
        "route_config": {"virtual_hosts": [{"name": "voice", "domains": ["*"], "routes": routes}]},
    }
    listener = {
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }
    command = [require("envoy"), "--mode", "validate", "--log-level", "error", "-c"]
    return validated(command, {"static_resources": {"listeners": [listener]}}, folder)


def test_caddy_takes_the_patterns_that_go_takes(tmp_path: Path) -> None:
    assert in_caddy([pattern for pattern, _, _ in FOUND], tmp_path) == ""


def test_envoy_takes_the_patterns_that_go_takes(tmp_path: Path) -> None:
    # An empty one is none to Envoy, and its own rule for the field.
    assert in_envoy([pattern for pattern, _, _ in FOUND if pattern], tmp_path) == ""


@pytest.mark.parametrize("pattern", [pattern for pattern, _ in REFUSED])
def test_caddy_refuses_the_patterns_that_the_reader_refuses(pattern: str, tmp_path: Path) -> None:
    assert "error parsing regexp" in in_caddy([pattern], tmp_path)


@pytest.mark.parametrize("pattern", [pattern for pattern, _ in REFUSED])
def test_envoy_refuses_the_patterns_that_the_reader_refuses(pattern: str, tmp_path: Path) -> None:
    assert re.search(f"config.json': ({RE2})", in_envoy([pattern], tmp_path))
