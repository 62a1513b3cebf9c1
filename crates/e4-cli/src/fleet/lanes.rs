//! The lane file, beside the fleet file: how the last commands for each device are dated, and where its reports are.
//!
//! ```text
//! # comment
//! ID SECOND USED
//! ID SECOND USED NEWEST REPORTED KNOWS
//! ```
//!
//! One line a device: its id, the second of its last command in Unix time, and how many commands carry that second. A device
//! takes no command that is older than the newest one it took, so what a clock that was set back says must not count. For a
//! device that has reported, of the last report: the newest command that the device had taken, when it was made, and
//! `next-keys` if the device knows the commands for them, `old-commands` if it does not.

use super::{
    device::Device,
    lock::{beside, permissions},
    members::Fleet,
};
use crate::{
    terminal::note,
    whole_file::{NewFile, open_file},
};
use anyhow::{Context, anyhow, ensure};
use e4::{
    ClientId, Command, KeyError, Timestamp,
    controller::{Lane, LastReport, OlderReport, Report, SealedCommand},
};
use std::{collections::BTreeMap, fmt::Write as _, fs, io::Read, path::PathBuf, thread, time::Duration};

const COMMENT: &str = "\
# How the last commands for each device are dated: its id, the second, and how many carry it. `e4 control` keeps this file
# beside the fleet file, and needs it: without it, a device may refuse commands after this machine's clock was set back.
# Behind that, what the device last reported: the second of its newest command, that of the report, and what it knows.
";

const NEXT_KEYS: &str = "next-keys";
const OLD_COMMANDS: &str = "old-commands";

/// Commands do not wait longer than this for a second of their own; beyond that it is the clock that is behind.
const SHORT_WAIT: u64 = 2;

/// The lanes of a fleet, which nobody else uses meanwhile: the fleet is locked.
pub(crate) struct Lanes<'a> {
    fleet: &'a Fleet,
    path: PathBuf,
    lanes: BTreeMap<ClientId, Entry>,
}

/// What is kept of a device.
#[derive(Debug, Default, PartialEq)]
struct Entry {
    lane: Lane,
    reported: Option<Reported>,
}

#[derive(Debug, PartialEq)]
struct Reported {
    last: LastReport,
    knows_next_keys: bool,
}

/// Makes the commands for one device, which belong together; it is told whether the device is known to know next keys.
pub(crate) type CommandsFor<'a> = dyn Fn(bool) -> Result<Vec<Command>, KeyError> + 'a;

impl<'a> Lanes<'a> {
    /// Reads the file.
    pub(crate) fn open(fleet: &'a Fleet) -> anyhow::Result<Self> {
        let path = beside(&fleet.path, ".lanes");
        let lanes = match open_file(&path)? {
            None => BTreeMap::new(),
            Some(mut file) => {
                let mut text = String::new();
                file.read_to_string(&mut text).with_context(|| format!("could not read {}", path.display()))?;
                parse(&text).with_context(|| {
                    format!("{} is damaged: restore it, or have somebody look up what was sent last", path.display())
                })?
            }
        };
        Ok(Self { fleet, path, lanes })
    }

