//! `/v1/health`, `/v1/ready`, `/metrics`, `/openapi.json`: for those who start and watch the program.

use super::{
    Api, Problem,
    answer::{Answer, ok},
};
use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use e4_keyserver_api as said;

/// The program runs.
#[utoipa::path(get, path = "/v1/health", responses((status = 200, body = said::Health)))]
pub(super) async fn health() -> Answer<said::Health> {
    ok(said::Health { version: env!("CARGO_PKG_VERSION").to_owned() })
}

/// Whether the server can do its work now; if not, the status is 503.
#[utoipa::path(get, path = "/v1/ready", responses((status = 200, body = said::Readiness), (status = 503, body = said::Readiness)))]
pub(super) async fn ready(State(api): State<Api>) -> Response {
    // Anybody may ask, so it is not told where anything is.
    let mut reasons = Vec::new();
    match api.fleet().held().await {
        Ok(None) => {}
        Ok(Some(_)) => reasons.push("the server holds until somebody releases it".to_owned()),
        Err(_) => reasons.push("the database cannot be used".to_owned()),
    }
    if !api.is_connected() {
        reasons.push("the broker cannot be used".to_owned());
    }
    let ready = reasons.is_empty();
    let mut answer = ok(said::Readiness { ready, reasons }).into_response();
    if !ready {
        *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    answer
}

/// Metrics for Prometheus.
#[utoipa::path(get, path = "/metrics", responses((status = 200, content_type = "text/plain", body = String)))]
pub(super) async fn metrics(State(api): State<Api>) -> Result<Response, Problem> {
    let metrics = api
        .metrics()
        .ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "not-found", "this process collects no metrics"))?;
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], metrics.render()).into_response())
}

/// This description.
#[utoipa::path(get, path = "/openapi.json", responses((status = 200, body = serde_json::Value)))]
pub(super) async fn openapi(State(api): State<Api>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], api.openapi().to_owned()).into_response()
}
