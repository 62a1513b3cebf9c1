//! The eavesdropper: sees what the broker sees.

use super::{
    broker::PATIENCE,
    expect::{Row, Seen},
    player::{Access, Link},
};
use anyhow::{Context, bail};
use e4::zeroize::Zeroizing;
use e4_mqtt::{Event, QoS};

/// Has subscribed to everything, keeps it, and sends it again.
pub(super) struct Eavesdropper {
    link: Option<Link>,
    access: Access,
    recorded: Vec<Seen>,
    /// What it must never see, with its name.
    secrets: Vec<(Zeroizing<Vec<u8>>, &'static str)>,
}

impl Eavesdropper {
    pub(super) fn new(access: Access) -> Self {
        Self { link: None, access, recorded: Vec::new(), secrets: Vec::new() }
    }

    pub(super) async fn listen(&mut self, filters: &[String]) -> anyhow::Result<()> {
        let link = self.link.insert(self.access.connect_in_the_clear().await?);
        for filter in filters {
            link.subscribe(filter).await?;
        }
        Ok(())
    }

    pub(super) async fn leave(&mut self) -> anyhow::Result<()> {
        match self.link.take() {
            Some(link) => link.down().await,
            None => Ok(()),
        }
    }

    pub(super) fn must_not_see(&mut self, secret: &[u8], what: &'static str) {
        self.secrets.push((Zeroizing::new(secret.to_vec()), what));
    }

    fn link(&mut self) -> anyhow::Result<&mut Link> {
        self.link.as_mut().context("the eavesdropper is not connected")
    }

    /// Waits for what is sent on a topic.
    pub(super) async fn sees(&mut self, topic: &str) -> anyhow::Result<Seen> {
        loop {
            match self.link()?.next().await {
                Some(Event::Message(message)) if message.topic == topic => {
                    let seen = Seen {
                        secret: self.secret_in(&message.payload),
                        topic: message.topic,
                        payload: message.payload,
                    };
                    self.recorded.push(seen.clone());
                    return Ok(seen);
                }
                Some(Event::Message(_) | Event::Connected { .. }) => (),
                Some(other) => bail!("the eavesdropper's connection does not work: {other:?}"),
                None => bail!("the broker did not pass on within {} s what was sent on {topic}", PATIENCE.as_secs()),
            }
        }
    }

    fn secret_in(&self, payload: &[u8]) -> Option<&'static str> {
        let is_in = |secret: &[u8]| payload.windows(secret.len().max(1)).any(|part| part == secret);
        self.secrets.iter().find_map(|(secret, what)| is_in(secret).then_some(*what))
    }

    /// The first payload that it has seen on a topic.
    pub(super) fn first_on(&self, topic: &str) -> anyhow::Result<Vec<u8>> {
        let seen = self.recorded.iter().find(|seen| seen.topic == topic);
        Ok(seen.context("the eavesdropper has seen nothing there")?.payload.clone())
    }

    /// The last payload that it has seen on a topic.
    pub(super) fn last_on(&self, topic: &str) -> anyhow::Result<Vec<u8>> {
        let seen = self.recorded.iter().rfind(|seen| seen.topic == topic);
        Ok(seen.context("the eavesdropper has seen nothing there")?.payload.clone())
    }

    /// Sends some bytes as they are, and sees them itself.
    pub(super) async fn sends(&mut self, topic: &str, payload: &[u8], what: &str) -> anyhow::Result<Row> {
        self.link()?.publish(topic, payload, QoS::AtLeastOnce).await?;
        let seen = self.sees(topic).await?;
        Ok(Row::new("eavesdropper", what, vec![seen]))
    }

    /// How many payloads it has recorded, and how many bytes.
    pub(super) fn overheard(&self) -> (usize, usize) {
        (self.recorded.len(), self.recorded.iter().map(|seen| seen.payload.len()).sum())
    }
}
