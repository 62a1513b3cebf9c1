//! What was heard: reports are opened, put into their order and judged, and say what a device holds.

use super::{
    Actor, Arrived, Fleet, Held, Refusal, Said,
    members::DUE,
    round::forget_withdrawn,
    row::{self, DeviceRow, Sent, Under},
    wanted::Context,
};
use crate::{
    model::{Mode, Status},
    plan::{Heard, Outstanding, Standing, Verdict, judge, pacing, wants_time},
    store::{Transaction, Value},
};
use e4::{
    ClientId, Timestamp,
    controller::{Recipient, Report, ReportError},
};
use std::collections::BTreeMap;

/// What came of a batch of reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Judged {
    /// Reports that opened and are in their order.
    pub accepted: usize,
    /// Of these, reports of a device that holds what it should.
    pub confirmed: usize,
    /// Reports that are older than the last one of their device: played back, or of a disk that was put back.
    pub older: usize,
    /// What is no report of the device on whose topic it arrived.
    pub garbage: usize,
    /// What arrived on the report topic of no device that there is.
    pub unknown: usize,
    /// Whether there may be something to send now.
    pub due: bool,
}

impl Fleet {
    /// Judges what arrived, and keeps what it says. A damaged row is an error for all of them.
    ///
    /// # Errors
    ///
    /// The database, or what is damaged in it.
    pub async fn hear(&self, arrived: Vec<Arrived>) -> Result<Judged, Refusal> {
        let mut by_device: BTreeMap<ClientId, Vec<&Arrived>> = BTreeMap::new();
        for report in &arrived {
            by_device.entry(report.device).or_default().push(report);
        }
        let (judged, news) = self.store().retry(|| self.hear_once(&by_device)).await?;
        for (device, text) in news {
            self.tell("device", device, text);
        }
        Ok(judged)
    }

    async fn hear_once(&self, arrived: &BTreeMap<ClientId, Vec<&Arrived>>) -> Result<(Judged, News), Refusal> {
        let mut tx = self.store().write().await?;
        // In the order of ids, as all do who lock many.
        let ids = Value::list(arrived.keys().map(ClientId::as_bytes));
        let sql = format!("{} WHERE id = ANY($1) AND secret IS NOT NULL ORDER BY id FOR UPDATE", row::SELECT);
        let rows = tx.query(&sql, &[ids]).await?;
        let devices: Result<Vec<_>, _> = rows.iter().map(DeviceRow::of).collect();
        let mut devices = devices?;
        drop(rows);
        let mut outboxes = Sent::of(&mut tx, &devices).await?;
        let mut context = Context::load(self, &mut tx, &devices, &outboxes).await?;
        let mut ear = Ear { fleet: self, judged: Judged::default(), news: vec![], emptied: vec![], new_peers: vec![] };
        let found: usize = devices.iter().filter_map(|device| arrived.get(&device.id)).map(Vec::len).sum();
        ear.judged.unknown = arrived.values().map(Vec::len).sum::<usize>() - found;
        for device in &mut devices {
            let outbox = outboxes.remove(&device.id).unwrap_or_default();
            let mut outstanding: Vec<_> = outbox.iter().map(Sent::outstanding).collect();
            for report in arrived.get(&device.id).into_iter().flatten() {
                ear.hear(&mut context, device, &mut outstanding, report)?;
            }
        }
        let Ear { mut judged, news, emptied, new_peers, .. } = ear;
        Sent::delete(&mut tx, &emptied).await?;
        DeviceRow::save(&mut tx, &devices).await?;
        readers_are_due(&mut tx, &new_peers, context.now).await?;
        judged.due =
            devices.iter().any(|device| device.due.is_some_and(|due| due <= context.now)) || !new_peers.is_empty();
        tx.commit().await?;
        if devices.iter().any(|device| device.standing == Standing::Ahead) {
            self.hold_if_many_are_ahead().await?;
        }
        Ok((judged, news))
    }

