//! Topics and subtrees that have keys.

use super::{
    Actor, Change, Fleet, Refusal, RefusalKind, TopicPolicy,
    find::{self, must_be_revision},
    intent::{Attempted, Intent},
    keys::{NewVersions, in_use, insert_versions, new_versions},
    members::{members_are_due, peers_of_topic_are_due, topics},
    rotate::end_orders_of,
};
use crate::{
    model::{KeyRole, Reason, Role, TopicName},
    store::Value,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use zeroize::Zeroizing;

/// A topic to be added.
pub struct NewTopic {
    /// Its name.
    pub name: TopicName,
    /// The key that it has already; without it the server makes one.
    pub key: Option<Zeroizing<[u8; 32]>>,
    /// What it has otherwise than the fleet.
    pub policy: TopicPolicy,
    /// What people wrote about it.
    pub notes: String,
}

impl std::fmt::Debug for NewTopic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NewTopic({}, ..)", self.name)
    }
}

/// What is to be changed about a topic; what is not said stays.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TopicChange {
    /// Another policy, as a whole.
    pub policy: Option<TopicPolicy>,
    /// Other notes.
    pub notes: Option<String>,
}

/// A topic that was added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicAdded {
    /// Its number.
    pub id: i64,
    /// What to know about it.
    pub warnings: Vec<String>,
}

/// The longest notes, in bytes.
const NOTES: usize = 4_096;

impl Fleet {
    /// Adds a topic, with its first key.
    ///
    /// # Errors
    ///
    /// [`RefusalKind::Conflict`] if it is there, or its key is in use for something else.
    pub async fn add_topic(&self, actor: &Actor, new: &NewTopic) -> Result<TopicAdded, Refusal> {
        self.intention(actor, Role::Operator, ("add topic", new.name.as_str()), |intent| add_topic(intent, new)).await
    }

    /// Changes what is said about a topic.
    ///
    /// # Errors
    ///
    /// [`RefusalKind::NotFound`], [`RefusalKind::Stale`]
    pub async fn change_topic(
        &self,
        actor: &Actor,
        id: i64,
        change: &TopicChange,
        revision: Option<i64>,
    ) -> Result<(), Refusal> {
        let subject = format!("topic {id}");
        self.intention(actor, Role::Operator, ("change topic", &subject), |intent| {
            change_topic(intent, id, change, revision)
        })
        .await
    }

    /// Removes a topic: its members are told to forget its keys.
    ///
    /// # Errors
    ///
    /// [`RefusalKind::NotFound`], [`RefusalKind::Stale`]
    pub async fn remove_topic(&self, actor: &Actor, id: i64, revision: Option<i64>) -> Result<Change, Refusal> {
        let subject = format!("topic {id}");
        self.intention(actor, Role::Operator, ("remove topic", &subject), |intent| remove_topic(intent, id, revision))
            .await
    }
}

async fn add_topic(mut intent: Intent, new: &NewTopic) -> Attempted<TopicAdded> {
    must_be_notes(&new.notes)?;
    let warnings = shadows(&topics(&mut intent).await?, &new.name);
    let policy = serde_json::to_string(&new.policy).map_err(|_| Refusal::damaged("a policy cannot be written"))?;
    let name = Value::from(new.name.as_str());
    let sql = "SELECT id, removed FROM topics WHERE name = $1";
    let before = match intent.tx.query_opt(sql, std::slice::from_ref(&name)).await? {
        Some(row) => Some((row.int(0)?, row.opt_int(1)?.is_some())),
        None => None,
    };
    let id = match before {
        Some((id, false)) => {
            return Err(
                RefusalKind::Conflict.because(format!("there is a topic `{}` already: its number is {id}", new.name))
            );
        }
        Some((id, true)) => {
            let sql =
                "UPDATE topics SET removed = NULL, policy = $1, notes = $2, revision = revision + 1 WHERE id = $3";
            let values = [Value::from(policy), Value::from(new.notes.as_str()), Value::from(id)];
            intent.tx.execute(sql, &values).await?;
            id
        }
        None => {
            let id = intent.next("topics").await?;
            let values = [
                Value::from(id),
                name,
                Value::from(new.name.hash().as_bytes()),
                Value::from(policy),
                Value::from(new.notes.as_str()),
                Value::from(intent.now),
            ];
            let sql = "INSERT INTO topics (id, name, hash, policy, notes, created, revision) VALUES ($1, $2, $3, $4, $5, $6, 1)";
            intent.tx.execute(sql, &values).await?;
            id
        }
    };
    let version = first_version(&mut intent, id, new).await?;
    let detail = json!({
        "name": new.name.as_str(), "policy": new.policy, "version": version, "key": if new.key.is_some() { "given" } else { "new" },
        "warnings": warnings,
    });
    intent.audit("add topic", &format!("topic {id}"), &detail).await?;
    Ok((intent, TopicAdded { id, warnings }))
}

