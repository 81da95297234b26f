# Two stages: slim bundles (`bun run` needs a shell), distroless runs the bundle. Of the official images, distroless
# has Bun, glibc and CA certificates and nothing else: no shell, no package manager. Alpine is about as small, but its
# Bun is the musl build, and every number of this project was measured on the glibc one.
FROM oven/bun:1.4.5-slim AS build
WORKDIR /app
# The lockfile first: this layer stays until a dependency changes. Not `--omit=optional`: pg, which pg-boss brings,
# names its optional pg-cloudflare in a `require` that the bundler must resolve. The embedded PostgreSQL comes along
# to this stage and goes no further.
COPY package.json bun.lock ./
COPY .patches .patches
RUN bun install --frozen-lockfile --production --ignore-scripts
COPY tsconfig.json ./
COPY seeds seeds
COPY src src
RUN bun run build
COPY drizzle drizzle
# A checkout under umask 077 would otherwise make migrations that only root can read.
RUN chmod -R a+rX drizzle dist && mkdir /data

FROM oven/bun:1.4.5-distroless
LABEL org.opencontainers.image.title="Sluice" \
      org.opencontainers.image.description="CSV exports from PostgreSQL over HTTP" \
      org.opencontainers.image.licenses="MIT"
WORKDIR /app
# BUN_JSC_*: the settings of the garbage collector and the compiler, as in package.json's `server`; README, Operations,
# says what they do.
# Three exports of 10 million rows with two slow downloads peaked at 118 MiB resident with it, at 159 without.
ENV HOST=0.0.0.0 \
    PORT=8080 \
    DATA_DIR=/data \
    BUN_JSC_forceRAMSize=100663296 BUN_JSC_smallHeapGrowthFactor=1.52 BUN_JSC_mediumHeapGrowthFactor=1.52 BUN_JSC_largeHeapGrowthFactor=1.52 \
    BUN_JSC_thresholdForOptimizeAfterWarmUp=100000 BUN_JSC_thresholdForOptimizeAfterLongWarmUp=100000 BUN_JSC_thresholdForOptimizeSoon=100000
# 65532 is `nonroot` of the base image. By number, so that Kubernetes' runAsNonRoot can tell. A new volume takes over
# this owner; a directory of the host that is mounted here must belong to it.
COPY --from=build --chown=65532:65532 /data /data
# The bundle holds every dependency. It looks for `drizzle` upwards from its own directory.
COPY --from=build /app/drizzle drizzle
COPY --from=build /app/dist dist
USER 65532:65532
VOLUME /data
EXPOSE 8080
# 12 ms and 3 MB of its own a time. Docker's client may put a proxy into the environment: it must not be asked here.
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
    CMD ["bun", "-e", "process.env.no_proxy = process.env.NO_PROXY = '*'; process.exit((await fetch('http://127.0.0.1:' + process.env.PORT + '/health')).ok ? 0 : 1)"]
STOPSIGNAL SIGTERM
# The image's entry point is bun itself; without it, the command reads as on the command line and bun is process 1.
ENTRYPOINT []
# --no-install: without node_modules Bun would fetch a missing package from npm while running, so that without
# DATABASE_URL it would download an embedded PostgreSQL and serve from that. With it, the start fails with one line.
CMD ["bun", "--no-install", "--max-http-header-size=32768", "dist/main.js"]
