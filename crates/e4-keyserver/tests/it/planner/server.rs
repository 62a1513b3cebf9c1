//! What a key server keeps of one device, and does with it: exactly what would be in its database, and the planner.

use super::fleet::{self, Draws};
use e4::{
    ClientId, Command, KeyFingerprint, Timestamp, TopicHash, TopicKey, VerifyingKey,
    controller::{Lane, LastReport, Recipient, Report, SealCommandsError, SealedCommand, StateDigest, StateEntry},
};
use e4_keyserver::{
    model::Mode,
    plan::{
        Entry, Features, Heard, Holdings, Keys, Known, Next, Outstanding, Standing, Step, Verdict, Wanted, WantedTopic,
        digest_of, judge, next, pacing, wants_time,
    },
};
use std::collections::BTreeMap;

/// A change of intention.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Intent {
    Join(usize),
    Leave(usize),
    Prepare(usize),
    Switch(usize),
    Cancel(usize),
    Soft(usize),
    Hard(usize),
    SetPeer(usize),
    RemovePeer(usize),
    MoveClientKey,
    MoveServerKey,
}

/// Where the server is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Killed {
    Never,
    BeforeItStores,
    BeforeItSends,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum KeyOf {
    Topic(usize, u32),
    Peer(usize, u32),
    Client(u32),
    Server(u32),
}

#[derive(Clone, Default)]
struct TopicRow {
    member: bool,
    current: u32,
    next: Option<u32>,
    cut: u32,
    newest: u32,
}

#[derive(Clone)]
struct Row {
    known: Outstanding,
    bytes: Vec<u8>,
    serial: u64,
}

/// The database.
#[derive(Clone)]
pub(crate) struct Database {
    topics: BTreeMap<usize, TopicRow>,
    peers: BTreeMap<usize, u32>,
    newest_peer: BTreeMap<usize, u32>,
    /// Stored keys, by the number that tells them apart.
    keys: BTreeMap<KeyOf, u64>,
    client: u32,
    next_client: Option<u32>,
    server: u32,
    next_server: Option<u32>,
    known: String,
    outbox: Vec<Row>,
    lane: (Timestamp, u8),
    last_report: (Timestamp, Timestamp),
    features: Features,
    attempts: u32,
    pub(crate) due: Option<u64>,
    pub(crate) standing: Standing,
    /// Of what it was confirmed to hold, until something else is sent.
    pub(crate) confirmed: Option<StateDigest>,
    /// What the device was ahead at, until somebody says that this server goes on.
    ahead: Option<Timestamp>,
}

pub(crate) struct Server {
    pub(crate) db: Database,
    mode: Mode,
    /// The device is taken for one that knows none of the newer commands.
    is_old: bool,
    serial: u64,
    draws: Draws,
    /// Each topic key that there ever was.
    ever: Vec<(usize, u32, u64)>,
    /// By `V`: the number of the plan that each command is of, and the second that it carries.
    pub(crate) sealed: BTreeMap<[u8; 16], (u64, u64)>,
    plans: u64,
    /// How often what a device held was not known any more.
    pub(crate) lost_track: u32,
}

impl Server {
    pub(crate) fn new(mode: Mode, is_old: bool) -> Self {
        let holdings = Holdings { server_key: (mode == Mode::PublicKey).then_some(1), ..Holdings::default() };
        let db = Database {
            topics: BTreeMap::new(),
            peers: BTreeMap::new(),
            newest_peer: BTreeMap::new(),
            keys: BTreeMap::from([(KeyOf::Client(1), 0), (KeyOf::Server(1), 0)]),
            client: 1,
            next_client: None,
            server: 1,
            next_server: None,
            known: serde_json::to_string(&Known::new(holdings)).unwrap(),
            outbox: Vec::new(),
            lane: (Timestamp::from_unix(0), 0),
            last_report: (Timestamp::from_unix(0), Timestamp::from_unix(0)),
            features: Features { mode, reports: false, knows_next_keys: false },
            attempts: 0,
            due: None,
            standing: Standing::Unconfirmed,
            confirmed: None,
            ahead: None,
        };
        let (sealed, ever) = (BTreeMap::new(), Vec::new());
        Self { db, mode, is_old, serial: 0, draws: Draws(0), ever, sealed, plans: 0, lost_track: 0 }
    }

    fn known(&self) -> Known {
        serde_json::from_str(&self.db.known).unwrap()
    }

