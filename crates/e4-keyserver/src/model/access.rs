use std::ops::BitOr;

/// What somebody may do with a topic. Both need its key: who reads opens messages, who writes seals them, and in public-key mode
/// the readers get the public keys of the writers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Access {
    /// May read.
    pub read: bool,
    /// May write.
    pub write: bool,
}

impl Access {
    /// Reads.
    pub const READ: Self = Self { read: true, write: false };
    /// Writes.
    pub const WRITE: Self = Self { read: false, write: true };
    /// Reads and writes.
    pub const BOTH: Self = Self { read: true, write: true };

    /// As the number that is stored: 1 reads, 2 writes, 3 both.
    #[must_use]
    pub const fn code(self) -> i64 {
        (if self.read { 1 } else { 0 }) | (if self.write { 2 } else { 0 })
    }

    /// From the number that is stored; other bits are ignored.
    #[must_use]
    pub const fn from_code(code: i64) -> Self {
        Self { read: code & 1 != 0, write: code & 2 != 0 }
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_none(self) -> bool {
        !self.read && !self.write
    }
}

impl BitOr for Access {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self { read: self.read || other.read, write: self.write || other.write }
    }
}
