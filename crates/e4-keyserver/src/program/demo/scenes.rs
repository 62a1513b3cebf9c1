//! The story.

use super::{
    device::{Device, Seen},
    listener::Listener,
    look,
    narrator::Narrator,
    stage::{DOORS, LINE, MAINTENANCE, METERS, Stage},
    traffic::{Traffic, missing},
};
use anyhow::Context;
use e4::{Client, Opened};
use e4_keyserver::{
    fleet::{Fleet, GroupPolicy, NewGroup, NewTopic, TopicPolicy, Who},
    model::{Access, OrderState, RotationKind, Selector, TopicName},
};
use futures_util::future::try_join_all;
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::time::sleep;

const A_WHILE: Duration = Duration::from_secs(20);

pub(super) async fn play(stage: &mut Stage, narrator: &mut Narrator) -> anyhow::Result<()> {
    narrator.opening("A key server, its broker, and a fleet of sixty devices");
    let topics = enrolment(stage, narrator).await?;
    rotation_under_traffic(stage, narrator, &topics).await?;
    sleepers(stage, narrator, &topics).await?;
    withdrawal(stage, narrator, &topics).await?;
    crash(stage, narrator, &topics).await?;
    restore(stage, narrator, &topics).await
}

/// The numbers of the topics.
struct Topics {
    line: i64,
    doors: i64,
    maintenance: i64,
}

async fn topic(stage: &Stage, name: &str, of: &[(&str, &str, Access)]) -> anyhow::Result<i64> {
    let (fleet, actor) = (stage.fleet()?, stage.actor());
    let new = NewTopic {
        name: TopicName::new(name).map_err(anyhow::Error::new)?,
        key: None,
        policy: TopicPolicy::default(),
        notes: String::new(),
    };
    let topic = fleet.add_topic(&actor, &new).await?.id;
    for (group, selector, access) in of {
        let selector = Some(Selector::parse(selector).map_err(anyhow::Error::new)?);
        let group = NewGroup { name: (*group).to_owned(), selector, policy: GroupPolicy::default() };
        fleet.add_group(&actor, &group).await?;
        fleet.set_access(&actor, topic, &Who::Group(group.name), *access).await?;
    }
    Ok(topic)
}

async fn enrolment(stage: &mut Stage, narrator: &mut Narrator) -> anyhow::Result<Topics> {
    narrator.chapter("Enrolment and access");
    narrator.note(
        "Sixty devices are enrolled: sensors, panels, lamps without a clock, old panels that do not report, trolleys",
    );
    narrator.note("that sleep most of the time, meters with keys of their own, and a handheld. They know their own key and no topic.");
    let line = topic(
        stage,
        LINE,
        &[("line sensors", "line=writes", Access::BOTH), ("line panels", "line=reads", Access::READ)],
    )
    .await?;
    let doors = topic(stage, DOORS, &[("doors", "doors=yes", Access::BOTH)]).await?;
    let maintenance = topic(stage, MAINTENANCE, &[("crew", "crew=yes", Access::BOTH)]).await?;
    topic(stage, METERS, &[("meters", "meter=yes", Access::BOTH)]).await?;
    let devices: Vec<_> = stage.devices().collect();
    let count = devices.len();
    try_join_all(devices.into_iter().map(Device::switch_on)).await?;
    narrator.expect(count == 60, "sixty devices are switched on", format!("there are {count}"))?;
    let fleet = stage.fleet()?.clone();
    narrator
        .wait_for("all 54 that report confirm that they hold what they should, each by a digest", A_WHILE, async || {
            let standings = look::standings(&fleet).await?;
            Ok(if standings.get("confirmed") == Some(&54) { Ok(()) } else { Err(format!("{standings:?}")) })
        })
        .await?;
    let standings = look::standings(&fleet).await?;
    narrator.expect(
        standings.get("never confirmed") == Some(&6),
        "the 6 that do not report are never called confirmed",
        format!("{standings:?}"),
    )?;
    let meter = stage.meters.first().context("there are meters")?;
    meter.publish(METERS, b"4711 kWh").await?;
    let readers: Vec<_> = stage.meters.iter().skip(1).map(Device::seen).cloned().collect();
    narrator
        .wait_for("a meter's signed message is read by the seven others", A_WHILE, async || {
            let missing = missing(&[b"4711 kWh".to_vec()], &readers);
            Ok(if missing == 0 { Ok(()) } else { Err(format!("{missing} did not read it")) })
        })
        .await?;
    Ok(Topics { line, doors, maintenance })
}

fn line_readers(stage: &Stage) -> Vec<Arc<Seen>> {
    stage.panels.iter().chain(&stage.clockless).map(Device::seen).cloned().collect()
}