    fn new_key(&mut self, of: KeyOf) {
        self.serial += 1;
        self.db.keys.insert(of, self.serial);
        if let KeyOf::Topic(topic, version) = of {
            self.ever.push((topic, version, self.serial));
        }
    }

    pub(crate) fn intend(&mut self, intent: Intent, now: u64) {
        match intent {
            Intent::Join(topic) => {
                if self.db.topics.entry(topic).or_default().newest == 0 {
                    self.new_version(topic);
                }
                self.topic(topic).member = true;
            }
            Intent::Leave(topic) => {
                if self.topic(topic).member {
                    self.new_version(topic);
                    let row = self.topic(topic);
                    (row.member, row.cut) = (false, row.current);
                }
            }
            Intent::Prepare(topic) => {
                let row = self.topic(topic).clone();
                if row.newest > 0 && row.next.is_none() {
                    self.new_key(KeyOf::Topic(topic, row.newest + 1));
                    let row = self.topic(topic);
                    row.newest += 1;
                    row.next = Some(row.newest);
                }
            }
            Intent::Switch(topic) => {
                let row = self.topic(topic);
                (row.current, row.next) = (row.next.unwrap_or(row.current), None);
            }
            Intent::Cancel(topic) => self.topic(topic).next = None,
            Intent::Soft(topic) => self.new_version(topic),
            Intent::Hard(topic) => {
                self.new_version(topic);
                let row = self.topic(topic);
                row.cut = row.current;
            }
            Intent::SetPeer(peer) => {
                let newest = self.db.newest_peer.entry(peer).or_default();
                *newest += 1;
                let newest = *newest;
                self.new_key(KeyOf::Peer(peer, newest));
                self.db.peers.insert(peer, newest);
            }
            Intent::RemovePeer(peer) => drop(self.db.peers.remove(&peer)),
            Intent::MoveClientKey => {
                if self.db.next_client.is_none() {
                    let next = self.db.client + 1;
                    self.new_key(KeyOf::Client(next));
                    self.db.next_client = Some(next);
                }
            }
            Intent::MoveServerKey => {
                if self.db.next_server.is_none() && self.mode == Mode::PublicKey {
                    let next = self.db.server + 1;
                    self.new_key(KeyOf::Server(next));
                    self.db.next_server = Some(next);
                }
            }
        }
        self.db.due = Some(self.db.due.unwrap_or(now).min(now));
    }

    fn topic(&mut self, topic: usize) -> &mut TopicRow {
        self.db.topics.entry(topic).or_default()
    }

    fn new_version(&mut self, topic: usize) {
        let version = self.topic(topic).newest + 1;
        self.new_key(KeyOf::Topic(topic, version));
        let row = self.topic(topic);
        (row.newest, row.current, row.next) = (version, version, None);
    }

    /// Erases keys that no device can hold any more, as far as is known.
    pub(crate) fn forget(&mut self) {
        let (known, wanted) = (self.known(), self.wanted());
        let steps: Vec<_> = self.db.outbox.iter().map(|row| row.known.step).collect();
        let states = known.states.iter().cloned().chain([wanted.holdings(&self.db.features)]);
        let kept: Vec<Entry> = states.flat_map(|state| state.entries().collect::<Vec<_>>()).collect();
        let newest: BTreeMap<usize, u32> = self.db.topics.iter().map(|(at, row)| (*at, row.current)).collect();
        self.db.keys.retain(|of, _| {
            let KeyOf::Topic(at, version) = *of else { return true };
            let topic = fleet::topic(at);
            version >= newest.get(&at).copied().unwrap_or_default()
                || kept.contains(&Entry::Topic(topic, version))
                || kept.contains(&Entry::Next(topic, version))
                || steps.iter().any(|step| {
                    [
                        Step::SetTopic { topic, version },
                        Step::SetNext { topic, version },
                        Step::Replace { topic, version },
                    ]
                    .contains(step)
                })
        });
    }

    pub(crate) fn wanted(&self) -> Wanted {
        let members = self.db.topics.iter().filter(|(_, row)| row.member);
        let topics = members.map(|(at, row)| {
            let wanted = WantedTopic {
                current: row.current,
                next: row.next,
                cut: row.cut,
                around: u32::from(fleet::TOPICS[*at].starts_with("a/") && fleet::TOPICS[*at] != "a/#"),
            };
            (fleet::topic(*at), wanted)
        });
        Wanted {
            topics: topics.collect(),
            peers: self.db.peers.iter().map(|(at, version)| (fleet::peer(*at), *version)).collect(),
            server_key: (self.mode == Mode::PublicKey).then_some(self.db.next_server.unwrap_or(self.db.server)),
            new_client_key: self.db.next_client,
        }
    }

