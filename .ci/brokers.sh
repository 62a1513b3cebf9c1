# shellcheck shell=bash
# Real brokers for tests, each on 127.0.0.1, on a free port, from a temporary folder, and ended with the script. To be
# sourced, by crates/e4-cli/tests/brokers.sh and crates/mqttinfo/tests/brokers.sh.
#
# A recipe is a function broker_NAME. It starts the broker and returns 0, or returns 1 with the reason in `absent`. It sets
#   version       of the broker
#   port_311      where MQTT 3.1.1 is spoken; empty if it is not
#   port_5        where MQTT 5 is spoken; empty if it is not
#   login         user name and password, parted by a space, if there is nothing without
#
# The script that sources this sets `install` to something if what is missing may be installed, and calls `broker_stop`
# after each; it sets `named` to something if its clients would rather give a user name where sessions depend on it.
# BROKER_TOOLS is a folder where what does not come from apt is kept and looked for; with `install` and without
# it, that goes to a temporary folder.

# Seconds: to start, to install. A broker ends by itself after LIFE, whatever becomes of the script.
readonly START=180 INSTALL=900 LIFE=900

work=$(mktemp -d "${TMPDIR:-/tmp}/brokers.XXXXXX")
chmod 755 "$work"
tools=${BROKER_TOOLS:-$work/tools}
mkdir -p "$tools"
process="" after="" absent="" version="" port_311="" port_5="" login=""

trap 'broker_stop; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

# ---- Starting and ending

# Starts a broker in a process group of its own. What it says goes to a file that is shown if it does not start.
run() { # COMMAND...
    set -m
    timeout --kill-after=5 $LIFE "$@" >"$work/log" 2>&1 </dev/null &
    process=$!
    set +m
}

