#!/usr/bin/env bash
# mosquitto 2.0.11 (Debian 12): who subscribes at QoS 1 to many retained messages of QoS 1 gets the first 1,020.
#
# Expected: with a new subscription the last retained message of each matching topic is sent (MQTT 3.1.1, section 3.3.1.3,
#   [MQTT-3.3.1-6]). The client is connected and acknowledges each. `max_queued_messages` bounds what waits "above those
#   messages that are currently in flight" (mosquitto.conf(5)), of which nothing should be left over with such a client.
# Seen: all matching messages are queued in one go before an acknowledgement can come. Beyond 20 in flight and 1,000 in the
#   queue they are dropped: 1,020 of 2,000 come. The SUBACK grants QoS 1 and nothing tells the client; the broker's log has one
#   line. At QoS 0 all 2,000 come, and with max_queued_messages 0 also at QoS 1.
# For users of E4: with more than some 1,000 retained topics raise `max_queued_messages` above their number, or read retained
#   messages at QoS 0. What is missing looks as if it had never been published.
#
# Prints the lines below, and fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
broker=""
trap '[ -z "$broker" ] || kill "$broker" 2>/dev/null || true; rm -rf "$folder"' EXIT
(
    cd "$folder"
    apt-get download -qq mosquitto=2.0.11-1.2+deb12u2 libdlt2 libwrap0 >/dev/null 2>&1
    for package in *.deb; do dpkg -x "$package" tree; done
)
libraries=$(find "$folder/tree/usr/lib" -name '*.so*' -printf '%h\n' | sort -u | paste -sd:)

cat >"$folder/client.py" <<'CODE'
import socket, sys, time

port, qos = int(sys.argv[1]), int(sys.argv[2])
TOPICS = 2000


def text(it):
    return len(it).to_bytes(2, 'big') + it


def connect(client):
    for _ in range(300):
        try:
            link = socket.create_connection(('127.0.0.1', port), 5)
            break
        except OSError:
            time.sleep(0.1)
    reader = link.makefile('rb')
    send(link, 0x10, text(b'MQTT') + bytes([4, 2, 0, 60]) + text(client))
    assert packet(reader)[0] == 0x20
    return link, reader


def send(link, kind, body):
    link.sendall(bytes([kind, len(body)]) + body)


def packet(reader):
    head = reader.read(2)
    return head[0], reader.read(head[1])


link, reader = connect(b'publisher')
for number in range(TOPICS):
    send(link, 0x33, text(b'room/%d' % number) + b'\x00\x01' + b'21 C')
    assert packet(reader)[0] == 0x40

link, reader = connect(b'subscriber')
send(link, 0x82, b'\x00\x01' + text(b'room/#') + bytes([qos]))
seen, granted = set(), None
# The answer to a PINGREQ comes after what the broker has by then; QoS 1 goes on as acknowledgements arrive.
quiet = 0
send(link, 0xc0, b'')
while quiet < 3:
    kind, body = packet(reader)
    if kind == 0x90:
        granted = body[-1]
    elif kind >> 4 == 3:
        quiet = 0
        end = 2 + int.from_bytes(body[:2], 'big')
        seen.add(body[2:end])
        if kind & 6:
            send(link, 0x40, body[end:end + 2])
    elif kind == 0xd0:
        quiet += 1
        time.sleep(0.5)
        send(link, 0xc0, b'')
print(f'granted QoS {granted}, {len(seen)} of {TOPICS}')
CODE

seen=""
for setting in "0 1000" "1 1000" "1 0"; do
    read -r qos queued <<<"$setting"
    port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    printf 'listener %s 127.0.0.1\nallow_anonymous true\n' "$port" >"$folder/conf"
    # 1000 is what it does without the line.
    [ "$queued" = 1000 ] || echo "max_queued_messages $queued" >>"$folder/conf"
    LD_LIBRARY_PATH=$libraries "$folder/tree/usr/sbin/mosquitto" -c "$folder/conf" >"$folder/log" 2>&1 &
    broker=$!
    seen+="max_queued_messages $queued, QoS $qos: $(python3 "$folder/client.py" "$port" "$qos")"
    seen+=", dropping in the log: $(grep -c 'messages are being dropped' "$folder/log" || true)"$'\n'
    kill "$broker"
    wait "$broker" 2>/dev/null || true
    broker=""
done
printf '%s' "$seen"
[ "$seen" = "max_queued_messages 1000, QoS 0: granted QoS 0, 2000 of 2000, dropping in the log: 0
max_queued_messages 1000, QoS 1: granted QoS 1, 1020 of 2000, dropping in the log: 1
max_queued_messages 0, QoS 1: granted QoS 1, 2000 of 2000, dropping in the log: 0
" ]
