//! A story: a server, a device, and a broker between them that can do anything but forge.

use super::{
    device::Device,
    fleet,
    server::{Database, Intent, Killed, Server},
};
use e4::KeyRing;
use e4_keyserver::{model::Mode, plan::Standing};
use proptest::{prelude::*, test_runner::TestCaseError};
use std::collections::{BTreeMap, VecDeque};

const START: u64 = 1_800_000_000;

/// What a device is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    pub(crate) mode: Mode,
    pub(crate) has_clock: bool,
    pub(crate) reports: bool,
    pub(crate) is_old: bool,
}

#[derive(Debug, Clone)]
pub(crate) enum Event {
    Intend(Intent),
    /// Time goes by, and the server looks after the device if it is due.
    Pass(u64, Killed),
    /// So many messages reach the device, and its report the server, live and killed or not.
    Deliver(usize, bool),
    Connect,
    /// The server reads what the broker retains.
    Snapshot,
    /// Messages to the device: the broker loses the one at this place, doubles it, puts it last, loses all.
    Lose(usize),
    Double(usize),
    Delay(usize),
    LoseAll,
    /// Somebody plays back an old command, or an old report.
    PlayBack(usize),
    PlayBackReport(usize),
    ServerClock(i64),
    DeviceClock(i64),
    RestartDevice,
    FillDisk(bool),
    CopyDatabase,
    RestoreDatabase(bool),
    CopyDisk,
    RestoreDisk,
    Forget,
}

pub(crate) fn events() -> impl Strategy<Value = Vec<Event>> {
    let topic = 0..fleet::TOPICS.len();
    let peer = 0..fleet::PEERS;
    let intent = prop_oneof![
        6 => topic.clone().prop_map(Intent::Join),
        2 => topic.clone().prop_map(Intent::Leave),
        3 => topic.clone().prop_map(Intent::Prepare),
        3 => topic.clone().prop_map(Intent::Switch),
        1 => topic.clone().prop_map(Intent::Cancel),
        2 => topic.clone().prop_map(Intent::Soft),
        3 => topic.prop_map(Intent::Hard),
        3 => peer.clone().prop_map(Intent::SetPeer),
        1 => peer.prop_map(Intent::RemovePeer),
        1 => Just(Intent::MoveClientKey),
        1 => Just(Intent::MoveServerKey),
    ];
    let pause =
        prop_oneof![4 => 0..3_u64, 4 => Just(6), 3 => Just(70), 2 => Just(700), 1 => Just(4000), 1 => Just(90_000)];
    let killed = prop_oneof![
        8 => Just(Killed::Never), 1 => Just(Killed::BeforeItStores), 1 => Just(Killed::BeforeItSends)
    ];
    let skew = prop_oneof![-100_000..100_000_i64, -60..60_i64, Just(0)];
    let event = prop_oneof![
        12 => intent.prop_map(Event::Intend),
        14 => (pause, killed).prop_map(|(pause, killed)| Event::Pass(pause, killed)),
        8 => (0..6_usize, any::<bool>()).prop_map(|(count, heard)| Event::Deliver(count, heard)),
        6 => Just(Event::Deliver(usize::MAX, true)),
        3 => Just(Event::Connect),
        2 => Just(Event::Snapshot),
        3 => (0..40_usize).prop_map(Event::Lose),
        2 => (0..40_usize).prop_map(Event::Double),
        3 => (0..40_usize).prop_map(Event::Delay),
        1 => Just(Event::LoseAll),
        2 => (0..60_usize).prop_map(Event::PlayBack),
        2 => (0..60_usize).prop_map(Event::PlayBackReport),
        1 => skew.clone().prop_map(Event::ServerClock),
        1 => skew.prop_map(Event::DeviceClock),
        1 => Just(Event::RestartDevice),
        1 => any::<bool>().prop_map(Event::FillDisk),
        1 => Just(Event::CopyDatabase),
        1 => any::<bool>().prop_map(Event::RestoreDatabase),
        1 => Just(Event::CopyDisk),
        1 => Just(Event::RestoreDisk),
        1 => Just(Event::Forget),
    ];
    proptest::collection::vec(event, 1..60)
}

