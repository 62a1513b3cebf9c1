#!/usr/bin/env bash
# amqtt 0.12.1 (PyPI): messages that waited for a client come marked as retained, though nobody retained them.
#
# Expected: RETAIN is 0 in a PUBLISH that is sent because of a subscription that stood when the message came, however the
#   message was published (MQTT 3.1.1, section 3.3.1.3, [MQTT-3.3.1-9]); it is 1 only for what a new subscription brings
#   ([MQTT-3.3.1-8]). What waited for a session that was taken up again belongs to the first kind.
# Seen: published with RETAIN 0, a message comes with RETAIN 0 to a client that is there, and with RETAIN 1 to one that was away.
#   A new subscription to the same topic brings nothing: the broker itself holds no such retained message.
# For users of E4: what waited looks like a stored value. `e4 sub -R`, and clients of one's own that leave out what is marked so,
#   drop it. Commands do not depend on the mark.
#
# Prints the line below, and fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
broker=""
trap '[ -z "$broker" ] || kill "$broker" 2>/dev/null || true; rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check amqtt==0.12.1
port=$("$folder/venv/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
# With allow_anonymous on it would keep no sessions: see amqtt-anonymous-sessions.sh.
cat >"$folder/amqtt.yaml" <<CONF
listeners:
  default:
    type: tcp
    bind: 127.0.0.1:$port
plugins:
  amqtt.plugins.authentication.AnonymousAuthPlugin:
    allow_anonymous: false
CONF
"$folder/venv/bin/python" -c 'from amqtt.scripts.broker_script import main; main()' -c "$folder/amqtt.yaml" >"$folder/log" 2>&1 &
broker=$!

cat >"$folder/client.py" <<'CODE'
import socket, sys, time


def text(it):
    return len(it).to_bytes(2, 'big') + it


def connect(client, clean):
    for _ in range(300):
        try:
            link = socket.create_connection(('127.0.0.1', int(sys.argv[1])), 5)
            break
        except OSError:
            time.sleep(0.1)
    body = text(b'MQTT') + bytes([4, 0x80 | (2 if clean else 0), 0, 60]) + text(client) + text(b'anyone')
    send(link, 0x10, body)
    assert packet(link)[0] == 0x20
    return link


def send(link, kind, body):
    link.sendall(bytes([kind, len(body)]) + body)


def packet(link, seconds=10):
    link.settimeout(seconds)
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


def mark(link, seconds=10):
    message = packet(link, seconds)
    return f'RETAIN {message[0] & 1}' if message else 'nothing'


there = connect(b'there', clean=True)
subscribe(there)
away = connect(b'away', clean=False)
subscribe(away)
send(away, 0xe0, b'')
away.close()
time.sleep(2)
publisher = connect(b'publisher', clean=True)
send(publisher, 0x32, text(b'a/b') + b'\x00\x01' + b'on')
assert packet(publisher)[0] == 0x40
fresh = connect(b'fresh', clean=True)
subscribe(fresh)
print(f'there: {mark(there)}; was away: {mark(connect(b"away", clean=False))}; new subscription: {mark(fresh, 3)}')
CODE
seen=$("$folder/venv/bin/python" "$folder/client.py" "$port")
echo "$seen"
[ "$seen" = "there: RETAIN 0; was away: RETAIN 1; new subscription: nothing" ]
