//! All about one target, within its time.

use crate::{
    dial::Dialer,
    findings, fingerprint,
    probe::{Probe, Prober, Seen, Who, in_words, limits},
    report::{Answer, Level, LevelReport, Outcome, Report},
    settings::Settings,
    target::Target,
};
use futures_util::{StreamExt, stream};
use mqtt_advice::{Cause, speaks_tls};
use std::{io, sync::Arc};
use tokio::time::{Instant, timeout_at};

/// Probes of one target that run at the same time; each has two connections at the most.
const AT_ONCE: usize = 8;

/// Looks at a target. It takes not much longer than the budget, whatever the target does.
pub async fn examine(target: &Target, settings: &Settings) -> Report {
    let begun = Instant::now();
    let dialer =
        Dialer::new(target.clone(), settings.proxy.clone(), Arc::clone(&settings.tls), settings.connect_within);
    let mut look = Look {
        report: Report::blank(target, settings.intrusive),
        prober: &Prober::new(&dialer, settings),
        deadline: begun + settings.budget,
    };
    look.run().await;
    let mut report = look.report;
    report.address = dialer.address().map(|address| address.to_string());
    report.seconds = begun.elapsed().as_secs_f64();
    report.products = fingerprint::guess(&report);
    report.findings = findings::judge(&report);
    report
}

/// A look under way.
struct Look<'a> {
    report: Report,
    prober: &'a Prober<'a>,
    deadline: Instant,
}

impl<'a> Look<'a> {
    async fn run(&mut self) {
        let prober = self.prober;
        // One connection first: most of what is not there is found out by it.
        let first = timeout_at(self.deadline, prober.greet(Level::V5.byte(), Who::Stranger)).await;
        let first = first.unwrap_or(Answer::Silent);
        let is_tls = prober.dialer.target().transport().is_tls();
        if let Answer::Failed { reason } = &first
            && !is_tls
        {
            self.report.outcome = Outcome::Unreachable { reason: reason.clone() };
            self.look_for_tls().await;
            return;
        }
        self.report.mqtt_5 = Some(LevelReport::new(first));
        let mut greetings = greetings(prober);
        if is_tls {
            greetings.push(Box::pin(async {
                let tls = prober.tls().await;
                Box::new(|report: &mut Report| report.tls = Some(tls)) as Seen
            }));
        }
        self.collect(greetings).await;
        self.report.outcome = outcome(&self.report);
        if self.report.outcome != Outcome::Broker {
            if is_tls {
                self.look_behind_tls().await;
            } else {
                self.look_for_tls().await;
            }
            return;
        }
        // What is behind subscribes to everything, and the answer to a message that nobody gets is worth knowing.
        let (mut behaviour, mut access) = (Vec::new(), Vec::new());
        for level in [Level::V3_1_1, Level::V5] {
            let Some(part) = self.report.level_mut(level) else { continue };
            let user = part.credentials.as_ref().filter(|answer| answer.is_accepted());
            let stranger = Some(&part.anonymous).filter(|answer| answer.is_accepted());
            if level == Level::V5 {
                part.limits = user.or(stranger).and_then(Answer::connack).map(limits);
            }
            let who = [user.map(|_| Who::User), stranger.map(|_| Who::Stranger)];
            match who.into_iter().flatten().next() {
                Some(who) => behaviour.extend(prober.behaviour(level, who, part)),
                None => behaviour.extend(prober.login_errors(level)),
            }
            access.extend(who.into_iter().flatten().flat_map(|who| prober.access(level, who, part)));
        }
        self.collect(behaviour).await;
        self.collect(access).await;
    }

    /// A port that says nothing in the clear may speak TLS.
    async fn look_for_tls(&mut self) {
        let target = self.prober.dialer.target();
        let end = self.deadline.min(Instant::now() + self.prober.settings.answer_within);
        let Ok(Ok(stream)) = timeout_at(end, self.prober.dialer.stream()).await else { return };
        if speaks_tls(stream, target.host(), end).await {
            let scheme = if target.transport().is_websocket() { "wss" } else { "mqtts" };
            let reason = format!("it speaks TLS: look at {scheme}://{}{}", target.authority(), target.path());
            self.report.outcome = Outcome::NotMqtt { reason };
        }
    }

