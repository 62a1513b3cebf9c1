//! Where to look.

pub use mqtt_advice::{InvalidTarget, Target, Transport};