/// The key that a topic begins with; one that was there before begins with another one than it ended with.
async fn first_version(intent: &mut Intent, id: i64, new: &NewTopic) -> Result<u32, Refusal> {
    match &new.key {
        Some(key) => {
            let newest = in_use(intent, &[id]).await?.get(&id).map_or(0, |keys| keys.newest);
            let version = newest + 1;
            insert_versions(intent, vec![(id, version, version, key.clone())], KeyRole::Current, Reason::Imported)
                .await?;
            Ok(version)
        }
        None => {
            let new = NewVersions { topics: &[id], role: KeyRole::Current, cuts: true, reason: Reason::New };
            Ok(new_versions(intent, &new).await?.get(&id).copied().unwrap_or(1))
        }
    }
}

async fn change_topic(mut intent: Intent, id: i64, change: &TopicChange, revision: Option<i64>) -> Attempted<()> {
    let topic = find::topic(&mut intent, id).await?;
    must_be_revision(topic.revision, revision, &format!("topic {id}"))?;
    let policy = match &change.policy {
        Some(policy) => serde_json::to_string(policy).map_err(|_| Refusal::damaged("a policy cannot be written"))?,
        None => topic.policy.clone(),
    };
    let notes = change.notes.as_ref().unwrap_or(&topic.notes);
    must_be_notes(notes)?;
    let sql = "UPDATE topics SET policy = $1, notes = $2, revision = revision + 1 WHERE id = $3";
    intent.tx.execute(sql, &[Value::from(policy.as_str()), Value::from(notes.as_str()), Value::from(id)]).await?;
    let detail = json!({
        "before": { "policy": topic.policy, "notes": topic.notes }, "after": { "policy": policy, "notes": notes },
    });
    intent.audit("change topic", &format!("topic {id}"), &detail).await?;
    Ok((intent, ()))
}

async fn remove_topic(mut intent: Intent, id: i64, revision: Option<i64>) -> Attempted<Change> {
    let topic = find::topic(&mut intent, id).await?;
    must_be_revision(topic.revision, revision, &format!("topic {id}"))?;
    let others: Vec<_> = topics(&mut intent).await?.into_iter().filter(|(other, _)| *other != id).collect();
    let warnings = below(&others, &topic.name);
    let members = members_are_due(&mut intent, &[id]).await?;
    peers_of_topic_are_due(&mut intent, id).await?;
    end_orders_of(&mut intent, id, "the topic was removed").await?;
    let values = [Value::from(id), Value::from(intent.now)];
    let sql = "UPDATE key_versions SET role = 2, role_since = $2 WHERE topic = $1 AND role <> 2";
    intent.tx.execute(sql, &values).await?;
    intent.tx.execute("DELETE FROM device_access WHERE topic = $1", &[Value::from(id)]).await?;
    intent.tx.execute("DELETE FROM group_access WHERE topic = $1", &[Value::from(id)]).await?;
    let sql = "UPDATE topics SET removed = $2, revision = revision + 1 WHERE id = $1";
    intent.tx.execute(sql, &values).await?;
    let detail = json!({ "name": topic.name.as_str(), "members": members, "warnings": warnings });
    intent.audit("remove topic", &format!("topic {id}"), &detail).await?;
    Ok((intent, Change { orders: Vec::new(), warnings }))
}

/// What a new topic and those that are there do to each other.
fn shadows(all: &[(i64, TopicName)], new: &TopicName) -> Vec<String> {
    let outer = all.iter().filter(|(_, other)| other.encloses(new)).map(|(_, other)| {
        format!(
            "`{new}` lies below `{other}`: who has the key of `{other}` alone opens nothing that is sealed under the key of `{new}`, and what it seals there opens under the key of `{other}` only"
        )
    });
    let inner = all.iter().filter(|(_, other)| new.encloses(other)).map(|(_, other)| {
        format!(
            "`{other}` lies below `{new}` and keeps its own key: who has the key of `{new}` alone does not open what is sealed there"
        )
    });
    outer.chain(inner).collect()
}

fn below(others: &[(i64, TopicName)], removed: &TopicName) -> Vec<String> {
    let outer = others.iter().filter(|(_, other)| other.encloses(removed));
    outer
        .map(|(_, other)| format!("`{removed}` lies below `{other}`: from now on it comes under the key of `{other}`"))
        .collect()
}

pub(super) fn must_be_notes(notes: &str) -> Result<(), Refusal> {
    if notes.len() > NOTES {
        return Err(RefusalKind::Invalid.because(format!("notes have at most {NOTES} bytes")));
    }
    Ok(())
}
