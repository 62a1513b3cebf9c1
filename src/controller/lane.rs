//! The order of the commands for one client, as its key server keeps it.

use crate::time::Timestamp;
use core::fmt;

/// The times that the commands for one client are sealed with: they never decrease, a second carries no more of them than
/// every client remembers, and commands that belong together are of one second.
///
/// A client takes a command only if it is not older than the newest that it took. So a key server keeps a lane for each of
/// its clients, stored with the rest that it knows of the client, and asks it for the time of each command. A lane is a small
/// value: [`last`](Self::last) and [`used`](Self::used) are all that has to be stored, *before* the commands go out.
///
/// [`Recipient::seal`](super::Recipient::seal) asks it by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lane {
    last: Timestamp,
    used: u8,
    reported: Timestamp,
}

impl Lane {
    /// Commands that carry one second at most. The smallest clients remember 16.
    pub const PER_SECOND: u8 = 15;

    /// Seconds that a command is ahead of the time at most, unless the client itself is further ahead: then ahead of the client.
    pub const MAX_AHEAD: u64 = 30;

    /// The lane of a client that was never sent a command.
    #[must_use]
    pub const fn new() -> Self {
        Self::resume(Timestamp::from_unix(0), 0)
    }

    /// A lane as it was stored.
    #[must_use]
    pub const fn resume(last: Timestamp, used: u8) -> Self {
        Self { last, used, reported: Timestamp::from_unix(0) }
    }

    /// The last second that was given out; that of the Unix epoch for none.
    #[must_use]
    pub const fn last(&self) -> Timestamp {
        self.last
    }

    /// How many commands carry that second.
    #[must_use]
    pub const fn used(&self) -> u8 {
        self.used
    }

    /// Takes in what the client says is the newest command that it took. Is that newer than all of this lane, commands were
    /// sealed elsewhere, or at a clock that was ahead; those that follow come after it, however far it is ahead.
    ///
    /// What a client says is not stored: after a restart, tell it again. A time that no command can have is ignored.
    pub fn observe(&mut self, newest: Timestamp) {
        if !newest.is_plausible() {
            return;
        }
        self.reported = self.reported.max(newest);
        if newest > self.last {
            self.last = newest;
            // Nobody knows how many commands carry it.
            self.used = Self::PER_SECOND;
        }
    }

    /// Gives out the time for so many commands that belong together. All of them are to carry it, in the order in which they
    /// are published. Commands that are equal to an earlier one need [`reserve_alone`](Self::reserve_alone).
    ///
    /// # Errors
    ///
    /// [`LaneError`]; the lane is as it was.
    pub fn reserve(&mut self, commands: usize, now: Timestamp) -> Result<Timestamp, LaneError> {
        self.reserve_behind(commands, now, true)
    }

    /// Gives out a second that carries no other command yet. Within one second, a client takes a command that is equal to an
    /// earlier one for a second delivery, even when another command came in between: two hard rotations of one topic would
    /// leave the key before in place, so each has a second to begin with.
    ///
    /// # Errors
    ///
    /// [`LaneError`]; the lane is as it was.
    pub fn reserve_alone(&mut self, commands: usize, now: Timestamp) -> Result<Timestamp, LaneError> {
        self.reserve_behind(commands, now, false)
    }

    fn reserve_behind(&mut self, commands: usize, now: Timestamp, shared: bool) -> Result<Timestamp, LaneError> {
        let per_second = u8::try_from(commands).ok().filter(|commands| *commands <= Self::PER_SECOND);
        let commands = per_second.ok_or(LaneError::TooMany { commands })?;
        if !now.is_plausible() {
            return Err(LaneError::NotATime);
        }
        let (mut sent, mut used) = if now > self.last { (now, 0) } else { (self.last, self.used) };
        let is_free = if shared { used.saturating_add(commands) <= Self::PER_SECOND } else { used == 0 };
        if !is_free {
            (sent, used) = (sent.plus(1), 0);
        }
        // A client that takes its commands at once is not driven ahead by them: only one that is further ahead than they went
        // is followed.
        let horizon = now.plus(Self::MAX_AHEAD);
        let latest = if self.reported > horizon { self.reported.plus(Self::MAX_AHEAD) } else { horizon };
        if sent > latest {
            return Err(LaneError::Ahead { seconds: sent.seconds_since(latest), until: sent });
        }
        if !sent.is_plausible() {
            return Err(LaneError::NotATime);
        }
        self.last = sent;
        self.used = used.saturating_add(commands);
        Ok(sent)
    }
}

impl Default for Lane {
    fn default() -> Self {
        Self::new()
    }
}

/// Why no time was given out for a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LaneError {
    /// More commands belong together than one second carries.
    TooMany {
        /// How many were asked for.
        commands: usize,
    },
    /// The commands sealed before are too far ahead of the time.
    Ahead {
        /// Seconds to wait, if the clock is right.
        seconds: u64,
        /// The second that would have been given out.
        until: Timestamp,
    },
    /// The time is not one in seconds.
    NotATime,
}

impl fmt::Display for LaneError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany { commands } => write!(
                f,
                "no second carries {commands} commands, since small clients remember {} only: seal fewer at once",
                Lane::PER_SECOND + 1
            ),
            Self::Ahead { seconds, until } => write!(
                f,
                "the commands sealed before are dated ahead, up to {until} (Unix time): wait {seconds} s; if that is long, check the clock of this machine"
            ),
            Self::NotATime => f.write_str(
                "the time is the year 2242 or later, which no client takes: check that it is in seconds, and the clock of this machine",
            ),
        }
    }
}

