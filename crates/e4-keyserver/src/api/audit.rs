//! `/v1/audit`

use super::{
    Api, Problem,
    answer::{Answered, ok},
    extract::Asking,
};
use crate::fleet::ExportCursor;
use axum::{
    body::Body,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use e4_keyserver_api as said;
use futures_util::stream;

/// Changes and refused attempts, the newest first.
#[utoipa::path(get, path = "/v1/audit", params(said::AuditQuery), responses((status = 200, body = said::Page<said::AuditEntry>)))]
pub(super) async fn list(
    State(api): State<Api>,
    Asking(query): Asking<said::AuditQuery>,
) -> Answered<said::Page<said::AuditEntry>> {
    Ok(ok(api.fleet().list_audit(&query).await?))
}

/// The whole audit with its signed checkpoints, the oldest first, a line each: `e4-keyserver check` verifies it anywhere.
#[utoipa::path(get, path = "/v1/audit/export", responses((status = 200, content_type = "application/jsonl", body = String)))]
pub(super) async fn export(State(api): State<Api>) -> Result<Response, Problem> {
    let mut cursor = ExportCursor::default();
    let first = api.fleet().export_audit(&mut cursor).await?;
    let rest = stream::try_unfold((api, cursor), |(api, mut cursor)| async move {
        let lines = api.fleet().export_audit(&mut cursor).await?;
        Ok::<_, crate::fleet::Refusal>((!lines.is_empty()).then_some((lines, (api, cursor))))
    });
    let lines = futures_util::StreamExt::chain(stream::iter([Ok(first)]), rest);
    Ok(([(header::CONTENT_TYPE, "application/jsonl")], Body::from_stream(lines)).into_response())
}
