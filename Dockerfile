# One image for the data plane (serve), the mint service (serve-mint), the admin API (serve-web) and the other
# commands.
# Every dependency comes as a wheel with a known hash, so nothing is compiled, here or in the first stage.

FROM python:3.13-slim AS build
WORKDIR /src
COPY requirements.txt requirements-build.txt ./
RUN python -m venv /opt/gateway \
 && /opt/gateway/bin/pip install --no-cache-dir --only-binary :all: --require-hashes -r requirements.txt \
 && python -m venv /opt/build \
 && /opt/build/bin/pip install --no-cache-dir --only-binary :all: --require-hashes -r requirements-build.txt
COPY pyproject.toml README.md LICENSE ./
COPY gateway gateway
RUN /opt/build/bin/hatchling build -t wheel -d dist \
 && /opt/gateway/bin/pip install --no-cache-dir --no-deps dist/*.whl \
 && /opt/gateway/bin/python -m compileall -q /opt/gateway/lib \
 && /opt/gateway/bin/pip uninstall --quiet --yes pip

FROM python:3.13-slim
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin gateway \
 && install --directory --owner gateway --mode 0700 /data
COPY --from=build /opt/gateway /opt/gateway
ENV PATH="/opt/gateway/bin:$PATH" \
    PYTHONDONTWRITEBYTECODE=1 \
    GATEWAY_DATA=/data
USER gateway
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/healthz', timeout=3)"]
ENTRYPOINT ["download-gateway"]
CMD ["serve"]
