//! Reading bytes that somebody else wrote.

/// A reader that borrows from its input and never reads past the end of it.
pub(crate) struct Reader<'a>(&'a [u8]);

/// The input ended early, or went on after its end.
#[derive(Debug)]
pub(crate) struct WrongLength;

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn take_array<const N: usize>(&mut self) -> Result<&'a [u8; N], WrongLength> {
        let (array, rest) = self.0.split_first_chunk().ok_or(WrongLength)?;
        self.0 = rest;
        Ok(array)
    }

    pub(crate) fn take_byte(&mut self) -> Result<u8, WrongLength> {
        let [byte] = self.take_array()?;
        Ok(*byte)
    }

    /// The number of bytes that are left.
    pub(crate) fn remaining(&self) -> usize {
        self.0.len()
    }

    /// Succeeds only when everything was read.
    pub(crate) fn finish(self) -> Result<(), WrongLength> {
        if self.0.is_empty() { Ok(()) } else { Err(WrongLength) }
    }
}
