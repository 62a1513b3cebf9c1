//! The protocol page in bytes (sections 1 to 4 and 6), written straight on top of the primitives.

use aes_siv::{KeyInit, siv::Aes256Siv};
use ed25519_dalek::{Signer, SigningKey};
use hmac::{Mac, SimpleHmac};
use sha3::{Digest, Sha3_256};
use std::{cell::RefCell, collections::HashMap};

pub(crate) type Key = [u8; 32];
/// A topic hash or a client id.
pub(crate) type Name = [u8; 16];
pub(crate) type Tag = [u8; 16];

/// `SHA3-256(text)[0..16]`, remembered, because an unoptimised hash takes long.
pub(crate) fn short_hash(text: &str) -> Name {
    thread_local!(static KNOWN: RefCell<HashMap<String, Name>> = RefCell::default());
    let hash = || Sha3_256::digest(text)[..16].try_into().unwrap();
    KNOWN.with_borrow_mut(|known| *known.entry(text.to_owned()).or_insert_with(hash))
}

pub(crate) fn control_topic(id: &Name) -> String {
    format!("e4/{}", hex::encode(id))
}

/// `timestamp | V | C`: a symmetric message, or a command of either mode.
pub(crate) fn seal(key: &Key, sent: u64, plaintext: &[u8]) -> Vec<u8> {
    let sealed = siv_seal(key, sent, plaintext);
    [&sent.to_le_bytes()[..], &sealed].concat()
}

/// `timestamp | signer id | V | C | signature of all before it`
pub(crate) fn seal_signed(key: &Key, sent: u64, signer: &Name, seed: &Key, plaintext: &[u8]) -> Vec<u8> {
    let sealed = siv_seal(key, sent, plaintext);
    let signed = [&sent.to_le_bytes()[..], signer, &sealed].concat();
    [&signed[..], &sign(seed, &signed)].concat()
}

pub(crate) fn sign(seed: &Key, text: &[u8]) -> [u8; 64] {
    SigningKey::from_bytes(seed).sign(text).to_bytes()
}

/// `V | C`
fn siv_seal(key: &Key, sent: u64, plaintext: &[u8]) -> Vec<u8> {
    let mut text = plaintext.to_vec();
    let tag = siv(key).encrypt_inout_detached([sent.to_le_bytes()], (&mut text[..]).into()).unwrap();
    [&tag[..], &text].concat()
}

pub(crate) fn siv_open(key: &Key, sent: u64, tag: &Tag, ciphertext: &[u8]) -> Option<Vec<u8>> {
    let mut text = ciphertext.to_vec();
    siv(key).decrypt_inout_detached([sent.to_le_bytes()], (&mut text[..]).into(), tag.into()).ok()?;
    Some(text)
}

fn siv(key: &Key) -> Aes256Siv {
    Aes256Siv::new_from_slice(&[*key, *key].concat()).unwrap()
}

pub(crate) fn ed25519_public(seed: &Key) -> Key {
    SigningKey::from_bytes(seed).verifying_key().to_bytes()
}

pub(crate) fn x25519_public(secret: &Key) -> Key {
    x25519_dalek::x25519(*secret, x25519_dalek::X25519_BASEPOINT_BYTES)
}

/// The control key, computed on the key server's side.
pub(crate) fn control_key(c2_secret: &Key, client_seed: &Key) -> Key {
    let client_public = SigningKey::from_bytes(client_seed).verifying_key().to_montgomery().to_bytes();
    Sha3_256::digest(x25519_dalek::x25519(*c2_secret, client_public)).into()
}

/// The key of a topic that lies so many levels below a subtree, from the key of the subtree.
pub(crate) fn derive_topic_key(subtree_key: &Key, levels_below: &[&str]) -> Key {
    let step = |node: Key, level: &&str| expand(&node, &["level", level].concat());
    expand(&levels_below.iter().fold(*subtree_key, step), "topic key")
}

/// RFC 5869 for 32 bytes of output, which is one block: `HMAC(prk, info | 0x01)`. Remembered as well.
fn expand(prk: &Key, info: &str) -> Key {
    thread_local!(static KNOWN: RefCell<HashMap<(Key, String), Key>> = RefCell::default());
    let compute = || {
        let mut mac = SimpleHmac::<Sha3_256>::new_from_slice(prk).unwrap();
        mac.update(info.as_bytes());
        mac.update(&[1]);
        mac.finalize().into_bytes().into()
    };
    KNOWN.with_borrow_mut(|known| *known.entry((*prk, info.to_owned())).or_insert_with(compute))
}

/// The key that reports are sealed under, from the key that commands come under.
pub(crate) fn report_key(command_key: &Key) -> Key {
    thread_local!(static KNOWN: RefCell<HashMap<Key, Key>> = RefCell::default());
    // The extraction of RFC 5869 is `HMAC(salt, ikm)`.
    let extract = || {
        let mut mac = SimpleHmac::<Sha3_256>::new_from_slice(b"e4 report v1").unwrap();
        mac.update(command_key);
        mac.finalize().into_bytes().into()
    };
    let prk = KNOWN.with_borrow_mut(|known| *known.entry(*command_key).or_insert_with(extract));
    expand(&prk, "report key")
}

/// `SHA3-256(kind | name | key)[0..16]`, by which a thing that a client holds is in the digest of its state.
pub(crate) fn entry_hash(kind: u8, name: &[u8], key: &Key) -> Tag {
    thread_local!(static KNOWN: RefCell<HashMap<Vec<u8>, Tag>> = RefCell::default());
    let entry = [&[kind], name, key].concat();
    let hash = || Sha3_256::digest(&entry)[..16].try_into().unwrap();
    KNOWN.with_borrow_mut(|known| *known.entry(entry.clone()).or_insert_with(hash))
}

/// Whether an MQTT filter matches a topic.
pub(crate) fn filter_matches(filter: &str, topic: &str) -> bool {
    fn levels_match(filter: &[&str], topic: &[&str]) -> bool {
        match (filter, topic) {
            (["#"], _) => true,
            ([wanted, filter @ ..], [level, topic @ ..]) => {
                (*wanted == "+" || wanted == level) && levels_match(filter, topic)
            }
            (filter, topic) => filter.is_empty() && topic.is_empty(),
        }
    }
    let wildcard_first = filter.starts_with(['+', '#']);
    !(wildcard_first && topic.starts_with('$'))
        && levels_match(&filter.split('/').collect::<Vec<_>>(), &topic.split('/').collect::<Vec<_>>())
}
