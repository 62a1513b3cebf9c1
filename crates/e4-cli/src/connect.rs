//! The first connection: in the version of MQTT that the broker speaks, and with a reason if it is not made. Later ones
//! may be tried for ever, but whoever mistyped a host or a password wants to know.

use crate::{
    broker::{BrokerArgs, Version},
    output::Failure,
    terminal::{note, printable},
};
use anyhow::{Context, anyhow};
use e4::Client;
use e4_mqtt::{Builder, Cause, Connection, Event, Events, Loss, bounds::MAX_UNREADABLE};
use std::{ops::ControlFlow, time::Duration};
use tokio::time::{Instant, timeout_at};

/// How long the broker has to take the first connection. The network has less: 5 s.
const CONNECT_WITHIN: Duration = Duration::from_secs(20);

/// Who connects.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// A device, which is no use without the commands of its key server.
    Device,
    /// A key server, for a moment. Its own control topic exists in name only.
    KeyServer,
}

/// A connection that was made.
pub(crate) struct Connected {
    pub(crate) connection: Connection,
    pub(crate) events: Events,
    /// Whether the broker keeps commands while nobody is connected, as far as it says.
    pub(crate) keeps_commands: bool,
}

/// Connects for the first time. MQTT 3.1.1 is tried where the broker does not speak MQTT 5, unless a version was asked for.
///
/// What the session has kept may come before the connection is ready: `take` gets it, and may say that it is enough.
pub(crate) async fn connect(
    args: &BrokerArgs,
    role: Role,
    mut device: Client,
    shape: &dyn Fn(Builder) -> Builder,
    take: &mut dyn FnMut(Event) -> Result<ControlFlow<()>, Failure>,
) -> Result<Connected, Failure> {
    let mut not_5: Option<Loss> = None;
    loop {
        let version = args.version(not_5.is_some());
        let builder = args.builder(device, version)?;
        let builder = if role == Role::KeyServer { builder.clean_session() } else { builder };
        let (connection, mut events) = shape(builder).connect()?;
        match first_events(&mut events, role, take).await? {
            First::Connected { keeps_commands } => {
                if let Some(loss) = &not_5 {
                    note(format!(
                        "The broker does not speak MQTT 5 ({}): connected with MQTT 3.1.1, as -V 311 does at once",
                        printable(&loss.reason)
                    ));
                }
                return Ok(Connected { connection, events, keeps_commands });
            }
            First::Not(loss) if not_5.is_none() && args.may_change_version() && may_be_the_version(&loss) => {
                device = connection.shutdown(Duration::ZERO).await?.device;
                not_5 = Some(loss);
            }
            First::Not(loss) => {
                // What both versions have come to is no matter of the version.
                let (loss, version) = match not_5 {
                    Some(not_5) if may_be_the_version(&loss) => (not_5, Version::V5),
                    _ => (loss, version),
                };
                return Err(args.not_connected(version, &loss.reason).await.into());
            }
            First::Silent => {
                let reason = format!("no answer within {} s", CONNECT_WITHIN.as_secs());
                return Err(args.not_connected(version, &reason).await.into());
            }
        }
    }
}

enum First {
    /// Or what came is enough.
    Connected {
        keeps_commands: bool,
    },
    Not(Loss),
    Silent,
}

async fn first_events(
    events: &mut Events,
    role: Role,
    take: &mut dyn FnMut(Event) -> Result<ControlFlow<()>, Failure>,
) -> Result<First, Failure> {
    let deadline = Instant::now() + CONNECT_WITHIN;
    let mut unreadable = 0;
    while let Ok(event) = timeout_at(deadline, events.next_event()).await {
        match event.context("the connection was closed")? {
            Event::Connected(granted) => {
                let mut keeps_commands = true;
                if role == Role::Device {
                    for shortcoming in granted.shortcomings() {
                        keeps_commands = false;
                        note(format!("Note: {shortcoming}"));
                    }
                }
                return Ok(First::Connected { keeps_commands });
            }
            Event::SubscriptionRefused { .. } if role == Role::KeyServer => {
                return Ok(First::Connected { keeps_commands: false });
            }
            Event::SubscriptionRefused { reason, .. } => return Err(no_commands(&reason).into()),
            // What waits in the session is in the way. After so many the session is ended, and then there is one more.
            Event::Disconnected(loss)
                if matches!(loss.cause, Cause::Unreadable | Cause::OutOfTurn)
                    && unreadable <= MAX_UNREADABLE
                    && (loss.in_a_row > 0 || unreadable > 0) =>
            {
                unreadable += 1;
                let _goes_on = take(Event::Disconnected(loss))?;
            }
            Event::Disconnected(loss) => return Ok(First::Not(loss)),
            other => {
                if take(other)?.is_break() {
                    return Ok(First::Connected { keeps_commands: true });
                }
            }
        }
    }
    Ok(First::Silent)
}

/// Whether the broker may have ended the connection because of the version of MQTT. Some say so, some just close, and some
/// answer in the form of 3.1.1, of which 5 waits for the rest.
fn may_be_the_version(loss: &Loss) -> bool {
    match loss.cause {
        Cause::WrongVersion | Cause::ClosedBeforeAnswer | Cause::Unreadable => true,
        Cause::Network => loss.reason.to_lowercase().contains("timeout"),
        _ => false,
    }
}

/// Why a device cannot work with a broker that does not let it hear from its key server.
fn no_commands(reason: &str) -> anyhow::Error {
    anyhow!(
        "the broker does not let this client subscribe to its control topic, so that it would miss the commands of its key \
         server ({reason}): have the broker allow it (`e4 id` and `e4 device show` name the topic)"
    )
}
