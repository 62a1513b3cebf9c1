//! Time: what the wire carries, what a device knows (protocol page, sections 1 and 8).

use core::{
    fmt,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

/// Seconds since 1970-01-01 00:00:00 UTC, without fractions; 8 bytes little-endian on the wire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The first time that is none: 2^33, in the year 2242. What says this or more counts milliseconds, or is no timestamp
    /// at all, and no command may carry it.
    pub const LIMIT: Self = Self(1 << 33);

    /// A time in Unix seconds.
    #[must_use]
    pub const fn from_unix(seconds: u64) -> Self {
        Self(seconds)
    }

    /// The time by the operating system's clock. Set to before 1970, it reads as 1970.
    #[cfg(feature = "std")]
    #[must_use]
    pub fn now() -> Self {
        Self(std::time::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs())
    }

    /// The time in Unix seconds.
    #[must_use]
    pub const fn as_unix(self) -> u64 {
        self.0
    }

    /// Whether it is before [`LIMIT`](Self::LIMIT).
    pub(crate) const fn is_plausible(self) -> bool {
        self.0 < Self::LIMIT.0
    }

    pub(crate) const fn to_wire(self) -> [u8; 8] {
        self.0.to_le_bytes()
    }

    pub(crate) const fn from_wire(bytes: [u8; 8]) -> Self {
        Self(u64::from_le_bytes(bytes))
    }

    /// Seconds from `earlier` to here; zero when `earlier` is later.
    pub(crate) const fn seconds_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    pub(crate) const fn distance(self, other: Self) -> u64 {
        self.0.abs_diff(other.0)
    }

    /// So many seconds earlier, and 1970 at the earliest.
    pub(crate) const fn minus(self, seconds: u64) -> Self {
        Self(self.0.saturating_sub(seconds))
    }

    /// So many seconds later.
    #[must_use]
    pub const fn plus(self, seconds: u64) -> Self {
        Self(self.0.saturating_add(seconds))
    }
}

/// In Unix seconds.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a [`Clock`] can tell.
///
/// A device whose clock starts somewhere in the past and is set later, by NTP for instance, reports its uptime until
/// then: with a wrong time it would refuse the commands that waited for it, and give up its previous keys. Which of the two
/// it is at the moment also goes into the [report](crate::Client::report): a key server tells the time to those that have no
/// clock of their own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClockReading {
    /// The time of day.
    Time(Timestamp),
    /// The device has no clock, only whole seconds that it counts since it was started. When they begin anew, because the
    /// counter wraps around or was reset in deep sleep, the client does not know the time any more until it learns it again.
    Uptime(u64),
}

/// Where a client takes its time from.
pub trait Clock {
    /// The time now, or the uptime of a device that has no clock.
    fn read(&self) -> ClockReading;
}

#[cfg(feature = "alloc")]
impl<C: Clock + ?Sized> Clock for alloc::boxed::Box<C> {
    fn read(&self) -> ClockReading {
        (**self).read()
    }
}

#[cfg(feature = "alloc")]
impl<C: Clock + ?Sized> Clock for alloc::sync::Arc<C> {
    fn read(&self) -> ClockReading {
        (**self).read()
    }
}

impl<C: Clock + ?Sized> Clock for &C {
    fn read(&self) -> ClockReading {
        (**self).read()
    }
}

/// The operating system's clock.
#[cfg(feature = "std")]
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

#[cfg(feature = "std")]
impl Clock for SystemClock {
    fn read(&self) -> ClockReading {
        ClockReading::Time(Timestamp::now())
    }
}

/// The time as a client knows it: from its clock, or learned from commands and counted on by its uptime.
#[derive(Debug)]
pub(crate) struct Timekeeper<C> {
    clock: C,
    source: Source,
    /// Seconds from the uptime to the time.
    offset: i64,
    /// The uptime when it was last read, as far as the number goes. Sealing reads it too, from several threads.
    last_uptime: AtomicUsize,
    /// Whether the uptime began anew since the time was learned.
    lost: AtomicBool,
}

/// Where a device without a clock has the time from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Nowhere,
    /// The times that commands bear, which give them their order.
    Commands,
    /// The key server told it. From then on the times of other commands teach nothing: they can be ahead.
    KeyServer,
}

impl<C: Clock> Timekeeper<C> {
    pub(crate) fn new(clock: C) -> Self {
        let (last_uptime, lost) = (AtomicUsize::new(0), AtomicBool::new(false));
        Self { clock, source: Source::Nowhere, offset: 0, last_uptime, lost }
    }

    /// `None` until a device without a clock has learned the time, and again when its uptime began anew.
    pub(crate) fn now(&self) -> Option<Timestamp> {
        // Looked at before the clock is, so that another thread cannot come in between with a later reading.
        let last_uptime = self.last_uptime.load(Ordering::Acquire);
        let uptime = match self.clock.read() {
            ClockReading::Time(now) => return Some(now),
            ClockReading::Uptime(uptime) => uptime,
        };
        if self.source == Source::Nowhere {
            return None;
        }
        let this_uptime = whole(uptime);
        if this_uptime < last_uptime {
            self.lost.store(true, Ordering::Release);
        }
        self.last_uptime.store(this_uptime, Ordering::Release);
        let is_lost = self.lost.load(Ordering::Acquire);
        (!is_lost).then(|| Timestamp(uptime.saturating_add_signed(self.offset)))
    }

