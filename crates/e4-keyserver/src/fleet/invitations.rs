//! What works once: bundles that devices begin with, and tokens with which a device registers its own public key.

use super::{
    Actor, Fleet, Refusal, RefusalKind,
    add_devices::{NewDevice, NewDeviceKey, add_devices},
    find::{self, device_subject},
    intent::{Attempted, Intent},
    server_key::Pair,
    tokens::{hash, new_secret},
};
use crate::{
    model::{Labels, Mode, Role, Status},
    store::Value,
    vault::Place,
};
use e4::{C2PublicKey, Client, ClientId, ClientKey, Identity, MemoryStore};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::{collections::BTreeMap, sync::Arc};
use zeroize::Zeroizing;

const PREFIX: &str = "e4i_";
const BUNDLE: &str = "bundle";
const REGISTER: &str = "register";
/// The longest that an invitation works.
const LONGEST: i64 = 366 * 86_400;

/// A token that works once.
#[derive(Serialize, Deserialize)]
pub struct Invitation {
    /// The token, which is shown once; `None` if the request was carried out before.
    #[serde(skip)]
    pub secret: Option<Zeroizing<String>>,
    /// Until when it works.
    pub expires: i64,
}

impl std::fmt::Debug for Invitation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Invitation(until {}, ..)", self.expires)
    }
}

/// What a device gets to begin with.
pub struct Bundle {
    /// Its id.
    pub id: ClientId,
    /// Its name.
    pub name: Option<String>,
    /// A state of `e4::Client`, ready to be used as a state file.
    pub state: Zeroizing<Vec<u8>>,
    /// The same as lines of `name=value`.
    pub text: Zeroizing<String>,
}

impl std::fmt::Debug for Bundle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Bundle({}, ..)", self.id)
    }
}

/// What a device becomes that registers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ToRegister {
    /// Its name; without one it brings one.
    pub name: Option<String>,
    /// The labels that it gets.
    pub labels: BTreeMap<String, String>,
    /// The groups that it is listed in.
    pub groups: Vec<String>,
}

/// What a device that registered needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// Its id.
    pub id: ClientId,
    /// The server's public key.
    pub server_key: C2PublicKey,
}

impl Fleet {
    /// Makes a token with which what a device needs to begin with is fetched once.
    ///
    /// # Errors
    ///
    /// [`RefusalKind::Conflict`] if the device was heard before, since a second one with the same key would take old commands for
    /// new ones, or has its own key pair.
    pub async fn invite_bundle(
        &self,
        actor: &Actor,
        device: &ClientId,
        lasts: Option<i64>,
    ) -> Result<Invitation, Refusal> {
        let subject = device_subject(device);
        self.intention(actor, Role::Enroller, ("make bundle", &subject), |intent| invite_bundle(intent, device, lasts))
            .await
    }

    /// Fetches a bundle, once.
    ///
    /// # Errors
    ///
    /// [`RefusalKind::NotFound`] for a token that does not work, whatever the reason.
    pub async fn fetch_bundle(&self, token: &str, origin: &str) -> Result<Bundle, Refusal> {
        let actor = Actor::new("invitation", Role::Enroller, origin);
        let mut intent = self.begin(&actor).await?;
        let used = redeem(&mut intent, token, BUNDLE).await?;
        let (device, _) = match used {
            Some((Some(device), detail)) => (device, detail),
            _ => {
                drop(intent);
                return Err(self.not_redeemed(&actor, "fetch bundle").await?);
            }
        };
        let bundle = bundle(&mut intent, &device).await?;
        intent.audit("fetch bundle", &device_subject(&device), &json!({})).await?;
        intent.tx.commit().await?;
        Ok(bundle)
    }

    /// Makes a token with which a device in public-key mode registers once.
    ///
    /// # Errors
    ///
    /// [`RefusalKind::NotFound`] for groups that there are not.
    pub async fn invite_device(
        &self,
        actor: &Actor,
        device: &ToRegister,
        lasts: Option<i64>,
    ) -> Result<Invitation, Refusal> {
        self.intention(actor, Role::Enroller, ("invite device", device.name.as_deref().unwrap_or("any")), |intent| {
            invite_device(intent, device, lasts)
        })
        .await
    }

