//! Rotation of a topic without loss, over a broker that loses, repeats and reorders what it likes.

use crate::{
    TOPIC,
    common::{Device, NOW, topic_hash, topic_key},
};
use e4::{
    Command, KeyRole, OpenError, Timestamp,
    controller::{Lane, LastReport, SealedCommand, StateDigest, StateEntry},
};
use proptest::{prelude::*, test_runner::TestRunner};

const MEMBERS: usize = 3;
const ROTATIONS: usize = 2;

/// Something that happens to one of the members, or its key server's clock.
#[derive(Debug, Clone)]
enum Step {
    /// The broker delivers one of the commands that it has for a member, and may keep it for another time.
    Command { member: usize, which: prop::sample::Index, keeps: bool },
    /// The broker delivers one of the reports of a member that it ever saw.
    Report { member: usize, which: prop::sample::Index },
    /// The broker loses all commands that it has for a member.
    Lose { member: usize },
    /// A member reports.
    Reports { member: usize },
    /// A member publishes to the others.
    Publishes { member: usize },
    /// A message arrives, in any order.
    Message { member: usize, which: prop::sample::Index },
    /// The key server sends again what is not confirmed.
    SendsAgain { member: usize },
    /// The key server's clock is set.
    SetClock { ahead: i64 },
    /// A second passes.
    Second,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let member = || 0..MEMBERS;
    let which = any::<prop::sample::Index>;
    let step = prop_oneof![
        6 => (member(), which(), any::<bool>()).prop_map(|(member, which, keeps)| Step::Command { member, which, keeps }),
        6 => (member(), which()).prop_map(|(member, which)| Step::Report { member, which }),
        1 => member().prop_map(|member| Step::Lose { member }),
        4 => member().prop_map(|member| Step::Reports { member }),
        4 => member().prop_map(|member| Step::Publishes { member }),
        6 => (member(), which()).prop_map(|(member, which)| Step::Message { member, which }),
        3 => member().prop_map(|member| Step::SendsAgain { member }),
        1 => (-100..100_i64).prop_map(|ahead| Step::SetClock { ahead }),
        1 => Just(Step::Second),
    ];
    prop::collection::vec(step, 0..150)
}

/// A member, what the key server keeps of it, and what the broker has for either.
struct Member {
    device: Device,
    lane: Lane,
    last_report: LastReport,
    /// What was sealed last for it; `None` while the present phase is still to be sealed.
    sealed: Option<SealedCommand>,
    is_confirmed: bool,
    commands: Vec<SealedCommand>,
    reports: Vec<Vec<u8>>,
    messages: Vec<Vec<u8>>,
}

#[derive(Clone, Copy, PartialEq)]
enum Phase {
    Next,
    Current,
}

struct World {
    members: Vec<Member>,
    /// How many rotations are done.
    done: usize,
    phase: Phase,
    server_ahead: i64,
    published: u64,
}

impl World {
    fn new() -> Self {
        let member = |n| Member {
            device: Device::symmetric(&format!("pump-{n}")).knowing(TOPIC, &key(0)),
            lane: Lane::resume(Timestamp::from_unix(NOW), 1),
            last_report: LastReport::new(),
            sealed: None,
            is_confirmed: false,
            commands: Vec::new(),
            reports: Vec::new(),
            messages: Vec::new(),
        };
        let members: Vec<_> = (0..MEMBERS).map(member).collect();
        let mut world = Self { members, done: 0, phase: Phase::Next, server_ahead: 0, published: 0 };
        (0..MEMBERS).for_each(|member| world.send(member));
        world
    }

    fn play(&mut self, step: &Step) {
        match *step {
            Step::Command { member, which, keeps } => {
                let commands = &mut self.members[member].commands;
                if !commands.is_empty() {
                    let at = which.index(commands.len());
                    let command = if keeps { commands[at].clone() } else { commands.remove(at) };
                    self.deliver(member, &command);
                }
            }
            Step::Report { member, which } => {
                let reports = &self.members[member].reports;
                if !reports.is_empty() {
                    let report = reports[which.index(reports.len())].clone();
                    self.hear(member, &report);
                }
            }
            Step::Lose { member } => self.members[member].commands.clear(),
            Step::Reports { member } => {
                let report = self.members[member].device.client.report();
                self.members[member].reports.push(report);
            }
            Step::Publishes { member } => self.publish(member),
            Step::Message { member, which } => {
                let messages = &mut self.members[member].messages;
                if !messages.is_empty() {
                    let message = messages.swap_remove(which.index(messages.len()));
                    self.receive(member, &message);
                }
            }
            Step::SendsAgain { member } => self.send(member),
            Step::SetClock { ahead } => self.server_ahead = ahead,
            Step::Second => self.members.iter().for_each(|member| member.device.clock.advance(1)),
        }
    }

    /// What a member may see of a command that came late or twice.
    fn deliver(&mut self, member: usize, command: &SealedCommand) {
        use e4::Refusal::{Repeated, Superseded};
        match self.members[member].device.deliver(command.as_bytes()) {
            Ok(_) | Err(OpenError::Refused(Repeated | Superseded { .. })) => {}
            Err(error) => panic!("{error}"),
        }
    }