    /// The time from the device's own clock only.
    pub(crate) fn own_clock(&self) -> Option<Timestamp> {
        match self.clock.read() {
            ClockReading::Time(now) => Some(now),
            ClockReading::Uptime(_) => None,
        }
    }

    /// The time of a device without a clock of its own, once it has learned from an accepted command of this time.
    pub(crate) fn after(&self, sent: Timestamp) -> Timestamp {
        match self.now() {
            Some(now) if self.source == Source::KeyServer => now,
            Some(now) => now.max(sent),
            None => sent,
        }
    }

    /// Learns from the time of an accepted command that it is at least that late. An older command takes nothing back, and
    /// once the key server has told the time, this teaches nothing more.
    pub(crate) fn learn(&mut self, sent: Timestamp) {
        if self.now().is_none_or(|now| now < sent && self.source != Source::KeyServer) {
            self.begin(sent, Source::Commands);
        }
    }

    /// Is told the time by the key server, which may also be earlier than the time was thought to be.
    pub(crate) fn set(&mut self, time: Timestamp) {
        self.begin(time, Source::KeyServer);
    }

    fn begin(&mut self, time: Timestamp, source: Source) {
        let ClockReading::Uptime(uptime) = self.clock.read() else {
            return;
        };
        let signed = |seconds| i64::try_from(seconds).unwrap_or(i64::MAX);
        self.offset = signed(time.0).saturating_sub(signed(uptime));
        self.source = source;
        *self.lost.get_mut() = false;
        *self.last_uptime.get_mut() = whole(uptime);
    }
}

fn whole(uptime: u64) -> usize {
    usize::try_from(uptime).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::cell::Cell;

    struct Uptime(Cell<u64>);

    impl Clock for Uptime {
        fn read(&self) -> ClockReading {
            ClockReading::Uptime(self.0.get())
        }
    }

    #[test]
    fn learned_time_runs_with_the_uptime_and_no_command_takes_it_back() {
        let mut time = Timekeeper::new(Uptime(Cell::new(100)));
        assert_eq!(time.now(), None);
        time.learn(Timestamp(5_000));
        time.clock.0.set(130);
        assert_eq!(time.now(), Some(Timestamp(5_030)));
        time.learn(Timestamp(5_010));
        assert_eq!(time.now(), Some(Timestamp(5_030)));
        time.learn(Timestamp(9_000));
        time.clock.0.set(131);
        assert_eq!(time.now(), Some(Timestamp(9_001)));
    }

    #[test]
    fn f5_an_uptime_that_begins_anew_says_nothing_of_the_time() {
        let mut time = Timekeeper::new(Uptime(Cell::new(100)));
        time.learn(Timestamp(5_000));
        time.clock.0.set(200);
        assert_eq!(time.now(), Some(Timestamp(5_100)));
        // Also when it is past the uptime at which the time was learned, and for good.
        for uptime in [150, 0, 100, 250, 5_000] {
            time.clock.0.set(uptime);
            assert_eq!(time.now(), None, "{uptime}");
        }
        time.learn(Timestamp(7_000));
        time.clock.0.set(5_001);
        assert_eq!(time.now(), Some(Timestamp(7_001)));
        time.clock.0.set(4);
        assert_eq!(time.now(), None);
        time.learn(Timestamp(8_000));
        assert_eq!(time.now(), Some(Timestamp(8_000)), "and it is learned again below the uptime from before");
    }

    #[test]
    fn once_told_the_time_goes_both_ways_and_only_by_being_told() {
        let mut time = Timekeeper::new(Uptime(Cell::new(100)));
        time.learn(Timestamp(9_000));
        time.set(Timestamp(5_000));
        assert_eq!(time.now(), Some(Timestamp(5_000)));
        assert_eq!(time.after(Timestamp(9_001)), Timestamp(5_000));
        time.learn(Timestamp(9_001));
        time.clock.0.set(107);
        assert_eq!(time.now(), Some(Timestamp(5_007)));
        time.set(Timestamp(6_000));
        time.clock.0.set(108);
        assert_eq!(time.now(), Some(Timestamp(6_001)));
        // An uptime that begins anew is a start like any other.
        time.clock.0.set(3);
        assert_eq!((time.now(), time.after(Timestamp(9_002))), (None, Timestamp(9_002)));
        time.learn(Timestamp(9_002));
        time.learn(Timestamp(9_003));
        assert_eq!(time.now(), Some(Timestamp(9_003)));
    }

    #[test]
    fn a_device_with_a_clock_learns_nothing() {
        struct Fixed;
        impl Clock for Fixed {
            fn read(&self) -> ClockReading {
                ClockReading::Time(Timestamp(7))
            }
        }
        let mut time = Timekeeper::new(Fixed);
        time.learn(Timestamp(1_000));
        time.set(Timestamp(1_000));
        assert_eq!(time.now(), Some(Timestamp(7)));
    }
}
