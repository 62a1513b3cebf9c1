//! The server as a process of its own, which a test can kill and stop.

use e4_keyserver::{
    fleet::{Clock, Fleet, Policy, SystemClock},
    store::Store,
    upkeep::found,
    vault::{SystemChance, Unlock, Vault, Work},
};
use std::{
    fs,
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Arc,
};
use tempfile::TempDir;
use zeroize::Zeroizing;

/// A key server in its folder: configuration, and the key file that opens its vault.
pub(crate) struct Installed {
    folder: TempDir,
}

impl Installed {
    /// Founds a server, and returns a fleet as well that the test itself works on.
    pub(crate) async fn new(database: &str, broker: &str) -> (Self, Fleet) {
        let folder = tempfile::tempdir().unwrap();
        let root = Zeroizing::new(*e4::ClientKey::generate().unwrap().as_bytes());
        let key_file = folder.path().join("root.key");
        fs::write(&key_file, hex::encode(*root)).unwrap();
        fs::set_permissions(&key_file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let config = format!(
            "[database]\nurl = \"{database}\"\n[vault]\nunlock = [\"key-file:root.key\"]\n[broker]\nurl = \"{broker}\"\n\
             [policy]\nlossless_wait = 5\nleave_window = 0\nbetween_rotations = 0\nclient_keys = 0\n"
        );
        fs::write(folder.path().join("e4-keyserver.toml"), config).unwrap();
        let vault = Vault::create(Box::new(SystemChance), &*root).unwrap();
        let slot = vault.new_slot("file", &Unlock::KeyFile(root), Work::LEAST, SystemClock.now()).unwrap();
        let store = Store::open(database).await.unwrap();
        found(&store, &vault, &[slot]).await.unwrap();
        let policy =
            Policy { lossless_wait: 5, leave_window: 0, between_rotations: 0, client_keys: 0, ..Policy::default() };
        let fleet = Fleet::new(store, Arc::new(vault), Arc::new(SystemClock), policy);
        fleet.begin_fleet("test").await.unwrap();
        (Self { folder }, fleet)
    }

    /// Starts a process of it, on a port of its own.
    pub(crate) fn start(&self) -> Process {
        let mut process = Process { config: self.folder.path().join("e4-keyserver.toml"), child: None };
        process.start();
        process
    }
}

/// A running server.
pub(crate) struct Process {
    config: PathBuf,
    child: Option<Child>,
}

impl Process {
    pub(crate) fn start(&mut self) {
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let log = fs::File::options().create(true).append(true).open(self.config.with_extension("log")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_e4-keyserver"));
        command.arg("--config").arg(&self.config).arg("run");
        command.env("E4_KEYSERVER_API__ADDRESS", format!("127.0.0.1:{port}"));
        self.child = Some(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap());
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// The number of its process, by which its leases are named.
    pub(crate) fn id(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// STOP, CONT or TERM.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap().success());
    }

    /// Whether it ended with 0.
    pub(crate) fn ended(&mut self) -> bool {
        self.child.take().unwrap().wait().unwrap().success()
    }

    /// What it logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.config.with_extension("log")).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It has ended already if these fail.
            let _ended = child.kill();
            let _ended = child.wait();
        }
    }
}
