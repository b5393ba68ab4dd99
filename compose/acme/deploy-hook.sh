#!/bin/sh
# certbot's deploy hook: what was issued becomes <domain>.crt and <domain>.key in the gateway's folder.
# certbot sets RENEWED_LINEAGE and RENEWED_DOMAINS (https://eff-certbot.readthedocs.io/en/stable/using.html).
set -eu
certs=${CERTS_DIR:-/etc/gateway/certs}
umask 077
for domain in $RENEWED_DOMAINS; do
    cp "$RENEWED_LINEAGE/privkey.pem" "$certs/.$domain.key.new"
    cp "$RENEWED_LINEAGE/fullchain.pem" "$certs/.$domain.crt.new"
    mv "$certs/.$domain.key.new" "$certs/$domain.key"
    mv "$certs/.$domain.crt.new" "$certs/$domain.crt"
done
