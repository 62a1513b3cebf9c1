//! Who may do what: each endpoint with the role that it takes, in one place. What is not in this table does not exist.

use crate::model::Role;
use axum::http::Method;
use std::time::Duration;

/// Whom an endpoint takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    /// Nobody in particular: it tells nothing, or what it is given in the request says who may.
    Anyone,
    /// The holder of a token of a role that includes this one.
    Holder(Role),
    /// As a viewer, or anyone if the configuration says so.
    Metrics,
}

/// An endpoint.
#[derive(Debug, Clone, Copy)]
pub(super) struct Endpoint {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) takes: Takes,
}

impl Endpoint {
    /// The longest body that it reads.
    pub(super) fn longest_body(&self) -> usize {
        if self.is_bulk() { 64 << 20 } else { 256 << 10 }
    }

    /// How long it may take, the reading of its body included.
    pub(super) fn longest_time(&self) -> Duration {
        Duration::from_secs(if self.is_bulk() { 600 } else { 30 })
    }

    /// Whether a change is refused that does not say which revision it has seen.
    pub(super) fn needs_revision(&self) -> bool {
        match self.method {
            "PATCH" => true,
            "DELETE" => matches!(self.path, "/v1/groups/{name}" | "/v1/topics/{id}"),
            _ => false,
        }
    }

    fn is_bulk(&self) -> bool {
        self.path == "/v1/devices/import"
    }
}

const fn at(method: &'static str, path: &'static str, takes: Takes) -> Endpoint {
    Endpoint { method, path, takes }
}

const ANYONE: Takes = Takes::Anyone;
const VIEWER: Takes = Takes::Holder(Role::Viewer);
const ENROLLER: Takes = Takes::Holder(Role::Enroller);
const OPERATOR: Takes = Takes::Holder(Role::Operator);
const ADMINISTRATOR: Takes = Takes::Holder(Role::Administrator);

pub(super) const TABLE: &[Endpoint] = &[
    // For those who start and watch processes.
    at("GET", "/v1/health", ANYONE),
    at("GET", "/v1/ready", ANYONE),
    at("GET", "/metrics", Takes::Metrics),
    at("GET", "/openapi.json", VIEWER),
    at("GET", "/v1/devices", VIEWER),
    at("POST", "/v1/devices", ENROLLER),
    at("POST", "/v1/devices/import", ENROLLER),
    at("GET", "/v1/devices/{id}", VIEWER),
    at("PATCH", "/v1/devices/{id}", OPERATOR),
    at("GET", "/v1/devices/{id}/holds", VIEWER),
    at("POST", "/v1/devices/{id}/withdraw", OPERATOR),
    at("POST", "/v1/devices/{id}/rotate-key", OPERATOR),
    at("POST", "/v1/devices/{id}/bundle", ENROLLER),
    at("POST", "/v1/invitations", ENROLLER),
    // The token in the request says who may.
    at("POST", "/v1/bundles", ANYONE),
    at("POST", "/v1/register", ANYONE),
    at("GET", "/v1/groups", VIEWER),
    at("POST", "/v1/groups", OPERATOR),
    at("GET", "/v1/groups/{name}", VIEWER),
    at("PATCH", "/v1/groups/{name}", OPERATOR),
    at("DELETE", "/v1/groups/{name}", OPERATOR),
    at("PUT", "/v1/groups/{name}/members/{device}", OPERATOR),
    at("DELETE", "/v1/groups/{name}/members/{device}", OPERATOR),
    at("GET", "/v1/topics", VIEWER),
    at("POST", "/v1/topics", OPERATOR),
    at("GET", "/v1/topics/{id}", VIEWER),
    at("PATCH", "/v1/topics/{id}", OPERATOR),
    at("DELETE", "/v1/topics/{id}", OPERATOR),
    at("GET", "/v1/topics/{id}/keys", VIEWER),
    at("GET", "/v1/topics/{id}/access", VIEWER),
    at("PUT", "/v1/topics/{id}/access/devices/{device}", OPERATOR),
    at("DELETE", "/v1/topics/{id}/access/devices/{device}", OPERATOR),
    at("PUT", "/v1/topics/{id}/access/groups/{name}", OPERATOR),
    at("DELETE", "/v1/topics/{id}/access/groups/{name}", OPERATOR),
    at("POST", "/v1/topics/{id}/rotate", OPERATOR),
    at("GET", "/v1/orders", VIEWER),
    at("GET", "/v1/orders/{id}", VIEWER),
    at("POST", "/v1/orders/{id}/cancel", OPERATOR),
    at("GET", "/v1/status", VIEWER),
    at("GET", "/v1/exposure", VIEWER),
    at("GET", "/v1/audit", VIEWER),
    at("GET", "/v1/audit/export", VIEWER),
    at("GET", "/v1/events", VIEWER),
    at("GET", "/v1/tokens", ADMINISTRATOR),
    at("POST", "/v1/tokens", ADMINISTRATOR),
    at("DELETE", "/v1/tokens/{id}", ADMINISTRATOR),
    at("GET", "/v1/server-key", VIEWER),
    at("POST", "/v1/server-key/rotate", ADMINISTRATOR),
    at("POST", "/v1/release", ADMINISTRATOR),
];

/// The endpoint of a method and a path as the router has it; else the methods that the path has.
pub(super) fn find(method: &Method, path: &str) -> Result<&'static Endpoint, Vec<&'static str>> {
    // Who asks for the head of an answer is who may have the answer.
    let method = if method == Method::HEAD { &Method::GET } else { method };
    let here = || TABLE.iter().filter(|endpoint| endpoint.path == path);
    here().find(|endpoint| endpoint.method == method.as_str()).ok_or_else(|| here().map(|it| it.method).collect())
}