    /// The digest of a device that holds what it is to hold.
    pub(crate) fn wanted_digest(&self) -> StateDigest {
        digest_of(&self.wanted().holdings(&self.db.features), &|entry| self.entry(entry)).unwrap()
    }

    pub(crate) fn has_pending_move(&self) -> bool {
        self.db.next_client.is_some() || self.db.next_server.is_some()
    }

    fn entry(&self, entry: Entry) -> Option<StateDigest> {
        let topic_key = |topic, version| Some((topic, Keys::topic(self, &topic, version)?));
        Some(match entry {
            Entry::Topic(topic, version) => {
                topic_key(topic, version).map(|(topic, key)| StateDigest::of([StateEntry::TopicKey(&topic, &key)]))?
            }
            Entry::Next(topic, version) => topic_key(topic, version)
                .map(|(topic, key)| StateDigest::of([StateEntry::NextTopicKey(&topic, &key)]))?,
            Entry::Peer(peer, version) => {
                StateDigest::of([StateEntry::PubKey(&peer, &Keys::peer(self, &peer, version)?)])
            }
            Entry::ServerKey(version) => {
                let serial = self.db.keys.get(&KeyOf::Server(version))?;
                StateDigest::of([StateEntry::C2Key(&fleet::server_secret(*serial).public_key())])
            }
        })
    }

    fn recipient(&self, client: u32, server: u32) -> Option<Recipient> {
        let client = *self.db.keys.get(&KeyOf::Client(client))?;
        Some(match self.mode {
            Mode::Symmetric => Recipient::symmetric(fleet::device(), &fleet::client_key(client)),
            _ => {
                let server = fleet::server_secret(*self.db.keys.get(&KeyOf::Server(server))?);
                Recipient::public_key(fleet::device(), &server, &fleet::signing_key(client).verifying_key()).unwrap()
            }
        })
    }

    /// Who the device may be: as it was, with its new key, with the server's new key.
    fn recipients(&self) -> Vec<(Recipient, u32, u32)> {
        let (client, server) = (self.db.client, self.db.server);
        let next = [self.db.next_client.map(|next| (next, server)), self.db.next_server.map(|next| (client, next))];
        let all = [Some((client, server))].into_iter().chain(next).flatten();
        all.map(|(client, server)| (self.recipient(client, server).unwrap(), client, server)).collect()
    }

    pub(crate) fn open(&self, report: &[u8]) -> Option<Report> {
        self.recipients().iter().find_map(|(recipient, ..)| recipient.open_report(report).ok())
    }

    pub(crate) fn hear(&mut self, payload: &[u8], live: bool, now: u64) {
        let heard = self
            .recipients()
            .into_iter()
            .find_map(|(recipient, client, server)| Some((recipient.open_report(payload).ok()?, client, server)));
        let Some((mut report, client, server)) = heard else { return self.db.standing = Standing::OtherKey };
        if self.is_old {
            report.knows_next_keys = false;
        }
        let mut known = self.known();
        let mut last = LastReport::resume(self.db.last_report.0, self.db.last_report.1);
        if last.accept(&report).is_err() {
            let at = known.ask(now);
            self.db.due = Some(self.db.due.map_or(at, |due| due.min(at)));
            return self.db.known = serde_json::to_string(&known).unwrap();
        }
        self.db.last_report = (last.newest(), last.sent());
        self.db.features = Features { reports: true, knows_next_keys: report.knows_next_keys, ..self.db.features };
        let new_key = (client, server) != (self.db.client, self.db.server);
        if client != self.db.client {
            self.db.keys.remove(&KeyOf::Client(self.db.client));
            (self.db.client, self.db.next_client) = (client, None);
        }
        if server != self.db.server {
            (self.db.server, self.db.next_server) = (server, None);
        }
        let outbox: Vec<_> = self.db.outbox.iter().map(|row| row.known).collect();
        let (wanted, features) = (self.wanted(), self.db.features);
        let heard = Heard { report: &report, new_key, lane_last: self.db.lane.0 };
        let judgement = judge(&heard, &known, &outbox, &wanted, &features, &|entry| self.entry(entry));
        if judgement.verdict == Verdict::Ahead {
            self.db.ahead = self.db.ahead.max(Some(report.newest));
        } else {
            let mut lane = Lane::resume(self.db.lane.0, self.db.lane.1);
            lane.observe(report.newest);
            self.db.lane = (lane.last(), lane.used());
        }
        known.tell_time |= wants_time(&report, live, Timestamp::from_unix(now), known.told_time);
        if known.learn(&judgement) {
            self.db.outbox.clear();
        }
        self.db.standing = Standing::UnderWay;
        self.lost_track += u32::from(judgement.verdict == Verdict::Unknown);
        match judgement.verdict {
            Verdict::Confirmed(_) => {
                (self.db.attempts, self.db.standing) = (0, Standing::Confirmed);
                self.db.confirmed = Some(report.digest);
                self.db.due = known.tell_time.then_some(now);
            }
            Verdict::Ahead => self.db.standing = Standing::Ahead,
            _ if known.ask => self.db.due = Some(now),
            Verdict::UnderWay => {
                let at = now + pacing::AFTER_REPORT as u64;
                self.db.due = Some(self.db.due.map_or(at, |due| due.min(at)));
            }
            _ if judgement.progress => (self.db.attempts, self.db.due) = (0, Some(now)),
            _ => self.db.due = Some(now + pacing::again(self.db.attempts, 0) as u64),
        }
        self.db.known = serde_json::to_string(&known).unwrap();
    }

