//! What devices are to hold: from who has access to what, from the key versions of topics, and from how far orders are. All of it
//! is read for a batch of devices at once.

use super::{
    Fleet, GroupPolicy, Refusal,
    find::id_of,
    row::{DeviceRow, Sent},
    server_key::Pair,
};
use crate::{
    model::{Access, KeyRole, Mode, Status, TopicName},
    plan::{Limits, Step, Wanted, WantedTopic},
    store::{Row, Transaction, Value},
    vault::Place,
};
use e4::{ClientId, TopicHash, TopicKey, VerifyingKey};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

/// Seconds between the kinds of devices that get the key of the second phase by what they do: readers, both, then writers.
const ROLE_STEP: i64 = 5;

/// All that is known of what a batch of devices is to hold, and the keys for it.
pub(super) struct Context {
    pub(super) now: i64,
    topics: BTreeMap<i64, TopicRow>,
    by_hash: HashMap<TopicHash, i64>,
    access: HashMap<ClientId, Vec<(i64, Access)>>,
    /// Devices in public-key mode that write a topic.
    writers: HashMap<i64, BTreeSet<ClientId>>,
    peers: HashMap<ClientId, (u32, VerifyingKey)>,
    pub(super) pairs: Vec<Pair>,
    limits: HashMap<ClientId, Limits>,
    usual: Limits,
    /// Devices with the same access have the same topics.
    made: HashMap<(Vec<(i64, Access)>, bool), Made>,
}

/// What all devices with some access are to hold of topics, and when that changes by itself.
#[derive(Clone)]
struct Made {
    topics: Arc<BTreeMap<TopicHash, WantedTopic>>,
    later: Option<i64>,
}

struct TopicRow {
    name: TopicName,
    is_removed: bool,
    current: Option<u32>,
    next: Option<u32>,
    cut: u32,
    keys: BTreeMap<u32, TopicKey>,
    /// The version that was current before, and since when it is not.
    before: Option<(i64, u32)>,
    /// When the second phase of a lossless rotation began, if it is not over.
    switching: Option<i64>,
}

impl Context {
    /// Reads it. The devices' rows are locked by the caller, so that what is intended with them meanwhile waits, or was there
    /// before.
    pub(super) async fn load(
        fleet: &Fleet,
        tx: &mut Transaction,
        devices: &[DeviceRow],
        outboxes: &HashMap<ClientId, Vec<Sent>>,
    ) -> Result<Self, Refusal> {
        let policy = fleet.policy();
        let usual = Limits { late: policy.late, dormant: policy.dormant, lapsed: policy.lapsed };
        let mut context = Self {
            now: fleet.now(),
            topics: BTreeMap::new(),
            by_hash: HashMap::new(),
            access: HashMap::new(),
            writers: HashMap::new(),
            peers: HashMap::new(),
            pairs: Vec::new(),
            limits: HashMap::new(),
            usual,
            made: HashMap::new(),
        };
        let ids = Value::list(devices.iter().map(|device| device.id.as_bytes()));
        context.load_access(tx, &ids).await?;
        context.load_topics(fleet, tx, devices, outboxes).await?;
        if devices.iter().any(|device| device.mode == Mode::PublicKey) {
            context.pairs = Pair::all(fleet, tx).await?;
            context.load_writers(tx, devices).await?;
        }
        context.load_limits(tx, &ids).await?;
        Ok(context)
    }

    async fn load_access(&mut self, tx: &mut Transaction, ids: &Value) -> Result<(), Refusal> {
        let mut all: HashMap<ClientId, BTreeMap<i64, Access>> = HashMap::new();
        for sql in [
            "SELECT device, topic, access FROM device_access WHERE device = ANY($1)",
            "SELECT m.device, a.topic, a.access FROM members m JOIN group_access a ON a.grp = m.grp WHERE m.device = ANY($1)",
        ] {
            for row in tx.query(sql, std::slice::from_ref(ids)).await? {
                let access = all.entry(id_of(row.bytes(0)?)?).or_default().entry(row.int(1)?).or_default();
                *access = *access | Access::from_code(row.int(2)?);
            }
        }
        let some = all.into_iter().map(|(id, all)| (id, all.into_iter().filter(|(_, it)| !it.is_none()).collect()));
        self.access = some.collect();
        Ok(())
    }

