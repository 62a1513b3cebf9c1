//! Which targets were looked at before.

use crate::output::json::{Problem, ReadError, Reader};
use serde::Deserialize;
use std::{
    collections::HashSet,
    hash::{BuildHasher, RandomState},
    io::BufRead,
};

/// Targets that were looked at before, in this scan or in the file that it goes on with.
///
/// Only 64 bits of each are kept, which with their table are 10 to 21 bytes a target: 19 MB for a million. Two targets
/// of a million have the same 64 bits, so that one of them is passed over, in one of 37 million scans.
#[derive(Debug, Default)]
pub struct Seen {
    hashes: HashSet<u64>,
    hasher: RandomState,
}

impl Seen {
    /// The targets of a file of reports. A line that was cut off is none: its target is looked at again.
    ///
    /// # Errors
    ///
    /// A line is no report. What is appended to such a file could not be read later.
    pub fn load(reports: impl BufRead) -> Result<Self, ReadError> {
        #[derive(Deserialize)]
        struct Name {
            target: String,
        }
        let mut seen = Self::default();
        for name in Reader::<_, Name>::new(reports) {
            match name {
                Ok(Name { target }) => {
                    seen.insert(&target);
                }
                Err(ReadError { problem: Problem::CutOff, .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(seen)
    }

    /// Adds a target; false if it was there.
    pub fn insert(&mut self, target: &str) -> bool {
        self.hashes.insert(self.hasher.hash_one(target))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.hashes.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{example, output::json};

    #[test]
    fn the_targets_of_a_file_are_known_but_for_those_cut_off() {
        let (one, other) = (json::line(&example::report()).unwrap(), json::line(&example::unreachable()).unwrap());
        let cut = other.get(..other.len() / 2).unwrap();
        let mut seen = Seen::load(format!("{one}{cut}\n{one}{cut}").as_bytes()).unwrap();
        assert_eq!((seen.len(), seen.is_empty()), (1, false));
        assert!(!seen.insert("mqtts://broker.example:8883"));
        assert!(seen.insert("mqtt://down.example:1883"));
        assert!(!seen.insert("mqtt://down.example:1883"));
    }

    #[test]
    fn a_file_of_something_else_is_refused() {
        let error = Seen::load(&b"{\"schema\":9,\"target\":\"a\"}\n"[..]).unwrap_err();
        assert_eq!((error.line, error.problem), (1, Problem::Schema(9)));
        assert!(Seen::load(&b"hello\n"[..]).is_err());
    }
}
