#!/bin/sh
# `e4 fleet` and `e4-keyserver` together, with a broker and devices: from the first token to a withdrawal that is confirmed.
# Both programs are taken from target/debug unless E4 and E4_KEYSERVER name them; the broker is mosquitto.
set -eu

here=$(cd "$(dirname "$0")/../../.." && pwd)
E4=${E4:-$here/target/debug/e4}
KEYSERVER=${E4_KEYSERVER:-$here/target/debug/e4-keyserver}
unset E4_KEYSERVER
command -v mosquitto >/dev/null || { echo "no mosquitto: not tested"; exit 0; }
for program in "$E4" "$KEYSERVER"; do
    [ -x "$program" ] || { echo "there is no $program: cargo build -p e4-cli -p e4-keyserver"; exit 1; }
done

folder=$(mktemp -d)
started=
trap 'for pid in $started; do kill "$pid" 2>/dev/null || true; done; rm -rf "$folder"' EXIT
cd "$folder"

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}
fail() {
    echo "FAILED: $1" >&2
    tail -n 30 server.log >&2 || true
    exit 1
}
# Repeats a command until it holds, for a minute.
until_it_holds() {
    tries=0
    until "$@" >held.txt 2>&1; do
        tries=$((tries + 1))
        [ "$tries" -lt 120 ] || { cat held.txt >&2; fail "after a minute: $*"; }
        sleep 0.5
    done
}
fleet() {
    "$E4" fleet "$@"
}
# The exit code is this, and this is in the output.
refused() {
    code=$1 text=$2
    shift 2
    set +e
    "$E4" fleet "$@" >out.txt 2>&1
    got=$?
    set -e
    [ "$got" = "$code" ] || { cat out.txt >&2; fail "exit code $got, not $code: $*"; }
    grep -q -- "$text" out.txt || { cat out.txt >&2; fail "no \"$text\": $*"; }
}
shows() {
    text=$1
    shift
    "$E4" fleet "$@" >out.txt 2>&1 || { cat out.txt >&2; fail "$*"; }
    grep -q -- "$text" out.txt || { cat out.txt >&2; fail "no \"$text\": $*"; }
}

mqtt=$(free_port) api=$(free_port)
printf 'listener %s 127.0.0.1\nallow_anonymous true\n' "$mqtt" >mosquitto.conf
mosquitto -c mosquitto.conf >broker.log 2>&1 &
started="$started $!"

"$KEYSERVER" init --unlock key-file:unlock.key >init.txt 2>&1
tail -n 1 init.txt | tr -d ' ' >admin.token
chmod 600 admin.token
export E4_KEYSERVER_API__ADDRESS="127.0.0.1:$api" E4_KEYSERVER_BROKER__URL="mqtt://127.0.0.1:$mqtt"
"$KEYSERVER" run >server.log 2>&1 &
server=$!
started="$started $server"
export E4_SERVER="http://127.0.0.1:$api"

# Who may.
until_it_holds fleet status --token-file admin.token
refused 1 "Give a token" status
fleet tokens add anna --role operator --token-file admin.token >anna.token 2>note.txt
chmod 600 anna.token
E4_TOKEN=$(cat anna.token)
export E4_TOKEN
refused 3 Refused tokens list
shows anna tokens list --token-file admin.token

# Devices, groups, topics, access.
shows basel devices add pump-7 --label site=basel --label kind=pump
refused 3 Refused devices add pump-7
printf 'name,mode,labels\npanel-1,symmetric,kind=panel\npanel-2,symmetric,"kind=panel,floor=2"\n' >devices.csv
shows "2 devices" devices import devices.csv
printf '{"name":"a","mode":"symmetric"}\n{"name":"panel-1","mode":"symmetric"}\n' >twice.jsonl
refused 3 "line 2" devices import twice.jsonl
refused 1 "no device a" devices show a
shows panel devices label panel-2 floor=3 --remove kind
shows "floor=3" devices list
shows kind=panel devices label panel-2 kind=panel
shows panels groups add panels --selector kind=panel
shows 90 groups edit panels --late 90
shows plant/7/pump topics add plant/7/pump
shows soft topics edit plant/7/pump --on-leave soft
shows hard topics edit plant/7/pump --on-leave hard
shows "pump-7 may write" access grant plant/7/pump --device pump-7 --write
shows "may read" access grant plant/7/pump --group panels --read
shows "group panels" access list plant/7/pump

# Devices begin, and report.
for device in pump-7 panel-1; do
    shows state devices bundle "$device" --out "$device.state"
    [ "$(stat -c %a "$device.state")" = 600 ] || fail "others can read $device.state"
done
refused 3 "begun already" devices bundle panel-1 --out again.state
fleet devices bundle panel-2 --invite >invitation.txt 2>/dev/null
shows state devices fetch --invitation invitation.txt --out panel-2.state
refused 3 Refused devices fetch --invitation invitation.txt --out again.state
for device in text-1 qr-1; do
    fleet devices add "$device" >/dev/null
    fleet devices bundle "$device" "--${device%-1}" >"$device.txt"
