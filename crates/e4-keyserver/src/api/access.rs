//! `/v1/topics/{id}/access`

use super::{
    Api, Problem,
    answer::{Answered, ok},
    convert,
    extract::{Asked, Asking, At, Json},
};
use crate::{
    fleet::{Actor, Who, device_id},
    model::Access,
};
use axum::extract::State;
use e4_keyserver_api as said;

/// Who has access to a topic: groups by name, then devices by id.
#[utoipa::path(get, path = "/v1/topics/{id}/access", params(("id" = u64, Path), said::PageQuery),
    responses((status = 200, body = said::Page<said::AccessEntry>)))]
pub(super) async fn list(
    State(api): State<Api>,
    At(id): At<u64>,
    Asking(query): Asking<said::PageQuery>,
) -> Answered<said::Page<said::AccessEntry>> {
    Ok(ok(api.fleet().topic_access(convert::number(id), &query).await?))
}

/// Says what a device may do with a topic.
#[utoipa::path(put, path = "/v1/topics/{id}/access/devices/{device}", params(("id" = u64, Path), ("device" = String, Path)),
    request_body = said::Access, responses((status = 200, body = said::Change)))]
pub(super) async fn give_device(
    State(api): State<Api>,
    Asked(actor): Asked,
    At((id, device)): At<(u64, String)>,
    Json(access): Json<said::Access>,
) -> Answered<said::Change> {
    set(&api, &actor, id, Who::Device(device_id(&device)?), some(access)?).await
}

/// Takes from a device what it itself may do with a topic.
#[utoipa::path(delete, path = "/v1/topics/{id}/access/devices/{device}", params(("id" = u64, Path), ("device" = String, Path)),
    responses((status = 200, body = said::Change)))]
pub(super) async fn take_device(
    State(api): State<Api>,
    Asked(actor): Asked,
    At((id, device)): At<(u64, String)>,
) -> Answered<said::Change> {
    set(&api, &actor, id, Who::Device(device_id(&device)?), Access::default()).await
}

/// Says what the members of a group may do with a topic.
#[utoipa::path(put, path = "/v1/topics/{id}/access/groups/{name}", params(("id" = u64, Path), ("name" = String, Path)),
    request_body = said::Access, responses((status = 200, body = said::Change)))]
pub(super) async fn give_group(
    State(api): State<Api>,
    Asked(actor): Asked,
    At((id, name)): At<(u64, String)>,
    Json(access): Json<said::Access>,
) -> Answered<said::Change> {
    set(&api, &actor, id, Who::Group(name), some(access)?).await
}

/// Takes from the members of a group what they may do with a topic by it.
#[utoipa::path(delete, path = "/v1/topics/{id}/access/groups/{name}", params(("id" = u64, Path), ("name" = String, Path)),
    responses((status = 200, body = said::Change)))]
pub(super) async fn take_group(
    State(api): State<Api>,
    Asked(actor): Asked,
    At((id, name)): At<(u64, String)>,
) -> Answered<said::Change> {
    set(&api, &actor, id, Who::Group(name), Access::default()).await
}

fn some(access: said::Access) -> Result<Access, Problem> {
    let access = Access { read: access.read, write: access.write };
    if access.is_none() {
        return Err(Problem::invalid("say `read`, `write` or both; access is taken away with DELETE"));
    }
    Ok(access)
}

async fn set(api: &Api, actor: &Actor, topic: u64, who: Who, access: Access) -> Answered<said::Change> {
    Ok(ok(convert::change(api.fleet().set_access(actor, convert::number(topic), &who, access).await?)))
}
