//! Requests to the key server.

use super::{
    address::{Address, Path},
    answer::Answer,
    problem,
};
use crate::{
    output::Failure,
    password::one_line,
    source::Source,
    terminal::{note, printable},
};
use anyhow::{Context, anyhow, ensure};
use serde::Serialize;
use std::{fs, io::ErrorKind, path::PathBuf, thread, time::Duration};
use ureq::{
    Agent, Body,
    http::{
        HeaderValue, Method, Request, Response, StatusCode,
        header::{AUTHORIZATION, CONTENT_TYPE, IF_MATCH, RETRY_AFTER},
    },
    tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig, parse_pem},
};
use zeroize::Zeroizing;

/// Where a key server listens that was not told otherwise.
const DEFAULT_SERVER: &str = "http://127.0.0.1:7443";
/// The longest answer, in bytes.
const LONGEST: u64 = 256 << 20;
/// How long a connection may take to be made.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// How long an answer may take: a key server may read 100,000 lines before it has one.
const ANSWER_WITHIN: Duration = Duration::from_secs(660);
/// How often a request is sent at most.
const TRIES: u32 = 5;
/// Said of a certificate that is not accepted.
const CERTIFICATE: &str = ": if its certificate is of an authority of your own, name that with --ca";
/// How long is waited at most, if the server says that it is too much.
const LONGEST_PAUSE: u64 = 60;

/// Which key server, and who we are to it.
#[derive(clap::Args)]
#[group(skip)]
#[command(next_help_heading = "Key server")]
pub(super) struct ServerArgs {
    /// The address of the key server, as <https://keys.example:7443>. Without this it is that in `E4_SERVER`, or 127.0.0.1:7443
    #[arg(long, value_name = "URL", global = true)]
    server: Option<String>,
    /// Where the token is: a file, `-` for standard input, `env:NAME` for an environment variable. Without this it is that
    /// in `E4_TOKEN`
    #[arg(long, value_name = "FILE", global = true)]
    token_file: Option<Source>,
    /// Trust the certificate authorities in this file (PEM), and not those that the system trusts
    #[arg(long, value_name = "FILE", global = true)]
    ca: Option<PathBuf>,
    /// The certificate to show to the key server (PEM)
    #[arg(long, value_name = "FILE", global = true, requires = "client_key")]
    client_cert: Option<PathBuf>,
    /// The secret key of that certificate (PEM)
    #[arg(long, value_name = "FILE", global = true, requires = "client_cert")]
    client_key: Option<PathBuf>,
    /// Speak to a key server on another machine without TLS: whoever is in between has the token
    #[arg(long, global = true)]
    without_tls: bool,
}

impl ServerArgs {
    fn address(&self) -> anyhow::Result<Address> {
        let from_env = || std::env::var("E4_SERVER").ok().filter(|text| !text.is_empty());
        let text = self.server.clone().or_else(from_env).unwrap_or_else(|| DEFAULT_SERVER.to_owned());
        Address::parse(&text, self.without_tls)
    }

    fn token(&self) -> anyhow::Result<Option<Zeroizing<String>>> {
        let source = match &self.token_file {
            Some(source) => source.clone(),
            None if std::env::var_os("E4_TOKEN").is_some() => Source::Env("E4_TOKEN".into()),
            None => return Ok(None),
        };
        read_token(&source).map(Some)
    }

    fn tls(&self) -> anyhow::Result<TlsConfig> {
        let roots = match &self.ca {
            Some(path) => certificates(path)?,
            None => {
                let found = rustls_native_certs::load_native_certs();
                found.certs.iter().map(|cert| Certificate::from_der(cert).to_owned()).collect()
            }
        };
        let identity = match (&self.client_cert, &self.client_key) {
            (Some(cert), Some(key)) => {
                let pem = Source::File(key.clone()).secret_bytes(64 << 10)?;
                let key = PrivateKey::from_pem(&pem).with_context(|| key.display().to_string())?;
                Some(ClientCert::new_with_certs(&certificates(cert)?, key))
            }
            _ => None,
        };
        Ok(TlsConfig::builder().root_certs(RootCerts::new_with_certs(&roots)).client_cert(identity).build())
    }
}

