use e4::ClientId;
use std::collections::BTreeMap;

/// A part of the fleet. Several servers on one database share the slices among themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slice(i64);

impl Slice {
    /// How many there are.
    pub const COUNT: i64 = 64;

    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..Self::COUNT).map(Self)
    }

    /// That of a device, for ever.
    #[must_use]
    pub fn of(device: &ClientId) -> Self {
        // Ids can be counted up at either end.
        let sum = device.as_bytes().iter().fold(0_i64, |sum, byte| (sum * 31 + i64::from(*byte)) % 65_521);
        Self(sum % Self::COUNT)
    }

    /// The number that is stored.
    #[must_use]
    pub const fn code(self) -> i64 {
        self.0
    }

    /// From the number that is stored.
    #[must_use]
    pub fn from_code(code: i64) -> Option<Self> {
        (0..Self::COUNT).contains(&code).then_some(Self(code))
    }
}

/// The slices that a server delivers to, each with the number of its lease: who took the slice over has a higher one, and the
/// transactions of who had it before fail.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Leases(pub BTreeMap<Slice, i64>);

impl Leases {
    /// Whether a device is in one of them.
    #[must_use]
    pub fn cover(&self, device: &ClientId) -> bool {
        self.0.contains_key(&Slice::of(device))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slice_gets_its_share_of_ids_however_they_are_made() {
        let hashed = |number: u64| ClientId::from_name(&number.to_string()).unwrap();
        let first = |number: u64| {
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&number.to_be_bytes());
            ClientId::from_bytes(bytes)
        };
        let last = |number: u64| ClientId::from_bytes(u128::from(number).to_be_bytes());
        for id in [&hashed as &dyn Fn(u64) -> ClientId, &first, &last] {
            let mut counts = BTreeMap::new();
            (0..6400).for_each(|number| *counts.entry(Slice::of(&id(number))).or_insert(0) += 1);
            assert_eq!(counts.len(), 64);
            assert!(counts.values().all(|count| (50..200).contains(count)), "{counts:?}");
        }
        assert_eq!(Slice::all().count(), 64);
        assert!(Slice::all().all(|slice| Slice::from_code(slice.code()) == Some(slice)));
        assert_eq!((Slice::from_code(64), Slice::from_code(-1)), (None, None));
    }
}
