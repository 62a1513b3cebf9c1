//! Which product a broker is, from what was seen of it.
//!
//! A report becomes named facts, and `fingerprints.toml` says which values of them are marks of which product. An
//! operator can change nearly all of them, so one mark says little and several say much: marks for a product add up
//! like independent witnesses, `1 − Π(1 − weight)`, and what contradicts it multiplies the result by `1 − against`.
//! Products are judged one by one, so that two that look alike both show, with similar confidence.

mod facts;
#[cfg(test)]
mod tests;

use crate::{
    report::{ProductGuess, Report},
    words::short,
};
use facts::Facts;
use regex::Regex;
use serde::Deserialize;
use std::sync::LazyLock;

/// Guesses below are not worth a line.
const LEAST: f64 = 0.1;

/// Characters of a value that are shown with the evidence.
const SHOWN: usize = 48;

/// What a broker is called that fits no product well enough. Its marks are the evidence.
pub const UNKNOWN: &str = "unknown";

/// Below this, a broker is none of those that are known.
pub(crate) const LIKELY: f64 = 0.5;

/// The products that fit, most likely first. When none fits well enough, the first one is [`UNKNOWN`]; nothing if nothing
/// was seen.
#[must_use]
pub fn guess(report: &Report) -> Vec<ProductGuess> {
    guess_among(&*PRODUCTS, report)
}

fn guess_among<'p>(products: impl IntoIterator<Item = &'p Product>, report: &Report) -> Vec<ProductGuess> {
    let facts = Facts::of(report);
    let mut guesses: Vec<_> =
        products.into_iter().map(|product| product.judge(&facts)).filter(|guess| guess.confidence >= LEAST).collect();
    guesses.sort_by(|a, b| b.confidence.total_cmp(&a.confidence));
    let best = guesses.first().map_or(0.0, |guess| guess.confidence);
    let evidence = facts.marks();
    if best < LIKELY && !evidence.is_empty() {
        let confidence = two_digits(1.0 - best);
        guesses.insert(0, ProductGuess { product: UNKNOWN.to_owned(), version: None, confidence, evidence });
    }
    guesses
}

/// More would claim an accuracy that the weights do not have.
fn two_digits(part: f64) -> f64 {
    (part * 100.0_f64).round() / 100.0
}

/// A test pins that the file can be read. There is nobody to tell if it could not.
static PRODUCTS: LazyLock<Vec<Product>> = LazyLock::new(|| read(FILE).unwrap_or_default());

const FILE: &str = include_str!("fingerprints.toml");

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    product: Vec<Product>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Product {
    name: String,
    /// Said with the evidence, such as that nobody has checked the marks.
    note: Option<String>,
    mark: Vec<Mark>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mark {
    fact: String,
    /// Matches the whole value. A group named `version` captures the version.
    like: Pattern,
    /// How much it says when it matches.
    weight: f64,
    /// How much it says against the product when the fact is known and no value of it matches.
    #[serde(default)]
    against: f64,
    says: String,
    /// The version that it implies when it matches.
    version: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct Pattern(Regex);

impl TryFrom<String> for Pattern {
    type Error = regex::Error;

    fn try_from(text: String) -> Result<Self, regex::Error> {
        // Anchored here, so that nobody forgets it in the file.
        Regex::new(&format!("^(?:{text})$")).map(Self)
    }
}

fn read(text: &str) -> Result<Vec<Product>, toml::de::Error> {
    toml::from_str(text).map(|file: File| file.product)
}

impl Product {
    fn judge(&self, facts: &Facts) -> ProductGuess {
        let (mut doubt, mut rest) = (1.0, 1.0);
        let (mut support, mut contradiction) = (Vec::new(), Vec::new());
        let (mut captured, mut implied) = (None, None);
        for mark in &self.mark {
            let values = facts.get(&mark.fact);
            let matched = values.iter().find_map(|value| Some((value, mark.like.0.captures(value)?)));
            if let Some((value, groups)) = matched {
                doubt *= 1.0 - mark.weight;
                support.push((mark.weight, format!("{} ({})", mark.says, short(value, SHOWN))));
                captured = captured.or_else(|| groups.name("version").map(|version| version.as_str().to_owned()));
                implied = implied.or_else(|| mark.version.clone());
            } else if let (Some(value), true) = (values.first(), mark.against > 0.0) {
                rest *= 1.0 - mark.against;
                contradiction.push((mark.against, format!("Against it: {} – here {}", mark.says, short(value, SHOWN))));
            }
        }
        let by_weight = |a: &(f64, String), b: &(f64, String)| b.0.total_cmp(&a.0);
        support.sort_by(by_weight);
        contradiction.sort_by(by_weight);
        let evidence =
            support.into_iter().chain(contradiction).map(|(_, text)| text).chain(self.note.clone()).collect();
        let confidence = two_digits((1.0 - doubt) * rest);
        ProductGuess { product: self.name.clone(), version: captured.or(implied), confidence, evidence }
    }
}
