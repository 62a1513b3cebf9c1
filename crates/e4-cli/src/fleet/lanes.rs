//! The lane file, beside the fleet file: how the last commands for each device are dated.
//!
//! ```text
//! # comment
//! ID SECOND USED
//! ```
//!
//! One line a device: its id, the second of its last command in Unix time, and how many commands carry that second. A device
//! takes no command that is older than the newest one it took, so what a clock that was set back says must not count.

use super::{device::Device, members::Fleet};
use crate::{
    terminal::note,
    whole_file::{NewFile, open_file},
};
use anyhow::{Context, anyhow, ensure};
use e4::{ClientId, Timestamp, controller::Lane};
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs::{File, Metadata, TryLockError},
    io::{self, Read},
    path::PathBuf,
    thread,
    time::Duration,
};

const COMMENT: &str = "\
# How the last commands for each device are dated: its id, the second, and how many carry it. `e4 control` keeps this file
# beside the fleet file, and needs it: without it, a device may refuse commands after this machine's clock was set back.
";

/// Commands do not wait longer than this for a second of their own; beyond that it is the clock that is behind.
const SHORT_WAIT: u64 = 2;

/// The lanes of a fleet, which nobody else uses until this value is dropped.
pub(crate) struct Lanes<'a> {
    fleet: &'a Fleet,
    path: PathBuf,
    lanes: BTreeMap<ClientId, Lane>,
}

impl<'a> Lanes<'a> {
    /// Waits until nobody else sends commands to this fleet, and reads the file.
    pub(crate) fn open(fleet: &'a Fleet) -> anyhow::Result<Self> {
        lock(&fleet.file).with_context(|| format!("could not lock the fleet file {}", fleet.path.display()))?;
        let mut path = fleet.path.clone().into_os_string();
        path.push(".lanes");
        let path = PathBuf::from(path);
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

    /// Gives out the time for some commands to each device, and stores it: nothing may be printed or sent before that. Each
    /// device gets a second of its own, as a command that is equal to another one of its second is taken for a repetition.
    ///
    /// # Errors
    ///
    /// If it could not be stored. What is wrong for one device is in its own result.
    pub(crate) fn reserve<'d>(
        &mut self,
        devices: impl Iterator<Item = &'d Device> + Clone,
        commands: usize,
    ) -> anyhow::Result<Vec<anyhow::Result<Timestamp>>> {
        self.wait_a_moment(devices.clone());
        let now = Timestamp::now();
        let given: Vec<_> = devices.map(|device| self.reserve_one(&device.id, commands, now)).collect();
        let behind = given.iter().flatten().map(|time| time.as_unix().saturating_sub(now.as_unix())).max();
        if let Some(seconds @ SHORT_WAIT..) = behind {
            note(format!(
                "Warning: this machine's clock is {seconds} s behind the last commands: those of now are dated after them, and \
                 devices that refuse what is dated ahead, as those of e4go, refuse them: check the clock"
            ));
        }
        self.save()
            .with_context(|| format!("could not write {}, without which nothing is sent", self.path.display()))?;
        Ok(given)
    }

    fn reserve_one(&mut self, device: &ClientId, commands: usize, now: Timestamp) -> anyhow::Result<Timestamp> {
        let lane = self.lanes.entry(*device).or_default();
        // The device has taken it, as far as one can know.
        lane.observe(lane.last());
        Ok(lane.reserve_alone(commands, now)?)
    }

    /// If another command was sent in this second, the next one comes soon.
    fn wait_a_moment<'d>(&self, devices: impl Iterator<Item = &'d Device>) {
        let last = devices.filter_map(|device| self.lanes.get(&device.id)).map(Lane::last).max();
        let ahead = |last: Timestamp| (last.as_unix() + 1).checked_sub(Timestamp::now().as_unix());
        while let Some(1..=SHORT_WAIT) = last.and_then(ahead) {
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Writes the file, whole or not at all, to the disk.
    fn save(&self) -> anyhow::Result<()> {
        let mut text = COMMENT.to_owned();
        for (id, lane) in &self.lanes {
            writeln!(text, "{id} {} {}", lane.last(), lane.used())?;
        }
        // Whoever may send commands to the fleet goes on to do so, also after somebody else did, such as root.
        let owner = self.fleet.file.metadata()?;
        let mode = permissions(&owner);
        NewFile { path: &self.path, mode, owner, replaces: true, to_the_disk: true }.write(text.as_bytes())?;
        Ok(())
    }
}

/// Who may read and write a file.
#[cfg(unix)]
fn permissions(file: &Metadata) -> u32 {
    std::os::unix::fs::MetadataExt::mode(file) & 0o666
}

#[cfg(not(unix))]
fn permissions(_: &Metadata) -> u32 {
    0o600
}

fn lock(file: &File) -> io::Result<()> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => {
            note("Another e4 control sends commands to this fleet: waiting for it");
            file.lock()
        }
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn parse(text: &str) -> anyhow::Result<BTreeMap<ClientId, Lane>> {
    let mut lanes = BTreeMap::new();
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
        let (id, lane) = parse_line(line).with_context(|| format!("line {}", at + 1))?;
        ensure!(lanes.insert(id, lane).is_none(), "line {}: a second one for the device", at + 1);
    }
    // As it is never written; but a full disk may leave an empty file behind where it was copied.
    ensure!(!lanes.is_empty(), "it names no device");
    Ok(lanes)
}

fn parse_line(line: &str) -> anyhow::Result<(ClientId, Lane)> {
    let fields: Vec<_> = line.split(' ').collect();
    let [id, last, used] = fields[..] else { return Err(anyhow!("not an id, a second and a number")) };
    Ok((id.parse()?, Lane::resume(Timestamp::from_unix(last.parse()?), used.parse()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f34_a_damaged_lane_file_is_no_empty_one() {
        let good = format!("{COMMENT}00112233445566778899aabbccddeeff 1764300000 2\n");
        let lanes = parse(&good).unwrap();
        assert_eq!(
            lanes.values().map(|lane| (lane.last().as_unix(), lane.used())).collect::<Vec<_>>(),
            [(1_764_300_000, 2)]
        );
        for bad in [
            String::new(),
            "\n".to_owned(),
            COMMENT.to_owned(),
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
