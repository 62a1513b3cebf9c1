//! What the test files share: settings for a quick look, servers to look at.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "each test file uses a part of it, and fails by panicking"
)]

pub(crate) mod brokers;
pub(crate) mod certificates;
pub(crate) mod recorder;
pub(crate) mod scripted;
pub(crate) mod tls_front;

use mqttinfo::{Settings, tls::TlsSettings};
use std::{sync::Arc, time::Duration};

/// A look at a server of this machine, that answers at once or never.
pub(crate) fn quick() -> Settings {
    let mut settings = Settings::new(Arc::new(TlsSettings::load(None, None, None, false).unwrap()));
    settings.listen = Duration::from_millis(300);
    settings.answer_within = Duration::from_secs(1);
    settings
}
