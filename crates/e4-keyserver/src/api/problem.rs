//! What is answered when something was not done: problems after RFC 9457.

use crate::fleet::{Fault, Refusal, RefusalKind};
use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use e4_keyserver_api as said;

/// Why a request was not carried out, and what to do.
#[derive(Debug, Clone)]
pub struct Problem {
    status: StatusCode,
    /// The last part of its type.
    word: &'static str,
    detail: String,
    faults: Vec<Fault>,
    headers: Vec<(header::HeaderName, HeaderValue)>,
}

impl Problem {
    /// A problem of its own type.
    pub(super) fn new(status: StatusCode, word: &'static str, detail: impl Into<String>) -> Self {
        Self { status, word, detail: detail.into(), faults: Vec::new(), headers: Vec::new() }
    }

    /// What was sent makes no sense.
    pub(super) fn invalid(detail: impl Into<String>) -> Self {
        RefusalKind::Invalid.because(detail).into()
    }

    /// With a header of the answer; one that cannot be written is left out.
    pub(super) fn with(mut self, name: header::HeaderName, value: impl TryInto<HeaderValue>) -> Self {
        if let Ok(value) = value.try_into() {
            self.headers.push((name, value));
        }
        self
    }

    /// What is wrong, and what to do.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The status of the answer.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let (status, word) = match refusal.kind {
            RefusalKind::NotFound => (StatusCode::NOT_FOUND, "not-found"),
            RefusalKind::Conflict => (StatusCode::CONFLICT, "conflict"),
            RefusalKind::Stale => (StatusCode::PRECONDITION_FAILED, "stale"),
            RefusalKind::Invalid => (StatusCode::UNPROCESSABLE_ENTITY, "invalid"),
            RefusalKind::NotAllowed => (StatusCode::FORBIDDEN, "not-allowed"),
            RefusalKind::Held => (StatusCode::SERVICE_UNAVAILABLE, "held"),
            RefusalKind::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            RefusalKind::Damaged => (StatusCode::INTERNAL_SERVER_ERROR, "damaged"),
        };
        Self { faults: refusal.faults, ..Self::new(status, word, refusal.detail) }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = said::Problem {
            kind: format!("urn:e4:problem:{}", self.word),
            title: self.status.canonical_reason().unwrap_or("Problem").to_owned(),
            status: self.status.as_u16(),
            detail: self.detail,
            errors: self.faults.into_iter().map(|it| said::LineError { line: it.line, detail: it.detail }).collect(),
        };
        // A body of numbers and texts can always be written.
        let body = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.extend(self.headers);
        response
    }
}
