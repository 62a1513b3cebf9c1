//! The state of a client as bytes.
//!
//! ```text
//! offset 0         7         8             end - 32
//!        "e4state" | version | CBOR map    | SHA3-256 of all before it (32)
//! ```
//!
//! The frame is the same in all versions. Version 3 has these entries, all of them, in this order. Version 2 ends with entry
//! 8, version 1 with entry 6, and both have no next keys.
//!
//! | key | value |
//! |---|---|
//! | 0 | client id (bytes, 16) |
//! | 1 | `[client key (32)]` or `[Ed25519 seed (32), C2 public key (32)]` |
//! | 2 | `[max_age or null, max_ahead, command_max_age or null, report repeated messages]`; ages in s, null is any |
//! | 3 | `[[filter (text), max_age or null], …]` |
//! | 4 | `[[topic hash (16), key (32)], [topic hash, key, next key (32)], [topic hash, key, previous key (32), replaced (Unix s)], …]` |
//! | 5 | `[[client id (16), Ed25519 public key (32)], …]` |
//! | 6 | `[newest command (Unix s), [V (16), …]]` or null |
//! | 7 | the mark of the keys that the client was enrolled with (bytes, 8), or null if that is not known |
//! | 8 | the latest time seen while there is a previous key (Unix s), or null |
//! | 9 | `[why (1 to 5), sent (Unix s)]` of the newest command refused since the newest accepted one, or null |

use super::{
    Change, Effect, Enrolment, Identity, IdentityKeys, Options, Repeated, State, StateError, order::is_stored,
};
use crate::{
    filter::TopicFilter,
    key_ring::{AcceptedTags, AgeRules, Full, KeyRing, MaxAge, NoRoom, Spare, SpareKey, Table, TopicEntry},
    keys::{C2PublicKey, ClientKey, KeyError, SigningKey, TopicKey, VerifyingKey},
    names::{ClientId, NameError, TopicHash},
    report::{RefusedCommand, WhyRefused},
    store::{Sink, StoreError},
    time::Timestamp,
};
use minicbor::{Decoder, Encoder, encode::Write};
use sha3::{Digest, Sha3_256};

const MAGIC: &[u8; 7] = b"e4state";
const VERSION: u8 = 3;
/// Versions that are read and no longer written.
const OLDEST_VERSION: u8 = 1;
const CHECKSUM_LEN: usize = 32;
const fn entries(version: u8) -> u64 {
    match version {
        1 => 7,
        2 => 9,
        _ => 10,
    }
}

/// Passes an encoding on to a store, and hashes it on the way.
struct Summing<'a, 's> {
    to: &'a mut Sink<'s>,
    sum: Sha3_256,
}

impl Write for Summing<'_, '_> {
    type Error = StoreError;

    fn write_all(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.sum.update(bytes);
        (self.to)(bytes)
    }
}

type E<'a, 's> = Encoder<Summing<'a, 's>>;
type EncodeError = minicbor::encode::Error<StoreError>;

/// Writes the state as it will be once the change is carried out.
pub(crate) fn encode<R: KeyRing>(state: &State<R>, change: &Change, to: &mut Sink<'_>) -> Result<(), StoreError> {
    let mut framed = Summing { to, sum: Sha3_256::new() };
    framed.write_all(MAGIC)?;
    framed.write_all(&[VERSION])?;
    let mut encoder = Encoder::new(framed);
    encode_body(state, change, &mut encoder)
        .map_err(|error| error.into_write().unwrap_or(StoreError::Other("the state could not be encoded")))?;
    let Summing { to, sum } = encoder.into_writer();
    to(&sum.finalize())
}

