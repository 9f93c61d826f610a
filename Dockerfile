# syntax=docker/dockerfile:1
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
# The registry and the compiled dependencies live in cache mounts: a change in src/ compiles only this package again.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin holdfast && cp target/release/holdfast /holdfast

FROM debian:bookworm-slim
# The newest patch level of the distribution is wanted here, not a pinned one.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates tzdata \
 && rm -rf /var/lib/apt/lists/*
# 65532 is the "nonroot" of distroless images; a number, so that Kubernetes can check runAsNonRoot.
# The configuration's folder belongs to the service too: changes through the API are written back to the file.
COPY --from=build /holdfast /usr/local/bin/holdfast
COPY --chown=65532:65532 --chmod=0600 deploy/docker/holdfast.yaml /etc/holdfast/holdfast.yaml
COPY LICENSE /usr/share/doc/holdfast/LICENSE
RUN install --directory --owner=65532 --group=65532 --mode=0700 /etc/holdfast /var/lib/holdfast
USER 65532:65532
# Job store and, by default, everything else that must outlive the container.
WORKDIR /var/lib/holdfast
VOLUME /var/lib/holdfast
EXPOSE 8080
# glibc keeps freed memory apart for each of dozens of threads: without this a service grows for hours.
ENV MALLOC_ARENA_MAX=2
ENTRYPOINT ["holdfast"]
CMD ["serve", "--config", "/etc/holdfast/holdfast.yaml"]
