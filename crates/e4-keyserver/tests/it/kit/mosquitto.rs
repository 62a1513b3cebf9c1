//! Mosquitto, in a process of its own that a test can kill.

use std::{
    env, fs,
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(20);

/// A broker of a test's own, which ends with it.
pub(crate) struct Mosquitto {
    program: PathBuf,
    pub(crate) port: u16,
    more: Vec<String>,
    process: Option<Child>,
    folder: TempDir,
}

impl Mosquitto {
    /// Starts one with these lines of configuration as well. None, and the test is skipped, where it is not installed, unless the
    /// environment says that it must be.
    pub(crate) fn start(more: &[&str]) -> Option<Self> {
        let path = env::var_os("PATH").unwrap_or_default();
        let folders = env::split_paths(&path).chain([PathBuf::from("/usr/sbin"), PathBuf::from("/usr/local/sbin")]);
        let Some(program) = folders.map(|folder| folder.join("mosquitto")).find(|program| program.is_file()) else {
            let required = env::var_os("E4_REQUIRE_MOSQUITTO").is_some_and(|value| value == "1");
            assert!(!required, "mosquitto is not installed, and E4_REQUIRE_MOSQUITTO=1");
            println!("skipped: mosquitto is not installed");
            return None;
        };
        let more = more.iter().map(|line| (*line).to_owned()).collect();
        let mut broker = Self { program, port: 0, more, process: None, folder: tempfile::tempdir().unwrap() };
        // Until a port is really free.
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            broker.port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
            if broker.spawn() {
                return Some(broker);
            }
        }
        panic!("mosquitto does not start: {}", broker.log());
    }

    /// As a power cut would.
    pub(crate) fn kill(&mut self) {
        let mut process = self.process.take().expect("it runs");
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// On the same port, with what it has saved.
    pub(crate) fn start_again(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while !self.spawn() {
            assert!(Instant::now() < deadline, "mosquitto does not start again: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// With other lines of configuration from now on.
    pub(crate) fn start_again_with(&mut self, more: &[&str]) {
        self.more = more.iter().map(|line| (*line).to_owned()).collect();
        self.start_again();
    }

    /// A file that the lines of configuration can name.
    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    pub(crate) fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("mosquitto.log")).unwrap_or_default()
    }

    /// Whether it came up.
    fn spawn(&mut self) -> bool {
        let (folder, port) = (self.folder.path(), self.port);
        let mut lines = vec![
            format!("listener {port} 127.0.0.1"),
            "allow_anonymous true".to_owned(),
            // Or it would become a user who may not write here, when it is started by root.
            "user root".to_owned(),
            "set_tcp_nodelay true".to_owned(),
            "sys_interval 0".to_owned(),
            "persistence true".to_owned(),
            format!("persistence_location {}/", folder.display()),
            "log_dest stderr".to_owned(),
            "log_type information".to_owned(),
            "log_type error".to_owned(),
        ];
        lines.extend(self.more.iter().cloned());
        fs::write(folder.join("mosquitto.conf"), lines.join("\n") + "\n").unwrap();
        let log = fs::File::create(folder.join("mosquitto.log")).unwrap();
        let mut command = Command::new(&self.program);
        command.arg("-c").arg(folder.join("mosquitto.conf")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let mut process = command.spawn().unwrap();
        // Somebody else could take connections on that port: it is asked for its own word.
        while process.try_wait().unwrap().is_none() {
            if self.log().lines().any(|line| line.ends_with(" running")) {
                self.process = Some(process);
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            // It has ended already if these fail.
            let _ended = process.kill();
            let _ended = process.wait();
        }
    }
}
