//! The cast: topics, peers, and keys that are told apart by a number.

use e4::{
    C2SecretKey, ClientId, ClientKey, SigningKey, TopicHash, TopicKey, VerifyingKey,
    rand_core::{Infallible, TryCryptoRng, TryRng},
};
use e4_keyserver::model::TopicName;
use sha3::{Digest, Sha3_256};

/// The last one is a subtree around the first two.
pub(crate) const TOPICS: [&str; 6] = ["a/1", "a/2", "b", "c", "d", "a/#"];
pub(crate) const PEERS: usize = 4;

pub(crate) fn topic(at: usize) -> TopicHash {
    *TopicName::new(TOPICS[at]).unwrap().hash()
}

pub(crate) fn device() -> ClientId {
    ClientId::from_name("device").unwrap()
}

pub(crate) fn peer(at: usize) -> ClientId {
    ClientId::from_name(&format!("peer {at}")).unwrap()
}

/// 32 bytes that belong to this number alone.
fn bytes(kind: &str, serial: u64) -> [u8; 32] {
    Sha3_256::digest(format!("{kind} {serial}")).into()
}

pub(crate) fn topic_key(serial: u64) -> TopicKey {
    TopicKey::from_bytes(&bytes("topic", serial)).unwrap()
}

pub(crate) fn client_key(serial: u64) -> ClientKey {
    ClientKey::from_bytes(&bytes("client", serial)).unwrap()
}

pub(crate) fn signing_key(serial: u64) -> SigningKey {
    SigningKey::from_seed(&bytes("client", serial)).unwrap()
}

pub(crate) fn server_secret(serial: u64) -> C2SecretKey {
    C2SecretKey::from_bytes(&bytes("server", serial)).unwrap()
}

pub(crate) fn peer_key(serial: u64) -> VerifyingKey {
    SigningKey::from_seed(&bytes("peer", serial)).unwrap().verifying_key()
}

/// Numbers that look random, the same in every run.
#[derive(Clone)]
pub(crate) struct Draws(pub(crate) u64);

impl TryRng for Draws {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.0 += 1;
        Ok(u32::from_le_bytes(bytes("draw", self.0)[..4].try_into().unwrap()))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.0 += 1;
        Ok(u64::from_le_bytes(bytes("draw", self.0)[..8].try_into().unwrap()))
    }

    fn try_fill_bytes(&mut self, into: &mut [u8]) -> Result<(), Infallible> {
        for chunk in into.chunks_mut(32) {
            self.0 += 1;
            chunk.copy_from_slice(&bytes("draw", self.0)[..chunk.len()]);
        }
        Ok(())
    }
}

impl TryCryptoRng for Draws {}
