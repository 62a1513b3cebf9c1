//! What each request passes before its endpoint sees it: is there such an endpoint, who asks, how often, may they, is all of it
//! here in time.

use super::{
    Api, Peer, Problem,
    limits::Asker,
    table::{self, Endpoint, Takes},
};
use crate::{
    fleet::{Actor, RefusalKind},
    model::Role,
};
use axum::{
    body::{Body, to_bytes},
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use sha3::{Digest, Sha3_256};
use tokio::time::{Instant, timeout_at};

/// The header by which a request that is sent again is carried out once.
pub(super) const IDEMPOTENCY_KEY: &str = "idempotency-key";
const LONGEST_KEY: usize = 255;

/// Lets a request through to its endpoint, or answers why not. What is logged of it: no body, no token, and of the path only what
/// the server has written itself.
pub(super) async fn gate(State(api): State<Api>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let began = Instant::now();
    let path = parts.extensions.get::<MatchedPath>().cloned();
    let path = path.as_ref().map_or("no endpoint", |path| path.as_str());
    let method = parts.method.clone();
    let (who, answer) = match admit(&api, path, &mut parts).await {
        Ok((endpoint, actor)) => {
            let who = actor.as_ref().map(|it| it.name.clone());
            let answer =
                carry_out(endpoint, actor, parts, body, next, began).await.unwrap_or_else(Problem::into_response);
            (who, answer)
        }
        Err(problem) => (None, problem.into_response()),
    };
    let (status, took) = (answer.status().as_u16(), began.elapsed().as_millis());
    if answer.status().is_server_error() {
        tracing::warn!(%method, path, status, who, took_ms = took, "request");
    } else {
        tracing::info!(%method, path, status, who, took_ms = took, "request");
    }
    metrics::counter!("e4_api_requests", "path" => path.to_owned(), "status" => status.to_string()).increment(1);
    metrics::histogram!("e4_api_seconds", "path" => path.to_owned()).record(began.elapsed().as_secs_f64());
    with_safe_headers(answer)
}

/// What there is where there is no endpoint; the gate has answered before.
pub(super) async fn nothing() -> Problem {
    no_endpoint()
}

fn no_endpoint() -> Problem {
    RefusalKind::NotFound.because("there is no such endpoint: /openapi.json lists all of them").into()
}

/// Who asks for what, if there is such a thing and they may have it.
async fn admit(api: &Api, path: &str, parts: &mut Parts) -> Result<(&'static Endpoint, Option<Actor>), Problem> {
    let peer = parts.extensions.get::<Peer>().cloned();
    let endpoint = table::find(&parts.method, path);
    let network = || peer.as_ref().map_or(Asker::Holder(String::new()), |peer| Asker::from(peer.address.ip()));
    let takes = match &endpoint {
        Ok(endpoint) => endpoint.takes,
        Err(_) => Takes::Anyone,
    };
    let needed = match takes {
        Takes::Metrics if api.settings().open_metrics => None,
        Takes::Anyone => None,
        Takes::Metrics => Some(Role::Viewer),
        Takes::Holder(role) => Some(role),
    };
    let actor = match needed {
        None => {
            count(api, &network())?;
            None
        }
        Some(needed) => Some(identify(api, parts, peer.as_ref(), needed, network(), path).await?),
    };
    match endpoint {
        Ok(endpoint) => Ok((endpoint, actor)),
        Err(methods) if methods.is_empty() => Err(no_endpoint()),
        Err(methods) => Err(Problem::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method-not-allowed",
            format!("this path takes {}, and not {}", methods.join(" and "), parts.method),
        )
        .with(header::ALLOW, methods.join(", "))),
    }
}

