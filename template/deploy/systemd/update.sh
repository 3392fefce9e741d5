#!/bin/sh
# Brings what is checked out into service, as root: the first time, and after each `git pull`.
# With --no-migrate an older version comes back: its code runs on the newer tables.
set -eu
cd "$(dirname "$0")/../.."
tell() { echo "== $*"; }

tell "packages"
# Where downloads are refused: PYTHON=--python=/usr/bin/python3. Without the bytecode each start would compile it again.
UV_PYTHON_INSTALL_DIR=/opt/python uv sync --locked --no-dev --compile-bytecode "${PYTHON:---managed-python}"
[ ! -e .venv/.lock ] || chmod 0644 .venv/.lock  # whoever may write it could hold up the next version
case $(readlink -f .venv/bin/python) in
    /root/* | /home/*) echo "The service cannot read $(readlink -f .venv/bin/python)." >&2 && exit 1 ;;
esac

tell "files"
install -D --mode 0644 deploy/settings.env /etc/{{= slug }}/settings.env
cp -r deploy/systemd/{{= slug }}-* {{= 'deploy/systemd/audit/* ' if features.audit_log.enabled else '' }}/etc/systemd/system
install --mode 0644 deploy/nginx/nginx.conf deploy/nginx/api.conf /etc/nginx
install --mode 0644 deploy/nginx/machine.conf /etc/nginx/site.conf
install -D --mode 0644 deploy/waf/server.conf /etc/nginx/waf/server.conf
install -D --mode 0644 --target-directory /etc/modsecurity.d deploy/waf/modsecurity.conf deploy/waf/app.conf
mkdir -p /etc/modsecurity.d/owasp-crs
ln -sf /etc/nginx/unicode.mapping /etc/modsecurity.d/unicode.mapping
ln -sf /etc/modsecurity/crs/crs-setup.conf /etc/modsecurity.d/owasp-crs/crs-setup.conf
ln -sfn /usr/share/modsecurity-crs/rules /etc/modsecurity.d/owasp-crs/rules
systemctl daemon-reload

tell "edge"  # before the service: it refuses routes that its rules do not list
nginx -t
systemctl reload-or-restart nginx

if [ "${1-}" != --no-migrate ]; then
    tell "migrations"
    systemctl start {{= slug }}-migrate
fi

# The instances of the edge, one after the other. One that fails, or is not ready within two minutes, ends this: the
# other serves.
for port in $(sed -n 's/^ *server 127.0.0.1:\([0-9]*\)[ ;].*/\1/p' deploy/nginx/machine.conf); do
    tell "port $port"
    unit={{= slug }}-api@$port seconds=120
    systemctl enable --quiet "$unit"
    systemctl restart "$unit"
    until curl --fail --silent --max-time 5 "http://127.0.0.1:$port/health/ready" > /dev/null; do
        seconds=$((seconds - 1))
        if [ $seconds -eq 0 ] || systemctl is-failed --quiet "$unit"; then
            echo "It is not ready: journalctl --unit $unit" >&2
            exit 1
        fi
        sleep 1
    done
done
# {% if features.audit_log.enabled %}
systemctl enable --quiet --now {{= slug }}-audit-prune.timer {{= slug }}-audit-verify.timer
# {% endif %}
tell "in service"
