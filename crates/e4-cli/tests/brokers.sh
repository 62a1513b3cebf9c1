#!/usr/bin/env bash
# Tells the story of the README with `e4` on real brokers, in each version of MQTT that they speak, and compares how it went
# with what is expected of each. What a broker cannot do is expected too.
#
#   bash crates/e4-cli/tests/brokers.sh [BROKER...]     those that are there; the others are listed as not tried
#   bash crates/e4-cli/tests/brokers.sh --install       first gets them from apt, npm and PyPI
#   bash crates/e4-cli/tests/brokers.sh --show          prints all that `e4` says, too
#
# E4              the program to try; built by cargo unless given
# BROKER_TOOLS    a folder in which what does not come from apt is kept and looked for; with --install and without it, that
#                 goes to a temporary folder
#
# Everything listens on 127.0.0.1, runs from a temporary folder, and is stopped at the end.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)

install="" show="" wanted="" named=yes
for argument in "$@"; do
    case $argument in
        --install) install=yes ;;
        --show) show=yes ;;
        -*) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0" >&2; exit 2 ;;
        *) wanted+="$argument " ;;
    esac
done
# shellcheck source=../../../.ci/brokers.sh
source "$root/.ci/brokers.sh"

# Seconds: for a command, for a subscription, for a message that has to arrive, for one that must not. A busy machine needs
# the long ones; they are waited for only where something is missing.
readonly COMMAND=60 SUBSCRIBED=30 ARRIVES=30 STAYS_AWAY=3

# ---- What is expected

# Each step of the story, and how it goes where a broker does all that E4 asks for.
readonly STEPS="
connect         connected
first-key       both
qos-0           arrives
qos-1           arrives
offline         both
waiting         arrives
retained        arrives
wildcard        arrives
dot             arrives
deep            arrives
large           arrives
hard            shut-out
qos-2           arrives
after-it        arrives
"

# Where it goes otherwise: BROKER MQTT STEP OUTCOME, with * for each version of MQTT. An outcome of ? differs from run to run.
readonly EXPECTED="
# Retained messages come for exact topics only; . and / are exchanged, so that the message comes on a topic without a key.
rabbitmq   *  wildcard   lost
rabbitmq   *  dot        lost
# It closes the connection on QoS 2, and refuses topics with a dot.
nats       *  qos-2      not-published
nats       *  dot        not-subscribed
# It refuses topics of more than 8 levels.
ejabberd   *  deep       not-subscribed
# Its side of QoS 2 is never complete: the message arrives, and its sender is not told.
mosca      *  qos-2      not-published
# It sends the PUBREL of packets of an earlier connection, over which the MQTT library ends the new one.
activemq   *  qos-2      ?
activemq   *  after-it   ?
# It was configured to take 20 kB at most, as rumqttd's example does.
iotcore    *  large      not-published
# QoS 0 alone: no command is sent, since it would be lost for whoever is away.
mqttools   *  first-key  not-sent
mqttools   *  offline    not-sent
mqttools   *  hard       not-sent
mqttools   *  qos-0      not-published
mqttools   *  qos-1      not-published
mqttools   *  qos-2      not-published
mqttools   *  waiting    not-published
mqttools   *  retained   not-published
mqttools   *  wildcard   not-published
mqttools   *  dot        not-published
mqttools   *  deep       not-published
mqttools   *  large      not-published
mqttools   *  after-it   not-published
"

expected() { # BROKER MQTT STEP
    local outcome
    outcome=$(awk -v b="$1" -v m="$2" -v s="$3" '$1 == b && ($2 == m || $2 == "*") && $3 == s { print $4; exit }' <<<"$EXPECTED")
    [ -n "$outcome" ] || outcome=$(awk -v s="$3" '$1 == s { print $2 }' <<<"$STEPS")
    echo "$outcome"
}

failed=0
results="$work/results"

# How a step went. What was expected is not explained; what was not is, with what `e4` said.
step() { # STEP OUTCOME
    local wanted_outcome verdict=""
    wanted_outcome=$(expected "$name" "$mqtt" "$1")
    if [ "$2" != "$wanted_outcome" ] && [ "$wanted_outcome" != "?" ]; then
        verdict="WRONG, expected: $wanted_outcome"
        failed=1
    fi
    printf '%s\t%s\t%s\t%s\t%s\t%s\n' "$name" "$version" "$mqtt" "$1" "$2" "$verdict" >>"$results"
    if [ -n "$verdict" ] || [ -n "$show" ]; then
        echo "--- $name, MQTT $mqtt, $1: $2 ${verdict:+($verdict)}"
        sed 's/^/    /' "$site/said"
    fi
    : >"$site/said"
}

# ---- What a user does

# One command, with what it says kept for `step`. Ended after COMMAND seconds, which is never right.
run_e4() { # COMMAND...
    local code
    (cd "$site" && timeout $COMMAND "$e4" "$@" >"$site/out" 2>"$site/err" </dev/null)
    code=$?
    { echo "\$ e4 $* (exit code $code)"; cat "$site/out" "$site/err"; } | cut -c1-400 >>"$site/said"
    return $code
}

