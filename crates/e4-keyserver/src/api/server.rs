//! `/v1/status`, `/v1/exposure`, `/v1/server-key`, `/v1/release`: the server itself.

use super::{
    Api,
    answer::{Answered, ok},
    extract::{Asked, Asking},
};
use axum::extract::State;
use e4_keyserver_api as said;

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
