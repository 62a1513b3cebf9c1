//! Where to look: `host`, `host:port`, or a URL of the schemes `mqtt`, `mqtts`, `ws` and `wss`.

use std::{fmt, net::Ipv6Addr, str::FromStr};
use url::{Host, Url};

/// What MQTT runs over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// TCP, port 1883.
    Tcp,
    /// TLS, port 8883.
    Tls,
    /// WebSocket, port 80.
    WebSocket,
    /// WebSocket in TLS, port 443.
    SecureWebSocket,
}

impl Transport {
    /// Whether it is inside TLS.
    #[must_use]
    pub const fn is_tls(self) -> bool {
        matches!(self, Self::Tls | Self::SecureWebSocket)
    }

    /// Whether it is inside WebSocket.
    #[must_use]
    pub const fn is_websocket(self) -> bool {
        matches!(self, Self::WebSocket | Self::SecureWebSocket)
    }

    const fn scheme(self) -> &'static str {
        match self {
            Self::Tcp => "mqtt",
            Self::Tls => "mqtts",
            Self::WebSocket => "ws",
            Self::SecureWebSocket => "wss",
        }
    }

    const fn default_port(self) -> u16 {
        match self {
            Self::Tcp => 1883,
            Self::Tls => 8883,
            Self::WebSocket => 80,
            Self::SecureWebSocket => 443,
        }
    }

    fn of_scheme(scheme: &str) -> Option<Self> {
        match scheme {
            "mqtt" | "tcp" => Some(Self::Tcp),
            "mqtts" | "ssl" | "tls" => Some(Self::Tls),
            "ws" => Some(Self::WebSocket),
            "wss" => Some(Self::SecureWebSocket),
            _ => None,
        }
    }
}

/// A broker's place.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    transport: Transport,
    /// A name, or an address; IPv6 without brackets.
    host: String,
    port: u16,
    /// The path of a WebSocket; empty for others.
    path: String,
}

/// Why a text is no target.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidTarget {
    /// The host is missing, or has characters that none has.
    Host,
    /// The port is no number from 1 to 65,535.
    Port,
    /// The scheme is none of ours.
    Scheme(String),
    /// There is a user name or a password in it, which would be stored with the results.
    Credentials,
}

impl fmt::Display for InvalidTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str("there is no host in it: give host, host:port or a URL such as mqtts://host"),
            Self::Port => f.write_str("the port is a number from 1 to 65535"),
            Self::Scheme(scheme) => write!(f, "{scheme}:// is not looked at: use mqtt, mqtts, ws or wss"),
            Self::Credentials => f.write_str("leave user name and password out of the URL: give them with -u and -P"),
        }
    }
}

impl core::error::Error for InvalidTarget {}

impl Target {
    /// A target of its parts. The path is that of a WebSocket, and else ignored; `/mqtt` when empty.
    ///
    /// # Errors
    ///
    /// [`InvalidTarget`]
    pub fn new(transport: Transport, host: &str, port: Option<u16>, path: &str) -> Result<Self, InvalidTarget> {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let host = if bare.parse::<Ipv6Addr>().is_ok() {
            bare.to_owned()
        } else {
            // Names are compared with certificates and shown: internationalized ones in their form on the wire.
            match Host::parse(host).map_err(|_| InvalidTarget::Host)? {
                Host::Domain(name) if name.is_empty() => return Err(InvalidTarget::Host),
                host => host.to_string(),
            }
        };
        let port = port.unwrap_or(transport.default_port());
        if port == 0 {
            return Err(InvalidTarget::Port);
        }
        let path = match path {
            _ if !transport.is_websocket() => String::new(),
            "" | "/" => "/mqtt".to_owned(),
            path => path.to_owned(),
        };
        Ok(Self { transport, host, port, path })
    }

