//! Tokens with which the server is used.

use super::{
    Actor, Fleet, Refusal, RefusalKind,
    groups::must_be_a_name,
    intent::{Attempted, Intent},
    server_key::new_pair,
};
use crate::{model::Role, store::Value};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha3::{Digest, Sha3_256};
use zeroize::Zeroizing;

/// What a token begins with, so that one that got lost is recognised.
const PREFIX: &str = "e4t_";
/// How exactly it is known when a token was used last.
const USED: i64 = 600;

/// A token that was made.
#[derive(Serialize, Deserialize)]
pub struct TokenMade {
    /// Its number.
    pub id: i64,
    /// The token, which is shown once; `None` if the request was carried out before.
    #[serde(skip)]
    pub secret: Option<Zeroizing<String>>,
}

impl std::fmt::Debug for TokenMade {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TokenMade({}, ..)", self.id)
    }
}

/// A random text and what is stored of it.
pub(super) fn new_secret(fleet: &Fleet, prefix: &str) -> Result<(Zeroizing<String>, [u8; 32]), Refusal> {
    let key = fleet.vault().new_key()?;
    let mut text = Zeroizing::new(String::with_capacity(64));
    text.push_str(prefix);
    URL_SAFE_NO_PAD.encode_string(key.as_slice(), &mut text);
    let hash = hash(&text);
    Ok((text, hash))
}

/// What is stored of a token: it is random, so that a plain hash hides it.
pub(super) fn hash(text: &str) -> [u8; 32] {
    Sha3_256::digest(text.as_bytes()).into()
}

impl Fleet {
    /// Makes a token.
    ///
    /// # Errors
    ///
    /// [`RefusalKind::Conflict`] if there is one of this name.
    pub async fn add_token(
        &self,
        actor: &Actor,
        name: &str,
        role: Role,
        expires: Option<i64>,
    ) -> Result<TokenMade, Refusal> {
        let subject = format!("token {name}");
        self.intention(actor, Role::Administrator, ("add token", &subject), |intent| {
            add_token(intent, name, role, expires)
        })
        .await
    }

    /// Removes a token: it works no more.
    ///
    /// # Errors
    ///
    /// [`RefusalKind::NotFound`], [`RefusalKind::Conflict`] for the last one of an administrator.
    pub async fn remove_token(&self, actor: &Actor, id: i64) -> Result<(), Refusal> {
        let subject = format!("token {id}");
        self.intention(actor, Role::Administrator, ("remove token", &subject), |intent| remove_token(intent, id)).await
    }

    /// Who holds this token, if it works.
    ///
    /// # Errors
    ///
    /// The database.
    pub async fn authenticate(&self, token: &str, origin: &str) -> Result<Option<Actor>, Refusal> {
        if !token.starts_with(PREFIX) {
            return Ok(None);
        }
        self.holder("hash", Value::from(hash(token)), origin).await
    }

    /// Whose token has this name, if it works: for a client that showed a certificate of this name, and the certificate was checked.
    ///
    /// # Errors
    ///
    /// The database.
    pub async fn authenticate_by_name(&self, name: &str, origin: &str) -> Result<Option<Actor>, Refusal> {
        self.holder("name", Value::from(name), origin).await
    }

    async fn holder(&self, column: &str, value: Value, origin: &str) -> Result<Option<Actor>, Refusal> {
        let sql = format!("SELECT id, name, role, expires, used FROM tokens WHERE {column} = $1");
        let mut tx = self.store().read().await?;
        let row = tx.query_opt(&sql, &[value]).await?;
        drop(tx);
        let Some(row) = row else { return Ok(None) };
        let now = self.now();
        if row.opt_int(3)?.is_some_and(|expires| expires <= now) {
            return Ok(None);
        }
        let role = Role::from_code(row.int(2)?).ok_or_else(|| Refusal::damaged("a token has no role that there is"))?;
        if row.opt_int(4)?.is_none_or(|used| used <= now.saturating_sub(USED)) {
            let mut tx = self.store().write().await?;
            let values = [Value::from(now), Value::from(row.int(0)?)];
            tx.execute("UPDATE tokens SET used = $1 WHERE id = $2", &values).await?;
            tx.commit().await?;
        }
        Ok(Some(Actor::new(row.text(1)?, role, origin)))
    }

