//! Commands as bytes, the good ones and the bad ones.

use crate::{
    cast,
    strategy::{Body, When},
    wire::short_hash,
};

/// The bytes of a command, with the times in it as they are at the moment.
pub(crate) fn body_bytes(body: &Body, resolve: &dyn Fn(When) -> u64) -> Vec<u8> {
    let hash = |place: &usize| short_hash(&cast::places()[*place]).to_vec();
    let key = |n: &Option<usize>| n.map_or([0; 32], cast::key).to_vec();
    match body {
        Body::RemoveTopic { place } => [vec![0], hash(place)].concat(),
        Body::ResetTopics => vec![1],
        Body::SetClientKey(n) => [vec![2], key(n)].concat(),
        Body::SetSigningKey { seed, public } => {
            [&[2], &seed.map_or([0; 32], cast::seed)[..], &cast::public(*public)].concat()
        }
        Body::SetTopicKey { code, place, key: n } => [vec![*code], key(n), hash(place)].concat(),
        Body::RemovePubKey(n) => [&[4], &cast::peer(*n)[..]].concat(),
        Body::ResetPubKeys => vec![5],
        Body::SetPubKey { peer, key } => {
            let public = key.map_or_else(|bad| cast::bad_publics()[bad].0, cast::public);
            [&[6], &public[..], &cast::peer(*peer)].concat()
        }
        Body::SetC2Key(key) => {
            [&[7], &key.map_or_else(|bad| cast::bad_c2_publics()[bad], cast::c2_public)[..]].concat()
        }
        Body::SetTime(when) => [&[10], &resolve(*when).to_le_bytes()[..]].concat(),
        Body::OneByteShort(body) => body_bytes(body, resolve).split_last().unwrap().1.to_vec(),
        Body::OneByteLong(body) => [body_bytes(body, resolve), vec![0]].concat(),
        Body::UnknownCode(code) => [vec![*code], vec![1; 16]].concat(),
        Body::Empty => Vec::new(),
        Body::LongerThanAnyCommand => [vec![3], vec![1; 65]].concat(),
    }
}
