//! How previous keys grow old, and what of it is stored.

use super::{Entry, Model, Moment, STORE_FAILS, Spare, State};
use e4::StoreError;

/// How long a previous key opens messages, in seconds.
pub(super) const TRANSITION: u64 = 3600;
/// How often the age of previous keys is stored, in seconds.
const STORE_AGE_AFTER: u64 = 300;

impl Model {
    /// Erases every previous key that has expired, and stores that.
    pub(crate) fn erase_expired(&mut self, at: Moment) -> Result<(), StoreError> {
        let Some(now) = self.now(at.clock) else {
            return Ok(());
        };
        self.age_previous_keys(now);
        if self.has_expired_keys(now) {
            for entry in self.state.topics.values_mut() {
                if entry.replaced().is_some_and(|replaced| now.abs_diff(replaced) > TRANSITION) {
                    entry.spare = None;
                }
            }
            self.forget_time_without_previous_keys();
            self.save_tried = Some(now);
        }
        if self.save_tried.is_some() || self.unsaved_age >= STORE_AGE_AFTER {
            self.save_tried = self.save_tried.map(|_| now);
            self.unsaved_age = 0;
            self.save(at)?;
        }
        Ok(())
    }

    /// Previous keys grow older as the clock goes on, and not younger when it is set back.
    fn age_previous_keys(&mut self, now: u64) {
        let replaced = self.state.topics.values_mut().filter_map(|entry| match &mut entry.spare {
            Some(Spare::Previous(_, replaced)) => Some(replaced),
            _ => None,
        });
        let mut previous: Vec<_> = replaced.collect();
        let Some(last) = previous.iter().map(|replaced| **replaced).max() else {
            return;
        };
        let latest = self.state.latest.unwrap_or(last);
        self.unsaved_age = if now < latest { STORE_AGE_AFTER } else { self.unsaved_age + (now - latest) };
        for replaced in previous.iter_mut().filter(|replaced| now.abs_diff(***replaced) <= TRANSITION) {
            **replaced = replaced.saturating_sub(latest.saturating_sub(now));
        }
        self.state.latest = Some(now);
    }

    /// Those of a state before a command, in the state after it.
    pub(super) fn age_those_before(&mut self, before: &State, now: u64) {
        let after = core::mem::replace(&mut self.state, before.clone());
        self.age_previous_keys(now);
        let aged = core::mem::replace(&mut self.state, after);
        for (topic, entry) in &mut self.state.topics {
            if before.topics.get(topic).is_some_and(|old| old == entry) {
                entry.spare = aged.topics[topic].spare;
            }
        }
        self.state.latest = aged.latest;
        self.forget_time_without_previous_keys();
    }

    pub(super) fn forget_time_without_previous_keys(&mut self) {
        if self.state.topics.values().all(|entry| entry.replaced().is_none()) {
            self.state.latest = None;
            self.unsaved_age = 0;
        }
    }

    /// The same at the occasion of something else, which a store that fails does not hinder; it is tried again, once
    /// a second.
    pub(super) fn erase_in_passing(&mut self, at: Moment) {
        let Some(now) = self.now(at.clock) else {
            return;
        };
        self.age_previous_keys(now);
        let is_due = self.unsaved_age >= STORE_AGE_AFTER || self.save_tried.is_some_and(|tried| tried != now);
        if is_due || self.has_expired_keys(now) {
            let _ = self.erase_expired(at);
        }
    }

    fn has_expired_keys(&self, now: u64) -> bool {
        self.state.topics.values().filter_map(Entry::replaced).any(|replaced| now.abs_diff(replaced) > TRANSITION)
    }

    pub(super) fn save(&mut self, at: Moment) -> Result<(), StoreError> {
        if !at.store_works {
            return Err(STORE_FAILS);
        }
        self.saved = self.state.clone();
        // A recorded command can be delivered by anybody, and what could not be stored is not stored.
        self.saved.refused = self.state.refused.filter(|(why, _)| *why < 6);
        self.save_tried = None;
        self.unsaved_age = 0;
        Ok(())
    }
}