    /// Reads a target. One without a scheme gets the transport and port given here.
    ///
    /// # Errors
    ///
    /// [`InvalidTarget`]
    pub fn parse(text: &str, transport: Transport, port: Option<u16>) -> Result<Self, InvalidTarget> {
        let text = text.trim();
        if let Some((scheme, rest)) = text.split_once("://") {
            let scheme = scheme.to_ascii_lowercase();
            let transport = Transport::of_scheme(&scheme).ok_or(InvalidTarget::Scheme(scheme))?;
            // Of the schemes that the library has rules for, this one has no default port that it would hide.
            let url = Url::parse(&format!("mqtt://{rest}")).map_err(|error| match error {
                url::ParseError::InvalidPort => InvalidTarget::Port,
                _ => InvalidTarget::Host,
            })?;
            if !url.username().is_empty() || url.password().is_some() {
                return Err(InvalidTarget::Credentials);
            }
            let mut path = url.path().to_owned();
            if let Some(query) = url.query() {
                path = format!("{path}?{query}");
            }
            return Self::new(transport, url.host_str().unwrap_or_default(), url.port(), &path);
        }
        if text.contains('@') {
            return Err(InvalidTarget::Credentials);
        }
        // An IPv6 address without brackets has no port behind it.
        if text.parse::<Ipv6Addr>().is_ok() {
            return Self::new(transport, text, port, "");
        }
        match text.rsplit_once(':') {
            Some((host, digits)) if !text.ends_with(']') => {
                let port = digits.parse().map_err(|_| InvalidTarget::Port)?;
                Self::new(transport, host, Some(port), "")
            }
            _ => Self::new(transport, text, port, ""),
        }
    }

    /// What MQTT runs over there.
    #[must_use]
    pub const fn transport(&self) -> Transport {
        self.transport
    }

    /// A name, or an address; IPv6 without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The path of a WebSocket; empty for others.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Host and port, as in a URL.
    #[must_use]
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for Target {
    type Err = InvalidTarget;

    /// [`Target::parse`], with TCP and its port where nothing else is said.
    fn from_str(text: &str) -> Result<Self, InvalidTarget> {
        Self::parse(text, Transport::Tcp, None)
    }
}

/// As a URL, always with its port.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.transport.scheme(), self.authority(), self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read_in_all_their_forms() {
        for (text, url) in [
            ("localhost", "mqtt://localhost:1883"),
            ("localhost:1884", "mqtt://localhost:1884"),
            (" 127.0.0.1 ", "mqtt://127.0.0.1:1883"),
            ("::1", "mqtt://[::1]:1883"),
            ("[::1]", "mqtt://[::1]:1883"),
            ("[::1]:99", "mqtt://[::1]:99"),
            ("mqtts://Broker.Example", "mqtts://broker.example:8883"),
            ("mqtts://[2001:db8::1]:1", "mqtts://[2001:db8::1]:1"),
            ("MQTT://b:5", "mqtt://b:5"),
            ("ws://b", "ws://b:80/mqtt"),
            ("ws://b:80/", "ws://b:80/mqtt"),
            ("wss://b:8084/ws?x=1", "wss://b:8084/ws?x=1"),
            ("tcp://b", "mqtt://b:1883"),
            ("mqtt://b/ignored", "mqtt://b:1883"),
            ("münchen.example", "mqtt://xn--mnchen-3ya.example:1883"),
        ] {
            assert_eq!(text.parse::<Target>().map(|target| target.to_string()), Ok(url.to_owned()), "{text}");
            assert_eq!(url.parse::<Target>().unwrap().to_string(), url, "what is shown can be read again");
        }
        let tls = Target::parse("b", Transport::Tls, None).unwrap();
        assert_eq!(tls.to_string(), "mqtts://b:8883");
        assert_eq!(Target::parse("b:7", Transport::Tls, Some(9)).unwrap().port(), 7);
        assert_eq!(Target::parse("b", Transport::Tls, Some(9)).unwrap().port(), 9);
    }

    #[test]
    fn what_is_no_target_is_refused_with_the_reason() {
        for (text, error) in [
            ("", InvalidTarget::Host),
            ("mqtt://", InvalidTarget::Host),
            ("a b", InvalidTarget::Host),
            ("host:", InvalidTarget::Port),
            ("host:x", InvalidTarget::Port),
            ("host:0", InvalidTarget::Port),
            ("mqtt://host:65536", InvalidTarget::Port),
            ("http://host", InvalidTarget::Scheme("http".into())),
            ("mqtt://me:secret@host", InvalidTarget::Credentials),
            ("me:secret@host", InvalidTarget::Credentials),
        ] {
            assert_eq!(text.parse::<Target>(), Err(error), "{text}");
        }
    }
}
