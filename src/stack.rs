//! What secrets leave behind on the stack.

/// Overwrites the part of the stack that the calls before this one have used, up to `BYTES` deep.
///
/// Ciphers and hashes wipe what they hold when they are dropped, but not the copies that the compiler makes on their way
/// there. Without an operating system the stack may be smaller than this, and belongs to one program alone.
#[inline(never)]
pub(crate) fn wipe<const BYTES: usize>() {
    if cfg!(feature = "std") {
        core::hint::black_box(&mut [0_u8; BYTES]);
    }
}

/// Deeper than any call of this crate goes.
pub(crate) const DEEP: usize = 1 << 15;
