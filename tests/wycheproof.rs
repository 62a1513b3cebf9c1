//! The primitives that the crate builds on agree with RFC 5297 and with Wycheproof, the bad inputs included.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use aes_siv::{
    KeyInit, Tag,
    siv::{Aes128Siv, Aes256Siv},
};
use e4::{C2PublicKey, KeyError, VerifyingKey};
#[cfg(feature = "alloc")]
use e4::{
    C2SecretKey, Client, ClientId, Clock, ClockReading, Identity, MemoryStore, OpenError, Opened, Refusal, SigningKey,
    Timestamp, Topic, TopicKey,
};
use std::collections::{BTreeMap, BTreeSet};
use wycheproof::{TestResult, aead, eddsa, xdh};
#[cfg(feature = "alloc")]
use {
    curve25519_dalek::Scalar,
    sha2::{Digest, Sha512},
};

#[cfg(feature = "alloc")]
const SENDER_SEED: [u8; 32] = [1; 32];

#[test]
fn aes_siv_computes_appendix_a_of_rfc_5297() {
    for (name, key, components, plaintext, output) in [
        (
            "A.1, deterministic",
            "fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
            &["101112131415161718191a1b1c1d1e1f2021222324252627"][..],
            "112233445566778899aabbccddee",
            "85632d07c6e8f37f950acd320a2ecc9340c02b9690c4dc04daef7f6afe5c",
        ),
        (
            "A.2, with a nonce",
            "7f7e7d7c7b7a79787776757473727170404142434445464748494a4b4c4d4e4f",
            &[
                "00112233445566778899aabbccddeeffdeaddadadeaddadaffeeddccbbaa99887766554433221100",
                "102030405060708090a0",
                "09f911029d74e35bd84156c5635688c0",
            ][..],
            "7468697320697320736f6d6520706c61696e7465787420746f20656e6372797074207573696e67205349562d414553",
            "7bdb6e3b432667eb06f4d14bff2fbd0fcb900f2fddbe404326601965c889bf17\
             dba77ceb094fa663b7a3f748ba8af829ea64ad544a272e9c485b62a3fd5c0d",
        ),
    ] {
        let [key, plaintext, output] = [key, plaintext, output].map(|hex| hex::decode(hex).unwrap());
        let components: Vec<_> = components.iter().map(|hex| hex::decode(hex).unwrap()).collect();
        let components: Vec<_> = components.iter().map(Vec::as_slice).collect();
        let (tag, ciphertext) = output.split_first_chunk().unwrap();
        let sealed = siv_seal(&key, &components, &plaintext).unwrap();
        assert_eq!(sealed, (*tag, ciphertext.to_vec()), "{name}");
        let opened = siv_open(&key, &components, tag, ciphertext).unwrap();
        assert_eq!(opened, Ok(plaintext), "{name}");
    }
}

/// Of three key sizes `aes_siv` has two; the protocol uses the larger one.
#[test]
fn aes_siv_agrees_with_wycheproof() {
    let set = aead::TestSet::load(aead::TestName::AesSivCmac).unwrap();
    let mut run = BTreeMap::new();
    for group in set.test_groups {
        for test in group.tests {
            let (name, tag) = (test.tc_id, test.tag[..].try_into().unwrap());
            let components: [&[u8]; 2] = [&test.aad, &test.nonce];
            let Some(opened) = siv_open(&test.key, &components, &tag, &test.ct) else {
                *run.entry(("skipped", group.key_size)).or_default() += 1;
                continue;
            };
            let sealed = siv_seal(&test.key, &components, &test.pt).unwrap();
            let kind = match test.result {
                TestResult::Valid => {
                    assert_eq!(sealed, (tag, test.ct.to_vec()), "{name}");
                    assert_eq!(opened, Ok(test.pt.to_vec()), "{name}");
                    "sealed and opened"
                }
                TestResult::Invalid => {
                    assert_ne!(sealed.0, tag, "{name}");
                    assert_eq!(opened, Err(test.ct.to_vec()), "{name}: the ciphertext is what is left");
                    "refused"
                }
                TestResult::Acceptable => panic!("{name}: AES-SIV leaves nothing to choose"),
            };
            *run.entry((kind, group.key_size)).or_default() += 1;
        }
    }
    let expected = [
        (("refused", 256), 216),
        (("refused", 512), 216),
        (("sealed and opened", 256), 84),
        (("sealed and opened", 512), 84),
        (("skipped", 384), 300),
    ];
    assert_eq!(run, BTreeMap::from(expected));
}