    /// More than a few devices that took what this server did not send: it goes on from an old database, or is not the only one.
    async fn hold_if_many_are_ahead(&self) -> Result<(), Refusal> {
        let mut tx = self.store().read().await?;
        if Held::read(&mut tx).await?.is_some() {
            return Ok(());
        }
        let sql = "SELECT COUNT(*) FROM devices WHERE standing = $1";
        let count = tx.query_opt(sql, &[Value::from(Standing::Ahead.word())]).await?.map_or(Ok(0), |row| row.int(0))?;
        drop(tx);
        if count > self.policy().most_ahead {
            let reason = format!(
                "{count} devices took commands that this server did not send: stop the other server, or release this one if its database was restored"
            );
            self.hold(&Actor::rule("devices ahead"), &reason).await?;
        }
        Ok(())
    }
}

/// What to tell of devices.
type News = Vec<(ClientId, String)>;

struct Ear<'a> {
    fleet: &'a Fleet,
    judged: Judged,
    news: News,
    emptied: Vec<ClientId>,
    /// Devices whose public key is another now.
    new_peers: Vec<ClientId>,
}

impl Ear<'_> {
    fn hear(
        &mut self,
        context: &mut Context,
        device: &mut DeviceRow,
        outbox: &mut Vec<Outstanding>,
        arrived: &Arrived,
    ) -> Result<(), Refusal> {
        let now = context.now;
        let (report, under, recipient) = match self.open(context, device, &arrived.bytes)? {
            Ok(opened) => opened,
            Err(standing) => {
                self.judged.garbage += 1;
                // Anybody can write there: it says nothing of a device that is as it should be.
                if device.standing != Standing::Confirmed {
                    self.stands(device, standing, now);
                }
                return Ok(());
            }
        };
        let last = device.reported;
        let is_lapsed = last.is_some_and(|last| now - last >= context.limits(&device.id).lapsed);
        if is_lapsed && !self.fleet.policy().lapsed_come_back {
            device.due = None;
            self.stands(device, Standing::Lapsed, now);
            return Ok(());
        }
        let mut order = device.last_report;
        if order.accept(&report).is_err() {
            self.judged.older += 1;
            let at = device.known.ask(row::unsigned(now));
            device.due_by(row::signed(at));
            self.news.push((device.id, "a report is older than the last one: the device is asked".to_owned()));
            return Ok(());
        }
        self.judged.accepted += 1;
        device.last_report = order;
        device.reported = Some(now);
        device.said = Some(Said::from(&report));
        if device.status == Status::Enrolled {
            device.status = Status::Active;
        }
        if under != Under::Own {
            device.has_moved(self.fleet, &recipient, under, now)?;
            self.news.push((device.id, "it has its new key, and the one before is erased".to_owned()));
            if under == Under::NextClientKey && device.mode == Mode::PublicKey {
                self.new_peers.push(device.id);
            }
        }
        self.judge(context, device, outbox, &report, (under != Under::Own, !arrived.retained));
        Ok(())
    }

    fn judge(
        &mut self,
        context: &mut Context,
        device: &mut DeviceRow,
        outbox: &mut Vec<Outstanding>,
        report: &Report,
        (new_key, live): (bool, bool),
    ) {
        let now = context.now;
        let (wanted, later) = context.wanted(device);
        let features = device.features();
        let heard = Heard { report, new_key, lane_last: device.lane.last() };
        let is_newest = |sent: &Outstanding| sent.step.changes_keys() && sent.v == report.newest_v;
        let has_lost_all = !outbox.iter().any(is_newest);
        let judgement = judge(&heard, &device.known, outbox, &wanted, &features, &|entry| context.digest_of(entry));
        if judgement.verdict != Verdict::Ahead {
            device.lane.observe(report.newest);
        }
        device.known.tell_time |=
            wants_time(report, live, Timestamp::from_unix(row::unsigned(now)), device.known.told_time);
        if device.known.learn(&judgement) {
            outbox.clear();
            self.emptied.push(device.id);
        }
        let again = || now + pacing::again(device.attempts, u32::from(report.newest_v[0]) * 4);
        let due = match judgement.verdict {
            Verdict::Confirmed(_) => {
                device.attempts = 0;
                device.confirmed = Some(now);
                self.judged.confirmed += 1;
                if device.status == Status::Withdrawn {
                    forget_withdrawn(device);
                    self.stands(device, Standing::Confirmed, now);
                    return;
                }
                (device.known.tell_time || device.known.ask).then_some(now).or(later)
            }
            Verdict::Ahead => None,
            _ if device.known.ask => Some(now),
            Verdict::UnderWay => {
                let soon = now + pacing::AFTER_REPORT;
                Some(device.due.map_or(soon, |due| due.min(soon)))
            }
            // A device that was sent nothing yet may report first, and is not to wait for that.
            // One that was away for long has lost what was sent meanwhile: it refused nothing, and gets what it lacks at once.
            Verdict::Holds(_) if has_lost_all && device.known.trouble.is_none() => {
                device.attempts = 0;
                Some(now)
            }
            _ if judgement.progress || device.attempts == 0 => {
                device.attempts = 0;
                Some(now)
            }
            _ => Some(again()),
        };
        device.due = due;
        let standing = match (&judgement.verdict, device.known.trouble) {
            (Verdict::Confirmed(_), _) => Standing::Confirmed,
            (Verdict::Ahead, _) => Standing::Ahead,
            (_, Some(trouble)) => trouble,
            (Verdict::Unknown, _) => Standing::Unknown,
            _ => Standing::UnderWay,
        };
        self.stands(device, standing, now);
    }

    fn stands(&mut self, device: &mut DeviceRow, standing: Standing, now: i64) {
        if device.standing != standing {
            device.stands(standing, now);
            self.news.push((device.id, format!("{}: {}", standing.word(), standing.sentence())));
        }
    }

    /// Under the key that the device has, or under one that it is being moved to.
    fn open(
        &self,
        context: &mut Context,
        device: &DeviceRow,
        bytes: &[u8],
    ) -> Result<Result<(Report, Under, Recipient), Standing>, Refusal> {
        let mut standing = Standing::OtherKey;
        for under in [Under::Own, Under::NextClientKey, Under::NextServerKey] {
            let Some(recipient) = device.recipient(self.fleet, &context.pairs, under)? else { continue };
            match recipient.open_report(bytes) {
                Ok(report) => return Ok(Ok((report, under, recipient))),
                Err(ReportError::Version(_)) => standing = Standing::NotUnderstood,
                Err(_) => {}
            }
        }
        Ok(Err(standing))
    }
}

/// Devices whose public keys are others now: whoever reads what they write is to learn them.
async fn readers_are_due(tx: &mut Transaction, devices: &[ClientId], now: i64) -> Result<(), Refusal> {
    if devices.is_empty() {
        return Ok(());
    }
    let written = "SELECT topic FROM device_access WHERE device = ANY($2) AND access >= 2
         UNION SELECT a.topic FROM group_access a JOIN members m ON m.grp = a.grp WHERE m.device = ANY($2) AND a.access >= 2";
    let sql = format!(
        "UPDATE devices SET due = {DUE} WHERE status <> 2 AND mode = 1 AND secret IS NOT NULL AND id IN (
             SELECT device FROM device_access WHERE topic IN ({written})
             UNION SELECT m.device FROM members m JOIN group_access a ON a.grp = m.grp WHERE a.topic IN ({written}))"
    );
    let ids = Value::list(devices.iter().map(ClientId::as_bytes));
    tx.execute(&sql, &[Value::from(now), ids]).await?;
    Ok(())
}
