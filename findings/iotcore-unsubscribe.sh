#!/usr/bin/env bash
# iotcore 0.4.0 (PyPI, the broker rumqttd inside of Python): UNSUBSCRIBE is answered only if it ends a subscription that was
# made in the same connection.
#
# Expected: the server answers every UNSUBSCRIBE with an UNSUBACK (MQTT 3.1.1, section 3.10.4, [MQTT-3.10.4-4]), "even where no
#   Topic Subscriptions are deleted" ([MQTT-3.10.4-5]); a session that was taken up again has its subscriptions still.
# Seen: an answer to the first, none in a session that was taken up again, none for a filter without a subscription. The
#   connection goes on, and PINGREQ is answered. A client that waits for UNSUBACK, as clients may, waits for ever.
# For users of E4: a program that ends filters of an earlier run must not make what it does next depend on the answer.
#
# Prints the line below, and fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
broker=""
trap '[ -z "$broker" ] || kill "$broker" 2>/dev/null || true; rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check iotcore==0.4.0
port=$("$folder/venv/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"$folder/venv/bin/python" -m iotcore --listen 127.0.0.1 --port "$port" >"$folder/log" 2>&1 &
broker=$!

cat >"$folder/client.py" <<'CODE'
import socket, sys, time

text = lambda it: len(it).to_bytes(2, 'big') + it


def connect(client, clean):
    for _ in range(300):
        try:
            link = socket.create_connection(('127.0.0.1', int(sys.argv[1])), 5)
            break
        except OSError:
            time.sleep(0.1)
    link.settimeout(4)
    send(link, 0x10, text(b'MQTT') + bytes([4, 2 if clean else 0, 0, 60]) + text(client))
    assert packet(link)[0] == 0x20
    return link


def send(link, kind, body):
    link.sendall(bytes([kind, len(body)]) + body)


def packet(link):
    try:
        head = link.recv(2)
        body = b''
        while len(body) < head[1]:
            body += link.recv(head[1] - len(body))
        return head + body
    except TimeoutError:
        return b''


def subscribe(link):
    send(link, 0x82, b'\x00\x01' + text(b'a/b') + b'\x01')
    assert packet(link)[0] == 0x90


def unsubscribe(link):
    send(link, 0xa2, b'\x00\x02' + text(b'a/b'))
    answer = 'UNSUBACK' if packet(link)[:1] == b'\xb0' else 'nothing'
    send(link, 0xc0, b'')
    assert packet(link)[0] == 0xd0
    return answer


link = connect(b'same', clean=True)
subscribe(link)
same = unsubscribe(link)
link = connect(b'again', clean=False)
subscribe(link)
send(link, 0xe0, b'')
link.close()
time.sleep(1)
again = unsubscribe(connect(b'again', clean=False))
never = unsubscribe(connect(b'never', clean=True))
print(f'in one connection: {same}; session taken up again: {again}; no such subscription: {never}')
CODE
seen=$("$folder/venv/bin/python" "$folder/client.py" "$port")
echo "$seen"
[ "$seen" = "in one connection: UNSUBACK; session taken up again: nothing; no such subscription: nothing" ]
