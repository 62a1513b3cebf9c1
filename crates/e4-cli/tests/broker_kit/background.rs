//! Commands that run while the test goes on.

use super::until;
use std::{
    io::Read,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
};

/// A command that runs in the background, and is killed with this value.
pub(crate) struct Background {
    child: Child,
    stdout: Output,
    stderr: Output,
}

/// What was written so far, and the thread that reads until the end.
struct Output {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: Option<thread::JoinHandle<()>>,
}

impl Background {
    /// Starts `e4` with arguments that have no spaces in them.
    pub(crate) fn start(folder: &Path, args: &str) -> Self {
        let mut child = Command::new(assert_cmd::cargo::cargo_bin!("e4"))
            .current_dir(folder)
            .args(args.split_whitespace())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (stdout, stderr) = (Output::of(child.stdout.take().unwrap()), Output::of(child.stderr.take().unwrap()));
        Self { child, stdout, stderr }
    }

    /// A subscriber, once the broker has its subscription.
    pub(crate) fn subscriber(folder: &Path, args: &str) -> Self {
        let subscriber = Self::start(folder, args);
        subscriber.until_stderr("subscribed to");
        subscriber
    }

    pub(crate) fn stdout(&self) -> String {
        String::from_utf8(self.stdout.so_far()).unwrap()
    }

    pub(crate) fn stderr(&self) -> String {
        String::from_utf8(self.stderr.so_far()).unwrap()
    }

    /// Once it has ended.
    pub(crate) fn all_of_stdout(&mut self) -> Vec<u8> {
        self.stdout.reader.take().unwrap().join().unwrap();
        self.stdout.so_far()
    }

    #[track_caller]
    pub(crate) fn until_stdout(&self, part: &str) {
        until(|| self.stdout().contains(part), || format!("no {part:?} in {:?}, {:?}", self.stdout(), self.stderr()));
    }

    #[track_caller]
    pub(crate) fn until_stderr(&self, part: &str) {
        until(|| self.stderr().contains(part), || format!("no {part:?} in {:?}, {:?}", self.stderr(), self.stdout()));
    }

    /// Sends it a signal, such as TERM.
    #[cfg(unix)]
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    /// Waits for its end, and returns its exit code.
    #[track_caller]
    pub(crate) fn code(&mut self) -> Option<i32> {
        let mut status = None;
        until(
            || {
                status = self.child.try_wait().unwrap();
                status.is_some()
            },
            || "it does not end".into(),
        );
        if let Some(reader) = self.stderr.reader.take() {
            reader.join().unwrap();
        }
        status.unwrap().code()
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let _ended = self.child.kill().and_then(|()| self.child.wait());
    }
}

impl Output {
    fn of(mut pipe: impl Read + Send + 'static) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let to = Arc::clone(&bytes);
        let reader = thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = pipe.read(&mut buffer) {
                to.lock().unwrap().extend_from_slice(&buffer[..read]);
            }
        });
        Self { bytes, reader: Some(reader) }
    }

    fn so_far(&self) -> Vec<u8> {
        self.bytes.lock().unwrap().clone()
    }
}
