// Seals every symmetric message of the vectors, and opens it again: node siv.mjs noble|stablelib|miscreant VECTORS
import { readFileSync } from 'node:fs'

const hex = text => Uint8Array.from(Buffer.from(text, 'hex'))
const twice = key => Uint8Array.from([...key, ...key])
const same = (a, b) => a !== null && Buffer.compare(a, b) === 0

const libraries = {
  async noble(key, time) {
    const { aessiv } = await import('@noble/ciphers/aes.js')
    const siv = () => aessiv(twice(key), time)
    return { seal: text => siv().encrypt(text), open: text => siv().decrypt(text) }
  },
  async stablelib(key, time) {
    const [{ AES }, { SIV }] = await Promise.all([import('@stablelib/aes'), import('@stablelib/siv')])
    const siv = new SIV(AES, twice(key))
    return { seal: text => siv.seal([time], text), open: text => siv.open([time], text) }
  },
  async miscreant(key, time) {
    const { default: { SIV, PolyfillCryptoProvider } } = await import('miscreant')
    const siv = await SIV.importKey(twice(key), 'AES-SIV', new PolyfillCryptoProvider())
    return { seal: text => siv.seal(text, [time]), open: text => siv.open(text, [time]) }
  },
}

const messages = JSON.parse(readFileSync(process.argv[3])).symmetric_message
const wrong = []
for (const message of messages) {
  const [sealed, payload] = [hex(message.protected), hex(message.payload)]
  try {
    const siv = await libraries[process.argv[2]](hex(message.topic_key), sealed.subarray(0, 8))
    const right = same(await siv.seal(payload), sealed.subarray(8)) && same(await siv.open(sealed.subarray(8)), payload)
    if (!right) wrong.push(`${payload.length} bytes: other bytes`)
  } catch (error) {
    wrong.push(`${payload.length} bytes: ${error.message}`)
  }
}
console.log(`${messages.length} messages, wrong: ${wrong.join('; ') || 'none'}`)
