//! `/v1/orders`

use super::{
    Api,
    answer::{Answered, accepted, ok},
    convert,
    extract::{Asked, Asking, At},
};
use axum::extract::State;
use e4_keyserver_api as said;

/// Orders, the newest first.
#[utoipa::path(get, path = "/v1/orders", params(said::OrdersQuery), responses((status = 200, body = said::Page<said::Order>)))]
pub(super) async fn list(
    State(api): State<Api>,
    Asking(query): Asking<said::OrdersQuery>,
) -> Answered<said::Page<said::Order>> {
    Ok(ok(api.fleet().list_orders(&query).await?))
}

/// An order.
#[utoipa::path(get, path = "/v1/orders/{id}", params(("id" = u64, Path)), responses((status = 200, body = said::Order)))]
pub(super) async fn get(State(api): State<Api>, At(id): At<u64>) -> Answered<said::Order> {
    Ok(ok(api.fleet().order(convert::number(id)).await?))
}

/// Cancels an order of which nothing was sent that cannot be taken back.
#[utoipa::path(post, path = "/v1/orders/{id}/cancel", params(("id" = u64, Path)), responses((status = 200, body = said::Order)))]
pub(super) async fn cancel(State(api): State<Api>, Asked(actor): Asked, At(id): At<u64>) -> Answered<said::Order> {
    let id = convert::number(id);
    api.fleet().cancel(&actor, id).await?;
    Ok(ok(api.fleet().order(id).await?))
}

/// An order that was made by a request.
pub(super) async fn begun(api: &Api, order: i64) -> Answered<said::Order> {
    let order = api.fleet().order(order).await?;
    Ok(accepted(format!("/v1/orders/{}", order.id), order))
}
