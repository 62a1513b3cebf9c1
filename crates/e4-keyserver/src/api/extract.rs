//! What endpoints read of a request. Whatever is wrong with it is answered as a problem that says what to do.

use super::{Peer, Problem};
use crate::fleet::Actor;
use axum::{
    extract::{FromRequest, FromRequestParts, Path, Query, Request},
    http::{HeaderMap, StatusCode, header, request::Parts},
};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use std::convert::Infallible;

/// Who asks. Endpoints that take anyone have none.
#[derive(Debug)]
pub(super) struct Asked(pub(super) Actor);

impl<S: Sync> FromRequestParts<S> for Asked {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Actor>().cloned().map(Self).ok_or_else(|| {
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "damaged", "this endpoint was reached without its gate")
        })
    }
}

/// From where a request comes.
#[derive(Debug)]
pub(super) struct Origin(pub(super) String);

impl<S: Sync> FromRequestParts<S> for Origin {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(Peer::origin(parts.extensions.get())))
    }
}

/// A body of JSON.
#[derive(Debug)]
pub(super) struct Json<T>(pub(super) T);

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let is_json = media_type(request.headers()).is_none_or(|it| it == "application/json");
        if !is_json {
            return Err(unsupported("application/json"));
        }
        let bytes = bytes_of(request, state).await?;
        // What is wrong is said by place and kind, and never by the text that is there: it may be a secret.
        serde_json::from_slice(&bytes).map(Self).map_err(|error| match error.classify() {
            serde_json::error::Category::Data => {
                Problem::invalid(format!("the body is not what is taken here: {}", told(&error)))
            }
            _ => Problem::new(
                StatusCode::BAD_REQUEST,
                "no-json",
                format!("the body is no JSON, as is seen at line {}, column {}", error.line(), error.column()),
            ),
        })
    }
}

/// The longest name of a field that is told again: what is longer may be a key in the wrong place.
const LONGEST_NAME: usize = 24;

/// What serde says of a value that does not fit, without the value.
pub(super) fn told(error: &serde_json::Error) -> String {
    let text = error.to_string();
    if !error.is_data() {
        return format!("is no JSON, as is seen at column {}", error.column());
    }
    if ["missing field", "unknown field", "duplicate field"].iter().any(|start| text.starts_with(start)) {
        let name = text.split('`').nth(1).unwrap_or_default();
        let shown = if name.len() > LONGEST_NAME { text.replacen(name, "...", 1) } else { text };
        return shown.chars().filter(|c| !c.is_control()).take(300).collect();
    }
    let expected = text.rsplit_once("expected ").map_or("another kind of value", |(_, expected)| expected);
    expected.chars().filter(|c| !c.is_control()).take(200).fold("expected ".to_owned(), |mut told, c| {
        told.push(c);
        told
    })
}

/// A body of any kind, with the media type that it says it has.
#[derive(Debug)]
pub(super) struct Raw {
    pub(super) media_type: Option<String>,
    pub(super) bytes: Bytes,
}

impl<S: Sync> FromRequest<S> for Raw {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let media_type = media_type(request.headers());
        Ok(Self { media_type, bytes: bytes_of(request, state).await? })
    }
}

/// A body that need not be there.
pub(super) fn optional<T: DeserializeOwned + Default>(raw: &Raw) -> Result<T, Problem> {
    if raw.bytes.is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice(&raw.bytes)
        .map_err(|error| Problem::invalid(format!("the body is not what is taken here: {}", told(&error))))
}

async fn bytes_of<S: Sync>(request: Request, _: &S) -> Result<Bytes, Problem> {
    // The gate has read it already, within its limits.
    axum::body::to_bytes(request.into_body(), usize::MAX)
        .await
        .map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "incomplete", "the body ended before it was complete"))
}

fn media_type(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(header::CONTENT_TYPE)?.to_str().unwrap_or("unreadable");
    text.split(';').next().map(|it| it.trim().to_ascii_lowercase())
}

/// Another media type was sent than is taken.
pub(super) fn unsupported(taken: &str) -> Problem {
    Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "media-type",
        format!("this endpoint takes {taken}: say so in Content-Type"),
    )
}

/// The parts of the path that are not fixed.
#[derive(Debug)]
pub(super) struct At<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for At<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(value) = Path::from_request_parts(parts, state).await.map_err(|_| {
            Problem::new(
                StatusCode::NOT_FOUND,
                "not-found",
                "there is nothing at this path: its parts are ids, names or numbers",
            )
        })?;
        Ok(Self(value))
    }
}

/// What comes after the question mark.
#[derive(Debug)]
pub(super) struct Asking<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Asking<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(value) = Query::from_request_parts(parts, state)
            .await
            .map_err(|error| Problem::invalid(format!("the query after `?` is not what is taken here: {error}")))?;
        Ok(Self(value))
    }
}

/// The revision that the caller has seen, by `If-Match`; `None` for any.
#[derive(Debug)]
pub(super) struct Seen(pub(super) Option<i64>);

impl<S: Sync> FromRequestParts<S> for Seen {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let Some(text) = parts.headers.get(header::IF_MATCH) else {
            return Err(Problem::new(
                StatusCode::PRECONDITION_REQUIRED,
                "if-match",
                "send `If-Match` with the ETag of what you have seen, so that nobody's change is lost; or `If-Match: *` for whatever is there",
            ));
        };
        let text = text.to_str().unwrap_or_default().trim();
        if text == "*" {
            return Ok(Self(None));
        }
        let revision =
            text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).and_then(|text| text.parse().ok());
        revision.map(|revision| Self(Some(revision))).ok_or_else(|| {
            Problem::new(
                StatusCode::PRECONDITION_FAILED,
                "stale",
                "that `If-Match` is no ETag of this server: read it anew, and send its ETag as it is",
            )
        })
    }
}
