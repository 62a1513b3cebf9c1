//! Groups.

use super::{damaged, limit, moment, number, one_more, part};
use crate::{
    fleet::{Fleet, Refusal, RefusalKind},
    store::{Row, Value},
};
use e4_keyserver_api as said;

const COLUMNS: &str = "SELECT g.name, g.selector, g.policy, (SELECT COUNT(*) FROM members m WHERE m.grp = g.id), g.created, \
                       g.revision FROM groups g";

impl Fleet {
    /// Groups in the order of their names.
    ///
    /// # Errors
    ///
    /// A query that makes no sense; the database.
    pub async fn list_groups(&self, query: &said::PageQuery) -> Result<said::Page<said::Group>, Refusal> {
        let limit = limit(query.limit)?;
        let after = query.after.as_deref().unwrap_or_default();
        let mut tx = self.store().read().await?;
        let sql = format!("{COLUMNS} WHERE g.name > $1 ORDER BY g.name LIMIT {}", one_more(limit));
        let rows = tx.query(&sql, &[Value::from(after)]).await?;
        let groups = rows.iter().map(group_of).collect::<Result<Vec<_>, _>>()?;
        Ok(part(groups, limit, |group| group.name.clone()))
    }

    /// What is said of one group.
    ///
    /// # Errors
    ///
    /// [`RefusalKind::NotFound`]; the database.
    pub async fn group(&self, name: &str) -> Result<said::Group, Refusal> {
        let mut tx = self.store().read().await?;
        let row = tx.query_opt(&format!("{COLUMNS} WHERE g.name = $1"), &[Value::from(name)]).await?;
        group_of(&row.ok_or_else(|| RefusalKind::NotFound.because("there is no group of this name"))?)
    }
}

fn group_of(row: &Row) -> Result<said::Group, Refusal> {
    Ok(said::Group {
        name: row.text(0)?.to_owned(),
        selector: row.opt_text(1)?.map(str::to_owned),
        policy: serde_json::from_str(row.text(2)?).map_err(|_| damaged("a policy that is none"))?,
        members: number(row.int(3)?)?,
        created: moment(row.int(4)?),
        revision: number(row.int(5)?)?,
    })
}
