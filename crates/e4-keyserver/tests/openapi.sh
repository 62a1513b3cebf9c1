#!/bin/sh
# Compares what the key server says of its interface (/openapi.json) with what it does, by schemathesis in a folder of its own.
# Needs Python 3 with venv and the package registry; not part of the usual CI.
#
#   cargo build -p e4-keyserver && crates/e4-keyserver/tests/openapi.sh [target/debug/e4-keyserver]
set -eu
program=$(realpath "${1:-target/debug/e4-keyserver}")
folder=$(mktemp -d)
server=
cleanup() {
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    rm -rf "$folder"
}
trap cleanup EXIT INT TERM

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check schemathesis
port=$("$folder/venv/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')

cd "$folder"
"$program" -c e4.toml init --unlock key-file:root.key > init.txt
token=$(grep '^e4t_' init.txt)
# No broker: the interface does not need one, and says so in /v1/ready.
export E4_KEYSERVER_API__ADDRESS="\"127.0.0.1:$port\"" E4_KEYSERVER_API__REQUESTS_PER_MINUTE=1000000
export E4_KEYSERVER_BROKER__URL='"mqtt://127.0.0.1:1"'
"$program" -c e4.toml run > server.log 2>&1 &
server=$!
for _ in $(seq 100); do
    "$folder/venv/bin/python" -c "import urllib.request; urllib.request.urlopen('http://127.0.0.1:$port/v1/health')" 2>/dev/null && break
    kill -0 "$server" || { cat server.log; exit 1; }
    sleep 0.1
done

# Each answer has a status, a type and a body that are described, and none is an error of the server. /v1/events has no end.
# 503 of /v1/ready is what a server without a broker says.
"$folder/venv/bin/schemathesis" run "http://127.0.0.1:$port/openapi.json" \
    --header "Authorization: Bearer $token" \
    --checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance \
    --exclude-path /v1/events --exclude-path /v1/ready --exclude-path /v1/tokens/{id} \
    --max-examples "${EXAMPLES:-50}" --workers 1
if grep -q "$token" server.log; then
    echo "the token is in the log" >&2
    exit 1
fi
