//! Where the device keeps its state. Only `erase` and `program` know the memory: put the calls of your chip in there.

use e4::{Snapshot, Store, StoreError};

/// Room for the longest state and the mark before it, in whole words.
const BANK: usize = (crate::Ring::MAX_STATE_LEN + WORD).next_multiple_of(WORD);
/// What the memory writes at once: whole or not at all, even when the power fails.
const WORD: usize = 8;
const ERASED: u8 = 0xff;

/// Two banks of flash memory: one holds the state, the other one takes the next.
///
/// A bank begins with a mark of one word, `serial number | length of the state`. It is programmed last, so a bank with a
/// mark is a whole one, whenever the power fails.
pub struct Flash {
    banks: [[u8; BANK]; 2],
    /// How many more words the power lasts for: this program shows what happens when it fails.
    pub words_left: usize,
}

struct Mark {
    serial: u32,
    len: usize,
}

impl Flash {
    pub const fn new() -> Self {
        Self { banks: [[ERASED; BANK]; 2], words_left: usize::MAX }
    }

    fn erase(&mut self, bank: usize) {
        self.banks[bank].fill(ERASED);
    }

    fn program(&mut self, bank: usize, at: usize, word: [u8; WORD]) -> Result<(), StoreError> {
        self.words_left = self.words_left.checked_sub(1).ok_or(StoreError::Other("the power failed"))?;
        let memory = self.banks[bank].get_mut(at..at + WORD).ok_or(StoreError::TooLong(BANK - WORD))?;
        memory.copy_from_slice(&word);
        Ok(())
    }

    /// The mark of a bank that holds a state.
    fn mark(&self, bank: usize) -> Option<Mark> {
        let [a, b, c, d, e, f, g, h, ..] = self.banks[bank];
        let (serial, len) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
        let len = usize::try_from(len).ok().filter(|len| *len <= BANK - WORD)?;
        Some(Mark { serial, len })
    }

    /// The bank with the state that was saved last.
    fn newest(&self) -> Option<(usize, Mark)> {
        let marks = (0..2).filter_map(|bank| Some((bank, self.mark(bank)?)));
        marks.max_by_key(|(_, mark)| mark.serial)
    }
}

impl Store for Flash {
    fn load(&mut self, read: &mut dyn FnMut(&[u8])) -> Result<(), StoreError> {
        let (bank, mark) = self.newest().ok_or(StoreError::Empty)?;
        read(&self.banks[bank][WORD..WORD + mark.len]);
        Ok(())
    }

    fn save(&mut self, state: &Snapshot<'_>) -> Result<(), StoreError> {
        let (before, serial) = self.newest().map_or((1, 0), |(bank, mark)| (bank, mark.serial + 1));
        let bank = 1 - before;
        self.erase(bank);

        // The state comes in pieces of any length, and the memory takes whole words: no buffer for all of it is needed.
        let (mut word, mut len) = ([ERASED; WORD], 0);
        state.write_to(&mut |piece| {
            for byte in piece {
                word[len % WORD] = *byte;
                len += 1;
                if len % WORD == 0 {
                    self.program(bank, len, word)?;
                    word = [ERASED; WORD];
                }
            }
            Ok(())
        })?;
        if len % WORD != 0 {
            self.program(bank, len.next_multiple_of(WORD), word)?;
        }

        let mut mark = [0; WORD];
        mark[..4].copy_from_slice(&serial.to_le_bytes());
        mark[4..].copy_from_slice(&(len as u32).to_le_bytes());
        self.program(bank, 0, mark)?;
        // The old bank may hold keys that the key server has taken away.
        self.erase(before);
        Ok(())
    }
}
