//! A `ClientHello` as bytes, for what rustls does not speak: TLS 1.0 and 1.1, and weak suites.
//!
//! The connection goes no further than the server's answer, so that there are no keys and nothing to get wrong.

use super::suites;

/// TLS 1.0 (RFC 2246, 6.2.1).
pub(super) const TLS_1_0: u16 = 0x0301;
/// TLS 1.1 (RFC 4346, 6.2.1).
pub(super) const TLS_1_1: u16 = 0x0302;
/// TLS 1.2 (RFC 5246, 6.2.1).
pub(super) const TLS_1_2: u16 = 0x0303;

/// Writes a record with a `ClientHello` of this version at the highest, that offers these suites.
///
/// ```text
/// record      22 | 03 01 | length (2)                                               RFC 5246, 6.2.1
/// handshake    1 | length (3)                                                       RFC 5246, 7.4
/// hello       version (2) | random (32) | session id: 0 | suites: length (2) ...    RFC 5246, 7.4.1.2
///             compression: 1, 0 | extensions: length (2) ...
/// ```
///
/// RFC 2246 and 4346 have the same layout in their sections 7.4.1.2; extensions came with RFC 3546 for all of them.
pub(super) fn client_hello(version: u16, suites: &[u16], server_name: Option<&str>, random: [u8; 32]) -> Vec<u8> {
    let mut hello = Vec::with_capacity(512);
    hello.extend(version.to_be_bytes());
    hello.extend(random);
    hello.push(0);
    with_length(&mut hello, |list| {
        for suite in suites {
            list.extend(suite.to_be_bytes());
        }
        // No suite: "I know secure renegotiation" (RFC 5746, 3.3). Some servers turn away who does not.
        list.extend([0x00, 0xFF]);
    });
    // One method of compression, which is none.
    hello.extend([1, 0]);
    with_length(&mut hello, |extensions| write_extensions(extensions, version, server_name));

    let mut message = vec![1, 0];
    with_length(&mut message, |body| body.extend(hello));
    // The record's version is that of the first TLS: old servers look at it (RFC 5246, E.1).
    let mut record = vec![22, 3, 1];
    with_length(&mut record, |fragment| fragment.extend(message));
    record
}

fn write_extensions(out: &mut Vec<u8>, version: u16, server_name: Option<&str>) {
    if let Some(name) = server_name {
        // server_name: one name, of kind host_name (RFC 6066, 3).
        extension(out, 0, |body| {
            with_length(body, |list| {
                list.push(0);
                with_length(list, |host| host.extend(name.bytes()));
            });
        });
    }
    // supported_groups: x25519, P-256, P-384, P-521 (RFC 8422, 5.1.1).
    extension(out, 10, |body| with_length(body, |list| list.extend([0, 29, 0, 23, 0, 24, 0, 25])));
    // ec_point_formats: one, uncompressed (RFC 8422, 5.1.2).
    extension(out, 11, |body| body.extend([1, 0]));
    if version == TLS_1_2 {
        // signature_algorithms (RFC 5246, 7.4.1.4.1): without it the server would take SHA-1.
        extension(out, 13, |body| {
            with_length(body, |list| {
                for (hash, signature) in [(4, 3), (5, 3), (6, 3), (8, 4), (8, 5), (8, 6), (4, 1), (5, 1), (6, 1)] {
                    list.extend([hash, signature]);
                }
                list.extend([2, 3, 2, 1, 4, 2, 2, 2]);
            });
        });
    }
}

fn extension(out: &mut Vec<u8>, kind: u16, body: impl FnOnce(&mut Vec<u8>)) {
    out.extend(kind.to_be_bytes());
    with_length(out, body);
}

/// Writes what `body` writes, and its length in two bytes before it.
fn with_length(out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let mut written = Vec::new();
    body(&mut written);
    // The longest is the whole hello: all suites and a name of 253 characters, far below 65,535 bytes.
    debug_assert!(written.len() < usize::from(u16::MAX));
    out.extend(u16::try_from(written.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend(written);
}

/// What to offer to find out whether a version is spoken at all.
pub(super) fn all_suites(version: u16) -> Vec<u16> {
    if version == TLS_1_2 {
        suites::GROUPS.iter().copied().flatten().map(|(number, _)| *number).collect()
    } else {
        suites::before_tls_1_2()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hello_is_written_byte_for_byte() {
        let hello = client_hello(TLS_1_0, &[0x002F], Some("ab"), [7; 32]);
        let mut expected = vec![22, 3, 1, 0, 82, 1, 0, 0, 78, 3, 1];
        expected.extend([7; 32]);
        expected.extend([0, 0, 4, 0x00, 0x2F, 0x00, 0xFF, 1, 0]);
        expected.extend([0, 33]);
        expected.extend([0, 0, 0, 7, 0, 5, 0, 0, 2, b'a', b'b']);
        expected.extend([0, 10, 0, 10, 0, 8, 0, 29, 0, 23, 0, 24, 0, 25]);
        expected.extend([0, 11, 0, 2, 1, 0]);
        // The two lengths that are easy to get wrong by hand are counted here.
        let extensions = expected.len() - 5 - 4 - 2 - 32 - 1 - 6 - 2 - 2;
        assert_eq!(extensions, 31);
        expected[11 + 32 + 9 + 1] = 31;
        let length = u8::try_from(expected.len() - 5).unwrap();
        expected[4] = length;
        expected[8] = length - 4;
        assert_eq!(hello, expected);
    }

    #[test]
    fn rustls_reads_it() {
        let mut acceptor = rustls::server::Acceptor::default();
        let hello = client_hello(TLS_1_2, &[0xC02F, 0x000A], Some("broker.example"), [9; 32]);
        acceptor.read_tls(&mut hello.as_slice()).unwrap();
        let accepted = acceptor.accept().unwrap().unwrap();
        let hello = accepted.client_hello();
        assert_eq!(hello.server_name(), Some("broker.example"));
        let suites: Vec<u16> = hello.cipher_suites().iter().map(|suite| u16::from(*suite)).collect();
        assert_eq!(suites, [0xC02F, 0x000A, 0x00FF]);
        assert!(hello.signature_schemes().contains(&rustls::SignatureScheme::RSA_PSS_SHA256));
        assert!(hello.signature_schemes().contains(&rustls::SignatureScheme::ECDSA_NISTP256_SHA256));
        assert_eq!(hello.named_groups().unwrap().len(), 4);
    }

    #[test]
    fn a_name_is_only_sent_where_there_is_one_and_signatures_only_where_they_exist() {
        assert_eq!(
            client_hello(TLS_1_1, &[0x002F], Some("ab"), [7; 32]).len()
                - client_hello(TLS_1_1, &[0x002F], None, [7; 32]).len(),
            11
        );
        assert_eq!(
            client_hello(TLS_1_2, &[0x002F], None, [7; 32]).len()
                - client_hello(TLS_1_1, &[0x002F], None, [7; 32]).len(),
            4 + 2 + 2 * 13
        );
    }
}