    /// The key server's part of the loop.
    fn hear(&mut self, member: usize, report: &[u8]) {
        let wanted = self.wanted();
        let member_ = &mut self.members[member];
        let report = member_.device.recipient.open_report(report).unwrap();
        if member_.last_report.accept(&report).is_err() {
            return;
        }
        member_.lane.observe(report.newest);
        let Some(sealed) = &member_.sealed else { return };
        if sealed.is_settled_by(&report) {
            member_.is_confirmed = report.digest == wanted;
            if !member_.is_confirmed {
                // It took a later one, and not this one: it will not take it any more.
                member_.sealed = None;
            }
        }
        // What is confirmed is so.
        if member_.is_confirmed {
            let held = member_.device.recipient.open_report(&member_.device.client.report()).unwrap();
            assert!(held.digest == wanted, "confirmed, and not so");
        }
        if self.members.iter().all(|member| member.is_confirmed) {
            self.next_phase();
        }
    }

    fn next_phase(&mut self) {
        self.phase = match self.phase {
            Phase::Next => Phase::Current,
            Phase::Current => {
                // Messages do not stay on their way for two rotations.
                self.receive_all();
                self.done += 1;
                Phase::Next
            }
        };
        for member in 0..MEMBERS {
            (self.members[member].sealed, self.members[member].is_confirmed) = (None, false);
            if self.done < ROTATIONS {
                self.send(member);
            }
        }
    }

    /// What each member is to hold in the present phase.
    fn wanted(&self) -> StateDigest {
        let (topic, old, new) = (topic_hash(TOPIC), key(self.done), key(self.done + 1));
        match self.phase {
            Phase::Next => {
                StateDigest::of([StateEntry::TopicKey(&topic, &old), StateEntry::NextTopicKey(&topic, &new)])
            }
            Phase::Current => StateDigest::of([StateEntry::TopicKey(&topic, &new)]),
        }
    }

    /// Seals what a member is to get in this phase, or takes the same bytes again, and gives them to the broker.
    fn send(&mut self, member: usize) {
        let (topic, key) = (topic_hash(TOPIC), key(self.done + 1));
        let command = match self.phase {
            Phase::Next => Command::SetNextTopicKey { topic, key },
            Phase::Current => Command::SetTopicKey { topic, key },
        };
        let member = &mut self.members[member];
        let now = member.device.clock.seconds().saturating_add_signed(self.server_ahead);
        if member.sealed.is_none() {
            // Too far ahead of the time is no time to send.
            let sealed = member.device.recipient.seal(&[command], &mut member.lane, Timestamp::from_unix(now));
            member.sealed = sealed.ok().map(|mut sealed| sealed.remove(0));
            member.lane = Lane::resume(member.lane.last(), member.lane.used());
            member.lane.observe(member.last_report.newest());
        }
        member.commands.extend(member.sealed.clone());
    }

    fn publish(&mut self, from: usize) {
        for to in (0..MEMBERS).filter(|to| *to != from) {
            self.published += 1;
            let message = self.members[from].device.client.seal(TOPIC, &self.published.to_le_bytes()).unwrap();
            self.members[to].messages.push(message);
        }
    }

    fn receive(&mut self, member: usize, message: &[u8]) {
        let opened = self.members[member].device.open(TOPIC, message);
        assert!(opened.is_ok(), "a message is lost: {opened:?}");
    }

    fn receive_all(&mut self) {
        for member in 0..MEMBERS {
            while let Some(message) = self.members[member].messages.pop() {
                self.receive(member, &message);
            }
        }
    }

    /// The broker behaves from now on: so the rotations come to their end.
    fn finish(&mut self) {
        self.server_ahead = 0;
        for _ in 0..1000 {
            if self.done == ROTATIONS {
                return self.receive_all();
            }
            for member in 0..MEMBERS {
                self.publish(member);
                self.send(member);
                while !self.members[member].commands.is_empty() {
                    let command = self.members[member].commands.remove(0);
                    self.deliver(member, &command);
                }
                let report = self.members[member].device.client.report();
                self.hear(member, &report);
                self.receive_all();
            }
            self.play(&Step::Second);
        }
        panic!("the rotations never end");
    }
}

fn key(n: usize) -> e4::TopicKey {
    topic_key(&format!("key {n}"))
}

#[test]
fn rotation_without_loss_loses_nothing_and_comes_to_its_end_whatever_the_broker_does() {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(48);
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let play = |steps: Vec<Step>| {
        let mut world = World::new();
        for step in &steps {
            if world.done < ROTATIONS {
                world.play(step);
            }
        }
        world.finish();
        Ok(())
    };
    if let Err(error) = TestRunner::new(config).run(&steps(), play) {
        panic!("{error}");
    }
}

/// So the test above can fail.
#[test]
fn set_topic_key_alone_loses_messages_of_those_who_have_it_to_those_who_do_not() {
    let topic = topic_hash(TOPIC);
    let mut writer = Device::symmetric("writer").knowing(TOPIC, &key(0));
    let mut reader = Device::symmetric("reader").knowing(TOPIC, &key(0));
    writer.command_at(NOW + 1, &Command::SetTopicKey { topic, key: key(1) }).unwrap();
    assert!(reader.open(TOPIC, &writer.client.seal(TOPIC, b"lost").unwrap()).is_err());
    reader.command_at(NOW + 1, &Command::SetNextTopicKey { topic, key: key(1) }).unwrap();
    let opened = reader.open(TOPIC, &writer.client.seal(TOPIC, b"not lost").unwrap()).unwrap();
    assert_eq!(opened.key, KeyRole::Next);
}
