//! Opening and making state files.

use crate::{
    id::ClientArgs,
    output::{Failure, iso_time},
    source::Source,
    terminal::note,
    whole_file::check_free,
};
use anyhow::{Context, ensure};
use e4::{
    Client, ClientBuilder, ClientId, Clock, ClockReading, FileStore, GrowableKeyRing, LoadError, Mode, Snapshot, Spare,
    StorageKey, Store, StoreError, Timestamp,
};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// How a state file is opened that may be sealed. For commands with an argument `state`.
#[derive(clap::Args, Clone)]
#[group(skip)]
pub(crate) struct UnlockArgs {
    /// The storage key, if the state file is sealed; say with --name or --id whose state it is
    #[arg(long, value_name = "FILE", requires_all = ["client", "state"])]
    pub(crate) storage_key_file: Option<Source>,
    #[command(flatten)]
    client: ClientArgs,
}

impl UnlockArgs {
    /// Opens the state at a path; it is locked until the client is dropped.
    pub(crate) fn open(&self, state: &Path) -> Result<Client, Failure> {
        Ok(open(state, self.storage_key_file.as_ref(), self.client.id()?)?)
    }

    /// Loads the state at a path to be looked at: without a lock, and without a change to it.
    pub(super) fn look(&self, state: &Path) -> Result<Client, Failure> {
        let client = self.client.id()?;
        let store = find(state, self.storage_key_file.as_ref(), client)?.read_only();
        Ok(checked(Client::load_with_clock(store, NoTime), state, client)?)
    }
}

/// Opens a state file. A sealed one needs its key and the client; for others the client is checked, if it is given.
pub(crate) fn open(path: &Path, storage_key: Option<&Source>, client: Option<ClientId>) -> anyhow::Result<Client> {
    checked(Client::load(find(path, storage_key, client)?), path, client)
}

fn find(path: &Path, storage_key: Option<&Source>, client: Option<ClientId>) -> anyhow::Result<FileStore> {
    let shown = path.display();
    let exists = path.try_exists().with_context(|| format!("could not look for {shown}"))?;
    ensure!(exists, "there is no state of a device at {shown}: make one with `e4 device init`");
    Ok(match storage_key {
        None => FileStore::new(path),
        Some(source) => {
            let client = client.context("a sealed state opens for its client only: give its --name or --id")?;
            FileStore::sealed(path, source.key::<StorageKey>()?, client)
        }
    })
}

fn checked(loaded: Result<Client, LoadError>, path: &Path, client: Option<ClientId>) -> anyhow::Result<Client> {
    let shown = path.display();
    let loaded = loaded.with_context(|| shown.to_string())?;
    if let Some(client) = client {
        let found = loaded.id();
        ensure!(
            *found == client,
            "{shown} is the state of client {found}, not of {client}: check the path and the name"
        );
    }
    Ok(loaded)
}

/// Knows no time, so that nothing in a state expires that is only looked at.
struct NoTime;

impl Clock for NoTime {
    fn read(&self) -> ClockReading {
        ClockReading::Uptime(0)
    }
}

/// Where a new state goes.
#[derive(clap::Args)]
#[group(skip)]
pub(super) struct NewStateArgs {
    /// Where the state goes
    #[arg(long, value_name = "FILE")]
    state: PathBuf,
    /// Seal the state file under this key, which should come from somewhere else than the same disk
    #[arg(long, value_name = "FILE")]
    storage_key_file: Option<Source>,
    /// Replace a state that exists; the device then refuses commands that were sent before
    #[arg(long)]
    force: bool,
}

impl NewStateArgs {
    /// Fails if a state is in the way.
    pub(super) fn check_free(&self) -> anyhow::Result<()> {
        check_free(&self.state, self.force)
    }

    /// The command that fetches what waits in the session of another program.
    pub(super) fn fetch_commands(&self, client: &ClientId) -> String {
        let unlock = self.storage_key_file.as_ref().map(|_| format!(" --storage-key-file FILE --id {client}"));
        let (state, unlock) = (self.state.display(), unlock.unwrap_or_default());
        format!("e4 pub --state {state}{unlock} --only-connect -i THE-MQTT-ID-OF-THAT-CLIENT")
    }