    /// Seals what each device gets, in order, and stores the times: nothing may be printed or sent before that. Each device gets
    /// a second of its own, as a command that is equal to another one of its second is taken for a repetition.
    ///
    /// # Errors
    ///
    /// If it could not be stored. What is wrong for one device is in its own result.
    pub(crate) fn seal<'d>(
        &mut self,
        devices: impl Iterator<Item = &'d Device> + Clone,
        commands: &CommandsFor<'_>,
    ) -> anyhow::Result<Vec<anyhow::Result<Vec<SealedCommand>>>> {
        self.wait_a_moment(devices.clone());
        let now = Timestamp::now();
        let sealed: Vec<_> = devices.map(|device| self.seal_for(device, commands, now)).collect();
        let times = sealed.iter().flatten().flatten().map(SealedCommand::sent);
        let behind = times.max().map(|time| time.as_unix().saturating_sub(now.as_unix()));
        if let Some(seconds @ SHORT_WAIT..) = behind {
            note(format!(
                "Warning: this machine's clock is {seconds} s behind the last commands: those of now are dated after them, and \
                 devices that refuse what is dated ahead, as those of e4go, refuse them: check the clock"
            ));
        }
        self.save()
            .with_context(|| format!("could not write {}, without which nothing is sent", self.path.display()))?;
        Ok(sealed)
    }

    fn seal_for(
        &mut self,
        device: &Device,
        commands: &CommandsFor<'_>,
        now: Timestamp,
    ) -> anyhow::Result<Vec<SealedCommand>> {
        let entry = self.lanes.entry(device.id).or_default();
        let recipient = self.fleet.recipient(device)?;
        // The device has taken it, as far as one can know.
        entry.lane.observe(entry.lane.last());
        let commands = commands(entry.reported.as_ref().is_some_and(|reported| reported.knows_next_keys))?;
        Ok(recipient.seal(&commands, &mut entry.lane, now)?)
    }

    /// Takes in what a device reports, for the commands to come. [`save`](Self::save) stores it.
    ///
    /// # Errors
    ///
    /// [`OlderReport`]: nothing is to be believed of it.
    pub(crate) fn take_in(&mut self, device: &ClientId, report: &Report) -> Result<(), OlderReport> {
        let entry = self.lanes.entry(*device).or_default();
        let mut last = entry.reported.as_ref().map_or_else(LastReport::new, |reported| reported.last);
        last.accept(report)?;
        entry.lane.observe(report.newest);
        entry.reported = Some(Reported { last, knows_next_keys: report.knows_next_keys });
        Ok(())
    }

    /// Stores what was taken in, and says so where that cannot be done: nothing else depends on it.
    pub(crate) fn save_reports(&self) {
        if let Err(error) = self.save() {
            note(format!("What the devices reported could not be stored beside the fleet file: {error:#}"));
        }
    }

    /// The last report of a device, as far as it decides about the next.
    pub(crate) fn last_report(&self, device: &ClientId) -> LastReport {
        let reported = self.lanes.get(device).and_then(|entry| entry.reported.as_ref());
        reported.map_or_else(LastReport::new, |reported| reported.last)
    }

    /// Whether a device knows next keys, by its last report; `None` if it never sent one.
    pub(crate) fn knows_next_keys(&self, device: &ClientId) -> Option<bool> {
        Some(self.lanes.get(device)?.reported.as_ref()?.knows_next_keys)
    }

    /// If another command was sent in this second, the next one comes soon.
    fn wait_a_moment<'d>(&self, devices: impl Iterator<Item = &'d Device>) {
        let last = devices.filter_map(|device| self.lanes.get(&device.id)).map(|entry| entry.lane.last()).max();
        let ahead = |last: Timestamp| (last.as_unix() + 1).checked_sub(Timestamp::now().as_unix());
        while let Some(1..=SHORT_WAIT) = last.and_then(ahead) {
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Writes the file, whole or not at all, to the disk. One that names no device is not written.
    pub(crate) fn save(&self) -> anyhow::Result<()> {
        if self.lanes.is_empty() {
            return Ok(());
        }
        let mut text = COMMENT.to_owned();
        for (id, Entry { lane, reported }) in &self.lanes {
            write!(text, "{id} {} {}", lane.last(), lane.used())?;
            if let Some(Reported { last, knows_next_keys }) = reported {
                let knows = if *knows_next_keys { NEXT_KEYS } else { OLD_COMMANDS };
                write!(text, " {} {} {knows}", last.newest(), last.sent())?;
            }
            text.push('\n');
        }
        // Whoever may send commands to the fleet goes on to do so, also after somebody else did, such as root.
        let owner = fs::metadata(&self.fleet.path)?;
        let mode = permissions(&owner);
        NewFile { path: &self.path, mode, owner, replaces: true, to_the_disk: true }.write(text.as_bytes())?;
        Ok(())
    }
}

fn parse(text: &str) -> anyhow::Result<BTreeMap<ClientId, Entry>> {
    let mut lanes = BTreeMap::new();
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
        let (id, entry) = parse_line(line).with_context(|| format!("line {}", at + 1))?;
        ensure!(lanes.insert(id, entry).is_none(), "line {}: a second one for the device", at + 1);
    }
    // As it is never written; but a full disk may leave an empty file behind where it was copied.
    ensure!(!lanes.is_empty(), "it names no device");
    Ok(lanes)
}

fn parse_line(line: &str) -> anyhow::Result<(ClientId, Entry)> {
    let fields: Vec<_> = line.split(' ').collect();
    let [id, last, used, report @ ..] = &fields[..] else { return Err(anyhow!("not an id, a second and a number")) };
    let second = |text: &str| text.parse().map(Timestamp::from_unix);
    let lane = Lane::resume(second(last)?, used.parse()?);
    let reported = match report {
        [] => None,
        [newest, sent, knows @ (NEXT_KEYS | OLD_COMMANDS)] => Some(Reported {
            last: LastReport::resume(second(newest)?, second(sent)?),
            knows_next_keys: *knows == NEXT_KEYS,
        }),
        _ => return Err(anyhow!("behind the number, not two seconds and what the device knows")),
    };
    Ok((id.parse()?, Entry { lane, reported }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f34_a_damaged_lane_file_is_no_empty_one() {
        let id = "00112233445566778899aabbccddeeff";
        let good = format!("{COMMENT}{id} 1764300000 2\n");
        let lane = Lane::resume(Timestamp::from_unix(1_764_300_000), 2);
        assert_eq!(parse(&good).unwrap(), BTreeMap::from([(id.parse().unwrap(), Entry { lane, reported: None })]));
        let reported = |knows| good.replace(" 2\n", &format!(" 2 1764300000 1764300007 {knows}\n"));
        for (knows, knows_next_keys) in [(NEXT_KEYS, true), (OLD_COMMANDS, false)] {
            let last = LastReport::resume(lane.last(), Timestamp::from_unix(1_764_300_007));
            let entry = Entry { lane, reported: Some(Reported { last, knows_next_keys }) };
            assert_eq!(parse(&reported(knows)).unwrap(), BTreeMap::from([(id.parse().unwrap(), entry)]));
        }
        for bad in [
            String::new(),
            "\n".to_owned(),
            COMMENT.to_owned(),
            reported(""),
            reported("next"),
            reported("next-keys "),
            reported("next-keys").replace("1764300007 ", ""),
            reported("next-keys").replace("1764300007", "-1"),
            good.replace(" 2\n", "\n"),
            good.replace(" 2\n", " 2 2\n"),
            good.replace(" 2\n", " 300\n"),
            good.replace("1764300000", "-1"),
            good.replace("00112233", "0011223"),
            format!("{good}{good}"),
            good.replace("# ", ""),
        ] {
            assert!(parse(&bad).is_err(), "{bad}");
        }
    }
}
