//! The calls that open as one, and those that seal, with a check of the buffers that each leaves behind.

use crate::reference::Message;
use e4::{AppliedCommand, Client, Clock, KeyRing, Mode, OpenError, Opened, SealError, Store, Topic};

/// What opening said, whichever call it was.
#[derive(Debug, PartialEq)]
pub enum Outcome {
    Message { message: Message, repeated: bool },
    Command(AppliedCommand),
}

pub type Result = core::result::Result<Outcome, OpenError>;

/// Opens by one of the calls.
pub fn open<R: KeyRing, S: Store, C: Clock>(
    client: &mut Client<R, S, C>,
    topic: &str,
    message: &[u8],
    call: u8,
) -> Result {
    match call % 4 {
        0 => client.open(topic, message).map(Outcome::from),
        1 => client.open(Topic::new(topic).unwrap(), message).map(Outcome::from),
        2 => open_into(client, topic, message),
        _ => open_in_place(client, topic, message),
    }
}

fn open_into<R: KeyRing, S: Store, C: Clock>(client: &mut Client<R, S, C>, topic: &str, message: &[u8]) -> Result {
    const UNTOUCHED: u8 = 0xa5;
    const SPARE: usize = 3;
    let body = body(client.mode(), message);
    if topic != client.control_topic().as_str()
        && let Some(too_small) = body.len().checked_sub(1)
    {
        let mut out = vec![UNTOUCHED; too_small];
        let error = client.open_into(topic, message, &mut out).unwrap_err();
        assert_eq!(error, OpenError::BufferTooSmall { needed: body.len() });
        assert!(out.iter().all(|byte| *byte == UNTOUCHED));
    }
    let mut out = vec![UNTOUCHED; body.len() + SPARE];
    let result = client.open_into(topic, message, &mut out).map(Outcome::from);
    let (payload, behind) = out.split_at(body.len());
    assert_eq!(behind, [UNTOUCHED; SPARE]);
    match result {
        Ok(Outcome::Message { ref message, .. }) => assert_eq!(message.payload, payload),
        Ok(Outcome::Command(_)) => assert!(payload.iter().all(|byte| *byte == UNTOUCHED)),
        Err(_) => assert!(payload.iter().all(|byte| *byte == UNTOUCHED) || holds_no_plaintext(payload, body)),
    }
    result
}

fn open_in_place<R: KeyRing, S: Store, C: Clock>(client: &mut Client<R, S, C>, topic: &str, message: &[u8]) -> Result {
    let mode = client.mode();
    let mut buffer = message.to_vec();
    let result = client.open_in_place(topic, &mut buffer).map(Outcome::from);
    let body = body(mode, message);
    // Around the body nothing changes; a message without one does not change at all.
    let start = if body.is_empty() { 0 } else { mode.header_len() };
    let end = start + body.len();
    assert_eq!((&buffer[..start], &buffer[end..]), (&message[..start], &message[end..]));
    match result {
        Ok(Outcome::Message { ref message, .. }) => assert_eq!(message.payload, buffer[start..end]),
        Ok(Outcome::Command(_)) => assert_eq!(buffer, message),
        Err(_) => assert!(holds_no_plaintext(&buffer[start..end], body)),
    }
    result
}

/// Seals by one of the calls.
pub fn seal<R: KeyRing, S: Store, C: Clock>(
    client: &Client<R, S, C>,
    topic: &str,
    payload: &[u8],
    call: u8,
) -> core::result::Result<Vec<u8>, SealError> {
    const UNTOUCHED: u8 = 0xa5;
    let needed = payload.len() + client.mode().overhead();
    let mut buffer = vec![UNTOUCHED; needed];
    match call % 3 {
        0 => client.seal(topic, payload),
        1 => {
            let too_small = client.seal_into(topic, payload, &mut buffer[1..]);
            assert_eq!(too_small, Err(SealError::BufferTooSmall { needed }));
            assert!(buffer.iter().all(|byte| *byte == UNTOUCHED));
            let sealed = client.seal_into(topic, payload, &mut buffer).map(|sealed| sealed.to_vec());
            let is_empty = |byte: &u8| *byte == 0 || *byte == UNTOUCHED;
            assert!(sealed.is_ok() || buffer.iter().all(is_empty), "no plaintext is left");
            sealed
        }
        _ => {
            buffer[client.mode().header_len()..][..payload.len()].copy_from_slice(payload);
            let before = buffer.clone();
            match client.seal_in_place(topic, &mut buffer) {
                Ok(()) => Ok(buffer),
                Err(error) => {
                    assert_eq!(buffer, before);
                    Err(error)
                }
            }
        }
    }
}

/// The payload's part of a message.
fn body(mode: Mode, message: &[u8]) -> &[u8] {
    let end = message.len().saturating_sub(mode.trailer_len());
    message.get(mode.header_len()..end).unwrap_or_default()
}

/// After a failure a buffer holds the ciphertext, or zeros.
fn holds_no_plaintext(buffer: &[u8], ciphertext: &[u8]) -> bool {
    buffer == ciphertext || buffer.iter().all(|byte| *byte == 0)
}

impl<P: AsRef<[u8]>> From<Opened<P>> for Outcome {
    fn from(opened: Opened<P>) -> Self {
        match opened {
            Opened::Message(message) => Self::Message { message: (&message).into(), repeated: message.repeated },
            Opened::Command(applied) => Self::Command(applied),
        }
    }
}
