//! The script: what happens, and what is expected to come of it.

use super::{
    expect::{
        Because,
        Expected::{Reads, ReadsRetained, ReadsUnderPreviousKey, Refuses, ReplacesKey, TakesKey, TakesNextKey},
        Row,
    },
    narrator::Narrator,
    stage::{Stage, Who},
    traffic::Traffic,
};
use e4::MaxAge;

type Result = anyhow::Result<()>;

pub(super) async fn play(stage: &mut Stage, narrator: &mut Narrator) -> Result {
    stage.set_up().await?;
    let broker =
        if stage.is_embedded() { "in this process".to_owned() } else { format!("at {}", stage.broker.address) };
    let text = format!(
        "pump-7 publishes, panel-1 and panel-9 read. The broker {broker} passes everything on, also to an eavesdropper: \
         what it can see is in the middle. Each device keeps its keys in a file."
    );
    narrator.opening("End-to-end encryption over MQTT", &text).await?;

    keys_arrive(stage, narrator).await?;
    messages_are_sealed(stage, narrator).await?;
    rotation_while_offline(stage, narrator).await?;
    rotation_without_loss(stage, narrator).await?;
    removed_member(stage, narrator).await?;
    half_held_back(stage, narrator).await?;
    replays(stage, narrator).await?;
    late_joiner(stage, narrator).await
}

async fn keys_arrive(stage: &mut Stage, narrator: &mut Narrator) -> Result {
    let text = "The key server shares one key with each device, and sends it the key of the topic as a sealed command, on \
                a topic of its own.";
    narrator.chapter("Keys arrive as messages over the same broker", text).await?;
    stage.make_key()?;
    for who in [Who::Pump, Who::Panel, Who::Contractor] {
        let mut row = stage.give_key(who).await?;
        stage.device(who).receives(&mut row, TakesKey).await;
        narrator.tell(&row).await?;
    }
    Ok(())
}

async fn messages_are_sealed(stage: &mut Stage, narrator: &mut Narrator) -> Result {
    let text = "Who has the key reads the message. The first 8 bytes are the time of sending, in the clear; the rest is sealed, and \
         the same reading looks different a second later.";
    narrator.chapter("Messages are sealed from device to device", text).await?;
    let reading = "4.2 bar";
    let first = stage.says(Who::Pump, reading).await?;
    let first = both_read(stage, narrator, first, reading).await?;
    stage.next_second().await;
    let second = stage.says(Who::Pump, reading).await?;
    let second = both_read(stage, narrator, second, reading).await?;

    let payloads = |row: &Row| row.seen.iter().map(|seen| seen.payload.clone()).collect::<Vec<_>>();
    let differ = payloads(&first) != payloads(&second);
    narrator
        .fact(
            differ,
            "equal readings, a second apart: the broker cannot tell that they are equal",
            "both look the same to the broker",
        )
        .await
}

async fn both_read(
    stage: &mut Stage,
    narrator: &mut Narrator,
    mut row: Row,
    text: &'static str,
) -> anyhow::Result<Row> {
    stage.panel.receives(&mut row, Reads(text)).await;
    stage.contractor.receives(&mut row, Reads(text)).await;
    narrator.tell(&row).await?;
    Ok(row)
}

async fn rotation_while_offline(stage: &mut Stage, narrator: &mut Narrator) -> Result {
    let text =
        "All three get a new key while panel-1 is offline. Its command waits in the broker, and so do the messages.";
    narrator.chapter("The key is rotated, and nobody has to be there", text).await?;
    stage.panel.switch_off().await?;
    narrator.note("panel-1 is switched off").await?;
    stage.make_key()?;
    for who in [Who::Pump, Who::Contractor] {
        let mut row = stage.give_key(who).await?;
        stage.device(who).receives(&mut row, TakesKey).await;
        narrator.tell(&row).await?;
    }
    let mut row = stage.give_key(Who::Panel).await?;
    row.waits_for.push(stage.panel.name);
    narrator.tell(&row).await?;
    let mut row = stage.says(Who::Pump, "4.3 bar").await?;
    stage.contractor.receives(&mut row, Reads("4.3 bar")).await;
    row.waits_for.push(stage.panel.name);
    narrator.tell(&row).await?;

    stage.panel.switch_on().await?;
    narrator.note("panel-1 is back, with the keys from its file").await?;
    let mut row = Row::new("broker", "what waited", Vec::new());
    stage.panel.receives(&mut row, TakesKey).await;
    stage.panel.receives(&mut row, Reads("4.3 bar")).await;
    narrator.tell(&row).await
}

async fn rotation_without_loss(stage: &mut Stage, narrator: &mut Narrator) -> Result {
    let text = "The new key goes ahead: all get it as the next one, which opens and does not seal. Then it becomes the key of one \
                after the other. Before and after each command pump-7 and panel-1 publish, and panel-1 and panel-9 read.";
    narrator.chapter("The key is rotated while all publish, and nothing is lost", text).await?;
    let (all, mut traffic) = ([Who::Pump, Who::Panel, Who::Contractor], Traffic::default());
    stage.make_key()?;
    stage.exchange(&mut traffic).await?;
    for who in all {
        let mut row = stage.announce_key(who).await?;
        stage.device(who).receives(&mut row, TakesNextKey).await;
        narrator.tell(&row).await?;
        stage.exchange(&mut traffic).await?;
    }
    for who in all {
        let mut row = stage.give_key(who).await?;
        stage.device(who).receives(&mut row, TakesKey).await;
        narrator.tell(&row).await?;
        stage.exchange(&mut traffic).await?;
    }
    let (holds, happened) = (traffic.is_complete(), traffic.in_words());
    let text = if holds { happened.clone() } else { traffic.expected() };
    narrator.fact(holds, &text, &happened).await
}

