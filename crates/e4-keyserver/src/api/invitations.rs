//! `/v1/devices/{id}/bundle`, `/v1/invitations`, `/v1/bundles`, `/v1/register`: how a device begins.

use super::{
    Api, Problem,
    answer::{Answered, created, ok},
    convert,
    extract::{Asked, At, Json, Origin, Raw, optional},
};
use crate::fleet::{Invitation, RefusalKind, ToRegister, device_id, moment};
use axum::extract::State;
use base64::{Engine, engine::general_purpose::STANDARD};
use e4_keyserver_api as said;
use zeroize::Zeroizing;

/// Makes a token with which what a device needs to begin with is fetched once.
#[utoipa::path(post, path = "/v1/devices/{id}/bundle", params(("id" = String, Path, description = "32 hexadecimal digits")),
    request_body = Option<said::NewBundle>, responses((status = 201, body = said::Invitation)))]
pub(super) async fn make_bundle(
    State(api): State<Api>,
    Asked(actor): Asked,
    At(id): At<String>,
    raw: Raw,
) -> Answered<said::Invitation> {
    let said::NewBundle { expires_in } = optional(&raw)?;
    let made = api.fleet().invite_bundle(&actor, &device_id(&id)?, expires_in.map(convert::number)).await?;
    invitation(made)
}

/// Makes a token with which a device in public-key mode registers its own public key once.
#[utoipa::path(post, path = "/v1/invitations", request_body = Option<said::NewInvitation>, responses((status = 201, body = said::Invitation)))]
pub(super) async fn invite(State(api): State<Api>, Asked(actor): Asked, raw: Raw) -> Answered<said::Invitation> {
    let said::NewInvitation { name, labels, groups, expires_in } = optional(&raw)?;
    let device = ToRegister { name, labels, groups };
    invitation(api.fleet().invite_device(&actor, &device, expires_in.map(convert::number)).await?)
}

fn invitation(made: Invitation) -> Answered<said::Invitation> {
    let token = shown_once(made.secret)?;
    Ok(created("/v1/bundles".to_owned(), said::Invitation { token, expires: moment(made.expires) }))
}

/// A secret of a request that was carried out now. It is not kept, so it cannot be told to the same request again.
pub(super) fn shown_once(secret: Option<Zeroizing<String>>) -> Result<said::Secret, Problem> {
    secret.map(said::Secret::new).ok_or_else(|| {
        let detail = "this request was carried out before, and its token was told then and is not kept: make another one, with another Idempotency-Key";
        RefusalKind::Conflict.because(detail).into()
    })
}

/// Fetches what a device needs to begin with, once. The token is in the body, since paths are logged.
#[utoipa::path(post, path = "/v1/bundles", request_body = said::Redeem, responses((status = 200, body = said::Bundle)))]
pub(super) async fn fetch(
    State(api): State<Api>,
    Origin(origin): Origin,
    Json(redeem): Json<said::Redeem>,
) -> Answered<said::Bundle> {
    let bundle = api.fleet().fetch_bundle(redeem.token.reveal(), &origin).await?;
    let content = match redeem.form {
        said::BundleForm::State => Zeroizing::new(STANDARD.encode(&*bundle.state)),
        said::BundleForm::Text => bundle.text,
        _ => return Err(Problem::invalid("a bundle comes as state or text")),
    };
    Ok(ok(said::Bundle {
        id: bundle.id.to_string(),
        name: bundle.name,
        mode: said::Mode::Symmetric,
        form: redeem.form,
        content: said::Secret::new(content),
    }))
}

/// A device registers its own public key.
#[utoipa::path(post, path = "/v1/register", request_body = said::Register, responses((status = 201, body = said::Registered)))]
pub(super) async fn register(
    State(api): State<Api>,
    Origin(origin): Origin,
    Json(register): Json<said::Register>,
) -> Answered<said::Registered> {
    let key = convert::key(&register.public_key).map_err(Problem::invalid)?;
    let (token, name) = (register.token.reveal(), register.name.as_deref());
    let registered =
        api.fleet().register(token, *key, name, &origin).await.map_err(|refusal| match refusal.faults.as_slice() {
            [fault] => RefusalKind::Conflict.because(fault.detail.clone()),
            _ => refusal,
        })?;
    let id = registered.id.to_string();
    let server_key = hex::encode(registered.server_key.as_bytes());
    Ok(created(format!("/v1/devices/{id}"), said::Registered { id, server_key }))
}
