//! What stands in a stored state.

/// A stored state up to the entry that says which command was refused, which is the last one.
pub(crate) fn without_refusal(state: &[u8]) -> Vec<u8> {
    const FRONT: usize = 8;
    let mut decoder = minicbor::Decoder::new(&state[FRONT..]);
    let entries = decoder.map().unwrap().unwrap();
    for _ in 1..entries {
        decoder.skip().unwrap();
        decoder.skip().unwrap();
    }
    state[..FRONT + decoder.position()].to_vec()
}
