//! A fleet behind its interface, with a clock that the test owns and a token of each role.

use crate::kit::database::Database;
use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, Request, StatusCode},
};
use e4_keyserver::{
    api::{Api, Peer, Settings},
    fleet::{Actor, Clock, Fleet, Policy},
    model::Role,
    vault::{SystemChance, Vault},
};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};
use tower::ServiceExt;

#[derive(Debug)]
pub(super) struct Hand(AtomicI64);

impl Clock for Hand {
    fn now(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

pub(super) struct World {
    pub(super) fleet: Fleet,
    pub(super) router: Router,
    pub(super) tokens: BTreeMap<Role, String>,
    hand: Arc<Hand>,
    _database: Database,
}

/// What was answered.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
}

impl Reply {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("{} {}", self.status, self.text))
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// What a problem says; anything else is none.
    pub(super) fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), "application/problem+json", "{} {}", self.status, self.text);
        let json = self.json();
        assert_eq!(json["status"], self.status.as_u16());
        assert!(json["type"].as_str().unwrap().starts_with("urn:e4:problem:"));
        let detail = json["detail"].as_str().unwrap();
        assert!(!detail.is_empty());
        detail.to_owned()
    }
}

pub(super) const BEGIN: i64 = 1_800_000_000;

impl World {
    pub(super) async fn new() -> Self {
        Self::with(1_000_000).await
    }

    pub(super) async fn with(requests_per_minute: u32) -> Self {
        Self::on(Database::sqlite(), requests_per_minute).await
    }

    pub(super) async fn on(database: Database, requests_per_minute: u32) -> Self {
        let store = database.open().await;
        let vault = Arc::new(Vault::create(Box::new(SystemChance), b"test").unwrap());
        let hand = Arc::new(Hand(AtomicI64::new(BEGIN)));
        let fleet = Fleet::new(store, vault, hand.clone(), Policy::default());
        let first = fleet.begin_fleet("administrator").await.unwrap().secret.unwrap();
        let mut tokens = BTreeMap::from([(Role::Administrator, first.to_string())]);
        let actor = Actor::new("test", Role::Administrator, "test");
        for role in Role::ALL.into_iter().filter(|role| *role != Role::Administrator) {
            let made = fleet.add_token(&actor, role.word(), role, None).await.unwrap();
            tokens.insert(role, made.secret.unwrap().to_string());
        }
        let settings =
            Settings { open_metrics: false, requests_per_minute: NonZeroU32::new(requests_per_minute).unwrap() };
        let router = Api::new(fleet.clone(), settings, None, None).router();
        Self { fleet, router, tokens, hand, _database: database }
    }

    pub(super) fn pass(&self, seconds: i64) {
        self.hand.0.fetch_add(seconds, Ordering::SeqCst);
    }

    pub(super) fn token(&self, role: Role) -> &str {
        &self.tokens[&role]
    }

    /// A request as it would come from a connection of 192.0.2.1.
    pub(super) async fn send(&self, mut request: Request<Body>) -> Reply {
        let peer = Peer { address: ([192, 0, 2, 1], 50_000).into(), certificate: None };
        request.extensions_mut().insert(peer);
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        // A stream of events has no end.
        let is_stream = parts.headers.get("content-type").is_some_and(|it| it == "text/event-stream");
        let bytes = if is_stream { Vec::new().into() } else { to_bytes(body, usize::MAX).await.unwrap() };
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Reply { status: parts.status, headers: parts.headers, text }
    }

    /// By an administrator, with a body of JSON if there is one, and these headers.
    pub(super) async fn ask(&self, line: &str, body: Option<Value>, headers: &[(&str, &str)]) -> Reply {
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        self.send(request(line, Some(self.token(Role::Administrator)), headers, body)).await
    }

    pub(super) async fn get(&self, path: &str) -> Value {
        let reply = self.ask(&format!("GET {path}"), None, &[]).await;
        assert_eq!(reply.status, 200, "{path} {}", reply.text);
        reply.json()
    }

    pub(super) async fn post(&self, path: &str, body: Value) -> Value {
        let reply = self.ask(&format!("POST {path}"), Some(body), &[]).await;
        assert!(reply.status.is_success(), "{path} {} {}", reply.status, reply.text);
        reply.json()
    }
}

/// `GET /v1/devices`, with a token or without.
pub(super) fn request(
    line: &str,
    token: Option<&str>,
    headers: &[(&str, &str)],
    body: impl Into<Body>,
) -> Request<Body> {
    let (method, path) = line.split_once(' ').unwrap();
    let mut request = Request::builder().method(method).uri(path);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body.into()).unwrap()
}
