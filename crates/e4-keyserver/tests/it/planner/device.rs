//! A device: `e4::Client` with a clock, a disk and a transport that does what `e4-mqtt` does.

use super::fleet;
use e4::{
    Client, ClientBuilder, Clock, ClockReading, Identity, KeyFingerprint, KeyRing, OpenError, Opened, Refusal,
    Snapshot, Store, StoreError, Timestamp, TopicHash,
};
use e4_keyserver::model::Mode;
use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::Rc,
};

#[derive(Clone)]
struct DeviceClock(Rc<Cell<ClockReading>>);

impl Clock for DeviceClock {
    fn read(&self) -> ClockReading {
        self.0.get()
    }
}

#[derive(Clone, Default)]
struct Disk(Rc<RefCell<(Vec<u8>, bool)>>);

impl Store for Disk {
    fn load(&mut self, read: &mut dyn FnMut(&[u8])) -> Result<(), StoreError> {
        let disk = self.0.borrow();
        if disk.0.is_empty() {
            return Err(StoreError::Empty);
        }
        read(&disk.0);
        Ok(())
    }

    fn save(&mut self, state: &Snapshot<'_>) -> Result<(), StoreError> {
        let mut disk = self.0.borrow_mut();
        if disk.1 {
            return Err(StoreError::Other("the disk is full"));
        }
        disk.0 = state.to_bytes()?.to_vec();
        Ok(())
    }
}

pub(crate) struct Device<R: KeyRing> {
    client: Option<Client<R, Disk, DeviceClock>>,
    disk: Disk,
    clock: DeviceClock,
    has_clock: bool,
    /// Seconds that its clock is ahead.
    ahead: i64,
    booted: u64,
    report_due: bool,
    /// `V` of each command that it took, in their order.
    pub(crate) took: Vec<[u8; 16]>,
}

impl<R: KeyRing> Device<R> {
    pub(crate) fn new(mode: Mode, has_clock: bool, now: u64) -> Self {
        let identity = match mode {
            Mode::Symmetric => Identity::symmetric(fleet::device(), fleet::client_key(0)),
            _ => {
                let server = fleet::server_secret(0).public_key();
                Identity::public_key(fleet::device(), fleet::signing_key(0), server).unwrap()
            }
        };
        let reading = if has_clock { ClockReading::Time(Timestamp::from_unix(now)) } else { ClockReading::Uptime(0) };
        let (disk, clock) = (Disk::default(), DeviceClock(Rc::new(Cell::new(reading))));
        let client = ClientBuilder::new(identity).first_start().create_with(disk.clone(), clock.clone()).unwrap();
        let client = Some(client);
        Self { client, disk, clock, has_clock, ahead: 0, booted: now, report_due: true, took: Vec::new() }
    }

    fn client(&mut self) -> &mut Client<R, Disk, DeviceClock> {
        self.client.as_mut().unwrap()
    }

    pub(crate) fn set_time(&mut self, now: u64) {
        self.clock.0.set(match self.has_clock {
            true => ClockReading::Time(Timestamp::from_unix(now.saturating_add_signed(self.ahead))),
            false => ClockReading::Uptime(now - self.booted),
        });
    }

    pub(crate) fn set_ahead(&mut self, seconds: i64) {
        self.ahead = seconds;
    }

    /// Without power, and on again.
    pub(crate) fn restart(&mut self, now: u64) {
        self.client = None;
        self.booted = now;
        self.set_time(now);
        self.client = Some(Client::load_with(self.disk.clone(), self.clock.clone()).unwrap());
        self.report_due = true;
    }

    pub(crate) fn disk(&self) -> Vec<u8> {
        self.disk.0.borrow().0.clone()
    }

    pub(crate) fn put_disk_back(&mut self, disk: Vec<u8>, now: u64) {
        self.disk.0.borrow_mut().0 = disk;
        self.restart(now);
    }

    pub(crate) fn fill_disk(&mut self, is_full: bool) {
        self.disk.0.borrow_mut().1 = is_full;
    }

    /// Takes what is delivered, in its order. What cannot be stored stays, and holds up the rest.
    pub(crate) fn deliver(&mut self, queue: &mut VecDeque<Vec<u8>>, at_most: usize) {
        for _ in 0..at_most {
            let Some(message) = queue.front().cloned() else { break };
            let topic = fleet::device().control_topic();
            match self.client().open(topic, &message) {
                Ok(Opened::Command(_)) => {
                    self.took.push(message[8..24].try_into().unwrap());
                    self.report_due = true;
                }
                Ok(opened) => panic!("a command opened as {opened:?}"),
                Err(OpenError::Store(_)) => {
                    self.report_due = true;
                    break;
                }
                Err(OpenError::Refused(Refusal::Repeated | Refusal::NotAuthentic)) => {}
                Err(OpenError::Refused(_) | OpenError::Full(_)) => self.report_due = true,
                Err(error) => panic!("{error}"),
            }
            queue.pop_front();
        }
    }

    /// The report that is due, if one is.
    pub(crate) fn report(&mut self, connects: bool) -> Option<Vec<u8>> {
        let is_due = std::mem::take(&mut self.report_due) || connects;
        is_due.then(|| self.client().report())
    }

    /// What it would report now.
    pub(crate) fn look(&mut self) -> Vec<u8> {
        self.client().report()
    }

    /// All keys that it opens messages of each topic with, by fingerprint.
    pub(crate) fn opens_under(&mut self) -> Vec<(TopicHash, KeyFingerprint)> {
        let _ = self.client().erase_expired_keys();
        let topics = self.client().key_fingerprints();
        let keys = topics.flat_map(|of| {
            [Some(of.key), of.previous.map(|(key, _)| key), of.next].map(|key| key.map(|key| (of.topic, key)))
        });
        keys.flatten().collect()
    }
}
