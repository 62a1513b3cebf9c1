//! How messages are printed.

use crate::{
    output::{Failure, Payload, iso_time},
    terminal::{self, printable},
};
use e4::KeyRole;
use e4_mqtt::{Message, QoS};
use serde::Serialize;
use std::io::{self, Write};

/// How messages are printed.
#[derive(Clone, Copy)]
pub(super) enum Form {
    Line,
    PayloadLine,
    Raw,
    Json,
}

impl Form {
    pub(super) fn print(self, message: &Message) -> Result<(), Failure> {
        let mut bytes = match self {
            Self::Line => text_line(message).into_bytes(),
            Self::PayloadLine => terminal::payload(&message.payload, false).into_owned(),
            Self::Raw => message.payload.clone(),
            Self::Json => terminal::json(&Shown::new(message))?.into_bytes(),
        };
        if !matches!(self, Self::Raw) {
            bytes.push(b'\n');
        }
        let mut stdout = io::stdout().lock();
        stdout.write_all(&bytes)?;
        Ok(stdout.flush()?)
    }
}

/// `topic payload  (time, signer, what else is remarkable)`
fn text_line(message: &Message) -> String {
    let payload = match str::from_utf8(&message.payload) {
        Ok(text) => printable(text),
        Err(_) => format!("hex {}", hex::encode(&message.payload)),
    };
    let mut about = match message.seal() {
        None => "in the clear".to_owned(),
        Some(seal) => {
            let mut about = iso_time(seal.sent);
            if let Some(signer) = seal.signer {
                about += &format!(", signed by {signer}");
            }
            match seal.key {
                KeyRole::Current => {}
                KeyRole::Previous => about += ", under the previous key",
                KeyRole::Next => about += ", under the next key",
            }
            if seal.repeated {
                about += ", repeated";
            }
            about
        }
    };
    if message.retained {
        about += ", retained";
    }
    format!("{} {payload}  ({about})", printable(&message.topic))
}

#[derive(Serialize)]
struct Shown<'a> {
    topic: &'a str,
    #[serde(flatten)]
    payload: Payload,
    sent: Option<String>,
    age: Option<u64>,
    signer: Option<String>,
    previous_key: bool,
    next_key: bool,
    /// Whether an equal message was taken before.
    repeated: bool,
    /// Whether it came unsealed, on a topic where that is allowed.
    clear: bool,
    retained: bool,
    qos: u8,
}

impl<'a> Shown<'a> {
    fn new(message: &'a Message) -> Self {
        let seal = message.seal();
        Self {
            topic: &message.topic,
            payload: Payload::new(&message.payload),
            sent: seal.map(|seal| iso_time(seal.sent)),
            age: seal.and_then(|seal| seal.age),
            signer: seal.and_then(|seal| seal.signer).map(|signer| signer.to_string()),
            previous_key: seal.is_some_and(|seal| seal.key == KeyRole::Previous),
            next_key: seal.is_some_and(|seal| seal.key == KeyRole::Next),
            repeated: seal.is_some_and(|seal| seal.repeated),
            clear: seal.is_none(),
            retained: message.retained,
            qos: match message.qos {
                QoS::AtMostOnce => 0,
                QoS::AtLeastOnce => 1,
                QoS::ExactlyOnce => 2,
            },
        }
    }
}