async fn removed_member(stage: &mut Stage, narrator: &mut Narrator) -> Result {
    let text = "panel-9 belongs to a contractor, who is done. The others get a new key and forget the old one; panel-9 is \
                left out. It still receives everything, and reads nothing.";
    narrator.chapter("A removed member can no longer read", text).await?;
    stage.make_key()?;
    for who in [Who::Pump, Who::Panel] {
        let mut row = stage.replace_key(who).await?;
        stage.device(who).receives(&mut row, ReplacesKey).await;
        narrator.tell(&row).await?;
    }
    let mut row = stage.says(Who::Pump, "4.4 bar").await?;
    stage.panel.receives(&mut row, Reads("4.4 bar")).await;
    stage.contractor.receives(&mut row, Refuses(Because::OtherKey)).await;
    narrator.tell(&row).await?;

    let mut row = stage.says(Who::Contractor, "0.0 bar").await?;
    stage.panel.receives(&mut row, Refuses(Because::OtherKey)).await;
    stage.contractor.receives(&mut row, Reads("0.0 bar")).await;
    narrator.tell(&row).await
}

async fn half_held_back(stage: &mut Stage, narrator: &mut Narrator) -> Result {
    let text = "panel-9 is let in and removed once more, and now the broker is on its side. Older devices need two commands to \
                change a key at once, forget and take: if the broker holds one back, panel-1 still reads what panel-9 sends. \
                One command does both, and there is no half of it to hold back.";
    narrator.chapter("There is no half of a command to hold back", text).await?;
    let mut row = stage.give_key(Who::Contractor).await?;
    stage.contractor.receives(&mut row, TakesKey).await;
    narrator.tell(&row).await?;

    stage.make_key()?;
    let mut row = stage.replace_key_by_half(Who::Panel).await?;
    stage.panel.receives(&mut row, TakesKey).await;
    narrator.tell(&row).await?;
    let mut row = stage.says(Who::Contractor, "0.1 bar").await?;
    stage.panel.receives(&mut row, ReadsUnderPreviousKey("0.1 bar")).await;
    narrator.tell(&row).await?;

    stage.make_key()?;
    for who in [Who::Pump, Who::Panel] {
        let mut row = stage.replace_key(who).await?;
        stage.device(who).receives(&mut row, ReplacesKey).await;
        narrator.tell(&row).await?;
    }
    let mut row = stage.says(Who::Contractor, "0.2 bar").await?;
    stage.panel.receives(&mut row, Refuses(Because::OtherKey)).await;
    narrator.tell(&row).await
}

async fn replays(stage: &mut Stage, narrator: &mut Narrator) -> Result {
    let text = "The eavesdropper cannot read what it has recorded, but it can send it again: a message, to repeat a \
                reading; a command, to bring the first key back.";
    narrator.chapter("What was recorded is worth nothing", text).await?;
    let mut row = stage.says(Who::Pump, "4.5 bar").await?;
    stage.panel.receives(&mut row, Reads("4.5 bar")).await;
    narrator.tell(&row).await?;

    let topic = stage.topic.as_str().to_owned();
    let message = stage.eavesdropper.last_on(&topic)?;
    let mut row = stage.eavesdropper.sends(&topic, &message, "that message again").await?;
    stage.panel.receives(&mut row, Refuses(Because::MessageAgain)).await;
    narrator.tell(&row).await?;

    let control_topic = stage.panel.recipient.control_topic();
    let command = stage.eavesdropper.first_on(control_topic.as_str())?;
    let mut row = stage.eavesdropper.sends(control_topic.as_str(), &command, "panel-1's first command again").await?;
    stage.panel.receives(&mut row, Refuses(Because::OldCommand)).await;
    narrator.tell(&row).await?;

    let mut row = stage.says(Who::Pump, "4.6 bar").await?;
    stage.panel.receives(&mut row, Reads("4.6 bar")).await;
    narrator.tell(&row).await
}

async fn late_joiner(stage: &mut Stage, narrator: &mut Narrator) -> Result {
    let text = "The broker keeps the last message for whoever comes later. panel-2 comes a day later, by its own clock, \
                and refuses so old a message until it allows the age on this topic.";
    narrator.chapter("A late joiner reads the retained message", text).await?;
    let mut row = stage.says_for_later(Who::Pump, "4.7 bar").await?;
    stage.panel.receives(&mut row, Reads("4.7 bar")).await;
    narrator.tell(&row).await?;

    stage.late.switch_on().await?;
    let mut row = stage.give_key(Who::LateJoiner).await?;
    stage.late.receives(&mut row, TakesKey).await;
    narrator.tell(&row).await?;

    let topic = stage.topic.as_str().to_owned();
    stage.late.subscribe(&topic).await?;
    let mut row = Row::new("broker", "what it kept", Vec::new());
    stage.late.receives(&mut row, Refuses(Because::TooOld)).await;
    narrator.tell(&row).await?;

    stage.late.allow_age(&topic, MaxAge::Seconds(7 * 24 * 3600)).await?;
    narrator.note("panel-2 allows messages of up to a week, and subscribes again").await?;
    stage.late.subscribe(&topic).await?;
    let mut row = Row::new("broker", "what it kept", Vec::new());
    stage.late.receives(&mut row, ReadsRetained("4.7 bar")).await;
    narrator.tell(&row).await
}