/// Strict verification differs from RFC 8032 only in refusing keys and `R` of small order. No genuine signature of the
/// set has either, so no class is decided differently.
#[test]
fn ed25519_agrees_with_wycheproof() {
    use eddsa::TestFlag::{
        CompressedSignature, InvalidEncoding, InvalidKnownTestVector, InvalidSignature, KnownTestVector,
        SignatureMalleability, SignatureWithGarbage, TinkOverflow, TruncatedSignature, Valid,
    };
    let set = eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap();
    let mut decided = BTreeMap::<_, usize>::new();
    for group in set.test_groups {
        let public = group.key.pk[..].try_into().unwrap();
        let key = VerifyingKey::from_bytes(&public).unwrap();
        assert_eq!(*key.as_bytes(), public);
        let key = ed25519_dalek::VerifyingKey::from_bytes(&public).unwrap();
        for test in group.tests {
            let &[class] = &test.flags[..] else { panic!("{}: a test has one class", test.tc_id) };
            // A signature of another length never comes to be checked: in a message it always has 64 bytes.
            let verdict = match <[u8; 64]>::try_from(&test.sig[..]) {
                Err(_) => "not 64 bytes",
                Ok(sig) if key.verify_strict(&test.msg, &sig.into()).is_ok() => "genuine",
                Ok(_) => "refused",
            };
            assert_eq!(verdict == "genuine", test.result == TestResult::Valid, "{}", test.tc_id);
            *decided.entry((format!("{class:?}"), verdict)).or_default() += 1;
        }
    }
    let expected = [
        (KnownTestVector, "genuine", 38),
        (TinkOverflow, "genuine", 32),
        (Valid, "genuine", 18),
        // S is not below the order of the group.
        (SignatureMalleability, "refused", 8),
        (InvalidEncoding, "refused", 22),
        (InvalidKnownTestVector, "refused", 1),
        (InvalidSignature, "refused", 20),
        (CompressedSignature, "not 64 bytes", 4),
        (SignatureWithGarbage, "not 64 bytes", 5),
        (TruncatedSignature, "not 64 bytes", 3),
    ];
    let expected = expected.map(|(class, verdict, tests)| ((format!("{class:?}"), verdict), tests));
    assert_eq!(decided, BTreeMap::from(expected));
}

/// The class `SignatureMalleability`, and one that Wycheproof lacks, all the way through a client.
#[cfg(feature = "alloc")]
#[test]
fn a_client_refuses_a_signature_that_is_valid_and_not_strictly_so() {
    struct Fixed;
    impl Clock for Fixed {
        fn read(&self) -> ClockReading {
            ClockReading::Time(Timestamp::from_unix(1_800_000_000))
        }
    }
    let topic = Topic::new("plant/7/pump").unwrap();
    let client = |name, seed: [u8; 32]| {
        let c2 = C2SecretKey::from_bytes(&[0xc2; 32]).unwrap().public_key();
        let signing = SigningKey::from_seed(&seed).unwrap();
        let identity = Identity::public_key(ClientId::from_name(name).unwrap(), signing, c2).unwrap();
        Client::builder(identity).topic_key(topic.hash(), TopicKey::from_bytes(&[7; 32]).unwrap()).unwrap()
    };
    let sender = client("sender", SENDER_SEED).create_with(MemoryStore::new(), Fixed).unwrap();
    let (id, key) = (*sender.id(), sender.verifying_key().unwrap());
    let receiver = client("receiver", [2; 32]).peer(id, key).unwrap();
    let mut receiver = receiver.create_with(MemoryStore::new(), Fixed).unwrap();

    let genuine = sender.seal(&topic, b"4.2 bar").unwrap();
    for forge in [add_group_order, sign_with_small_order] {
        let mut forged = genuine.clone();
        forge(&mut forged);
        assert_eq!(receiver.open(&topic, &forged), Err(OpenError::Refused(Refusal::BadSignature(id))));
    }
    assert!(matches!(receiver.open(&topic, &genuine), Ok(Opened::Message(message)) if message.payload == b"4.2 bar"));
}

