#!/usr/bin/env bash
# amqtt 0.12.1 (PyPI): a broker with its default plugins keeps no session of any client.
#
# Expected: with CleanSession 0 the broker keeps the subscription and the messages of QoS 1 that come while the client is away
#   (MQTT 3.1.1, section 3.1.2.4, [MQTT-3.1.2-5]); the second CONNACK says that there is a session ([MQTT-3.2.2-2]).
# Seen: with AnonymousAuthPlugin and allow_anonymous, as in its own default configuration, the session is dropped within a
#   second or so of the client's leaving, also that of a client that gave a user name. The SUBACK grants QoS 1, the publisher
#   gets its PUBACK, the second CONNACK says "no session", and nothing comes. With allow_anonymous off it is all as it should.
# For users of E4: commands for devices that are away are lost. Turn allow_anonymous off and give each client a user name.
#
# Prints the two lines below, and fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
broker=""
trap '[ -z "$broker" ] || kill "$broker" 2>/dev/null || true; rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check amqtt==0.12.1

cat >"$folder/client.py" <<'CODE'
import socket, sys, time

port = int(sys.argv[1])
text = lambda it: len(it).to_bytes(2, 'big') + it


def connect(client, clean):
    body = text(b'MQTT') + bytes([4, 0x80 | (2 if clean else 0), 0, 60]) + text(client) + text(b'anyone')
    for _ in range(300):
        try:
            link = socket.create_connection(('127.0.0.1', port), 5)
            break
        except OSError:
            time.sleep(0.1)
    link.sendall(bytes([0x10, len(body)]) + body)
    return link, packet(link)


def packet(link, seconds=5):
    link.settimeout(seconds)
    try:
        head = link.recv(2)
    except TimeoutError:
        return b''
    body = b''
    while len(head) == 2 and len(body) < head[1]:
        body += link.recv(head[1] - len(body))
    return head + body


def send(link, kind, body):
    link.sendall(bytes([kind, len(body)]) + body)


link, _ = connect(b'away', clean=False)
send(link, 0x82, b'\x00\x01' + text(b'a/b') + b'\x01')
granted = packet(link)[-1]
send(link, 0xe0, b'')
link.close()
time.sleep(3)
link, _ = connect(b'publisher', clean=True)
send(link, 0x32, text(b'a/b') + b'\x00\x01' + b'while away')
confirmed = packet(link)[0] == 0x40
link, connack = connect(b'away', clean=False)
came = b'while away' in packet(link, 3)
print(f'granted QoS {granted}, confirmed: {confirmed}, session present: {connack[2] & 1}, message came: {came}')
CODE

seen=""
for anonymous in true false; do
    port=$("$folder/venv/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    cat >"$folder/amqtt.yaml" <<CONF
listeners:
  default:
    type: tcp
    bind: 127.0.0.1:$port
plugins:
  amqtt.plugins.authentication.AnonymousAuthPlugin:
    allow_anonymous: $anonymous
CONF
    "$folder/venv/bin/python" -c 'from amqtt.scripts.broker_script import main; main()' -c "$folder/amqtt.yaml" \
        >"$folder/log" 2>&1 &
    broker=$!
    seen+="allow_anonymous $anonymous: $("$folder/venv/bin/python" "$folder/client.py" "$port")"$'\n'
    kill "$broker"
    wait "$broker" 2>/dev/null || true
    broker=""
done
printf '%s' "$seen"
[ "$seen" = "allow_anonymous true: granted QoS 1, confirmed: True, session present: 0, message came: False
allow_anonymous false: granted QoS 1, confirmed: True, session present: 1, message came: True
" ]
