//! How to look.

use crate::{dial::Proxy, session::Credentials, tls::TlsSettings};
use std::{sync::Arc, time::Duration};

/// How to look.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Settings {
    /// Who to be, besides a stranger.
    pub credentials: Option<Credentials>,
    /// How to speak TLS.
    pub tls: Arc<TlsSettings>,
    /// Through which proxy to go.
    pub proxy: Option<Arc<Proxy>>,
    /// Whether to run the probes that write below `$SYS` as well.
    pub intrusive: bool,
    /// Whether to keep the names of topics that can be read.
    pub show_topics: bool,
    /// How long a connection may take to be made: TCP, and then TLS and WebSocket together. 5 s by default.
    pub connect_within: Duration,
    /// How long an answer may take. 3 s by default.
    pub answer_within: Duration,
    /// How long to listen for messages, once a subscription is granted. 2 s by default.
    pub listen: Duration,
    /// How long the whole look may take. 30 s by default. A look that needs longer is [incomplete](crate::Report::incomplete).
    pub budget: Duration,
}

impl Settings {
    /// A look without credentials that writes nothing below `$SYS`.
    #[must_use]
    pub fn new(tls: Arc<TlsSettings>) -> Self {
        Self {
            credentials: None,
            tls,
            proxy: None,
            intrusive: false,
            show_topics: false,
            connect_within: Duration::from_secs(5),
            answer_within: Duration::from_secs(3),
            listen: Duration::from_secs(2),
            budget: Duration::from_secs(30),
        }
    }
}

impl Settings {
    /// Whether there is somebody to be, besides a stranger: by a password or by a certificate.
    pub(crate) fn has_user(&self) -> bool {
        self.credentials.is_some() || self.tls.has_client_certificate()
    }
}
