"""Where things lie inside the container."""

RUN_DIR = "/run/gateway"
ROUTING_DIR = "/dev/shm/gateway/routing"  # always a tmpfs in a Docker container
LEASE_FILE = "/dev/shm/gateway/lease"  # of a gateway among others: until when it may serve
OUT_OF_SERVICE = ".out-of-service"  # in the routing's folder, with the reason: nobody is served
# In a folder for root alone: who reaches it can deploy; nginx's workers must not.
CONTROLLER_SOCKET = f"{RUN_DIR}/control/controller.sock"
NGINX_SOCKET = f"{RUN_DIR}/nginx.sock"
HOLD_SOCKET = f"{RUN_DIR}/hold.sock"  # where nginx asks for requests to paused sites
OBSERVED_LOG = "/dev/shm/gateway/observed.log"
# nginx.conf in the image includes live/main.conf and live/http.conf; `live` leads to a generation.
CONF_DIR = f"{RUN_DIR}/conf"
# Copies of the certificates and keys in use: nginx's master reads them as root, and its test as a member
# of a group that nobody else is in, nginx's workers neither.
TESTERS = 64180
TLS_DIR = f"{RUN_DIR}/tls"
NGINX_CONF = "/etc/nginx/nginx.conf"
NGINX_PID = "/run/nginx.pid"