fn encode_body<R: KeyRing>(state: &State<R>, change: &Change, e: &mut E<'_, '_>) -> Result<(), EncodeError> {
    e.map(entries(VERSION))?;
    e.u8(0)?.bytes(state.identity.id().as_bytes())?;

    e.u8(1)?;
    let keys = match &change.effect {
        Effect::SetIdentityKeys(keys) => keys,
        _ => state.identity.keys(),
    };
    match keys {
        IdentityKeys::Symmetric(key) => e.array(1)?.bytes(key.as_bytes())?,
        IdentityKeys::PublicKey { signing, c2, .. } => e.array(2)?.bytes(signing.as_seed())?.bytes(c2.as_bytes())?,
    };

    let options = &state.options;
    e.u8(2)?.array(4)?;
    encode_max_age(options.max_age, e)?;
    e.u64(options.max_ahead)?;
    encode_max_age(options.command_max_age, e)?;
    e.bool(options.repeated == Repeated::Report)?;

    e.u8(3)?.begin_array()?;
    for (filter, max_age) in state.ages.stored() {
        e.array(2)?.str(filter)?;
        encode_max_age(max_age, e)?;
    }
    e.end()?;

    e.u8(4)?.begin_array()?;
    let kept = |topic: &TopicHash| match &change.effect {
        Effect::ClearTopics => false,
        Effect::RemoveTopic(other) | Effect::PutTopic(other, _) => topic != other,
        _ => true,
    };
    for (topic, entry) in state.topics.iter().filter(|(topic, _)| kept(topic)) {
        encode_topic(topic, entry, e)?;
    }
    if let Effect::PutTopic(topic, entry) = &change.effect {
        encode_topic(topic, entry, e)?;
    }
    e.end()?;

    e.u8(5)?.begin_array()?;
    let kept = |client: &ClientId| match &change.effect {
        Effect::ClearPeers => false,
        Effect::RemovePeer(other) | Effect::PutPeer(other, _) => client != other,
        _ => true,
    };
    for (client, key) in state.peers.iter().filter(|(client, _)| kept(client)) {
        e.array(2)?.bytes(client.as_bytes())?.bytes(key.as_bytes())?;
    }
    if let Effect::PutPeer(client, key) = &change.effect {
        e.array(2)?.bytes(client.as_bytes())?.bytes(key.as_bytes())?;
    }
    e.end()?;

    e.u8(6)?;
    let accepted = state.order.accepted.as_slice();
    match (change.command, state.order.newest) {
        (Some((sent, tag)), newest) => {
            let earlier = if newest == Some(sent) { accepted } else { &[] };
            e.array(2)?.u64(sent.as_unix())?.begin_array()?;
            for earlier in earlier {
                e.bytes(earlier)?;
            }
            e.bytes(&tag)?.end()?;
        }
        (None, Some(newest)) => {
            e.array(2)?.u64(newest.as_unix())?.begin_array()?;
            for tag in accepted {
                e.bytes(tag)?;
            }
            e.end()?;
        }
        (None, None) => {
            e.null()?;
        }
    }

    e.u8(7)?;
    match state.enrolled {
        Enrolment::UNKNOWN => e.null()?,
        known => e.bytes(known.as_bytes())?,
    };

    e.u8(8)?;
    match state.latest {
        Some(latest) => e.u64(latest.as_unix())?,
        None => e.null()?,
    };

    e.u8(9)?;
    match state.order.refused().filter(|refused| change.command.is_none() && is_stored(refused)) {
        Some(RefusedCommand { why, sent }) => e.array(2)?.u8(why.code())?.u64(sent.as_unix())?,
        None => e.null()?,
    };
    Ok(())
}

fn encode_max_age(max_age: MaxAge, e: &mut E<'_, '_>) -> Result<(), EncodeError> {
    match max_age {
        MaxAge::Seconds(seconds) => e.u64(seconds)?,
        MaxAge::Any => e.null()?,
    };
    Ok(())
}

