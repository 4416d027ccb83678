# What `docker build --build-arg BUILDER=` takes where no package index can be reached from inside a
# build: pip, strip, and the wheels of all dependencies as the machine outside has fetched them.
FROM hopscope-test/python:3.13
RUN apt-get update -qq \
    && apt-get install -y -qq --no-install-recommends binutils python3-pip python3-venv >/dev/null \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/*
COPY wheels /wheels
RUN printf '[global]\nno-index = true\nfind-links = /wheels\n' >/etc/pip.conf