    /// Makes what a new fleet begins with: the server's first key pair, and a token of an administrator with this name.
    ///
    /// # Errors
    ///
    /// [`RefusalKind::Conflict`] if the fleet has begun already.
    pub async fn begin_fleet(&self, administrator: &str) -> Result<TokenMade, Refusal> {
        let actor = Actor::new("init", Role::Administrator, "server");
        self.intention(&actor, Role::Administrator, ("begin fleet", "server"), |mut intent| async move {
            if intent.tx.query_opt("SELECT version FROM server_keys LIMIT 1", &[]).await?.is_some() {
                return Err(RefusalKind::Conflict.because("this fleet has begun already: nothing was changed"));
            }
            let version = new_pair(&mut intent).await?;
            intent.audit("begin fleet", "server", &json!({ "server_key": version })).await?;
            add_token(intent, administrator, Role::Administrator, None).await
        })
        .await
    }
}

async fn add_token(mut intent: Intent, name: &str, role: Role, expires: Option<i64>) -> Attempted<TokenMade> {
    must_be_a_name(name, "a token")?;
    if name.starts_with("rule:") {
        return Err(RefusalKind::Invalid.because("names that begin with `rule:` are those of the server's rules"));
    }
    if expires.is_some_and(|expires| expires <= intent.now) {
        return Err(RefusalKind::Invalid.because("this token would have expired already: give it a time to come"));
    }
    let sql = "SELECT id FROM tokens WHERE name = $1";
    if intent.tx.query_opt(sql, &[Value::from(name)]).await?.is_some() {
        return Err(RefusalKind::Conflict
            .because(format!("there is a token `{name}` already: remove it, or take another name")));
    }
    let (secret, hash) = new_secret(&intent.fleet, PREFIX)?;
    let id = intent.next("tokens").await?;
    let values = [
        Value::from(id),
        Value::from(name),
        Value::from(hash),
        Value::from(role.code()),
        Value::from(intent.now),
        Value::from(expires),
    ];
    let sql = "INSERT INTO tokens (id, name, hash, role, created, expires) VALUES ($1, $2, $3, $4, $5, $6)";
    intent.tx.execute(sql, &values).await?;
    intent
        .audit("add token", &format!("token {name}"), &json!({ "id": id, "role": role.word(), "expires": expires }))
        .await?;
    Ok((intent, TokenMade { id, secret: Some(secret) }))
}

async fn remove_token(mut intent: Intent, id: i64) -> Attempted<()> {
    let sql = "SELECT name, role FROM tokens WHERE id = $1";
    let row = intent.tx.query_opt(sql, &[Value::from(id)]).await?;
    let row = row.ok_or_else(|| RefusalKind::NotFound.because(format!("there is no token {id}")))?;
    let (name, role) = (row.text(0)?.to_owned(), Role::from_code(row.int(1)?));
    if role == Some(Role::Administrator) {
        // One that ends some day would leave nobody then.
        let sql = "SELECT id FROM tokens WHERE role = $1 AND id <> $2 AND expires IS NULL LIMIT 1";
        let values = [Value::from(Role::Administrator.code()), Value::from(id)];
        if intent.tx.query_opt(sql, &values).await?.is_none() {
            return Err(RefusalKind::Conflict.because(
                "this is the last token of an administrator that does not expire: make another one first, or nobody can make tokens any more",
            ));
        }
    }
    intent.tx.execute("DELETE FROM tokens WHERE id = $1", &[Value::from(id)]).await?;
    intent.audit("remove token", &format!("token {name}"), &json!({ "id": id, "role": role.map(Role::word) })).await?;
    Ok((intent, ()))
}
