//! The command as a user meets it: what it prints and writes, and how it ends.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod kit;

use assert_cmd::Command;
use kit::scripted::Product;
use std::{fs, path::Path, process::Output};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// A broker that plays by the rules and lets everybody in, and a folder to work in.
struct World {
    folder: TempDir,
    port: u16,
    _runtime: Runtime,
}

impl World {
    fn new() -> Self {
        let runtime = Runtime::new().unwrap();
        let port = runtime.block_on(Product::plain().serve());
        Self { folder: TempDir::new().unwrap(), port, _runtime: runtime }
    }

    fn broker(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("mqttinfo"));
        for name in ["ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy", "MQTTINFO_PASSWORD", "CLICOLOR_FORCE"] {
            command.env_remove(name);
        }
        command.current_dir(self.folder.path()).args(args).timeout(std::time::Duration::from_secs(60));
        command
    }

    /// Looks at something, quickly.
    fn look(&self, args: &[&str]) -> Command {
        let mut command = self.command(args);
        command.args(["--listen", "0.1", "--timeout", "0.4"]);
        command
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.folder.path().join(file)).unwrap()
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.folder.path().join(file), text).unwrap();
    }
}

fn ends(mut command: Command, code: i32) -> (String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let (stdout, stderr) = (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
    assert_eq!(status.code(), Some(code), "{stdout}\n{stderr}");
    (stdout, stderr)
}

/// A port where nothing listens.
fn dead() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

#[test]
fn a_target_gives_a_plain_table_where_there_is_no_terminal() {
    let world = World::new();
    let (host_and_port, _) = ends(world.look(&[&format!("localhost:{}", world.port)]), 0);
    assert!(host_and_port.contains("localhost") && host_and_port.contains("MQTT 5"), "{host_and_port}");
    assert!(!host_and_port.contains('\x1b'), "{host_and_port}");
    let (apart, _) = ends(world.look(&["-h", "127.0.0.1", "-p", &world.port.to_string()]), 0);
    assert!(apart.contains(&world.broker()), "{apart}");
}

#[test]
fn lines_of_json_are_printed_appended_and_gone_on_with() {
    let world = World::new();
    let (line, _) = ends(world.look(&[&world.broker(), "--json", "-j"]), 0);
    let report: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(report["target"], format!("mqtt://{}", world.broker()));
    assert_eq!(world.read("mqttinfo.json"), line);
    ends(world.look(&[&world.broker(), "-q", "-j"]), 0);
    assert_eq!(world.read("mqttinfo.json").lines().count(), 2, "-j looks again");

    ends(world.look(&[&world.broker(), "-q", "-o", "scan.json"]), 0);
    let first = world.read("scan.json");
    let (shown, note) = ends(world.look(&[&world.broker(), "-o", "scan.json"]), 0);
    assert!(shown.is_empty() && note.contains("1 passed over"), "{shown}{note}");
    assert_eq!(world.read("scan.json"), first);
}

#[test]
fn targets_come_from_a_file_or_standard_input_and_bad_lines_do_not_stop_the_others() {
    let world = World::new();
    let lines = format!("# mine\n{}\nme:geheim@host\nnot a host\n", world.broker());
    let mut from_stdin = world.look(&["--targets", "-", "--json"]);
    from_stdin.write_stdin(lines.clone());
    let (line, notes) = ends(from_stdin, 1);
    assert_eq!(line.lines().count(), 1);
    assert!(notes.contains("line 3") && notes.contains("line 4") && !notes.contains("geheim"), "{notes}");
    world.write("targets.txt", &lines);
    let (line, _) = ends(world.look(&["--targets", "targets.txt", "--json"]), 1);
    assert_eq!(line.lines().count(), 1);
}

#[test]
fn f53_what_is_left_out_of_a_scan_is_counted_at_the_end() {
    let world = World::new();
    let broker = world.broker();
    let scan = |lines: &str, code| {
        world.write("targets.txt", lines);
        ends(world.look(&["-f", "targets.txt", "-q"]), code).1.lines().last().unwrap_or_default().to_owned()
    };
    // Comments leave nothing out, wherever they stand.
    let commented = format!("# mine\n{broker} # the first\n\n  # none\nlocalhost:{}\t# the second\n", world.port);
    assert_eq!(scan(&commented, 0), "Looked at 2");
    assert_eq!(scan(&format!("{broker}\nnot a host\n"), 1), "Looked at 1, 1 line that is no target");
    let more = format!("not a host\n{broker}\n{broker} # again\n:1883\nx:0 # no port\n");
    assert_eq!(scan(&more, 1), "Looked at 1, 1 passed over as seen before, 3 lines that are no targets");
    // The only line.
    assert_eq!(scan("not a host\n", 1), "Looked at 0, 1 line that is no target");
    // It goes before what was found, and before brokers that do not answer.
    let both = format!("{}\nnot a host\n", dead());
    assert_eq!(scan(&both, 1), "Looked at 1, 1 line that is no target");
}

#[test]
fn documents_are_written_and_exit_codes_say_how_it_went() {
    let world = World::new();
    let files = ["--sarif", "out.sarif", "--junit", "out.xml"];
    let mut strict = world.look(&[&world.broker(), "-q", "--fail-on", "medium"]);
    strict.args(files);
    ends(strict, 3);
    let sarif: serde_json::Value = serde_json::from_str(&world.read("out.sarif")).unwrap();
    assert_eq!(sarif["version"], "2.1.0");
    assert!(world.read("out.xml").contains("<testsuites"));
    let (shown, _) = ends(world.look(&[&dead()]), 4);
    assert!(shown.contains("nothing listens on this port"), "{shown}");
    for wrong in
        [&[][..], &["--no-such"], &["-p", "0", "x"], &["x", "--pw", "y"], &["x", "--fail-on", "worse"], &["a b"]]
    {
        ends(world.command(wrong), 2);
    }
}

#[test]
fn passwords_are_taken_in_three_ways_and_come_out_in_none() {
    const PASSWORD: &str = "correct-horse-7431";
    let world = World::new();
    world.write("password.txt", &format!("{PASSWORD}\r\n"));
    let look = || world.look(&[&world.broker(), "-u", "me", "-j", "--sarif", "out.sarif"]);
    for way in 0..3 {
        let mut command = look();
        match way {
            0 => command.args(["-P", PASSWORD]),
            1 => command.args(["--password-file", "password.txt"]),
            _ => command.env("MQTTINFO_PASSWORD", PASSWORD),
        };
        let (out, err) = ends(command, 0);
        for text in [out, err, world.read("mqttinfo.json"), world.read("out.sarif")] {
            assert!(!text.contains(PASSWORD) && !text.contains(&hex::encode(PASSWORD)), "{text}");
        }
        let last = world.read("mqttinfo.json").lines().last().unwrap().to_owned();
        let report: serde_json::Value = serde_json::from_str(&last).unwrap();
        assert_eq!(report["mqtt_5"]["credentials"]["kind"], "accepted", "way {way}");
    }
    let (_, error) = ends(world.look(&[&format!("mqtt://me:{PASSWORD}@{}", world.broker())]), 2);
    assert!(error.contains("leave user name and password out") && !error.contains(PASSWORD), "{error}");
}

#[test]
fn a_file_of_reports_is_summed_up() {
    let world = World::new();
    ends(world.look(&[&world.broker(), "-q", "-o", "scan.json"]), 0);
    let (text, _) = ends(world.command(&["report", "scan.json"]), 0);
    assert!(text.contains('1') && !text.contains('\x1b'), "{text}");
    ends(world.command(&["report", "scan.json", "--html", "scan.html"]), 0);
    assert!(world.read("scan.html").starts_with("<!DOCTYPE html>"));
    let (_, error) = ends(world.command(&["report", "scan.html"]), 1);
    assert!(error.contains("scan.html") && error.contains("line 1 is no report"), "{error}");
    assert!(!Path::new("scan.html").exists());
}

#[test]
fn help_and_completions_are_there() {
    let world = World::new();
    let (help, _) = ends(world.command(&["--help"]), 0);
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(help.contains("Only look at brokers that you may look at"), "{help}");
    assert!(ends(world.command(&["completions", "bash"]), 0).0.contains("_mqttinfo"));
}

#[cfg(unix)]
#[test]
fn ctrl_c_finishes_what_runs_and_keeps_it() {
    use std::{
        process::{Command, Stdio},
        thread::sleep,
        time::{Duration, Instant},
    };
    let world = World::new();
    let targets: String = (1..200).map(|last| format!("127.0.0.{last}:{}\n", world.port)).collect();
    world.write("targets.txt", &targets);
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("mqttinfo"));
    command.current_dir(world.folder.path()).args(["-f", "targets.txt", "-q", "-o", "scan.json", "--parallel", "1"]);
    let mut child = command.args(["--listen", "0.1", "--timeout", "0.4"]).stderr(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    let lines = || fs::read_to_string(world.folder.path().join("scan.json")).unwrap_or_default().lines().count();
    while lines() == 0 {
        assert!(begun.elapsed() < Duration::from_secs(300), "nothing is written");
        sleep(Duration::from_millis(10));
    }
    let interrupt = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(interrupt.success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let text = world.read("scan.json");
    assert!((1..199).contains(&text.lines().count()) && text.ends_with('\n'), "{text}");
}
