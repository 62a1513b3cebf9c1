//! `/v1/status`, `/v1/exposure`, `/v1/server-key`, `/v1/release`: the server itself.

use super::{
    Api, Problem,
    answer::{Answered, ok},
    extract::{Asked, Asking},
};
use crate::{
    deliver::{BrokerState, Hearing, Standing},
    fleet::moment,
};
use axum::extract::State;
use e4_keyserver_api as said;

/// How the server and its fleet are.
#[utoipa::path(get, path = "/v1/status", responses((status = 200, body = said::ServerStatus)))]
pub(super) async fn status(State(api): State<Api>) -> Answered<said::ServerStatus> {
    Ok(ok(status_of(&api).await?))
}

async fn status_of(api: &Api) -> Result<said::ServerStatus, Problem> {
    let brokers = api.broker().iter().map(|standing| broker_of(api, standing)).collect();
    Ok(said::ServerStatus { brokers, ..api.fleet().server_status().await? })
}

fn broker_of(api: &Api, standing: &Standing) -> said::BrokerStatus {
    let detail = match (&standing.broker, &standing.hearing) {
        (BrokerState::Away(why), _) => why.clone(),
        (_, Hearing::Cannot(why)) => why.clone(),
        (_, Hearing::NotYet) => "the broker has not answered yet whether devices can be heard".to_owned(),
        (_, Hearing::Subscribed) => {
            "commands go out; whether reports arrive is not known before the first one".to_owned()
        }
        (BrokerState::Connected, Hearing::Hears) => "commands go out, and reports arrive".to_owned(),
    };
    said::BrokerStatus {
        address: standing.address.clone(),
        connected: standing.broker == BrokerState::Connected,
        hears_devices: standing.hearing == Hearing::Hears,
        detail,
        since: moment(
            api.fleet().now().saturating_sub(i64::try_from(standing.since.elapsed().as_secs()).unwrap_or(i64::MAX)),
        ),
    }
}

/// Keys that withdrawn devices have and that others still use: what is not listed is over.
#[utoipa::path(get, path = "/v1/exposure", params(said::PageQuery), responses((status = 200, body = said::Page<said::Exposure>)))]
pub(super) async fn exposure(
    State(api): State<Api>,
    Asking(query): Asking<said::PageQuery>,
) -> Answered<said::Page<said::Exposure>> {
    Ok(ok(api.fleet().list_exposure(&query).await?))
}

/// Has a server go on that holds.
#[utoipa::path(post, path = "/v1/release", responses((status = 200, body = said::ServerStatus)))]
pub(super) async fn release(State(api): State<Api>, Asked(actor): Asked) -> Answered<said::ServerStatus> {
    api.fleet().release(&actor).await?;
    Ok(ok(status_of(&api).await?))
}

/// Key pairs of the server, the newest first: never their secret halves.
#[utoipa::path(get, path = "/v1/server-key", params(said::PageQuery), responses((status = 200, body = said::Page<said::ServerKey>)))]
pub(super) async fn keys(
    State(api): State<Api>,
    Asking(query): Asking<said::PageQuery>,
) -> Answered<said::Page<said::ServerKey>> {
    Ok(ok(api.fleet().list_server_keys(&query).await?))
}

/// Gives the server a new key pair: each device in public-key mode moves to it on its own.
#[utoipa::path(post, path = "/v1/server-key/rotate", responses((status = 202, body = said::Order)))]
pub(super) async fn rotate_key(State(api): State<Api>, Asked(actor): Asked) -> Answered<said::Order> {
    let order = api.fleet().rotate_server_key(&actor).await?;
    super::orders::begun(&api, order).await
}