    async fn load_topics(
        &mut self,
        fleet: &Fleet,
        tx: &mut Transaction,
        devices: &[DeviceRow],
        outboxes: &HashMap<ClientId, Vec<Sent>>,
    ) -> Result<(), Refusal> {
        let topics: BTreeSet<_> = self.access.values().flatten().map(|(topic, _)| *topic).collect();
        let list = Value::list(topics);
        let sql = "SELECT id, name, removed FROM topics WHERE id = ANY($1)";
        let rows = tx.query(sql, &[list]).await?;
        self.add_topics(&rows)?;
        // What they hold, or may hold, and are not to hold any more.
        let mut others = BTreeSet::new();
        for device in devices {
            for state in device.known.states.iter().chain(&device.known.older) {
                others.extend(state.topics.keys().filter(|topic| !self.by_hash.contains_key(*topic)));
            }
        }
        let steps = outboxes.values().flatten().filter_map(|sent| topic_of(&sent.step));
        others.extend(steps.filter(|topic| !self.by_hash.contains_key(topic)));
        if !others.is_empty() {
            let list = Value::list(others.iter().map(TopicHash::as_bytes));
            let rows = tx.query("SELECT id, name, removed FROM topics WHERE hash = ANY($1)", &[list]).await?;
            self.add_topics(&rows)?;
        }
        self.load_keys(fleet, tx).await
    }

    fn add_topics(&mut self, rows: &[Row]) -> Result<(), Refusal> {
        for row in rows {
            let name = TopicName::new(row.text(1)?).map_err(|error| Refusal::damaged(error.to_string()))?;
            self.by_hash.insert(*name.hash(), row.int(0)?);
            let topic = TopicRow {
                name,
                is_removed: row.opt_int(2)?.is_some(),
                current: None,
                next: None,
                cut: 0,
                keys: BTreeMap::new(),
                before: None,
                switching: None,
            };
            self.topics.insert(row.int(0)?, topic);
        }
        Ok(())
    }

    async fn load_keys(&mut self, fleet: &Fleet, tx: &mut Transaction) -> Result<(), Refusal> {
        let list = Value::list(self.topics.keys().copied());
        let sql = "SELECT topic, version, role, cut, secret, role_since FROM key_versions WHERE topic = ANY($1) AND secret IS NOT NULL";
        for row in tx.query(sql, std::slice::from_ref(&list)).await? {
            let (id, version) = (row.int(0)?, row.version(1)?);
            let Some(topic) = self.topics.get_mut(&id) else { continue };
            match KeyRole::from_code(row.int(2)?) {
                Some(KeyRole::Current) => (topic.current, topic.cut) = (Some(version), row.version(3)?),
                Some(KeyRole::Next) => topic.next = Some(version),
                _ => {
                    let since = row.int(5)?;
                    let is_later =
                        topic.before.is_none_or(|(at, before)| since > at || (since == at && version < before));
                    topic.before = if is_later { Some((since, version)) } else { topic.before };
                }
            }
            let key = fleet.vault().open_key(Place::topic_key(id, u64::from(version)), row.bytes(4)?)?;
            let key = TopicKey::from_bytes(&key)
                .map_err(|error| Refusal::damaged(format!("version {version} of topic {id} is no key: {error}")))?;
            topic.keys.insert(version, key);
        }
        // State 2: switching. Rotation 0: without loss.
        let sql =
            "SELECT topic, phase_since FROM orders WHERE kind = 0 AND state = 2 AND rotation = 0 AND topic = ANY($1)";
        for row in tx.query(sql, &[list]).await? {
            if let Some(topic) = self.topics.get_mut(&row.int(0)?) {
                topic.switching = Some(row.int(1)?);
            }
        }
        Ok(())
    }

