//! Withdrawal: a device is out, and everything that it could read gets a new key.

use super::{
    Actor, Fleet, OrderDetail, Refusal,
    find::{self, Device, device_subject},
    intent::{Attempted, Intent},
    keys::{NewVersions, in_use, new_versions},
    members::{count_members, devices_are_due, members_are_due, peers_are_due, related, topics, ways_of},
    rotate::{Ended, NewOrder, insert_order, overtake},
};
use crate::{
    model::{Access, KeyRole, Mode, OrderKind, OrderState, Reason, Role, Status, TopicName},
    plan::{Holdings, Known, Step},
    store::Value,
};
use e4::ClientId;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// What a device could read, and what follows from its withdrawal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Withdrawal {
    /// The order; `None` if it was only asked what would be.
    pub order: Option<i64>,
    /// All that it could read.
    pub could_read: Vec<Reach>,
    /// How many devices get new keys.
    pub affected: i64,
    /// How many devices may hold its public key, and are told to forget it.
    pub peers: i64,
}

/// A topic that a device could read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reach {
    /// Its number.
    pub topic: i64,
    /// Its name.
    pub name: String,
    /// Whether it was to read.
    pub read: bool,
    /// Whether it was to write.
    pub write: bool,
    /// By which ways.
    pub through: Vec<Through>,
    /// How many others have access.
    pub members: i64,
    /// Whether the topic gets a new key: not one that is only read by the key of a subtree, which gets one.
    pub rotates: bool,
}

/// A way to read a topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Through {
    /// The device itself has access.
    Itself,
    /// This group has.
    Group(String),
    /// It has the key of this subtree, which opens what is sealed with it.
    Subtree(String),
    /// It has no access any more, and still has a key that is in use.
    Kept,
}

impl Fleet {
    /// Withdraws a device for ever; with `dry_run`, only says what that would do.
    ///
    /// # Errors
    ///
    /// [`RefusalKind::NotFound`](super::RefusalKind::NotFound), or a device that was withdrawn before.
    pub async fn withdraw(&self, actor: &Actor, device: &ClientId, dry_run: bool) -> Result<Withdrawal, Refusal> {
        let subject = device_subject(device);
        let action = if dry_run { "withdraw (dry run)" } else { "withdraw" };
        self.intention(actor, Role::Operator, (action, &subject), |intent| withdraw(intent, device, dry_run)).await
    }
}

async fn withdraw(mut intent: Intent, id: &ClientId, dry_run: bool) -> Attempted<Withdrawal> {
    let device = find::device(&mut intent, id).await?;
    device.must_not_be_withdrawn()?;
    let all = topics(&mut intent).await?;
    let reaches = reaches(&mut intent, &device, &all).await?;
    let rotates: Vec<_> = reaches.iter().filter(|it| it.rotates).map(|it| it.topic).collect();
    let related: BTreeSet<_> = rotates.iter().flat_map(|topic| related(&all, *topic)).collect();
    let related: Vec<_> = related.into_iter().collect();
    // It is one of those that are counted, unless it has nothing but keys that are left over.
    let own = i64::from(reaches.iter().any(|it| it.rotates && (it.read || it.write)));
    let peers = match device.mode {
        Mode::Symmetric => 0,
        Mode::PublicKey => (count_members(&mut intent, &related).await? - own).max(0),
    };
    let affected = (count_members(&mut intent, &rotates).await? - own).max(0);
    let mut withdrawal = Withdrawal { order: None, could_read: reaches, affected, peers };
    if dry_run {
        return Ok((intent, withdrawal));
    }

    let me = [*id];
    if device.mode == Mode::PublicKey {
        peers_are_due(&mut intent, &related, &me).await?;
    }
    let place = [Value::from(id.as_bytes())];
    intent.tx.execute("DELETE FROM device_access WHERE device = $1", &place).await?;
    intent.tx.execute("DELETE FROM members WHERE device = $1", &place).await?;
    intent.tx.execute("DELETE FROM invitations WHERE device = $1", &place).await?;
    let sql = "UPDATE devices SET status = $1, withdrawn = $2, revision = revision + 1 WHERE id = $3";
    let values = [Value::from(Status::Withdrawn.code()), Value::from(intent.now), Value::from(id.as_bytes())];
    intent.tx.execute(sql, &values).await?;
    let new = NewVersions { topics: &rotates, role: KeyRole::Current, cuts: true, reason: Reason::Withdrawn };
    let versions = new_versions(&mut intent, &new).await?;
    let order = NewOrder {
        kind: OrderKind::Withdraw,
        state: OrderState::Switching,
        topic: None,
        device: Some(*id),
        rotation: None,
        version: None,
        reason: Reason::Withdrawn,
        detail: OrderDetail { topics: versions.into_iter().collect(), ..OrderDetail::default() },
    };
    let order = insert_order(&mut intent, &order).await?;
    overtake(&mut intent, &rotates, order, Ended::All).await?;
    members_are_due(&mut intent, &rotates).await?;
    devices_are_due(&mut intent, &me).await?;
    withdrawal.order = Some(order);
    let names: Vec<_> = withdrawal.could_read.iter().map(|it| it.name.as_str()).collect();
    let detail = json!({
        "order": order, "name": device.name, "could_read": names, "affected": withdrawal.affected, "peers": withdrawal.peers,
    });
    intent.audit("withdraw", &device.subject(), &detail).await?;
    Ok((intent, withdrawal))
}

