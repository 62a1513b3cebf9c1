//! The key server of E4.

fn main() {}
