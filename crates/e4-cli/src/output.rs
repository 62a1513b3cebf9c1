//! What the command prints, and how it ends.

use crate::terminal::{self, clean, note};
use base64::{Engine, prelude::BASE64_STANDARD};
use e4::Timestamp;
use serde::Serialize;
use std::{io::Write, process::ExitCode};

/// How results are printed.
#[derive(Clone, Copy)]
pub(crate) struct Output {
    pub(crate) json: bool,
}

impl Output {
    /// Prints a result as one line of JSON, or as the text for people.
    pub(crate) fn print(self, result: &impl Serialize, text: impl FnOnce() -> String) -> Result<(), Failure> {
        let line = if self.json { terminal::json(result)? } else { clean(&text()).into_owned() };
        writeln!(std::io::stdout().lock(), "{line}")?;
        Ok(())
    }
}

/// A payload in JSON.
#[derive(Serialize)]
pub(crate) struct Payload {
    payload: String,
    /// `utf-8`: the payload is the text itself; `base64`: it is none, and this is its base64.
    payload_encoding: &'static str,
}

impl Payload {
    pub(crate) fn new(payload: &[u8]) -> Self {
        match str::from_utf8(payload) {
            Ok(text) => Self { payload: text.to_owned(), payload_encoding: "utf-8" },
            Err(_) => Self { payload: BASE64_STANDARD.encode(payload), payload_encoding: "base64" },
        }
    }
}

/// A time as people read it: ISO 8601, UTC.
pub(crate) fn iso_time(time: Timestamp) -> String {
    let seconds = i64::try_from(time.as_unix()).ok();
    seconds
        .and_then(|seconds| jiff::Timestamp::from_second(seconds).ok())
        .map_or_else(|| format!("second {time} after 1970, in no year of the calendar"), |time| time.to_string())
}

/// Why the command did not do what it was asked to.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Exit code 1: a file, a key, the network or an argument's value.
    Error(anyhow::Error),
    /// Exit code 3: a message or a command was refused; which, and why.
    Refused(String),
    /// Exit code 27, as `mosquitto_sub`: what was waited for did not come; what that is.
    TimedOut(String),
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

impl Failure {
    /// Says what was being done, before the reason.
    pub(crate) fn context(self, doing: String) -> Self {
        match self {
            Self::Error(error) => Self::Error(error.context(doing)),
            other => other,
        }
    }

    /// Says on standard error what went wrong. Some commands have not done their work if their output was not read to the
    /// end.
    pub(crate) fn report(self, told_whole: bool) -> ExitCode {
        match self {
            // Whoever reads our output has read enough: `e4 sub | head`.
            Self::Error(error) if is_broken_pipe(&error) && !told_whole => ExitCode::SUCCESS,
            Self::Error(error) => {
                note(format!("Error: {error:#}"));
                ExitCode::FAILURE
            }
            Self::Refused(reason) => {
                note(format!("Refused: {reason}"));
                ExitCode::from(3)
            }
            Self::TimedOut(what) => {
                note(what);
                ExitCode::from(27)
            }
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}
