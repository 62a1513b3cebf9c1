#!/usr/bin/env bash
# miscreant 0.3.2 (npm), AES-SIV in JavaScript: calls of one key object that overlap disturb each other.
#
# Expected: AES-SIV is a function of key, associated data and plaintext alone (RFC 5297, sections 2.6 and 2.7). `seal` and
#   `open` return promises, so several may be under way, as with Web Crypto's own `encrypt`: each gives what it gives by itself.
# Seen: two messages of 1,000 bytes that are sealed at the same time with one object come out as other bytes than one after the
#   other, without an error, and cannot be opened. Two sound messages that are opened at the same time are both refused as not
#   authentic. With one object for each call all is well: the object keeps the state of S2V and CTR between its awaits.
# For users of E4: a client of one's own in JavaScript waits for each call before the next, or imports the key for each call;
#   else what it publishes in quick succession is lost, and what it receives so is refused as if it were forged.
#
# Prints the lines below, and fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$folder" miscreant@0.3.2 >/dev/null

cat >"$folder/overlap.js" <<'CODE'
const { SIV, WebCryptoProvider } = require('miscreant');
const { webcrypto } = require('crypto');

const key = Uint8Array.from({ length: 64 }, (_, i) => i);
const header = [new Uint8Array(8)];
const messages = [1, 2].map(fill => new Uint8Array(1000).fill(fill));
const importKey = () => SIV.importKey(key, 'AES-SIV', new WebCryptoProvider(webcrypto));

async function inTurn(list, call) {
    const results = [];
    for (const it of list) results.push(await call(it));
    return results;
}
const atOnce = (list, call) => Promise.all(list.map(call));
const equal = (left, right) => left.filter((it, i) => Buffer.compare(it, right[i]) === 0).length;

async function main() {
    const shared = await importKey();
    const seal = it => shared.seal(it, header);
    const open = it => shared.open(it, header).then(() => 1, () => 0);
    const sealAlone = async it => (await importKey()).seal(it, header);
    const openAlone = async it => (await importKey()).open(it, header).then(() => 1, () => 0);
    const sum = results => results.reduce((total, it) => total + it, 0);

    const right = await inTurn(messages, seal);
    const overlapping = await atOnce(messages, seal);
    console.log(`sealed as by itself, of 2: in turn ${equal(right, await inTurn(messages, sealAlone))},`
        + ` at once ${equal(right, overlapping)}, at once with an object each ${equal(right, await atOnce(messages, sealAlone))}`);
    console.log(`of 2 that were sealed at once open: ${sum(await inTurn(overlapping, openAlone))}`);
    console.log(`sound ones that open, of 2: in turn ${sum(await inTurn(right, open))},`
        + ` at once ${sum(await atOnce(right, open))}, at once with an object each ${sum(await atOnce(right, openAlone))}`);
}
main();
CODE
seen=$(node "$folder/overlap.js")
echo "$seen"
[ "$seen" = "sealed as by itself, of 2: in turn 2, at once 0, at once with an object each 2
of 2 that were sealed at once open: 0
sound ones that open, of 2: in turn 2, at once 0, at once with an object each 2" ]