impl core::error::Error for LaneError {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);

    fn times(lane: &mut Lane, commands: usize, now: Timestamp, calls: usize) -> Vec<u64> {
        (0..calls).map(|_| lane.reserve(commands, now).unwrap().seconds_since(NOW)).collect()
    }

    #[test]
    fn f12_a_pair_is_of_one_second_whatever_was_sealed_before() {
        for before in 0..=Lane::PER_SECOND {
            let mut lane = Lane::new();
            let first = lane.reserve(usize::from(before), NOW).unwrap();
            let pair = lane.reserve(2, NOW).unwrap();
            assert_eq!((first, pair), (NOW, if before <= 13 { NOW } else { NOW.plus(1) }));
            assert!(lane.used() <= Lane::PER_SECOND);
        }
        assert_eq!(times(&mut Lane::new(), 2, NOW, 9), [0, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!(Lane::new().reserve(16, NOW), Err(LaneError::TooMany { commands: 16 }));
    }

    #[test]
    fn f12_hard_rotations_of_one_topic_never_share_a_second() {
        let mut lane = Lane::new();
        assert_eq!(lane.reserve(1, NOW), Ok(NOW));
        assert_eq!(lane.reserve_alone(2, NOW), Ok(NOW.plus(1)));
        assert_eq!(lane.reserve_alone(2, NOW), Ok(NOW.plus(2)));
        assert_eq!(lane.reserve(1, NOW), Ok(NOW.plus(2)));
        assert_eq!(lane.reserve_alone(2, NOW.plus(9)), Ok(NOW.plus(9)));
    }

    #[test]
    fn times_never_decrease_and_are_not_far_ahead() {
        let mut lane = Lane::new();
        assert_eq!(lane.reserve(1, NOW.plus(300)), Ok(NOW.plus(300)));
        let stored = lane;
        // The clock is set right.
        assert_eq!(lane.reserve(1, NOW), Err(LaneError::Ahead { seconds: 270, until: NOW.plus(300) }));
        assert_eq!(lane, stored);
        assert_eq!(lane.reserve(1, NOW.plus(270)), Ok(NOW.plus(300)));
        // Stored and taken up again.
        let mut lane = Lane::resume(lane.last(), lane.used());
        assert_eq!(lane.reserve(14, NOW.plus(270)), Err(LaneError::Ahead { seconds: 1, until: NOW.plus(301) }));
        assert_eq!(lane.reserve(13, NOW.plus(270)), Ok(NOW.plus(300)));
        // A long series goes on until it is 30 s ahead.
        let mut lane = Lane::new();
        let series: Vec<_> = core::iter::from_fn(|| lane.reserve(1, NOW).ok()).collect();
        assert_eq!(series.len(), 31 * 15);
        assert!(series.is_sorted());
    }

    #[test]
    fn commands_follow_a_client_that_is_ahead() {
        let mut lane = Lane::new();
        lane.reserve(1, NOW).unwrap();
        lane.observe(NOW.plus(100_000));
        assert_eq!(lane.reserve(2, NOW), Ok(NOW.plus(100_001)));
        // An older report takes nothing back, and a time that is none is not believed.
        lane.observe(NOW);
        lane.observe(Timestamp::from_unix(u64::MAX));
        assert_eq!(lane.reserve(2, NOW), Ok(NOW.plus(100_001)));
        assert_eq!(lane.used(), 4);
    }

    /// Confirmed at once, as when a client gets thousands of keys: a device that learns the time from its commands would have a
    /// wrong one afterwards.
    #[test]
    fn a_client_is_not_driven_ahead_by_its_own_commands() {
        let mut lane = Lane::new();
        let mut given = Vec::new();
        while let Ok(sent) = lane.reserve_alone(1, NOW) {
            given.push(sent);
            lane.observe(sent);
            assert!(given.len() < 1000, "there is no end to it");
        }
        assert_eq!(given.last(), Some(&NOW.plus(Lane::MAX_AHEAD)));
        assert_eq!(lane.reserve_alone(1, NOW), Err(LaneError::Ahead { seconds: 1, until: NOW.plus(31) }));
        assert_eq!(lane.reserve_alone(1, NOW.plus(1)), Ok(NOW.plus(31)));
        // Then the clock is set right, by five minutes: the client is ahead, and has to be followed.
        let now = NOW.plus(1).minus(300);
        assert_eq!(lane.reserve_alone(1, now), Ok(NOW.plus(32)));
    }

    #[test]
    fn f2_a_lane_gives_out_no_time_that_clients_refuse() {
        let limit = Timestamp::LIMIT;
        for now in [limit, limit.plus(1), Timestamp::from_unix(NOW.as_unix() * 1000), Timestamp::from_unix(u64::MAX)] {
            assert_eq!(Lane::new().reserve(1, now), Err(LaneError::NotATime));
        }
        let last = Timestamp::from_unix(limit.as_unix() - 1);
        let mut lane = Lane::new();
        assert_eq!(lane.reserve(15, last), Ok(last));
        assert_eq!(lane.reserve(1, last), Err(LaneError::NotATime));
        let mut lane = Lane::resume(Timestamp::from_unix(u64::MAX), u8::MAX);
        assert!(lane.reserve(1, NOW).is_err());
    }
}