    /// A device registers its own public key.
    ///
    /// # Errors
    ///
    /// [`RefusalKind::NotFound`] for a token that does not work, whatever the reason; what adding a device is refused for, and then
    /// the token works still.
    pub async fn register(
        &self,
        token: &str,
        public_key: [u8; 32],
        name: Option<&str>,
        origin: &str,
    ) -> Result<Registered, Refusal> {
        let actor = Actor::new("invitation", Role::Enroller, origin);
        let pair = Arc::new(Pair::current(self).await?);
        let mut intent = self.begin(&actor).await?;
        let Some((_, detail)) = redeem(&mut intent, token, REGISTER).await? else {
            drop(intent);
            return Err(self.not_redeemed(&actor, "register").await?);
        };
        let invited: ToRegister =
            serde_json::from_str(&detail).map_err(|_| Refusal::damaged("an invitation cannot be read"))?;
        // What is refused rolls back, and the token works still.
        let added = match to_device(invited, public_key, name) {
            Ok(device) => add_devices(intent, Arc::new(vec![device]), pair.clone()).await,
            Err(refusal) => {
                drop(intent);
                Err(refusal)
            }
        };
        let (intent, added) = match added {
            Ok(added) => added,
            Err(refusal) => {
                if refusal.is_about_the_request() {
                    self.refused(&actor, "register", "device", &refusal.to_string()).await?;
                }
                return Err(refusal);
            }
        };
        intent.tx.commit().await?;
        let id = added.ids.first().and_then(|id| id.parse().ok());
        let id = id.ok_or_else(|| Refusal::damaged("a device was added without an id"))?;
        Ok(Registered { id, server_key: pair.public })
    }

    async fn not_redeemed(&self, actor: &Actor, action: &str) -> Result<Refusal, Refusal> {
        let why = "this token does not work: it was used, has expired, or never was one; ask for a new one";
        self.refused(actor, action, "invitation", why).await?;
        Ok(RefusalKind::NotFound.because(why))
    }
}

fn to_device(invited: ToRegister, public_key: [u8; 32], name: Option<&str>) -> Result<NewDevice, Refusal> {
    let name = match (invited.name, name) {
        (Some(invited), Some(own)) if invited != own => {
            return Err(RefusalKind::Conflict.because(format!("this token is for a device of the name `{invited}`")));
        }
        (Some(name), _) => name,
        (None, Some(name)) => name.to_owned(),
        (None, None) => {
            return Err(RefusalKind::Invalid.because("this token is for a device of any name: say which one it has"));
        }
    };
    Ok(NewDevice {
        line: 1,
        name: Some(name),
        id: None,
        key: NewDeviceKey::PublicKey(public_key),
        labels: Labels::new(invited.labels).map_err(|error| RefusalKind::Invalid.because(error.to_string()))?,
        groups: invited.groups,
        notes: String::new(),
    })
}

async fn invite_bundle(mut intent: Intent, id: &ClientId, lasts: Option<i64>) -> Attempted<Invitation> {
    let device = find::device(&mut intent, id).await?;
    device.must_not_be_withdrawn()?;
    if device.mode == Mode::PublicKey {
        return Err(RefusalKind::Conflict.because(
            "a device in public-key mode has its key pair from elsewhere: it needs the server's public key, and no bundle",
        ));
    }
    let fetched = "SELECT hash FROM invitations WHERE device = $1 AND used IS NOT NULL LIMIT 1";
    let fetched = intent.tx.query_opt(fetched, &[Value::from(id.as_bytes())]).await?.is_some();
    if device.status != Status::Enrolled || fetched {
        return Err(RefusalKind::Conflict.because(
            "this device has begun already: one that began anew with the same key would take old commands for new ones. Withdraw it, and add it under another name",
        ));
    }
    let sql = "DELETE FROM invitations WHERE device = $1 AND used IS NULL";
    intent.tx.execute(sql, &[Value::from(id.as_bytes())]).await?;
    let invitation = invite(&mut intent, BUNDLE, Some(id), "{}", lasts).await?;
    intent.audit("make bundle", &device.subject(), &json!({ "expires": invitation.expires })).await?;
    Ok((intent, invitation))
}

async fn invite_device(mut intent: Intent, device: &ToRegister, lasts: Option<i64>) -> Attempted<Invitation> {
    Labels::new(device.labels.clone()).map_err(|error| RefusalKind::Invalid.because(error.to_string()))?;
    for name in &device.groups {
        find::group(&mut intent, name).await?.must_be_listed()?;
    }
    let detail = serde_json::to_string(device).map_err(|_| Refusal::damaged("an invitation cannot be written"))?;
    let invitation = invite(&mut intent, REGISTER, None, &detail, lasts).await?;
    let audit = json!({ "device": device, "expires": invitation.expires });
    intent.audit("invite device", device.name.as_deref().unwrap_or("any"), &audit).await?;
    Ok((intent, invitation))
}

