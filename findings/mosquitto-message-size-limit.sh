#!/usr/bin/env bash
# mosquitto 2.0.11 (Debian 12): what is larger than `message_size_limit` is confirmed in MQTT 3.1.1 and dropped, and refused in
# MQTT 5 with a reason code that MQTT does not have there.
#
# Expected: in MQTT 5 PUBACK or PUBREC with reason code 0x83, "implementation specific error", as mosquitto.conf(5) says, or
#   another of those that MQTT 5, sections 3.4.2.1 and 3.5.2.1, lists. And a maximum packet size in CONNACK, so that a client
#   need not send what is not taken. (That MQTT 3.1.1 has only the choice between a confirmation and the end of the connection
#   is its section 3.3.5.2.)
# Seen: reason code 0x95, "packet too large", which exists for CONNACK and DISCONNECT alone, and no maximum in CONNACK. In 3.1.1
#   the message is confirmed at QoS 1 and 2; nobody gets it. At QoS 0 nothing is said in both. A message within the limit
#   arrives.
# For users of E4: use `max_packet_size`, which MQTT 5 clients are told, and for which the connection ends in 3.1.1. A limit
#   counts the sealed payload, which is 24 or 104 bytes longer. rumqttc 0.34 ends the connection for the reason code, and says
#   that it was an answer to CONNECT; `e4-mqtt` gives the message up after five connections.
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
MAXIMUM_PACKET_SIZE = 0x27


def text(it):
    return len(it).to_bytes(2, 'big') + it


def send(link, kind, body):
    length, rest = b'', len(body)
    while True:
        rest, low = divmod(rest, 128)
        length += bytes([low | (128 if rest else 0)])
        if not rest:
            break
    link.sendall(bytes([kind]) + length + body)


def packet(reader):
    kind, length, shift = reader.read(1)[0], 0, 0
    while True:
        byte = reader.read(1)[0]
        length |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return kind, reader.read(length)


def connect(client, level):
    for _ in range(300):
        try:
            link = socket.create_connection(('127.0.0.1', port), 5)
            break
        except OSError:
            time.sleep(0.1)
    reader = link.makefile('rb')
    send(link, 0x10, text(b'MQTT') + bytes([level, 2, 0, 60]) + (b'\0' if level == 5 else b'') + text(client))
    kind, body = packet(reader)
    assert kind == 0x20 and body[1] == 0
    return link, reader, body[3:]


def reason(body):
    return f'0x{body[2]:02x}' if len(body) > 2 else 'success'


subscriber, arrived, _ = connect(b'subscriber', 4)
send(subscriber, 0x82, b'\0\1' + text(b'room/#') + b'\2')
assert packet(arrived)[0] == 0x90


def received():
    """How many messages have come; the answer to a PINGREQ comes behind them."""
    send(subscriber, 0xc0, b'')
    count = 0
    while True:
        kind, body = packet(arrived)
        if kind == 0xd0:
            return count
        if kind >> 4 == 3:
            count += 1
            identifier = body[2 + int.from_bytes(body[:2], 'big'):][:2]
            if kind & 2:
                send(subscriber, 0x40, identifier)
            elif kind & 4:
                send(subscriber, 0x50, identifier)
        elif kind >> 4 == 6:
            send(subscriber, 0x70, body)


for level, version in ((4, '3.1.1'), (5, '5')):
    for qos in range(3):
        link, reader, properties = connect(b'publisher', level)
        told = 'with' if MAXIMUM_PACKET_SIZE in properties else 'no'
        for size in (100, 101):
            head = text(b'room/1') + (b'\0\1' if qos else b'') + (b'\0' if level == 5 else b'')
            send(link, 0x30 | qos << 1, head + b'x' * size)
            answer = 'no answer'
            if qos == 1:
                kind, body = packet(reader)
                answer = f'PUBACK {reason(body)}'
                assert kind == 0x40
            elif qos == 2:
                kind, body = packet(reader)
                answer = f'PUBREC {reason(body)}'
                assert kind == 0x50
                if reason(body) == 'success':
                    send(link, 0x62, b'\0\1')
                    assert packet(reader)[0] == 0x70
            # The connection lives, and what came before was read.
            send(link, 0xc0, b'')
            assert packet(reader)[0] == 0xd0
            time.sleep(0.2)
            print(f'MQTT {version}, QoS {qos}, {size} bytes: {answer}, {received()} received, {told} maximum in CONNACK')
CODE

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
printf 'listener %s 127.0.0.1\nallow_anonymous true\nmessage_size_limit 100\n' "$port" >"$folder/conf"
LD_LIBRARY_PATH=$libraries "$folder/tree/usr/sbin/mosquitto" -c "$folder/conf" >"$folder/log" 2>&1 &
broker=$!
seen=$(timeout 60 python3 "$folder/client.py" "$port")
printf '%s\n' "$seen"
[ "$seen" = "MQTT 3.1.1, QoS 0, 100 bytes: no answer, 1 received, no maximum in CONNACK
MQTT 3.1.1, QoS 0, 101 bytes: no answer, 0 received, no maximum in CONNACK
MQTT 3.1.1, QoS 1, 100 bytes: PUBACK success, 1 received, no maximum in CONNACK
MQTT 3.1.1, QoS 1, 101 bytes: PUBACK success, 0 received, no maximum in CONNACK
MQTT 3.1.1, QoS 2, 100 bytes: PUBREC success, 1 received, no maximum in CONNACK
MQTT 3.1.1, QoS 2, 101 bytes: PUBREC success, 0 received, no maximum in CONNACK
MQTT 5, QoS 0, 100 bytes: no answer, 1 received, no maximum in CONNACK
MQTT 5, QoS 0, 101 bytes: no answer, 0 received, no maximum in CONNACK
MQTT 5, QoS 1, 100 bytes: PUBACK success, 1 received, no maximum in CONNACK
MQTT 5, QoS 1, 101 bytes: PUBACK 0x95, 0 received, no maximum in CONNACK
MQTT 5, QoS 2, 100 bytes: PUBREC success, 1 received, no maximum in CONNACK
MQTT 5, QoS 2, 101 bytes: PUBREC 0x95, 0 received, no maximum in CONNACK" ]
