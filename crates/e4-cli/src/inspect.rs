use crate::{
    device::state::mode_name,
    output::{Failure, Output, iso_time},
    seal::TextArgs,
};
use anyhow::Context;
use e4::{MessageHeader, Mode, Timestamp};
use serde::Serialize;
use std::{fs, io::Read, path::PathBuf};

/// Show what can be read of a sealed message without a key
///
/// That is its length and when it was sealed; and, if it is a device in public-key mode that sealed it, which one. The
/// message does not say its mode, and nothing of this is authentic: only `e4 open` can tell.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  mosquitto_sub -t plant/7/pump -C 1 -N | e4 inspect")]
pub(crate) struct Args {
    /// The message; `-` or nothing for standard input
    #[arg(default_value = "-", hide_default_value = true)]
    file: PathBuf,
    #[command(flatten)]
    text: TextArgs,
}

/// Ten years. Beyond that, either a clock was never set, or the bytes are no time.
const IMPLAUSIBLE_SECONDS: u64 = 10 * 365 * 24 * 3600;

#[derive(Serialize)]
struct Inspected {
    length: usize,
    /// Unix seconds; `null` when the message is too short to be sealed.
    sent: Option<u64>,
    /// Seconds; negative in the future.
    age: Option<i128>,
    plausible_time: bool,
    modes: Vec<InMode>,
    #[serde(skip)]
    looks_like_hex: bool,
}

/// What the message says if it is of this mode.
#[derive(Serialize)]
struct InMode {
    mode: &'static str,
    payload_length: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    signer: Option<String>,
}

pub(crate) fn run(args: &Args, output: Output) -> Result<(), Failure> {
    let bytes = args.read()?;
    let looks_like_hex = !args.text.is_given() && is_hex(&bytes);
    let message = args.text.decode(bytes).with_context(|| args.file.display().to_string())?;
    let inspected = Inspected::new(&message, Timestamp::now(), looks_like_hex);
    output.print(&inspected, || inspected.to_text())
}

impl Args {
    fn read(&self) -> anyhow::Result<Vec<u8>> {
        if self.file.as_os_str() != "-" {
            return fs::read(&self.file).with_context(|| format!("could not read {}", self.file.display()));
        }
        let mut bytes = Vec::new();
        std::io::stdin().lock().read_to_end(&mut bytes).context("could not read standard input")?;
        Ok(bytes)
    }
}

fn is_hex(bytes: &[u8]) -> bool {
    let digits = bytes.trim_ascii();
    digits.len() >= 2 * e4::SYMMETRIC_OVERHEAD && digits.iter().all(u8::is_ascii_hexdigit)
}

impl Inspected {
    fn new(message: &[u8], now: Timestamp, looks_like_hex: bool) -> Self {
        let header = Mode::Symmetric.read_header(message);
        let sent = header.map(|header| header.sent.as_unix());
        let modes = [Mode::Symmetric, Mode::PublicKey];
        Self {
            length: message.len(),
            sent,
            age: sent.map(|sent| i128::from(now.as_unix()) - i128::from(sent)),
            plausible_time: sent.is_some_and(|sent| now.as_unix().abs_diff(sent) <= IMPLAUSIBLE_SECONDS),
            modes: modes.into_iter().filter_map(|mode| Some(InMode::new(mode, mode.read_header(message)?))).collect(),
            looks_like_hex,
        }
    }

    fn to_text(&self) -> String {
        let mut lines = vec![format!("length      {} bytes", self.length)];
        if let (Some(sent), Some(age)) = (self.sent, self.age) {
            let age = if age < 0 { format!("{} s in the future", -age) } else { format!("{age} s ago") };
            lines.push(format!("sent        {} ({age})", iso_time(Timestamp::from_unix(sent))));
        }
        for InMode { mode, payload_length, signer } in &self.modes {
            let by = signer.as_ref().map(|signer| format!(", signed by client {signer}")).unwrap_or_default();
            lines.push(format!("if {mode:<10}  payload of {payload_length} bytes{by}"));
        }
        if self.modes.is_empty() {
            lines.push(format!("Not sealed: a sealed message has at least {} bytes.", e4::SYMMETRIC_OVERHEAD));
        } else if self.looks_like_hex {
            lines.push("This is text in hexadecimal: try --hex.".to_owned());
        } else if !self.plausible_time {
            lines.push("Not sealed, or by a device whose clock is wrong: the time is years away.".to_owned());
        }
        lines.join("\n")
    }
}

impl InMode {
    fn new(mode: Mode, header: MessageHeader) -> Self {
        let signer = header.signer.map(|signer| signer.to_string());
        Self { mode: mode_name(mode), payload_length: header.payload_len, signer }
    }
}
