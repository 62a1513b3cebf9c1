//! When the client reports to its key server (protocol page, section 11).
//!
//! Soon after commands that were accepted, once for a series; after one that was refused, but not again and again, since anybody
//! who has recorded old commands can have them refused; and within some time after each connection.

use crate::{
    QoS,
    bounds::{MAX_REPORT_DELAY, REFUSALS_EVERY},
};
use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep_until},
};

/// How reports go to the broker that there is a connection to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    /// Which connection it is, from 1.
    pub(crate) connection: u64,
}

pub(crate) struct Due {
    inner: Mutex<Inner>,
    changed: Notify,
    /// Commands were accepted, or a report was to be made at once, and the key server does not know it yet.
    unreported: watch::Sender<bool>,
}

#[derive(Default)]
struct Inner {
    /// None without a connection that takes reports.
    terms: Option<Terms>,
    /// The broker lets nobody report.
    never: bool,
    /// When the first and the last command of a series were accepted.
    series: Option<(Instant, Instant)>,
    /// When to report at the latest for another reason.
    other: Option<Instant>,
    /// When the last report was made.
    last: Option<Instant>,
    /// Commands that are being carried out.
    under_way: usize,
}

/// A command is being carried out.
pub(crate) struct UnderWay<'a>(&'a Due);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.change(|inner| inner.under_way -= 1);
    }
}

/// Commands that come no further apart are one series.
const TOGETHER: Duration = Duration::from_millis(100);

impl Due {
    pub(crate) fn new() -> Self {
        Self { inner: Mutex::default(), changed: Notify::new(), unreported: watch::Sender::new(false) }
    }

    fn change(&self, change: impl FnOnce(&mut Inner)) {
        change(&mut self.lock());
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A command is being carried out until this is dropped. A report waits for what becomes of it.
    pub(crate) fn under_way(&self) -> UnderWay<'_> {
        self.change(|inner| inner.under_way += 1);
        UnderWay(self)
    }

    /// A command was accepted.
    pub(crate) fn accepted(&self) {
        self.unreported.send_replace(true);
        self.change(|inner| {
            let now = Instant::now();
            inner.series = Some((inner.series.map_or(now, |(first, _)| first), now));
        });
    }

    /// An authentic command was refused, or waits because it cannot be stored.
    pub(crate) fn refused(&self) {
        self.change(|inner| {
            let now = Instant::now();
            let not_before = inner.last.map_or(now, |last| now.max(last + REFUSALS_EVERY));
            inner.at(not_before + TOGETHER);
        });
    }

    /// There is a connection, and commands arrive on it. Who does not want to wait does not go without a report either.
    pub(crate) fn connected(&self, terms: Terms, wait: Duration) {
        if wait.is_zero() {
            self.unreported.send_replace(true);
        }
        self.change(|inner| {
            inner.terms = Some(terms);
            inner.at(Instant::now() + wait);
        });
    }

    /// The connection is gone. What is not reported yet is reported on the next one.
    pub(crate) fn disconnected(&self) {
        self.change(|inner| (inner.terms, inner.other) = (None, None));
    }

    /// The broker does not take reports on this connection. There may be another one by now.
    pub(crate) fn is_refused(&self, connection: u64) {
        let is_this = |terms: Terms| terms.connection <= connection;
        if self.lock().terms.is_none_or(is_this) {
            self.unreported.send_replace(false);
        }
        self.change(|inner| inner.terms = inner.terms.filter(|terms| !is_this(*terms)));
    }

    /// The broker ends the connection for reports.
    pub(crate) fn give_up(&self) {
        self.unreported.send_replace(false);
        self.change(|inner| inner.never = true);
    }

    /// The broker has a report of all that was accepted before it was made.
    pub(crate) fn is_reported(&self) {
        let is_all = self.lock().series.is_none();
        self.unreported.send_if_modified(|unreported| is_all && std::mem::take(unreported));
    }

    /// Waits until a report is due; what happens from then on is for the next one.
    pub(crate) async fn next(&self) -> Terms {
        loop {
            let due = self.lock().due();
            tokio::select! {
                () = wait_until(due) => {
                    if let Some(terms) = self.lock().begin() {
                        return terms;
                    }
                }
                () = self.changed.notified() => (),
            }
        }
    }

    /// Has accepted commands be reported at once, and waits until they are. Without a connection it does not wait.
    pub(crate) async fn finish(&self) {
        let mut unreported = self.unreported.subscribe();
        {
            let mut inner = self.lock();
            if inner.terms.is_none() || inner.never {
                return;
            }
            if let Some((first, last)) = &mut inner.series {
                // As if they had come long ago.
                let long_ago = Instant::now().checked_sub(MAX_REPORT_DELAY).unwrap_or(*first);
                (*first, *last) = (long_ago, long_ago);
            }
        }
        self.changed.notify_one();
        let _or_gone = unreported.wait_for(|unreported| !unreported).await;
    }
}

async fn wait_until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

impl Inner {
    fn at(&mut self, at: Instant) {
        self.other = Some(self.other.map_or(at, |other| other.min(at)));
    }

    fn due(&self) -> Option<Instant> {
        if self.terms.is_none() || self.never || self.under_way > 0 {
            return None;
        }
        let series = self.series.map(|(first, last)| (last + TOGETHER).min(first + MAX_REPORT_DELAY));
        self.other.into_iter().chain(series).min()
    }

    /// Begins a report, if one is due.
    fn begin(&mut self) -> Option<Terms> {
        let now = Instant::now();
        if self.due()? > now {
            return None;
        }
        (self.series, self.other, self.last) = (None, None, Some(now));
        self.terms
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::timeout;

    fn on(connection: u64) -> Terms {
        Terms { qos: QoS::AtLeastOnce, retain: true, connection }
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_on_one_connection_keeps_no_report_from_the_next() {
        let due = Due::new();
        let next = || async { timeout(REFUSALS_EVERY * 2, due.next()).await.ok() };
        due.connected(on(1), Duration::ZERO);
        assert_eq!(next().await, Some(on(1)));
        due.disconnected();
        due.connected(on(2), Duration::ZERO);
        // It was on its way to the task that reports.
        due.is_refused(1);
        assert_eq!(next().await, Some(on(2)));
        due.is_refused(2);
        due.refused();
        assert_eq!(next().await, None, "the broker takes none on this connection");
    }
}
