#!/bin/sh
# Calls for https://voice.tailnet-name.ts.net go to the sidecar of hopscope at 127.0.0.1:8080.
# The same as: tailscale serve set-raw < serve.json
set -e

# One mount for everything: tailscaled takes a mount's prefix away from the path, and the sidecar
# and the gateway tell paths apart themselves. --bg outlives this shell and restarts of tailscaled.
tailscale funnel --bg --yes --https=443 http://127.0.0.1:8080
tailscale funnel status
