#!/usr/bin/env bash
# mosquitto 2.0.11 (Debian 12): with max_queued_messages 0, who publishes what the access control file forbids loses the
# connection.
#
# Expected: what becomes of a message that is forbidden does not depend on how many messages may wait. "Set to 0 for no maximum",
#   says mosquitto.conf(5).
# Seen: by default the message is answered (in MQTT 5 with reason code 0x87, in 3.1.1 as if it had been taken) and dropped, and
#   the connection lives. With max_queued_messages 0 it is answered in the same way, and then the connection is closed without a
#   DISCONNECT; at QoS 0 it is just closed.
# For users of E4: a device that may not write its report topic would lose each connection over its report. `e4-mqtt` gives
#   reports up after two; better allow them, or use --no-report.
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

port = int(sys.argv[1])


def text(it):
    return len(it).to_bytes(2, 'big') + it


def send(link, kind, body):
    link.sendall(bytes([kind, len(body)]) + body)


def packet(reader):
    head = reader.read(2)
    return (head[0], reader.read(head[1])) if len(head) == 2 else (None, b'')


for level, version in ((4, '3.1.1'), (5, '5')):
    for qos in (0, 1):
        for _ in range(300):
            try:
                link = socket.create_connection(('127.0.0.1', port), 5)
                break
            except OSError:
                time.sleep(0.1)
        reader = link.makefile('rb')
        none = b'\0' if level == 5 else b''
        send(link, 0x10, text(b'MQTT') + bytes([level, 2, 0, 60]) + none + text(b'client'))
        assert packet(reader)[0] == 0x20
        send(link, 0x30 | qos << 1, text(b'forbidden') + (b'\0\1' if qos else b'') + none + b'21 C')
        answer = 'no answer'
        if qos:
            kind, body = packet(reader)
            assert kind == 0x40
            answer = 'PUBACK ' + (f'0x{body[2]:02x}' if len(body) > 2 else 'success')
        try:
            send(link, 0xc0, b'')
            lives = packet(reader)[0] == 0xd0
        except OSError:
            lives = False
        print(f'MQTT {version}, QoS {qos}: {answer}, {"the connection lives" if lives else "closed"}')
CODE

seen=""
for queued in 1000 0; do
    port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    echo 'topic readwrite allowed' >"$folder/acl"
    printf 'listener %s 127.0.0.1\nuser root\nallow_anonymous true\nacl_file %s\nmax_queued_messages %s\n' \
        "$port" "$folder/acl" "$queued" >"$folder/conf"
    LD_LIBRARY_PATH=$libraries "$folder/tree/usr/sbin/mosquitto" -c "$folder/conf" >"$folder/log" 2>&1 &
    broker=$!
    seen+="max_queued_messages $queued"$'\n'"$(timeout 60 python3 "$folder/client.py" "$port")"$'\n'
    kill "$broker"
    wait "$broker" 2>/dev/null || true
    broker=""
done
printf '%s' "$seen"
[ "$seen" = "max_queued_messages 1000
MQTT 3.1.1, QoS 0: no answer, the connection lives
MQTT 3.1.1, QoS 1: PUBACK success, the connection lives
MQTT 5, QoS 0: no answer, the connection lives
MQTT 5, QoS 1: PUBACK 0x87, the connection lives
max_queued_messages 0
MQTT 3.1.1, QoS 0: no answer, closed
MQTT 3.1.1, QoS 1: PUBACK success, closed
MQTT 5, QoS 0: no answer, closed
MQTT 5, QoS 1: PUBACK 0x87, closed
" ]
