//! The program's own commands, as somebody types them.

use super::{at_rest::files_in, live, new_fleet};
use crate::kit::database::Database;
use e4_keyserver::fleet::ExportCursor;
use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
};
use tempfile::TempDir;

/// Runs the program in a folder, with what would ask at a terminal finding none.
fn run(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_e4-keyserver"))
        .args(arguments)
        .current_dir(folder)
        .env("TEST_ROOT_KEY", "a".repeat(64))
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn done(folder: &Path, arguments: &[&str]) -> String {
    let output = run(folder, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn refused(folder: &Path, arguments: &[&str]) -> String {
    let output = run(folder, arguments);
    assert!(!output.status.success(), "{arguments:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn new_server() -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let said = done(folder.path(), &["init", "--unlock", "key-file:root.key", "--unlock", "env:TEST_ROOT_KEY"]);
    (folder, said.lines().last().unwrap().to_owned())
}

#[test]
fn init_makes_files_for_their_owner_alone_and_shows_a_token_once() {
    let (folder, token) = new_server();
    assert!(token.starts_with("e4t_"), "{token}");
    for (name, bytes) in files_in(folder.path()) {
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&name).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
        }
        assert!(!bytes.windows(token.len()).any(|part| part == token.as_bytes()), "{name}");
    }
    assert!(done(folder.path(), &["check"]).contains("2 entries"));
    assert!(!done(folder.path(), &["slots", "list"]).contains("e4t_"));
}

#[test]
fn init_replaces_nothing_and_leaves_nothing_if_it_fails() {
    let (folder, _) = new_server();
    let names = || files_in(folder.path()).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    let (before, root) = (names(), fs::read(folder.path().join("root.key")).unwrap());
    assert!(refused(folder.path(), &["init", "--unlock", "env:TEST_ROOT_KEY"]).contains("exists"));
    assert!(
        refused(folder.path(), &["--config", "other.toml", "init", "--unlock", "env:TEST_ROOT_KEY"])
            .contains("already")
    );
    assert_eq!((names(), fs::read(folder.path().join("root.key")).unwrap()), (before, root));
    done(folder.path(), &["check"]);

    let empty = tempfile::tempdir().unwrap();
    for arguments in [
        ["init", "--unlock", "env:TEST_ROOT_KEY", "--administrator", ""],
        ["init", "--unlock", "env:TEST_NOT_SET", "--administrator", "ada"],
        ["init", "--unlock", "key-file:k", "--unlock", "passphrase"],
        ["init", "--unlock", "key-file:k", "--database", "postgresql://nobody@/tmp/nowhere"],
    ] {
        refused(empty.path(), &arguments);
        assert_eq!(fs::read_dir(empty.path()).unwrap().count(), 0, "{arguments:?}");
    }
}

#[test]
fn a_wrong_passphrase_is_told_by_the_root_key_and_touches_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("passphrase");
    let write = |text: &str| {
        fs::write(&file, text).unwrap();
        #[cfg(unix)]
        fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    };
    write("correct horse battery\n");
    done(folder.path(), &["init", "--unlock", "passphrase-file:passphrase"]);
    let said = done(folder.path(), &["check"]);
    let root = said.strip_prefix("Root key ").unwrap().split(':').next().unwrap().to_owned();

    write("correct horse batterz\n");
    let before = fs::read(folder.path().join("e4-keyserver.db")).unwrap();
    for command in
        [&["check"][..], &["rekey"], &["slots", "list"], &["slots", "add", "x", "--with", "env:TEST_ROOT_KEY"]]
    {
        let said = refused(folder.path(), command);
        assert!(said.contains(&root) && said.contains("`slot-1` does not open"), "{said}");
        assert!(!said.contains("horse"), "{said}");
    }
    assert_eq!(fs::read(folder.path().join("e4-keyserver.db")).unwrap(), before);
    write("correct horse battery");
    done(folder.path(), &["check"]);
}

#[cfg(unix)]
#[test]
fn a_key_file_that_others_can_read_is_refused() {
    let (folder, _) = new_server();
    let key = folder.path().join("root.key");
    fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    assert!(done(folder.path(), &["config", "check"]).contains("cannot be read: others can read"));
}

#[test]
fn a_new_root_key_takes_each_slot_along_or_says_which_it_cannot() {
    let (folder, _) = new_server();
    done(folder.path(), &["slots", "add", "third", "--with", "env:TEST_ROOT_KEY"]);
    // The slots of the key file, of the variable, and of the same variable again, which is not named twice.
    assert!(refused(folder.path(), &["rekey"]).contains("`third`"));
    done(folder.path(), &["rekey", "--unlock", "env:TEST_ROOT_KEY"]);
    assert_eq!(done(folder.path(), &["slots", "list"]).lines().count(), 3);
    done(folder.path(), &["rekey", "--drop", "third"]);
    assert_eq!(done(folder.path(), &["slots", "list"]).lines().count(), 2);
    // The server's first pair and the secret of the vault itself.
    assert!(done(folder.path(), &["check"]).contains("2 sealed values opened"));
}

#[test]
fn a_backup_goes_to_a_file_and_comes_back_from_it() {
    let (folder, _) = new_server();
    let identity = age::x25519::Identity::generate();
    let recipient = identity.to_public().to_string();
    let identity_file = folder.path().join("identity");
    fs::write(&identity_file, age::secrecy::ExposeSecret::expose_secret(&identity.to_string())).unwrap();
    #[cfg(unix)]
    fs::set_permissions(&identity_file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();

    done(folder.path(), &["backup", "create", "one.age", "--recipient", &recipient]);
    assert!(refused(folder.path(), &["backup", "create", "one.age", "--recipient", &recipient]).contains("exists"));
    assert!(
        refused(folder.path(), &["backup", "create", "two.age", "--recipient", "age1nobody"]).contains("no recipient")
    );
    assert!(!folder.path().join("two.age").exists());
    done(folder.path(), &["backup", "verify", "one.age", "--identity", "identity"]);
    let restore = ["backup", "restore", "one.age", "--identity", "identity"];
    assert!(refused(folder.path(), &restore).contains("already"));
    fs::remove_file(folder.path().join("e4-keyserver.db")).unwrap();
    assert!(done(folder.path(), &restore).contains("held"));
    // What the server was founded with, and that it holds.
    assert!(done(folder.path(), &["check"]).contains("3 entries"));
}

#[tokio::test]
async fn an_export_of_the_audit_is_verified_with_the_public_key_alone() {
    let database = Database::sqlite();
    let (fleet, _) = new_fleet(&database).await;
    live(&fleet, 3).await;
    let (mut text, mut cursor) = (String::new(), ExportCursor::default());
    loop {
        let part = fleet.export_audit(&mut cursor).await.unwrap();
        text.push_str(&part);
        if part.is_empty() {
            break;
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let key = hex::encode(fleet.vault().checkpoint_key());
    let check = |key: &str| run(folder.path(), &["check", "--export", "audit.jsonl", "--key", key]);
    fs::write(folder.path().join("audit.jsonl"), &text).unwrap();
    let output = check(&key);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("by 1 checkpoints"));
    assert!(!check(&"ab".repeat(32)).status.success());
    assert!(!check("ab").status.success());

    let changed = text.replacen("give access", "take access", 1);
    assert_ne!(changed, text);
    fs::write(folder.path().join("audit.jsonl"), changed).unwrap();
    assert!(!check(&key).status.success());
}