fn encode_topic(topic: &TopicHash, entry: &TopicEntry, e: &mut E<'_, '_>) -> Result<(), EncodeError> {
    let role = entry.spare.as_ref().map(|spare| spare.role);
    e.array(match role {
        None => 2,
        Some(Spare::Next) => 3,
        Some(Spare::Previous { .. }) => 4,
    })?;
    e.bytes(topic.as_bytes())?;
    for key in entry.keys() {
        e.bytes(key.as_bytes())?;
    }
    if let Some(Spare::Previous { replaced }) = role {
        e.u64(replaced.as_unix())?;
    }
    Ok(())
}

/// A [`StateError`] on its way out. A type of its own, so that the public one does not convert from those of others.
struct Refused(StateError);

const INVALID: Refused = Refused(StateError::Invalid);

impl From<minicbor::decode::Error> for Refused {
    fn from(_: minicbor::decode::Error) -> Self {
        INVALID
    }
}

impl From<KeyError> for Refused {
    fn from(_: KeyError) -> Self {
        INVALID
    }
}

impl From<NameError> for Refused {
    fn from(_: NameError) -> Self {
        INVALID
    }
}

impl From<Full> for Refused {
    fn from(full: Full) -> Self {
        Self(StateError::Full(full))
    }
}

/// Reads a state that [`encode`] wrote.
pub(crate) fn decode<R: KeyRing>(bytes: &[u8]) -> Result<State<R>, StateError> {
    if !bytes.starts_with(MAGIC) {
        return Err(StateError::NotAState);
    }
    let Some((framed, sum)) = bytes.split_last_chunk::<CHECKSUM_LEN>() else {
        return Err(StateError::Damaged);
    };
    if <[u8; CHECKSUM_LEN]>::from(Sha3_256::digest(framed)) != *sum {
        return Err(StateError::Damaged);
    }
    let (version, body) = match framed.strip_prefix(MAGIC).and_then(<[u8]>::split_first) {
        Some((&version @ OLDEST_VERSION..=VERSION, body)) => (version, body),
        Some((&version, _)) if version > VERSION => return Err(StateError::NewerVersion(version)),
        _ => return Err(StateError::Invalid),
    };
    let mut d = Decoder::new(body);
    let state = decode_body(version, &mut d).map_err(|Refused(error)| error)?;
    if d.position() == body.len() { Ok(state) } else { Err(StateError::Invalid) }
}

