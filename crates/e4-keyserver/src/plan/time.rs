use e4::{Timestamp, controller::Report};

/// Seconds that a device without a clock of its own may be off.
const TOLERANCE: u64 = 30;

/// Seconds between two `SetTime` for a device that says that it knows the time: on a slow way it would be off after each.
const PAUSE: u64 = 3600;

/// The same for one that says that it does not.
const PAUSE_UNKNOWING: u64 = 60;

/// Whether a device is to be told the time: it has no clock of its own, and its report shows that it does not know the time or
/// is more than 30 s off. `SetTime` makes it report, so one that was told it just now is not told it again.
///
/// `live`: the report was published now, and is not one that the broker kept. How old that one is, nobody knows.
#[must_use]
pub fn wants_time(report: &Report, live: bool, now: Timestamp, told: Option<u64>) -> bool {
    if !report.knows_next_keys || report.has_clock {
        return false;
    }
    let off = report.sent.as_unix().abs_diff(now.as_unix());
    let pause = match report.has_learned_time {
        false => PAUSE_UNKNOWING,
        true if live && off > TOLERANCE => PAUSE,
        true => return false,
    };
    // A clock that was set back makes no difference.
    told.is_none_or(|told| told.abs_diff(now.as_unix()) >= pause)
}

#[cfg(test)]
mod tests {
    use super::*;
    use e4::{Client, ClientId, ClientKey, Clock, ClockReading, Identity, MemoryStore, controller::Recipient};

    const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);

    struct Uptime;

    impl Clock for Uptime {
        fn read(&self) -> ClockReading {
            ClockReading::Uptime(5)
        }
    }

    /// Of a device without a clock, which does not know the time.
    fn report() -> Report {
        let (id, key) = (ClientId::from_name("device").unwrap(), ClientKey::from_bytes(&[1; 32]).unwrap());
        let builder = Client::builder(Identity::symmetric(id, key.clone())).first_start();
        let client = builder.create_with_clock(MemoryStore::new(), Uptime).unwrap();
        Recipient::symmetric(id, &key).open_report(&client.report()).unwrap()
    }

    #[test]
    fn only_a_device_that_does_not_know_the_time_or_is_30_s_off_is_told_it() {
        let mut report = report();
        assert!(wants_time(&report, false, NOW, None));
        report.has_learned_time = true;
        for (off, live, wants) in [(0, true, false), (30, true, false), (31, true, true), (31, false, false)] {
            for sent in [NOW.plus(off), Timestamp::from_unix(NOW.as_unix() - off)] {
                report.sent = sent;
                assert_eq!(wants_time(&report, live, NOW, None), wants, "{off} s, live: {live}");
            }
        }
        report.has_clock = true;
        assert!(!wants_time(&report, true, NOW, None), "it goes by its own");
        (report.has_clock, report.knows_next_keys) = (false, false);
        assert!(!wants_time(&report, true, NOW, None), "it does not know the command");
    }

    #[test]
    fn telling_the_time_and_reports_do_not_go_on_for_ever() {
        let mut report = report();
        let told = |seconds| Some(NOW.as_unix() - seconds);
        assert!(!wants_time(&report, true, NOW, told(59)) && wants_time(&report, true, NOW, told(60)));
        // On a way that takes a minute it is off each time.
        (report.has_learned_time, report.sent) = (true, Timestamp::from_unix(NOW.as_unix() - 60));
        assert!(!wants_time(&report, true, NOW, told(3599)) && wants_time(&report, true, NOW, told(3600)));
    }
}
