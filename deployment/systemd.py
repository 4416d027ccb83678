"""Units of systemd: each program as a user of its own that can write to nothing but its state.

`systemd-analyze security --offline=yes` rates them; a test holds them to it.
"""

from collections.abc import Sequence

from deployment.files import File, fill

_UNIT = """\
[Unit]
Description=@description@
After=network-online.target
Wants=network-online.target

[Service]
Type=exec
ExecStart=@command@
@more@Restart=on-failure
RestartSec=1
TimeoutStopSec=@stop_s@
LimitNOFILE=65536

# A user that is there as long as the unit runs, and sees the machine read-only.
DynamicUser=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
NoNewPrivileges=yes
CapabilityBoundingSet=@capability@
AmbientCapabilities=@capability@
LockPersonality=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
RemoveIPC=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6@families@
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged
SystemCallErrorNumber=EPERM
UMask=0077

[Install]
WantedBy=multi-user.target
"""


def unit(
    path: str,
    description: str,
    command: str,
    *,
    more: Sequence[str] = (),
    capability: str = "",
    asks_kernel: bool = True,
    stop_s: int = 45,
) -> File:
    """A unit. `more` are lines of [Service], `capability` is what a port below 1024 needs.

    `asks_kernel`: it may ask for routes and interfaces, as programs written in Go do at start.
    """
    lines = "".join(f"{line}\n" for line in more)
    values = {"description": description, "command": command, "more": lines}
    values |= {"families": " AF_NETLINK" if asks_kernel else ""}
    values |= {"capability": capability, "stop_s": str(stop_s)}
    return File(path, "systemd", fill(_UNIT, **values))


def hopscope_units() -> tuple[File, ...]:
    """The sidecar and the gateway. They share a user, as they share the history on disk."""
    shared = ("User=hopscope", "StateDirectory=hopscope", "Environment=XDG_STATE_HOME=/var/lib")
    command = "/opt/hopscope/bin/hopscope"
    options = "--config /etc/hopscope/hopscope.toml"
    return (
        unit(
            "systemd/hopscope-proxy.service",
            "Hopscope, the sidecar between the public ingress and the voice gateway",
            f"{command} proxy {options}",
            # SIGHUP reads routes and limits again and leaves calls alone. HOPSCOPE_ADMIN_TOKEN may
            # stand in the file; Twilio's secrets are the gateway's, and not for the sidecar.
            more=(
                "ExecReload=/bin/kill -HUP $MAINPID",
                *shared,
                "EnvironmentFile=-/etc/hopscope/proxy.env",
            ),
            asks_kernel=False,
        ),
        unit(
            "systemd/hopscope-gateway.service",
            "Hopscope, the voice gateway",
            f"{command} gateway {options}",
            # TWILIO_AUTH_TOKEN and its kin. systemd reads it as root, so it may be 0600.
            more=(*shared, "EnvironmentFile=/etc/hopscope/secrets.env"),
            asks_kernel=False,
        ),
    )
