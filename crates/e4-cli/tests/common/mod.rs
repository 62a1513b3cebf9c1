//! The command, run in a folder of its own.
#![allow(dead_code, reason = "not every test uses all of it")]

use assert_cmd::Command;
use std::time::Duration;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{self, Output},
    sync::OnceLock,
};
use tempfile::TempDir;

/// A folder that is gone after the test.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// The names in the folder, in order, without the lock files that states leave behind.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| !name.ends_with(".lock"));
        names.sort();
        names
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path().join(name)).unwrap()
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path().join(name), content).unwrap();
    }

    /// Writes the file of a symmetric key as the command does, with mode 0600.
    pub(crate) fn write_key(&self, name: &str, key: &[u8; 32]) {
        self.write_key_of("", name, key);
    }

    /// Writes the file of a key of this kind.
    pub(crate) fn write_key_of(&self, kind: &str, name: &str, key: &[u8; 32]) {
        self.write(name, format!("{kind} {}\n", hex::encode(key)).trim_start());
        self.set_mode(name, 0o600);
    }

    /// The digits in a key file.
    pub(crate) fn digits(&self, name: &str) -> String {
        self.read(name).split_whitespace().next_back().unwrap().to_owned()
    }

    /// The key in a key file.
    pub(crate) fn key(&self, name: &str) -> [u8; 32] {
        hex::decode(self.digits(name)).unwrap().try_into().unwrap()
    }

    #[cfg(unix)]
    pub(crate) fn set_mode(&self, name: &str, mode: u32) {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(self.path().join(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    #[cfg(unix)]
    pub(crate) fn mode(&self, name: &str) -> u32 {
        use std::os::unix::fs::PermissionsExt;
        fs::metadata(self.path().join(name)).unwrap().permissions().mode() & 0o777
    }

    /// The command with arguments that have no spaces in them.
    pub(crate) fn e4(&self, args: &str) -> Command {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("e4"));
        command.current_dir(self.path()).args(args.split_whitespace()).timeout(Duration::from_secs(120));
        command
    }

    /// Runs the command with this on standard input.
    pub(crate) fn run_with(&self, args: &str, stdin: impl Into<Vec<u8>>) -> Run {
        Run(self.e4(args).write_stdin(stdin).output().unwrap())
    }

    /// As [`run`](Self::run), with a clock that is so many seconds ahead. None where there is no C compiler.
    pub(crate) fn run_at(&self, args: &str, ahead: i64) -> Option<Run> {
        let shim = clock_shim()?;
        let mut command = self.e4(args);
        command.env("LD_PRELOAD", shim).env("CLOCK_AHEAD", ahead.to_string());
        Some(Run(command.output().unwrap()))
    }

    pub(crate) fn run(&self, args: &str) -> Run {
        self.run_with(args, [])
    }
}

/// What came of running the command.
pub(crate) struct Run(pub(crate) Output);

impl Run {
    pub(crate) fn code(&self) -> i32 {
        self.0.status.code().unwrap()
    }

    pub(crate) fn stdout(&self) -> &str {
        str::from_utf8(&self.0.stdout).unwrap()
    }

    pub(crate) fn stderr(&self) -> &str {
        str::from_utf8(&self.0.stderr).unwrap()
    }

    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.code(), 0, "{}", self.stderr());
        self
    }

    /// It failed like this, with this in the reason, and nothing on standard output.
    #[track_caller]
    pub(crate) fn fails(self, code: i32, reason: &str) -> Self {
        assert_eq!((self.code(), self.stdout()), (code, ""), "{}", self.stderr());
        assert!(self.stderr().contains(reason), "{}", self.stderr());
        self
    }

    /// Neither output shows the key, in any writing.
    #[track_caller]
    pub(crate) fn hides(&self, key: &[u8; 32]) {
        use base64::{Engine, prelude::BASE64_STANDARD};
        let shown = [&self.0.stdout[..], &self.0.stderr].concat();
        let shown = String::from_utf8_lossy(&shown).to_lowercase();
        for writing in [hex::encode(key), BASE64_STANDARD.encode(key).to_lowercase()] {
            // A part of it would be bad enough.
            assert!(!shown.contains(writing.get(..12).unwrap()), "{shown}");
        }
    }

    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.0.stdout).unwrap()
    }
}

/// A library that shifts the clock of what is started with it.
fn clock_shim() -> Option<&'static Path> {
    static SHIM: OnceLock<Option<PathBuf>> = OnceLock::new();
    let compile = || {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let of_this_process = |name: &str| folder.join(format!("{}-{name}", process::id()));
        let (source, made) = (of_this_process("clock.c"), of_this_process("clock.so"));
        fs::write(&source, CLOCK_SHIM).unwrap();
        let mut cc = process::Command::new("cc");
        let status = cc.args(["-shared", "-fPIC", "-o"]).args([&made, &source]).arg("-ldl").status();
        fs::remove_file(source).unwrap();
        if !cfg!(target_os = "linux") || !status.is_ok_and(|status| status.success()) {
            println!("no C compiler: not tested with a wrong clock");
            return None;
        }
        let shim = folder.join("clock.so");
        fs::rename(made, &shim).unwrap();
        Some(shim)
    };
    SHIM.get_or_init(compile).as_deref()
}

const CLOCK_SHIM: &str = "
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>
int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *)) dlsym(RTLD_NEXT, \"clock_gettime\");
    int result = real(clock, now);
    const char *ahead = getenv(\"CLOCK_AHEAD\");
    if (!result && clock == CLOCK_REALTIME && ahead) now->tv_sec += atoll(ahead);
    return result;
}
";