/// `S + L`: without the check that `S` is below `L` it would verify where `S` does.
#[cfg(feature = "alloc")]
fn add_group_order(message: &mut [u8]) {
    let mut order = hex::decode("1000000000000000000000000000000014def9dea2f79cd65812631a5cf5d3ed").unwrap();
    order.reverse();
    let scalar: &mut [u8; 32] = message.last_chunk_mut().unwrap();
    let mut carry = 0;
    for (byte, order) in scalar.iter_mut().zip(order) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        (*byte, carry) = (sum.to_le_bytes()[0], sum >> 8);
    }
    assert_eq!(carry, 0);
}

/// `R` is the identity and `S = k a`, so that `S B = R + k A` holds: only a strict verification refuses it.
#[cfg(feature = "alloc")]
fn sign_with_small_order(message: &mut [u8]) {
    let key = ed25519_dalek::SigningKey::from_bytes(&SENDER_SEED);
    let identity = [&[1][..], &[0; 31]].concat();
    let (signed, signature) = message.split_last_chunk_mut::<64>().unwrap();
    let hash = Sha512::new().chain_update(&identity).chain_update(key.verifying_key()).chain_update(&signed);
    let scalar = Scalar::from_hash(hash) * key.to_scalar();
    signature[..32].copy_from_slice(&identity);
    signature[32..].copy_from_slice(scalar.as_bytes());
    let forged = ed25519_dalek::Signature::from_bytes(signature);
    assert!(ed25519_dalek::Verifier::verify(&key.verifying_key(), signed, &forged).is_ok(), "it is valid otherwise");
}

#[test]
fn x25519_agrees_with_wycheproof() {
    let (mut agreed, mut all_zero) = (0, BTreeSet::new());
    for_each_agreement(|name, secret, public, shared| {
        assert_eq!(x25519_dalek::x25519(secret, public), shared, "{name}");
        agreed += 1;
        if shared == [0; 32] {
            all_zero.insert(public);
        }
    });
    assert_eq!(agreed, 518);
    // The points of small order, on the curve and on its twist, in all of their encodings.
    assert_eq!(all_zero.len(), 14);
}

#[test]
fn c2_keys_are_refused_exactly_when_they_agree_on_zero() {
    let (mut taken, mut refused) = (0, 0);
    for_each_agreement(|name, _, public, shared| {
        let key = C2PublicKey::from_bytes(&public);
        if shared == [0; 32] {
            assert_eq!(key, Err(KeyError::SmallOrder), "{name}");
            refused += 1;
        } else {
            assert_eq!(key.map(|key| *key.as_bytes()), Ok(public), "{name}");
            taken += 1;
        }
    });
    assert_eq!((taken, refused), (487, 31));
}

/// With the number of the test, the secret, the public key and what they agree on.
fn for_each_agreement(mut check: impl FnMut(usize, [u8; 32], [u8; 32], [u8; 32])) {
    let set = xdh::TestSet::load(xdh::TestName::X25519).unwrap();
    for test in set.test_groups.into_iter().flat_map(|group| group.tests) {
        let [secret, public, shared] =
            [test.private_key, test.public_key, test.shared_secret].map(|bytes| bytes[..].try_into().unwrap());
        assert_ne!(test.result, TestResult::Invalid, "{}", test.tc_id);
        check(test.tc_id, secret, public, shared);
    }
}

/// `V` and the ciphertext; `None` for a key size that `aes_siv` does not have.
fn siv_seal(key: &[u8], components: &[&[u8]], plaintext: &[u8]) -> Option<([u8; 16], Vec<u8>)> {
    let mut text = plaintext.to_vec();
    let tag = match key.len() {
        32 => Aes128Siv::new_from_slice(key).unwrap().encrypt_inout_detached(components, text.as_mut_slice().into()),
        64 => Aes256Siv::new_from_slice(key).unwrap().encrypt_inout_detached(components, text.as_mut_slice().into()),
        _ => return None,
    };
    Some((tag.unwrap().into(), text))
}

/// The plaintext, or what stands in its place when the text is not authentic.
fn siv_open(key: &[u8], components: &[&[u8]], tag: &[u8; 16], ciphertext: &[u8]) -> Option<Result<Vec<u8>, Vec<u8>>> {
    let (tag, mut text) = (Tag::from(*tag), ciphertext.to_vec());
    let buffer = text.as_mut_slice().into();
    let opened = match key.len() {
        32 => Aes128Siv::new_from_slice(key).unwrap().decrypt_inout_detached(components, buffer, &tag),
        64 => Aes256Siv::new_from_slice(key).unwrap().decrypt_inout_detached(components, buffer, &tag),
        _ => return None,
    };
    Some(if opened.is_ok() { Ok(text) } else { Err(text) })
}
