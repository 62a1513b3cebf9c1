//! Groups: named sets of devices, listed or by their labels.

use super::{
    Actor, Change, Fleet, GroupPolicy, Refusal, RefusalKind,
    find::{self, Group, must_be_revision},
    intent::{Attempted, Intent},
    members::{devices_are_due, peers_are_due, still_members},
    rotate::{join, leave},
};
use crate::{
    model::{Labels, Role, Selector},
    store::Value,
};
use e4::ClientId;
use serde_json::json;
use std::collections::BTreeSet;

/// A group to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewGroup {
    /// Its name.
    pub name: String,
    /// The labels of its members; without them its members are listed.
    pub selector: Option<Selector>,
    /// What its members have otherwise than the fleet.
    pub policy: GroupPolicy,
}

/// What is to be changed about a group; what is not said stays.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GroupChange {
    /// Other labels of its members.
    pub selector: Option<Selector>,
    /// Another policy, as a whole.
    pub policy: Option<GroupPolicy>,
}

impl Fleet {
    /// Makes a group.
    ///
    /// # Errors
    ///
    /// [`RefusalKind::Conflict`] if there is one of this name.
    pub async fn add_group(&self, actor: &Actor, new: &NewGroup) -> Result<(), Refusal> {
        let subject = subject(&new.name);
        self.intention(actor, Role::Operator, ("add group", &subject), |intent| add_group(intent, new)).await
    }

    /// Changes a group.
    ///
    /// # Errors
    ///
    /// [`RefusalKind::NotFound`], [`RefusalKind::Stale`], [`RefusalKind::Conflict`] for labels of a group whose members are listed.
    pub async fn change_group(
        &self,
        actor: &Actor,
        name: &str,
        change: &GroupChange,
        revision: Option<i64>,
    ) -> Result<Change, Refusal> {
        let subject = subject(name);
        self.intention(actor, Role::Operator, ("change group", &subject), |intent| {
            change_group(intent, name, change, revision)
        })
        .await
    }

    /// Removes a group: its members lose what they had by it alone.
    ///
    /// # Errors
    ///
    /// [`RefusalKind::NotFound`], [`RefusalKind::Stale`]
    pub async fn remove_group(&self, actor: &Actor, name: &str, revision: Option<i64>) -> Result<Change, Refusal> {
        let subject = subject(name);
        self.intention(actor, Role::Operator, ("remove group", &subject), |intent| remove_group(intent, name, revision))
            .await
    }

    /// Lists a device as a member of a group.
    ///
    /// # Errors
    ///
    /// [`RefusalKind::NotFound`], [`RefusalKind::Conflict`] if the members follow from labels, or the device was withdrawn.
    pub async fn add_member(&self, actor: &Actor, group: &str, device: &ClientId) -> Result<Change, Refusal> {
        let subject = subject(group);
        self.intention(actor, Role::Operator, ("add member", &subject), |intent| {
            list_member(intent, group, device, true)
        })
        .await
    }

    /// Takes a device from the list of a group.
    ///
    /// # Errors
    ///
    /// As [`Fleet::add_member`].
    pub async fn remove_member(&self, actor: &Actor, group: &str, device: &ClientId) -> Result<Change, Refusal> {
        let subject = subject(group);
        self.intention(actor, Role::Operator, ("remove member", &subject), |intent| {
            list_member(intent, group, device, false)
        })
        .await
    }
}

fn subject(name: &str) -> String {
    format!("group {name}")
}

/// Refuses what would be hard to write in an address or on a command line.
pub(super) fn must_be_a_name(name: &str, what: &str) -> Result<(), Refusal> {
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | ' ' | '@' | ':');
    if name.is_empty() || name.len() > 128 || !name.chars().all(is_plain) || name.trim() != name {
        return Err(RefusalKind::Invalid
            .because(format!("the name of {what} has 1 to 128 bytes: letters, digits, spaces inside, and - _ . : @")));
    }
    Ok(())
}

async fn add_group(mut intent: Intent, new: &NewGroup) -> Attempted<()> {
    must_be_a_name(&new.name, "a group")?;
    if find::groups(&mut intent).await?.iter().any(|group| group.name == new.name) {
        return Err(RefusalKind::Conflict.because(format!("there is a group `{}` already", new.name)));
    }
    let id = intent.next("groups").await?;
    let selector = new.selector.as_ref().map(ToString::to_string);
    let values = [
        Value::from(id),
        Value::from(new.name.as_str()),
        Value::from(selector.clone()),
        Value::from(policy_text(&new.policy)?),
        Value::from(intent.now),
    ];
    let sql = "INSERT INTO groups (id, name, selector, policy, created, revision) VALUES ($1, $2, $3, $4, $5, 1)";
    intent.tx.execute(sql, &values).await?;
    let mut members = BTreeSet::new();
    if let Some(selector) = &new.selector {
        members = selected(&mut intent, selector).await?;
        insert_members(&mut intent, id, &members).await?;
    }
    let detail = json!({ "selector": selector, "policy": new.policy, "members": members.len() });
    intent.audit("add group", &subject(&new.name), &detail).await?;
    Ok((intent, ()))
}

