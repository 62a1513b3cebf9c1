//! Which of several servers delivers to which slices of the fleet.
//!
//! A server says every few seconds that it is there, and takes its share of the slices: those that are free, or whose holder has not
//! been there for [`TTL`] seconds. Each time a slice changes hands its number grows, so that who comes back late is noticed.

use super::{StoreError, Transaction, Value};
use crate::model::{Leases, Slice};
use std::collections::{BTreeMap, BTreeSet};

/// How long a server is taken to be there after it said so, in seconds.
pub const TTL: i64 = 6;

/// A server among others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its name, which no other server has.
    pub name: String,
    /// A number that no other server has, below 0: under it the server says that it is there.
    pub presence: i64,
}

/// Says that a server is there, and takes its share; what it holds from now on.
///
/// # Errors
///
/// [`StoreError`].
pub async fn keep(tx: &mut Transaction, holder: &Holder, now: i64) -> Result<Leases, StoreError> {
    let expires = now.saturating_add(TTL);
    tx.execute("DELETE FROM leases WHERE slice < 0 AND expires <= $1", &[now.into()]).await?;
    tx.execute(
        "INSERT INTO leases (slice, holder, fence, expires) VALUES ($1, $2, 0, $3)
         ON CONFLICT (slice) DO UPDATE SET expires = excluded.expires",
        &[holder.presence.into(), holder.name.as_str().into(), expires.into()],
    )
    .await?;
    let rows = tx.query("SELECT slice, holder, fence, expires FROM leases ORDER BY slice FOR UPDATE", &[]).await?;
    let mut servers = 0;
    let (mut mine, mut taken) = (BTreeMap::new(), BTreeSet::new());
    for row in &rows {
        let (code, name, fence, expires) = (row.int(0)?, row.text(1)?, row.int(2)?, row.int(3)?);
        let Some(slice) = Slice::from_code(code) else {
            servers += 1;
            continue;
        };
        if name == holder.name {
            mine.insert(slice, fence);
        } else if expires > now {
            taken.insert(slice);
        }
    }
    let share = usize::try_from(Slice::COUNT).unwrap_or(0).div_ceil(usize::max(servers, 1));
    let surplus: Vec<_> = mine.keys().skip(share).copied().collect();
    let wanted = share.saturating_sub(mine.len());
    let free = Slice::all().filter(|slice| !taken.contains(slice) && !mine.contains_key(slice)).take(wanted);
    let free: Vec<_> = free.collect();
    for slice in &surplus {
        mine.remove(slice);
    }
    let codes = |slices: &[Slice]| Value::list(slices.iter().map(|slice| slice.code()));
    if !surplus.is_empty() {
        tx.execute("UPDATE leases SET expires = 0, holder = '' WHERE slice = ANY($1)", &[codes(&surplus)]).await?;
    }
    if !mine.is_empty() {
        let kept: Vec<_> = mine.keys().copied().collect();
        tx.execute("UPDATE leases SET expires = $1 WHERE slice = ANY($2)", &[expires.into(), codes(&kept)]).await?;
    }
    for slice in free {
        let row = tx
            .query_opt(
                "INSERT INTO leases (slice, holder, fence, expires) VALUES ($1, $2, 1, $3)
                 ON CONFLICT (slice) DO UPDATE SET holder = excluded.holder, fence = leases.fence + 1, expires = excluded.expires
                 WHERE leases.expires <= $4
                 RETURNING fence",
                &[slice.code().into(), holder.name.as_str().into(), expires.into(), now.into()],
            )
            .await?;
        if let Some(row) = row {
            mine.insert(slice, row.int(0)?);
        }
    }
    Ok(Leases(mine))
}

/// Gives up what a server holds, so that others take it at once.
///
/// # Errors
///
/// [`StoreError`].
pub async fn release(tx: &mut Transaction, holder: &Holder) -> Result<(), StoreError> {
    tx.execute("DELETE FROM leases WHERE slice < 0 AND holder = $1", &[holder.name.as_str().into()]).await?;
    tx.execute("UPDATE leases SET expires = 0, holder = '' WHERE holder = $1", &[holder.name.as_str().into()]).await?;
    Ok(())
}

/// Those of these leases that are still held: who was away for long finds others in them.
///
/// # Errors
///
/// [`StoreError`].
pub async fn still_held(tx: &mut Transaction, leases: &Leases) -> Result<Leases, StoreError> {
    let rows = tx
        .query(
            "SELECT slice, fence FROM leases WHERE slice = ANY($1)",
            &[Value::list(leases.0.keys().map(|slice| slice.code()))],
        )
        .await?;
    let mut held = BTreeMap::new();
    for row in rows {
        let (slice, fence) = (Slice::from_code(row.int(0)?), row.int(1)?);
        if let Some(slice) = slice.filter(|slice| leases.0.get(slice) == Some(&fence)) {
            held.insert(slice, fence);
        }
    }
    Ok(Leases(held))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    fn holder(name: &str, presence: i64) -> Holder {
        Holder { name: name.to_owned(), presence }
    }

    async fn kept(store: &Store, holder: &Holder, now: i64) -> Leases {
        let mut tx = store.write().await.unwrap();
        let leases = keep(&mut tx, holder, now).await.unwrap();
        tx.commit().await.unwrap();
        leases
    }

    async fn held(store: &Store, leases: &Leases) -> Leases {
        still_held(&mut store.read().await.unwrap(), leases).await.unwrap()
    }

    #[tokio::test]
    async fn servers_share_the_slices_and_take_over_from_who_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&format!("sqlite:{}", folder.path().join("e4.db").display())).await.unwrap();
        let (one, two) = (holder("one", -1), holder("two", -2));
        let alone = kept(&store, &one, 1000).await;
        assert_eq!(alone.0.len(), 64);
        assert!(alone.0.values().all(|fence| *fence == 1));
        // The other one finds nothing free, until the first one has seen it.
        assert!(kept(&store, &two, 1001).await.is_empty());
        let shared = kept(&store, &one, 1002).await;
        assert_eq!(shared.0.len(), 32);
        assert_eq!(held(&store, &alone).await.0.len(), 64, "nobody has taken the rest yet");
        let others = kept(&store, &two, 1003).await;
        assert_eq!(others.0.len(), 32);
        assert!(others.0.keys().all(|slice| !shared.0.contains_key(slice)));
        assert!(others.0.values().all(|fence| *fence == 2));
        assert_eq!(held(&store, &alone).await, shared);
        // The first one is stopped; who comes back late holds nothing, and gets its share again.
        let renewed = kept(&store, &two, 1002 + TTL).await;
        assert_eq!(renewed.0.len(), 64);
        assert!(held(&store, &shared).await.is_empty());
        assert_eq!(held(&store, &others).await, others);
        assert!(kept(&store, &one, 1003 + TTL).await.is_empty());
        kept(&store, &two, 1003 + TTL).await;
        assert_eq!(kept(&store, &one, 1003 + TTL).await.0.len(), 32);
        // Who ends in good order leaves all of it at once.
        let mut tx = store.write().await.unwrap();
        release(&mut tx, &one).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(kept(&store, &two, 1004 + TTL).await.0.len(), 64);
    }
}
