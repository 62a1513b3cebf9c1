//! Tokens, never by value, and the keys of the server itself.

use super::{after_number, limit, moment, number, one_more, part, word_of};
use crate::{
    fleet::{Fleet, Refusal, RefusalKind},
    store::{Row, Value},
};
use e4_keyserver_api as said;

const TOKENS: &str = "SELECT id, name, role, created, expires, used FROM tokens";

impl Fleet {
    /// Tokens in the order of their numbers.
    ///
    /// # Errors
    ///
    /// A query that makes no sense; the database.
    pub async fn list_tokens(&self, query: &said::PageQuery) -> Result<said::Page<said::Token>, Refusal> {
        let limit = limit(query.limit)?;
        let after = after_number(query.after.as_deref())?.unwrap_or(0);
        let mut tx = self.store().read().await?;
        let sql = format!("{TOKENS} WHERE id > $1 ORDER BY id LIMIT {}", one_more(limit));
        let rows = tx.query(&sql, &[Value::from(after)]).await?;
        let tokens = rows.iter().map(token_of).collect::<Result<Vec<_>, _>>()?;
        Ok(part(tokens, limit, |token| token.id.to_string()))
    }

    /// What is said of one token.
    ///
    /// # Errors
    ///
    /// [`RefusalKind::NotFound`]; the database.
    pub async fn token(&self, id: i64) -> Result<said::Token, Refusal> {
        let mut tx = self.store().read().await?;
        let row = tx.query_opt(&format!("{TOKENS} WHERE id = $1"), &[Value::from(id)]).await?;
        token_of(&row.ok_or_else(|| RefusalKind::NotFound.because("there is no token of this number"))?)
    }

    /// Key pairs of the server, the newest first: never their secret halves.
    ///
    /// # Errors
    ///
    /// A query that makes no sense; the database.
    pub async fn list_server_keys(&self, query: &said::PageQuery) -> Result<said::Page<said::ServerKey>, Refusal> {
        let limit = limit(query.limit)?;
        let before = after_number(query.after.as_deref())?.unwrap_or(i64::MAX);
        let mut tx = self.store().read().await?;
        let sql = format!(
            "SELECT k.version, k.role, k.public, k.created,
                    (SELECT COUNT(*) FROM devices d WHERE d.server_key = k.version AND d.withdrawn IS NULL)
             FROM server_keys k WHERE k.version < $1 ORDER BY k.version DESC LIMIT {}",
            one_more(limit)
        );
        let rows = tx.query(&sql, &[Value::from(before)]).await?;
        let keys = rows.iter().map(server_key_of).collect::<Result<Vec<_>, _>>()?;
        Ok(part(keys, limit, |key| key.version.to_string()))
    }
}

fn token_of(row: &Row) -> Result<said::Token, Refusal> {
    Ok(said::Token {
        id: number(row.int(0)?)?,
        name: row.text(1)?.to_owned(),
        role: word_of!(Role, row.int(2)?)?,
        created: moment(row.int(3)?),
        expires: row.opt_int(4)?.map(moment),
        used: row.opt_int(5)?.map(moment),
    })
}

fn server_key_of(row: &Row) -> Result<said::ServerKey, Refusal> {
    Ok(said::ServerKey {
        version: number(row.int(0)?)?,
        role: word_of!(KeyRole, row.int(1)?)?,
        public_key: hex::encode(row.bytes(2)?),
        created: moment(row.int(3)?),
        devices: number(row.int(4)?)?,
    })
}
