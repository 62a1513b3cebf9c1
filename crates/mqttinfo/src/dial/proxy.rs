//! Proxies, as the environment variables `ALL_PROXY` and `NO_PROXY` name them.

use super::stream::{BoxedStream, DialError};
use crate::target::Target;
use std::fmt;
use tokio::net::TcpStream;
use tokio_socks::tcp::Socks5Stream;
use url::Url;
use zeroize::Zeroizing;

/// A proxy.
pub struct Proxy {
    kind: Kind,
    host: String,
    port: u16,
    login: Option<(String, Zeroizing<String>)>,
    /// Hosts that are connected to without it, and domains whose hosts are.
    except: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// SOCKS version 5 (RFC 1928). Names are looked up by the proxy.
    Socks5,
    /// HTTP CONNECT (RFC 9110, section 9.3.6).
    Http,
}

/// Why a text names no proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidProxy;

impl fmt::Display for InvalidProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The text may hold a password.
        f.write_str("the proxy is a URL such as socks5://localhost:1080 or http://proxy.example:3128")
    }
}

impl core::error::Error for InvalidProxy {}

/// Prints no password.
impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy").field("kind", &self.kind).field("host", &self.host).field("port", &self.port).finish()
    }
}

impl Proxy {
    /// A proxy by its URL, and the hosts that do not need it, separated by commas.
    ///
    /// # Errors
    ///
    /// [`InvalidProxy`]
    pub fn new(url: &str, except: &str) -> Result<Self, InvalidProxy> {
        let url = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
        let url = Url::parse(&url).map_err(|_| InvalidProxy)?;
        let (kind, default_port) = match url.scheme() {
            "socks5" | "socks5h" | "socks" => (Kind::Socks5, 1080),
            "http" => (Kind::Http, 80),
            _ => return Err(InvalidProxy),
        };
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or(InvalidProxy)?;
        let login = (!url.username().is_empty()).then(|| {
            let decode = |text: &str| percent_decode(text);
            (decode(url.username()), Zeroizing::new(decode(url.password().unwrap_or_default())))
        });
        let except = except.split(',').map(|host| host.trim().trim_start_matches('.').to_ascii_lowercase());
        Ok(Self {
            kind,
            host: host.trim_matches(['[', ']']).to_owned(),
            port: url.port().unwrap_or(default_port),
            login,
            except: except.filter(|host| !host.is_empty()).collect(),
        })
    }

    /// The proxy that the environment names, if it does.
    ///
    /// # Errors
    ///
    /// [`InvalidProxy`]
    pub fn from_environment() -> Result<Option<Self>, InvalidProxy> {
        let read = |names: [&str; 2]| {
            names.into_iter().filter_map(|name| std::env::var(name).ok()).find(|value| !value.is_empty())
        };
        let Some(url) = read(["ALL_PROXY", "all_proxy"]) else { return Ok(None) };
        Self::new(&url, &read(["NO_PROXY", "no_proxy"]).unwrap_or_default()).map(Some)
    }

    /// Whether a host is connected to without it.
    pub(super) fn passes_over(&self, host: &str) -> bool {
        self.except.iter().any(|except| {
            let is_below = || host.strip_suffix(except.as_str()).is_some_and(|rest| rest.ends_with('.'));
            except == "*" || host == except || is_below()
        })
    }

    pub(super) async fn connect(&self, target: &Target) -> Result<BoxedStream, DialError> {
        let (host, port) = (target.host(), target.port());
        let proxy = TcpStream::connect((self.host.as_str(), self.port)).await;
        let mut stream = proxy.map_err(|error| DialError::Proxy(format!("{}:{}: {error}", self.host, self.port)))?;
        let failed = |error: &dyn fmt::Display| DialError::Proxy(error.to_string());
        match self.kind {
            Kind::Socks5 => {
                let through = match &self.login {
                    Some((user, password)) => {
                        Socks5Stream::connect_with_password_and_socket(stream, (host, port), user, password).await
                    }
                    None => Socks5Stream::connect_with_socket(stream, (host, port)).await,
                };
                Ok(Box::new(through.map_err(|error| failed(&error))?))
            }
            Kind::Http => {
                let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
                let through = match &self.login {
                    Some((user, password)) => {
                        async_http_proxy::http_connect_tokio_with_basic_auth(&mut stream, &host, port, user, password)
                            .await
                    }
                    None => async_http_proxy::http_connect_tokio(&mut stream, &host, port).await,
                };
                through.map_err(|error| failed(&error))?;
                Ok(Box::new(stream))
            }
        }
    }
}

/// User names and passwords in URLs may be percent-encoded (RFC 3986, section 2.1).
fn percent_decode(text: &str) -> String {
    url::form_urlencoded::parse(text.replace('+', "%2B").as_bytes())
        .next()
        .map_or_else(String::new, |(name, _)| name.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_are_read_and_their_passwords_not_shown() {
        let proxy = Proxy::new("socks5h://me:p%40ss+word@proxy.example", "").unwrap();
        assert_eq!((proxy.kind, proxy.port), (Kind::Socks5, 1080));
        assert_eq!(proxy.login.as_ref().unwrap().1.as_str(), "p@ss+word");
        assert!(!format!("{proxy:?}").contains("p@ss"), "{proxy:?}");
        let proxy = Proxy::new("[::1]:3128", "").unwrap();
        assert_eq!((proxy.kind, proxy.host.as_str(), proxy.port), (Kind::Http, "::1", 3128));
        for url in ["", "ftp://proxy", "socks5://", "http://:80", "https://proxy"] {
            assert_eq!(Proxy::new(url, "").err(), Some(InvalidProxy), "{url}");
        }
    }

    #[test]
    fn hosts_that_are_excepted_are_connected_to_without_it() {
        let proxy = Proxy::new("socks5://proxy", "localhost, .Plant.example,10.0.0.1").unwrap();
        for host in ["localhost", "plant.example", "pump.plant.example", "10.0.0.1"] {
            assert!(proxy.passes_over(host), "{host}");
        }
        for host in ["example", "otherplant.example", "10.0.0.10", "localhost.example"] {
            assert!(!proxy.passes_over(host), "{host}");
        }
        assert!(Proxy::new("socks5://proxy", "*").unwrap().passes_over("anything"));
    }
}