/// Reads a token: one line of visible characters. No error shows any of it.
pub(super) fn read_token(source: &Source) -> anyhow::Result<Zeroizing<String>> {
    let read = || {
        let line = one_line(source.password(4096)?)?;
        ensure!(line.iter().all(u8::is_ascii_graphic), "it has other characters than a token has");
        Ok(Zeroizing::new(str::from_utf8(&line)?.to_owned()))
    };
    read().with_context(|| format!("the token from {source}"))
}

fn certificates(path: &PathBuf) -> anyhow::Result<Vec<Certificate<'static>>> {
    let shown = path.display();
    let pem = fs::read(path).with_context(|| format!("could not read {shown}"))?;
    let items = parse_pem(&pem).collect::<Result<Vec<_>, _>>().with_context(|| shown.to_string())?;
    let only_certificates = |item| match item {
        ureq::tls::PemItem::Certificate(certificate) => Some(certificate),
        _ => None,
    };
    let certificates: Vec<_> = items.into_iter().filter_map(only_certificates).collect();
    ensure!(!certificates.is_empty(), "there is no certificate in {shown}");
    Ok(certificates)
}

/// The key server.
pub(super) struct Server {
    agent: Agent,
    address: Address,
    token: Option<HeaderValue>,
}

/// What was seen of something that is to be changed, so that nobody's change is lost.
#[derive(Clone, Copy)]
pub(super) enum Seen {
    /// It does not matter.
    Nothing,
    /// Whatever there is: what is not named stays.
    Any,
    /// This revision, and no other.
    Revision(u64),
}

/// What is sent with a request.
struct Content<'a> {
    kind: &'static str,
    bytes: &'a [u8],
}

impl Server {
    /// Nothing is sent yet.
    pub(super) fn new(args: &ServerArgs) -> Result<Self, Failure> {
        let address = args.address()?;
        let token = args.token()?.map(|token| {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", *token))?;
            value.set_sensitive(true);
            anyhow::Ok(value)
        });
        let mut config = Agent::config_builder()
            .tls_config(args.tls()?)
            .http_status_as_error(false)
            // The token would go along to wherever that is.
            .max_redirects(0)
            .timeout_connect(Some(CONNECT_WITHIN))
            .timeout_recv_response(Some(ANSWER_WITHIN))
            .user_agent(concat!("e4-cli/", env!("CARGO_PKG_VERSION")));
        if address.is_here {
            config = config.proxy(None);
        }
        Ok(Self { agent: config.build().into(), address, token: token.transpose()? })
    }

    /// Asks.
    pub(super) fn get(&self, path: &Path) -> Result<Answer, Failure> {
        self.request(&Method::GET, path, None, Seen::Nothing)
    }

    /// Asks for what has no end, or is too long to be kept.
    pub(super) fn stream(&self, path: &Path) -> Result<Body, Failure> {
        let response = self.answered(&Method::GET, path, None, Seen::Nothing)?;
        if response.status().is_success() {
            return Ok(response.into_body());
        }
        Err(self.failure(response))
    }

    /// Has something made or done.
    pub(super) fn post(&self, path: &Path, body: &impl Serialize) -> Result<Answer, Failure> {
        self.send(&Method::POST, path, body, Seen::Nothing)
    }

    /// Sends many lines.
    pub(super) fn post_lines(&self, path: &Path, kind: &'static str, lines: &[u8]) -> Result<Answer, Failure> {
        self.request(&Method::POST, path, Some(&Content { kind, bytes: lines }), Seen::Nothing)
    }

    /// Says how something is to be.
    pub(super) fn put(&self, path: &Path, body: &impl Serialize) -> Result<Answer, Failure> {
        self.send(&Method::PUT, path, body, Seen::Nothing)
    }

    /// Changes something that is as it was seen.
    pub(super) fn patch(&self, path: &Path, body: &impl Serialize, seen: Seen) -> Result<Answer, Failure> {
        self.send(&Method::PATCH, path, body, seen)
    }

    /// Removes something, whoever changed it meanwhile.
    pub(super) fn delete(&self, path: &Path) -> Result<Answer, Failure> {
        self.request(&Method::DELETE, path, None, Seen::Any)
    }

