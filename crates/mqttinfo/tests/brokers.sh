#!/usr/bin/env bash
# Looks at the real brokers that are installed, besides mosquitto, and checks that each is taken for what it is.
#
#   crates/mqttinfo/tests/brokers.sh              with what is there
#   crates/mqttinfo/tests/brokers.sh --install    fetches RabbitMQ, Aedes, amqtt and rumqttd first, into $BROKERS
#
# BROKERS is the folder of those that are no system packages, target/brokers unless set. The last lines say which were
# tried. It fails if one that was tried does not start, or is taken for another.
set -uo pipefail
cd "$(dirname "$0")/../../.."
brokers=${BROKERS:-$PWD/target/brokers}
folder=$(mktemp -d)
started=()
table=("broker|version|taken for|confidence")
failures=0

cleanup() {
    for one in "${started[@]}"; do
        # The whole group: RabbitMQ is a shell that starts others.
        kill -- "-$one" 2>/dev/null
    done
    sleep 0.5
    for one in "${started[@]}"; do
        kill -9 -- "-$one" 2>/dev/null
    done
    rm -rf "$folder"
}
trap cleanup EXIT

install_brokers() {
    mkdir -p "$brokers"
    if ! command -v rabbitmq-server >/dev/null; then
        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends rabbitmq-server
    fi
    command -v npm >/dev/null && (mkdir -p "$brokers/aedes" && cd "$brokers/aedes" && npm install --silent aedes@0.51)
    command -v python3 >/dev/null && python3 -m venv "$brokers/amqtt" && "$brokers/amqtt/bin/pip" install -q amqtt
    cargo install --quiet --debug --root "$brokers/rumqttd" rumqttd
}

free_port() { .ci/free-port; }

# Starts something in a group of its own, and waits until the port takes connections.
start() { # PORT COMMAND...
    local port=$1
    shift
    setsid "$@" >"$folder/$port.log" 2>&1 </dev/null &
    started+=($!)
    # Its end is no news.
    disown
    for _ in $(seq 300); do
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && return
        kill -0 "${started[-1]}" 2>/dev/null || break
        sleep 0.1
    done
    tail -n 5 "$folder/$port.log"
    return 1
}

not_tried() { # NAME REASON
    table+=("$1|not tried: $2||")
}

# Looks, and compares.
look() { # NAME VERSION PORT
    local taken
    taken=$(timeout 60 "$mqttinfo" --json --intrusive "127.0.0.1:$3" | jq_first)
    table+=("$1|$2|$taken")
    if [ "${taken%%|*}" != "$1" ]; then
        failures=$((failures + 1))
        table+=("|^ should be taken for $1||")
    fi
}

jq_first() {
    python3 -c '
import json, sys
report = json.loads(sys.stdin.readline() or "{}")
products = report.get("products") or [{"product": "nothing known", "confidence": 0}]
print("{product}|{confidence:.2f}".format(**products[0]))'
}

rabbitmq() {
    command -v rabbitmq-server >/dev/null || { not_tried RabbitMQ "rabbitmq-server is not installed"; return; }
    local port amqp dist epmd version
    port=$(free_port) amqp=$(free_port) dist=$(free_port) epmd=$(free_port)
    mkdir -p "$folder/rabbitmq"
    printf 'listeners.tcp.default = 127.0.0.1:%s\nmqtt.listeners.tcp.default = 127.0.0.1:%s\nmqtt.allow_anonymous = true\n' \
        "$amqp" "$port" >"$folder/rabbitmq/rabbitmq.conf"
    echo '[rabbitmq_mqtt].' >"$folder/rabbitmq/plugins"
    version=$(dpkg-query -W -f '${Version}' rabbitmq-server 2>/dev/null)
    # The system's wrapper changes the user and reads the system's settings.
    start "$port" env HOME="$folder/rabbitmq" RABBITMQ_NODENAME="mqttinfo$port@localhost" \
        RABBITMQ_NODE_IP_ADDRESS=127.0.0.1 RABBITMQ_NODE_PORT="$amqp" RABBITMQ_DIST_PORT="$dist" \
        ERL_EPMD_ADDRESS=127.0.0.1 ERL_EPMD_PORT="$epmd" RABBITMQ_CONF_ENV_FILE=/dev/null \
        RABBITMQ_CONFIG_FILE="$folder/rabbitmq/rabbitmq.conf" RABBITMQ_ENABLED_PLUGINS_FILE="$folder/rabbitmq/plugins" \
        RABBITMQ_MNESIA_BASE="$folder/rabbitmq/data" RABBITMQ_LOG_BASE="$folder/rabbitmq/log" RABBITMQ_LOGS=- \
        RABBITMQ_PID_FILE="$folder/rabbitmq/pid" /usr/lib/rabbitmq/bin/rabbitmq-server ||
        { failures=$((failures + 1)); table+=("RabbitMQ|$version|does not start|"); return; }
    look RabbitMQ "$version" "$port"
    # It leaves the daemon of Erlang behind, which is no member of its group.
    ERL_EPMD_PORT="$epmd" epmd -kill >/dev/null 2>&1 || true
}

