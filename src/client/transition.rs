//! How previous keys grow old and come to their end (protocol page, section 7).

use super::Client;
use crate::{
    key_ring::{KeyRing, Table, TopicEntry, is_in_transition},
    state::Change,
    store::{Store, StoreError},
    time::{Clock, Timestamp},
};

/// After how many seconds the age of previous keys is stored, so that a restart does not make them younger by more.
const STORE_AGE_AFTER: u32 = 300;

impl<R: KeyRing, S: Store, C: Clock> Client<R, S, C> {
    /// Erases previous keys that have expired, here and in the store.
    ///
    /// Opening does so by itself, and so does loading. A client that only publishes calls this now and then.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: they are erased in memory, and still stored. It is tried again with the next message.
    pub fn erase_expired_keys(&mut self) -> Result<(), StoreError> {
        let Some(now) = self.time.now() else {
            return Ok(());
        };
        self.age_previous_keys(now);
        if self.has_expired_keys(now) {
            self.state.erase_expired(now);
            self.refresh_transitions();
            self.unsaved_since = Some(now);
        }
        if self.unsaved_since.is_some() || self.unsaved_age >= STORE_AGE_AFTER {
            if self.unsaved_since.is_some() {
                self.unsaved_since = Some(now);
            }
            // If the store fails, it is tried again after as long.
            self.unsaved_age = 0;
            self.save(&Change::NONE)?;
        }
        Ok(())
    }

    /// Follows the clock in its one direction. When it was set back, the time at which keys were replaced is set back with
    /// it, so that their age stays what it was, however often that happens. Not so for a key from more than an hour ahead:
    /// that one has come to its end.
    pub(super) fn age_previous_keys(&mut self, now: Timestamp) {
        let Some((_, last)) = self.transitions else {
            return;
        };
        let latest = self.state.latest.unwrap_or(last);
        if now < latest {
            let back = latest.seconds_since(now);
            for replaced in self.state.topics.values_mut().filter_map(TopicEntry::replaced_mut) {
                if is_in_transition(*replaced, now) {
                    *replaced = replaced.minus(back);
                }
            }
            self.transitions = self.state.transitions();
            self.unsaved_age = STORE_AGE_AFTER;
        } else {
            let older = u32::try_from(now.seconds_since(latest)).unwrap_or(u32::MAX);
            self.unsaved_age = self.unsaved_age.saturating_add(older);
        }
        self.state.latest = Some(now);
    }

    /// What follows from a change of the topics' keys.
    pub(super) fn refresh_transitions(&mut self) {
        self.transitions = self.state.transitions();
        self.has_spare_keys = self.state.has_spare_keys();
        if self.transitions.is_none() {
            self.state.latest = None;
            self.unsaved_age = 0;
        }
    }

    /// What [`erase_expired_keys`](Self::erase_expired_keys) does, at most once a second when the store fails.
    pub(super) fn erase_in_passing(&mut self) {
        if self.transitions.is_none() && self.unsaved_since.is_none() {
            return;
        }
        let Some(now) = self.time.now() else {
            return;
        };
        self.age_previous_keys(now);
        let is_due = self.unsaved_age >= STORE_AGE_AFTER || self.unsaved_since.is_some_and(|tried| tried != now);
        if is_due || self.has_expired_keys(now) {
            // A message is opened whether or not the store works. The keys are gone from memory in any case, and
            // `unsaved_since` has the store tried again.
            let _ = self.erase_expired_keys();
        }
    }

    fn has_expired_keys(&self, now: Timestamp) -> bool {
        let is_expired = |replaced| !is_in_transition(replaced, now);
        self.transitions.is_some_and(|(first, last)| is_expired(first) || is_expired(last))
    }
}
