//! A device without an operating system, a heap or a clock. It gets a topic key from its key server and the time with
//! it, seals and opens a message, loses its power, goes on from what its flash memory holds, and reports that.
//!
//! On a chip, `main` is the entry point of its runtime crate, [`Flash`] and [`Uptime`] are its memory and its timer, and
//! what is sealed here for the key server arrives over MQTT. This program ends with the number of the [`Step`] that
//! went wrong, 0 for none.

#![no_std]
#![no_main]

mod flash;

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use e4::{
    AppliedCommand, Client, ClientBuilder, ClientId, ClientKey, Clock, ClockReading, Command, FixedKeyRing, Identity,
    Message, OpenError, Opened, REPORT_LEN, Refusal, SYMMETRIC_OVERHEAD, SealError, Timestamp, Topic, TopicKey,
    controller::{Recipient, SealedCommand, StateDigest, StateEntry},
};
use flash::Flash;

/// Room for the keys of 8 topics, for no peers (messages are not signed), and for 32 opened messages, so that none of
/// them is opened twice. All of it lies in the client itself: 2.8 kB.
type Device<'f> = Client<Ring, &'f mut Flash, Uptime>;
type Ring = FixedKeyRing<8, 0, 32>;

const TOPIC: &str = "plant/7/pump/pressure";
const PAYLOAD: &[u8] = b"4.2 bar";
const MESSAGE_LEN: usize = SYMMETRIC_OVERHEAD + PAYLOAD.len();
/// When the key server sends its first command.
const START: u64 = 1_800_000_000;

/// What can go wrong, each with a number of its own.
#[derive(Clone, Copy)]
enum Step {
    MakeNamesAndKeys = 1,
    Create,
    SealWithoutTime,
    SealCommand,
    ApplyCommand,
    LearnTime,
    Seal,
    Open,
    RefuseReplayedMessage,
    Restart,
    RefuseReplayedCommand,
    KeepKey,
    Report,
    SurvivePowerFailure,
}

#[unsafe(no_mangle)]
pub extern "C" fn main() -> i32 {
    match run() {
        Ok(()) => 0,
        Err(step) => step as i32,
    }
}

fn run() -> Result<(), Step> {
    let topic = Topic::new(TOPIC).or(Err(Step::MakeNamesAndKeys))?;
    let id = ClientId::from_name("pump-7").or(Err(Step::MakeNamesAndKeys))?;
    // Written into the device when it is made; the key server has it too.
    let client_key = ClientKey::from_bytes(&[0x17; 32]).or(Err(Step::MakeNamesAndKeys))?;
    let key_server = Recipient::symmetric(id, &client_key);
    let mut flash = Flash::new();

    // The first start, where the device is made and gets a key that was never used before. At every later one it loads its
    // state, or does nothing if that is lost: it would take every recorded command again. Sealed messages carry the time,
    // which a device without a clock does not know yet.
    let mut device: Device<'_> = ClientBuilder::new(Identity::symmetric(id, client_key))
        .first_start()
        .create_with(&mut flash, Uptime)
        .or(Err(Step::Create))?;
    let mut message = [0; MESSAGE_LEN];
    message[SYMMETRIC_OVERHEAD..].copy_from_slice(PAYLOAD);
    check(device.seal_in_place(&topic, &mut message) == Err(SealError::TimeUnknown), Step::SealWithoutTime)?;

    // The first command brings the key of a topic, and the time.
    let command = seal_topic_key(&key_server, &topic, [0x42; 32], START)?;
    check(is_applied(deliver(&mut device, &command)), Step::ApplyCommand)?;
    pass_seconds(5);
    check(device.now() == Some(Timestamp::from_unix(START + 5)), Step::LearnTime)?;

    // Sealed where it stands, and opened where it stands.
    device.seal_in_place(&topic, &mut message).or(Err(Step::Seal))?;
    let sealed = message;
    pass_seconds(2);
    match device.open_in_place(&topic, &mut message) {
        Ok(Opened::Message(Message { payload, age: Some(2), .. })) => check(payload == PAYLOAD, Step::Open)?,
        _ => return Err(Step::Open),
    }
    message = sealed; // as the broker delivers it once more
    let replayed = device.open_in_place(&topic, &mut message);
    check(replayed == Err(OpenError::Refused(Refusal::Repeated)), Step::RefuseReplayedMessage)?;

    // The device is switched off and on again. It still has its key, and still knows the commands that it took: one that
    // somebody recorded cannot bring an old key back.
    drop(device);
    let mut device = Device::load_with(&mut flash, Uptime).or(Err(Step::Restart))?;
    let replayed = deliver(&mut device, &command);
    check(replayed == Err(OpenError::Refused(Refusal::Repeated)), Step::RefuseReplayedCommand)?;
    message = sealed;
    // It has no time again, so it cannot tell the age of the message. An application that minds waits for a command.
    match device.open_in_place(&topic, &mut message) {
        Ok(Opened::Message(Message { payload, age: None, .. })) => check(payload == PAYLOAD, Step::KeepKey)?,
        _ => return Err(Step::KeepKey),
    }

    // It tells its key server what it took and what it holds, on `report_topic` of its id.
    let mut report = [0; REPORT_LEN];
    device.report_in_place(&mut report);
    let report = key_server.open_report(&report).or(Err(Step::Report))?;
    check(report.newest == Timestamp::from_unix(START) && report.topics == 1, Step::Report)?;
    let held = [StateEntry::TopicKey(topic.hash(), &topic_key([0x42; 32])?)];
    check(report.digest == StateDigest::of(held) && report.refused.is_none(), Step::Report)?;
    drop(device);

    survive_power_failures(&mut flash, &key_server, &topic)
}

