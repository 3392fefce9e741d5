#!/bin/sh
# Runs grants.sql; its argument is the file with the owner's address. No password stands in the list of processes.
set -eu
address=$(cat "$1")
rest=${address#*://}
credentials=${rest%%@*}
PGPASSWORD=${credentials#*:} exec psql "postgresql://${credentials%%:*}@${rest#*@}" --no-psqlrc --quiet \
    --file "$(dirname "$0")/grants.sql"
