//! What endpoints answer with.

use super::Problem;
use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

/// An answer of JSON.
#[derive(Debug)]
pub(super) struct Answer<T> {
    status: StatusCode,
    revision: Option<u64>,
    location: Option<String>,
    body: T,
}

/// An answer, or why there is none.
pub(super) type Answered<T> = Result<Answer<T>, Problem>;

/// What was asked for.
pub(super) const fn ok<T>(body: T) -> Answer<T> {
    Answer { status: StatusCode::OK, revision: None, location: None, body }
}

/// An order that has begun, and where it is.
pub(super) const fn accepted<T>(location: String, body: T) -> Answer<T> {
    Answer { status: StatusCode::ACCEPTED, revision: None, location: Some(location), body }
}

/// Something new, and where it is.
pub(super) const fn created<T>(location: String, body: T) -> Answer<T> {
    Answer { status: StatusCode::CREATED, revision: None, location: Some(location), body }
}

impl<T> Answer<T> {
    /// With the revision as `ETag`, by which a change says what it has seen.
    pub(super) fn of_revision(mut self, revision: u64) -> Self {
        self.revision = Some(revision);
        self
    }
}

impl<T: Serialize> IntoResponse for Answer<T> {
    fn into_response(self) -> Response {
        let Ok(body) = serde_json::to_vec(&self.body) else {
            return Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "damaged", "the answer cannot be written")
                .into_response();
        };
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(tag) = self.revision.and_then(|revision| HeaderValue::try_from(format!("\"{revision}\"")).ok()) {
            headers.insert(header::ETAG, tag);
        }
        if let Some(location) = self.location.and_then(|location| HeaderValue::try_from(location).ok()) {
            headers.insert(header::LOCATION, location);
        }
        response
    }
}

/// It was done, and there is nothing to say of it.
#[derive(Debug)]
pub(super) struct Done;

impl IntoResponse for Done {
    fn into_response(self) -> Response {
        StatusCode::NO_CONTENT.into_response()
    }
}
