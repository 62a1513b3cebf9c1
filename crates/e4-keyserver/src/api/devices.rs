//! `/v1/devices`

use super::{
    Api, Problem,
    answer::{Answered, created, ok},
    convert,
    extract::{Asked, Asking, At, Json, Raw, Seen, optional},
};
use crate::fleet::{DeviceChange, RefusalKind, Through, device_id};
use axum::extract::State;
use e4_keyserver_api as said;

/// Devices in the order of their ids.
#[utoipa::path(get, path = "/v1/devices", params(said::DevicesQuery), responses((status = 200, body = said::Page<said::Device>)))]
pub(super) async fn list(
    State(api): State<Api>,
    Asking(query): Asking<said::DevicesQuery>,
) -> Answered<said::Page<said::Device>> {
    Ok(ok(api.fleet().list_devices(&query).await?))
}

/// Adds a device.
#[utoipa::path(post, path = "/v1/devices", request_body = said::NewDevice, responses((status = 201, body = said::Device)))]
pub(super) async fn add(
    State(api): State<Api>,
    Asked(actor): Asked,
    Json(new): Json<said::NewDevice>,
) -> Answered<said::Device> {
    let new = convert::new_device(1, new).map_err(Problem::invalid)?;
    // Of one device, what is wrong is the answer, and not in which line.
    let added =
        api.fleet().add_devices(&actor, vec![new]).await.map_err(|refusal| match refusal.faults.as_slice() {
            [fault] => RefusalKind::Conflict.because(fault.detail.clone()),
            _ => refusal,
        })?;
    let id = added.ids.first().map(String::as_str).unwrap_or_default();
    let device = api.fleet().device(&device_id(id)?).await?;
    let revision = device.revision;
    Ok(created(format!("/v1/devices/{}", device.id), device).of_revision(revision))
}

/// A device.
#[utoipa::path(get, path = "/v1/devices/{id}", params(("id" = String, Path, description = "32 hexadecimal digits")),
    responses((status = 200, body = said::Device)))]
pub(super) async fn get(State(api): State<Api>, At(id): At<String>) -> Answered<said::Device> {
    let device = api.fleet().device(&device_id(&id)?).await?;
    let revision = device.revision;
    Ok(ok(device).of_revision(revision))
}

/// What a device holds as far as is known, what it should, and what was sent to it since.
#[utoipa::path(get, path = "/v1/devices/{id}/holds", params(("id" = String, Path, description = "32 hexadecimal digits")),
    responses((status = 200, body = said::Holds)))]
pub(super) async fn holds(State(api): State<Api>, At(id): At<String>) -> Answered<said::Holds> {
    Ok(ok(api.fleet().holds(&device_id(&id)?).await?))
}

/// Changes name, labels or notes of a device. Labels may get it into groups and out of groups.
#[utoipa::path(patch, path = "/v1/devices/{id}", params(("id" = String, Path, description = "32 hexadecimal digits")),
    request_body = said::DeviceChange, responses((status = 200, body = said::Device)))]
pub(super) async fn change(
    State(api): State<Api>,
    Asked(actor): Asked,
    At(id): At<String>,
    Seen(revision): Seen,
    Json(change): Json<said::DeviceChange>,
) -> Answered<said::Device> {
    let id = device_id(&id)?;
    let change = DeviceChange { name: change.name, labels: change.labels, notes: change.notes };
    api.fleet().change_device(&actor, &id, &change, revision).await?;
    let device = api.fleet().device(&id).await?;
    let revision = device.revision;
    Ok(ok(device).of_revision(revision))
}

/// Withdraws a device for ever: everything that it could read gets a new key. With `dry_run`, only says what that would do.
#[utoipa::path(post, path = "/v1/devices/{id}/withdraw", params(("id" = String, Path, description = "32 hexadecimal digits")),
    request_body = Option<said::Withdraw>, responses((status = 200, body = said::Withdrawal)))]
pub(super) async fn withdraw(
    State(api): State<Api>,
    Asked(actor): Asked,
    At(id): At<String>,
    raw: Raw,
) -> Answered<said::Withdrawal> {
    let said::Withdraw { dry_run } = optional(&raw)?;
    let done = api.fleet().withdraw(&actor, &device_id(&id)?, dry_run).await?;
    let order = match done.order {
        Some(order) => Some(api.fleet().order(order).await?),
        None => None,
    };
    let could_read = done.could_read.into_iter().map(|reach| said::Reach {
        topic: said::TopicRef { id: convert::count(reach.topic), name: reach.name },
        access: said::Access { read: reach.read, write: reach.write },
        through: reach.through.into_iter().map(through).collect(),
        members: convert::count(reach.members),
    });
    Ok(ok(said::Withdrawal {
        order,
        could_read: could_read.collect(),
        affected: convert::count(done.affected),
        peers: convert::count(done.peers),
    }))
}

fn through(way: Through) -> said::Through {
    match way {
        Through::Group(group) => said::Through { group: Some(group), subtree: None },
        Through::Subtree(subtree) => said::Through { group: None, subtree: Some(subtree) },
        Through::Itself | Through::Kept => said::Through { group: None, subtree: None },
    }
}

/// Gives a device a new key of its own.
#[utoipa::path(post, path = "/v1/devices/{id}/rotate-key", params(("id" = String, Path, description = "32 hexadecimal digits")),
    responses((status = 202, body = said::Order)))]
pub(super) async fn rotate_key(
    State(api): State<Api>,
    Asked(actor): Asked,
    At(id): At<String>,
) -> Answered<said::Order> {
    let order = api.fleet().rotate_client_key(&actor, &device_id(&id)?).await?;
    super::orders::begun(&api, order).await
}
