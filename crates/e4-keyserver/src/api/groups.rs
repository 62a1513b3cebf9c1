//! `/v1/groups`

use super::{
    Api, Problem,
    answer::{Answered, created, ok},
    convert,
    extract::{Asked, Asking, At, Json, Seen},
};
use crate::{
    fleet::{GroupChange, NewGroup, device_id},
    model::Selector,
};
use axum::extract::State;
use e4_keyserver_api as said;

/// Groups in the order of their names.
#[utoipa::path(get, path = "/v1/groups", params(said::PageQuery), responses((status = 200, body = said::Page<said::Group>)))]
pub(super) async fn list(
    State(api): State<Api>,
    Asking(query): Asking<said::PageQuery>,
) -> Answered<said::Page<said::Group>> {
    Ok(ok(api.fleet().list_groups(&query).await?))
}

/// Makes a group.
#[utoipa::path(post, path = "/v1/groups", request_body = said::NewGroup, responses((status = 201, body = said::Group)))]
pub(super) async fn add(
    State(api): State<Api>,
    Asked(actor): Asked,
    Json(new): Json<said::NewGroup>,
) -> Answered<said::Group> {
    let new = NewGroup { selector: selector(new.selector)?, policy: convert::alike(&new.policy)?, name: new.name };
    api.fleet().add_group(&actor, &new).await?;
    let group = api.fleet().group(&new.name).await?;
    let revision = group.revision;
    Ok(created("/v1/groups".to_owned(), group).of_revision(revision))
}

fn selector(text: Option<String>) -> Result<Option<Selector>, Problem> {
    text.map(|text| Selector::parse(&text).map_err(|error| Problem::invalid(error.to_string()))).transpose()
}

/// A group.
#[utoipa::path(get, path = "/v1/groups/{name}", params(("name" = String, Path)), responses((status = 200, body = said::Group)))]
pub(super) async fn get(State(api): State<Api>, At(name): At<String>) -> Answered<said::Group> {
    let group = api.fleet().group(&name).await?;
    let revision = group.revision;
    Ok(ok(group).of_revision(revision))
}

/// Changes the labels or the policy of a group.
#[utoipa::path(patch, path = "/v1/groups/{name}", params(("name" = String, Path)), request_body = said::GroupChange,
    responses((status = 200, body = said::Group)))]
pub(super) async fn change(
    State(api): State<Api>,
    Asked(actor): Asked,
    At(name): At<String>,
    Seen(revision): Seen,
    Json(change): Json<said::GroupChange>,
) -> Answered<said::Group> {
    let policy = change.policy.map(|policy| convert::alike(&policy)).transpose()?;
    let change = GroupChange { selector: selector(change.selector)?, policy };
    api.fleet().change_group(&actor, &name, &change, revision).await?;
    let group = api.fleet().group(&name).await?;
    let revision = group.revision;
    Ok(ok(group).of_revision(revision))
}

/// Removes a group: its members lose what they had by it alone.
#[utoipa::path(delete, path = "/v1/groups/{name}", params(("name" = String, Path)), responses((status = 200, body = said::Change)))]
pub(super) async fn remove(
    State(api): State<Api>,
    Asked(actor): Asked,
    At(name): At<String>,
    Seen(revision): Seen,
) -> Answered<said::Change> {
    Ok(ok(convert::change(api.fleet().remove_group(&actor, &name, revision).await?)))
}

/// Lists a device as a member of a group.
#[utoipa::path(put, path = "/v1/groups/{name}/members/{device}", params(("name" = String, Path), ("device" = String, Path)),
    responses((status = 200, body = said::Change)))]
pub(super) async fn add_member(
    State(api): State<Api>,
    Asked(actor): Asked,
    At((name, device)): At<(String, String)>,
) -> Answered<said::Change> {
    Ok(ok(convert::change(api.fleet().add_member(&actor, &name, &device_id(&device)?).await?)))
}

/// Takes a device from the list of a group.
#[utoipa::path(delete, path = "/v1/groups/{name}/members/{device}", params(("name" = String, Path), ("device" = String, Path)),
    responses((status = 200, body = said::Change)))]
pub(super) async fn remove_member(
    State(api): State<Api>,
    Asked(actor): Asked,
    At((name, device)): At<(String, String)>,
) -> Answered<said::Change> {
    Ok(ok(convert::change(api.fleet().remove_member(&actor, &name, &device_id(&device)?).await?)))
}
