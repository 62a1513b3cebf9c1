//! What a device holds as far as is known, what it should, and what was sent to it since.

use super::{hex_id, moment, no_such_device};
use crate::{
    fleet::{
        Fleet, Refusal,
        row::{DeviceRow, SELECT, Sent},
        wanted::Context,
    },
    plan::{Holdings, Step},
    store::{Transaction, Value},
};
use e4::{ClientId, TopicHash};
use e4_keyserver_api as said;
use std::collections::{BTreeSet, HashMap};

impl Fleet {
    /// What a device holds as far as is known, and what it should.
    ///
    /// # Errors
    ///
    /// [`RefusalKind::NotFound`](crate::fleet::RefusalKind::NotFound); the database.
    pub async fn holds(&self, id: &ClientId) -> Result<said::Holds, Refusal> {
        let mut tx = self.store().read().await?;
        let row = tx.query_opt(&format!("{SELECT} WHERE id = $1"), &[Value::from(id.as_bytes())]).await?;
        let mut device = DeviceRow::of(&row.ok_or_else(no_such_device)?)?;
        let outboxes = Sent::of(&mut tx, std::slice::from_ref(&device)).await?;
        let mut context = Context::load(self, &mut tx, std::slice::from_ref(&device), &outboxes).await?;
        let (wanted, _) = context.wanted(&mut device);
        let wanted = wanted.holdings(&device.features());
        let nothing = Holdings::default();
        let held = device.known.holds();
        let known = held.is_some();
        let held = held.unwrap_or(&nothing);

        let sql = "SELECT sent, step, handed, answer FROM outbox WHERE device = $1 ORDER BY position";
        let sent = tx.query(sql, &[Value::from(id.as_bytes())]).await?;
        let steps = sent.iter().map(|row| read_step(row.text(1)?)).collect::<Result<Vec<_>, _>>()?;
        let names = Names::read(&mut tx, &[held, &wanted], &steps).await?;
        let mut outstanding = Vec::with_capacity(sent.len());
        for (row, step) in sent.iter().zip(&steps) {
            outstanding.push(said::Outstanding {
                command: names.command(step),
                sealed: moment(row.int(0)?),
                handed: row.opt_int(2)?.map(moment),
                answer: row.opt_text(3)?.map(str::to_owned),
            });
        }
        let hashes: BTreeSet<_> = held.topics.keys().chain(wanted.topics.keys()).collect();
        let topics = hashes.into_iter().map(|hash| {
            let (held, wanted) = (held.topics.get(hash), wanted.topics.get(hash));
            said::HeldTopic {
                topic: names.topics.get(hash).cloned(),
                hash: hash.to_string(),
                current: held.map(|it| it.current.into()),
                next: held.and_then(|it| it.next).map(Into::into),
                wanted: wanted.map(|it| it.current.into()),
                wanted_next: wanted.and_then(|it| it.next).map(Into::into),
            }
        });
        let ids: BTreeSet<_> = held.peers.keys().chain(wanted.peers.keys()).collect();
        let peers = ids.into_iter().map(|id| said::HeldPeer {
            device: said::DeviceRef { id: id.to_string(), name: names.devices.get(id).cloned() },
            version: held.peers.get(id).copied().map(Into::into),
            wanted: wanted.peers.get(id).copied().map(Into::into),
        });
        let (topics, peers) = (topics.collect(), peers.collect());
        Ok(said::Holds { known, topics, peers, server_key: held.server_key.map(Into::into), outstanding })
    }
}

fn read_step(text: &str) -> Result<Step, Refusal> {
    serde_json::from_str(text).map_err(|_| super::damaged("a command that cannot be read"))
}

/// How topics and devices are called.
struct Names {
    topics: HashMap<TopicHash, String>,
    devices: HashMap<ClientId, String>,
}

impl Names {
    async fn read(tx: &mut Transaction, holdings: &[&Holdings], steps: &[Step]) -> Result<Self, Refusal> {
        let mut hashes: BTreeSet<_> = holdings.iter().flat_map(|it| it.topics.keys().copied()).collect();
        let mut ids: BTreeSet<_> = holdings.iter().flat_map(|it| it.peers.keys().copied()).collect();
        for step in steps {
            match *step {
                Step::SetTopic { topic, .. }
                | Step::SetNext { topic, .. }
                | Step::Replace { topic, .. }
                | Step::PushOut { topic }
                | Step::RemoveTopic { topic } => drop(hashes.insert(topic)),
                Step::SetPeer { peer, .. } | Step::RemovePeer { peer } => drop(ids.insert(peer)),
                _ => {}
            }
        }
        let mut names = Self { topics: HashMap::new(), devices: HashMap::new() };
        let sql = "SELECT hash, name FROM topics WHERE hash = ANY($1)";
        for row in tx.query(sql, &[Value::list(hashes.iter().map(TopicHash::as_bytes))]).await? {
            names.topics.insert(TopicHash::from_bytes(row.array(0)?), row.text(1)?.to_owned());
        }
        let sql = "SELECT id, name FROM devices WHERE id = ANY($1) AND name IS NOT NULL";
        for row in tx.query(sql, &[Value::list(ids.iter().map(ClientId::as_bytes))]).await? {
            names.devices.insert(ClientId::from_bytes(row.array(0)?), row.text(1)?.to_owned());
        }
        Ok(names)
    }

    fn topic(&self, hash: &TopicHash) -> String {
        self.topics.get(hash).cloned().unwrap_or_else(|| hex_id(hash.as_bytes()))
    }

    fn device(&self, id: &ClientId) -> String {
        self.devices.get(id).cloned().unwrap_or_else(|| id.to_string())
    }

    /// A command in words.
    fn command(&self, step: &Step) -> String {
        match step {
            Step::SetTopic { topic, version } => format!("key {version} of {} becomes current", self.topic(topic)),
            Step::SetNext { topic, version } => format!("key {version} of {} will be next", self.topic(topic)),
            Step::Replace { topic, version } => {
                format!("key {version} of {} becomes current and the only one", self.topic(topic))
            }
            Step::PushOut { topic } => format!("the current key of {} is pushed out", self.topic(topic)),
            Step::RemoveTopic { topic } => format!("the keys of {} are forgotten", self.topic(topic)),
            Step::ResetTopics => "the keys of all topics are forgotten".to_owned(),
            Step::SetPeer { peer, version } => format!("public key {version} of {}", self.device(peer)),
            Step::RemovePeer { peer } => format!("the public key of {} is forgotten", self.device(peer)),
            Step::ResetPeers => "all public keys are forgotten".to_owned(),
            Step::SetClientKey { version } => format!("key {version} of its own"),
            Step::SetServerKey { version } => format!("public key {version} of the server"),
            Step::SetTime => "the time".to_owned(),
            Step::Question { .. } => "a question, to have it report".to_owned(),
        }
    }
}
