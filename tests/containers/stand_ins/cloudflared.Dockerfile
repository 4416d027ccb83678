# Stands in for cloudflare/cloudflared: the pinned program, with that image's user and entrypoint.
FROM hopscope-test/debian:trixie
COPY cloudflared /usr/local/bin/cloudflared
USER 65532:65532
ENTRYPOINT ["cloudflared", "--no-autoupdate"]
CMD ["version"]