fn decode_body<R: KeyRing>(version: u8, d: &mut Decoder<'_>) -> Result<State<R>, Refused> {
    expect(d.map()? == Some(entries(version)))?;

    entry(d, 0)?;
    let id = ClientId::from_bytes(*array(d)?);

    entry(d, 1)?;
    let identity = match d.array()? {
        Some(1) => Identity::symmetric(id, ClientKey::from_bytes(array(d)?)?),
        Some(2) => Identity::public_key(id, SigningKey::from_seed(array(d)?)?, C2PublicKey::from_bytes(array(d)?)?)?,
        _ => return Err(INVALID),
    };
    let mut state = State::<R>::new(identity);

    entry(d, 2)?;
    expect(d.array()? == Some(4))?;
    state.options = Options {
        max_age: decode_max_age(d)?,
        max_ahead: d.u64()?,
        command_max_age: decode_max_age(d)?,
        repeated: if d.bool()? { Repeated::Report } else { Repeated::Refuse },
    };

    entry(d, 3)?;
    each(d, |d| {
        expect(d.array()? == Some(2))?;
        let filter = d.str()?;
        TopicFilter::new(filter)?;
        expect(state.ages.iter().all(|(other, _)| other != filter))?;
        let max_age = decode_max_age(d)?;
        state.ages.set(filter, max_age).map_err(|NoRoom| Full::AgeRules.into())
    })?;

    entry(d, 4)?;
    each(d, |d| {
        let fields = d.array()?;
        let topic = TopicHash::from_bytes(*array(d)?);
        expect(state.topics.get(&topic).is_none() && topic != *state.identity.control())?;
        let key = TopicKey::from_bytes(array(d)?)?;
        let mut entry = TopicEntry::new(key);
        if fields != Some(2) {
            let spare = TopicKey::from_bytes(array(d)?)?;
            let role = match fields {
                Some(3) if version >= 3 => Spare::Next,
                Some(4) => Spare::Previous { replaced: time(d)? },
                _ => return Err(INVALID),
            };
            entry.spare = Some(SpareKey { key: spare, role });
        }
        state.topics.insert(topic, entry).map_err(|NoRoom| Full::Topics.into())
    })?;

    entry(d, 5)?;
    each(d, |d| {
        expect(d.array()? == Some(2) && state.identity.mode() == crate::message::Mode::PublicKey)?;
        let client = ClientId::from_bytes(*array(d)?);
        expect(state.peers.get(&client).is_none())?;
        let key = VerifyingKey::from_bytes(array(d)?)?;
        state.peers.insert(client, key).map_err(|NoRoom| Full::Peers.into())
    })?;

    entry(d, 6)?;
    if !is_null(d)? {
        expect(d.array()? == Some(2))?;
        state.order.newest = Some(time(d)?);
        each(d, |d| {
            let tag = *array(d)?;
            expect(!state.order.accepted.as_slice().contains(&tag))?;
            state.order.accepted.push(tag).map_err(|NoRoom| Full::Commands.into())
        })?;
    }

    if state.shares_a_key() {
        return Err(Refused(StateError::SharedKey));
    }

    state.enrolled = Enrolment::UNKNOWN;
    if version > 1 {
        entry(d, 7)?;
        if !is_null(d)? {
            state.enrolled = Enrolment::from_bytes(*array(d)?);
            expect(state.enrolled != Enrolment::UNKNOWN)?;
        }
        entry(d, 8)?;
        if !is_null(d)? {
            state.latest = Some(time(d)?);
        }
    }
    if version > 2 {
        entry(d, 9)?;
        if !is_null(d)? {
            expect(d.array()? == Some(2))?;
            let why = WhyRefused::of_code(d.u8()?).ok_or(INVALID)?;
            let refused = RefusedCommand { why, sent: time(d)? };
            expect(is_stored(&refused))?;
            state.order.set_refused(refused);
        }
    }
    Ok(state)
}

/// Reads the elements of an array of unknown length.
fn each<'b>(
    d: &mut Decoder<'b>,
    mut element: impl FnMut(&mut Decoder<'b>) -> Result<(), Refused>,
) -> Result<(), Refused> {
    expect(d.array()?.is_none())?;
    while d.datatype()? != minicbor::data::Type::Break {
        element(d)?;
    }
    // Passes over the break.
    d.set_position(d.position().saturating_add(1));
    Ok(())
}

/// The key of the next entry.
fn entry(d: &mut Decoder<'_>, key: u8) -> Result<(), Refused> {
    expect(d.u8()? == key)
}

/// Passes over the null that stands for nothing, if it is there.
fn is_null(d: &mut Decoder<'_>) -> Result<bool, Refused> {
    let is_null = d.datatype()? == minicbor::data::Type::Null;
    if is_null {
        d.null()?;
    }
    Ok(is_null)
}

fn time(d: &mut Decoder<'_>) -> Result<Timestamp, Refused> {
    Ok(Timestamp::from_unix(d.u64()?))
}

fn expect(holds: bool) -> Result<(), Refused> {
    if holds { Ok(()) } else { Err(INVALID) }
}

fn array<'b, const N: usize>(d: &mut Decoder<'b>) -> Result<&'b [u8; N], Refused> {
    d.bytes()?.try_into().map_err(|_| INVALID)
}

fn decode_max_age(d: &mut Decoder<'_>) -> Result<MaxAge, Refused> {
    Ok(if is_null(d)? { MaxAge::Any } else { MaxAge::Seconds(d.u64()?) })
}
