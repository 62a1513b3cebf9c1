//! Keeps `docs/mqttinfo.schema.json` true: it is made of [`Report`].

use crate::{
    Report,
    report::{Oddity, SCHEMA},
};
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};
use std::{env, fs, path::Path};

/// What is written, and not what would be read as well: fields that may be missing then are always there.
fn schema() -> Value {
    let schema = SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<Report>();
    let mut schema = serde_json::to_value(schema).unwrap();
    schema["$id"] = json!("https://raw.githubusercontent.com/e4-rs/e4/main/docs/mqttinfo.schema.json");
    schema["properties"]["schema"] = json!({ "const": SCHEMA, "description": "The version of this form." });
    // Of a map it says what the values are, and not the keys.
    schema["$defs"]["LevelReport"]["properties"]["oddities"]["propertyNames"] = json!({ "enum": Oddity::ALL });
    schema
}

#[test]
fn the_schema_in_docs_is_that_of_the_report() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/mqttinfo.schema.json");
    let text = format!("{}\n", serde_json::to_string_pretty(&schema()).unwrap());
    if env::var_os("UPDATE_SCHEMA").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let stored = fs::read_to_string(&path).unwrap_or_default();
    assert!(stored == text, "write it anew: UPDATE_SCHEMA=1 cargo test -p mqttinfo --lib schema");
}
