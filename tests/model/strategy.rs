//! What can happen, and how often.

use crate::cast::{
    C2_SECRETS, KEYS, PEERS, SEEDS, SUBTREES, TOPICS, bad_c2_publics, bad_publics, delivery_topics, filters, places,
};
use e4::{MaxAge, Options, Repeated, controller::Lane};
use proptest::{collection::vec, option, prelude::*, sample::select};

/// Numbers are those of the cast.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    Command {
        body: Body,
        sent: When,
        under: CommandKey,
    },
    /// So many different commands of one second.
    Commands {
        count: usize,
        sent: When,
    },
    /// So many different commands that belong together, by the key server's lane.
    ByLane {
        count: usize,
    },
    Message {
        topic: usize,
        payload: usize,
        sent: When,
        key: TopicKeyChoice,
        signer: Signer,
        damage: Damage,
    },
    /// So many messages of one second, by two signers in turn, who both send each payload.
    Messages {
        topic: usize,
        count: usize,
        sent: When,
    },
    /// Something from before, counted from the latest, on its own topic or another one.
    Redeliver {
        which: usize,
        topic: Option<usize>,
    },
    Garbage {
        topic: usize,
        bytes: Vec<u8>,
    },
    Seal {
        topic: usize,
        payload: usize,
    },
    MoveClock(i64),
    SetOptions(Options),
    SetMaxAge(usize, MaxAge),
    RemoveMaxAge(usize),
    RefuseSentUntil(When),
    EraseExpiredKeys,
    Restart,
}

#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) action: Action,
    pub(crate) store_works: bool,
    pub(crate) open_by: OpenBy,
    /// The topic whose current key is compared afterwards. Not every time: sealing takes long.
    pub(crate) look_at: Option<usize>,
}

/// Which of the three calls opens.
#[derive(Clone, Copy, Debug)]
pub(crate) enum OpenBy {
    Vec,
    Into,
    InPlace,
}

