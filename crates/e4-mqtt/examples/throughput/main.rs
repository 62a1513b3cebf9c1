//! What E4 costs over MQTT: messages per second and latency, with and without, by the same client in the same run.
//!
//! `cargo run --release -p e4-mqtt --example throughput` runs against the embedded broker, and against a mosquitto if there
//! is one to start; `-- HOST:PORT` against a broker of yours; `-- --quick` only shows that it works.
//!
//! Clear, symmetric and signed messages take turns, so that whatever else the machine does falls on all of them. Printed
//! is the median of the rounds, and of each round's ratio to its neighbour in the clear.
#![allow(clippy::print_stdout, reason = "a program that prints figures")]

mod brokers;

use brokers::Broker;
use e4::{Client, ClientId, ClientKey, Identity, MemoryStore, SigningKey, Topic, TopicFilter, TopicKey};
use e4_mqtt::{Connection, Event, Events, QoS, rumqttc_v5::MqttOptions};
use std::{
    error::Error,
    time::{Duration, Instant},
};

type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

/// How much is measured.
#[derive(Clone, Copy)]
struct Plan {
    rounds: usize,
    messages: usize,
    /// Messages at a fixed rate, for the latency.
    paced: usize,
}

const FULL: Plan = Plan { rounds: 7, messages: 10_000, paced: 3_000 };
const QUICK: Plan = Plan { rounds: 1, messages: 500, paced: 100 };
/// Between two messages of the latency's measurement.
const PACE: Duration = Duration::from_millis(1);
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let plan = if arguments.iter().any(|argument| argument == "--quick") { QUICK } else { FULL };
    let address = arguments.iter().find(|argument| !argument.starts_with("--"));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    for broker in Broker::all(address.map(String::as_str))? {
        runtime.block_on(measure(&broker, plan))?;
    }
    Ok(())
}

async fn measure(broker: &Broker, plan: Plan) -> Result<()> {
    println!("\n{}\n", broker.name());
    println!("| messages per second | clear | symmetric | ratio | signed | ratio |");
    println!("|---|---|---|---|---|---|");
    for (bytes, qos) in
        [(64, QoS::AtMostOnce), (64, QoS::AtLeastOnce), (1024, QoS::AtMostOnce), (1024, QoS::AtLeastOnce)]
    {
        let mut pairs = Pair::of_each_kind(broker).await?;
        let mut rates: [Vec<f64>; 3] = Default::default();
        for _ in 0..plan.rounds {
            for (pair, rates) in pairs.iter_mut().zip(&mut rates) {
                rates.push(pair.rate(plan.messages, bytes, qos).await?);
            }
        }
        let [clear, symmetric, signed] = &rates;
        println!(
            "| {bytes} B, {} | {:.0} | {:.0} | {:.3} | {:.0} | {:.3} |",
            name(qos),
            median(clear),
            median(symmetric),
            median(&ratios(symmetric, clear)),
            median(signed),
            median(&ratios(signed, clear)),
        );
        Pair::shut_down(pairs).await?;
    }
    println!("\n| latency, 64 B, {:.0} a second | clear | symmetric | signed |", 1.0 / PACE.as_secs_f64());
    println!("|---|---|---|---|");
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
        let mut pairs = Pair::of_each_kind(broker).await?;
        let mut columns = Vec::new();
        for pair in &mut pairs {
            let mut latencies = pair.latencies(plan.paced, qos).await?;
            latencies.sort_unstable();
            let at =
                |share: usize| latencies.get(latencies.len() * share / 100).copied().unwrap_or_default().as_micros();
            columns.push(format!("{} µs, {} µs", at(50), at(99)));
        }
        println!("| {}: median, 99th percentile | {} |", name(qos), columns.join(" | "));
        Pair::shut_down(pairs).await?;
    }
    Ok(())
}

/// A publisher and a subscriber of one topic.
struct Pair {
    publisher: Connection,
    /// Of the publisher. Taken by nobody, but kept: it holds nothing but notices.
    _notices: Events,
    subscriber: Connection,
    events: Events,
    topic: Topic<'static>,
    sent: u64,
}