async fn until_over(narrator: &mut Narrator, fleet: &Fleet, order: i64, fact: &str) -> anyhow::Result<()> {
    narrator
        .wait_for(fact, A_WHILE * 2, async || {
            let state = look::order(fleet, order).await?;
            Ok(if state == OrderState::Done { Ok(()) } else { Err(format!("the order is {}", state.word())) })
        })
        .await
}

async fn all_was_read(
    narrator: &mut Narrator,
    traffic: Traffic,
    readers: &[Arc<Seen>],
    when: &str,
) -> anyhow::Result<()> {
    let sent = traffic.stop().await;
    let count = sent.len();
    narrator
        .wait_for(
            format!("each of {count} messages sent {when} was read by all {} readers", readers.len()),
            A_WHILE,
            async || {
                let missing = missing(&sent, readers);
                Ok(if missing == 0 && count > 0 { Ok(()) } else { Err(format!("{missing} were not read")) })
            },
        )
        .await
}

async fn rotation_under_traffic(stage: &Stage, narrator: &mut Narrator, topics: &Topics) -> anyhow::Result<()> {
    narrator.chapter("A new key without losing a message");
    narrator.note(
        "Four sensors publish all the time. The key of their topic is changed in two phases: first everybody learns to",
    );
    narrator.note("open under the next key, and only when all have said so anybody seals under it.");
    let readers = line_readers(stage);
    let traffic = Traffic::start(&stage.sensors, LINE)?;
    sleep(Duration::from_millis(500)).await;
    let before = traffic.count();
    let order = stage.fleet()?.rotate(&stage.actor(), topics.line, RotationKind::Lossless).await?;
    stage.server()?.delivery.wake();
    until_over(narrator, stage.fleet()?, order, "all members have confirmed the new key").await?;
    sleep(Duration::from_millis(500)).await;
    let during = traffic.count() - before;
    narrator.expect(during > 0, "messages went out all the time", "none did")?;
    all_was_read(narrator, traffic, &readers, "before, during and after").await?;
    Ok(())
}

async fn sleepers(stage: &mut Stage, narrator: &mut Narrator, topics: &Topics) -> anyhow::Result<()> {
    narrator.chapter("A sleeper that comes back");
    let before: Vec<_> = stage.sleepers.iter().map(|it| it.seen().keys.load(Ordering::Relaxed)).collect();
    try_join_all(stage.sleepers.iter_mut().map(Device::switch_off)).await?;
    narrator.note("The five trolleys are switched off. Meanwhile their topic gets a new key five times.");
    let mut last = 0;
    for _ in 0..5 {
        last = stage.fleet()?.rotate(&stage.actor(), topics.maintenance, RotationKind::Hard).await?;
        stage.server()?.delivery.wake();
        sleep(Duration::from_millis(300)).await;
    }
    let fleet = stage.fleet()?.clone();
    narrator.expect(
        look::order(&fleet, last).await? == OrderState::Switching,
        "the server shows that it waits for them",
        "it calls the rotation over",
    )?;
    try_join_all(stage.sleepers.iter_mut().map(Device::switch_on)).await?;
    until_over(narrator, &fleet, last, "they are back, and have confirmed the newest key").await?;
    let most = stage
        .sleepers
        .iter()
        .zip(before)
        .map(|(it, before)| it.seen().keys.load(Ordering::Relaxed).saturating_sub(before))
        .max();
    narrator.expect(
        most.is_some_and(|most| (1..=2).contains(&most)),
        "each took the key that waited at the broker and the newest, not five",
        format!("one took {most:?} keys"),
    )
}

