//! A store that can be made to fail or to take its time, and that outlives its client.

use e4::{MemoryStore, Snapshot, Store, StoreError};
use std::{
    sync::{Arc, Mutex},
    thread::sleep,
    time::Duration,
};

/// Its clones are the same store.
#[derive(Clone, Default)]
pub(crate) struct TestStore(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    memory: Option<MemoryStore>,
    takes: Duration,
    fails: bool,
    room: Option<usize>,
    failures: usize,
}

impl TestStore {
    pub(crate) const FAILURE: StoreError = StoreError::Other("the test has the store fail");

    pub(crate) fn set_failing(&self, fails: bool) {
        self.0.lock().unwrap().fails = fails;
    }

    /// What it has room for from now on, in bytes; beyond it a save fails.
    pub(crate) fn set_room(&self, bytes: usize) {
        self.0.lock().unwrap().room = Some(bytes);
    }

    /// Bytes of what was saved last.
    pub(crate) fn len(&self) -> usize {
        self.0.lock().unwrap().memory.as_ref().and_then(MemoryStore::as_bytes).map_or(0, <[u8]>::len)
    }

    /// How long it takes to save from now on.
    pub(crate) fn set_slow(&self, takes: Duration) {
        self.0.lock().unwrap().takes = takes;
    }

    /// How often it has failed.
    pub(crate) fn failures(&self) -> usize {
        self.0.lock().unwrap().failures
    }
}

impl Store for TestStore {
    fn load(&mut self, read: &mut dyn FnMut(&[u8])) -> Result<(), StoreError> {
        self.0.lock().unwrap().memory.get_or_insert_with(MemoryStore::new).load(read)
    }

    fn save(&mut self, state: &Snapshot<'_>) -> Result<(), StoreError> {
        let mut inner = self.0.lock().unwrap();
        sleep(inner.takes);
        if inner.fails || inner.room.is_some_and(|room| state.byte_len() > room) {
            inner.failures += 1;
            return Err(Self::FAILURE);
        }
        inner.memory.get_or_insert_with(MemoryStore::new).save(state)
    }
}

/// A clock that shows what a test sets. Its clones show the same.
#[derive(Clone)]
pub(crate) struct TestClock(Arc<std::sync::atomic::AtomicU64>);

impl TestClock {
    pub(crate) fn at(unix: u64) -> Self {
        Self(Arc::new(unix.into()))
    }

    pub(crate) fn set(&self, unix: u64) {
        self.0.store(unix, std::sync::atomic::Ordering::SeqCst);
    }
}

impl e4::Clock for TestClock {
    fn read(&self) -> e4::ClockReading {
        let unix = self.0.load(std::sync::atomic::Ordering::SeqCst);
        e4::ClockReading::Time(e4::Timestamp::from_unix(unix))
    }
}
