"""Linters: what the configuration of each ingress makes of the paths that must work.

Read `engine` first: it reads a file (`reading`), tells whose it is (`kinds`) and asks the linter
of that name: nginx, haproxy, apache, caddy, traefik, envoy, cloudflared, tailscale, hopscope or
openclaw. Behind each stand modules of its own (nginx_*), which parse the format and follow a
request through it. `family` makes rules of functions; `ways` judges, alike for all, what becomes
of the paths.

`nodes`, `yaml_lines`, `toml_lines` and `json_lines` keep the line of every value; `findings`,
`ignores`, `listing` and `sarif` are what comes out.
"""
