#!/usr/bin/env bash
# Looks with mqttinfo at real brokers other than mosquitto, and says what each is taken for.
#
#   bash crates/mqttinfo/tests/brokers.sh              those whose tools are there; the others are listed as not tried
#   bash crates/mqttinfo/tests/brokers.sh --install    first gets them from apt, npm, PyPI and crates.io
#   bash crates/mqttinfo/tests/brokers.sh --show       prints all that mqttinfo says of each, too
#
# MQTTINFO         the program to look with; built by cargo unless given
# MQTTINFO_TOOLS   a folder in which Aedes, amqtt and rumqttd are kept and looked for; with --install and without it,
#                  they go to a temporary folder
#
# It fails when a broker of a known product is taken for another, or one of an unknown product for a known one.
# Everything listens on 127.0.0.1, runs from a temporary folder, and is stopped at the end.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)

install="" show=""
for argument in "$@"; do
    case $argument in
        --install) install=yes ;;
        --show) show=yes ;;
        *) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0" >&2; exit 2 ;;
    esac
done

# What is known with less is not taken for anything.
readonly SURE=50
# Seconds: to start, to look, to install.
readonly START=60 LOOK=60 INSTALL=900

work=$(mktemp -d "${TMPDIR:-/tmp}/mqttinfo-brokers.XXXXXX")
chmod 755 "$work"
tools=${MQTTINFO_TOOLS:-$work/tools}
mkdir -p "$tools"
process="" after=""
table="$work/table"
failed=0

# Each broker leads a process group of its own, so that its children end with it.
stop() {
    if [ -n "$process" ]; then
        kill -TERM -- "-$process" 2>/dev/null
        for _ in $(seq 50); do
            kill -0 -- "-$process" 2>/dev/null || break
            sleep 0.1
        done
        kill -KILL -- "-$process" 2>/dev/null
        wait "$process" 2>/dev/null
    fi
    process=""
    [ -z "$after" ] || $after
    after=""
}
trap 'stop; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

# Starts a broker in a process group of its own. What it says goes to a file that is shown if it does not start.
start() { # COMMAND...
    set -m
    timeout --kill-after=5 $((START + 2 * LOOK)) "$@" >"$work/log" 2>&1 </dev/null &
    process=$!
    set +m
}

listens() { # PORT
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

comes_up() { # PORT
    local end=$((SECONDS + START))
    until listens "$1"; do
        if [ $SECONDS -ge $end ] || ! kill -0 "$process" 2>/dev/null; then
            tail -n 20 "$work/log" | sed 's/^/    /'
            return 1
        fi
        sleep 0.1
    done
}

note() { # BROKER VERSION TRIED TAKEN-FOR CONFIDENCE
    printf '%s\t%s\t%s\t%s\t%s\n' "$@" >>"$table"
}

# A free port that was not given out before: what will listen on the last one may not have begun. Below those that the
# kernel gives to connections.
given=" "
free_port() {
    while :; do
        port=$((20000 + RANDOM % 12000))
        case $given in *" $port "*) continue ;; esac
        listens "$port" || break
    done
    given+="$port "
}

