//! Where the broker is, and who we are to it.

use e4_mqtt::{MqttOptions, rumqttc_v4, rumqttc_v5};
use mqtt_advice::{Target, TlsSettings};
use std::{fmt, path::PathBuf};
use zeroize::Zeroizing;

/// Where the broker is, and who this server is to it.
#[derive(Debug, Clone)]
pub struct BrokerOptions {
    /// Where: `mqtt://host:1883`, or `mqtts://host:8883` with TLS.
    pub url: String,
    /// The version of MQTT.
    pub version: MqttVersion,
    /// How this server's MQTT client ids begin; the rest is random, so that several servers share a broker.
    pub client_id: String,
    /// The user name.
    pub username: Option<String>,
    /// The file with the password: one line, whose end does not count.
    pub password_file: Option<PathBuf>,
    /// Certificate authorities to trust instead of those of the system (PEM).
    pub ca: Option<PathBuf>,
    /// The certificate to show to the broker (PEM).
    pub certificate: Option<PathBuf>,
    /// The key of that certificate (PEM).
    pub key: Option<PathBuf>,
}

impl BrokerOptions {
    /// A broker without TLS, by its address, and all else as usual.
    #[must_use]
    pub fn plain(url: impl Into<String>, version: MqttVersion) -> Self {
        let (username, password_file, ca, certificate, key) = (None, None, None, None, None);
        let (url, client_id) = (url.into(), "e4-keyserver".to_owned());
        Self { url, version, client_id, username, password_file, ca, certificate, key }
    }
}

/// A version of MQTT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MqttVersion {
    /// MQTT 3.1.1.
    V311,
    /// MQTT 5, which says when a command has no subscriber.
    #[default]
    V5,
}

/// A broker, with everything that was in files.
#[derive(Clone)]
pub struct Broker {
    target: Target,
    version: MqttVersion,
    client_id: String,
    tls: Option<TlsSettings>,
    user: Option<String>,
    password: Option<Zeroizing<Vec<u8>>>,
}

/// Prints no password.
impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker").field("target", &self.target).field("version", &self.version).finish_non_exhaustive()
    }
}

/// As it is named in the log.
impl fmt::Display for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.target.fmt(f)
    }
}

/// Why a broker cannot be used as it is configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unusable(String);

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the broker cannot be used as it is configured: {}", self.0)
    }
}

impl std::error::Error for Unusable {}

impl Broker {
    /// Seconds without traffic after which the broker is asked whether it is there.
    const KEEP_ALIVE: u16 = 15;

    /// Reads the files that the options name.
    ///
    /// # Errors
    ///
    /// [`Unusable`].
    pub fn new(options: &BrokerOptions) -> Result<Self, Unusable> {
        let unusable = |reason: &dyn fmt::Display| Unusable(reason.to_string());
        let target: Target = options.url.parse().map_err(|error| unusable(&error))?;
        if target.transport().is_websocket() {
            return Err(unusable(&"MQTT goes over TCP or TLS here: write mqtt:// or mqtts://"));
        }
        let names_files = options.ca.is_some() || options.certificate.is_some() || options.key.is_some();
        let tls = match target.transport().is_tls() {
            false if names_files => {
                return Err(unusable(&"there are certificates, but the URL is without TLS: write mqtts://"));
            }
            false => None,
            true => {
                let [ca, certificate, key] = [&options.ca, &options.certificate, &options.key].map(Option::as_deref);
                let tls = TlsSettings::load(ca, certificate, key, false).map_err(|error| unusable(&error))?;
                if tls.roots().is_empty() {
                    return Err(unusable(&"this system trusts no certificate authority: name those to trust in `ca`"));
                }
                Some(tls)
            }
        };
        let password = options.password_file.as_deref().map(|file| {
            let failed = |error: &dyn fmt::Display| Unusable(format!("password file {}: {error}", file.display()));
            let mut password = std::fs::read(file).map(Zeroizing::new).map_err(|error| failed(&error))?;
            while password.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
                password.pop();
            }
            if password.is_empty() || password.contains(&b'\n') {
                return Err(failed(&"it should have one line, with the password"));
            }
            Ok(password)
        });
        let password = password.transpose()?;
        if password.is_some() && options.username.is_none() {
            return Err(unusable(&"there is a password and no user"));
        }
        if options.client_id.is_empty() || options.client_id.len() > 64 {
            return Err(unusable(&"client_id has 1 to 64 bytes"));
        }
        let mut random = [0; 4];
        getrandom::fill(&mut random).map_err(|error| unusable(&error))?;
        let client_id = format!("{}-{}", options.client_id, hex::encode(random));
        Ok(Self { target, version: options.version, client_id, tls, user: options.username.clone(), password })
    }

    /// How to connect, under a client id that ends in this.
    pub(super) fn options(&self, suffix: &str) -> MqttOptions {
        let (id, place) = (format!("{}{suffix}", self.client_id), (self.target.host(), self.target.port()));
        macro_rules! options {
            ($rumqttc:ident) => {{
                let mut options = $rumqttc::MqttOptions::new(id, place);
                options.set_keep_alive(Self::KEEP_ALIVE);
                if let Some(tls) = &self.tls {
                    let config = $rumqttc::TlsConfiguration::Rustls(tls.strict(&[]));
                    options.set_transport($rumqttc::Transport::tls_with_config(config));
                }
                match (&self.user, &self.password) {
                    (Some(user), Some(password)) => {
                        options.set_credentials(user, password.to_vec());
                    }
                    (Some(user), None) => {
                        options.set_username(user);
                    }
                    (None, _) => (),
                }
                options.into()
            }};
        }
        match self.version {
            MqttVersion::V311 => options!(rumqttc_v4),
            MqttVersion::V5 => options!(rumqttc_v5),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(change: impl FnOnce(&mut BrokerOptions)) -> String {
        let mut options = BrokerOptions::plain("mqtt://localhost", MqttVersion::V5);
        change(&mut options);
        Broker::new(&options).unwrap_err().to_string()
    }

    #[test]
    fn what_cannot_be_used_is_said_before_anything_connects() {
        assert!(why(|options| options.url = "wss://broker.example".into()).contains("mqtts://"));
        assert!(why(|options| options.url = "mqtt://user:password@broker.example".into()).contains("user"));
        assert!(why(|options| options.ca = Some("ca.pem".into())).contains("mqtts://"));
        assert!(why(|options| options.client_id = String::new()).contains("client_id"));
        let file = tempfile::NamedTempFile::new().unwrap();
        let with_password = |options: &mut BrokerOptions| options.password_file = Some(file.path().into());
        assert!(why(with_password).contains("one line"));
        std::fs::write(file.path(), "secret\n").unwrap();
        assert!(why(with_password).contains("no user"));
    }

    #[test]
    fn a_password_is_one_line_and_is_not_printed() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "pass word\r\n").unwrap();
        let mut options = BrokerOptions::plain("mqtt://localhost", MqttVersion::V311);
        options.username = Some("server".into());
        options.password_file = Some(file.path().into());
        let broker = Broker::new(&options).unwrap();
        assert_eq!(broker.password.as_ref().unwrap().as_slice(), b"pass word");
        assert!(!format!("{broker:?} {broker}").contains("pass word"));
    }
}
