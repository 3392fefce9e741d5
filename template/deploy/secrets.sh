#!/bin/sh
# Makes the secrets that are missing, one file each: deploy/secrets.sh [FOLDER [DATABASE [REDIS]]]
# DATABASE and REDIS are host:port. What exists stays as it is. To replace a secret, see docs/security/operations.md.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
folder=${1:-$here/secrets}
database=${2:-postgres:5432}
redis=${3:-redis:6379}
name={{= slug | replace('-', '_') }}

# The folder keeps other users out. Containers read the files as users that this machine does not have: hence 0444.
umask 0222
mkdir -p "$folder"
chmod 0700 "$folder"
cd "$folder"

new() { [ -e "$1" ] || openssl rand -hex "$2" > "$1"; }
write() { [ -e "$1" ] || printf '%s\n' "$2" > "$1"; }

new secret_key 64
# {% if features.audit_log.enabled %}
new audit_key 64
# {% endif %}
new postgres_password 32
new database_password 32
new database_owner_password 32
write database_url "postgresql://$name:$(cat database_password)@$database/$name"
write migration_database_url "postgresql://${name}_owner:$(cat database_owner_password)@$database/$name"
# {% if features.rate_limits.enabled %}
new redis_password 32
write rate_limit_storage_url "redis://{{= slug }}:$(cat redis_password)@$redis/0"
# Redis keeps the hash of the password: its file can be read without learning it.
write users.acl "$(sed "s/PASSWORD_HASH/$(tr -d '\n' < redis_password | openssl dgst -sha256 -r | cut -d ' ' -f 1)/" "$here/redis/users.acl")"
# {% endif %}
if [ ! -e tls.crt ]; then
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=localhost \
        -addext subjectAltName=DNS:localhost -keyout tls.key -out tls.crt 2> /dev/null
    chmod 0444 tls.key
    echo "tls.crt and tls.key are self-signed, for 30 days: deploy/README.md says where those of your domain go."
fi