    /// What is done for the device when it is due: what is to be published.
    pub(crate) fn round(&mut self, now: u64, killed: Killed) -> Vec<Vec<u8>> {
        if self.db.ahead.is_some() || self.db.due.is_none_or(|due| due > now) {
            return Vec::new();
        }
        let before = (killed == Killed::BeforeItStores).then(|| (self.db.clone(), self.sealed.clone()));
        let sent = self.next(now);
        if let Some(before) = before {
            (self.db, self.sealed) = before;
            return Vec::new();
        }
        if killed == Killed::BeforeItSends { Vec::new() } else { sent }
    }

    fn next(&mut self, now: u64) -> Vec<Vec<u8>> {
        let mut known = self.known();
        let outbox: Vec<_> = self.db.outbox.iter().map(|row| row.known).collect();
        let (wanted, features) = (self.wanted(), self.db.features);
        let next = next(&known, &outbox, &wanted, &features, self.db.attempts);
        let batches = match &next {
            Next::Nothing { left_out } => {
                self.db.due = None;
                if *left_out > 0 {
                    self.db.standing = Standing::NoRoom;
                }
                return Vec::new();
            }
            Next::Repeat => vec![],
            Next::Ask(batches) => batches.clone(),
            Next::Series(plan) => plan.batches.clone(),
        };
        let (sealed, wait) = self.seal(&batches, now);
        if sealed.is_empty() && wait.is_some() {
            self.db.due = wait.map(|wait| now + wait);
            return Vec::new();
        }
        known.send(&next, &outbox, &features, now);
        self.db.known = serde_json::to_string(&known).unwrap();
        let sent = match next {
            Next::Repeat => {
                let repeated = self.db.outbox.iter().filter(|row| row.known.repeatable);
                repeated.map(|row| row.bytes.clone()).collect()
            }
            Next::Ask(_) => {
                self.db.outbox.retain(|row| !matches!(row.known.step, Step::Question { .. }));
                self.db.outbox.extend(sealed.iter().cloned());
                sealed.iter().map(|row| row.bytes.clone()).collect()
            }
            _ => {
                self.db.confirmed = None;
                self.db.outbox = sealed;
                self.db.outbox.iter().map(|row| row.bytes.clone()).collect()
            }
        };
        self.db.attempts += 1;
        let pause = if features.reports { pacing::again } else { pacing::anew };
        self.db.due = Some(now + pause(self.db.attempts, 0) as u64);
        sent
    }