/// Lets the power fail at every single word of a save: the device finds the state from before it, never a mixture.
fn survive_power_failures(flash: &mut Flash, key_server: &Recipient, topic: &Topic<'_>) -> Result<(), Step> {
    let failed = Step::SurvivePowerFailure;
    let command = seal_topic_key(key_server, topic, [0x43; 32], START + 60)?;
    for words in 0.. {
        flash.words_left = words;
        let mut device = Device::load_with(&mut *flash, Uptime).or(Err(failed))?;
        let applied = is_applied(deliver(&mut device, &command));
        drop(device);

        flash.words_left = usize::MAX;
        let device = Device::load_with(&mut *flash, Uptime).or(Err(failed))?;
        let newest = if applied { START + 60 } else { START };
        check(device.newest_command() == Some(Timestamp::from_unix(newest)), failed)?;
        if applied {
            return check(words > 0, failed);
        }
    }
    Err(failed)
}

/// What the key server does: it seals the command that gives this device a topic key.
fn seal_topic_key(key_server: &Recipient, topic: &Topic<'_>, key: [u8; 32], sent: u64) -> Result<SealedCommand, Step> {
    let key = topic_key(key)?;
    key_server.seal_dated(&Command::set_topic_key(topic, key), Timestamp::from_unix(sent)).or(Err(Step::SealCommand))
}

fn topic_key(bytes: [u8; 32]) -> Result<TopicKey, Step> {
    TopicKey::from_bytes(&bytes).or(Err(Step::MakeNamesAndKeys))
}

type Delivered = Result<Opened<&'static mut [u8]>, OpenError>;

/// A command arrives on the device's control topic. It needs no buffer to be opened into.
fn deliver(device: &mut Device<'_>, command: &SealedCommand) -> Delivered {
    let control_topic = device.control_topic();
    device.open_into(control_topic.as_str(), command.as_bytes(), &mut [])
}

fn is_applied(delivered: Delivered) -> bool {
    matches!(delivered, Ok(Opened::Command(AppliedCommand::SetTopicKey(_))))
}

fn check(holds: bool, step: Step) -> Result<(), Step> {
    if holds { Ok(()) } else { Err(step) }
}

/// Seconds since the device was started. On a chip, a timer's interrupt counts them.
static UPTIME: AtomicU32 = AtomicU32::new(0);

fn pass_seconds(seconds: u32) {
    UPTIME.store(UPTIME.load(Relaxed) + seconds, Relaxed);
}

/// The clock of a device that has none.
struct Uptime;

impl Clock for Uptime {
    fn read(&self) -> ClockReading {
        ClockReading::Uptime(UPTIME.load(Relaxed).into())
    }
}

/// The `core` of this computer is compiled for unwinding and refers to this. On a chip leave it out.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

// A chip would reset here. The C library is all that this program has of an operating system.
#[link(name = "c")]
unsafe extern "C" {
    safe fn abort() -> !;
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    abort()
}
