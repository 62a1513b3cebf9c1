//! Reports, as the key server reads them.

use crate::{
    Level, Received, TestClient, builder, create,
    format::{Key, ReportCase, Short, report},
    symmetric, topic_key,
};
use e4::{
    C2PublicKey, ClientId, ClientKey, REPORT_LEN, SigningKey, Topic, TopicHash,
    controller::{Recipient, StateDigest, StateEntry, WhyRefused},
};
use sha3::{Digest, Sha3_256};

#[test]
fn reports_say_what_was_put_into_them() {
    let cases = report().report;
    assert!(!cases.is_empty());
    for (at, case) in cases.iter().enumerate() {
        let name = format!("report[{at}]");
        let id = ClientId::from_bytes(case.client_id.0);
        assert_eq!(id.report_topic().as_str(), case.topic, "{name}");
        let recipient = Recipient::symmetric(id, &ClientKey::from_bytes(&case.key.0).unwrap());
        assert_eq!(case.sealed.0.len(), REPORT_LEN, "{name}");
        let report = recipient.open_report(&case.sealed.0).unwrap();

        assert_eq!(report.sent.as_unix(), case.timestamp, "{name}");
        assert_eq!((report.newest.as_unix(), Short(report.newest_v)), (case.newest, case.newest_v), "{name}");
        let flags = [report.knows_next_keys, report.has_clock, report.has_learned_time, report.command_waits];
        assert_eq!(flags, [0, 1, 2, 3].map(|bit| case.flags >> bit & 1 == 1), "{name}");
        let refused = report.refused.map_or((0, 0), |refused| (number(refused.why), refused.sent.as_unix()));
        assert_eq!(refused, (case.refusal, case.refused_at), "{name}");
        assert_eq!((report.topics as usize, report.room.unwrap_or(u32::MAX)), (case.topics.len(), case.room), "{name}");
        assert_eq!(report.digest, digest(case), "{name}");
        assert_eq!(Short(*report.digest.as_bytes()), case.digest, "{name}");
    }
}

#[test]
fn report_keys_follow_from_the_keys_of_the_commands() {
    for case in report().report {
        // A report is laid out like a message, so whoever has the report key for a topic key opens it.
        let topic = Topic::new("any").unwrap();
        let with_report_key = builder(&symmetric("a")).topic_key(topic.hash(), topic_key(&case.report_key)).unwrap();
        let mut client: TestClient = create(with_report_key, case.timestamp);
        let opened = Level::Vec.open(&mut client, topic.as_str(), &case.sealed.0).unwrap();
        assert!(matches!(opened, Received::Message { payload, .. } if payload == case.body.0));
    }
}

fn digest(case: &ReportCase) -> StateDigest {
    let mut digest = StateDigest::default();
    for entry in &case.topics {
        let topic = TopicHash::from_bytes(entry.hash.0);
        digest.toggle(StateEntry::TopicKey(&topic, &topic_key(&entry.key)));
        if let Some(next) = &entry.next {
            digest.toggle(StateEntry::NextTopicKey(&topic, &topic_key(next)));
        }
    }
    if let Some(key) = &case.c2_public_key {
        digest.toggle(StateEntry::C2Key(&C2PublicKey::from_bytes(&key.0).unwrap()));
    }
    // Among the peers' keys are random bytes, which are no keys here.
    let peers = case.peers.iter().map(|peer| peer_entry(&peer.id, &peer.public_key));
    xor(digest, peers)
}

#[test]
fn a_peer_is_an_entry_of_the_digest_as_in_the_vectors() {
    let (id, key) = (Short([7; 16]), SigningKey::from_seed(&[1; 32]).unwrap().verifying_key());
    let digest = StateDigest::of([StateEntry::PubKey(&ClientId::from_bytes(id.0), &key)]);
    assert_eq!(digest, xor(StateDigest::default(), [peer_entry(&id, &Key(*key.as_bytes()))]));
}

fn peer_entry(id: &Short, key: &Key) -> [u8; 32] {
    Sha3_256::new().chain_update([0x06]).chain_update(id.0).chain_update(key.0).finalize().into()
}

fn xor(digest: StateDigest, entries: impl IntoIterator<Item = [u8; 32]>) -> StateDigest {
    let mut bytes = *digest.as_bytes();
    for entry in entries {
        bytes.iter_mut().zip(entry).for_each(|(byte, other)| *byte ^= other);
    }
    StateDigest::from_bytes(bytes)
}

/// The number by which the protocol names it.
fn number(why: WhyRefused) -> u8 {
    match why {
        WhyRefused::NoRoomForTopics => 1,
        WhyRefused::NoRoomForPeers => 2,
        WhyRefused::TooManyInOneSecond => 3,
        WhyRefused::Content => 4,
        WhyRefused::Age => 5,
        WhyRefused::Superseded => 6,
        WhyRefused::NotStored => 7,
        _ => panic!("a reason that the vectors do not know"),
    }
}
