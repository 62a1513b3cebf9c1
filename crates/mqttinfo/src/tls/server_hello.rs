//! The beginning of a server's answer as bytes: a `ServerHello`, an alert, or no TLS. What comes is not trusted.

/// What the bytes are that have come so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// More are needed to tell.
    Incomplete,
    /// A `ServerHello`: the server goes on with this version and suite.
    Hello {
        /// `0x0301` is TLS 1.0.
        version: u16,
        /// As IANA numbers them.
        suite: u16,
    },
    /// The server says no, by this number (RFC 5246, 7.2).
    Alert(u8),
    /// No TLS.
    NotTls,
}

/// Whatever fits more into a record is no TLS (RFC 5246, 6.2.3).
const MAX_RECORD: usize = (1 << 14) + 2048;
/// Up to the suite: type and length (4), version (2), random (32), session id (1 and up to 32), suite (2).
const MAX_HELLO: usize = 4 + 2 + 32 + 1 + 32 + 2;

const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const SERVER_HELLO: u8 = 2;
const CERTIFICATE: u8 = 11;
const WARNING: u8 = 1;

/// Reads the beginning of an answer. Looks at no more than the first records and never panics, whatever comes.
///
/// ```text
/// record      type | 03 xx | length (2)                                              RFC 5246, 6.2.1
/// handshake   2 | length (3)                                                         RFC 5246, 7.4
/// hello       version (2) | random (32) | session id: length (1) ... | suite (2)     RFC 5246, 7.4.1.3
/// ```
#[must_use]
pub fn parse_server_hello(input: &[u8]) -> Answer {
    // A hello may be cut into several records.
    let mut hello = Vec::with_capacity(MAX_HELLO);
    let mut records = Records(input);
    loop {
        match records.next() {
            Next::Incomplete => return Answer::Incomplete,
            Next::NotTls => return Answer::NotTls,
            Next::Record { kind: ALERT, fragment } => match *fragment {
                // "I do not know this name" as a warning: the hello follows (RFC 6066, 3).
                [WARNING, _] if hello.is_empty() => {}
                [1..=2, description] => return Answer::Alert(description),
                [] | [1..=2] => return Answer::Incomplete,
                _ => return Answer::NotTls,
            },
            Next::Record { kind: HANDSHAKE, fragment } => {
                hello.extend(fragment.iter().take(MAX_HELLO.saturating_sub(hello.len())));
                match read_hello(&hello) {
                    Answer::Incomplete => {}
                    answer => return answer,
                }
            }
            Next::Record { .. } => return Answer::NotTls,
        }
    }
}

fn read_hello(hello: &[u8]) -> Answer {
    match hello.first() {
        None => return Answer::Incomplete,
        Some(&SERVER_HELLO) => {}
        Some(_) => return Answer::NotTls,
    }
    let Some((version, rest)) = hello.get(4..).and_then(<[u8]>::split_first_chunk) else {
        return Answer::Incomplete;
    };
    let Some(&id_len) = rest.get(32) else { return Answer::Incomplete };
    if id_len > 32 || version[0] != 3 {
        return Answer::NotTls;
    }
    match rest.get(33 + usize::from(id_len)..).and_then(<[u8]>::first_chunk) {
        Some(suite) => Answer::Hello { version: u16::from_be_bytes(*version), suite: u16::from_be_bytes(*suite) },
        None => Answer::Incomplete,
    }
}

/// The certificates that follow a `ServerHello` of TLS 1.2 or before, the server's own first. None as long as they are
/// not all there, or when something else follows.
///
/// ```text
/// handshake   11 | length (3)                                                        RFC 5246, 7.4
/// chain       length (3) | length (3), certificate | ...                             RFC 5246, 7.4.2
/// ```
pub(super) fn parse_certificates(input: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut messages = Vec::new();
    let mut records = Records(input);
    while let Next::Record { kind, fragment } = records.next() {
        match kind {
            HANDSHAKE => messages.extend(fragment),
            ALERT => {}
            _ => break,
        }
    }
    let mut messages = messages.as_slice();
    loop {
        let (kind, rest) = messages.split_first()?;
        let (message, rest) = split_with_length(rest)?;
        match *kind {
            CERTIFICATE => {
                let (mut list, _) = split_with_length(message)?;
                let mut chain = Vec::new();
                while !list.is_empty() {
                    let (certificate, rest) = split_with_length(list)?;
                    chain.push(certificate.to_vec());
                    list = rest;
                }
                return Some(chain);
            }
            SERVER_HELLO => messages = rest,
            _ => return None,
        }
    }
}

fn split_with_length(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let ([high, middle, low], rest) = bytes.split_first_chunk()?;
    let length = usize::from(*high) << 16 | usize::from(*middle) << 8 | usize::from(*low);
    rest.split_at_checked(length)
}

enum Next<'a> {
    /// The last one may be cut off.
    Record {
        kind: u8,
        fragment: &'a [u8],
    },
    Incomplete,
    NotTls,
}

struct Records<'a>(&'a [u8]);

