//! What a server is, by the first bytes that it sends.

/// What bytes look like that are no MQTT, by their beginning.
#[must_use]
pub fn looks_like(bytes: &[u8]) -> &'static str {
    const MARKS: [(&[u8], &str); 12] = [
        (b"HTTP/", "an HTTP server"),
        (b"<", "HTML or XML"),
        (b"SSH-", "an SSH server"),
        (b"AMQP", "an AMQP broker"),
        (b"RTSP/", "an RTSP server"),
        (b"+OK", "a POP3 or Redis server"),
        (b"-ERR", "a Redis server"),
        (b"* OK", "an IMAP server"),
        (b"220 ", "an FTP or SMTP server"),
        (b"ERROR", "a STOMP broker or another server of text"),
        (b"\x15\x03", TLS),
        (b"\x16\x03", TLS),
    ];
    let known = MARKS.iter().find(|(mark, _)| bytes.starts_with(mark));
    known.map_or_else(
        || {
            if !bytes.is_empty() && bytes.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace()) {
                "a server of text"
            } else {
                "nothing known"
            }
        },
        |(_, name)| name,
    )
}

const TLS: &str = "TLS: try mqtts:// or wss://";

/// Whether a server answers in TLS: an alert or the handshake, of any of its versions (RFC 8446, section 5.1).
#[must_use]
pub const fn is_tls(bytes: &[u8]) -> bool {
    matches!(bytes, [0x15 | 0x16, 3, ..])
}

/// The code of a CONNACK, if these are its first bytes (MQTT 3.1.1 and 5, section 3.2): it stands behind the remaining
/// length, which has one byte to four, and the flags.
#[must_use]
pub fn connack(bytes: &[u8]) -> Option<u8> {
    let [0x20, rest @ ..] = bytes else { return None };
    let length = rest.iter().take(4).position(|byte| byte & 0x80 == 0)?;
    match rest.get(length.checked_add(1)?..)? {
        [0..=1, code, ..] => Some(*code),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_servers_are_known_by_their_first_bytes() {
        for (bytes, name) in [
            (&b"HTTP/1.1 400 Bad Request\r\n"[..], "an HTTP server"),
            (b"\x15\x03\x03\x00\x02\x02\x46", TLS),
            (b"hello\r\n", "a server of text"),
            (b"\x00\x01", "nothing known"),
            (b"", "nothing known"),
        ] {
            assert_eq!(looks_like(bytes), name);
        }
    }

    #[test]
    fn a_connack_has_its_code_behind_its_length_and_flags() {
        for (bytes, code) in [
            (&[0x20, 2, 0, 5][..], Some(5)),
            (&[0x20, 2, 1, 0], Some(0)),
            (&[0x20, 0x83, 0x01, 0, 0x87, 0x80, 0x01], Some(0x87)),
            (&[0x20, 2, 7, 0], None),
            (&[0x20, 2, 0], None),
            (&[0x20, 0xff, 0xff, 0xff, 0xff, 0, 0], None),
            (&[0x20], None),
            (&[0x30, 2, 0, 0], None),
            (&[], None),
        ] {
            assert_eq!(connack(bytes), code, "{bytes:?}");
        }
    }
}
