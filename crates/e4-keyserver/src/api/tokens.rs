//! `/v1/tokens`

use super::{
    Api, Problem,
    answer::{Answered, Done, created, ok},
    convert,
    extract::{Asked, Asking, At, Json},
    invitations::shown_once,
};
use crate::model::Role;
use axum::extract::State;
use e4_keyserver_api as said;

/// Tokens in the order of their numbers: never the tokens themselves.
#[utoipa::path(get, path = "/v1/tokens", params(said::PageQuery), responses((status = 200, body = said::Page<said::Token>)))]
pub(super) async fn list(
    State(api): State<Api>,
    Asking(query): Asking<said::PageQuery>,
) -> Answered<said::Page<said::Token>> {
    Ok(ok(api.fleet().list_tokens(&query).await?))
}

/// Makes a token, which is shown once.
#[utoipa::path(post, path = "/v1/tokens", request_body = said::NewToken, responses((status = 201, body = said::TokenMade)))]
pub(super) async fn add(
    State(api): State<Api>,
    Asked(actor): Asked,
    Json(new): Json<said::NewToken>,
) -> Answered<said::TokenMade> {
    let role = Role::from_word(new.role.word()).ok_or_else(|| Problem::invalid("there is no such role"))?;
    let expires = new.expires_in.map(|seconds| api.fleet().now().saturating_add(convert::number(seconds)));
    let made = api.fleet().add_token(&actor, &new.name, role, expires).await?;
    let secret = shown_once(made.secret)?;
    let token = api.fleet().token(made.id).await?;
    Ok(created(format!("/v1/tokens/{}", token.id), said::TokenMade { token, secret }))
}

/// Removes a token: it works no more.
#[utoipa::path(delete, path = "/v1/tokens/{id}", params(("id" = u64, Path)), responses((status = 204)))]
pub(super) async fn remove(State(api): State<Api>, Asked(actor): Asked, At(id): At<u64>) -> Result<Done, Problem> {
    api.fleet().remove_token(&actor, convert::number(id)).await?;
    Ok(Done)
}
