//! What goes out: for the devices that are due, what is to be done next is planned, sealed and stored, and only then given out.

use super::{
    Answer, Fleet, Handed, Held, Publication, Refusal, RefusalKind, Round,
    keyring::Keyring,
    row::{self, DeviceRow, Sent, Under},
    wanted::{Context, topic_of},
};
use crate::{
    model::{Leases, Status},
    plan::{Batch, Next, Outstanding, Plan, Standing, Step, next, pacing},
    store::{Value, leases::still_held},
    vault::Generator,
};
use e4::{
    ClientId, Timestamp,
    controller::{LaneError, Recipient, SealCommandsError},
};
use rand_core::Rng;

/// A device that was silent for longer than this gets one batch, and the rest when it reports: what waits for it in the broker may
/// be lost, and is in the way of others.
const AWAY: i64 = 600;

/// How often a withdrawn device is asked to forget its keys.
const COURTESIES: u32 = 6;

/// When a device is looked at again for which nothing could be planned.
const AFTER_FAULT: i64 = 3_600;

impl Fleet {
    /// What is due for at most so many devices of these slices: planned, sealed and stored, to be published now.
    ///
    /// # Errors
    ///
    /// [`RefusalKind::Held`] while the server holds; the database.
    pub async fn round(&self, leases: &Leases, most: usize) -> Result<Round, Refusal> {
        self.store().retry(|| self.round_once(leases, most)).await
    }

    async fn round_once(&self, leases: &Leases, most: usize) -> Result<Round, Refusal> {
        let mut tx = self.store().write().await?;
        if let Some(held) = Held::read(&mut tx).await? {
            return Err(RefusalKind::Held.because(held.reason));
        }
        let held = still_held(&mut tx, leases).await?;
        let slices = held.0.keys().map(|slice| slice.code());
        let now = self.now();
        let sql = format!(
            "{} WHERE due <= $1 AND slice = ANY($2) AND secret IS NOT NULL ORDER BY due, id LIMIT $3 FOR UPDATE SKIP LOCKED",
            row::SELECT
        );
        let most = Value::from(i64::try_from(most).unwrap_or(i64::MAX));
        let rows = tx.query(&sql, &[Value::from(now), Value::list(slices), most]).await?;
        let count = rows.len();
        let (mut devices, mut damaged) = (Vec::with_capacity(count), Vec::new());
        for row in &rows {
            match DeviceRow::of(row) {
                Ok(device) => devices.push(device),
                Err(refusal) => {
                    tracing::error!(%refusal, "a device is not sent to");
                    damaged.push(vec![Value::from(now + AFTER_FAULT), Value::from(row.bytes(0)?)]);
                }
            }
        }
        drop(rows);
        tx.execute_each("UPDATE devices SET due = $1 WHERE id = $2", damaged).await?;
        if devices.is_empty() {
            tx.commit().await?;
            return Ok(Round { publications: Vec::new(), devices: count });
        }
        let mut outboxes = Sent::of(&mut tx, &devices).await?;
        let mut context = Context::load(self, &mut tx, &devices, &outboxes).await?;
        let mut work =
            Work { fleet: self, rng: self.vault().generator()?, publications: vec![], emptied: vec![], added: vec![] };
        for device in &mut devices {
            let outbox = outboxes.remove(&device.id).unwrap_or_default();
            if let Err(refusal) = work.plan(&mut context, device, outbox) {
                tracing::error!(device = %device.id, %refusal, "a device is not sent to");
                device.due = Some(now + AFTER_FAULT);
            }
        }
        let Work { publications, emptied, added, .. } = work;
        Sent::delete(&mut tx, &emptied).await?;
        Sent::insert(&mut tx, added).await?;
        DeviceRow::save(&mut tx, &devices).await?;
        tx.commit().await?;
        Ok(Round { publications, devices: count })
    }

    /// Writes down what the broker said of what it was handed.
    ///
    /// # Errors
    ///
    /// The database.
    pub async fn handed(&self, answers: Vec<Handed>) -> Result<(), Refusal> {
        let now = Value::from(self.now());
        let row = |it: &Handed| {
            let answer = match &it.answer {
                Answer::NotTaken(reason) => format!("{}: {reason}", it.answer.word()),
                other => other.word().to_owned(),
            };
            vec![now.clone(), Value::from(answer), Value::from(it.device.as_bytes()), Value::from(it.position)]
        };
        let rows: Vec<_> = answers.iter().map(row).collect();
        self.store()
            .retry(|| async {
                let mut tx = self.store().write().await?;
                let sql = "UPDATE outbox SET handed = $1, answer = $2 WHERE device = $3 AND position = $4";
                tx.execute_each(sql, rows.clone()).await?;
                tx.commit().await?;
                Ok(())
            })
            .await
    }
}

