//! How far a scan is, on standard error.

use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use std::{fmt::Write, time::Duration};

const KNOWN: &str = "{elapsed} {wide_bar} {pos}/{len}, {rate}, {eta} left{msg}";
const UNKNOWN: &str = "{spinner} {elapsed} {pos} looked at, {rate}{msg}";

/// A progress bar, if standard error is a terminal.
#[derive(Debug)]
pub struct Progress(ProgressBar);

impl Progress {
    /// For as many targets, if it is known how many there are. Nothing is shown unless standard error is a terminal.
    #[must_use]
    pub fn new(total: Option<u64>) -> Self {
        let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
        bar.set_style(style(if total.is_some() { KNOWN } else { UNKNOWN }));
        if !bar.is_hidden() {
            bar.enable_steady_tick(Duration::from_millis(250));
        }
        Self(bar)
    }

    /// None.
    #[must_use]
    pub fn hidden() -> Self {
        Self(ProgressBar::hidden())
    }

    /// A handle on the same bar, for [`Progress::print`] while a scan has this one.
    #[must_use]
    pub fn handle(&self) -> Self {
        Self(self.0.clone())
    }

    /// Takes the bar away while something is printed.
    pub fn print<T>(&self, print: impl FnOnce() -> T) -> T {
        self.0.suspend(print)
    }

    pub(super) fn done(&self) {
        self.0.inc(1);
    }

    /// One target less to look at: it does not count for the rate, nor for the time that is left.
    pub(super) fn passed_over(&self) {
        if self.0.length().is_some() {
            self.0.dec_length(1);
        }
    }

    pub(super) fn ending(&self, running: usize) {
        self.0.set_message(format!("; ending, waits for {running}: Ctrl-C again aborts them"));
    }

    pub(super) fn finish(&self) {
        self.0.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    style.with_key("rate", |state: &ProgressState, out: &mut dyn Write| {
        let _ = write!(out, "{:.1}/s", state.per_sec());
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_are_right() {
        for template in [KNOWN, UNKNOWN] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }

    #[test]
    fn what_is_passed_over_is_no_longer_waited_for() {
        let progress = Progress::new(Some(3));
        progress.passed_over();
        progress.done();
        assert_eq!((progress.0.position(), progress.0.length()), (1, Some(2)));
        let unknown = Progress::new(None);
        unknown.passed_over();
        assert_eq!(unknown.0.length(), None);
        assert_eq!(progress.print(|| 5), 5);
    }
}