/// All that a device could read, and how.
async fn reaches(intent: &mut Intent, device: &Device, all: &[(i64, TopicName)]) -> Result<Vec<Reach>, Refusal> {
    let mut found: BTreeMap<i64, (Access, BTreeSet<Through>)> = BTreeMap::new();
    for way in ways_of(intent, &device.id).await? {
        let entry = found.entry(way.topic).or_default();
        entry.0 = entry.0 | way.access;
        entry.1.insert(way.group.map_or(Through::Itself, Through::Group));
    }
    for topic in kept(intent, device, all).await? {
        found.entry(topic).or_insert_with(|| (Access::default(), BTreeSet::from([Through::Kept])));
    }
    let rotates: BTreeSet<_> = found.keys().copied().collect();
    let names: BTreeMap<i64, &TopicName> = all.iter().map(|(id, name)| (*id, name)).collect();
    for subtree in rotates.iter().filter_map(|topic| names.get(topic)).filter(|name| name.is_subtree()) {
        for (topic, _) in all.iter().filter(|(_, name)| subtree.encloses(name)) {
            found.entry(*topic).or_default().1.insert(Through::Subtree(subtree.to_string()));
        }
    }
    let counts = counts(intent, &found.keys().copied().collect::<Vec<_>>()).await?;
    Ok(found
        .into_iter()
        .filter_map(|(topic, (access, through))| {
            let own = i64::from(!access.is_none());
            Some(Reach {
                topic,
                name: names.get(&topic)?.to_string(),
                read: access.read,
                write: access.write,
                through: through.into_iter().collect(),
                members: (counts.get(&topic).copied().unwrap_or(0) - own).max(0),
                rotates: rotates.contains(&topic),
            })
        })
        .collect())
}

/// Topics of which a device has a key that is in use, as far as is known: by its reports, and by what it was sent.
async fn kept(intent: &mut Intent, device: &Device, all: &[(i64, TopicName)]) -> Result<Vec<i64>, Refusal> {
    let known: Known = match &device.held {
        Some(text) => serde_json::from_str(text).map_err(|_| Refusal::damaged("what a device holds cannot be read"))?,
        None => Known::default(),
    };
    let mut holds: BTreeMap<_, BTreeSet<u32>> = BTreeMap::new();
    let add = |state: &Holdings, holds: &mut BTreeMap<_, BTreeSet<u32>>| {
        for (topic, held) in &state.topics {
            holds.entry(*topic).or_default().extend([Some(held.current), held.next].into_iter().flatten());
        }
    };
    for state in known.states.iter().chain(&known.older) {
        add(state, &mut holds);
    }
    let sql = "SELECT step FROM outbox WHERE device = $1";
    for row in intent.tx.query(sql, &[Value::from(device.id.as_bytes())]).await? {
        let step: Step =
            serde_json::from_str(row.text(0)?).map_err(|_| Refusal::damaged("a step in the outbox cannot be read"))?;
        if let Step::SetTopic { topic, version } | Step::SetNext { topic, version } | Step::Replace { topic, version } =
            step
        {
            holds.entry(topic).or_default().insert(version);
        }
    }
    let candidates: Vec<_> = all.iter().filter(|(_, name)| holds.contains_key(name.hash())).collect();
    let keys = in_use(intent, &candidates.iter().map(|(id, _)| *id).collect::<Vec<_>>()).await?;
    Ok(candidates
        .into_iter()
        .filter(|(id, name)| {
            let Some(keys) = keys.get(id) else { return false };
            let versions = holds.get(name.hash());
            versions.is_some_and(|versions| {
                [keys.current, keys.next].into_iter().flatten().any(|version| versions.contains(&version))
            })
        })
        .map(|(id, _)| *id)
        .collect())
}

/// How many have access to each of these topics.
async fn counts(intent: &mut Intent, topics: &[i64]) -> Result<BTreeMap<i64, i64>, Refusal> {
    let sql = "SELECT a.topic, COUNT(*) FROM (
                   SELECT topic, device FROM device_access WHERE topic = ANY($1)
                   UNION SELECT g.topic, m.device FROM members m JOIN group_access g ON g.grp = m.grp WHERE g.topic = ANY($1)
               ) AS a GROUP BY a.topic";
    let rows = intent.tx.query(sql, &[Value::list(topics.iter().copied())]).await?;
    rows.iter().map(|row| Ok((row.int(0)?, row.int(1)?))).collect()
}