    fn send(&self, method: &Method, path: &Path, body: &impl Serialize, seen: Seen) -> Result<Answer, Failure> {
        let bytes = Zeroizing::new(serde_json::to_vec(body)?);
        self.request(method, path, Some(&Content { kind: "application/json", bytes: &bytes }), seen)
    }

    fn request(
        &self,
        method: &Method,
        path: &Path,
        content: Option<&Content<'_>>,
        seen: Seen,
    ) -> Result<Answer, Failure> {
        let mut response = self.answered(method, path, content, seen)?;
        if !response.status().is_success() {
            return Err(self.failure(response));
        }
        let body = response.body_mut().with_config().limit(LONGEST).read_to_vec();
        let body = body.with_context(|| format!("the answer of {} did not come whole", self.address.shown()))?;
        Ok(Answer { body: Zeroizing::new(body) })
    }

    /// Sends a request until there is an answer. That it is sent again does no harm: each has a key by which the server
    /// carries it out once.
    fn answered(
        &self,
        method: &Method,
        path: &Path,
        content: Option<&Content<'_>>,
        seen: Seen,
    ) -> Result<Response<Body>, Failure> {
        let once = (*method != Method::GET).then(new_idempotency_key).transpose()?;
        let mut tries = 1..=TRIES;
        loop {
            let is_last = tries.next().is_none_or(|number| number == TRIES);
            let mut request = Request::builder().method(method).uri(self.address.of(path));
            if let Some(token) = &self.token {
                request = request.header(AUTHORIZATION, token);
            }
            if let Some(key) = &once {
                request = request.header("Idempotency-Key", key);
            }
            request = match seen {
                Seen::Nothing => request,
                Seen::Any => request.header(IF_MATCH, "*"),
                Seen::Revision(revision) => request.header(IF_MATCH, format!("\"{revision}\"")),
            };
            let result = match content {
                Some(content) => self.agent.run(request.header(CONTENT_TYPE, content.kind).body(content.bytes)?),
                None => self.agent.run(request.body(())?),
            };
            match result {
                Ok(response) => match pause(&response) {
                    Some(pause) if !is_last => {
                        note(format!("The key server has too much to do: going on in {} s", pause.as_secs()));
                        thread::sleep(pause);
                    }
                    _ => return Ok(response),
                },
                Err(ureq::Error::Io(error)) if is_lost(&error) && !is_last => thread::sleep(Duration::from_millis(200)),
                Err(error) => return Err(self.unreachable(&error).into()),
            }
        }
    }

    fn unreachable(&self, error: &ureq::Error) -> anyhow::Error {
        let address = self.address.shown();
        let advice = match error {
            ureq::Error::Io(error) if error.kind() == ErrorKind::ConnectionRefused => {
                ": is the key server running, and is this its address (--server, E4_SERVER)?"
            }
            // What TLS does not accept comes so.
            ureq::Error::Io(error) if error.kind() == ErrorKind::InvalidData => CERTIFICATE,
            ureq::Error::Rustls(_) | ureq::Error::Tls(_) => CERTIFICATE,
            _ => "",
        };
        let reason = match error {
            ureq::Error::Io(error) => error.to_string(),
            other => other.to_string(),
        };
        anyhow!("no answer from the key server at {address} ({}){advice}", printable(&reason))
    }

    fn failure(&self, mut response: Response<Body>) -> Failure {
        let body = response.body_mut().with_config().limit(LONGEST).read_to_vec().unwrap_or_default();
        problem::failure(response.status(), &body, &self.address.shown(), self.token.is_some())
    }
}

fn new_idempotency_key() -> anyhow::Result<String> {
    let mut key = [0; 16];
    getrandom::fill(&mut key).map_err(|error| anyhow!("no random numbers from the operating system: {error}"))?;
    Ok(hex::encode(key))
}

/// How long the server wants to be left alone, if it says so.
fn pause(response: &Response<Body>) -> Option<Duration> {
    let is_too_much = matches!(response.status(), StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    (is_too_much && seconds <= LONGEST_PAUSE).then(|| Duration::from_secs(seconds))
}

/// Whether a connection that was made ended before there was an answer.
fn is_lost(error: &std::io::Error) -> bool {
    use ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}
