//! Why a broker was not reached, and what to do about it.

use crate::terminal::printable;
use anyhow::{anyhow, bail, ensure};
use mqtt_advice::{Cause, Connection, InvalidTarget, Target, Transport, diagnose};
use std::{net::Ipv6Addr, time::Duration};
use tokio::net::TcpStream;

/// How long the search for the cause may take.
const WITHIN: Duration = Duration::from_secs(8);

/// Why a connection was not made: the cause, where it is found, or else the reason that the MQTT library gives.
pub(super) async fn explain(
    address: &str,
    tried: &Connection<'_>,
    port: u16,
    has_user: bool,
    reason: &str,
) -> anyhow::Error {
    let reason = printable(reason);
    let cause = diagnose(tried, || TcpStream::connect((tried.host, port)), WITHIN).await;
    match cause {
        // It says what it says to everybody without credentials. We had some.
        Some(cause @ Cause::WantsCredentials(_)) if has_user => with_advice(&format!("{address} ({reason})"), &cause),
        Some(cause) => with_advice(&format!("{address}: {}", printable(&cause.to_string())), &cause),
        // Nothing is in the way of who shows no credentials.
        None if has_user && is_about_credentials(&reason) => anyhow!(
            "could not connect to the broker {address}, which takes clients without credentials, and does not take these \
             ({reason}): check the user name (-u) and the password"
        ),
        None => anyhow!("could not connect to the broker {address} ({reason})"),
    }
}

fn with_advice(what: &str, cause: &Cause) -> anyhow::Error {
    match cause.advice() {
        Some(advice) => anyhow!("could not connect to the broker {what}: {advice}"),
        None => anyhow!("could not connect to the broker {what}"),
    }
}

/// By the words that the MQTT library has for these codes.
fn is_about_credentials(reason: &str) -> bool {
    let reason = reason.to_lowercase().replace(' ', "");
    ["badusername", "notauthorized", "badauthentication"].iter().any(|word| reason.contains(word))
}

/// The host of `-h`, which is a name or an address, an address of IPv6 with brackets or without.
pub(super) fn bare_host(text: &str) -> anyhow::Result<String> {
    const NOT_ALONE: &str = "the host (-h) is a name or an address only";
    // A zone is for the system to know.
    if text.split_once('%').is_some_and(|(address, _zone)| address.parse::<Ipv6Addr>().is_ok()) {
        return Ok(text.to_owned());
    }
    // Whether there is a port in it shows by whether the one that it gets otherwise counts.
    let parse = |port| Target::parse(text, Transport::Tcp, Some(port));
    let target = match parse(1) {
        Ok(target) => target,
        Err(InvalidTarget::Credentials) => {
            bail!("{NOT_ALONE}: give user name and password with -u and --password-file")
        }
        Err(InvalidTarget::Port) => bail!("{NOT_ALONE}: give the port with -p, a number from 1 to 65535"),
        Err(InvalidTarget::Scheme(scheme)) => bail!("{NOT_ALONE}, and {scheme}:// is nothing that e4 speaks"),
        // Such as a zone behind an address. The system may know what it is.
        Err(_) if !text.trim().is_empty() && !text.contains(['/', '[', ' ']) => return Ok(text.to_owned()),
        Err(_) => bail!("{NOT_ALONE}, which {text:?} is not"),
    };
    let host = target.host();
    let tls = if target.transport().is_tls() { ", and --tls or --cafile for TLS" } else { "" };
    ensure!(!target.transport().is_websocket(), "{NOT_ALONE}, and e4 speaks no WebSocket: choose the port for MQTT");
    let port = target.port();
    let has_port = parse(2).is_ok_and(|other| other.port() == port);
    ensure!(!has_port, "{NOT_ALONE}: give the port with -p, as in -h {host} -p {port}{tls}");
    Ok(host.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f40_a_host_may_have_brackets_and_no_port_in_whatever_notation() {
        for (text, host) in [
            ("broker.example", "broker.example"),
            ("10.0.0.1", "10.0.0.1"),
            ("::1", "::1"),
            ("[::1]", "::1"),
            ("fe80::1%eth0", "fe80::1%eth0"),
            ("under_score", "under_score"),
        ] {
            assert_eq!(bare_host(text).unwrap(), host);
        }
        for (text, advice) in [
            ("broker:1884", "-h broker -p 1884"),
            ("[::1]:1884", "-h ::1 -p 1884"),
            ("mqtt://broker:1884", "-h broker -p 1884"),
            ("tcp://broker:1", "-h broker -p 1"),
            ("mqtt://broker", "-h broker -p 1883"),
            ("mqtts://broker", "-h broker -p 8883, and --tls or --cafile"),
            ("ssl://[2001:db8::1]:88/", "-h 2001:db8::1 -p 88, and --tls or --cafile"),
            ("broker:", "a number from 1 to 65535"),
            ("broker:65536", "a number from 1 to 65535"),
            ("ws://broker", "no WebSocket"),
            ("http://broker", "http:// is nothing"),
            ("mqtt://me:secret@broker", "with -u and --password-file"),
            ("", "is not"),
            ("a b", "is not"),
        ] {
            let error = bare_host(text).unwrap_err().to_string();
            assert!(error.starts_with("the host (-h) is a name or an address only"), "{error}");
            assert!(error.contains(advice), "{error} / {advice}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
