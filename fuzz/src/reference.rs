//! The wire format once more, from RFC 5297 and the protocol page, on top of AWS-LC: no code in common with the crate.

use aws_lc_rs::{
    agreement::{PrivateKey, UnparsedPublicKey as UnparsedX25519Key, X25519, agree},
    cipher::{AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey},
    cmac, digest,
    iv::FixedLength,
    signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey},
};
use e4::{ClientId, KeyRole, MaxAge, Refusal};
use std::collections::BTreeMap;

pub type Key = [u8; 32];
pub type Id = [u8; 16];
pub type Block = [u8; 16];

/// RFC 5297 section 2.6, with the key `K | K` and one component of associated data: `V` and `C`.
pub fn siv_seal(key: &Key, associated_data: &[u8], plaintext: &[u8]) -> (Block, Vec<u8>) {
    let v = s2v(key, associated_data, plaintext);
    (v, ctr(key, &v, plaintext))
}

/// RFC 5297 section 2.7.
pub fn siv_open(key: &Key, associated_data: &[u8], v: &Block, ciphertext: &[u8]) -> Option<Vec<u8>> {
    let plaintext = ctr(key, v, ciphertext);
    (s2v(key, associated_data, &plaintext) == *v).then_some(plaintext)
}

/// RFC 5297 section 2.4 for two strings.
fn s2v(key: &Key, associated_data: &[u8], plaintext: &[u8]) -> Block {
    let mut d = cmac(key, &[0; 16]);
    d = xor(dbl(d), cmac(key, associated_data));
    let last = match plaintext.len().checked_sub(16) {
        Some(start) => {
            let mut xored_end = plaintext.to_vec();
            for (byte, d) in xored_end[start..].iter_mut().zip(d) {
                *byte ^= d;
            }
            xored_end
        }
        None => {
            let mut padded = [0; 16];
            padded[..plaintext.len()].copy_from_slice(plaintext);
            padded[plaintext.len()] = 0x80;
            xor(dbl(d), padded).to_vec()
        }
    };
    cmac(key, &last)
}

fn dbl(block: Block) -> Block {
    let number = u128::from_be_bytes(block);
    let carry = if number >> 127 == 1 { 0x87 } else { 0 };
    ((number << 1) ^ carry).to_be_bytes()
}

fn xor(a: Block, b: Block) -> Block {
    core::array::from_fn(|at| a[at] ^ b[at])
}

fn cmac(key: &Key, data: &[u8]) -> Block {
    let key = cmac::Key::new(cmac::AES_256, key).unwrap();
    cmac::sign(&key, data).unwrap().as_ref().try_into().unwrap()
}

/// RFC 5297 section 2.5: AES-CTR from `V` with two bits cleared.
fn ctr(key: &Key, v: &Block, text: &[u8]) -> Vec<u8> {
    let mut q = *v;
    q[8] &= 0x7f;
    q[12] &= 0x7f;
    let mut text = text.to_vec();
    let key = EncryptingKey::ctr(UnboundCipherKey::new(&AES_256, key).unwrap()).unwrap();
    key.less_safe_encrypt(&mut text, EncryptionContext::Iv128(FixedLength::from(q))).unwrap();
    text
}

/// A protected message, symmetric (protocol page, section 3). Commands look the same.
pub fn seal(key: &Key, sent: u64, payload: &[u8]) -> Vec<u8> {
    let sent = sent.to_le_bytes();
    let (v, c) = siv_seal(key, &sent, payload);
    [&sent[..], &v, &c].concat()
}

/// A protected message, signed.
pub fn seal_signed(key: &Key, sent: u64, signer: &Id, seed: &Key, payload: &[u8]) -> Vec<u8> {
    let sent = sent.to_le_bytes();
    let (v, c) = siv_seal(key, &sent, payload);
    let signed = [&sent[..], signer, &v, &c].concat();
    let signature = Ed25519KeyPair::from_seed_unchecked(seed).unwrap().sign(&signed);
    [&signed, signature.as_ref()].concat()
}

pub fn ed25519_public(seed: &Key) -> Key {
    let pair = Ed25519KeyPair::from_seed_unchecked(seed).unwrap();
    pair.public_key().as_ref().try_into().unwrap()
}

pub fn x25519_public(secret: &Key) -> Key {
    let secret = PrivateKey::from_private_key(&X25519, secret).unwrap();
    secret.compute_public_key().unwrap().as_ref().try_into().unwrap()
}

/// The parts of a protected message.
pub struct Parts<'a> {
    pub sent: u64,
    /// Of a signed message: the signer, all that is signed, the signature.
    pub signed: Option<(Id, &'a [u8], &'a [u8])>,
    pub v: Block,
    pub ciphertext: &'a [u8],
}

impl<'a> Parts<'a> {
    /// `None` when the message is too short.
    pub fn split(mode: e4::Mode, message: &'a [u8]) -> Option<Self> {
        let (signed, rest) = match mode {
            e4::Mode::Symmetric => (None, message.get(8..)?),
            e4::Mode::PublicKey => {
                let (before, signature) = message.split_at(message.len().checked_sub(64)?);
                (Some((before.get(8..24)?.try_into().ok()?, before, signature)), before.get(24..)?)
            }
        };
        let sent = u64::from_le_bytes(message.get(..8)?.try_into().ok()?);
        Some(Self { sent, signed, v: rest.get(..16)?.try_into().ok()?, ciphertext: &rest[16..] })
    }

    pub fn open(&self, key: &Key) -> Option<Vec<u8>> {
        siv_open(key, &self.sent.to_le_bytes(), &self.v, self.ciphertext)
    }
}

pub fn sha3_256(bytes: &[u8]) -> [u8; 32] {
    digest::digest(&digest::SHA3_256, bytes).as_ref().try_into().unwrap()
}