async fn change_group(
    mut intent: Intent,
    name: &str,
    change: &GroupChange,
    revision: Option<i64>,
) -> Attempted<Change> {
    let group = find::group(&mut intent, name).await?;
    must_be_revision(group.revision, revision, &format!("group `{name}`"))?;
    let mut changed = Change::default();
    let mut selector = group.selector.clone();
    if let Some(new) = &change.selector {
        if group.selector.is_none() {
            return Err(RefusalKind::Conflict.because(format!(
                "the members of group `{name}` are listed, and stay so: make another group for labels"
            )));
        }
        let (now, before) = (selected(&mut intent, new).await?, members(&mut intent, group.id).await?);
        let (added, removed) = (now.difference(&before).copied(), before.difference(&now).copied());
        changed = change_members(&mut intent, group.id, added.collect(), removed.collect()).await?;
        selector = Some(new.to_string());
    }
    let policy = match &change.policy {
        Some(policy) => policy_text(policy)?,
        None => group.policy.clone(),
    };
    let values = [Value::from(selector.clone()), Value::from(policy.as_str()), Value::from(group.id)];
    let sql = "UPDATE groups SET selector = $1, policy = $2, revision = revision + 1 WHERE id = $3";
    intent.tx.execute(sql, &values).await?;
    let detail = json!({
        "before": { "selector": group.selector, "policy": group.policy },
        "after": { "selector": selector, "policy": policy },
    });
    intent.audit("change group", &subject(name), &detail).await?;
    Ok((intent, changed))
}

async fn remove_group(mut intent: Intent, name: &str, revision: Option<i64>) -> Attempted<Change> {
    let group = find::group(&mut intent, name).await?;
    must_be_revision(group.revision, revision, &format!("group `{name}`"))?;
    let members = members(&mut intent, group.id).await?;
    let topics = topics_of(&mut intent, group.id).await?;
    let changed = change_members(&mut intent, group.id, BTreeSet::new(), members.clone()).await?;
    let id = [Value::from(group.id)];
    intent.tx.execute("DELETE FROM group_access WHERE grp = $1", &id).await?;
    intent.tx.execute("DELETE FROM groups WHERE id = $1", &id).await?;
    let detail = json!({ "members": members.len(), "topics": topics, "selector": group.selector });
    intent.audit("remove group", &subject(name), &detail).await?;
    Ok((intent, changed))
}

async fn list_member(mut intent: Intent, name: &str, device: &ClientId, is_to_be: bool) -> Attempted<Change> {
    let group = find::group(&mut intent, name).await?;
    group.must_be_listed()?;
    let device = find::device(&mut intent, device).await?;
    device.must_not_be_withdrawn()?;
    if members(&mut intent, group.id).await?.contains(&device.id) == is_to_be {
        return Ok((intent, Change::default()));
    }
    let one = BTreeSet::from([device.id]);
    let (action, changed) = if is_to_be {
        ("add member", change_members(&mut intent, group.id, one, BTreeSet::new()).await?)
    } else {
        ("remove member", change_members(&mut intent, group.id, BTreeSet::new(), one).await?)
    };
    intent.audit(action, &subject(name), &json!({ "device": device.id.to_string(), "orders": changed.orders })).await?;
    Ok((intent, changed))
}

/// Changes who is in a group, with all that follows.
async fn change_members(
    intent: &mut Intent,
    group: i64,
    added: BTreeSet<ClientId>,
    removed: BTreeSet<ClientId>,
) -> Result<Change, Refusal> {
    let mut changed = Change::default();
    if added.is_empty() && removed.is_empty() {
        return Ok(changed);
    }
    let rows = removed.iter().map(|id| vec![Value::from(group), Value::from(id.as_bytes().as_slice())]).collect();
    intent.tx.execute_each("DELETE FROM members WHERE grp = $1 AND device = $2", rows).await?;
    let topics = topics_of(intent, group).await?;
    let joined = joining(intent, &topics, &added).await?;
    insert_members(intent, group, &added).await?;
    for topic in &topics {
        let still = still_members(intent, *topic, &removed).await?;
        let left: Vec<_> = removed.difference(&still).copied().collect();
        if !left.is_empty() {
            changed.orders.extend(leave(intent, *topic, &left).await?);
        }
    }
    for topic in joined {
        changed.orders.extend(join(intent, topic).await?);
    }
    let concerned: Vec<_> = added.union(&removed).copied().collect();
    if !topics.is_empty() {
        devices_are_due(intent, &concerned).await?;
        peers_are_due(intent, &topics, &concerned).await?;
    }
    Ok(changed)
}