    /// Seals batches until the lane has no more time, and then says how long to wait.
    fn seal(&mut self, batches: &[e4_keyserver::plan::Batch], now: u64) -> (Vec<Row>, Option<u64>) {
        let now = Timestamp::from_unix(now);
        let mut lane = Lane::resume(self.db.lane.0, self.db.lane.1);
        // What the device said is not stored with the lane.
        lane.observe(self.db.last_report.0);
        let mut rows = Vec::new();
        self.plans += 1;
        for batch in batches {
            assert!(batch.steps().len() <= 15);
            let new_key = matches!(batch.steps(), [Step::Question { new_key: true }]);
            let recipients = self.recipients();
            let recipient = if new_key { &recipients[1].0 } else { &recipients[0].0 };
            let mut draws = self.draws.clone();
            let commands: Vec<Command> =
                batch.steps().iter().map(|step| step.command(&*self, now, &mut draws).unwrap()).collect();
            self.draws = draws;
            if !self.db.features.knows_next_keys {
                let is_newer =
                    |step: &Step| matches!(step, Step::SetNext { .. } | Step::Replace { .. } | Step::SetTime);
                assert!(!batch.steps().iter().any(is_newer), "an old device is sent {batch:?}");
            }
            match recipient.seal(&commands, &mut lane, now) {
                Ok(sealed) => {
                    rows.extend(sealed.iter().zip(batch.steps()).map(|(sealed, step)| self.row(sealed, *step)));
                }
                Err(SealCommandsError::Lane(e4::controller::LaneError::Ahead { until, .. })) => {
                    self.db.lane = (lane.last(), lane.used());
                    return (rows, Some(pacing::until_lane(until, now) as u64));
                }
                Err(error) => panic!("{error}: {batch:?}"),
            }
        }
        self.db.lane = (lane.last(), lane.used());
        (rows, None)
    }

    fn row(&mut self, sealed: &SealedCommand, step: Step) -> Row {
        let known = Outstanding { step, sent: sealed.sent(), v: *sealed.v(), repeatable: step.is_repeatable() };
        self.sealed.insert(*sealed.v(), (self.plans, sealed.sent().as_unix()));
        Row { known, bytes: sealed.as_bytes().to_vec(), serial: self.serial }
    }

    /// Somebody says that this server is the one that goes on.
    pub(crate) fn release(&mut self, now: u64) {
        if let Some(newest) = self.db.ahead.take() {
            let mut lane = Lane::resume(self.db.lane.0, self.db.lane.1);
            lane.observe(newest);
            self.db.lane = (lane.last(), lane.used());
            let mut known = self.known();
            self.db.due = Some(known.ask(now));
            self.db.known = serde_json::to_string(&known).unwrap();
        }
    }

    /// Puts an old database back, in the way that is meant: all lanes go on behind what may have been sent since.
    pub(crate) fn restore(&mut self, db: Database, silently: bool, now: u64) {
        self.db = db;
        self.db.due = Some(now);
        if !silently {
            let mut lane = Lane::resume(self.db.lane.0, self.db.lane.1);
            lane.observe(Timestamp::from_unix(now + Lane::MAX_AHEAD));
            self.db.lane = (lane.last(), lane.used());
        }
    }

    /// Topic keys that a device must not open anything with once it is confirmed.
    pub(crate) fn cut_keys(&self) -> Vec<(TopicHash, KeyFingerprint)> {
        let cut = |topic: &usize| self.db.topics.get(topic).map_or(0, |row| row.cut);
        let keys = self.ever.iter().filter(|(topic, version, _)| *version < cut(topic));
        keys.map(|(topic, _, serial)| (fleet::topic(*topic), fleet::topic_key(*serial).fingerprint())).collect()
    }

    /// Whether all keys that these bytes were sealed with were stored when they went out.
    pub(crate) fn has_stored(&self, bytes: &[u8]) -> bool {
        self.db.outbox.iter().any(|row| row.bytes == bytes && row.serial <= self.serial)
    }

    pub(crate) fn trouble(&self) -> Option<Standing> {
        self.known().trouble
    }
}

impl Keys for Server {
    fn topic(&self, topic: &TopicHash, version: u32) -> Option<TopicKey> {
        let at = (0..fleet::TOPICS.len()).find(|at| fleet::topic(*at) == *topic)?;
        self.db.keys.get(&KeyOf::Topic(at, version)).map(|serial| fleet::topic_key(*serial))
    }

    fn peer(&self, peer: &ClientId, version: u32) -> Option<VerifyingKey> {
        let at = (0..fleet::PEERS).find(|at| fleet::peer(*at) == *peer)?;
        self.db.keys.get(&KeyOf::Peer(at, version)).map(|serial| fleet::peer_key(*serial))
    }

    fn client(&self, version: u32) -> Option<Command> {
        let serial = *self.db.keys.get(&KeyOf::Client(version))?;
        Some(match self.mode {
            Mode::Symmetric => Command::SetClientKey(fleet::client_key(serial)),
            _ => Command::SetSigningKey(fleet::signing_key(serial)),
        })
    }

    fn server(&self, version: u32) -> Option<Command> {
        let serial = self.db.keys.get(&KeyOf::Server(version))?;
        Some(Command::SetC2Key(fleet::server_secret(*serial).public_key()))
    }
}
