//! HKDF (RFC 5869) over HMAC-SHA3-256, by which keys come from others (protocol page, section 10).

use hkdf::{GenericHkdf, GenericHkdfExtract};
use hmac::SimpleHmac;
use sha3::Sha3_256;
use zeroize::{Zeroize, zeroize_stack};

type HmacSha3 = SimpleHmac<Sha3_256>;

/// Bytes of stack that a derivation takes. The implementations of HMAC and HKDF leave what they worked with there.
const STACK: usize = 2048;

pub(crate) fn extract(salt: &[u8], secret: &[u8; 32], prk: &mut [u8; 32]) {
    extract_leaving_traces(salt, secret, prk);
    zeroize_stack::<STACK>();
}

#[inline(never)]
fn extract_leaving_traces(salt: &[u8], secret: &[u8; 32], prk: &mut [u8; 32]) {
    let mut extract = GenericHkdfExtract::<HmacSha3>::new(Some(salt));
    extract.input_ikm(secret);
    let (mut output, _) = extract.finalize();
    prk.copy_from_slice(&output);
    output.as_mut_slice().zeroize();
}

/// The label is given in pieces.
pub(crate) fn expand(prk: &[u8; 32], label: &[&[u8]], key: &mut [u8; 32]) {
    expand_leaving_traces(prk, label, key);
    zeroize_stack::<STACK>();
}

#[inline(never)]
fn expand_leaving_traces(prk: &[u8; 32], label: &[&[u8]], key: &mut [u8; 32]) {
    // Fails only for keys of less than 32 bytes, and for outputs of more than 255 blocks of 32 bytes.
    let _ = GenericHkdf::<HmacSha3>::from_prk(prk).map(|hkdf| hkdf.expand_multi_info(label, key));
}
