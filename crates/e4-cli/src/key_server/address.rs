//! Where the key server is, and paths on it.

use crate::terminal::printable;
use anyhow::{anyhow, bail, ensure};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::{fmt::Write, net::IpAddr};
use ureq::http::Uri;

/// What stays as it is in a part of a path or of a query.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The address of a key server.
#[derive(Debug, PartialEq)]
pub(super) struct Address {
    /// Without a slash at its end.
    base: String,
    /// Whether it is on this machine.
    pub(super) is_here: bool,
}

impl Address {
    /// Reads an address. A token goes in clear to no other machine, unless that is wanted.
    pub(super) fn parse(text: &str, may_be_in_clear: bool) -> anyhow::Result<Self> {
        let shown = printable(text);
        let example = "an address of a key server is written https://keys.example:7443";
        // The library quotes what it cannot read.
        let uri: Uri = text.parse().map_err(|_: ureq::http::uri::InvalidUri| anyhow!("{example}"))?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else { bail!("{example}") };
        ensure!(
            !authority.as_str().contains('@'),
            "there is a user name or a password in the address: a token goes in --token-file or E4_TOKEN"
        );
        ensure!(uri.query().is_none(), "{example}, without a question mark");
        let is_here = is_here(authority.host());
        match scheme {
            "https" => {}
            "http" if is_here || may_be_in_clear => {}
            "http" => bail!(
                "{shown} is without TLS, and on another machine: whoever is in between would have the token. Use https, or say \
                 --without-tls if something else protects the way"
            ),
            _ => bail!("{example}"),
        }
        Ok(Self { base: text.trim_end_matches('/').to_owned(), is_here })
    }

    /// The whole address of a path.
    pub(super) fn of(&self, path: &Path) -> String {
        format!("{}/v1{}", self.base, path.0)
    }

    /// For people.
    pub(super) fn shown(&self) -> String {
        printable(&self.base)
    }
}

fn is_here(host: &str) -> bool {
    let ip = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
}

/// A path below `/v1`, with a query.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Path(String);

impl Path {
    /// A path of these parts.
    pub(super) fn new(parts: &[&str]) -> Self {
        Self(parts.iter().fold(String::new(), |path, part| path + "/" + &encoded(part)))
    }

    /// The same with a part of a query, if it has a value.
    pub(super) fn with(mut self, name: &str, value: Option<impl AsRef<str>>) -> Self {
        if let Some(value) = value {
            let separator = if self.0.contains('?') { '&' } else { '?' };
            let _never_fails = write!(self.0, "{separator}{name}={}", encoded(value.as_ref()));
        }
        self
    }
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_goes_in_clear_to_no_other_machine() {
        for (text, may_be_in_clear, is_taken) in [
            ("http://127.0.0.1:7443", false, true),
            ("http://localhost:7443/", false, true),
            ("http://[::1]:7443", false, true),
            ("http://keys.example:7443", false, false),
            ("http://localhost.example", false, false),
            ("http://127.0.0.1.example", false, false),
            ("http://keys.example:7443", true, true),
            ("https://keys.example", false, true),
            ("https://keys.example/e4", false, true),
            ("ftp://127.0.0.1", false, false),
            ("keys.example", false, false),
            ("https://token@keys.example", false, false),
            ("http://localhost@keys.example", false, false),
            ("https://keys.example/?token=1", false, false),
            ("", false, false),
        ] {
            assert_eq!(Address::parse(text, may_be_in_clear).is_ok(), is_taken, "{text}");
        }
    }

    #[test]
    fn a_name_is_one_part_of_a_path_whatever_is_in_it() {
        let address = Address::parse("https://keys.example/e4/", false).unwrap();
        let path =
            Path::new(&["groups", "a/b?c#d%e é", "members", "7"]).with("after", Some("x&y=z")).with("limit", Some("2"));
        assert_eq!(
            address.of(&path),
            "https://keys.example/e4/v1/groups/a%2Fb%3Fc%23d%25e%20%C3%A9/members/7?after=x%26y%3Dz&limit=2"
        );
    }
}
