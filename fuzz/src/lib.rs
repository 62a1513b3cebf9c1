//! What the fuzz targets share: reading their input, a second implementation of the wire format, a world of clocks and
//! stores that obey the input, and the checks themselves where two targets have one.

pub mod calls;
pub mod matcher;
pub mod open;
pub mod reference;
pub mod session;

pub mod world;

/// Reads a target's input from its front. What is missing reads as zero, so that every input means something and a
/// seed can be written down byte by byte.
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn slice(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        let taken = self.slice(N);
        array[..taken.len()].copy_from_slice(taken);
        array
    }

    pub fn byte(&mut self) -> u8 {
        u8::from_le_bytes(self.array())
    }

    pub fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    pub fn i16(&mut self) -> i16 {
        i16::from_le_bytes(self.array())
    }

    pub fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    /// An index below `len`.
    pub fn index(&mut self, len: usize) -> usize {
        usize::from(self.byte()) % len
    }

    pub fn choose<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.index(choices.len())]
    }

    pub fn rest(&mut self) -> &'a [u8] {
        self.slice(usize::MAX)
    }
}
