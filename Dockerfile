# The proxy in a container: compose.yaml runs it beside Ollama. Alone:
#   docker build -t ollama-proxy .
# The Python that the tests run with.
FROM python:3.11-slim-bookworm AS build
WORKDIR /src
COPY . .
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheel . && \
    python -m venv --without-pip /opt/ollama-proxy && \
    pip --python /opt/ollama-proxy/bin/python install --no-cache-dir /wheel/*.whl

FROM python:3.11-slim-bookworm
COPY --from=build /opt/ollama-proxy /opt/ollama-proxy
RUN install -d -m 0700 -o 10001 -g 10001 /data
# In a container's network nobody reaches its loopback: it listens on all of the container's
# addresses, and so asks for a token at the pages. What reaches it from outside, ports say.
# SQLite's temporary files hold records, and may be large: not for a tmpfs.
ENV PATH=/opt/ollama-proxy/bin:$PATH \
    OLLAMA_PROXY_LISTEN=0.0.0.0:11435 \
    OLLAMA_PROXY_ADMIN_LISTEN=0.0.0.0:8080 \
    OLLAMA_PROXY_DATA_DIR=/data \
    SQLITE_TMPDIR=/data
EXPOSE 11435 8080
VOLUME ["/data"]
USER 10001:10001
STOPSIGNAL SIGTERM
# 4: it runs, but Ollama does not answer; another proxy would be no help.
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s \
    CMD ["sh", "-c", "ollama-proxy status || test $? -eq 4"]
ENTRYPOINT ["ollama-proxy"]
CMD ["serve"]