done
grep -q "=" text-1.txt || fail "no text"
[ "$(wc -l <qr-1.txt)" -gt 20 ] || fail "no QR code"
for device in panel-1 panel-2; do
    "$E4" sub --state "$device.state" -h 127.0.0.1 -p "$mqtt" -t plant/7/pump >"$device.txt" 2>"$device.log" &
    started="$started $!"
done
"$E4" pub --state pump-7.state -h 127.0.0.1 -p "$mqtt" --only-connect >pump-7.log 2>&1 || true
confirmed() {
    [ "$("$E4" fleet devices list --standing confirmed --json | wc -l)" -ge "$1" ]
}
until_it_holds confirmed 2
until_it_holds "$E4" pub --state pump-7.state -h 127.0.0.1 -p "$mqtt" -t plant/7/pump -m hello
until_it_holds grep -q hello panel-1.txt

# A rotation that is watched until it is confirmed.
"$E4" fleet rotate plant/7/pump --soft --wait=1 >out.txt 2>&1 || [ $? = 27 ] || { cat out.txt; fail "rotate"; }
until_it_holds "$E4" pub --state pump-7.state -h 127.0.0.1 -p "$mqtt" --only-connect
order=$("$E4" fleet orders list --limit 1 --json | python3 -c 'import json, sys; print(json.loads(sys.stdin.readline())["id"])')
shows done orders watch "$order" --wait 60
shows retired topics keys plant/7/pump
shows current devices holds panel-1 --json

# A withdrawal: what it could read gets a new key, and it is out for ever.
shows "Nothing was done" devices withdraw pump-7 --dry-run
shows plant/7/pump devices withdraw pump-7
refused 3 Refused devices add pump-7
order=$("$E4" fleet orders list --limit 1 --json | python3 -c 'import json, sys; print(json.loads(sys.stdin.readline())["id"])')
fleet orders watch "$order" --wait 60 >out.txt 2>&1 || { cat out.txt; fail "the withdrawal is not confirmed"; }
shows "none" exposure
shows withdrawn devices list --status withdrawn

# A device in public-key mode registers its own public key, once.
"$E4" keygen ed25519 --out camera.key >/dev/null
fleet devices invite --name camera --label kind=panel >invitation.txt 2>note.txt || fail "$(cat note.txt)"
shows "key of the key server" devices register --invitation invitation.txt --public-key-file camera.key.pub
refused 3 Refused devices register --invitation invitation.txt --public-key-file camera.key.pub
shows public-key devices show camera

# A fleet file of e4 control moves over.
for key in valve lamp topic; do "$E4" keygen symmetric --out "$key.key" >/dev/null; done
cat >fleet.toml <<'END'
[devices.valve]
mode = "symmetric"
key_file = "valve.key"
groups = ["wet"]
[devices.lamp]
mode = "symmetric"
key_file = "lamp.key"
[topics."plant/8/valve"]
key_file = "topic.key"
groups = ["wet"]
[topics."plant/8/#"]
key_file = "topic.key"
END
refused 3 Refused devices import fleet.toml
"$E4" keygen symmetric --out other.key >/dev/null
sed -i '/valve"]/,/groups/s/topic.key/other.key/' fleet.toml
shows "Would move: 0 devices, 0 groups, 1 topic, 2 accesses" devices import fleet.toml --dry-run
shows "Moved: 0 devices, 0 groups, 1 topic, 2 accesses" devices import fleet.toml
shows "group wet" access list plant/8/valve
shows imported topics keys plant/8/valve

# What is seen of it.
shows "key server" status
shows withdraw audit list
fleet audit export --out audit.jsonl 2>/dev/null
[ "$(wc -l <audit.jsonl)" -gt 10 ] || fail "the audit is short"
shows "plant/7/pump is removed" topics remove plant/7/pump
shows "panels is removed" groups remove panels
shows "1 " server-key list
fleet server-key export --out server.key.pub >/dev/null

# Over TLS, with a certificate authority of one's own.
if command -v openssl >/dev/null; then
    new_key="-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
    openssl req -x509 $new_key -days 2 -subj /CN=ours -keyout ca.key -out ca.pem 2>/dev/null
    openssl req $new_key -subj /CN=localhost -keyout server.key -out server.csr 2>/dev/null
    printf 'subjectAltName=DNS:localhost\n' >extensions
    openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile extensions \
        -out server.pem 2>/dev/null
    kill "$server"
    wait "$server" || true
    export E4_KEYSERVER_API__CERTIFICATE="$folder/server.pem" E4_KEYSERVER_API__KEY="$folder/server.key"
    "$KEYSERVER" run >>server.log 2>&1 &
    started="$started $!"
    export E4_SERVER="https://localhost:$api"
    until_it_holds fleet status --ca ca.pem
    refused 1 "name that with --ca" status
fi

! grep -rq "$E4_TOKEN" server.log || fail "a token is in the log"
echo "e4 fleet: all as it should be"
