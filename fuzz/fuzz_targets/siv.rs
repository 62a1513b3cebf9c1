//! AES-SIV against a second implementation, both ways.
//!
//! The input is 32 bytes of topic key, 8 of time, one that chooses what is wrong with the message, and the payload.
#![no_main]

use e4::{ClientBuilder, GrowableKeyRing, MemoryStore, Mode, OpenError, Opened, Refusal, Topic};
use e4_fuzz::{
    Input, reference,
    world::{self, TestClock},
};
use libfuzzer_sys::fuzz_target;

const TOPIC: &str = "t";

fuzz_target!(|input: &[u8]| {
    let mut input = Input::new(input);
    // Above that it is no time.
    let (key, sent, damage) = (world::usable(input.array()), input.u64() % (1 << 33), input.u16());
    let payload = input.rest();
    let topic = Topic::new(TOPIC).unwrap();
    let mut client = ClientBuilder::<GrowableKeyRing>::new(world::identity(Mode::Symmetric))
        .topic_key(topic.hash(), world::topic_key(&key))
        .unwrap()
        .create_with(MemoryStore::new(), TestClock::new(true, sent))
        .unwrap();

    let sealed = client.seal(&topic, payload).unwrap();
    assert_eq!(sealed, reference::seal(&key, sent, payload));

    let mut damaged = sealed.clone();
    // Not in the time, which has checks of its own.
    let at = 8 + usize::from(damage >> 3) % (sealed.len() - 8);
    damaged[at] ^= 1 << (damage & 7);
    assert_eq!(client.open(&topic, &damaged), Err(OpenError::Refused(Refusal::NotAuthentic)));

    match client.open(&topic, &sealed) {
        Ok(Opened::Message(message)) => assert_eq!(message.payload, payload),
        other => panic!("{other:?}"),
    }
});
