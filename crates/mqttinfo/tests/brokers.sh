#!/usr/bin/env bash
# Looks with mqttinfo at real brokers other than mosquitto, and says what each is taken for.
#
#   bash crates/mqttinfo/tests/brokers.sh              those whose tools are there; the others are listed as not tried
#   bash crates/mqttinfo/tests/brokers.sh --install    first gets them from apt, npm, PyPI and crates.io
#   bash crates/mqttinfo/tests/brokers.sh --show       prints all that mqttinfo says of each, too
#
# MQTTINFO        the program to look with; built by cargo unless given
# BROKER_TOOLS    a folder in which what does not come from apt is kept and looked for; with --install and without it, that
#                 goes to a temporary folder
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
# shellcheck source=../../../.ci/brokers.sh
source "$root/.ci/brokers.sh"

# What is known with less is not taken for anything.
readonly SURE=50
# Seconds to look.
readonly LOOK=60

table="$work/table"
failed=0

note() { # BROKER VERSION TRIED TAKEN-FOR CONFIDENCE
    printf '%s\t%s\t%s\t%s\t%s\n' "$@" >>"$table"
}

# Looks at a broker, and stops it. The product is a name in fingerprints.toml, or unknown for one that is not there. A broker
# with a listener for each version of MQTT is looked at twice.
look() { # RECIPE NAME PRODUCT [VERSION-OF-MQTT]
    local line name percent verdict shown=$2 port user=()
    broker "$1"
    case $? in
        1) note "$2" "" "no: $absent" "" ""; return ;;
        2) note "$2" "$version" "WRONG: does not start" "" ""; failed=1; return ;;
    esac
    port=${port_311:-$port_5}
    if [ -n "${4:-}" ]; then
        shown="$2 ($4)"
        [ "$4" != 5 ] || port=$port_5
    fi
    [ -z "$login" ] || user=(-u "${login% *}" -P "${login#* }")
    echo "=== $shown $version (after $SECONDS s)"
    if ! line=$(timeout $LOOK "$mqttinfo" --json --intrusive "${user[@]}" "127.0.0.1:$port") || ! alive; then
        note "$shown" "$version" "WRONG: it ended while it was looked at" "" ""
        failed=1
        broker_stop
        return
    fi
    [ -z "$show" ] || NO_COLOR=1 timeout $LOOK "$mqttinfo" --intrusive "${user[@]}" "127.0.0.1:$port"
    broker_stop
    # Products come most likely first. The names are those of fingerprints.toml, and need no unquoting.
    name=$(sed -n 's/.*"products":\[{"product":"\([^"]*\)".*/\1/p' <<<"$line")
    percent=$(sed -n 's/.*"products":\[{[^[]*"confidence":\([0-9.]*\).*/\1/p' <<<"$line")
    percent=$(awk -v part="${percent:-0}" 'BEGIN { printf "%d", part * 100 + 0.5 }')
    if ! grep -q '"outcome":{"kind":"broker"}' <<<"$line"; then
        verdict="yes, WRONG: not seen as a broker"
    elif [ "$name" != "$3" ]; then
        verdict="yes, WRONG: it is $3"
    elif [ "$percent" -lt $SURE ]; then
        verdict="yes, WRONG: not sure enough"
    else
        verdict="yes"
    fi
    [ "$verdict" = yes ] || failed=1
    note "$shown" "$version" "$verdict" "${name:-nothing}" "$percent %"
}

if [ -n "${MQTTINFO:-}" ]; then
    mqttinfo=$MQTTINFO
else
    (cd "$root" && cargo build --quiet -p mqttinfo) || exit 1
    mqttinfo=${CARGO_TARGET_DIR:-$root/target}/debug/mqttinfo
fi
[ -x "$mqttinfo" ] || { echo "$mqttinfo is not there" >&2; exit 1; }

look rabbitmq RabbitMQ RabbitMQ
look nats NATS NATS
look ejabberd ejabberd ejabberd
look activemq ActiveMQ unknown
look aedes Aedes Aedes
look mosca mosca mosca
look amqtt aMQTT aMQTT
look hbmqtt hbmqtt unknown
look mqttools mqttools mqttools
look iotcore iotcore rumqttd 3.1.1
look iotcore iotcore rumqttd 5
look rumqttd rumqttd rumqttd 3.1.1
look rumqttd rumqttd rumqttd 5

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
