#!/bin/sh
# Renders /etc/nginx/templates/**/*.template into /etc/nginx/conf.d, as the official
# nginx image does, under the same NGINX_ENVSUBST_* settings. Only variables that exist
# in the environment are replaced, so that nginx's own $variables survive.
set -eu

templates=${NGINX_ENVSUBST_TEMPLATE_DIR:-/etc/nginx/templates}
output=${NGINX_ENVSUBST_OUTPUT_DIR:-/etc/nginx/conf.d}
stream_output=${NGINX_ENVSUBST_STREAM_OUTPUT_DIR:-/etc/nginx/stream-conf.d}
suffix=${NGINX_ENVSUBST_TEMPLATE_SUFFIX:-.template}
stream_suffix=${NGINX_ENVSUBST_STREAM_TEMPLATE_SUFFIX:-.stream-template}

say() { [ -n "${NGINX_ENTRYPOINT_QUIET_LOGS:-}" ] || echo "$0: $*"; }

names=$(awk -v wanted="${NGINX_ENVSUBST_FILTER:-}" \
    'BEGIN { for (name in ENVIRON) if (name ~ wanted) printf "${%s} ", name }')

render() { # SUFFIX OUTPUT
    find "$templates" -follow -type f -name "*$1" | while read -r template; do
        relative=${template#"$templates"/}
        target=$2/${relative%"$1"}
        mkdir -p "$(dirname "$target")"
        say "rendering $template to $target"
        envsubst "$names" <"$template" >"$target"
    done
}

[ -d "$templates" ] || exit 0
if [ ! -w "$output" ]; then
    say "$output is not writable: no template is rendered"
    exit 0
fi
render "$suffix" "$output"

# Stream templates are rare; nginx.conf gets its stream block only when there are some.
if [ -n "$(find "$templates" -name "*$stream_suffix" -print -quit)" ]; then
    mkdir -p "$stream_output"
    grep -q '^stream ' /etc/nginx/nginx.conf ||
        printf 'stream { include %s/*.conf; }\n' "$stream_output" >>/etc/nginx/nginx.conf
    render "$stream_suffix" "$stream_output"
fi