#[derive(Clone, Debug)]
pub(crate) enum Body {
    RemoveTopic {
        place: usize,
    },
    ResetTopics,
    /// `None` is the all-zero key, here and below.
    SetTopicKey {
        /// That of one of the three commands that bring a topic key.
        code: u8,
        place: usize,
        key: Option<usize>,
    },
    SetClientKey(Option<usize>),
    SetSigningKey {
        seed: Option<usize>,
        public: usize,
    },
    RemovePubKey(usize),
    ResetPubKeys,
    /// The key is that of a seed or a bad one.
    SetPubKey {
        peer: usize,
        key: Result<usize, usize>,
    },
    SetC2Key(Result<usize, usize>),
    SetTime(When),
    OneByteShort(Box<Body>),
    OneByteLong(Box<Body>),
    UnknownCode(u8),
    Empty,
    LongerThanAnyCommand,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum CommandKey {
    Right,
    /// A key of the cast, which the client may have had before.
    Symmetric(usize),
    /// The control key of a client's seed and a C2 key, likewise.
    Control {
        seed: usize,
        c2: usize,
    },
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum TopicKeyChoice {
    Current,
    Spare,
    /// A key of the cast as it is.
    Exact(usize),
    /// The topic key that follows from a key of the cast for a subtree.
    Below {
        subtree: usize,
        key: usize,
    },
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Signer {
    pub(crate) peer: usize,
    pub(crate) seed: usize,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Damage {
    None,
    CutTo(usize),
    FlipBit(usize),
    /// The signature's scalar plus the order of the group: verifies unless non-canonical scalars are refused.
    MalleatedSignature,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum When {
    /// Seconds from the client's time.
    Now(i64),
    /// Seconds from the newest command.
    NewestCommand(i64),
    Unix(u64),
}

/// How a client is at the start. Public keys are ignored by symmetric clients.
#[derive(Clone, Debug)]
pub(crate) struct Start {
    pub(crate) options: Options,
    pub(crate) has_clock: bool,
    pub(crate) topics: Vec<StartTopic>,
    pub(crate) peers: usize,
}

#[derive(Clone, Debug)]
pub(crate) struct StartTopic {
    pub(crate) place: usize,
    pub(crate) key: usize,
    /// The key before, and how many seconds ago it was replaced; negative where the clock was set back since.
    pub(crate) previous: Option<(usize, i64)>,
}

pub(crate) fn starts() -> impl Strategy<Value = Start> {
    // The last place is the control topic.
    let place = prop_oneof![usual_places(), 0..places().len() - 1];
    let topic = (place, 0..KEYS, option::of((0..KEYS, select(vec![0, 3500, 3600, 3601, -3600, -3601]))))
        .prop_map(|(place, key, previous)| StartTopic { place, key, previous });
    let options = prop_oneof![Just(Options::default()), options()];
    let peers = prop_oneof![Just(0), Just(1), Just(2), Just(2), Just(2)];
    (options, prop::bool::weighted(0.7), vec(topic, 0..=2), peers)
        .prop_map(|(options, has_clock, topics, peers)| Start { options, has_clock, topics, peers })
}

pub(crate) fn steps(max: usize, in_public_key_mode: bool) -> impl Strategy<Value = Vec<Step>> {
    let open_by = prop_oneof![Just(OpenBy::Vec), Just(OpenBy::Into), Just(OpenBy::InPlace)];
    let step = (actions(in_public_key_mode), prop::bool::weighted(0.8), open_by, option::of(0..TOPICS.len()))
        .prop_map(|(action, store_works, open_by, look_at)| Step { action, store_works, open_by, look_at });
    vec(step, 1..=max)
}

fn actions(in_public_key_mode: bool) -> impl Strategy<Value = Action> {
    prop_oneof![
        28 => (bodies(in_public_key_mode), command_times(), command_keys())
            .prop_map(|(body, sent, under)| Action::Command { body, sent, under }),
        1 => (1..20_usize, command_times()).prop_map(|(count, sent)| Action::Commands { count, sent }),
        3 => (1..=usize::from(Lane::PER_SECOND)).prop_map(|count| Action::ByLane { count }),
        28 => (topics(), 0..4_usize, message_times(), topic_keys(), signers(), damages()).prop_map(
            |(topic, payload, sent, key, signer, damage)| Action::Message { topic, payload, sent, key, signer, damage }
        ),
        3 => (topics(), 1..10_usize, message_times())
            .prop_map(|(topic, count, sent)| Action::Messages { topic, count, sent }),
        14 => (0..12_usize, option::weighted(0.3, topics()))
            .prop_map(|(which, topic)| Action::Redeliver { which, topic }),
        1 => (topics(), vec(any::<u8>(), 0..120)).prop_map(|(topic, bytes)| Action::Garbage { topic, bytes }),
        7 => (topics(), 0..4_usize).prop_map(|(topic, payload)| Action::Seal { topic, payload }),
        1 => (0..delivery_topics().len()).prop_map(|topic| Action::Seal { topic, payload: 0 }),
        12 => clock_moves().prop_map(Action::MoveClock),
        1 => options().prop_map(Action::SetOptions),
        8 => (prop_oneof![2 => 0..2_usize, 2 => 2..4_usize, 1 => 0..filters().len()], max_ages())
            .prop_map(|(filter, age)| Action::SetMaxAge(filter, age)),
        1 => (0..filters().len()).prop_map(Action::RemoveMaxAge),
        3 => floors().prop_map(Action::RefuseSentUntil),
        2 => Just(Action::EraseExpiredKeys),
        4 => Just(Action::Restart),
    ]
}

/// Few topics most of the time, so that they have keys.
fn topics() -> impl Strategy<Value = usize> {
    prop_oneof![12 => 0..2_usize, 5 => 0..TOPICS.len(), 1 => 0..delivery_topics().len()]
}

fn bodies(in_public_key_mode: bool) -> impl Strategy<Value = Body> {
    let (of_public_key_mode, of_symmetric_mode) = if in_public_key_mode { (30, 1) } else { (4, 8) };
    let whole = prop_oneof![
        48 => (codes(), places_and_keys())
            .prop_map(|(code, (place, key))| Body::SetTopicKey { code, place, key: Some(key) }),
        1 => (codes(), 0..places().len()).prop_map(|(code, place)| Body::SetTopicKey { code, place, key: None }),
        8 => (0..places().len()).prop_map(|place| Body::RemoveTopic { place }),
        6 => told_times().prop_map(Body::SetTime),
        2 => Just(Body::ResetTopics),
        of_symmetric_mode => option::weighted(0.8, 0..KEYS).prop_map(Body::SetClientKey),
        of_public_key_mode => public_key_bodies(),
    ];
    prop_oneof![
        30 => whole.clone(),
        1 => whole.clone().prop_map(|body| Body::OneByteShort(body.into())),
        1 => whole.prop_map(|body| Body::OneByteLong(body.into())),
        1 => (11..=255_u8).prop_map(Body::UnknownCode),
        1 => prop_oneof![Just(Body::Empty), Just(Body::LongerThanAnyCommand)],
    ]
}

fn public_key_bodies() -> impl Strategy<Value = Body> + Clone {
    let peers = || 0..PEERS;
    prop_oneof![
        8 => peers().prop_map(|peer| Body::SetPubKey { peer, key: Ok(peer) }),
        4 => (peers(), 0..SEEDS).prop_map(|(peer, seed)| Body::SetPubKey { peer, key: Ok(seed) }),
        2 => (peers(), 0..bad_publics().len()).prop_map(|(peer, bad)| Body::SetPubKey { peer, key: Err(bad) }),
        3 => peers().prop_map(Body::RemovePubKey),
        1 => Just(Body::ResetPubKeys),
        2 => (0..SEEDS).prop_map(|seed| Body::SetSigningKey { seed: Some(seed), public: seed }),
        1 => (option::of(0..SEEDS), 0..SEEDS).prop_map(|(seed, public)| Body::SetSigningKey { seed, public }),
        2 => (0..C2_SECRETS).prop_map(|c2| Body::SetC2Key(Ok(c2))),
        1 => (0..bad_c2_publics().len()).prop_map(|bad| Body::SetC2Key(Err(bad))),
    ]
}

/// Of the commands that bring a topic key.
fn codes() -> impl Strategy<Value = u8> + Clone {
    prop_oneof![3 => Just(3), 3 => Just(8), 1 => Just(9)]
}

fn places_and_keys() -> impl Strategy<Value = (usize, usize)> + Clone {
    (prop_oneof![3 => usual_places(), 1 => 0..places().len()], 0..KEYS)
}

/// Few places most of the time, so that keys are replaced.
fn usual_places() -> impl Strategy<Value = usize> + Clone {
    let number = |text| places().iter().position(|place| place == text).unwrap();
    select(["p/7", "p/7/x", "p/#", "#"].map(number).to_vec())
}

fn command_keys() -> impl Strategy<Value = CommandKey> {
    prop_oneof![
        20 => Just(CommandKey::Right),
        1 => (0..KEYS).prop_map(CommandKey::Symmetric),
        1 => (0..SEEDS, 0..C2_SECRETS).prop_map(|(seed, c2)| CommandKey::Control { seed, c2 }),
    ]
}

fn topic_keys() -> impl Strategy<Value = TopicKeyChoice> {
    prop_oneof![
        10 => Just(TopicKeyChoice::Current),
        5 => Just(TopicKeyChoice::Spare),
        1 => (0..KEYS).prop_map(TopicKeyChoice::Exact),
        2 => (0..SUBTREES.len(), 0..KEYS).prop_map(|(subtree, key)| TopicKeyChoice::Below { subtree, key }),
    ]
}

fn signers() -> impl Strategy<Value = Signer> {
    prop_oneof![
        8 => (0..2_usize).prop_map(|n| Signer { peer: n, seed: n }),
        2 => (0..PEERS, 0..SEEDS).prop_map(|(peer, seed)| Signer { peer, seed }),
    ]
}

fn damages() -> impl Strategy<Value = Damage> {
    prop_oneof![
        16 => Just(Damage::None),
        1 => (0..130_usize).prop_map(Damage::CutTo),
        2 => (0..1200_usize).prop_map(Damage::FlipBit),
        1 => Just(Damage::MalleatedSignature),
    ]
}

fn command_times() -> impl Strategy<Value = When> {
    prop_oneof![
        8 => Just(When::Now(0)),
        6 => Just(When::NewestCommand(0)),
        4 => (1..4_i64).prop_map(When::NewestCommand),
        2 => (-3..0_i64).prop_map(When::NewestCommand),
        2 => edges().prop_map(When::Now),
        1 => edges().prop_map(When::NewestCommand),
        1 => Just(When::Unix(0)),
    ]
}

/// On both sides of what a client thinks, and at the end of time.
fn told_times() -> impl Strategy<Value = When> + Clone {
    prop_oneof![
        4 => (-3..=3_i64).prop_map(When::Now),
        3 => edges().prop_map(When::Now),
        1 => select(vec![0, 1 << 33, (1 << 33) - 1, u64::MAX]).prop_map(When::Unix),
    ]
}

fn message_times() -> impl Strategy<Value = When> {
    prop_oneof![
        14 => (-2..=1_i64).prop_map(When::Now),
        4 => edges().prop_map(When::Now),
        1 => prop_oneof![Just(When::Unix(0)), Just(When::Unix(u64::MAX))],
    ]
}

/// Late enough to matter, seldom so late that nothing is opened any more.
fn floors() -> impl Strategy<Value = When> {
    prop_oneof![6 => (-6..=-1_i64).prop_map(When::Now), 1 => message_times()]
}

/// Seconds on both sides of every limit that can be set.
fn edges() -> impl Strategy<Value = i64> + Clone {
    select(vec![-604_800, -3601, -3600, -601, -600, -599, -6, -5, -4, 4, 5, 6, 59, 60, 61, 3600, 7200])
}

fn clock_moves() -> impl Strategy<Value = i64> {
    prop_oneof![
        6 => 1..4_i64,
        4 => select(vec![599, 600, 601, 3599, 3600, 3601, 604_800]),
        1 => -3..0_i64,
        1 => select(vec![-600, -3600, -3601]),
    ]
}

fn max_ages() -> impl Strategy<Value = MaxAge> {
    select(vec![MaxAge::Any, MaxAge::Seconds(0), MaxAge::Seconds(5), MaxAge::Seconds(600)])
}

fn options() -> impl Strategy<Value = Options> {
    let max_age = prop_oneof![3 => Just(MaxAge::Seconds(600)), 1 => max_ages()];
    let command_max_age = prop_oneof![2 => Just(MaxAge::Any), 1 => max_ages()];
    let repeated = prop_oneof![Just(Repeated::Refuse), Just(Repeated::Report)];
    (max_age, select(vec![60, 60, 60, 5, 0]), command_max_age, repeated).prop_map(
        |(max_age, max_ahead, command_max_age, repeated)| {
            let mut options = Options::default();
            options.max_age = max_age;
            options.max_ahead = max_ahead;
            options.command_max_age = command_max_age;
            options.repeated = repeated;
            options
        },
    )
}