# Each broker leads a process group of its own, so that its children end with it.
broker_stop() {
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

listens() { # PORT
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# Waits for a broker that was started; shows what it said if it does not come up.
comes_up() { # PORT
    local end=$((SECONDS + START))
    until listens "$1"; do
        if [ $SECONDS -ge $end ] || ! alive; then
            tail -n 20 "$work/log" | sed 's/^/    /'
            return 1
        fi
        sleep 0.1
    done
}

# One that has ended is not what has been looked at: another program may have taken the port.
alive() { kill -0 "$process" 2>/dev/null; }

# Whether another program took the port first, so that it is worth another try.
port_was_taken() { grep -qiE 'eaddrinuse|in use' "$work/log"; }

# Starts a broker by its recipe, anew with other ports if those were taken. Returns 1 if it is absent, 2 if it does not
# start.
broker() { # NAME
    local _
    for _ in 1 2 3; do
        absent="" version="" port_311="" port_5="" login=""
        "broker_$1" || return 1
        comes_up "${port_311:-$port_5}" && alive && return 0
        broker_stop
        port_was_taken || return 2
    done
    return 2
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

# An empty folder for a broker's data.
fresh() { # NAME
    folder="$work/$1"
    rm -rf "$folder"
    mkdir -p "$folder"
}

# ---- Installing

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

# A package of Debian, unless the file is there. The package would start a service: nothing may, while it is put in place.
apt() { # FILE PACKAGE [WHAT-GOES-WITH-IT...]
    if [ ! -e "$1" ] && [ -n "$install" ] && command -v apt-get >/dev/null; then
        local policy=/usr/sbin/policy-rc.d made=""
        if [ ! -e $policy ] && printf '#!/bin/sh\nexit 101\n' | as_root tee $policy >/dev/null; then
            made=yes
            as_root chmod +x $policy
        fi
        as_root timeout $INSTALL apt-get update -qq
        as_root env DEBIAN_FRONTEND=noninteractive timeout $INSTALL \
            apt-get install -y -qq --no-install-recommends "${@:2}" >"$work/install" 2>&1 || tail "$work/install"
        [ -z "$made" ] || as_root rm -f $policy
    fi
    if [ ! -e "$1" ]; then
        absent="$2 is not installed"
        return 1
    fi
    version=$(dpkg-query -W -f '${Version}' "$2" 2>/dev/null)
    version=${version%%[-+]*}
}

# A package of npm in a folder of its own, which becomes `folder`.
npm_package() { # PACKAGE [WHAT-GOES-WITH-IT...]
    folder="$tools/$1"
    if ! command -v node >/dev/null; then
        absent="node is not installed"
        return 1
    fi
    if [ ! -d "$folder/node_modules/$1" ] && [ -n "$install" ] && command -v npm >/dev/null; then
        mkdir -p "$folder"
        (cd "$folder" && echo '{"private": true}' >package.json &&
            timeout $INSTALL npm install --silent --no-audit --no-fund "$@") || echo "npm install failed"
    fi
    if [ ! -d "$folder/node_modules/$1" ]; then
        absent="$1 is not in BROKER_TOOLS"
        return 1
    fi
    version=$(sed -n 's/.*"version": *"\([^"]*\)".*/\1/p' "$folder/node_modules/$1/package.json" | head -n 1)
}

# A package of PyPI in a virtual environment of its own. Its interpreter becomes `python`.
pip_package() { # INTERPRETER PACKAGE [WHAT-GOES-WITH-IT...]
    local with=$1 package=$2
    shift
    for python in "$tools/$package/bin/python" "$with" ""; do
        if [ -n "$python" ] && "$python" -c "import $package" 2>/dev/null; then break; fi
    done
    if [ -z "$python" ] && [ -n "$install" ] && command -v "$with" >/dev/null; then
        python="$tools/$package/bin/python"
        timeout $INSTALL "$with" -m venv "$tools/$package" &&
            timeout $INSTALL "$python" -m pip install --quiet --disable-pip-version-check "$@" &&
            "$python" -c "import $package" || python=""
    fi
    if [ -z "$python" ]; then
        absent="python3 has no module $package"
        return 1
    fi
    version=$("$python" -c "
try: import importlib.metadata as it; print(it.version('$package'))
except ImportError: import pkg_resources as it; print(it.get_distribution('$package').version)")
}

# ---- Brokers of Debian

broker_mosquitto() {
    local program
    apt /usr/sbin/mosquitto mosquitto || return 1
    program=/usr/sbin/mosquitto
    fresh mosquitto
    free_port; port_311=$port port_5=$port
    # As root it would change to a user of its own, who has no access to the folder.
    printf 'listener %s 127.0.0.1\nallow_anonymous true\nuser root\n' "$port" >"$folder/conf"
    run $program -c "$folder/conf"
}

# With its MQTT plugin: the scripts behind Debian's wrapper, which would change to the system's user and folder.
broker_rabbitmq() {
    local scripts=/usr/lib/rabbitmq/bin amqp dist
    apt $scripts/rabbitmq-server rabbitmq-server || return 1
    fresh rabbitmq
    free_port; port_311=$port
    free_port; amqp=$port
    free_port; dist=$port
    free_port; rabbitmq_names=$port
    printf '[rabbitmq_mqtt].\n' >"$folder/plugins"
    cat >"$folder/rabbitmq.conf" <<CONF
listeners.tcp.default = 127.0.0.1:$amqp
mqtt.listeners.tcp.default = 127.0.0.1:$port_311
mqtt.allow_anonymous = true
CONF
    after=stop_epmd
    run env HOME="$folder" RABBITMQ_CONF_ENV_FILE=/dev/null RABBITMQ_NODENAME="tried$port_311@localhost" \
        RABBITMQ_NODE_IP_ADDRESS=127.0.0.1 RABBITMQ_NODE_PORT="$amqp" RABBITMQ_DIST_PORT="$dist" \
        RABBITMQ_CONFIG_FILE="$folder/rabbitmq.conf" RABBITMQ_ENABLED_PLUGINS_FILE="$folder/plugins" \
        RABBITMQ_MNESIA_BASE="$folder/data" RABBITMQ_LOG_BASE="$folder/log" RABBITMQ_LOGS=- \
        RABBITMQ_PID_FILE="$folder/pid" ERL_EPMD_ADDRESS=127.0.0.1 ERL_EPMD_PORT="$rabbitmq_names" \
        RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="-kernel inet_dist_use_interface {127,0,0,1}" $scripts/rabbitmq-server
}

# Erlang's name server of that port outlives the node; no other node knows of it.
stop_epmd() {
    local end=$((SECONDS + 10))
    until ERL_EPMD_PORT=$rabbitmq_names timeout 5 epmd -kill >/dev/null 2>&1; do
        if ! listens "$rabbitmq_names" || [ $SECONDS -ge $end ]; then break; fi
        sleep 0.5
    done
}

broker_nats() {
    local cluster
    apt /usr/sbin/nats-server nats-server || return 1
    fresh nats
    free_port; cluster=$port
    free_port; port_311=$port
    cat >"$folder/conf" <<CONF
server_name: tried
host: 127.0.0.1
port: $cluster
jetstream { store_dir: "$folder/data" }
mqtt { host: 127.0.0.1, port: $port_311 }
CONF
    run /usr/sbin/nats-server -c "$folder/conf"
}

# Erlang itself, as Debian's wrapper would start it, but without its user, its folders, and a node that others could reach.
broker_ejabberd() {
    local libraries
    apt /usr/sbin/ejabberdctl ejabberd || return 1
    libraries=$(sed -n "s/^ERL_LIBS='\(.*\)'/\1/p" /usr/sbin/ejabberdctl)
    fresh ejabberd
    free_port; port_311=$port port_5=$port
    cat >"$folder/ejabberd.yml" <<CONF
loglevel: warning
hosts: [localhost]
auth_method: [anonymous]
anonymous_protocol: login_anon
listen:
  - { port: $port_311, ip: "127.0.0.1", module: mod_mqtt }
modules:
  mod_mqtt: {}
CONF
    login="anyone secret"
    run env HOME="$folder" ERL_LIBS="$libraries" EJABBERD_CONFIG_PATH="$folder/ejabberd.yml" \
        EJABBERD_LOG_PATH="$folder/log" ERL_CRASH_DUMP="$folder/crash" \
        erl -noinput -mnesia dir "\"$folder/data\"" -s ejabberd
}

broker_activemq() {
    # Without the second package, which none of its dependencies is, it takes connections and never answers.
    apt /usr/share/java/mqtt-client.jar libmqtt-client-java && apt /usr/share/activemq/bin/activemq.jar activemq || return 1
    fresh activemq
    mkdir "$folder/lib"
    ln -s /usr/share/java/mqtt-client.jar /usr/share/java/hawtdispatch*.jar "$folder/lib"
    free_port; port_311=$port
    cat >"$folder/activemq.xml" <<CONF
<beans xmlns="http://www.springframework.org/schema/beans" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
  xsi:schemaLocation="http://www.springframework.org/schema/beans http://www.springframework.org/schema/beans/spring-beans-2.0.xsd
  http://activemq.apache.org/schema/core http://activemq.apache.org/schema/core/activemq-core.xsd">
  <broker xmlns="http://activemq.apache.org/schema/core" useJmx="false" brokerName="localhost" dataDirectory="$folder/data">
    <persistenceAdapter><kahaDB directory="$folder/data/kahadb"/></persistenceAdapter>
    <transportConnectors><transportConnector name="mqtt" uri="mqtt://127.0.0.1:$port_311"/></transportConnectors>
  </broker>
</beans>
CONF
    run java -Xmx512M -Dactivemq.home=/usr/share/activemq -Dactivemq.base="$folder" -Dactivemq.data="$folder/data" \
        -jar /usr/share/activemq/bin/activemq.jar start "xbean:file:$folder/activemq.xml"
}

# ---- Brokers of npm

# Aedes has no command: ten lines make it a broker.
broker_aedes() {
    npm_package aedes || return 1
    cat >"$folder/broker.mjs" <<'CODE'
import * as module from 'aedes'
import net from 'node:net'

// 1.2 is made by createBroker, 0.51 by its class.
const Aedes = module.Aedes ?? module.default
const broker = Aedes.createBroker ? await Aedes.createBroker() : new Aedes()
net.createServer(broker.handle).listen(Number(process.argv[2]), '127.0.0.1')
CODE
    free_port; port_311=$port
    run node "$folder/broker.mjs" "$port"
}

# With the persistence in memory that it brings along: without one it has no sessions and no retained messages.
broker_mosca() {
    # It does not start with what has become of jsonschema since.
    npm_package mosca jsonschema@1.2.4 || return 1
    cat >"$folder/broker.js" <<'CODE'
const mosca = require('mosca')

new mosca.Server({
  host: '127.0.0.1',
  port: Number(process.argv[2]),
  persistence: { factory: mosca.persistence.Memory },
})
CODE
    free_port; port_311=$port
    run node "$folder/broker.js" "$port"
}

# ---- Brokers of PyPI

broker_amqtt() {
    local anonymous=true
    pip_package python3 amqtt || return 1
    free_port; port_311=$port
    # The defaults of its own default_broker.yaml but for where it listens. Where no user name is needed it keeps no sessions,
    # whether or not there is one (findings/amqtt-anonymous-sessions.sh).
    if [ -n "${named:-}" ]; then
        anonymous=false
        login="anyone secret"
    fi
    cat >"$work/amqtt.yaml" <<CONF
listeners:
  default:
    type: tcp
    bind: 127.0.0.1:$port
plugins:
  amqtt.plugins.authentication.AnonymousAuthPlugin:
    allow_anonymous: $anonymous
  amqtt.plugins.sys.broker.BrokerSysPlugin:
    sys_interval: 20
CONF
    run "$python" -c 'from amqtt.scripts.broker_script import main; main()' -c "$work/amqtt.yaml"
}

# The older name of amqtt. From Python 3.9 on it takes connections and never answers.
broker_hbmqtt() {
    local old candidate
    for candidate in python3.8 python3.7 "$HOME"/.pyenv/versions/3.[78].*/bin/python; do
        command -v "$candidate" >/dev/null && "$candidate" -c '' 2>/dev/null && old=$candidate && break
    done
    if [ -z "${old:-}" ] && [ ! -x "$tools/hbmqtt/bin/python" ]; then
        absent="it needs Python 3.7 or 3.8"
        return 1
    fi
    pip_package "${old:-$tools/hbmqtt/bin/python}" hbmqtt 'websockets<9' || return 1
    free_port; port_311=$port
    # Its own default_broker.yaml, in which no plugin checks topics, has it deny all subscriptions.
    cat >"$work/hbmqtt.yaml" <<CONF
listeners:
  default:
    type: tcp
    bind: 127.0.0.1:$port
sys_interval: 20
auth:
  allow-anonymous: true
plugins:
  - auth_anonymous
topic-check:
  enabled: True
  plugins: [topic_taboo]
CONF
    run "$python" -m scripts.broker_script -c "$work/hbmqtt.yaml"
}

broker_mqttools() {
    pip_package python3 mqttools || return 1
    free_port; port_5=$port
    run "$python" -m mqttools broker --host 127.0.0.1 --port "$port"
}

# rumqttd inside of a Python process, with a listener for each version of MQTT.
broker_iotcore() {
    pip_package python3 iotcore || return 1
    rumqttd_configuration
    run "$python" -m iotcore --config "$work/rumqttd.toml"
}

# ---- Brokers of crates.io

broker_rumqttd() {
    local program=""
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
        absent="rumqttd is not installed"
        return 1
    fi
    version=$("$program" --version | awk '{ print $NF }')
    rumqttd_configuration
    run "$program" -q -c "$work/rumqttd.toml"
}

# A listener for each version of MQTT.
rumqttd_configuration() {
    local part
    free_port; port_311=$port
    free_port; port_5=$port
    cat >"$work/rumqttd.toml" <<CONF
id = 0
[router]
max_connections = 10010
max_outgoing_packet_count = 200
max_segment_size = 104857600
max_segment_count = 10
CONF
    for part in v4:$port_311 v5:$port_5; do
        cat >>"$work/rumqttd.toml" <<CONF
[${part%:*}.1]
name = "${part%:*}"
listen = "127.0.0.1:${part#*:}"
next_connection_delay_ms = 1
[${part%:*}.1.connections]
connection_timeout_ms = 60000
max_payload_size = 20480
max_inflight_count = 100
dynamic_filters = true
CONF
    done
}