    /// Stores the new client.
    pub(super) fn create(
        &self,
        mut builder: ClientBuilder<GrowableKeyRing>,
        client: ClientId,
    ) -> anyhow::Result<Client> {
        self.check_free()?;
        let storage_key = self.storage_key_file.as_ref().map(Source::key::<StorageKey>).transpose()?;
        let sealed = |key: &StorageKey| FileStore::sealed(&self.state, key.clone(), client);
        let replaces = self.force && self.state.exists();
        if replaces {
            let stores = [Some(FileStore::new(&self.state)), storage_key.as_ref().map(sealed)];
            builder = builder.refuse_commands_until(self.last_command(stores.into_iter().flatten()));
        }
        let store = storage_key.as_ref().map_or_else(|| FileStore::new(&self.state), sealed);
        let created = if replaces { builder.create(Replacing(store)) } else { builder.create(store) };
        created.with_context(|| self.state.display().to_string())
    }

    /// The last second of which the old state may have accepted commands, in whichever store it is: of another device too,
    /// or the way back to this one would lose it. Recorded ones must not count again under the same key, also not those that
    /// were dated ahead.
    fn last_command(&self, stores: impl Iterator<Item = FileStore>) -> Timestamp {
        let (path, now) = (self.state.display(), Timestamp::now());
        let before_now = Timestamp::from_unix(now.as_unix().saturating_sub(1));
        let mut unread = String::new();
        for store in stores {
            match Client::load_with_clock(store.read_only(), NoTime) {
                Ok(old) => {
                    let last = old.newest_command().map_or(before_now, |last| last.max(before_now));
                    if last > now {
                        note(format!(
                            "The state that was at {path} took commands up to {}: this device refuses those before that too",
                            iso_time(last)
                        ));
                    }
                    return last;
                }
                Err(error) => unread = error.to_string(),
            }
        }
        note(format!(
            "{path} is replaced unread ({unread}), so a recorded command that is dated ahead of now would count again: give the \
             device a new client key if that matters"
        ));
        before_now
    }
}

/// A store whose content is to be replaced, whatever it is.
struct Replacing(FileStore);

impl Store for Replacing {
    fn load(&mut self, _: &mut dyn FnMut(&[u8])) -> Result<(), StoreError> {
        match self.0.load(&mut |_| {}) {
            Ok(()) | Err(StoreError::Empty | StoreError::NotAuthentic) => Err(StoreError::Empty),
            Err(error) => Err(error),
        }
    }

    fn save(&mut self, state: &Snapshot<'_>) -> Result<(), StoreError> {
        self.0.save(state)
    }
}

/// A state that was made.
#[derive(Serialize)]
pub(super) struct Created {
    state: PathBuf,
    mode: &'static str,
    id: String,
    control_topic: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    public_key: Option<String>,
    topics: usize,
    previous_keys: usize,
    peers: usize,
}

impl Created {
    pub(super) fn new(args: &NewStateArgs, client: &Client) -> Self {
        Self {
            state: args.state.clone(),
            mode: mode_name(client.mode()),
            id: client.id().to_string(),
            control_topic: client.control_topic().to_string(),
            public_key: client.verifying_key().map(|key| hex::encode(key.as_bytes())),
            topics: client.topics().count(),
            previous_keys: client.topics().filter(|(_, spare)| matches!(spare, Some(Spare::Previous { .. }))).count(),
            peers: client.peers().count(),
        }
    }

    pub(super) fn to_text(&self) -> String {
        let mut text = format!(
            "state          {}\nmode           {}\nid             {}\ncontrol topic  {}",
            self.state.display(),
            self.mode,
            self.id,
            self.control_topic
        );
        if let Some(key) = &self.public_key {
            text += &format!("\npublic key     {key}");
        }
        text + &format!(
            "\nkeys           {} of topics, {} previous ones, {} of peers",
            self.topics, self.previous_keys, self.peers
        )
    }
}

pub(crate) fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Symmetric => "symmetric",
        Mode::PublicKey => "public-key",
    }
}
