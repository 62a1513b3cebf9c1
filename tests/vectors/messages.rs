//! Sealed messages: the same bytes as e4go's, and the payload back from them.

use crate::{
    Fixed, Level, Received, TOPIC, builder, client_id, create,
    format::{Key, e4go},
    public_key, symmetric, topic_hash, topic_key, verifying_key,
};
use e4::{ClientId, GrowableKeyRing, Identity, KeyRing, Mode, VerifyingKey};

#[test]
fn symmetric_messages_are_those_of_e4go() {
    let cases = e4go().symmetric_message;
    assert!(!cases.is_empty());
    for (at, case) in cases.iter().enumerate() {
        assert_eq!(case.protected.0.len(), case.payload.0.len() + Mode::Symmetric.overhead());
        let exchange = Exchange {
            name: format!("symmetric_message[{at}], payload of {} bytes", case.payload.0.len()),
            sender: symmetric("sender"),
            signer: None,
            receiver: symmetric("receiver"),
            topic_key: &case.topic_key,
            sent: case.timestamp,
            payload: &case.payload.0,
            protected: &case.protected.0,
        };
        exchange.check::<GrowableKeyRing>();
        exchange.check::<Fixed>();
    }
}

#[test]
fn signed_messages_are_those_of_e4go() {
    let cases = e4go().signed_message;
    assert!(!cases.is_empty());
    for (at, case) in cases.iter().enumerate() {
        assert_eq!(case.protected.0.len(), case.payload.0.len() + Mode::PublicKey.overhead());
        let signer = ClientId::from_bytes(case.signer_id.0);
        let exchange = Exchange {
            name: format!("signed_message[{at}], payload of {} bytes", case.payload.0.len()),
            sender: public_key(signer, &case.ed25519_seed.0),
            signer: Some((signer, verifying_key(&case.ed25519_public))),
            receiver: public_key(client_id("receiver"), &[2; 32]),
            topic_key: &case.topic_key,
            sent: case.timestamp,
            payload: &case.payload.0,
            protected: &case.protected.0,
        };
        exchange.check::<GrowableKeyRing>();
        exchange.check::<Fixed>();
    }
}

/// A message with both of its ends.
struct Exchange<'a> {
    name: String,
    sender: Identity,
    signer: Option<(ClientId, VerifyingKey)>,
    receiver: Identity,
    topic_key: &'a Key,
    sent: u64,
    payload: &'a [u8],
    protected: &'a [u8],
}

impl Exchange<'_> {
    fn check<R: KeyRing>(&self) {
        let with_key =
            |identity| builder::<R>(identity).topic_key(&topic_hash(TOPIC), topic_key(self.topic_key)).unwrap();
        for level in Level::ALL {
            let sender = create(with_key(&self.sender), self.sent);
            assert_eq!(sender.verifying_key(), self.signer.map(|(_, key)| key), "{}", self.name);
            let sealed = level.seal(&sender, TOPIC, self.payload);
            assert!(sealed == self.protected, "{}, sealed by {level:?}", self.name);

            let mut receiver = with_key(&self.receiver);
            if let Some((id, key)) = self.signer {
                receiver = receiver.peer(id, key).unwrap();
            }
            let opened = level.open(&mut create(receiver, self.sent), TOPIC, self.protected);
            let expected = Received::Message {
                payload: self.payload.to_vec(),
                sent: self.sent,
                age: Some(0),
                signer: self.signer.map(|(id, _)| id),
                previous_key: false,
            };
            assert!(opened == Ok(expected), "{}, opened by {level:?}", self.name);
        }
    }
}
