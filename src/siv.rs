//! AES-SIV as the protocol uses it (RFC 5297): a 512-bit key made of one 32-byte key twice, one component of associated
//! data, output `V | C` with `V` apart from the text.
//!
//! Nothing outside this module knows how AES-SIV is computed.

use aes_siv::{KeyInit, siv::Aes256Siv};
use ctr::cipher::{KeyIvInit, StreamCipher};

/// Bytes of the synthetic initialisation vector `V`, which is the authentication tag too.
pub(crate) const TAG_LEN: usize = 16;

pub(crate) type Tag = [u8; TAG_LEN];

/// The text is not what the holder of the key sealed, or the key is another one.
#[derive(Debug)]
pub(crate) struct NotAuthentic;

/// Encrypts `text` in place and returns `V`.
pub(crate) fn seal(key: &[u8; 32], associated_data: &[u8], text: &mut [u8]) -> Tag {
    // Made where it is used, here and below: a cipher that is moved leaves its key schedule behind.
    match Aes256Siv::new((&Doubled::new(key).0).into()).encrypt_inout_detached([associated_data], (&mut *text).into()) {
        Ok(tag) => tag.into(),
        Err(aes_siv::Error) => {
            // Reached only with more than 126 components of associated data; there is one. Should a later version of
            // the cipher refuse anything else, then nothing readable leaves this function.
            text.fill(0);
            Tag::default()
        }
    }
}

/// Decrypts `text` in place. When it fails, `text` holds the ciphertext again.
pub(crate) fn open(key: &[u8; 32], associated_data: &[u8], tag: &Tag, text: &mut [u8]) -> Result<(), NotAuthentic> {
    #[cfg(test)]
    tests::OPEN_CALLS.set(tests::OPEN_CALLS.get() + 1);
    Aes256Siv::new((&Doubled::new(key).0).into())
        .decrypt_inout_detached([associated_data], text.into(), tag.into())
        .map_err(|aes_siv::Error| NotAuthentic)
}

/// Turns a text that [`open`] decrypted into its ciphertext, and back again.
///
/// This is the CTR half of RFC 5297 section 2.5: `Q = V` with bits 31 and 63 from the right cleared.
pub(crate) fn apply_keystream(key: &[u8; 32], tag: &Tag, text: &mut [u8]) {
    let q = u128::from_be_bytes(*tag) & !((1 << 63) | (1 << 31));
    ctr::Ctr128BE::<aes::Aes256>::new(key.into(), &q.to_be_bytes().into()).apply_keystream(text);
}

/// `K | K`: S2V and CTR run under the same key in this protocol. Wiped on drop.
struct Doubled([u8; 64]);

impl Doubled {
    fn new(key: &[u8; 32]) -> Self {
        let mut doubled = Self([0; 64]);
        let (mac_key, encryption_key) = doubled.0.split_at_mut(32);
        mac_key.copy_from_slice(key);
        encryption_key.copy_from_slice(key);
        doubled
    }
}

impl Drop for Doubled {
    fn drop(&mut self) {
        // Wiping byte by byte would cost a tenth of sealing a short message.
        self.0 = [0; 64];
        zeroize::optimization_barrier(&self.0);
    }
}

/// How often this thread called [`open`].
#[cfg(all(test, feature = "std"))]
pub(crate) fn open_calls() -> usize {
    tests::OPEN_CALLS.get()
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::cell::Cell;

    std::thread_local! {
        pub(super) static OPEN_CALLS: Cell<usize> = const { Cell::new(0) };
    }

    const KEY: [u8; 32] = [7; 32];
    const LENGTHS: [usize; 10] = [0, 1, 15, 16, 17, 31, 32, 33, 64, 1000];

    #[test]
    fn a_failed_open_gives_the_ciphertext_back() {
        for length in LENGTHS {
            let mut text = vec![0x5a; length];
            let tag = seal(&KEY, b"12345678", &mut text);
            let ciphertext = text.clone();
            let mut wrong = tag;
            wrong[0] ^= 1;
            assert!(open(&KEY, b"12345678", &wrong, &mut text).is_err());
            assert_eq!(text, ciphertext, "{length}");
            assert!(open(&[8; 32], b"12345678", &tag, &mut text).is_err());
            assert_eq!(text, ciphertext, "{length}");
            assert!(open(&KEY, b"12345679", &tag, &mut text).is_err());
            assert_eq!(text, ciphertext, "{length}");
        }
    }

    #[test]
    fn the_keystream_leads_from_the_plaintext_to_the_ciphertext_and_back() {
        for length in LENGTHS {
            let plaintext = vec![0x5a; length];
            let mut text = plaintext.clone();
            let tag = seal(&KEY, b"12345678", &mut text);
            let ciphertext = text.clone();
            assert!(open(&KEY, b"12345678", &tag, &mut text).is_ok());
            assert_eq!(text, plaintext);
            apply_keystream(&KEY, &tag, &mut text);
            assert_eq!(text, ciphertext, "{length}");
            apply_keystream(&KEY, &tag, &mut text);
            assert_eq!(text, plaintext, "{length}");
        }
    }

    #[test]
    fn a_tag_with_the_cleared_bits_set_makes_the_right_keystream() {
        // Some of these tags have bit 31 or 63 set, which the counter must not start with.
        let mut seen = [false; 2];
        for ad in 0..64u8 {
            let mut text = [0x5a; 40];
            let tag = seal(&KEY, &[ad], &mut text);
            seen[0] |= tag[8] & 0x80 != 0;
            seen[1] |= tag[12] & 0x80 != 0;
            apply_keystream(&KEY, &tag, &mut text);
            assert_eq!(text, [0x5a; 40]);
        }
        assert_eq!(seen, [true; 2]);
    }
}
