//! `/v1/topics`

use super::{
    Api, Problem,
    answer::{Answered, created, ok},
    convert,
    extract::{Asked, Asking, At, Json, Seen},
};
use crate::{
    fleet::{NewTopic, TopicChange},
    model::{RotationKind, TopicName},
};
use axum::extract::State;
use e4_keyserver_api as said;

/// Topics in the order of their numbers.
#[utoipa::path(get, path = "/v1/topics", params(said::TopicsQuery), responses((status = 200, body = said::Page<said::Topic>)))]
pub(super) async fn list(
    State(api): State<Api>,
    Asking(query): Asking<said::TopicsQuery>,
) -> Answered<said::Page<said::Topic>> {
    Ok(ok(api.fleet().list_topics(&query).await?))
}

/// Adds a topic or a subtree, with its first key.
#[utoipa::path(post, path = "/v1/topics", request_body = said::NewTopic, responses((status = 201, body = said::Topic)))]
pub(super) async fn add(
    State(api): State<Api>,
    Asked(actor): Asked,
    Json(new): Json<said::NewTopic>,
) -> Answered<said::Topic> {
    let new = NewTopic {
        name: TopicName::new(&new.name).map_err(|error| Problem::invalid(error.to_string()))?,
        key: new.key.map(|key| convert::key(key.reveal())).transpose().map_err(Problem::invalid)?,
        policy: convert::alike(&new.policy)?,
        notes: new.notes,
    };
    let added = api.fleet().add_topic(&actor, &new).await?;
    let topic = said::Topic { warnings: added.warnings, ..api.fleet().topic(added.id).await? };
    let revision = topic.revision;
    Ok(created(format!("/v1/topics/{}", topic.id), topic).of_revision(revision))
}

/// A topic.
#[utoipa::path(get, path = "/v1/topics/{id}", params(("id" = u64, Path)), responses((status = 200, body = said::Topic)))]
pub(super) async fn get(State(api): State<Api>, At(id): At<u64>) -> Answered<said::Topic> {
    let topic = api.fleet().topic(convert::number(id)).await?;
    let revision = topic.revision;
    Ok(ok(topic).of_revision(revision))
}

/// Changes the policy or the notes of a topic.
#[utoipa::path(patch, path = "/v1/topics/{id}", params(("id" = u64, Path)), request_body = said::TopicChange,
    responses((status = 200, body = said::Topic)))]
pub(super) async fn change(
    State(api): State<Api>,
    Asked(actor): Asked,
    At(id): At<u64>,
    Seen(revision): Seen,
    Json(change): Json<said::TopicChange>,
) -> Answered<said::Topic> {
    let id = convert::number(id);
    let policy = change.policy.map(|policy| convert::alike(&policy)).transpose()?;
    api.fleet().change_topic(&actor, id, &TopicChange { policy, notes: change.notes }, revision).await?;
    let topic = api.fleet().topic(id).await?;
    let revision = topic.revision;
    Ok(ok(topic).of_revision(revision))
}

/// Removes a topic: its members are told to forget its keys.
#[utoipa::path(delete, path = "/v1/topics/{id}", params(("id" = u64, Path)), responses((status = 200, body = said::Change)))]
pub(super) async fn remove(
    State(api): State<Api>,
    Asked(actor): Asked,
    At(id): At<u64>,
    Seen(revision): Seen,
) -> Answered<said::Change> {
    Ok(ok(convert::change(api.fleet().remove_topic(&actor, convert::number(id), revision).await?)))
}

/// The keys that a topic has and had, by version and fingerprint: never their values.
#[utoipa::path(get, path = "/v1/topics/{id}/keys", params(("id" = u64, Path), said::PageQuery),
    responses((status = 200, body = said::Page<said::KeyVersion>)))]
pub(super) async fn keys(
    State(api): State<Api>,
    At(id): At<u64>,
    Asking(query): Asking<said::PageQuery>,
) -> Answered<said::Page<said::KeyVersion>> {
    Ok(ok(api.fleet().topic_keys(convert::number(id), &query).await?))
}

/// Gives a topic a new key.
#[utoipa::path(post, path = "/v1/topics/{id}/rotate", params(("id" = u64, Path)), request_body = said::Rotate,
    responses((status = 202, body = said::Order)))]
pub(super) async fn rotate(
    State(api): State<Api>,
    Asked(actor): Asked,
    At(id): At<u64>,
    Json(rotate): Json<said::Rotate>,
) -> Answered<said::Order> {
    let kind = RotationKind::from_word(rotate.kind.word())
        .ok_or_else(|| Problem::invalid("a rotation is lossless, soft or hard"))?;
    let order = api.fleet().rotate(&actor, convert::number(id), kind).await?;
    super::orders::begun(&api, order).await
}