at_broker() { run_e4 "$@" "${flags[@]}"; }

pub() { # DEVICE ARGUMENT...
    local device=$1
    shift
    at_broker pub --state "$device.state" "$@"
}

# Which key a device has for a topic; empty if none.
key_of() { # DEVICE TOPIC
    (cd "$site" && "$e4" device show --json --state "$1.state" --topic "$2" 2>/dev/null) |
        sed -n 's/.*"topics":\[{"hash":"[^"]*","name":[^,]*,"fingerprint":"\([^"]*\)".*/\1/p'
}

new_key() { sed -n 's/.*new key \([0-9a-f]*\).*/\1/p' "$site/out" | head -n 1; }

# How long to wait for a message in a step.
patience() { # STEP
    case $(expected "$name" "$mqtt" "$1") in
        lost | "?") echo $STAYS_AWAY ;;
        *) echo $ARRIVES ;;
    esac
}

# A subscriber in the background, whose subscription the broker has confirmed when this returns.
reader() { # DEVICE ARGUMENT...
    local device=$1 end=$((SECONDS + SUBSCRIBED))
    shift
    : >"$site/read"
    : >"$site/refused"
    (cd "$site" && exec timeout $COMMAND "$e4" sub --state "$device.state" "$@" "${flags[@]}" \
        >>"$site/read" 2>>"$site/refused" </dev/null) &
    reading=$!
    until grep -q 'subscribed to' "$site/refused"; do
        if [ $SECONDS -ge $end ] || ! kill -0 $reading 2>/dev/null; then
            reader_ends
            return 1
        fi
        sleep 0.05
    done
    return 0
}

reads() { # TEXT SECONDS
    local end=$((SECONDS + $2))
    until grep -qaF -- "$1" "$site/read"; do
        [ $SECONDS -lt $end ] || return 1
        sleep 0.05
    done
}

reader_ends() {
    kill -TERM "$reading" 2>/dev/null
    wait "$reading" 2>/dev/null
    { echo "# the reader:"; cat "$site/read" "$site/refused"; } | cut -c1-400 >>"$site/said"
}

# ---- The story

setup() {
    local device
    site="$work/site"
    rm -rf "$site"
    mkdir -p "$site"
    : >"$site/said"
    : >"$site/fleet.toml"
    for device in pump panel log; do
        run_e4 keygen symmetric --out $device.key
        run_e4 device init --state $device.state --name $device --key-file $device.key
        printf '[devices.%s]\nmode = "symmetric"\nkey_file = "%s.key"\n' $device $device >>"$site/fleet.toml"
    done
    : >"$site/said"
}

connect() {
    local device outcome=connected
    for device in pump panel log; do
        pub $device --only-connect || outcome=refused
    done
    step connect $outcome
}

# A new key for all, while all are away, and what they have when they come back.
rotation() { # STEP TOPIC [FLAG...]
    local topic=$2 outcome key device
    key=""
    if at_broker control rotate "$topic" --out "$1.topic-key" --all "${@:3}"; then
        key=$(new_key)
        for device in pump panel log; do pub $device --only-connect; done
        outcome=""
        [ "$(key_of pump "$topic")" != "$key" ] || outcome+=pump
        [ "$(key_of panel "$topic")" != "$key" ] || outcome+=panel
        case $outcome in
            pumppanel) outcome=both ;;
            "") outcome=none ;;
        esac
    else
        outcome=not-sent
    fi
    step "$1" "$outcome"
}

# Some of the story is about other things than whether commands wait. If they do not, all are given the key while they
# listen.
give_key() { # TOPIC
    local device key
    (cd "$site" && rm -f given && "$e4" keygen symmetric --out given >/dev/null 2>&1)
    for device in pump panel log; do
        reader $device -t nothing/here || continue
        at_broker control set-topic-key "$1" --topic-key-file given --to $device
        for _ in $(seq 40); do
            grep -q 'Applied the command' "$site/refused" && break
            sleep 0.05
        done
        reader_ends
        # Whatever came too late for it.
        pub $device --only-connect
    done
}

message() { # STEP TOPIC FILTER QOS TEXT [FLAG...]
    local outcome=lost
    if ! reader panel -t "$3" -q "$4"; then
        outcome=not-subscribed
    else
        if ! pub pump -t "$2" -q "$4" -m "$5" "${@:6}"; then
            outcome=not-published
        elif reads "$5" "$(patience "$1")"; then
            outcome=arrives
        fi
        reader_ends
    fi
    step "$1" $outcome
}

# A message of QoS 1 for one that subscribed and is away.
waiting() {
    local outcome=lost
    if reader panel -t 'plant/7/#' -q 1; then
        reader_ends
        if ! pub pump -t plant/7/pump -q 1 -m 'while away'; then
            outcome=not-published
        elif reader panel -t 'plant/7/#' -q 1; then
            ! reads 'while away' $ARRIVES || outcome=arrives
            reader_ends
        fi
    else
        outcome=not-subscribed
    fi
    step waiting $outcome
}