async fn invite(
    intent: &mut Intent,
    kind: &str,
    device: Option<&ClientId>,
    detail: &str,
    lasts: Option<i64>,
) -> Result<Invitation, Refusal> {
    let lasts = lasts.unwrap_or(intent.fleet.policy().invitation);
    if !(1..=LONGEST).contains(&lasts) {
        return Err(RefusalKind::Invalid.because("an invitation works for 1 second to 366 days"));
    }
    let expires = intent.now.saturating_add(lasts);
    let (secret, hash) = new_secret(&intent.fleet, PREFIX)?;
    let values = [
        Value::from(hash),
        Value::from(kind),
        Value::from(device.map(|id| *id.as_bytes())),
        Value::from(detail),
        Value::from(intent.now),
        Value::from(expires),
    ];
    let sql = "INSERT INTO invitations (hash, kind, device, detail, created, expires) VALUES ($1, $2, $3, $4, $5, $6)";
    intent.tx.execute(sql, &values).await?;
    Ok(Invitation { secret: Some(secret), expires })
}

/// Uses a token up: what it is for.
async fn redeem(intent: &mut Intent, token: &str, kind: &str) -> Result<Option<(Option<ClientId>, String)>, Refusal> {
    let sql = "UPDATE invitations SET used = $1 WHERE hash = $2 AND kind = $3 AND used IS NULL AND expires > $1
               RETURNING device, detail";
    let values = [Value::from(intent.now), Value::from(hash(token)), Value::from(kind)];
    let Some(row) = intent.tx.query_opt(sql, &values).await? else { return Ok(None) };
    let device = row.opt_bytes(0)?.map(find::id_of).transpose()?;
    Ok(Some((device, row.text(1)?.to_owned())))
}

async fn bundle(intent: &mut Intent, id: &ClientId) -> Result<Bundle, Refusal> {
    let sql = "SELECT name, key_version, secret FROM devices WHERE id = $1";
    let row = intent.tx.query_opt(sql, &[Value::from(id.as_bytes())]).await?;
    let row = row.ok_or_else(|| RefusalKind::NotFound.because(format!("there is no device {id}")))?;
    let place = Place::device_key(id.as_bytes(), u64::from(row.version(1)?));
    let bytes = intent.fleet.vault().open_key(place, row.bytes(2)?)?;
    let key = ClientKey::from_bytes(&bytes).map_err(|error| Refusal::damaged(error.to_string()))?;
    let name = row.opt_text(0)?.map(str::to_owned);
    let mut text = Zeroizing::new(String::with_capacity(512));
    text.push_str(&format!("id={id}\n"));
    if let Some(name) = &name {
        text.push_str(&format!("name={name}\n"));
    }
    text.push_str("mode=symmetric\nkey=");
    let mut digits = Zeroizing::new([0; 64]);
    hex::encode_to_slice(bytes.as_slice(), &mut *digits).map_err(|_| Refusal::damaged("a key has not 32 bytes"))?;
    text.push_str(std::str::from_utf8(&*digits).map_err(|_| Refusal::damaged("a key cannot be written"))?);
    text.push('\n');
    Ok(Bundle { id: *id, name, state: state(*id, key)?, text })
}

/// The state of a client that was never used.
fn state(id: ClientId, key: ClientKey) -> Result<Zeroizing<Vec<u8>>, Refusal> {
    let damaged = |error: String| Refusal::damaged(format!("the state of device {id} cannot be made: {error}"));
    let mut kept = Kept::default();
    Client::builder(Identity::symmetric(id, key))
        .first_start()
        .create_with(&mut kept, e4::SystemClock)
        .map(drop)
        .map_err(|error| damaged(error.to_string()))?;
    kept.0
        .as_bytes()
        .map(|bytes| Zeroizing::new(bytes.to_vec()))
        .ok_or_else(|| damaged("nothing was stored".to_owned()))
}

/// Where the state of the client is taken from that was just made.
#[derive(Default)]
struct Kept(MemoryStore);

impl e4::Store for &mut Kept {
    fn load(&mut self, read: &mut dyn FnMut(&[u8])) -> Result<(), e4::StoreError> {
        self.0.load(read)
    }

    fn save(&mut self, state: &e4::Snapshot<'_>) -> Result<(), e4::StoreError> {
        self.0.save(state)
    }
}
