//! What surrounds a client: keys, a clock and a store, all under the control of a target.

use crate::reference::{self, Key};
use e4::{
    C2SecretKey, ClientId, ClientKey, Clock, ClockReading, Identity, Mode, SigningKey, Snapshot, Store, StoreError,
    Timestamp, TopicKey,
};
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::LazyLock,
};

pub const CLIENT_KEY: Key = [0x11; 32];
pub const SEED: Key = [0x22; 32];
pub const C2_SECRET: Key = [0x33; 32];

/// A topic key made of bytes of the input, which may be one of those that are refused: zeros, and the client's own keys,
/// public ones included.
pub fn usable(bytes: Key) -> Key {
    static REFUSED: LazyLock<[Key; 6]> = LazyLock::new(|| {
        let c2 = reference::x25519_public(&C2_SECRET);
        let own = SigningKey::from_seed(&SEED).unwrap().verifying_key();
        [[0; 32], CLIENT_KEY, SEED, *own.as_bytes(), c2, reference::control_key(&SEED, &c2)]
    });
    if REFUSED.contains(&bytes) { [0x91; 32] } else { bytes }
}

pub fn topic_key(bytes: &Key) -> TopicKey {
    TopicKey::from_bytes(bytes).unwrap()
}

pub fn client_id() -> ClientId {
    ClientId::from_bytes(*b"the fuzzed one  ")
}

/// An identity of either mode. Made once: the key agreement of public-key mode takes longer than all the rest.
pub fn identity(mode: Mode) -> Identity {
    static SYMMETRIC: LazyLock<Identity> =
        LazyLock::new(|| Identity::symmetric(client_id(), ClientKey::from_bytes(&CLIENT_KEY).unwrap()));
    static PUBLIC_KEY: LazyLock<Identity> = LazyLock::new(|| {
        let c2 = C2SecretKey::from_bytes(&C2_SECRET).unwrap();
        Identity::public_key(client_id(), SigningKey::from_seed(&SEED).unwrap(), c2.public_key()).unwrap()
    });
    match mode {
        Mode::Symmetric => SYMMETRIC.clone(),
        Mode::PublicKey => PUBLIC_KEY.clone(),
    }
}

/// A clock that the target sets, as a clock or as the uptime of a device without one.
#[derive(Clone)]
pub struct TestClock {
    pub has_time: bool,
    seconds: Rc<Cell<u64>>,
}

impl TestClock {
    pub fn new(has_time: bool, seconds: u64) -> Self {
        Self { has_time, seconds: Rc::new(Cell::new(seconds)) }
    }

    pub fn get(&self) -> u64 {
        self.seconds.get()
    }

    pub fn set(&self, seconds: u64) {
        self.seconds.set(seconds);
    }
}

impl Clock for TestClock {
    fn read(&self) -> ClockReading {
        if self.has_time {
            ClockReading::Time(Timestamp::from_unix(self.get()))
        } else {
            ClockReading::Uptime(self.get())
        }
    }
}

/// A store that the target can look into, and have fail after so many bytes of a save.
#[derive(Clone, Default)]
pub struct TestStore {
    saved: Rc<RefCell<Option<Vec<u8>>>>,
    fails_after: Rc<Cell<Option<usize>>>,
}

impl TestStore {
    pub fn saved(&self) -> Option<Vec<u8>> {
        self.saved.borrow().clone()
    }

    pub fn fail_after(&self, bytes: Option<usize>) {
        self.fails_after.set(bytes);
    }

    pub fn fails(&self) -> bool {
        self.fails_after.get().is_some()
    }
}

impl Store for TestStore {
    fn load(&mut self, read: &mut dyn FnMut(&[u8])) -> Result<(), StoreError> {
        read(self.saved.borrow().as_deref().ok_or(StoreError::Empty)?);
        Ok(())
    }

    fn save(&mut self, state: &Snapshot<'_>) -> Result<(), StoreError> {
        const FULL: StoreError = StoreError::Other("no space left");
        let mut written = Vec::new();
        state.write_to(&mut |piece| {
            written.extend_from_slice(piece);
            if self.fails_after.get().is_some_and(|room| written.len() > room) { Err(FULL) } else { Ok(()) }
        })?;
        if self.fails() {
            // So much room that it all went in: the failure comes at the very end.
            return Err(FULL);
        }
        *self.saved.borrow_mut() = Some(written);
        Ok(())
    }
}
