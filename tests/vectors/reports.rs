//! Reports, as clients make them and as the key server reads them.

use crate::{
    At, Level, Received, TestClient, builder, create,
    format::{Key, ReportCase, Short, report},
    symmetric, topic_key,
};
use e4::{
    C2PublicKey, Client, ClientId, ClientKey, GrowableKeyRing, MemoryStore, REPORT_LEN, SigningKey, Topic, TopicHash,
    controller::{Recipient, StateDigest, StateEntry, WhyRefused},
};
use minicbor::{Encoder, encode::write::Cursor};
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

/// Of the peers and the key server's key there is no client here: nobody knows the secrets that would agree on the control key.
#[test]
fn clients_report_what_the_vectors_say() {
    let cases = report().report;
    assert!(!cases.is_empty());
    for (at, case) in cases.iter().enumerate() {
        let stored = MemoryStore::from_bytes(stored_state(case));
        let client = Client::<GrowableKeyRing, _, _>::load_with(stored, At(case.timestamp)).unwrap();
        let sealed = client.report();

        // What this client has in common with that of the vectors.
        let mut expected = case.body.0.clone();
        expected[1] = 0b11;
        if !(1..6).contains(&case.refusal) {
            expected[2] = 0;
            expected[27..35].fill(0);
        }
        expected[35..51].copy_from_slice(digest_of_topics(case).as_bytes());
        expected[55..].fill(0xff);

        let any = Topic::new("any").unwrap();
        let with_report_key = builder(&symmetric("a")).topic_key(any.hash(), topic_key(&case.report_key)).unwrap();
        let mut reader: TestClient = create(with_report_key, case.timestamp);
        let opened = Level::Vec.open(&mut reader, any.as_str(), &sealed).unwrap();
        let Received::Message { payload, sent, .. } = opened else { panic!("a command") };
        assert_eq!((payload, sent), (expected.clone(), case.timestamp), "report[{at}]");
        if expected == case.body.0 {
            assert_eq!(sealed, case.sealed.0, "report[{at}]");
        }
    }
}

/// The state of a symmetric client as version 3 stores it.
fn stored_state(case: &ReportCase) -> Vec<u8> {
    let mut buffer = vec![0; 1 << 16];
    let mut e = Encoder::new(Cursor::new(&mut buffer[..]));
    let mut write = || -> Result<(), minicbor::encode::Error<_>> {
        e.map(10)?.u8(0)?.bytes(&case.client_id.0)?.u8(1)?.array(1)?.bytes(&case.key.0)?;
        e.u8(2)?.array(4)?.u64(600)?.u64(60)?.null()?.bool(false)?.u8(3)?.begin_array()?.end()?;
        e.u8(4)?.begin_array()?;
        for topic in &case.topics {
            e.array(if topic.next.is_some() { 3 } else { 2 })?.bytes(&topic.hash.0)?.bytes(&topic.key.0)?;
            if let Some(next) = &topic.next {
                e.bytes(&next.0)?;
            }
        }
        e.end()?.u8(5)?.begin_array()?.end()?.u8(6)?;
        match case.newest {
            0 => e.null()?,
            newest => e.array(2)?.u64(newest)?.begin_array()?.bytes(&[9; 16])?.bytes(&case.newest_v.0)?.end()?,
        };
        e.u8(7)?.null()?.u8(8)?.null()?.u8(9)?;
        match case.refusal {
            1..6 => e.array(2)?.u8(case.refusal)?.u64(case.refused_at)?,
            _ => e.null()?,
        };
        Ok(())
    };
    write().unwrap();
    let len = e.writer().position();
    let framed = [b"e4state\x03", &buffer[..len]].concat();
    [&framed[..], &Sha3_256::digest(&framed)].concat()
}

fn digest_of_topics(case: &ReportCase) -> StateDigest {
    let mut digest = StateDigest::default();
    for entry in &case.topics {
        let topic = TopicHash::from_bytes(entry.hash.0);
        digest.toggle(StateEntry::TopicKey(&topic, &topic_key(&entry.key)));
        if let Some(next) = &entry.next {
            digest.toggle(StateEntry::NextTopicKey(&topic, &topic_key(next)));
        }
    }
    digest
}

fn digest(case: &ReportCase) -> StateDigest {
    let mut digest = digest_of_topics(case);
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