impl<'a> Records<'a> {
    fn next(&mut self) -> Next<'a> {
        // What is no TLS is known by its first bytes already, and is not waited for.
        if !matches!(self.0, [] | [20..=23] | [20..=23, 3, ..]) {
            return Next::NotTls;
        }
        let Some((&[kind, _, _, high, low], rest)) = self.0.split_first_chunk() else {
            return Next::Incomplete;
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        // Empty fragments of these are forbidden, and could go on for ever (RFC 5246, 6.2.1).
        if length == 0 || length > MAX_RECORD {
            return Next::NotTls;
        }
        let (fragment, rest) = rest.split_at_checked(length).unwrap_or((rest, &[]));
        self.0 = rest;
        Next::Record { kind, fragment }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A `ServerHello` of TLS 1.0, with a session id of this length.
    fn hello(id_len: u8) -> Vec<u8> {
        let body = 2 + 32 + 1 + id_len + 2 + 1;
        let mut bytes = vec![22, 3, 1, 0, body + 4, 2, 0, 0, body, 3, 1];
        bytes.extend([0xAA; 32]);
        bytes.push(id_len);
        bytes.extend(vec![0xBB; usize::from(id_len)]);
        bytes.extend([0x00, 0x2F, 0]);
        bytes
    }

    #[test]
    fn a_hello_is_read_as_soon_as_its_suite_has_come() {
        for id_len in [0, 1, 32] {
            let bytes = hello(id_len);
            for cut in 0..bytes.len() - 1 {
                assert_eq!(parse_server_hello(&bytes[..cut]), Answer::Incomplete, "{cut}");
            }
            for cut in [bytes.len() - 1, bytes.len()] {
                assert_eq!(parse_server_hello(&bytes[..cut]), Answer::Hello { version: 0x0301, suite: 0x002F });
            }
        }
    }

    #[test]
    fn a_hello_in_many_records_is_put_together() {
        let whole = hello(32);
        let bytes: Vec<u8> = whole[5..].iter().flat_map(|byte| [22, 3, 1, 0, 1, *byte]).collect();
        assert_eq!(parse_server_hello(&bytes), Answer::Hello { version: 0x0301, suite: 0x002F });
    }

    #[test]
    fn other_answers_are_told_apart() {
        for (bytes, answer) in [
            (&[][..], Answer::Incomplete),
            (&[22], Answer::Incomplete),
            (&[21, 3, 1, 0, 2, 2], Answer::Incomplete),
            (&[21, 3, 1, 0, 2, 2, 70], Answer::Alert(70)),
            (&[21, 3, 1, 0, 2, 1, 112], Answer::Incomplete),
            (&[21, 3, 1, 0, 2, 9, 70], Answer::NotTls),
            (&[22, 3, 1, 0, 0], Answer::NotTls),
            (&[21, 3, 1, 0, 0], Answer::NotTls),
            (&[22, 3, 1, 0xFF, 0xFF], Answer::NotTls),
            (&[22, 3, 1, 0, 1, 1], Answer::NotTls),
            (&[22, 2], Answer::NotTls),
            (&[23, 3, 3, 0, 1, 1], Answer::NotTls),
            (&[0x20, 0x02], Answer::NotTls),
            (b"HTTP/1.1 400", Answer::NotTls),
        ] {
            assert_eq!(parse_server_hello(bytes), answer, "{bytes:x?}");
        }
        let mut warned = vec![21, 3, 1, 0, 2, 1, 112];
        warned.extend(hello(0));
        assert_eq!(parse_server_hello(&warned), Answer::Hello { version: 0x0301, suite: 0x002F });
        let mut long_id = hello(32);
        long_id[43] = 33;
        assert_eq!(parse_server_hello(&long_id), Answer::NotTls);
    }

    #[test]
    fn the_chain_after_a_hello_is_read_whole_or_not_at_all() {
        let mut bytes = hello(0);
        bytes.extend([22, 3, 1, 0, 16, 11, 0, 0, 12, 0, 0, 9, 0, 0, 2, 1, 2, 0, 0, 1, 3]);
        assert_eq!(parse_certificates(&bytes), Some(vec![vec![1, 2], vec![3]]));
        for cut in 0..bytes.len() {
            assert_eq!(parse_certificates(&bytes[..cut]), None, "{cut}");
        }
        let mut wrong = bytes.clone();
        let last = wrong.len() - 2;
        wrong[last] = 9;
        assert_eq!(parse_certificates(&wrong), None);
    }

    #[test]
    fn no_bytes_make_it_panic_or_wait_for_ever() {
        let mut random = fastrand::Rng::with_seed(1);
        let sample = hello(32);
        for _ in 0..20_000 {
            let mut bytes = sample.clone();
            for _ in 0..random.usize(0..6) {
                let at = random.usize(0..bytes.len());
                bytes[at] = random.u8(..);
            }
            bytes.truncate(random.usize(0..=bytes.len()));
            let _ = parse_server_hello(&bytes);
            let _ = parse_certificates(&bytes);
        }
        // Records without end, none of them with what is waited for.
        let endless = [22, 3, 1, 0, 1, 2].repeat(20_000);
        assert_ne!(parse_server_hello(&endless), Answer::Incomplete);
    }
}