/// The id of a client, or the hash of a topic.
pub fn short_hash(text: &str) -> Id {
    core::array::from_fn(|at| sha3_256(text.as_bytes())[at])
}

/// HMAC over SHA3-256, whose blocks have 136 bytes (RFC 2104).
fn hmac(key: &[u8], data: &[u8]) -> Key {
    let pad = |with: u8| -> Vec<u8> { (0..136).map(|at| key.get(at).unwrap_or(&0) ^ with).collect() };
    let inner = sha3_256(&[&pad(0x36), data].concat());
    sha3_256(&[&pad(0x5c)[..], &inner].concat())
}

/// HKDF-Expand to 32 bytes, which is one block (RFC 5869).
fn expand(prk: &Key, label: &str, info: &[u8]) -> Key {
    hmac(prk, &[label.as_bytes(), info, &[1]].concat())
}

/// The key of `#` (protocol page, section 10).
pub fn namespace_key(root: &Key, epoch: u64) -> Key {
    expand(&hmac(b"e4 topic tree v1", root), "epoch", &epoch.to_be_bytes())
}

/// The key of a subtree that lies so many levels below another.
pub fn key_below(node: &Key, levels: Option<&str>) -> Key {
    let levels = levels.into_iter().flat_map(|levels| levels.split('/'));
    levels.fold(*node, |node, level| expand(&node, "level", level.as_bytes()))
}

/// The key of the topic that a subtree `p/#` has at `p`.
pub fn topic_key_at(node: &Key) -> Key {
    expand(node, "topic key", &[])
}

/// The key under which a client reports, from the one that its commands come under (protocol page, section 11).
pub fn report_key(command_key: &Key) -> Key {
    expand(&hmac(b"e4 report v1", command_key), "report key", &[])
}

/// What an entry adds to the digest of a state.
pub fn entry_hash(kind: u8, name: &[u8], key: &Key) -> Block {
    let hash = sha3_256(&[&[kind], name, key].concat());
    core::array::from_fn(|at| hash[at])
}

/// The key under which the commands for a public-key client are sealed (protocol page, section 4).
pub fn control_key(seed: &Key, c2_public: &Key) -> Key {
    let secret = &digest::digest(&digest::SHA512, seed).as_ref()[..32].to_vec();
    let secret = PrivateKey::from_private_key(&X25519, secret).unwrap();
    agree(&secret, UnparsedX25519Key::new(&X25519, c2_public), aws_lc_rs::error::Unspecified, |shared| {
        Ok(sha3_256(shared))
    })
    .unwrap()
}

/// What a client knows of a topic when a message arrives there.
pub struct Receiver<'a> {
    pub mode: e4::Mode,
    pub now: Option<u64>,
    pub max_age: MaxAge,
    pub max_ahead: u64,
    /// The current key, and the other one that opens: the next one, or the previous one while it is in transition.
    pub keys: Option<(Key, Option<(Key, KeyRole)>)>,
    pub peers: &'a BTreeMap<Id, Key>,
}

/// A message that was opened.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    pub payload: Vec<u8>,
    pub sent: u64,
    pub age: Option<u64>,
    pub signer: Option<Id>,
    pub key: KeyRole,
}

impl Receiver<'_> {
    /// What becomes of a message that was never seen before (protocol page, section 5, steps 1 to 5).
    pub fn open(&self, message: &[u8]) -> Result<Message, Refusal> {
        let parts = Parts::split(self.mode, message).ok_or(Refusal::TooShort)?;
        let age = self.now.map(|now| check_time(now, parts.sent, self.max_age, self.max_ahead)).transpose()?;
        let (current, spare) = self.keys.ok_or(Refusal::NoTopicKey)?;
        let with_current = parts.open(&current).map(|payload| (payload, KeyRole::Current));
        let with_spare = || spare.and_then(|(key, role)| Some((parts.open(&key)?, role)));
        let (payload, key) = with_current.or_else(with_spare).ok_or(Refusal::NotAuthentic)?;
        if let Some((signer, signed, signature)) = parts.signed {
            let id = ClientId::from_bytes(signer);
            let key = self.peers.get(&signer).ok_or(Refusal::UnknownSigner(id))?;
            // AWS-LC takes a point R of small order, which the crate refuses: only the signer could make one.
            if UnparsedPublicKey::new(&ED25519, key).verify(signed, signature).is_err() {
                return Err(Refusal::BadSignature(id));
            }
        }
        let signer = parts.signed.map(|(signer, ..)| signer);
        Ok(Message { payload, sent: parts.sent, age, signer, key })
    }
}

/// What the crate says of a message.
impl<P: AsRef<[u8]>> From<&e4::Message<P>> for Message {
    fn from(message: &e4::Message<P>) -> Self {
        Self {
            payload: message.payload.as_ref().to_vec(),
            sent: message.sent.as_unix(),
            age: message.age,
            signer: message.signer.map(|id| *id.as_bytes()),
            key: message.key,
        }
    }
}

/// The age, when it is within the limits.
pub fn check_time(now: u64, sent: u64, max_age: MaxAge, max_ahead: u64) -> Result<u64, Refusal> {
    let (ahead, age) = (sent.saturating_sub(now), now.saturating_sub(sent));
    match max_age {
        _ if ahead > max_ahead => Err(Refusal::FromTheFuture { ahead }),
        MaxAge::Seconds(max_age) if age > max_age => Err(Refusal::TooOld { age, max_age }),
        _ => Ok(age),
    }
}

/// Whether a key that was replaced then is a previous key now.
pub fn is_in_transition(replaced: u64, now: u64) -> bool {
    replaced.abs_diff(now) <= 3600
}