# Looks at a broker that has been started. The product is a name in fingerprints.toml; - for one that is not there.
look() { # BROKER VERSION PRODUCT PORT
    local line name percent verdict
    echo "=== $1 $2 (after $SECONDS s)"
    # One that has ended was not what has been looked at: another program may have taken the port.
    if ! comes_up "$4" || ! line=$(timeout $LOOK "$mqttinfo" --json --intrusive "127.0.0.1:$4") ||
        ! kill -0 "$process" 2>/dev/null; then
        if [ "$try" -lt 3 ] && grep -qiE 'eaddrinuse|in use' "$work/log"; then
            again=yes
        else
            note "$1" "$2" "WRONG: does not start" "" ""
            failed=1
        fi
        stop
        return
    fi
    [ -z "$show" ] || NO_COLOR=1 timeout $LOOK "$mqttinfo" --intrusive "127.0.0.1:$4"
    stop
    # Products come most likely first. The names are those of fingerprints.toml, and need no unquoting.
    name=$(sed -n 's/.*"products":\[{"product":"\([^"]*\)".*/\1/p' <<<"$line")
    percent=$(sed -n 's/.*"products":\[{[^[]*"confidence":\([0-9.]*\).*/\1/p' <<<"$line")
    percent=$(awk -v part="${percent:-0}" 'BEGIN { printf "%d", part * 100 + 0.5 }')
    if ! grep -q '"outcome":{"kind":"broker"}' <<<"$line"; then
        verdict="yes, WRONG: not seen as a broker"
    elif [ "$3" = - ] && [ "$percent" -ge $SURE ]; then
        verdict="yes, WRONG: nothing is known of it"
    elif [ "$3" != - ] && [ "$name" != "$3" ]; then
        verdict="yes, WRONG: it is $3"
    elif [ "$3" != - ] && [ "$percent" -lt $SURE ]; then
        verdict="yes, WRONG: not sure enough"
    else
        verdict="yes"
    fi
    [ "$verdict" = yes ] || failed=1
    if [ "$3" = - ] && [ "$percent" -lt $SURE ]; then name="nothing (${name:-no guess})"; fi
    note "$1" "$2" "$verdict" "${name:-nothing}" "$percent %"
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

# RabbitMQ with its MQTT plugin: the scripts behind Debian's wrapper, which would change to the system's user and folder.
rabbitmq() {
    local folder="$work/rabbitmq" scripts=/usr/lib/rabbitmq/bin version="" mqtt amqp dist names
    if [ ! -x $scripts/rabbitmq-server ] && [ -n "$install" ] && command -v apt-get >/dev/null; then
        # The package would start a service: nothing may, while it is put in place.
        local policy=/usr/sbin/policy-rc.d made=""
        if [ ! -e $policy ] && printf '#!/bin/sh\nexit 101\n' | as_root tee $policy >/dev/null; then
            made=yes
            as_root chmod +x $policy
        fi
        as_root timeout $INSTALL apt-get update -qq
        as_root env DEBIAN_FRONTEND=noninteractive timeout $INSTALL \
            apt-get install -y -qq --no-install-recommends rabbitmq-server >"$work/install" 2>&1 || tail "$work/install"
        [ -z "$made" ] || as_root rm -f $policy
    fi
    if [ ! -x $scripts/rabbitmq-server ]; then
        note RabbitMQ "" "no: rabbitmq-server is not installed" "" ""
        return
    fi
    version=$(dpkg-query -W -f '${Version}' rabbitmq-server 2>/dev/null)
    free_port; mqtt=$port
    free_port; amqp=$port
    free_port; dist=$port
    free_port; names=$port
    mkdir -p "$folder"
    printf '[rabbitmq_mqtt].\n' >"$folder/plugins"
    cat >"$folder/rabbitmq.conf" <<EOF
listeners.tcp.default = 127.0.0.1:$amqp
mqtt.listeners.tcp.default = 127.0.0.1:$mqtt
mqtt.allow_anonymous = true
EOF
    rabbitmq_names=$names
    rm -rf "$folder/data"
    after=stop_epmd
    start env HOME="$folder" RABBITMQ_CONF_ENV_FILE=/dev/null RABBITMQ_NODENAME="mqttinfo$mqtt@localhost" \
        RABBITMQ_NODE_IP_ADDRESS=127.0.0.1 RABBITMQ_NODE_PORT="$amqp" RABBITMQ_DIST_PORT="$dist" \
        RABBITMQ_CONFIG_FILE="$folder/rabbitmq.conf" RABBITMQ_ENABLED_PLUGINS_FILE="$folder/plugins" \
        RABBITMQ_MNESIA_BASE="$folder/data" RABBITMQ_LOG_BASE="$folder/log" RABBITMQ_LOGS=- \
        RABBITMQ_PID_FILE="$folder/pid" ERL_EPMD_ADDRESS=127.0.0.1 ERL_EPMD_PORT="$names" \
        RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="-kernel inet_dist_use_interface {127,0,0,1}" $scripts/rabbitmq-server
    look RabbitMQ "${version:-?}" RabbitMQ "$mqtt"
}

# Erlang's name server of that port outlives the node; no other node knows of it.
stop_epmd() {
    local end=$((SECONDS + 10))
    until ERL_EPMD_PORT=$rabbitmq_names timeout 5 epmd -kill >/dev/null 2>&1; do
        if ! listens "$rabbitmq_names" || [ $SECONDS -ge $end ]; then break; fi
        sleep 0.5
    done
}

# Aedes has no command: ten lines make it a broker.
aedes() {
    local folder="$tools/aedes" version
    if ! command -v node >/dev/null; then
        note Aedes "" "no: node is not installed" "" ""
        return
    fi
    if [ ! -d "$folder/node_modules/aedes" ] && [ -n "$install" ] && command -v npm >/dev/null; then
        mkdir -p "$folder"
        (cd "$folder" && echo '{"private": true}' >package.json &&
            timeout $INSTALL npm install --silent --no-audit --no-fund aedes) || echo "npm install failed"
    fi
    if [ ! -d "$folder/node_modules/aedes" ]; then
        note Aedes "" "no: aedes is not in MQTTINFO_TOOLS" "" ""
        return
    fi
    version=$(sed -n 's/.*"version": *"\([^"]*\)".*/\1/p' "$folder/node_modules/aedes/package.json" | head -n 1)
    cat >"$folder/broker.mjs" <<'EOF'
import * as module from 'aedes'
import net from 'node:net'

// 1.2 is made by createBroker, 0.51 by its class.
const Aedes = module.Aedes ?? module.default
const broker = Aedes.createBroker ? await Aedes.createBroker() : new Aedes()
net.createServer(broker.handle).listen(Number(process.argv[2]), '127.0.0.1')
EOF
    free_port
    start node "$folder/broker.mjs" "$port"
    look Aedes "$version" Aedes "$port"
}

amqtt() {
    local python="" version
    for python in "$tools/amqtt/bin/python" python3 ""; do
        if [ -n "$python" ] && "$python" -c 'import amqtt' 2>/dev/null; then break; fi
    done
    if [ -z "$python" ] && [ -n "$install" ] && command -v python3 >/dev/null; then
        python="$tools/amqtt/bin/python"
        timeout $INSTALL python3 -m venv "$tools/amqtt" &&
            timeout $INSTALL "$python" -m pip install --quiet --disable-pip-version-check amqtt &&
            "$python" -c 'import amqtt' || python=""
    fi
    if [ -z "$python" ]; then
        note aMQTT "" "no: python3 has no module amqtt" "" ""
        return
    fi
    version=$("$python" -c 'import importlib.metadata as it; print(it.version("amqtt"))')
    free_port
    # The defaults of its own default_broker.yaml but for where it listens.
    cat >"$work/amqtt.yaml" <<EOF
listeners:
  default:
    type: tcp
    bind: 127.0.0.1:$port
plugins:
  amqtt.plugins.authentication.AnonymousAuthPlugin:
    allow_anonymous: true
  amqtt.plugins.sys.broker.BrokerSysPlugin:
    sys_interval: 20
EOF
    start "$python" -c 'from amqtt.scripts.broker_script import main; main()' -c "$work/amqtt.yaml"
    look aMQTT "$version" aMQTT "$port"
}

# One listener for each version of MQTT; both are looked at.
rumqttd_4() { rumqttd 3.1.1; }
rumqttd_5() { rumqttd 5; }

rumqttd() { # VERSION-OF-MQTT
    local program="" version four five part
    for program in "$tools/bin/rumqttd" "$(command -v rumqttd)" ""; do
        if [ -n "$program" ] && [ -x "$program" ]; then break; fi
    done
    if [ -z "$program" ] && [ -n "$install" ] && command -v cargo >/dev/null; then
        # Minutes of compiling.
        (cd "$work" && timeout $INSTALL cargo install --quiet --debug --root "$tools" \
            --target-dir "$work/rumqttd-target" rumqttd) && program="$tools/bin/rumqttd"
        rm -rf "$work/rumqttd-target"
    fi
    if [ -z "$program" ]; then
        note "rumqttd ($1)" "" "no: rumqttd is not installed" "" ""
        return
    fi
    version=$("$program" --version | awk '{ print $NF }')
    free_port; four=$port
    free_port; five=$port
    cat >"$work/rumqttd.toml" <<EOF
id = 0
[router]
max_connections = 10010
max_outgoing_packet_count = 200
max_segment_size = 104857600
max_segment_count = 10
EOF
    for part in v4:$four v5:$five; do
        cat >>"$work/rumqttd.toml" <<EOF
[${part%:*}.1]
name = "${part%:*}"
listen = "127.0.0.1:${part#*:}"
next_connection_delay_ms = 1
[${part%:*}.1.connections]
connection_timeout_ms = 60000
max_payload_size = 20480
max_inflight_count = 100
dynamic_filters = true
EOF
    done
    start "$program" -q -c "$work/rumqttd.toml"
    if [ "$1" = 5 ]; then port=$five; else port=$four; fi
    look "rumqttd ($1)" "$version" rumqttd "$port"
}

if [ -n "${MQTTINFO:-}" ]; then
    mqttinfo=$MQTTINFO
else
    (cd "$root" && cargo build --quiet -p mqttinfo) || exit 1
    mqttinfo=${CARGO_TARGET_DIR:-$root/target}/debug/mqttinfo
fi
[ -x "$mqttinfo" ] || { echo "$mqttinfo is not there" >&2; exit 1; }

for broker in rabbitmq aedes amqtt rumqttd_4 rumqttd_5; do
    for try in 1 2 3; do
        again=""
        $broker
        [ -n "$again" ] || break
    done
done

echo
{
    printf 'broker\tversion\ttried\ttaken for\tconfidence\n'
    cat "$table"
} | awk -F '\t' '
    { for (i = 1; i <= NF; i++) { cell[NR, i] = $i; if (length($i) > width[i]) width[i] = length($i) } }
    END {
        for (row = 1; row <= NR; row++) {
            line = ""
            for (i = 1; i <= 5; i++) line = line sprintf("%-*s  ", width[i], cell[row, i])
            sub(/ +$/, "", line)
            print line
        }
    }'
echo "($SECONDS s)"
exit $failed
