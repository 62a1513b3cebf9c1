//! When something is sent again.

use e4::{Timestamp, controller::Lane};

/// Seconds until a device is looked at again that has just reported while commands for it are under way.
pub const AFTER_REPORT: i64 = 5;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const LONGEST: i64 = 6 * HOUR;

/// Seconds until a device that reports is looked at again, after something was sent to it for so many times: one minute,
/// doubling to six hours. `jitter` is any random number: it takes up to a fifth away, so that those that were sent something
/// together do not all come back together.
#[must_use]
pub fn again(times_sent: u32, jitter: u32) -> i64 {
    let doublings = times_sent.saturating_sub(1).min(9);
    shorten((MINUTE << doublings).min(LONGEST), jitter)
}

/// The same for a device that does not report, which is sealed everything anew: every five minutes for an hour, then every
/// hour for a day, then daily.
#[must_use]
pub fn anew(times_sent: u32, jitter: u32) -> i64 {
    let pause = match times_sent {
        0..12 => 5 * MINUTE,
        12..36 => HOUR,
        _ => 24 * HOUR,
    };
    shorten(pause, jitter)
}

/// Seconds until a lane gives out a second that it refused as too far ahead
/// ([`LaneError::Ahead`](e4::controller::LaneError::Ahead)). The time that the error says is shorter where the device itself is
/// ahead: that is followed no further, so the server's own time has to come near.
#[must_use]
pub fn until_lane(until: Timestamp, now: Timestamp) -> i64 {
    let wait = until.as_unix().saturating_sub(now.as_unix()).saturating_sub(Lane::MAX_AHEAD);
    i64::try_from(wait).unwrap_or(LONGEST).clamp(1, LONGEST)
}

fn shorten(pause: i64, jitter: u32) -> i64 {
    pause - pause * i64::from(jitter % 1000) / 5000
}

#[cfg(test)]
mod tests {
    use super::*;
    use e4::controller::LaneError;

    #[test]
    fn a_device_that_reports_is_sent_things_again_after_a_minute_and_at_last_every_six_hours() {
        let pauses: Vec<_> = (0..12).map(|times| again(times, 0)).collect();
        assert_eq!(pauses, [60, 60, 120, 240, 480, 960, 1920, 3840, 7680, 15_360, 21_600, 21_600]);
        assert_eq!(again(u32::MAX, 0), 21_600);
    }

    #[test]
    fn one_that_does_not_is_sent_them_anew_for_an_hour_a_day_and_on() {
        let sum = |times: std::ops::Range<u32>| times.map(|times| anew(times, 0)).sum::<i64>();
        assert_eq!(sum(0..12), HOUR);
        assert_eq!(sum(12..36), 24 * HOUR);
        assert_eq!(anew(u32::MAX, 0), 24 * HOUR);
    }

    #[test]
    fn jitter_shortens_a_pause_by_less_than_a_fifth() {
        for jitter in [0, 1, 500, 999, 1000, u32::MAX] {
            let (again, anew) = (again(1, jitter), anew(1, jitter));
            assert!((49..=60).contains(&again) && (241..=300).contains(&anew), "{jitter}: {again}, {anew}");
        }
        assert!(again(1, 999) < again(1, 0));
    }

    #[test]
    fn a_lane_that_is_ahead_is_asked_again_when_it_has_time() {
        let now = Timestamp::from_unix(1_800_000_000);
        let mut lane = Lane::new();
        lane.observe(now.plus(128));
        while lane.reserve_alone(1, now).is_ok() {}
        let Err(LaneError::Ahead { until, .. }) = lane.reserve_alone(1, now) else { panic!("it has time") };
        let wait = u64::try_from(until_lane(until, now)).unwrap();
        assert!(lane.reserve_alone(1, now.plus(wait - 1)).is_err());
        assert!(lane.reserve_alone(1, now.plus(wait)).is_ok());
        assert_eq!(until_lane(now.plus(1 << 32), now), LONGEST, "the clock may be set right before");
    }
}
