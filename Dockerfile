# The proxy in a virtual environment on a slim base: no package manager, no build tools and no shell are needed to run it.
# tests/image does what this file says, line by line, in an empty root directory. It knows the instructions used here.
#
# To pin the bases: docker build --build-arg BASE=docker.io/library/python:3.13-slim@sha256:... --build-arg BUILD=... .
# The one to build with is the same Python, with a C compiler: what every request passes through is compiled.
ARG BUILD=docker.io/library/python:3.13
ARG BASE=docker.io/library/python:3.13-slim

FROM ${BUILD} AS build
ENV HATCH_BUILD_HOOK_ENABLE_MYPYC=1
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY sidecar ./sidecar
# Both stages have the same Python in the same place, so the environment can be carried over as it is. Its bytecode is
# trusted unseen: with a read-only root it could not be renewed anyway, and a start without it takes twice as long.
RUN python3 -m venv --without-pip /opt/sidecar \
    && python3 -m pip --python /opt/sidecar/bin/python3 install --no-cache-dir --no-compile --root-user-action ignore \
        ".[inject,redis]" \
    && python3 -m compileall -q --invalidation-mode unchecked-hash /opt/sidecar/lib

FROM ${BASE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="sidecar" \
      org.opencontainers.image.description="A resilient reverse proxy in front of one Go service" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# The base leaves out the bytecode of the standard library.
RUN ["python3", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", \
     "-x", "site-packages|/(test|tests|idlelib|lib2to3|tkinter|turtledemo|ensurepip|pydoc_data)/", "/usr/local/lib"]
COPY --from=build /opt/sidecar /opt/sidecar
ENV PATH=/opt/sidecar/bin:${PATH} \
    PYTHONDONTWRITEBYTECODE=1
EXPOSE 8900 8901
# A number, not a name: only so can the kubelet see that it is not root.
USER 65532:65532
# Looks for the admin port where the proxy does: SIDECAR_ADMIN__LISTEN, else 8901. Kubernetes has probes of its own.
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 CMD ["python3", "-ISc", "import os, socket\nport = os.environ.get('SIDECAR_ADMIN__LISTEN', ':8901').rpartition(':')[2]\nwith socket.create_connection(('127.0.0.1', int(port)), 2) as peer:\n    peer.sendall(b'GET /livez HTTP/1.0\\r\\n\\r\\n')\n    raise SystemExit(b' 200 ' not in peer.recv(64))"]
ENTRYPOINT ["sidecar"]
