//! The row of a device, as rounds and reports work on it: locked, changed, and stored again.

use super::{Fleet, Refusal, Said, find::id_of, server_key::Pair};
use crate::{
    model::{Mode, Status},
    plan::{Features, Known, Outstanding, Standing, Step},
    store::{Row, Transaction, Value},
    vault::Place,
};
use e4::{
    ClientId, ClientKey, ControlKey, SigningKey, Timestamp, VerifyingKey,
    controller::{Lane, LastReport, Recipient},
};
use std::collections::HashMap;

/// A device.
pub(super) struct DeviceRow {
    pub(super) id: ClientId,
    pub(super) mode: Mode,
    pub(super) status: Status,
    pub(super) key_version: u32,
    pub(super) secret: Option<Vec<u8>>,
    pub(super) public_key: Option<[u8; 32]>,
    pub(super) server_key: Option<u32>,
    pub(super) next_secret: Option<Vec<u8>>,
    pub(super) next_public_key: Option<[u8; 32]>,
    pub(super) next_server_key: Option<u32>,
    pub(super) next_since: Option<i64>,
    pub(super) client_key_since: i64,
    pub(super) keyed: Option<i64>,
    pub(super) lane: Lane,
    pub(super) last_report: LastReport,
    pub(super) reported: Option<i64>,
    pub(super) said: Option<Said>,
    pub(super) known: Known,
    pub(super) standing: Standing,
    pub(super) standing_since: i64,
    pub(super) confirmed: Option<i64>,
    pub(super) due: Option<i64>,
    pub(super) attempts: u32,
}

/// To be followed by a condition, and by `FOR UPDATE`.
pub(super) const SELECT: &str = "SELECT id, mode, status, key_version, secret, public_key, server_key, next_secret,
    next_public_key, next_server_key, next_since, client_key_since, keyed, lane_last, lane_used, report_newest, report_sent,
    reported, report, held, standing, standing_since, confirmed, due, attempts FROM devices";

const UPDATE: &str = "UPDATE devices SET status = $2, key_version = $3, secret = $4, public_key = $5, server_key = $6,
    next_secret = $7, next_public_key = $8, next_server_key = $9, next_since = $10, client_key_since = $11, keyed = $12,
    lane_last = $13, lane_used = $14, report_newest = $15, report_sent = $16, reported = $17, report = $18, held = $19,
    standing = $20, standing_since = $21, confirmed = $22, due = $23, attempts = $24 WHERE id = $1";

/// Under which key something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Under {
    /// The one that the device has.
    Own,
    /// The key of its own that it is being moved to.
    NextClientKey,
    /// What is agreed with the server's key that it is being moved to.
    NextServerKey,
}

impl DeviceRow {
    pub(super) fn of(row: &Row) -> Result<Self, Refusal> {
        let id = id_of(row.bytes(0)?)?;
        let damaged = |what: &str| Refusal::damaged(format!("{what} of device {id} cannot be read"));
        let public_key = |column| -> Result<Option<[u8; 32]>, Refusal> {
            Ok(row.opt_bytes(column)?.map(|_| row.array(column)).transpose()?)
        };
        let version = |column| -> Result<Option<u32>, Refusal> {
            Ok(row.opt_int(column)?.map(|_| row.version(column)).transpose()?)
        };
        let second = |column| -> Result<Timestamp, Refusal> { Ok(Timestamp::from_unix(unsigned(row.int(column)?))) };
        let last_report = LastReport::resume(second(15)?, second(16)?);
        let used = u8::try_from(row.int(14)?).map_err(|_| damaged("the lane"))?;
        let known = match row.opt_text(19)? {
            Some(text) => serde_json::from_str(text).map_err(|_| damaged("what is known"))?,
            None => Known::default(),
        };
        Ok(Self {
            id,
            mode: Mode::from_code(row.int(1)?).ok_or_else(|| damaged("the mode"))?,
            status: Status::from_code(row.int(2)?).ok_or_else(|| damaged("the status"))?,
            key_version: row.version(3)?,
            secret: row.opt_bytes(4)?.map(<[u8]>::to_vec),
            public_key: public_key(5)?,
            server_key: version(6)?,
            next_secret: row.opt_bytes(7)?.map(<[u8]>::to_vec),
            next_public_key: public_key(8)?,
            next_server_key: version(9)?,
            next_since: row.opt_int(10)?,
            client_key_since: row.int(11)?,
            keyed: row.opt_int(12)?,
            lane: Lane::resume(second(13)?, used),
            last_report,
            reported: row.opt_int(17)?,
            said: row.opt_text(18)?.map(serde_json::from_str).transpose().map_err(|_| damaged("the report"))?,
            known,
            standing: Standing::from_word(row.text(20)?).ok_or_else(|| damaged("the standing"))?,
            standing_since: row.int(21)?,
            confirmed: row.opt_int(22)?,
            due: row.opt_int(23)?,
            attempts: u32::try_from(row.int(24)?).map_err(|_| damaged("the number of attempts"))?,
        })
    }

