//! Lanes, whatever the clocks do: the smallest client takes all that is sealed with one, and each time is as it is to be.

use crate::common::{Device, NOW, Party, TestClock, TestStore};
use e4::{
    Command, FixedKeyRing, Timestamp, TopicHash,
    controller::{Lane, LaneError, LastReport},
};
use proptest::{prelude::*, test_runner::TestRunner};

type Smallest = FixedKeyRing<1, 0, 1>;

/// What a key server does with the lane of one client, or what happens to its clock.
#[derive(Debug, Clone)]
enum Step {
    /// Commands that belong together, in a second that others may carry too.
    Reserve {
        commands: usize,
    },
    /// Commands that belong together, in a second of their own.
    ReserveAlone {
        commands: usize,
    },
    /// The client reports.
    Observe,
    /// Another key server, with the same keys and another clock, fills a second.
    Foreign {
        ahead: i64,
    },
    /// The key server is restarted.
    Resume,
    SetClock {
        ahead: i64,
    },
    Second,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (0..=17_usize).prop_map(|commands| Step::Reserve { commands }),
        4 => (1..=17_usize).prop_map(|commands| Step::ReserveAlone { commands }),
        3 => Just(Step::Observe),
        2 => (-20..200_i64).prop_map(|ahead| Step::Foreign { ahead }),
        2 => Just(Step::Resume),
        1 => (-200..200_i64).prop_map(|ahead| Step::SetClock { ahead }),
        3 => Just(Step::Second),
    ];
    prop::collection::vec(step, 0..80)
}

struct World {
    lane: Lane,
    last_report: LastReport,
    /// What was given out last: the second, and how many commands carry it.
    given: (Timestamp, usize),
    device: Device<Smallest>,
    now: Timestamp,
    ahead: i64,
    /// Tells the commands apart.
    sealed: u128,
}

impl World {
    fn new() -> Self {
        let device = Device::create(Party::symmetric("pump"), TestStore::memory(), &TestClock::time(NOW));
        Self {
            lane: Lane::new(),
            last_report: LastReport::new(),
            given: (Timestamp::from_unix(0), 0),
            device,
            now: Timestamp::from_unix(NOW),
            ahead: 0,
            sealed: 0,
        }
    }

    /// By the key server's clock.
    fn clock(&self) -> Timestamp {
        Timestamp::from_unix(self.now.as_unix().saturating_add_signed(self.ahead))
    }

    fn play(&mut self, step: &Step) {
        match *step {
            Step::Reserve { commands } => self.reserve(commands, false),
            Step::ReserveAlone { commands } => self.reserve(commands, true),
            Step::Observe => {
                let report = self.device.recipient.open_report(&self.device.client.report()).unwrap();
                self.last_report.accept(&report).unwrap();
                self.lane.observe(report.newest);
            }
            Step::Foreign { ahead } => {
                let sent = Timestamp::from_unix(self.now.as_unix().saturating_add_signed(ahead));
                // It goes to a client that may be further on already; if it takes it, the key server hears of it.
                if Some(sent) > self.device.client.newest_command() {
                    (0..15).for_each(|_| self.deliver(sent));
                    self.play(&Step::Observe);
                }
            }
            Step::Resume => {
                self.lane = Lane::resume(self.lane.last(), self.lane.used());
                self.lane.observe(self.last_report.newest());
            }
            Step::SetClock { ahead } => self.ahead = ahead,
            Step::Second => self.now = self.now.plus(1),
        }
    }

    fn reserve(&mut self, commands: usize, alone: bool) {
        let (before, now) = (self.lane, self.clock());
        let given = if alone { self.lane.reserve_alone(commands, now) } else { self.lane.reserve(commands, now) };
        let reported = self.last_report.newest();
        // 30 s ahead of the time; of the client, if that is further ahead than this already.
        let latest = if reported > now.plus(30) { reported.plus(30) } else { now.plus(30) };
        let sent = match given {
            Ok(sent) => sent,
            Err(error) => {
                assert_eq!(self.lane, before);
                let is_right = match error {
                    LaneError::TooMany { .. } => commands > 15,
                    LaneError::Ahead { until, .. } => until > latest,
                    _ => false,
                };
                assert!(is_right, "{error}");
                return;
            }
        };
        assert!(sent >= self.given.0 && sent >= now && sent >= reported, "never back");
        assert!(sent <= latest, "never far ahead");
        let carried = if sent == self.given.0 { self.given.1 } else { 0 };
        assert!(carried + commands <= 15);
        assert!(!alone || carried == 0, "a second of their own");
        self.given = (sent, carried + commands);
        for _ in 0..commands {
            self.deliver(sent);
        }
    }

    /// The client takes it.
    fn deliver(&mut self, sent: Timestamp) {
        self.sealed += 1;
        let command = Command::RemoveTopic(TopicHash::from_bytes(self.sealed.to_le_bytes()));
        self.device.command_at(sent.as_unix(), &command).unwrap();
    }
}

#[test]
fn what_a_lane_dates_is_taken_by_the_smallest_client_and_dated_as_it_is_to_be() {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(48);
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let play = |steps: Vec<Step>| {
        let mut world = World::new();
        steps.iter().for_each(|step| world.play(step));
        Ok(())
    };
    if let Err(error) = TestRunner::new(config).run(&steps(), play) {
        panic!("{error}");
    }
}
