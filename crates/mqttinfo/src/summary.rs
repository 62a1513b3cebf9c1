//! What many reports say together: counts and shares, as [text](Summary::text) and as [a page](Summary::html).
//!
//! Reports are counted while they are read, and only the counters are kept. So each report counts: of a target that was
//! looked at twice, both do. A scan writes no target twice into one file; whoever looks at the same brokers every night
//! takes a file for each night.

mod anonymous;
mod counts;
mod html;
mod rows;
mod sections;
mod shares;
mod text;

pub use counts::Summary;

use crate::{findings::Rule, output::table::Style};

impl Summary {
    /// As text in columns, with bars of characters. The rules say in words what a finding is about.
    #[must_use]
    pub fn text(&self, rules: &[Rule], style: Style) -> String {
        text::render(self, rules, style)
    }

    /// As a page that needs nothing else: no scripts, and nothing from elsewhere.
    #[must_use]
    pub fn html(&self, rules: &[Rule]) -> String {
        html::render(self, rules)
    }
}
