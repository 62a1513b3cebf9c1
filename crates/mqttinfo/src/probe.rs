//! The probes: each goes on a short connection of its own, and notes what it saw.

mod access;
mod answers;
mod flows;
mod limits;
mod logins;
mod oddities;
mod prober;

use crate::report::{Level, LevelReport};

pub(crate) use limits::limits;
pub(crate) use prober::{Probe, Prober, Seen, Who, in_words};

impl Prober<'_> {
    /// The probes that have to come before others subscribe to everything.
    pub(crate) fn behaviour(&self, level: Level, who: Who, seen: &LevelReport) -> Vec<Probe<'_>> {
        let mut probes = flows::probes(self, level, who, seen);
        probes.extend(oddities::probes(self, level, who));
        probes.extend(logins::probes(self, level, who, seen));
        probes.extend(self.login_errors(level));
        probes
    }

    /// The probes that read and write.
    pub(crate) fn access(&self, level: Level, who: Who, seen: &LevelReport) -> Vec<Probe<'_>> {
        access::probes(self, level, who, seen)
    }
}