pub(crate) struct World<R: KeyRing> {
    kind: Kind,
    server: Server,
    device: Device<R>,
    now: u64,
    server_ahead: i64,
    down: VecDeque<Vec<u8>>,
    sent: Vec<Vec<u8>>,
    retained: Option<usize>,
    reports: Vec<Vec<u8>>,
    database: Option<Database>,
    disk: Option<Vec<u8>>,
    /// An old database was put back: what was sent from the other one is not known.
    is_forked: bool,
    /// An old disk was put back, at this time.
    disk_back: Option<u64>,
    /// So many reports were made before that.
    before_disk: usize,
}

impl<R: KeyRing> World<R> {
    pub(crate) fn new(kind: Kind) -> Self {
        Self {
            kind,
            server: Server::new(kind.mode, kind.is_old),
            device: Device::new(kind.mode, kind.has_clock, START),
            now: START,
            server_ahead: 0,
            down: VecDeque::new(),
            sent: Vec::new(),
            retained: None,
            reports: Vec::new(),
            database: None,
            disk: None,
            is_forked: false,
            disk_back: None,
            before_disk: 0,
        }
    }

    fn server_time(&self) -> u64 {
        self.now.saturating_add_signed(self.server_ahead)
    }

    pub(crate) fn play(&mut self, event: &Event) -> Result<(), TestCaseError> {
        let server_time = self.server_time();
        match *event {
            Event::Intend(intent) => self.server.intend(intent, server_time),
            Event::Pass(seconds, killed) => {
                self.pass(seconds);
                self.round(killed)?;
            }
            Event::Deliver(count, heard) => self.deliver(count, heard),
            Event::Connect => self.report(true, true),
            Event::Snapshot => {
                if let Some(retained) = self.retained {
                    self.hear(retained, false);
                }
            }
            Event::Lose(at) => {
                self.down.remove(at);
            }
            Event::Double(at) => {
                let message = self.down.get(at).cloned();
                self.down.extend(message);
            }
            Event::Delay(at) => {
                let message = self.down.remove(at);
                self.down.extend(message);
            }
            Event::LoseAll => self.down.clear(),
            Event::PlayBack(at) => self.down.extend(self.sent.get(at).cloned()),
            Event::PlayBackReport(at) => {
                if at < self.reports.len() {
                    self.hear(at, true);
                }
            }
            Event::ServerClock(ahead) => self.server_ahead = ahead,
            Event::DeviceClock(ahead) => {
                self.device.set_ahead(ahead);
                self.device.set_time(self.now);
            }
            Event::RestartDevice => self.device.restart(self.now),
            Event::FillDisk(is_full) => self.device.fill_disk(is_full),
            Event::CopyDatabase => self.database = Some(self.server.db.clone()),
            Event::RestoreDatabase(silently) => {
                if let Some(database) = self.database.clone() {
                    self.is_forked = true;
                    self.server.restore(database, silently, server_time);
                }
            }
            Event::CopyDisk => self.disk = Some(self.device.disk()),
            Event::RestoreDisk => {
                if let Some(disk) = self.disk.clone() {
                    self.device.put_disk_back(disk, self.now);
                    self.server.db.confirmed = None;
                    (self.disk_back, self.before_disk) = (Some(self.now), self.reports.len());
                    self.device.took.clear();
                }
            }
            Event::Forget => self.server.forget(),
        }
        self.check()
    }

    fn pass(&mut self, seconds: u64) {
        self.now += seconds;
        self.device.set_time(self.now);
    }

    fn round(&mut self, killed: Killed) -> Result<(), TestCaseError> {
        let messages = self.server.round(self.server_time(), killed);
        for message in &messages {
            prop_assert!(self.server.has_stored(message), "sent before it was stored");
        }
        self.sent.extend(messages.iter().cloned());
        self.down.extend(messages);
        Ok(())
    }