# A retained message for one that comes late.
retained() { # STEP FILTER
    local outcome=lost
    if ! pub pump -t plant/7/pump -q 1 -r -m "kept for $1"; then
        outcome=not-published
    elif reader log -t "$2" --max-age "$2=any"; then
        ! reads "kept for $1" "$(patience "$1")" || outcome=arrives
        reader_ends
    else
        outcome=not-subscribed
    fi
    step "$1" $outcome
}

# The panel is rotated out: it must not read what the pump says then, and the log, which stays, must.
hard() {
    local outcome
    if ! at_broker control rotate plant/7/pump --hard --out hard.topic-key --to pump,log; then
        outcome=not-sent
    elif ! reader panel -t plant/7/pump; then
        outcome=not-subscribed
    else
        outcome=still-reads
        pub pump -t plant/7/pump -q 1 -m 'not for the panel' || outcome=not-published
        reads 'not for the panel' $STAYS_AWAY || { [ $outcome = not-published ] || outcome=nobody-reads; }
        reader_ends
        if [ $outcome = nobody-reads ] && reader log -t plant/7/pump; then
            pub pump -t plant/7/pump -q 1 -m 'for the log'
            ! reads 'for the log' $ARRIVES || outcome=shut-out
            reader_ends
        fi
    fi
    step hard $outcome
}

# A topic of another form. Its key is given to all first.
topic() { # STEP TOPIC
    give_key "$2"
    : >"$site/said"
    message "$1" "$2" "$2" 1 "on $2"
}

large() {
    local outcome=lost
    head -c 1000000 /dev/zero | tr '\0' x >"$site/picture"
    if ! reader panel -t plant/7/pump -q 1 --payload-only; then
        outcome=not-subscribed
    else
        if ! pub pump -t plant/7/pump -q 1 -f picture; then
            outcome=not-published
        elif reads xxxxxxxxxx $ARRIVES; then
            outcome=arrives
        fi
        reader_ends
    fi
    sed -i 's/xxxxxxx*/x…/g' "$site/said"
    step large $outcome
}

story() {
    echo "=== $name $version, MQTT $mqtt (after $SECONDS s)"
    setup
    connect
    rotation first-key plant/7/pump
    give_key plant/7/pump
    : >"$site/said"
    message qos-0 plant/7/pump 'plant/7/#' 0 'at most once'
    message qos-1 plant/7/pump 'plant/7/#' 1 'at least once'
    rotation offline plant/7/pump
    waiting
    retained retained plant/7/pump
    retained wildcard 'plant/7/#'
    topic dot plant/7/pump.speed
    topic deep plant/7/hall/2/row/3/pump/4/speed
    large
    hard
    give_key plant/7/pump
    : >"$site/said"
    message qos-2 plant/7/pump plant/7/pump 2 'exactly once'
    message after-it plant/7/pump plant/7/pump 1 'and at least once again'
}

# ---- All of them

if [ -n "${E4:-}" ]; then
    e4=$E4
else
    (cd "$root" && cargo build --quiet -p e4-cli) || exit 1
    e4=${CARGO_TARGET_DIR:-$root/target}/debug/e4
fi
[ -x "$e4" ] || { echo "$e4 is not there" >&2; exit 1; }

untried=""
for name in ${wanted:-mosquitto rabbitmq nats ejabberd activemq aedes mosca amqtt hbmqtt mqttools iotcore}; do
    for mqtt in 311 5; do
        broker "$name"
        case $? in
            1) untried+="not tried: $name: $absent"$'\n'; break ;;
            2) echo "=== $name $version does not start"; failed=1; break ;;
        esac
        port=$port_311
        [ $mqtt = 311 ] || port=$port_5
        if [ -n "$port" ]; then
            flags=(-h 127.0.0.1 -p "$port" -V $mqtt)
            # shellcheck disable=SC2206
            [ -z "$login" ] || flags+=(-u ${login% *} -P ${login#* })
            story
        fi
        broker_stop
    done
done

# A line for each broker and version, a column for each step.
echo
[ ! -e "$results" ] || awk -F '\t' '
    !($1 FS $3 in row) { row[$1 FS $3] = ++rows; cell[rows, 1] = $1 " " $2; cell[rows, 2] = $3 == 311 ? "3.1.1" : $3 }
    !($4 in column) { column[$4] = ++columns; cell[0, columns + 2] = $4 }
    { cell[row[$1 FS $3], column[$4] + 2] = $5 ($6 == "" ? "" : " (!)") }
    END {
        cell[0, 1] = "broker"; cell[0, 2] = "MQTT"
        for (r = 0; r <= rows; r++) for (c = 1; c <= columns + 2; c++)
            if (length(cell[r, c]) > width[c]) width[c] = length(cell[r, c])
        for (r = 0; r <= rows; r++) {
            line = ""
            for (c = 1; c <= columns + 2; c++) line = line sprintf("%-*s  ", width[c], cell[r, c])
            sub(/ +$/, "", line)
            print line
        }
    }' "$results"
[ ! -e "$results" ] || awk -F '\t' '$6 != "" { print $1 ", MQTT " $3 ", " $4 ": " $5 " (" $6 ")" }' "$results"
printf '%s(%d s)\n' "$untried" $SECONDS
exit $failed
