use serde::{Deserialize, Serialize};

/// Why something was not done (RFC 9457, `application/problem+json`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Problem {
    /// Which kind of problem, as a URI; `about:blank` for what the status says already.
    #[serde(rename = "type", default = "blank")]
    pub kind: String,
    /// The kind in words.
    #[serde(default)]
    pub title: String,
    /// The status of HTTP.
    #[serde(default)]
    pub status: u16,
    /// What is wrong, and what to do, as a sentence.
    #[serde(default)]
    pub detail: String,
    /// What is wrong with which line, if many were sent: the first of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<LineError>,
}

/// What is wrong with one line of many.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LineError {
    /// The number of the line, from 1; in CSV the first line has the names of columns.
    pub line: u64,
    /// What is wrong with it.
    pub detail: String,
}

fn blank() -> String {
    "about:blank".to_owned()
}