/// What a round comes to.
struct Work<'a> {
    fleet: &'a Fleet,
    rng: Generator,
    publications: Vec<Publication>,
    emptied: Vec<ClientId>,
    added: Vec<(ClientId, Sent)>,
}

impl Work<'_> {
    fn plan(&mut self, context: &mut Context, device: &mut DeviceRow, outbox: Vec<Sent>) -> Result<(), Refusal> {
        let now = context.now;
        if device.standing == Standing::Ahead {
            // Until somebody says that this server is the one that goes on.
            device.due = None;
            return Ok(());
        }
        let is_withdrawn = device.status == Status::Withdrawn;
        if is_withdrawn && device.attempts >= COURTESIES {
            forget_withdrawn(device);
            self.emptied.push(device.id);
            return Ok(());
        }
        let (wanted, later) = context.wanted(device);
        let features = device.features();
        let outstanding: Vec<_> = outbox.iter().map(Sent::outstanding).collect();
        if is_withdrawn && outbox.is_empty() {
            // Whatever it holds: all is taken away.
            device.known.states.clear();
        }
        let mut next = next(&device.known, &outstanding, &wanted, &features, device.attempts);
        if let Next::Series(plan) = &mut next {
            let is_away = device.reported.is_some_and(|reported| now - reported > AWAY);
            if is_away {
                plan.batches.truncate(1);
            } else if !features.reports && plan.batches.len() > Plan::SERIES {
                // More than its lane gives out at once: each time it goes on where it ended.
                let done = usize::try_from(device.attempts).unwrap_or(0) * Plan::SERIES;
                let len = plan.batches.len();
                plan.batches.rotate_left(done % len);
                plan.batches.truncate(Plan::SERIES);
            }
        }
        let batches = match &next {
            Next::Nothing { left_out } => {
                device.due = later;
                if *left_out > 0 {
                    device.stands(Standing::NoRoom, now);
                } else if features.reports {
                    device.stands(Standing::Confirmed, now);
                    device.confirmed = device.reported;
                }
                return Ok(());
            }
            Next::Repeat => vec![],
            Next::Ask(batches) => batches.clone(),
            Next::Series(plan) => plan.batches.clone(),
        };
        let (sealed, wait) = self.seal(context, device, &outstanding, &batches)?;
        if sealed.is_empty()
            && let Some(wait) = wait
        {
            device.due = Some(now + wait);
            return Ok(());
        }
        device.known.send(&next, &outstanding, &features, row::unsigned(now));
        if sealed.iter().any(|sent| topic_of(&sent.step).is_some()) {
            device.keyed = Some(now);
        }
        let first_sent = outbox.first().or(sealed.first()).map_or(now, |sent| row::signed(sent.sent.as_unix()));
        match next {
            Next::Repeat => {
                device.attempts += 1;
                for sent in outbox.into_iter().filter(|sent| sent.step.is_repeatable()) {
                    self.publish(device.id, sent.position, sent.bytes);
                }
            }
            Next::Ask(_) => {
                device.attempts += 1;
                let kept = outbox.into_iter().filter(|sent| !matches!(sent.step, Step::Question { .. }));
                self.replace(device.id, kept.collect(), sealed);
            }
            Next::Series(_) | Next::Nothing { .. } => {
                let is_same = outbox.iter().map(|sent| sent.step).eq(sealed.iter().map(|sent| sent.step));
                device.attempts = if is_same || features.reports { device.attempts + 1 } else { 1 };
                self.replace(device.id, Vec::new(), sealed);
            }
        }
        let jitter = self.rng.next_u32();
        let pause = if features.reports { pacing::again } else { pacing::anew };
        let again = now + pause(device.attempts, jitter);
        device.due = Some(later.map_or(again, |later| later.min(again)));
        let standing = standing_of(context, device, first_sent);
        device.stands(standing, now);
        Ok(())
    }

    fn publish(&mut self, device: ClientId, position: i64, bytes: Option<Vec<u8>>) {
        self.publications.extend(bytes.map(|bytes| Publication { device, position, bytes }));
    }

    /// An outbox from now on; what is new in it goes out.
    fn replace(&mut self, device: ClientId, kept: Vec<Sent>, new: Vec<Sent>) {
        self.emptied.push(device);
        self.added.extend(kept.into_iter().map(|sent| (device, sent)));
        for sent in new {
            self.publish(device, sent.position, sent.bytes.clone());
            self.added.push((device, sent));
        }
    }

    /// Seals batches until the lane has no more time, and then says how long to wait.
    fn seal(
        &mut self,
        context: &Context,
        device: &mut DeviceRow,
        outbox: &[Outstanding],
        batches: &[Batch],
    ) -> Result<(Vec<Sent>, Option<i64>), Refusal> {
        let (mut sealed, mut wait) = (Vec::new(), None);
        if batches.is_empty() {
            return Ok((sealed, wait));
        }
        let keys = Keyring::of(self.fleet, context, device)?;
        let own = self.recipient(context, device, Under::Own)?;
        let now = Timestamp::from_unix(row::unsigned(context.now));
        let mut lane = device.lane;
        // What the device said is not stored with the lane.
        lane.observe(device.last_report.newest());
        for batch in batches {
            let commands: Result<Vec<_>, _> =
                batch.steps().iter().map(|step| step.command(&keys, now, &mut self.rng)).collect();
            let commands = commands.map_err(|error| Refusal::damaged(error.to_string()))?;
            let is_new_key = matches!(batch.steps(), [Step::Question { new_key: true }]);
            let done = if is_new_key {
                self.recipient(context, device, under(outbox))?.seal(&commands, &mut lane, now)
            } else {
                own.seal(&commands, &mut lane, now)
            };
            match done {
                Ok(commands) => {
                    for ((it, step), at) in commands.iter().zip(batch.steps()).zip(0_i64..) {
                        // A second of the lane is that of one batch.
                        let position = row::signed(it.sent().as_unix()).saturating_mul(16).saturating_add(at);
                        let bytes = Some(it.as_bytes().to_vec());
                        sealed.push(Sent { position, sent: it.sent(), v: *it.v(), bytes, step: *step });
                    }
                }
                Err(SealCommandsError::Lane(LaneError::Ahead { until, .. })) => {
                    wait = Some(pacing::until_lane(until, now));
                    break;
                }
                Err(error) => return Err(Refusal::damaged(error.to_string())),
            }
        }
        device.lane = lane;
        Ok((sealed, wait))
    }

    fn recipient(&self, context: &Context, device: &DeviceRow, under: Under) -> Result<Recipient, Refusal> {
        let found = device.recipient(self.fleet, &context.pairs, under)?;
        found.ok_or_else(|| Refusal::damaged(format!("a key of device {} is gone", device.id)))
    }
}

