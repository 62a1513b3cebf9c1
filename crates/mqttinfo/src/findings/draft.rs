//! Findings in the making: of one version of MQTT each, until those that agree are merged.

use super::{
    catalogue::position,
    remedy::{Maker, Remedy},
};
use crate::report::{Finding, Level, Severity};
use std::cmp::Reverse;

/// A finding of one version of MQTT, or of none.
#[derive(Debug)]
pub(super) struct Draft {
    id: &'static str,
    severity: Severity,
    level: Option<Level>,
    title: String,
    detail: Option<String>,
    remedy: Option<Remedy>,
    reference: Option<&'static str>,
}

impl Draft {
    pub(super) fn new(id: &'static str, severity: Severity, title: impl Into<String>) -> Self {
        Self { id, severity, level: None, title: title.into(), detail: None, remedy: None, reference: None }
    }

    pub(super) const fn at(mut self, level: Level) -> Self {
        self.level = Some(level);
        self
    }

    pub(super) fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Left out where there is nothing to mend.
    pub(super) fn remedy(mut self, remedy: Remedy) -> Self {
        self.remedy = (self.severity > Severity::Good).then_some(remedy);
        self
    }

    pub(super) const fn reference(mut self, reference: &'static str) -> Self {
        self.reference = Some(reference);
        self
    }
}

/// All of a report.
#[derive(Debug, Default)]
pub(super) struct Drafts(Vec<Merged>);

/// Drafts that say the same of different versions.
#[derive(Debug)]
struct Merged {
    first: Draft,
    levels: Vec<Level>,
    details: Vec<(Option<Level>, String)>,
    references: Vec<&'static str>,
}

impl Drafts {
    pub(super) fn add(&mut self, mut draft: Draft) {
        let detail = draft.detail.take().map(|detail| (draft.level, detail));
        let same = self
            .0
            .iter_mut()
            .find(|it| (it.first.id, it.first.severity, &it.first.title) == (draft.id, draft.severity, &draft.title));
        match same {
            Some(same) => {
                same.levels.extend(draft.level);
                same.details.extend(detail);
                same.references.extend(draft.reference.filter(|reference| !same.references.contains(reference)));
            }
            None => self.0.push(Merged {
                levels: draft.level.into_iter().collect(),
                details: detail.into_iter().collect(),
                references: draft.reference.into_iter().collect(),
                first: draft,
            }),
        }
    }

    /// Worst first.
    pub(super) fn finish(mut self, maker: Maker) -> Vec<Finding> {
        self.0.sort_by_key(|it| (Reverse(it.first.severity), position(it.first.id), it.levels.first().copied()));
        self.0.into_iter().map(|merged| merged.finish(maker)).collect()
    }
}

impl Merged {
    fn finish(self, maker: Maker) -> Finding {
        let Self { first, levels, details, references } = self;
        let references = references.join("; ");
        Finding {
            id: first.id.to_owned(),
            severity: first.severity,
            levels,
            title: first.title,
            detail: join(&details),
            remedy: first.remedy.map(|remedy| remedy.text(maker).to_owned()),
            reference: (!references.is_empty()).then_some(references),
        }
    }
}

/// One detail where all versions say the same, else each with its version in front.
fn join(details: &[(Option<Level>, String)]) -> Option<String> {
    let (_, first) = details.first()?;
    if details.iter().all(|(_, detail)| detail == first) {
        return Some(first.clone());
    }
    let with_level = |(level, detail): &(Option<Level>, String)| match level {
        Some(level) => format!("{}: {detail}", level.name()),
        None => detail.clone(),
    };
    Some(details.iter().map(with_level).collect::<Vec<_>>().join(" "))
}
