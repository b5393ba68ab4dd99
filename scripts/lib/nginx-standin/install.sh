#!/bin/sh
# Run inside the stand-in while it is built (cwd: the folder of this file's copy): lays
# Debian's nginx out like the official image.
set -eu

groupadd --system --gid 101 nginx
useradd --system --gid nginx --uid 101 --no-create-home --home-dir /nonexistent \
    --comment 'nginx user' --shell /bin/false nginx

rm -rf /etc/nginx/sites-* /etc/nginx/snippets /etc/nginx/modules-* /etc/nginx/conf.d /usr/share/nginx/html/*
mkdir -p /docker-entrypoint.d /etc/nginx/templates /etc/nginx/conf.d /usr/share/nginx/html
install -m 755 docker-entrypoint.sh /docker-entrypoint.sh
install -m 755 15-local-resolvers.envsh 20-envsubst-on-templates.sh 30-tune-worker-processes.sh \
    /docker-entrypoint.d/
install -m 644 nginx.conf /etc/nginx/nginx.conf
install -m 644 default.conf /etc/nginx/conf.d/default.conf
echo '<!DOCTYPE html><title>Welcome to nginx!</title><h1>Welcome to nginx!</h1>' >/usr/share/nginx/html/index.html
echo '<!DOCTYPE html><title>Error</title><h1>An error occurred.</h1>' >/usr/share/nginx/html/50x.html

# Debian's nginx keeps its temporary files in another place than the official one, where
# users of a read-only container mount their tmpfs.
rm -rf /var/lib/nginx /var/cache/nginx
install -d -o nginx -g root -m 755 /var/cache/nginx
ln -s /var/cache/nginx /var/lib/nginx
ln -sfn /usr/lib/nginx/modules /etc/nginx/modules

mkdir -p /var/log/nginx
ln -sf /dev/stdout /var/log/nginx/access.log
ln -sf /dev/stderr /var/log/nginx/error.log
nginx -t -q
rm -f /run/nginx.pid
nginx -v 2>&1 | sed 's,.*nginx/\([0-9.]*\).*,\1,' >/usr/local/share/nginx-version
