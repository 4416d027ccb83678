# Gateway, sidecar, doctor and simulated caller in one image; `docker run hopscope VERB ...`.
#
#   docker build -t hopscope .
#   docker build -t hopscope:sidecar --build-arg EXTRAS= .    # without the embedded voice and ears
#
# The classic builder and BuildKit both take it: no RUN --mount, no here-documents.
ARG PYTHON=python:3.13-slim
# What builds may be another image than what runs: one with wheels, where no index is reachable.
ARG BUILDER=${PYTHON}

FROM ${BUILDER} AS build
ARG EXTRAS=offline
WORKDIR /src
# pip works from outside, so that it is not in the image that runs.
RUN python -m venv --without-pip /opt/hopscope
# Dependencies first: a change of the program alone does not fetch them again.
COPY pyproject.toml .
RUN python -c "import tomllib; project = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
        print(*project['dependencies'], *project['optional-dependencies'].get('${EXTRAS}', []), sep='\n')" \
        > /requirements.txt \
    && python -m pip --no-cache-dir --python /opt/hopscope/bin/python install --requirement /requirements.txt
# What nothing here reads: tests; what compilers and type checkers want; symbols for debuggers; of
# Twilio's client all but calls and alerts; onnxruntime for C programs (Python has one of its own).
RUN command -v strip >/dev/null \
        || { apt-get update && apt-get install --yes --no-install-recommends binutils; }
RUN cd /opt/hopscope/lib/python3*/site-packages \
    && find . -type d -name tests -prune -exec rm -r {} + \
    && find . -type f \( -name '*.pyi' -o -name '*.pyx' -o -name '*.pxd' -o -name '*.[ach]' \) -delete \
    && find twilio/rest -mindepth 1 -maxdepth 1 -type d \
        ! -name api ! -name monitor ! -name __pycache__ -exec rm -r {} + \
    && rm -f onnxruntime/capi/libonnxruntime.so* \
    && find . -type f -name '*.so*' -exec strip --strip-unneeded {} +
COPY . .
RUN python -m pip --no-cache-dir --python /opt/hopscope/bin/python install --no-deps . \
    && install -m 644 deploy/docker/health.py /opt/hopscope/health.py

FROM ${PYTHON}
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="hopscope" \
      org.opencontainers.image.description="Names the hop that broke the WebSocket of a voice call" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}"
COPY --from=build /opt/hopscope /opt/hopscope
# By number: Kubernetes' runAsNonRoot can't look up a name. A new volume takes this owner over.
RUN install -d -o 10001 -g 10001 /var/lib/hopscope /etc/hopscope
USER 10001:10001
# The admin address stays on loopback: beyond it, it wants HOPSCOPE_ADMIN_TOKEN.
ENV PATH=/opt/hopscope/bin:$PATH \
    HOME=/var/lib/hopscope \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOPSCOPE_LISTEN=0.0.0.0:8080 \
    HOPSCOPE_HISTORY__FILE=/var/lib/hopscope/history.sqlite3
# hopscope.toml is read from here.
WORKDIR /etc/hopscope
VOLUME /var/lib/hopscope
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s \
    CMD ["python", "/opt/hopscope/health.py"]
ENTRYPOINT ["hopscope"]
CMD ["up"]