/// Topics that some of these devices get by a group of these topics, and did not have before.
async fn joining(intent: &mut Intent, topics: &[i64], added: &BTreeSet<ClientId>) -> Result<Vec<i64>, Refusal> {
    let mut joined = Vec::new();
    for topic in topics {
        if !added.is_empty() && still_members(intent, *topic, added).await?.len() < added.len() {
            joined.push(*topic);
        }
    }
    Ok(joined)
}

/// The labels of a device changed, or it is new: it gets into groups and out of groups.
pub(super) async fn regroup(
    intent: &mut Intent,
    device: ClientId,
    before: &Labels,
    after: &Labels,
) -> Result<Change, Refusal> {
    let mut changed = Change::default();
    for (group, selector) in by_labels(&find::groups(intent).await?)? {
        let one = BTreeSet::from([device]);
        let more = match (selector.selects(before), selector.selects(after)) {
            (false, true) => change_members(intent, group, one, BTreeSet::new()).await?,
            (true, false) => change_members(intent, group, BTreeSet::new(), one).await?,
            _ => continue,
        };
        changed.orders.extend(more.orders);
    }
    Ok(changed)
}

/// Many new devices get into their groups: listed by name, and by their labels.
pub(super) async fn group_new(
    intent: &mut Intent,
    devices: impl Iterator<Item = (ClientId, &Labels, &[String])>,
) -> Result<(), Refusal> {
    let groups = find::groups(intent).await?;
    let selectors = by_labels(&groups)?;
    let mut joining: std::collections::BTreeMap<i64, BTreeSet<ClientId>> = std::collections::BTreeMap::new();
    for (id, labels, names) in devices {
        for name in names {
            let group = groups.iter().find(|group| group.name == *name);
            let group = group.ok_or_else(|| RefusalKind::NotFound.because(format!("there is no group `{name}`")))?;
            group.must_be_listed()?;
            joining.entry(group.id).or_default().insert(id);
        }
        for (group, _) in selectors.iter().filter(|(_, selector)| selector.selects(labels)) {
            joining.entry(*group).or_default().insert(id);
        }
    }
    for (group, devices) in joining {
        change_members(intent, group, devices, BTreeSet::new()).await?;
    }
    Ok(())
}

fn by_labels(groups: &[Group]) -> Result<Vec<(i64, Selector)>, Refusal> {
    let selectors = groups.iter().filter_map(|group| group.selector.as_ref().map(|selector| (group.id, selector)));
    selectors
        .map(|(id, text)| Ok((id, Selector::parse(text).map_err(|error| Refusal::damaged(error.to_string()))?)))
        .collect()
}

async fn selected(intent: &mut Intent, selector: &Selector) -> Result<BTreeSet<ClientId>, Refusal> {
    let devices = find::labelled(intent).await?;
    Ok(devices.into_iter().filter(|(_, labels)| selector.selects(labels)).map(|(id, _)| id).collect())
}

pub(super) async fn members(intent: &mut Intent, group: i64) -> Result<BTreeSet<ClientId>, Refusal> {
    let rows = intent.tx.query("SELECT device FROM members WHERE grp = $1", &[Value::from(group)]).await?;
    rows.iter().map(|row| find::id_of(row.bytes(0)?)).collect()
}

async fn topics_of(intent: &mut Intent, group: i64) -> Result<Vec<i64>, Refusal> {
    let sql = "SELECT topic FROM group_access WHERE grp = $1 AND access <> 0 ORDER BY topic";
    let rows = intent.tx.query(sql, &[Value::from(group)]).await?;
    rows.iter().map(|row| Ok(row.int(0)?)).collect()
}

async fn insert_members(intent: &mut Intent, group: i64, members: &BTreeSet<ClientId>) -> Result<(), Refusal> {
    let rows = members.iter().map(|id| vec![Value::from(group), Value::from(id.as_bytes().as_slice())]).collect();
    let sql = "INSERT INTO members (grp, device) VALUES ($1, $2) ON CONFLICT DO NOTHING";
    intent.tx.execute_each(sql, rows).await?;
    Ok(())
}

fn policy_text(policy: &GroupPolicy) -> Result<String, Refusal> {
    serde_json::to_string(policy).map_err(|_| Refusal::damaged("a policy cannot be written"))
}
