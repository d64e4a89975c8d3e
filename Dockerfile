# syntax=docker/dockerfile:1

# The base is pinned by digest; a release passes the one that it has checked (docs/install.md). Both
# stages use the same base, so that the environment finds its interpreter at the same path.
ARG PYTHON_IMAGE=docker.io/library/python:3.13-slim-bookworm@sha256:01f42367a0a94ad4bc17111776fd66e3500c1d87c15bbd6055b7371d39c124fb

FROM ${PYTHON_IMAGE} AS build
WORKDIR /source
COPY . .
RUN deploy/image/assemble /source /app

FROM ${PYTHON_IMAGE}
ARG VERSION=0.0.0
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="swr-trust-webhook" \
      org.opencontainers.image.description="Image-trust admission webhook for Huawei Cloud CCE" \
      org.opencontainers.image.source="https://github.com/swr-trust/swr-trust-webhook" \
      org.opencontainers.image.documentation="https://github.com/swr-trust/swr-trust-webhook/tree/main/docs" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.vendor="swr-trust" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
# Nothing that installs packages is of use to a process that cannot write.
RUN rm -rf /usr/local/lib/python3*/site-packages/* /usr/local/lib/python3*/ensurepip \
           /usr/local/lib/python3*/idlelib /usr/local/bin/pip* /usr/local/bin/idle*
COPY --from=build /app /app
ENV PATH=/app/bin:/usr/local/bin:/usr/bin:/bin \
    HOME=/nonexistent \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONFAULTHANDLER=1 \
    PYTHONSAFEPATH=1 \
    PYTHONNOUSERSITE=1
# By number: a kubelet cannot tell whether a name is root's.
USER 65532:65532
WORKDIR /
EXPOSE 8443
STOPSIGNAL SIGTERM
ENTRYPOINT ["swr-trust"]
CMD ["--help"]