aedes() {
    local package="$brokers/aedes/node_modules/aedes/package.json" port version
    command -v node >/dev/null && [ -f "$package" ] || { not_tried Aedes "no node, or no $brokers/aedes"; return; }
    port=$(free_port)
    version=$(node -p "require('$package').version")
    cat >"$brokers/aedes/broker.mjs" <<'END'
import * as aedes from 'aedes'
import net from 'node:net'
const { Aedes, default: create } = aedes
const broker = Aedes?.createBroker ? await Aedes.createBroker() : create()
net.createServer(broker.handle).listen(+process.argv[2], '127.0.0.1')
END
    start "$port" node "$brokers/aedes/broker.mjs" "$port" ||
        { failures=$((failures + 1)); table+=("Aedes|$version|does not start|"); return; }
    look Aedes "$version" "$port"
}

amqtt() {
    [ -x "$brokers/amqtt/bin/amqtt" ] || { not_tried amqtt "no $brokers/amqtt"; return; }
    local port version
    port=$(free_port)
    version=$("$brokers/amqtt/bin/pip" show amqtt | sed -n 's/^Version: //p')
    cat >"$folder/amqtt.yaml" <<END
listeners:
  default:
    type: tcp
    bind: 127.0.0.1:$port
plugins:
  amqtt.plugins.authentication.AnonymousAuthPlugin:
    allow_anonymous: true
  amqtt.plugins.sys.broker.BrokerSysPlugin:
    sys_interval: 1
END
    start "$port" "$brokers/amqtt/bin/amqtt" -c "$folder/amqtt.yaml" ||
        { failures=$((failures + 1)); table+=("amqtt|$version|does not start|"); return; }
    look amqtt "$version" "$port"
}

rumqttd() {
    local program="$brokers/rumqttd/bin/rumqttd" version level port
    [ -x "$program" ] || { not_tried rumqttd "no $brokers/rumqttd"; return; }
    version=$("$program" --version 2>/dev/null | sed 's/.* //')
    for level in 4 5; do
        port=$(free_port)
        cat >"$folder/rumqttd-$level.toml" <<END
id = 0
[router]
id = 0
max_connections = 1000
max_outgoing_packet_count = 200
max_segment_size = 104857600
max_segment_count = 10
[v$level.1]
name = "v$level-1"
listen = "127.0.0.1:$port"
next_connection_delay_ms = 1
[v$level.1.connections]
connection_timeout_ms = 60000
max_payload_size = 20480
max_inflight_count = 100
dynamic_filters = true
END
        start "$port" "$program" -c "$folder/rumqttd-$level.toml" ||
            { failures=$((failures + 1)); table+=("rumqttd|$version, level $level|does not start|"); return; }
        look rumqttd "$version, level $level" "$port"
    done
}

[ "${1:-}" != --install ] || install_brokers
cargo build --quiet -p mqttinfo
mqttinfo=${CARGO_TARGET_DIR:-target}/debug/mqttinfo
if command -v python3 >/dev/null; then
    rabbitmq
    aedes
    amqtt
    rumqttd
else
    not_tried "all" "python3, which reads the reports, is not installed"
fi
printf '%s\n' "${table[@]}" | awk -F '|' '{ printf "%-10s %-42s %-16s %s\n", $1, $2, $3, $4 }'
[ "$failures" = 0 ]