impl Pair {
    /// Clear, symmetric, signed.
    async fn of_each_kind(broker: &Broker) -> Result<[Self; 3]> {
        let key = TopicKey::generate()?;
        let symmetric = |name: &str| -> Result<Client> {
            let identity = Identity::symmetric(ClientId::from_name(name)?, ClientKey::generate()?);
            Ok(Client::builder(identity)
                .topic_key(Topic::new(SYMMETRIC)?.hash(), key.clone())?
                .create(MemoryStore::new())?)
        };
        let signing = SigningKey::generate()?;
        let signed = |name: &str, signing: SigningKey, peer: Option<&SigningKey>| -> Result<Client> {
            let c2 = e4::C2SecretKey::generate()?.public_key();
            let identity = Identity::public_key(ClientId::from_name(name)?, signing, c2)?;
            let mut builder = Client::builder(identity).topic_key(Topic::new(SIGNED)?.hash(), key.clone())?;
            if let Some(peer) = peer {
                builder = builder.peer(ClientId::from_name("signed-publisher")?, peer.verifying_key())?;
            }
            Ok(builder.create(MemoryStore::new())?)
        };
        let publisher = signed("signed-publisher", signing.clone(), None)?;
        let subscriber = signed("signed-subscriber", SigningKey::generate()?, Some(&signing))?;
        Ok([
            Self::connect(broker, CLEAR, (symmetric("clear-publisher")?, symmetric("clear-subscriber")?)).await?,
            Self::connect(broker, SYMMETRIC, (symmetric("publisher")?, symmetric("subscriber")?)).await?,
            Self::connect(broker, SIGNED, (publisher, subscriber)).await?,
        ])
    }

    async fn connect(broker: &Broker, topic: &'static str, (from, to): (Client, Client)) -> Result<Self> {
        let clear = TopicFilter::new(CLEAR)?;
        let connect = |device: Client| {
            let options = MqttOptions::new(device.id().to_string(), broker.address());
            Connection::builder(options, device).clean_session().queue(1 << 16).clear(&clear).connect()
        };
        let (publisher, notices) = connect(from)?;
        let (subscriber, mut events) = connect(to)?;
        subscriber.subscribe(topic, QoS::AtLeastOnce).await?;
        while !matches!(next(&mut events).await?, Event::Connected { .. }) {}
        let topic = Topic::new(topic)?;
        Ok(Self { publisher, _notices: notices, subscriber, events, topic, sent: 0 })
    }

    /// Messages per second, from the first one published to the last one taken by the other application.
    async fn rate(&mut self, messages: usize, bytes: usize, qos: QoS) -> Result<f64> {
        let (publisher, topic, first) = (self.publisher.clone(), self.topic.clone(), self.sent);
        self.sent += u64::try_from(messages)?;
        let last = self.sent;
        let start = Instant::now();
        let publish = tokio::spawn(async move {
            for number in first..last {
                publisher.publish(&topic, &payload(number, bytes), qos).await?;
            }
            Ok::<_, e4_mqtt::PublishError>(())
        });
        for number in first..last {
            self.take(number).await?;
        }
        let rate = f64::from(u32::try_from(messages)?) / start.elapsed().as_secs_f64();
        publish.await??;
        Ok(rate)
    }

    /// From just before publishing to the hands of the other application, one message at a time.
    async fn latencies(&mut self, messages: usize, qos: QoS) -> Result<Vec<Duration>> {
        let mut latencies = Vec::with_capacity(messages);
        let mut ticks = tokio::time::interval(PACE);
        for _ in 0..messages {
            ticks.tick().await;
            let start = Instant::now();
            self.publisher.publish(&self.topic, &payload(self.sent, 64), qos).await?;
            self.take(self.sent).await?;
            latencies.push(start.elapsed());
            self.sent += 1;
        }
        Ok(latencies)
    }

    async fn take(&mut self, number: u64) -> Result<()> {
        match next(&mut self.events).await? {
            Event::Message(message) if message.payload.starts_with(&number.to_le_bytes()) => Ok(()),
            other => Err(format!("message {number} was expected, and this came: {other:?}").into()),
        }
    }

    async fn shut_down(pairs: [Self; 3]) -> Result<()> {
        for Self { publisher, subscriber, .. } in pairs {
            publisher.shutdown(PATIENCE).await?;
            subscriber.shutdown(PATIENCE).await?;
        }
        Ok(())
    }
}

const CLEAR: &str = "plant/7/pump/clear";
const SYMMETRIC: &str = "plant/7/pump/symmetric";
const SIGNED: &str = "plant/7/pump/signed";

/// All different: equal messages of one second are one message to the receiver.
fn payload(number: u64, bytes: usize) -> Vec<u8> {
    let mut payload = number.to_le_bytes().to_vec();
    payload.resize(bytes, 0x5a);
    payload
}

async fn next(events: &mut Events) -> Result<Event> {
    tokio::time::timeout(PATIENCE, events.next_event()).await?.ok_or_else(|| "the connection has ended".into())
}

fn name(qos: QoS) -> &'static str {
    match qos {
        QoS::AtMostOnce => "QoS 0",
        QoS::AtLeastOnce => "QoS 1",
        QoS::ExactlyOnce => "QoS 2",
    }
}

fn ratios(of: &[f64], to: &[f64]) -> Vec<f64> {
    of.iter().zip(to).map(|(of, to)| of / to).collect()
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
