#!/usr/bin/env bash
# Checks the table of docs/other-languages.md: which libraries of other languages make the bytes of E4's AES-SIV. Outside CI.
# Installs what PyPI and npm have in a temporary folder. For the rest, Debian's packages are looked for, and what is not there is
# skipped: golang-go golang-github-jacobsa-crypto-dev golang-github-miscreant-miscreant.go-dev python3-botan libgcrypt20-dev
set -euo pipefail
cd "$(dirname "$0")"
here=$PWD vectors=$PWD/../vectors/e4go.json
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
passed=0 failed=0 skipped=0

check() { # NAME EXPECTED COMMAND...
    local name=$1 expected=$2 got
    shift 2
    got=$("$@" 2>&1 | tail -n 1) || true
    got=${got#*wrong: }
    if [ "$got" = "$expected" ]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
    printf '%-36s wrong: %s\n' "$name" "$got"
    [ "$got" = "$expected" ] || printf '%-36s expected: %s\n' '' "$expected"
}

skip() { # NAME
    skipped=$((skipped + 1))
    printf '%-36s not here\n' "$1"
}

python() { # PACKAGE==VERSION EXPECTED
    local to=$folder/$1
    python3 -m venv "$to"
    "$to/bin/pip" install --quiet --disable-pip-version-check "$1"
    check "$1" "$2" "$to/bin/python" siv.py "${1%%=*}" "$vectors"
}

python cryptography==37.0.4 '0 bytes: InternalError'
python cryptography==44.0.3 '0 bytes: ValueError'
python cryptography==45.0.7 none
python cryptography==50.0.2 none
python pycryptodome==3.23.0 none

node_packages() { # PACKAGE@VERSION... : into a folder of their own, which is printed
    local to
    to=$(mktemp -d -p "$folder")
    (cd "$to" && npm install --silent --no-audit --no-fund "$@" >/dev/null)
    cp "$here/siv.mjs" "$to"
    printf '%s' "$to"
}

for version in 2.1.1 2.4.0; do
    check "@noble/ciphers@$version" none node "$(node_packages "@noble/ciphers@$version")/siv.mjs" noble "$vectors"
done
check @stablelib/siv@1.0.2 none node "$(node_packages @stablelib/siv@1.0.2 @stablelib/aes@2.0.1)/siv.mjs" stablelib "$vectors"
old=$(node_packages miscreant@0.3.2)
check miscreant@0.3.2 none node "$old/siv.mjs" miscreant "$vectors"
cat >"$old/overlap.mjs" <<'CODE'
import miscreant from 'miscreant'
const siv = await miscreant.SIV.importKey(new Uint8Array(64), 'AES-SIV', new miscreant.PolyfillCryptoProvider())
const seal = text => siv.seal(new TextEncoder().encode(text), [new Uint8Array(8)])
const overlapping = await Promise.all([seal('one of two messages'), seal('the other message')])
const alone = [await seal('one of two messages'), await seal('the other message')]
const wrong = alone.filter((it, i) => Buffer.compare(it, overlapping[i]) !== 0).length
console.log(`wrong: ${wrong ? 'some' : 'none'}`)
CODE
check 'miscreant@0.3.2, calls that overlap' some node "$old/overlap.mjs"

for library in jacobsa miscreant; do
    if command -v go >/dev/null && [ -d /usr/share/gocode/src/github.com/$library ]; then
        check "$library (Go)" none env GO111MODULE=off GOPATH=/usr/share/gocode go run siv.go $library "$vectors"
    else
        skip "$library (Go)"
    fi
done

if /usr/bin/python3 -c 'import botan2' 2>/dev/null; then
    check "Botan $(/usr/bin/python3 -c 'import botan2; print(botan2.version_string().split()[1])')" none \
        /usr/bin/python3 siv.py botan "$vectors"
else
    skip Botan
fi

gcrypt() {
    python3 - "$folder/siv" "$vectors" <<'CODE'
import json, subprocess, sys
messages = json.load(open(sys.argv[2]))['symmetric_message']
lines = ''.join(f"{m['topic_key']} {m['protected'][:16]} {m['payload']}\n" for m in messages)
sealed = subprocess.run([sys.argv[1]], input=lines, capture_output=True, text=True, check=True).stdout.split()
same = sealed == [m['protected'][16:] for m in messages]
print(f"{len(messages)} messages, wrong: {'none' if same else 'some'}")
CODE
}
if cc -o "$folder/siv" siv.c -lgcrypt 2>/dev/null; then check "libgcrypt, sealing" none gcrypt; else skip libgcrypt; fi

printf '%d passed, %d failed, %d skipped\n' $passed $failed $skipped
[ $failed = 0 ]
