"""What somebody might put where a value belongs."""

from __future__ import annotations

from tests.settings_cases import INJECTION

# What got in elsewhere: values that became configuration, code or files.
INJECTIONS = (
    INJECTION,
    "a.test; location /pwn { alias /etc/; }",
    "a.test; } server { listen 80 default_server; server_name _; root /; autoindex on; ",
    "a.test;} load_module /tmp/evil.so; server {",
    "a.test\n}\nload_module /tmp/evil.so;\nserver {",
    "a.test; ssl_engine /tmp/evil.so",  # CVE-2025-1974: code in nginx's own test
    'http://a.test/#;}}}ssl_engine /proc/self/fd/3;{"',  # CVE-2025-1097, CVE-2025-24514: auth-url, mirror
    "a.test; lua_code_cache off; content_by_lua_block { os.execute('id') }",  # CVE-2021-25742
    "/a; proxy_pass http://169.254.169.254/",  # CVE-2023-5044: permanent-redirect
    "^/a(.*) { return 200; } location ~ ^/",  # CVE-2021-25745, CVE-2026-24512: a path
    "a.test /; return 200 $document_root",  # CVE-2026-3288: rewrite-target
    "10.0.0.0/8; include /etc/shadow",
    "80; server evil:80",
    "app:80 backup; server evil:80",
    "20r/s; include /etc/passwd",
    "/srv/acme; disable_symlinks off",
    "1; }",
    "on; ssi on",
)
# Everything that means something to nginx, Jinja, dotenv, Docker, a shell or a terminal.
FRAGMENTS = (
    *";{}()<>[]|&!?*~^%#@+,:=\"'`\\$/-._ \t\n\r\0\x0b\x0c\x1b\x7f\x85\xa0",
    "\r\n",
    "\\\n",
    "\\;",
    "\\\\",
    '";',
    "';",
    "\u2028",
    "\u202e",
    "\ufeff",
    "\u00e9",
    "\u212a",  # KELVIN SIGN: lower() makes it k
    "\u0130",
    "\u0661",  # a digit to str.isdigit and to \d
    "\uff1b",  # FULLWIDTH SEMICOLON
    "\U0001f600",
    "\ud800",  # what os.environ makes of a byte that is not UTF-8
    "${x}",
    "$host",
    "$(id)",
    "`id`",
    "$arg_x",
    "{{ 7 * 7 }}",
    "{{ site.__class__.__mro__ }}",
    "{% include '/etc/passwd' %}",
    "{#",
    "#}",
    "#{",
    "~^",
    "../",
    "/../",
    "//",
    "%0a",
    "%00",
    "%2e%2e/",
    " backup",
    " default_server",
    " resolve",
    "unix:/run/docker.sock",
    "[::1]",
    "::ffff:127.0.0.1",
    "default",
    "server",
    "include",
    "off",
    "none",
    "_",
    "*",
    "gateway_in_flight",
    "mark-0-x",
    ",",
    ",,",
    "-0",
    "0x10",
    "1e3",
    "nan",
    "inf",
    "99999999999999999999",
    "a" * 64,
    "a" * 5000,
    "9" * 400,
)
SNIPPETS = (
    "",
    "# nothing",
    "add_header X-Frame-Options DENY always;",
    "location = /robots.txt { return 200 'User-agent: *\\n'; }",
    "location /files/ { root /srv; try_files $uri $uri/ =404; }",
    "if ($request_method !~ ^(GET|HEAD)$) { return 405; }",
    "set $a \"};{\"; set $b '#'; # };",
    "return 200 ${host}x;",
    "load_module modules/evil.so;",
    '"load_module" x;',
    "l\\oad_module x;",
    "include /etc/passwd;",
    "content_by_lua_block { os.execute('id') }",
    "access_by_lua_block { -- }\n}",
    "ssl_engine dynamic;",
    "location /p { proxy_pass http://169.254.169.254; }",
    "location /pwn { alias /etc/; }",
    "} server { listen 80; server_name x.test; ",
    "return 200 'a;",
    "return 200",
    "a {",
    "}",
    "a } b;",
    "a\\",
    "${}#\\",
    "a 'b'c;",
    "a #b;\n;",
    "a b#{;\n",
    "return 200 \0;",
)
TEMPLATES = (
    "add_header X-Site {{ site.name }};",
    "{% for d in site.domains %}add_header X-Host {{ d }};{% endfor %}",
    "return 200 '{{ site.probe.body }}';",
    "{{ site.__class__.__mro__[1].__subclasses__() }}",
    "{{ ''.__class__ }}",
    "{% include '/etc/passwd' %}",
    "{{ nothing }}",
    "{% if %}",
    "} load_module {{ site.port }};",
    "{{ '}' }} server {",
)
