//! What a device published in the last second: an equal message on the same topic in the same second would be equal byte
//! for byte, and receivers would take it for a replay. So it waits for the next second, also when another run of the
//! command published the first one: beside the state `X` the file `X.sent` says what that was.

use crate::whole_file::{NewFile, open_file};
use anyhow::Context;
use e4::{Timestamp, Topic};
use e4_mqtt::Connection;
use sha3::{Digest as _, Sha3_256};
use std::{
    collections::HashSet,
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::time::sleep;

/// Of a topic and a sealed message. Whoever knows the message knows it, and nobody can tell the payload from it without the
/// key.
type Digest = [u8; 32];

/// More than one run leaves in the file: if there are more, it waits for the end of the second instead.
const MOST: usize = 1000;

/// So many messages that waited are worth a word.
const HABIT: u32 = 3;

/// What was published in the last second in which anything was.
pub(crate) struct LastSecond {
    state: PathBuf,
    path: PathBuf,
    second: Timestamp,
    published: HashSet<Digest>,
    /// How many messages have waited.
    waits: u32,
    /// The file does not say what was published: until this second is over, nothing is known.
    unknown: bool,
}

impl LastSecond {
    /// Reads what the last run left beside the state.
    pub(crate) fn open(state: &Path) -> Self {
        let mut path = state.as_os_str().to_owned();
        path.push(".sent");
        let path = PathBuf::from(path);
        let state = state.to_owned();
        let mut this =
            Self { state, path, second: Timestamp::now(), published: HashSet::new(), waits: 0, unknown: false };
        match read(&this.path) {
            Ok(Some((second, published))) if second == this.second => this.published = published,
            Ok(_) => (),
            Err(_) => this.unknown = true,
        }
        this
    }

    /// Waits for a second in which no equal message was published, and returns whether this became a habit just now.
    pub(crate) async fn wait_for_room(
        &mut self,
        connection: &Connection,
        topic: &Topic<'_>,
        message: &[u8],
    ) -> anyhow::Result<bool> {
        let mut waited = false;
        loop {
            let digest = digest(connection, topic, message).await?;
            self.turn();
            if !self.unknown && digest.is_none_or(|digest| !self.published.contains(&digest)) {
                self.waits = self.waits.saturating_add(u32::from(waited));
                return Ok(waited && self.waits == HABIT);
            }
            waited = true;
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Remembers a message that was just published.
    pub(crate) async fn remember(
        &mut self,
        connection: &Connection,
        topic: &Topic<'_>,
        message: &[u8],
    ) -> anyhow::Result<()> {
        self.turn();
        // If a second began since it was sealed, this is of a message that there is not, which may wait for nothing.
        self.published.extend(digest(connection, topic, message).await?);
        Ok(())
    }

    /// Leaves what was published in this second to the next run, or waits for its end.
    pub(crate) async fn close(mut self) {
        self.turn();
        if self.published.is_empty() {
            return;
        }
        if self.published.len() > MOST || self.write().is_err() {
            while Timestamp::now() == self.second {
                sleep(Duration::from_millis(10)).await;
            }
        }
    }

    /// Forgets what was published in an earlier second.
    fn turn(&mut self) {
        let now = Timestamp::now();
        if now != self.second {
            self.second = now;
            self.published.clear();
            self.unknown = false;
        }
    }

    /// Puts a new file in the place of the old one, whatever that is. It belongs to whom the state belongs.
    fn write(&self) -> io::Result<()> {
        let mut text = format!("{}\n", self.second.as_unix());
        for digest in &self.published {
            text += &hex::encode(digest);
            text.push('\n');
        }
        let owner = fs::metadata(&self.state)?;
        NewFile { path: &self.path, mode: 0o600, owner, replaces: true, to_the_disk: false }.write(text.as_bytes())
    }
}

/// None if there is no file.
fn read(path: &Path) -> anyhow::Result<Option<(Timestamp, HashSet<Digest>)>> {
    let mut text = String::new();
    let Some(file) = open_file(path)? else { return Ok(None) };
    file.take(100_000).read_to_string(&mut text)?;
    let mut lines = text.lines();
    let second = lines.next().context("the file is empty")?.parse()?;
    let mut digests = HashSet::new();
    for line in lines {
        let mut digest = [0; 32];
        hex::decode_to_slice(line, &mut digest)?;
        digests.insert(digest);
    }
    Ok(Some((Timestamp::from_unix(second), digests)))
}

/// What identifies a message that would be sealed now; none if it cannot be sealed.
async fn digest(connection: &Connection, topic: &Topic<'_>, message: &[u8]) -> anyhow::Result<Option<Digest>> {
    let sealed = connection.with_device(|device| device.seal(topic, message)).await?;
    let Ok(sealed) = sealed else { return Ok(None) };
    let topic = topic.as_str();
    let mut hash = Sha3_256::new();
    hash.update(u64::try_from(topic.len())?.to_le_bytes());
    hash.update(topic);
    hash.update(sealed);
    Ok(Some(hash.finalize().into()))
}