    async fn load_writers(&mut self, tx: &mut Transaction, devices: &[DeviceRow]) -> Result<(), Refusal> {
        let public = devices.iter().filter(|device| device.mode == Mode::PublicKey);
        let access = public.clone().filter_map(|device| self.access.get(&device.id)).flatten();
        let read: BTreeSet<_> = access.filter(|(_, access)| access.read).map(|(topic, _)| *topic).collect();
        let list = Value::list(read);
        for sql in [
            "SELECT a.topic, d.id, d.key_version, d.public_key FROM device_access a JOIN devices d ON d.id = a.device
             WHERE a.topic = ANY($1) AND a.access >= 2 AND d.mode = 1 AND d.status <> 2",
            "SELECT a.topic, d.id, d.key_version, d.public_key FROM group_access a JOIN members m ON m.grp = a.grp
             JOIN devices d ON d.id = m.device WHERE a.topic = ANY($1) AND a.access >= 2 AND d.mode = 1 AND d.status <> 2",
        ] {
            for row in tx.query(sql, std::slice::from_ref(&list)).await? {
                let id = id_of(row.bytes(1)?)?;
                self.writers.entry(row.int(0)?).or_default().insert(id);
                self.add_peer(id, row.version(2)?, &row.array(3)?)?;
            }
        }
        // Peers that they hold and are not to hold any more.
        let states = public.flat_map(|device| device.known.states.iter().chain(&device.known.older));
        let held: BTreeSet<_> = states.flat_map(|state| state.peers.keys()).copied().collect();
        let others: Vec<_> = held.into_iter().filter(|peer| !self.peers.contains_key(peer)).collect();
        if !others.is_empty() {
            let list = Value::list(others.iter().map(ClientId::as_bytes));
            let sql = "SELECT id, key_version, public_key FROM devices WHERE id = ANY($1) AND public_key IS NOT NULL";
            for row in tx.query(sql, &[list]).await? {
                self.add_peer(id_of(row.bytes(0)?)?, row.version(1)?, &row.array(2)?)?;
            }
        }
        Ok(())
    }

    fn add_peer(&mut self, id: ClientId, version: u32, public_key: &[u8; 32]) -> Result<(), Refusal> {
        let key = VerifyingKey::from_bytes(public_key)
            .map_err(|error| Refusal::damaged(format!("the public key of device {id} is none: {error}")))?;
        self.peers.insert(id, (version, key));
        Ok(())
    }

    async fn load_limits(&mut self, tx: &mut Transaction, ids: &Value) -> Result<(), Refusal> {
        let sql = "SELECT m.device, g.policy FROM members m JOIN groups g ON g.id = m.grp
                   WHERE m.device = ANY($1) AND g.policy <> '{}'";
        for row in tx.query(sql, std::slice::from_ref(ids)).await? {
            let policy: GroupPolicy = serde_json::from_str(row.text(1)?)
                .map_err(|_| Refusal::damaged("the policy of a group cannot be read"))?;
            let limits = self.limits.entry(id_of(row.bytes(0)?)?).or_insert(self.usual);
            limits.late = policy.late.unwrap_or(limits.late);
            limits.dormant = policy.dormant.unwrap_or(limits.dormant);
            limits.lapsed = policy.lapsed.unwrap_or(limits.lapsed);
        }
        Ok(())
    }

    /// After how much silence a device stands differently.
    pub(super) fn limits(&self, device: &ClientId) -> Limits {
        self.limits.get(device).copied().unwrap_or(self.usual)
    }

