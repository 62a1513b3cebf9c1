# Seals every symmetric message of the vectors, and opens it again: python siv.py cryptography|pycryptodome|botan VECTORS
import json
import sys


def cryptography(key, time, payload, sealed):
    from cryptography.hazmat.primitives.ciphers.aead import AESSIV
    siv = AESSIV(key + key)
    return siv.encrypt(payload, [time]), siv.decrypt(sealed, [time])


def pycryptodome(key, time, payload, sealed):
    from Crypto.Cipher import AES

    def siv():
        cipher = AES.new(key + key, AES.MODE_SIV)
        cipher.update(time)
        return cipher
    body, tag = siv().encrypt_and_digest(payload)
    return tag + body, siv().decrypt_and_verify(sealed[16:], sealed[:16])


def botan(key, time, payload, sealed):
    from botan2 import SymmetricCipher

    def run(encrypt, text):
        cipher = SymmetricCipher('AES-256/SIV', encrypt)
        cipher.set_key(key + key)
        cipher.set_assoc_data(time)
        cipher.start(b'')
        return cipher.finish(text)
    return run(True, payload), run(False, sealed)


library = {f.__name__: f for f in (cryptography, pycryptodome, botan)}[sys.argv[1]]
wrong = []
with open(sys.argv[2]) as file:
    messages = json.load(file)['symmetric_message']
for message in messages:
    sealed = bytes.fromhex(message['protected'])
    payload = bytes.fromhex(message['payload'])
    try:
        got = library(bytes.fromhex(message['topic_key']), sealed[:8], payload, sealed[8:])
        cause = '' if got == (sealed[8:], payload) else 'other bytes'
    except Exception as error:
        cause = type(error).__name__
    if cause:
        wrong.append(f'{len(payload)} bytes: {cause}')
print(f'{len(messages)} messages, wrong: {"; ".join(wrong) or "none"}')
