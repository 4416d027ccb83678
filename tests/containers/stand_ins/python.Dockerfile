# Stands in for python:3.13-slim: Debian's own Python 3.13 under the names that image has.
FROM hopscope-test/debian:trixie
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends python3 >/dev/null \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* \
    && ln -s /usr/bin/python3 /usr/local/bin/python
CMD ["python"]