    /// What a device is to hold, and when that changes by itself.
    pub(super) fn wanted(&mut self, device: &mut DeviceRow) -> (Wanted, Option<i64>) {
        if device.status == Status::Withdrawn {
            // A last courtesy; it stays under the keys that it has.
            return (Wanted { server_key: device.server_key, ..Wanted::default() }, None);
        }
        let is_public = device.mode == Mode::PublicKey;
        let knows_next_keys = device.features().knows_next_keys;
        let access = self.access.get(&device.id).cloned().unwrap_or_default();
        let peers = if is_public { self.peers_of(&device.id, &access) } else { BTreeMap::new() };
        let newest = self.pairs.iter().map(|pair| pair.version).max();
        // Who does not report cannot say under which key it is.
        if is_public && device.reported.is_some() && device.server_key != newest {
            device.next_server_key = newest;
        }
        let made = match self.made.get(&(access.clone(), knows_next_keys)) {
            Some(made) => made.clone(),
            None => {
                let made = self.make(&access, knows_next_keys);
                self.made.insert((access, knows_next_keys), made.clone());
                made
            }
        };
        let wanted = Wanted {
            topics: made.topics.as_ref().clone(),
            peers,
            server_key: device.next_server_key.or(device.server_key),
            new_client_key: device.next_secret.as_ref().map(|_| device.key_version + 1),
        };
        (wanted, made.later)
    }

    fn make(&self, access: &[(i64, Access)], knows_next_keys: bool) -> Made {
        let topics = access.iter().filter_map(|(id, access)| Some((self.topics.get(id)?, *access)));
        let topics: Vec<_> = topics.filter(|(topic, _)| !topic.is_removed).collect();
        let subtrees: Vec<_> = topics.iter().map(|(topic, _)| &topic.name).filter(|name| name.is_subtree()).collect();
        let (mut wanted, mut later) = (BTreeMap::new(), None);
        for (topic, access) in &topics {
            let Some(mut current) = topic.current else { continue };
            let begins = topic.switching.map(|since| since + ROLE_STEP * step_of(*access));
            if let Some(begins) = begins.filter(|begins| !knows_next_keys && *begins > self.now) {
                // Until then it goes on with the key before, which the others still open.
                current = topic.before.map_or(current, |(_, version)| version);
                later = Some(later.map_or(begins, |later: i64| later.min(begins)));
            }
            let around = subtrees.iter().filter(|subtree| subtree.encloses(&topic.name)).count();
            let around = u32::try_from(around).unwrap_or(u32::MAX);
            wanted.insert(*topic.name.hash(), WantedTopic { current, next: topic.next, cut: topic.cut, around });
        }
        Made { topics: Arc::new(wanted), later }
    }

    /// Those that write what a device reads: it does not take for theirs what somebody else wrote who only has the key.
    fn peers_of(&self, device: &ClientId, access: &[(i64, Access)]) -> BTreeMap<ClientId, u32> {
        let read = access.iter().filter(|(_, access)| access.read).filter_map(|(topic, _)| self.writers.get(topic));
        let peers = read.flatten().filter(|peer| *peer != device);
        peers.filter_map(|peer| Some((*peer, self.peers.get(peer)?.0))).collect()
    }

    /// The key of a topic.
    pub(super) fn topic_key(&self, topic: &TopicHash, version: u32) -> Option<&TopicKey> {
        self.topics.get(self.by_hash.get(topic)?)?.keys.get(&version)
    }

    /// The public key of a peer.
    pub(super) fn peer_key(&self, peer: &ClientId, version: u32) -> Option<&VerifyingKey> {
        self.peers.get(peer).filter(|(found, _)| *found == version).map(|(_, key)| key)
    }
}

const fn step_of(access: Access) -> i64 {
    match (access.read, access.write) {
        (true, true) => 1,
        (false, true) => 2,
        _ => 0,
    }
}

/// The topic whose key a command brings.
pub(super) const fn topic_of(step: &Step) -> Option<TopicHash> {
    match step {
        Step::SetTopic { topic, .. } | Step::SetNext { topic, .. } | Step::Replace { topic, .. } => Some(*topic),
        _ => None,
    }
}
