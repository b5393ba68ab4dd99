"""What a snippet may and may not say."""

from __future__ import annotations

import pytest

from gateway.core.snippet import LARGEST, refusals

FINE = [
    "",
    "# nothing but a comment",
    "add_header X-Frame-Options DENY always;",
    "location = /robots.txt { return 200 'User-agent: *\\n'; }",
    "location /files/ { root /srv; expires 1h; try_files $uri $uri/ /index.html?$args =404; }",
    "location /old { return 301 https://$host/new$request_uri; }",
    "rewrite ^/a/(.*)$ /b/$1 last;",
    "rewrite ^ https://$host$request_uri? permanent;",
    "if ($request_method !~ ^(GET|HEAD)$) { return 405; }",
    "auth_basic Private; auth_basic_user_file /etc/gateway/users;",
    "access_log off; client_max_body_size 1g; gzip on;",
    "allow 10.0.0.0/8; deny all;",
    "types { text/x-thing thing; }",
]
REFUSED = [
    ("load_module modules/evil.so;", "runs code"),
    ("include /etc/passwd;", "nothing has checked"),
    ("content_by_lua_file /x.lua;", "runs code"),
    ("access_by_lua_block { os.execute('id') }", "line 1"),
    ("js_content x.y;", "runs code"),
    ("perl_set $x 'sub { }';", "runs code"),
    ("ssi on;", "runs commands"),
    ("user root;", "whole gateway"),
    ("daemon off;", "whole gateway"),
    ("env PATH;", "whole gateway"),
    ("worker_processes 1;", "whole gateway"),
    ("ssl_engine dynamic;", "whole gateway"),
    ("error_log /tmp/x;", "writes a file"),
    ("access_log /tmp/x;", "writes a file"),
    ("access_log syslog:server=10.0.0.1;", "writes a file"),
    ("proxy_cache_path /tmp/x keys_zone=a:1m;", "writes files"),
    ("proxy_store on;", "writes files"),
    ("client_body_temp_path /etc;", "writes files"),
    ("dav_methods PUT;", "write files"),
    ("location /l { autoindex on; }", "lists"),
    ("location /s { stub_status; }", "other sites"),
    ("server_name other.test;", "its variables"),
    ("listen 81;", "its variables"),
    ("ssl_certificate_key /etc/shadow;", "site's variables"),
    ("resolver 8.8.8.8;", "Docker's DNS"),
    ("location /p { proxy_pass http://169.254.169.254; }", "past the site's upstreams"),
    ("location /p { proxy_pass http://blog_blue; }", "past the site's upstreams"),
    ("location /p { proxy_pass http://$arg_to; }", "past the site's upstreams"),
    ("location /p { fastcgi_pass unix:/run/x; }", "past the site's upstreams"),
    ("location /p { grpc_pass grpc://x; }", "past the site's upstreams"),
    ("proxy_set_header X-A b;", "does not merge"),
    ("set_real_ip_from 0.0.0.0/0;", "visitor's address"),
    ("underscores_in_headers on;", "tricked"),
    ("open_file_cache max=10;", "hide a switch"),
    ("location /pwn { alias /etc/; }", "must name a directory"),
    ("root /etc;", "must name a directory"),
    ("root /srv/../etc;", ".. in it"),
    ("root /srv/$arg_x;", "without variables"),
    ("root /srvx;", "must name a directory"),
    ("index /../../etc/passwd;", ".. in it"),
    ("try_files /$arg_f =404;", "visitor name the file"),
    ("try_files $uri$arg_f =404;", "visitor name the file"),
    ("try_files $uri_x =404;", "visitor name the file"),
    ("rewrite ^ /$arg_f break;", "visitor name the file"),
    ("error_page 404 /$http_x;", "visitor name the file"),
    ("set $gateway_slot shop_blue;", "gateway's own"),
    ("limit_conn gateway_in_flight 1;", "gateway's own"),
    ("mirror /m;", "twice"),
    ("} server { listen 80; server_name x.test; ", 'unexpected "}"'),
    ("location / { return 200;", "does not end"),
    ("return 200", "does not end"),
    ("if (1) { if (1) { include x; } }", "nothing has checked"),
    ('"load_module" x;', "runs code"),  # quotes hide no name
    ("return 200 \x00;", "control character"),
    ("return 200 \ud800;", "no file can hold"),
    ("#" * (LARGEST + 1), "longer than"),
]


@pytest.mark.parametrize("text", FINE)
def test_what_concerns_the_site_alone_goes_in(text: str) -> None:
    assert refusals(text) == []


@pytest.mark.parametrize(("text", "why"), REFUSED)
def test_what_would_run_read_write_or_lead_elsewhere_is_refused(text: str, why: str) -> None:
    found = refusals(text)
    assert any(why in reason for reason in found), found


def test_every_reason_is_told_with_its_line() -> None:
    assert refusals("add_header A b;\nload_module x;\n\nlocation /a {\n  alias /etc/;\n}\n") == [
        "line 2: 'load_module' runs code of its own, even while nginx tests a configuration",
        "line 5: 'alias' must name a directory in /usr/share/nginx/html, /var/www, /srv, without variables",
    ]
