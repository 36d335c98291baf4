# Checkvalve as an image: docker build -t checkvalve .
#
# Both bases are arguments, for those who have mirrors or bases of their own. The builder needs Rust
# (Cargo.toml says which) and a C compiler; the runtime needs apt, and a C library no older than the
# builder's.
ARG BUILDER_IMAGE=rust:1.95-bookworm
ARG RUNTIME_IMAGE=debian:bookworm-slim

FROM ${BUILDER_IMAGE} AS builder
WORKDIR /build
COPY . .
# With names by which layout/start.ld tells the instances of one generic function apart.
RUN RUSTFLAGS=-Csymbol-mangling-version=v0 cargo build --release --locked --bin checkvalve

FROM ${RUNTIME_IMAGE}
# git fetches the repositories, curl asks for the health. No Docker client: the engine is spoken to
# through its API.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates curl git \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 checkvalve \
    && useradd --uid 10001 --gid checkvalve --no-create-home --home-dir /var/lib/checkvalve \
        --shell /usr/sbin/nologin checkvalve \
    && install -d -m 0700 -o checkvalve -g checkvalve /var/lib/checkvalve
COPY --from=builder /build/target/release/checkvalve /usr/local/bin/checkvalve

ENV CHECKVALVE_LISTEN=0.0.0.0:8080 \
    CHECKVALVE_STATE_DIR=/var/lib/checkvalve
USER 10001:10001
WORKDIR /var/lib/checkvalve
VOLUME /var/lib/checkvalve
EXPOSE 8080
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=4 \
    CMD curl --fail --silent --max-time 4 "http://127.0.0.1:${CHECKVALVE_LISTEN##*:}/healthz" || exit 1
ENTRYPOINT ["checkvalve"]
CMD ["serve"]