/// Who asks, by a token or a client's certificate; refused attempts are written into the audit.
async fn identify(
    api: &Api,
    parts: &Parts,
    peer: Option<&Peer>,
    needed: Role,
    network: Asker,
    path: &str,
) -> Result<Actor, Problem> {
    let action = format!("{} {path}", parts.method);
    let origin = Peer::origin(peer);
    let certificate = || peer.and_then(|peer| peer.certificate.as_deref());
    let actor = match (bearer(&parts.headers), certificate()) {
        (Some(token), _) => api.fleet().authenticate(token, &origin).await?,
        (None, Some(name)) => api.fleet().authenticate_by_name(name, &origin).await?,
        (None, None) => None,
    };
    let Some(actor) = actor else {
        count(api, &network)?;
        let nobody = Actor::new("nobody", Role::Viewer, origin);
        api.fleet().refused(&nobody, &action, "", "no token, or one that is not known or has expired").await?;
        return Err(Problem::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "send a token that is known and has not expired, as `Authorization: Bearer TOKEN`; an administrator makes one",
        )
        .with(header::WWW_AUTHENTICATE, "Bearer realm=\"e4-keyserver\""));
    };
    count(api, &Asker::Holder(actor.name.clone()))?;
    if let Err(refusal) = actor.must_be(needed) {
        api.fleet().refused(&actor, &action, "", &refusal.detail).await?;
        return Err(refusal.into());
    }
    Ok(actor)
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = text.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn count(api: &Api, asker: &Asker) -> Result<(), Problem> {
    api.limits().count(asker).map_err(|seconds| {
        Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too-many-requests",
            format!("too many requests: the next one may come in {seconds} s; many devices at once go through /v1/devices/import"),
        )
        .with(header::RETRY_AFTER, seconds)
    })
}

/// Reads the whole of a request within the time and size of its endpoint, and has it carried out.
async fn carry_out(
    endpoint: &Endpoint,
    actor: Option<Actor>,
    mut parts: Parts,
    body: Body,
    next: Next,
    began: Instant,
) -> Result<Response, Problem> {
    let until = began + endpoint.longest_time();
    let body = timeout_at(until, read(body, endpoint.longest_body())).await.map_err(|_| {
        Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "too-slow",
            "the request did not arrive in time, and nothing was done",
        )
    })??;
    if let Some(mut actor) = actor {
        if parts.method != Method::GET && parts.method != Method::HEAD {
            actor = once(actor, &parts, &body)?;
        }
        parts.extensions.insert(actor);
    }
    let request = Request::from_parts(parts, Body::from(body));
    timeout_at(until, next.run(request)).await.map_err(|_| {
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            "this took too long, and may or may not have been done: with the same Idempotency-Key it can be sent again",
        )
    })
}

async fn read(body: Body, longest: usize) -> Result<Bytes, Problem> {
    to_bytes(body, longest).await.map_err(|error| {
        let error = error.into_inner();
        if error.is::<http_body_util::LengthLimitError>() {
            Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "too-large",
                format!("this endpoint takes at most {longest} bytes: send it in parts"),
            )
        } else {
            Problem::new(
                StatusCode::BAD_REQUEST,
                "incomplete",
                "the body ended before it was complete, and nothing was done",
            )
        }
    })
}

/// The same actor, for a request that is carried out once only if it says so.
fn once(actor: Actor, parts: &Parts, body: &[u8]) -> Result<Actor, Problem> {
    let Some(key) = parts.headers.get(IDEMPOTENCY_KEY) else { return Ok(actor) };
    let key = key.to_str().ok().filter(|key| (1..=LONGEST_KEY).contains(&key.len())).ok_or_else(|| {
        Problem::invalid(format!("an Idempotency-Key is 1 to {LONGEST_KEY} printable characters, such as a UUID"))
    })?;
    let mut digest = Sha3_256::new();
    let target = parts.uri.path_and_query().map_or("", |it| it.as_str());
    let if_match = parts.headers.get(header::IF_MATCH).map_or(&b""[..], HeaderValue::as_bytes);
    for part in [parts.method.as_str().as_bytes(), target.as_bytes(), if_match] {
        digest.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        digest.update(part);
    }
    digest.update(body);
    Ok(actor.once(key, digest.finalize().into()))
}

/// Answers are for who asked, and are what they say that they are.
fn with_safe_headers(mut answer: Response) -> Response {
    let headers = answer.headers_mut();
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}
