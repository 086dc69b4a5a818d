# syntax=docker/dockerfile:1
FROM node:22-bookworm-slim AS web
WORKDIR /web/dashboards/web
COPY dashboards/web/package.json dashboards/web/package-lock.json ./
RUN --mount=type=cache,target=/root/.npm npm ci --no-audit --no-fund --ignore-scripts
COPY dashboards/web ./
RUN npm run build

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
COPY --from=web /web/dashboards/web/dist dashboards/web/dist
# The caches survive a change of the source, so only what changed is compiled again; the binary is copied out of them.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/target \
    CARGO_TARGET_DIR=/target cargo build --release --locked -p pipeline --bin aegis \
    && cp /target/release/aegis /usr/local/bin/aegis

FROM debian:bookworm-slim
# curl is for the health check.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates curl \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /var/lib/aegis --create-home aegis
COPY --from=build /usr/local/bin/aegis /usr/local/bin/aegis
USER aegis
WORKDIR /var/lib/aegis
VOLUME /var/lib/aegis
EXPOSE 3000 3001 4317 8000
ENTRYPOINT ["aegis"]
CMD ["run"]