    /// Stores them.
    pub(super) async fn save(tx: &mut Transaction, devices: &[Self]) -> Result<(), Refusal> {
        let rows: Result<Vec<_>, _> = devices.iter().map(Self::values).collect();
        tx.execute_each(UPDATE, rows?).await?;
        Ok(())
    }

    fn values(&self) -> Result<Vec<Value>, Refusal> {
        let text = |text: serde_json::Result<String>| text.map_err(|_| Refusal::damaged("a device cannot be written"));
        let said = self.said.as_ref().map(|said| text(serde_json::to_string(said))).transpose()?;
        Ok(vec![
            Value::from(self.id.as_bytes()),
            Value::from(self.status.code()),
            Value::from(self.key_version),
            Value::from(self.secret.clone()),
            Value::from(self.public_key),
            Value::from(self.server_key),
            Value::from(self.next_secret.clone()),
            Value::from(self.next_public_key),
            Value::from(self.next_server_key),
            Value::from(self.next_since),
            Value::from(self.client_key_since),
            Value::from(self.keyed),
            Value::from(signed(self.lane.last().as_unix())),
            Value::from(i64::from(self.lane.used())),
            Value::from(signed(self.last_report.newest().as_unix())),
            Value::from(signed(self.last_report.sent().as_unix())),
            Value::from(self.reported),
            Value::from(said),
            Value::from(text(serde_json::to_string(&self.known))?),
            Value::from(self.standing.word()),
            Value::from(self.standing_since),
            Value::from(self.confirmed),
            Value::from(self.due),
            Value::from(self.attempts),
        ])
    }

    pub(super) fn features(&self) -> Features {
        let knows_next_keys = self.said.as_ref().is_some_and(|said| said.knows_next_keys);
        Features { mode: self.mode, reports: self.reported.is_some(), knows_next_keys }
    }

    /// Where it stands from now on.
    pub(super) fn stands(&mut self, standing: Standing, now: i64) {
        if self.standing != standing {
            (self.standing, self.standing_since) = (standing, now);
        }
    }

    /// Not later than this.
    pub(super) fn due_by(&mut self, at: i64) {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    /// Who it is under a key; `None` if it has none like that.
    pub(super) fn recipient(&self, fleet: &Fleet, pairs: &[Pair], under: Under) -> Result<Option<Recipient>, Refusal> {
        let agreed = |server_key: Option<u32>, public_key: Option<[u8; 32]>| {
            let (Some(version), Some(public_key)) = (server_key, public_key) else { return Ok(None) };
            let pair = pairs.iter().find(|pair| pair.version == version);
            let pair = pair.ok_or_else(|| {
                Refusal::damaged(format!(
                    "the secret half of server key {version} is gone, which device {} needs",
                    self.id
                ))
            })?;
            let signer = VerifyingKey::from_bytes(&public_key).map_err(|error| self.bad_key(&error))?;
            Recipient::public_key(self.id, &pair.secret, &signer).map(Some).map_err(|error| self.bad_key(&error))
        };
        match under {
            Under::Own => {
                let Some(sealed) = &self.secret else { return Ok(None) };
                let place = Place::device_key(self.id.as_bytes(), u64::from(self.key_version));
                let key = fleet.vault().open_key(place, sealed)?;
                Ok(Some(match self.mode {
                    Mode::PublicKey => Recipient::with_control_key(
                        self.id,
                        &ControlKey::from_bytes(&key).map_err(|error| self.bad_key(&error))?,
                    ),
                    Mode::Symmetric => Recipient::symmetric(
                        self.id,
                        &ClientKey::from_bytes(&key).map_err(|error| self.bad_key(&error))?,
                    ),
                }))
            }
            Under::NextClientKey if self.mode == Mode::PublicKey => agreed(self.server_key, self.next_public_key),
            Under::NextClientKey => match &self.next_secret {
                Some(sealed) => {
                    let key = fleet.vault().open_key(self.next_place(), sealed)?;
                    let key = ClientKey::from_bytes(&key).map_err(|error| self.bad_key(&error))?;
                    Ok(Some(Recipient::symmetric(self.id, &key)))
                }
                None => Ok(None),
            },
            Under::NextServerKey => agreed(self.next_server_key, self.public_key),
        }
    }

    /// The pair that a device in public-key mode is being moved to.
    pub(super) fn next_signing_key(&self, fleet: &Fleet) -> Result<Option<SigningKey>, Refusal> {
        let Some(sealed) = self.next_secret.as_ref().filter(|_| self.mode == Mode::PublicKey) else { return Ok(None) };
        let seed = fleet.vault().open_key(self.next_place(), sealed)?;
        SigningKey::from_seed(&seed).map(Some).map_err(|error| self.bad_key(&error))
    }

    /// The key that a symmetric device is being moved to.
    pub(super) fn next_client_key(&self, fleet: &Fleet) -> Result<Option<ClientKey>, Refusal> {
        let Some(sealed) = self.next_secret.as_ref().filter(|_| self.mode == Mode::Symmetric) else { return Ok(None) };
        let key = fleet.vault().open_key(self.next_place(), sealed)?;
        ClientKey::from_bytes(&key).map(Some).map_err(|error| self.bad_key(&error))
    }

    /// It has moved: what it had before is erased.
    pub(super) fn has_moved(&mut self, fleet: &Fleet, to: &Recipient, under: Under, now: i64) -> Result<(), Refusal> {
        match under {
            Under::Own => return Ok(()),
            Under::NextClientKey => {
                let key = match self.mode {
                    Mode::Symmetric => self.next_client_key(fleet)?.map(|key| zeroize::Zeroizing::new(*key.as_bytes())),
                    Mode::PublicKey => to.control_key().map(|key| zeroize::Zeroizing::new(*key.as_bytes())),
                };
                let Some(key) = key else { return Ok(()) };
                self.key_version += 1;
                self.seal_secret(fleet, &key)?;
                self.public_key = self.next_public_key.take().or(self.public_key);
                (self.next_secret, self.next_since) = (None, None);
                (self.client_key_since, self.keyed) = (now, None);
            }
            Under::NextServerKey => {
                let Some(key) = to.control_key() else { return Ok(()) };
                self.seal_secret(fleet, key.as_bytes())?;
                self.server_key = self.next_server_key.take();
            }
        }
        Ok(())
    }

    fn seal_secret(&mut self, fleet: &Fleet, key: &[u8; 32]) -> Result<(), Refusal> {
        let place = Place::device_key(self.id.as_bytes(), u64::from(self.key_version));
        self.secret = Some(fleet.vault().seal(place, key)?);
        Ok(())
    }

    fn next_place(&self) -> Place<'_> {
        Place::next_device_key(self.id.as_bytes(), u64::from(self.key_version) + 1)
    }

