//! What follows from what was seen: products and findings.

use super::connecting::Level;
use serde::{Deserialize, Serialize};

/// A product that it may be.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProductGuess {
    /// Its name.
    pub product: String,
    /// Its version, as far as it shows: `2.0.11`, `2.1 or later`.
    pub version: Option<String>,
    /// Between 0 and 1.
    pub confidence: f64,
    /// What speaks for it, and against it, in words.
    pub evidence: Vec<String>,
}

/// How bad something is.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// As it should be.
    Good,
    /// Worth knowing.
    Note,
    /// Against the standard, or weaker than it has to be.
    Low,
    /// Helps whoever wants to do harm.
    Medium,
    /// A stranger can read or write what is not his.
    High,
}

impl Severity {
    /// All of them, the least first.
    pub const ALL: [Self; 5] = [Self::Good, Self::Note, Self::Low, Self::Medium, Self::High];

    /// As it stands in JSON, and behind `--fail-on`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Note => "note",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

/// Something good or bad about a broker.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What is looked at, the same for all brokers: `anonymous-access`.
    pub id: String,
    /// How bad it is here.
    pub severity: Severity,
    /// The versions of MQTT that show it; empty if it does not depend on them.
    pub levels: Vec<Level>,
    /// A sentence.
    pub title: String,
    /// More of it: what was seen, what follows.
    pub detail: Option<String>,
    /// How to mend it, for the product that it seems to be.
    pub remedy: Option<String>,
    /// Where the standard says so.
    pub reference: Option<String>,
}
