"""Linters: what the configuration of each ingress makes of the paths that must work."""
