//! All tables and their columns, as backups and copies go through them.

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Number,
    Bytes,
}

/// A table, whose rows are gone through in the order of its key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Table {
    pub(crate) name: &'static str,
    /// The columns of its key, and what they hold, come first.
    pub(crate) key: usize,
    pub(crate) columns: &'static [(&'static str, Kind)],
}

impl Table {
    /// The names of the columns, for a statement.
    pub(crate) fn column_list(&self) -> String {
        list(self.columns)
    }

    /// The names of the columns of the key, for a statement.
    pub(crate) fn key_list(&self) -> String {
        list(self.key_columns())
    }

    pub(crate) fn key_columns(&self) -> &'static [(&'static str, Kind)] {
        self.columns.get(..self.key).unwrap_or_default()
    }
}

fn list(columns: &[(&str, Kind)]) -> String {
    columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

/// `$1, $2, …`
pub(crate) fn placeholders(count: usize) -> String {
    (1..=count).map(|n| format!("${n}")).collect::<Vec<_>>().join(", ")
}

use Kind::{Bytes, Number, Text};

/// All tables but `leases`, which say what runs right now; checkpoints before the audit, which is verified against them.
pub(crate) const TABLES: &[Table] = &[
    Table { name: "meta", key: 1, columns: &[("name", Text), ("value", Bytes)] },
    Table { name: "counters", key: 1, columns: &[("name", Text), ("value", Number)] },
    Table {
        name: "slots",
        key: 1,
        columns: &[("name", Text), ("kind", Text), ("parameters", Text), ("wrapped", Bytes), ("created", Number)],
    },
    Table {
        name: "server_keys",
        key: 1,
        columns: &[("version", Number), ("role", Number), ("public", Bytes), ("secret", Bytes), ("created", Number)],
    },
    Table {
        name: "devices",
        key: 1,
        columns: &[
            ("id", Bytes),
            ("slice", Number),
            ("name", Text),
            ("mode", Number),
            ("status", Number),
            ("labels", Text),
            ("notes", Text),
            ("created", Number),
            ("withdrawn", Number),
            ("revision", Number),
            ("key_version", Number),
            ("secret", Bytes),
            ("public_key", Bytes),
            ("server_key", Number),
            ("next_secret", Bytes),
            ("next_public_key", Bytes),
            ("next_server_key", Number),
            ("next_since", Number),
            ("client_key_since", Number),
            ("keyed", Number),
            ("lane_last", Number),
            ("lane_used", Number),
            ("report_newest", Number),
            ("report_sent", Number),
            ("reported", Number),
            ("report", Text),
            ("held", Text),
            ("standing", Text),
            ("standing_since", Number),
            ("confirmed", Number),
            ("due", Number),
            ("attempts", Number),
        ],
    },
    Table { name: "fingerprints", key: 1, columns: &[("fingerprint", Bytes), ("owner", Text)] },
    Table {
        name: "outbox",
        key: 2,
        columns: &[
            ("device", Bytes),
            ("position", Number),
            ("sent", Number),
            ("v", Bytes),
            ("bytes", Bytes),
            ("step", Text),
            ("handed", Number),
            ("answer", Text),
        ],
    },
    Table {
        name: "topics",
        key: 1,
        columns: &[
            ("id", Number),
            ("name", Text),
            ("hash", Bytes),
            ("policy", Text),
            ("notes", Text),
            ("created", Number),
            ("removed", Number),
            ("revision", Number),
        ],
    },
    Table {
        name: "key_versions",
        key: 2,
        columns: &[
            ("topic", Number),
            ("version", Number),
            ("role", Number),
            ("created", Number),
            ("role_since", Number),
            ("reason", Number),
            ("cut", Number),
            ("secret", Bytes),
            ("fingerprint", Bytes),
        ],
    },
    Table {
        name: "groups",
        key: 1,
        columns: &[
            ("id", Number),
            ("name", Text),
            ("selector", Text),
            ("policy", Text),
            ("created", Number),
            ("revision", Number),
        ],
    },
    Table { name: "members", key: 2, columns: &[("grp", Number), ("device", Bytes)] },
    Table { name: "device_access", key: 2, columns: &[("topic", Number), ("device", Bytes), ("access", Number)] },
    Table { name: "group_access", key: 2, columns: &[("topic", Number), ("grp", Number), ("access", Number)] },
    Table {
        name: "orders",
        key: 1,
        columns: &[
            ("id", Number),
            ("kind", Number),
            ("state", Number),
            ("topic", Number),
            ("device", Bytes),
            ("rotation", Number),
            ("version", Number),
            ("reason", Number),
            ("asked_by", Text),
            ("created", Number),
            ("phase_since", Number),
            ("ended", Number),
            ("detail", Text),
        ],
    },
    Table {
        name: "tokens",
        key: 1,
        columns: &[
            ("id", Number),
            ("name", Text),
            ("hash", Bytes),
            ("role", Number),
            ("created", Number),
            ("expires", Number),
            ("used", Number),
        ],
    },
    Table {
        name: "invitations",
        key: 1,
        columns: &[
            ("hash", Bytes),
            ("kind", Text),
            ("device", Bytes),
            ("secret", Bytes),
            ("detail", Text),
            ("created", Number),
            ("expires", Number),
            ("used", Number),
        ],
    },
    Table {
        name: "idempotency",
        key: 2,
        columns: &[
            ("principal", Text),
            ("name", Text),
            ("request", Bytes),
            ("status", Number),
            ("answer", Text),
            ("created", Number),
        ],
    },
    Table {
        name: "checkpoints",
        key: 1,
        columns: &[("audit", Number), ("at", Number), ("digest", Bytes), ("signature", Bytes)],
    },
    Table {
        name: "audit",
        key: 1,
        columns: &[
            ("id", Number),
            ("at", Number),
            ("actor", Text),
            ("origin", Text),
            ("action", Text),
            ("subject", Text),
            ("detail", Text),
            ("mac", Bytes),
        ],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    /// A table, its columns with their kinds, and the columns of its key.
    type Described = (String, Vec<(String, Kind)>, Vec<String>);

    /// The schema in the form of the list above.
    fn of_schema() -> Vec<Described> {
        let schema: String =
            include_str!("../store/schema.sql").lines().map(|line| line.split("--").next().unwrap()).collect();
        let mut tables = Vec::new();
        for statement in schema.split(';') {
            let Some((name, body)) = statement.trim().strip_prefix("CREATE TABLE ").and_then(|it| it.split_once('('))
            else {
                continue;
            };
            let body = body.trim_end().strip_suffix(')').unwrap();
            let (body, mut key) = match body.split_once("PRIMARY KEY (") {
                Some((body, key)) => {
                    (body, key.trim_end_matches(')').split(',').map(|it| it.trim().to_owned()).collect())
                }
                None => (body, Vec::new()),
            };
            let mut columns = Vec::new();
            for column in body.split(',').map(str::trim).filter(|it| !it.is_empty()) {
                let mut words = column.split_whitespace();
                let name = words.next().unwrap().to_owned();
                let kind = match words.next().unwrap() {
                    "TEXT" => Text,
                    "BIGINT" => Number,
                    "BYTEA" => Bytes,
                    other => panic!("{other}"),
                };
                if column.contains("PRIMARY KEY") {
                    key.push(name.clone());
                }
                columns.push((name, kind));
            }
            tables.push((name.trim().to_owned(), columns, key));
        }
        tables
    }

    #[test]
    fn the_list_is_the_schema() {
        let listed: Vec<Described> = TABLES
            .iter()
            .map(|it| {
                let columns: Vec<_> = it.columns.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect();
                let key: Vec<_> = it.key_columns().iter().map(|(name, _)| (*name).to_owned()).collect();
                (it.name.to_owned(), columns, key)
            })
            .collect();
        let mut schema: Vec<Described> = of_schema().into_iter().filter(|(name, ..)| name != "leases").collect();
        schema.sort_by_key(|(name, ..)| name == "audit");
        assert_eq!(listed, schema);
    }
}