    /// Why nothing could be said through TLS, in better words than those of the library.
    async fn look_behind_tls(&mut self) {
        let target = self.prober.dialer.target();
        if target.transport().is_websocket() {
            return;
        }
        let settings = self.prober.settings;
        let tried = mqtt_advice::Connection {
            host: target.host(),
            tls: Some(&settings.tls),
            version: mqtt_advice::Version::V5,
        };
        let dial = || async { self.prober.dialer.stream().await.map_err(io::Error::other) };
        let within = self.deadline.saturating_duration_since(Instant::now()).min(settings.answer_within * 2);
        self.report.outcome = match mqtt_advice::diagnose(&tried, dial, within).await {
            Some(cause @ Cause::NoTls) => {
                Outcome::NotMqtt { reason: format!("{cause}: look at mqtt://{}", target.authority()) }
            }
            Some(cause @ Cause::NotMqtt(_)) => Outcome::NotMqtt { reason: cause.to_string() },
            Some(cause @ (Cause::Tls(_) | Cause::NoClientCertificate)) => {
                Outcome::Unreachable { reason: cause.to_string() }
            }
            _ => return,
        };
    }

    /// Runs probes until they are done or the time is over, and keeps what they saw.
    async fn collect(&mut self, probes: Vec<Probe<'a>>) {
        let mut seen = stream::iter(probes).buffer_unordered(AT_ONCE);
        loop {
            match timeout_at(self.deadline, seen.next()).await {
                Ok(Some(put)) => put(&mut self.report),
                Ok(None) => return,
                Err(_) => {
                    let seconds = self.prober.settings.budget.as_secs();
                    self.report.incomplete = Some(format!("the time of {seconds} s was over"));
                    return;
                }
            }
        }
    }
}

/// The first words with each version, as a stranger and with credentials.
fn greetings<'a>(prober: &'a Prober<'a>) -> Vec<Probe<'a>> {
    /// The standard has no such level.
    const UNKNOWN: u8 = 6;
    fn greet<'a>(
        prober: &'a Prober<'a>,
        level: u8,
        who: Who,
        put: impl FnOnce(&mut Report, Answer) + Send + 'static,
    ) -> Probe<'a> {
        Box::pin(async move {
            let answer = prober.greet(level, who).await;
            Box::new(move |report: &mut Report| put(report, answer)) as Seen
        })
    }
    let mut greetings = vec![
        greet(prober, 3, Who::Stranger, |report, answer| report.mqtt_3_1 = Some(answer)),
        greet(prober, UNKNOWN, Who::Stranger, |report, answer| report.unknown_level = Some(answer)),
        greet(prober, Level::V3_1_1.byte(), Who::Stranger, |report, answer| {
            let credentials = report.mqtt_3_1_1.take().and_then(|part| part.credentials);
            report.mqtt_3_1_1 = Some(LevelReport { credentials, ..LevelReport::new(answer) });
        }),
    ];
    if prober.settings.has_user() {
        greetings.extend([Level::V3_1_1, Level::V5].map(|level| {
            greet(prober, level.byte(), Who::User, move |report, answer| {
                let part = match level {
                    Level::V3_1_1 => &mut report.mqtt_3_1_1,
                    Level::V5 => &mut report.mqtt_5,
                };
                // The stranger's answer may come later.
                part.get_or_insert_with(|| LevelReport::new(Answer::Silent)).credentials = Some(answer);
            })
        }));
    }
    greetings
}

/// Whether there is a broker, by the answers to the first words.
fn outcome(report: &Report) -> Outcome {
    let levels = [report.mqtt_5.as_ref(), report.mqtt_3_1_1.as_ref()].into_iter().flatten();
    let answers: Vec<&Answer> = levels
        .flat_map(|part| [Some(&part.anonymous), part.credentials.as_ref()])
        .chain([report.mqtt_3_1.as_ref(), report.unknown_level.as_ref()])
        .flatten()
        .collect();
    if answers.iter().any(|answer| answer.connack().is_some()) {
        return Outcome::Broker;
    }
    let other = answers.iter().find(|answer| matches!(answer, Answer::Other { .. }));
    if let Some(other) = other {
        return Outcome::NotMqtt { reason: in_words(other) };
    }
    match answers.first() {
        Some(Answer::Failed { reason }) => Outcome::Unreachable { reason: reason.clone() },
        Some(answer) => Outcome::NotMqtt { reason: in_words(answer) },
        None => Outcome::Unreachable { reason: "no time was left".into() },
    }
}
