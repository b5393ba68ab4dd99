ARG BASE_IMAGE=nginx:1.30
FROM ${BASE_IMAGE}

# 1.27.3 brought `resolve` without Plus, 1.27.4 keepalive_min_timeout; 1.30 is the oldest that is still mended.
RUN version=$(nginx -v 2>&1 | sed 's,.*/\([0-9.]*\).*,\1,'); \
    if [ "$(printf '%s\n' 1.30 "$version" | sort -V | head -n 1)" != 1.30 ]; then \
        echo "gateway: BASE_IMAGE has nginx $version; it needs nginx 1.30 or newer" >&2; exit 1; \
    fi

RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 python3-venv docker-cli docker-compose \
    && rm -rf /var/lib/apt/lists/* /etc/nginx/conf.d/default.conf \
    # nginx looks an empty slot's name up every second and says so in the main log each time;
    # what concerns requests is logged by our servers (templates/gateway.conf.j2).
    && sed -i -e 's,^error_log .*,error_log /var/log/nginx/error.log crit;,' \
        # A proxied request holds two connections.
        -e 's,worker_connections .*,worker_connections 8192;,' \
        # Ahead of conf.d: of two servers with the same name nginx takes the first.
        -e 's,^\( *\)include /etc/nginx/conf.d/.*,\1include /run/gateway/conf/live/http.conf;\n&,' \
        -e '1i include /run/gateway/conf/live/main.conf;' /etc/nginx/nginx.conf \
    && grep -q live/http.conf /etc/nginx/nginx.conf \
    && python3 -m venv /opt/gateway

# The dependencies first: a change of the code then rebuilds in seconds.
COPY pyproject.toml /src/
RUN /opt/gateway/bin/python -c "import tomllib; print('\n'.join(tomllib.load(open('/src/pyproject.toml', 'rb'))['project']['dependencies']))" > /src/requirements.txt \
    && /opt/gateway/bin/pip install --no-cache-dir -q -r /src/requirements.txt hatchling
COPY README.md LICENSE /src/
COPY templates /src/templates
COPY gateway /src/gateway
RUN /opt/gateway/bin/pip install --no-cache-dir -q --no-deps --no-build-isolation /src \
    && /opt/gateway/bin/python -m compileall -q /opt/gateway/lib \
    && ln -s /opt/gateway/bin/gateway /usr/local/bin/gateway \
    && mkdir -p /stacks /var/lib/gateway \
    # A new volume takes over the owner. In the hardened layout nothing runs as root, and in the drop-in
    # one nginx's workers, who are somebody else, must not write there.
    && useradd --system --uid 64181 --no-create-home --shell /usr/sbin/nologin gateway \
    && chown gateway:root /var/lib/gateway && chmod 775 /var/lib/gateway \
    && /opt/gateway/bin/python -m gateway.adapters.docker_endpoints > /etc/nginx/docker-proxy.conf \
    && rm -rf /src
COPY entrypoint/30-gateway.sh /docker-entrypoint.d/
COPY entrypoint/gateway-entrypoint.sh /
ENTRYPOINT ["/gateway-entrypoint.sh"]
CMD ["nginx", "-g", "daemon off;"]

LABEL gateway.role=controller
VOLUME /var/lib/gateway
EXPOSE 80 443 443/udp
HEALTHCHECK --interval=5s --timeout=10s --retries=3 CMD ["/opt/gateway/bin/python", "-m", "gateway.agent.healthcheck"]