async fn withdrawal(stage: &mut Stage, narrator: &mut Narrator, topics: &Topics) -> anyhow::Result<()> {
    narrator.chapter("A stolen device");
    stage.stolen.switch_off().await?;
    let (fleet, actor) = (stage.fleet()?.clone(), stage.actor());
    let dry = fleet.withdraw(&actor, &stage.stolen.id, true).await?;
    let mut could: Vec<_> = dry.could_read.iter().map(|reach| reach.name.as_str()).collect();
    could.sort_unstable();
    narrator.expect(
        could == [DOORS, MAINTENANCE],
        format!("a dry run says what handheld-1 can read: {DOORS} and {MAINTENANCE}"),
        format!("it says {could:?}"),
    )?;
    let order = fleet.withdraw(&actor, &stage.stolen.id, false).await?.order.context("there is no order")?;
    let exposed = look::exposed(&fleet).await?;
    stage.server()?.delivery.wake();
    narrator.note(format!("The exposure: {exposed} times a device still accepts a key that the thief has."));
    narrator.note("The thief has its memory with all its keys, and never lets it take another command.");
    until_over(narrator, &fleet, order, "all others have confirmed that the keys it has open nothing any more").await?;
    narrator
        .wait_for("the exposure is zero", A_WHILE, async || {
            let exposed = look::exposed(&fleet).await?;
            Ok(if exposed == 0 { Ok(()) } else { Err(format!("it is {exposed}")) })
        })
        .await?;
    let listener = Listener::start(stage.port, "plant/#").await?;
    let (panel, other) = (stage.panels.first().context("a panel")?, stage.panels.get(1).context("two panels")?);
    let trolley = stage.sleepers.first().context("a trolley")?;
    panel.publish(DOORS, b"door 3 is open").await?;
    trolley.publish("plant/maintenance/press", b"oil is low").await?;
    let seen = Arc::clone(other.seen());
    narrator
        .wait_for("the others go on reading", A_WHILE, async || {
            Ok(if seen.has_read(b"door 3 is open") { Ok(()) } else { Err("a panel reads nothing".to_owned()) })
        })
        .await?;
    let thief = stage.stolen.client_mut().context("the stolen device is off")?;
    let recorded = wait_for_recording(&listener, 2).await;
    let opened = recorded.iter().filter(|(topic, payload)| opens(thief, topic, payload)).count();
    narrator.expect(
        recorded.len() >= 2 && opened == 0,
        "the stolen keys open nothing of what is sent now",
        format!("of {} messages they open {opened}", recorded.len()),
    )?;
    let _ = topics.doors;
    Ok(())
}

fn opens(thief: &mut Client, topic: &str, payload: &[u8]) -> bool {
    matches!(thief.open(topic, payload), Ok(Opened::Message(_)))
}

async fn wait_for_recording(listener: &Listener, messages: usize) -> Vec<(String, Vec<u8>)> {
    let mut recorded = Vec::new();
    for _ in 0..100 {
        recorded.extend(listener.take());
        if recorded.len() >= messages {
            break;
        }
        sleep(Duration::from_millis(50)).await;
    }
    recorded
}

async fn crash(stage: &mut Stage, narrator: &mut Narrator, topics: &Topics) -> anyhow::Result<()> {
    narrator.chapter("A crash in the middle");
    let readers = line_readers(stage);
    let traffic = Traffic::start(&stage.sensors, LINE)?;
    let order = stage.fleet()?.rotate(&stage.actor(), topics.line, RotationKind::Lossless).await?;
    stage.server()?.delivery.wake();
    sleep(Duration::from_millis(40)).await;
    let state = look::order(stage.fleet()?, order).await?;
    stage.crash()?;
    narrator.note(format!(
        "All tasks of the server were ended where they were, in the middle of a rotation ({}).",
        state.word()
    ));
    narrator.expect(!state.is_over(), "the rotation was not over", format!("it was {}", state.word()))?;
    sleep(Duration::from_millis(500)).await;
    stage.start_again().await?;
    let fleet = stage.fleet()?.clone();
    until_over(narrator, &fleet, order, "started again from its database, the server brings it to its end").await?;
    sleep(Duration::from_millis(500)).await;
    all_was_read(narrator, traffic, &readers, "meanwhile").await?;
    let verified = fleet.verify_audit().await?;
    narrator.note(format!("The audit is whole: {verified:?}"));
    Ok(())
}

async fn restore(stage: &mut Stage, narrator: &mut Narrator, topics: &Topics) -> anyhow::Result<()> {
    narrator.chapter("A restored backup starts held");
    let (backup, identity) = stage.back_up().await?;
    narrator.note("A backup was made. Then the disk is lost, and the backup is restored elsewhere.");
    stage.restore(backup, &identity).await?;
    let (fleet, actor) = (stage.fleet()?.clone(), stage.actor());
    let held = fleet.held().await?;
    narrator.expect(held.is_some(), "the restored server holds, and waits for a person", "it does not hold")?;
    let commands = |stage: &Stage| -> u64 {
        stage.panels.iter().chain(&stage.sensors).map(|it| it.seen().commands.load(Ordering::Relaxed)).sum()
    };
    let before = commands(stage);
    sleep(Duration::from_secs(2)).await;
    let after = commands(stage);
    narrator.expect(after == before, "nobody was sent anything", format!("{} commands came", after - before))?;
    fleet.release(&actor).await?;
    let order = fleet.rotate(&actor, topics.line, RotationKind::Soft).await?;
    stage.server()?.delivery.wake();
    until_over(narrator, &fleet, order, "told to go on, it rotates, and devices take its commands").await
}