/// Under which key a device is after what is in its outbox.
fn under(outbox: &[Outstanding]) -> Under {
    let moves_to_server = outbox.iter().any(|sent| matches!(sent.step, Step::SetServerKey { .. }));
    if moves_to_server { Under::NextServerKey } else { Under::NextClientKey }
}

/// Where a device stands that was just sent something, the first of it a while ago.
fn standing_of(context: &Context, device: &DeviceRow, first_sent: i64) -> Standing {
    let Some(reported) = device.reported else { return Standing::Unconfirmed };
    if let Some(trouble) = device.known.trouble {
        return trouble;
    }
    if device.known.states.is_empty() && device.status != Status::Withdrawn {
        return Standing::Unknown;
    }
    if device.attempts <= 1 {
        return Standing::UnderWay;
    }
    let limits = context.limits(&device.id);
    let unanswered = context.now - reported.max(first_sent);
    // One that was idle for long has not been silent for long: nobody asked.
    let silent = if unanswered < limits.late { unanswered } else { context.now - reported };
    Standing::of_silence(silent, &limits)
}

/// A withdrawn device is sent nothing any more, so nobody needs its key.
pub(super) fn forget_withdrawn(device: &mut DeviceRow) {
    (device.secret, device.next_secret, device.next_since) = (None, None, None);
    (device.next_public_key, device.next_server_key) = (None, None);
    device.due = None;
}