    fn bad_key(&self, error: &e4::KeyError) -> Refusal {
        Refusal::damaged(format!("a key of device {} is none: {error}", self.id))
    }
}

/// A command in the outbox.
pub(super) struct Sent {
    pub(super) position: i64,
    pub(super) sent: Timestamp,
    pub(super) v: [u8; 16],
    pub(super) bytes: Option<Vec<u8>>,
    pub(super) step: Step,
}

impl Sent {
    /// As the planner sees it.
    pub(super) fn outstanding(&self) -> Outstanding {
        let repeatable = self.step.is_repeatable() && self.bytes.is_some();
        Outstanding { step: self.step, sent: self.sent, v: self.v, repeatable }
    }

    /// Those of these devices, in the order of their lanes.
    pub(super) async fn of(
        tx: &mut Transaction,
        devices: &[DeviceRow],
    ) -> Result<HashMap<ClientId, Vec<Self>>, Refusal> {
        let ids = Value::list(devices.iter().map(|device| device.id.as_bytes()));
        let sql = "SELECT device, position, sent, v, bytes, step FROM outbox WHERE device = ANY($1) ORDER BY device, position";
        let mut found: HashMap<_, Vec<_>> = HashMap::new();
        for row in tx.query(sql, &[ids]).await? {
            let id = id_of(row.bytes(0)?)?;
            let step = serde_json::from_str(row.text(5)?)
                .map_err(|_| Refusal::damaged(format!("a step in the outbox of device {id} cannot be read")))?;
            found.entry(id).or_default().push(Self {
                position: row.int(1)?,
                sent: Timestamp::from_unix(unsigned(row.int(2)?)),
                v: row.array(3)?,
                bytes: row.opt_bytes(4)?.map(<[u8]>::to_vec),
                step,
            });
        }
        Ok(found)
    }

    pub(super) async fn insert(tx: &mut Transaction, sent: Vec<(ClientId, Self)>) -> Result<(), Refusal> {
        let rows: Result<Vec<_>, Refusal> = sent
            .into_iter()
            .map(|(device, sent)| {
                let step =
                    serde_json::to_string(&sent.step).map_err(|_| Refusal::damaged("a step cannot be written"))?;
                Ok(vec![
                    Value::from(device.as_bytes()),
                    Value::from(sent.position),
                    Value::from(signed(sent.sent.as_unix())),
                    Value::from(sent.v),
                    Value::from(sent.bytes),
                    Value::from(step),
                ])
            })
            .collect();
        let sql = "INSERT INTO outbox (device, position, sent, v, bytes, step) VALUES ($1, $2, $3, $4, $5, $6)";
        tx.execute_each(sql, rows?).await?;
        Ok(())
    }

    /// Empties these outboxes.
    pub(super) async fn delete(tx: &mut Transaction, devices: &[ClientId]) -> Result<(), Refusal> {
        if !devices.is_empty() {
            let ids = Value::list(devices.iter().map(ClientId::as_bytes));
            tx.execute("DELETE FROM outbox WHERE device = ANY($1)", &[ids]).await?;
        }
        Ok(())
    }
}

/// Seconds, as they are stored: what does not fit is no time that a lane gives out.
pub(super) fn signed(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

/// Seconds, as the protocol has them.
pub(super) fn unsigned(seconds: i64) -> u64 {
    u64::try_from(seconds).unwrap_or(0)
}
