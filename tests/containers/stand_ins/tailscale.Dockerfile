# Stands in for tailscale/tailscale: the pinned programs, started by the same containerboot.
FROM hopscope-test/debian:trixie
COPY tailscale tailscaled containerboot /usr/local/bin/
CMD ["/usr/local/bin/containerboot"]
