//! Keys of the topic tree: derived by the key server, and by clients that hold a subtree key.

use crate::{
    Fixed, Level, Received, TestClient, builder, client_id, create,
    format::{BelowCase, Key, SubtreeKeyCase, derivation},
    symmetric, topic_key,
};
use e4::{
    AppliedCommand, ClientKey, Command, GrowableKeyRing, KeyRing, RootKey, Subtree, SubtreeKey, Timestamp, Topic,
    controller::Recipient,
};

const NOW: u64 = 1_800_000_000;

#[test]
fn topic_keys_follow_from_the_root_key() {
    let cases = derivation().topic_key;
    assert!(!cases.is_empty());
    for case in cases {
        let key = root_key(&case.root).topic_key(case.epoch, &topic(&case.topic));
        assert_eq!(Key(*key.as_bytes()), case.key, "{}", case.topic);
    }
}

#[test]
fn subtree_keys_follow_from_the_root_key() {
    for_each_subtree(|case, subtree, subtree_key| {
        let root = root_key(&case.root);
        assert_eq!(Key(*root.subtree_key(case.epoch, subtree).as_bytes()), case.key, "{}", case.filter);

        // A topic of the subtree has one key, whichever way it is derived.
        for below in &case.below {
            let name = format!("{} below {}", below.topic, case.filter);
            let from_root = root.topic_key(case.epoch, &topic(&below.topic));
            assert_eq!(Key(*from_root.as_bytes()), below.key, "{name}");
            let from_subtree = subtree_key.topic_key(subtree, &topic(&below.topic)).unwrap();
            assert_eq!(Key(*from_subtree.as_bytes()), below.key, "{name}");
        }
    });
}

#[test]
fn narrower_subtree_keys_follow_from_wider_ones() {
    for_each_subtree(|case, subtree, subtree_key| {
        for wider in enclosing_filters(subtree.as_str()) {
            let wider = Subtree::new(&wider).unwrap();
            let wider_key = root_key(&case.root).subtree_key(case.epoch, &wider);
            let derived = wider_key.subtree_key(&wider, subtree).unwrap();
            assert_eq!(derived, *subtree_key, "{subtree:?} from {wider:?}");
        }
    });
}

#[test]
fn a_client_with_the_subtree_key_understands_one_with_the_topic_key() {
    for_each_subtree(|case, subtree, subtree_key| {
        for below in &case.below {
            check_both_directions::<GrowableKeyRing>(subtree, subtree_key, below);
            check_both_directions::<Fixed>(subtree, subtree_key, below);
        }
    });
}

fn for_each_subtree(mut check: impl FnMut(&SubtreeKeyCase, &Subtree<'_>, &SubtreeKey)) {
    let cases = derivation().subtree_key;
    assert!(!cases.is_empty());
    assert!(cases.iter().any(|case| !case.below.is_empty()));
    for case in &cases {
        let key = SubtreeKey::from_bytes(&case.key.0).unwrap();
        check(case, &Subtree::new(&case.filter).unwrap(), &key);
    }
}

fn check_both_directions<R: KeyRing>(subtree: &Subtree<'_>, subtree_key: &SubtreeKey, below: &BelowCase) {
    let name = format!("{} below {}", below.topic, subtree.as_str());
    let of_topic = builder(&symmetric("of topic")).topic_key(topic(&below.topic).hash(), topic_key(&below.key));
    let mut of_topic: TestClient<R> = create(of_topic.unwrap(), NOW);
    let mut of_subtree: TestClient<R> = create(builder(&symmetric("of subtree")), NOW);
    send_subtree_key(&mut of_subtree, subtree, subtree_key);

    // The second message may find a key that was derived for the first.
    for payload in [b"first", b"again"] {
        deliver(&of_subtree, &mut of_topic, &below.topic, payload, &name);
    }
    for payload in [b"reply", b"other"] {
        deliver(&of_topic, &mut of_subtree, &below.topic, payload, &name);
    }
    let expected = of_topic.seal(&below.topic, b"payload");
    assert_eq!(of_subtree.seal(&below.topic, b"payload"), expected, "{name}");
}

fn send_subtree_key<R: KeyRing>(client: &mut TestClient<R>, subtree: &Subtree<'_>, key: &SubtreeKey) {
    let to_client = Recipient::symmetric(client_id("of subtree"), &ClientKey::from_bytes(&[1; 32]).unwrap());
    let command = Command::set_subtree_key(subtree, key);
    let sealed = to_client.seal_dated(&command, Timestamp::from_unix(NOW)).unwrap();
    let opened = Level::Vec.open(client, to_client.control_topic().as_str(), sealed.as_bytes());
    assert_eq!(opened, Ok(Received::Command(AppliedCommand::SetTopicKey(*subtree.hash()))));
}

fn deliver<R: KeyRing>(from: &TestClient<R>, to: &mut TestClient<R>, topic: &str, payload: &[u8], name: &str) {
    let sealed = from.seal(topic, payload).unwrap();
    let opened = Level::Vec.open(to, topic, &sealed);
    let expected =
        Received::Message { payload: payload.to_vec(), sent: NOW, age: Some(0), signer: None, previous_key: false };
    assert_eq!(opened, Ok(expected), "{name}, payload {payload:?}");
}

/// The filters of all subtrees around a subtree, itself included.
fn enclosing_filters(filter: &str) -> Vec<String> {
    let levels: Vec<_> = filter.split('/').collect();
    let mut filters: Vec<_> = (1..levels.len()).map(|count| levels[..count].join("/") + "/#").collect();
    if !filter.starts_with('$') {
        filters.push("#".into());
    }
    filters
}

fn root_key(key: &Key) -> RootKey {
    RootKey::from_bytes(&key.0).unwrap()
}

fn topic(name: &str) -> Topic<'_> {
    Topic::new(name).unwrap()
}