    fn deliver(&mut self, count: usize, heard: bool) {
        self.device.deliver(&mut self.down, count);
        self.report(false, heard);
    }

    fn report(&mut self, connects: bool, heard: bool) {
        if !self.kind.reports {
            return;
        }
        if let Some(report) = self.device.report(connects) {
            self.retained = Some(self.reports.len());
            self.reports.push(report);
            if heard {
                self.hear(self.reports.len() - 1, true);
            }
        }
    }

    fn hear(&mut self, report: usize, live: bool) {
        self.server.hear(&self.reports[report], live, self.server_time());
        if report < self.before_disk {
            // It was true once.
            self.server.db.confirmed = None;
        }
    }

    /// What holds at every moment.
    fn check(&mut self) -> Result<(), TestCaseError> {
        if self.is_forked {
            return Ok(());
        }
        let plans: Vec<_> = self.device.took.iter().map(|v| self.server.sealed[v]).collect();
        prop_assert!(plans.is_sorted(), "commands of two plans, mixed: {plans:?}");
        // A random key that pushes another out is known to nobody.
        prop_assert!(
            self.kind.is_old || self.disk_back.is_some() || self.server.lost_track == 0,
            "what it holds can be known"
        );
        let mut of_second = BTreeMap::new();
        for (plan, second) in self.server.sealed.values() {
            prop_assert_eq!(*of_second.entry(*second).or_insert(*plan), *plan, "a second that two plans use");
        }
        let Some(confirmed) = self.server.db.confirmed else { return Ok(()) };
        let look = self.device.look();
        let report = self.server.open(&look);
        let report = report.ok_or_else(|| TestCaseError::fail("confirmed, and has another key"))?;
        prop_assert_eq!(report.digest, confirmed, "confirmed, and holds something else");
        // One that does not know ReplaceTopicKey may have missed the first of two commands: then the old key ends by itself.
        let is_sure = !self.kind.is_old && self.disk_back.is_none_or(|at| self.now > at + 200_000);
        if is_sure && self.server.wanted_digest() == confirmed {
            let cut = self.server.cut_keys();
            for key in self.device.opens_under() {
                prop_assert!(!cut.contains(&key), "confirmed, and opens under a key that was cut off");
            }
        }
        Ok(())
    }

    /// Nothing is lost any more, and people do what they are asked to.
    pub(crate) fn heal(&mut self) -> Result<(), TestCaseError> {
        self.device.fill_disk(false);
        self.down.clear();
        self.server_ahead = 0;
        self.server.release(self.server_time());
        self.play(&Event::Connect)?;
        let mut rounds = 0;
        loop {
            self.server.release(self.server_time());
            let due = self.server.db.due.filter(|_| rounds < 40);
            let Some(due) = due else { break };
            rounds += 1;
            self.pass(due.saturating_sub(self.server_time()).min(200_000));
            self.play(&Event::Pass(0, Killed::Never))?;
            self.play(&Event::Deliver(usize::MAX, true))?;
            if !self.kind.reports && rounds > 12 {
                break;
            }
        }
        let standing = self.server.db.standing;
        let look = self.device.look();
        let report = self.server.open(&look);
        let holds_it = report.is_some_and(|report| report.digest == self.server.wanted_digest());
        match standing {
            _ if !self.kind.reports => {
                prop_assert!(self.server.db.confirmed.is_none(), "confirmed, and was never heard");
                prop_assert!(holds_it || self.disk_back.is_some() || self.is_forked);
            }
            Standing::Confirmed => {
                prop_assert!(holds_it && !self.server.has_pending_move());
                prop_assert!(rounds < 40, "without end");
            }
            Standing::OtherKey => prop_assert!(self.is_forked || self.disk_back.is_some()),
            Standing::NoRoom => {}
            _ => {
                let trouble = self.server.trouble();
                prop_assert!(
                    trouble == Some(Standing::NoRoom),
                    "stands at {standing:?} {trouble:?} after {rounds} rounds"
                );
            }
        }
        Ok(())
    }
}
