//! Which reports were judged already, so that a snapshot that brings nothing new costs nothing.

use e4::ClientId;
use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
};

/// The last report of each device that was judged, as a keyed hash: nobody outside can make another one with the same.
#[derive(Default)]
pub(super) struct Seen {
    hasher: RandomState,
    last: HashMap<ClientId, u64>,
}

impl Seen {
    /// Far more than devices: anybody can invent ids.
    const MOST: usize = 1 << 20;

    /// Whether the last report of this device that was judged is this one.
    pub(super) fn has(&self, device: &ClientId, payload: &[u8]) -> bool {
        self.last.get(device) == Some(&self.hasher.hash_one(payload))
    }

    /// It was judged.
    pub(super) fn judged(&mut self, device: ClientId, payload: &[u8]) {
        if self.last.len() >= Self::MOST {
            self.last.clear();
        }
        self.last.insert(device, self.hasher.hash_one(payload));
    }

    /// Forgets what others judge from now on.
    pub(super) fn keep(&mut self, is_ours: impl Fn(&ClientId) -> bool) {
        self.last.retain(|device, _| is_ours(device));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_report_of_a_device_was_seen() {
        let [pump, panel] = ["pump", "panel"].map(|name| ClientId::from_name(name).unwrap());
        let mut seen = Seen::default();
        assert!(!seen.has(&pump, b"one"));
        seen.judged(pump, b"one");
        assert!(seen.has(&pump, b"one") && !seen.has(&panel, b"one"));
        seen.judged(pump, b"two");
        assert!(seen.has(&pump, b"two") && !seen.has(&pump, b"one"));
        seen.judged(panel, b"one");
        seen.keep(|device| *device == pump);
        assert!(seen.has(&pump, b"two") && !seen.has(&panel, b"one"));
    }
}
