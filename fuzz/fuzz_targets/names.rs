//! Topics, filters, subtrees and ids against a matcher and a key derivation written by the letter.
//!
//! The input is text of up to four lines: a topic, a filter, another filter, an id in hexadecimal.
#![no_main]

use e4::{
    Client, ClientBuilder, ClientId, GrowableKeyRing, MemoryStore, Mode, NameError, RootKey, SealError, Subtree, Topic,
    TopicFilter, TopicHash,
};
use e4_fuzz::{
    matcher, reference,
    world::{self, TestClock},
};
use libfuzzer_sys::{Corpus, fuzz_target};

const ROOT: [u8; 32] = [0x77; 32];
const EPOCH: u64 = 3;

fuzz_target!(|input: &[u8]| -> Corpus {
    let Ok(text) = core::str::from_utf8(input) else {
        return Corpus::Reject;
    };
    let mut lines = text.split('\n');
    let [topic, filter, other, id] = core::array::from_fn(|_| lines.next().unwrap_or_default());
    check_names(topic, filter);
    check_id(id);
    check_client_id(topic);
    if let Ok(topic) = Topic::new(topic) {
        check_matching(&topic, filter);
        if let (Ok(subtree), Ok(narrower)) = (Subtree::new(filter), Subtree::new(other)) {
            check_nesting(&subtree, &narrower, &topic);
        }
    }
    Corpus::Keep
});

fn check_names(topic: &str, filter: &str) {
    for text in [topic, filter] {
        assert_eq!(Topic::new(text).is_ok(), matcher::is_topic(text));
        assert_eq!(TopicFilter::new(text).is_ok(), matcher::is_filter(text));
        assert_eq!(Subtree::new(text).is_ok(), matcher::is_subtree(text));
        if let Ok(topic) = Topic::new(text) {
            assert_eq!((topic.as_str(), *topic.hash().as_bytes()), (text, reference::short_hash(text)));
            let owned = topic.into_owned();
            assert_eq!((owned.as_str(), *owned.hash().as_bytes()), (text, reference::short_hash(text)));
        }
        if let Ok(subtree) = Subtree::new(text) {
            assert_eq!((subtree.as_str(), *subtree.hash().as_bytes()), (text, reference::short_hash(text)));
        }
    }
}

fn check_id(text: &str) {
    let parsed = text.parse::<ClientId>();
    assert_eq!(parsed.is_ok(), text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit()));
    assert_eq!(text.parse::<TopicHash>().map(|hash| *hash.as_bytes()), parsed.map(|id| *id.as_bytes()));
    if let Ok(id) = parsed {
        assert_eq!(id.to_string(), text.to_ascii_lowercase());
        assert_eq!(id.control_topic().as_str(), format!("e4/{id}"));
        assert_eq!(id.control_topic().hash(), *Topic::new(id.control_topic().as_str()).unwrap().hash());
    }
}

fn check_client_id(name: &str) {
    match ClientId::from_name(name) {
        Ok(id) => assert_eq!(*id.as_bytes(), reference::short_hash(name)),
        Err(error) => assert!(name.is_empty() && error == NameError::Empty),
    }
}

fn check_matching(topic: &Topic<'_>, filter: &str) {
    let Ok(checked) = TopicFilter::new(filter) else {
        return;
    };
    let matches = checked.matches(topic);
    assert_eq!(matches, matcher::matches(filter, topic.as_str()));
    if let Ok(subtree) = Subtree::new(filter) {
        check_coverage(&subtree, topic, matches);
    }
}

/// A subtree covers what its filter matches: its key gives the topic's key, and a client that has it seals.
fn check_coverage(subtree: &Subtree<'_>, topic: &Topic<'_>, matches: bool) {
    let root = RootKey::from_bytes(&ROOT).unwrap();
    let subtree_key = root.subtree_key(EPOCH, subtree);
    let namespace = reference::namespace_key(&ROOT, EPOCH);
    assert_eq!(*subtree_key.as_bytes(), reference::key_below(&namespace, subtree.as_str().strip_suffix("/#")));

    let topic_key = subtree_key.topic_key(subtree, topic);
    let expected = reference::topic_key_at(&reference::key_below(&namespace, Some(topic.as_str())));
    assert_eq!(topic_key.map(|key| *key.as_bytes()), if matches { Ok(expected) } else { Err(NameError::NotCovered) });
    assert_eq!(*root.topic_key(EPOCH, topic).as_bytes(), expected);

    let client: Client<GrowableKeyRing, _, _> = ClientBuilder::new(world::identity(Mode::Symmetric))
        .topic_key(subtree.hash(), world::topic_key(subtree_key.as_bytes()))
        .unwrap()
        .create_with(MemoryStore::new(), TestClock::new(true, 9))
        .unwrap();
    let sealed = client.seal(topic, b"payload");
    let expected = if matches { Ok(reference::seal(&expected, 9, b"payload")) } else { Err(SealError::NoTopicKey) };
    assert_eq!(sealed, expected);
}

/// A subtree's key gives the keys of the subtrees in it, and those cover nothing that it does not.
fn check_nesting(subtree: &Subtree<'_>, narrower: &Subtree<'_>, topic: &Topic<'_>) {
    let root = RootKey::from_bytes(&ROOT).unwrap();
    let covers = |subtree: &Subtree<'_>, name: &str| matcher::matches(subtree.as_str(), name);
    let derived = root.subtree_key(EPOCH, subtree).subtree_key(subtree, narrower);
    // `p/#` lies in a subtree that covers `p`; `#` lies in itself only.
    let is_nested = match narrower.as_str().strip_suffix("/#") {
        Some(prefix) => covers(subtree, prefix),
        None => subtree.as_str() == "#",
    };
    assert_eq!(derived.is_ok(), is_nested);
    if let Ok(derived) = derived {
        assert!(derived == root.subtree_key(EPOCH, narrower));
        assert!(!covers(narrower, topic.as_str()) || covers(subtree, topic.as_str()));
    }
}
