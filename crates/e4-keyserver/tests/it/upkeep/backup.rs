//! Backups, and servers that come from one.

use super::{NOW, at_rest::must_not_be_in, fleet_of, key_file, live, new_fleet, number, opened, secrets, set};
use crate::kit::database::{Database, on_both_databases};
use age::{Decryptor, Encryptor, secrecy::ExposeSecret, x25519};
use base64::{Engine, prelude::BASE64_STANDARD};
use e4_keyserver::{
    fleet::Fleet,
    upkeep::{UpkeepError, check, create_backup, restore_backup, verify_backup},
    vault::{Slot, Stored, SystemChance, Vault},
};
use std::io::{Read, Write};

on_both_databases!(
    a_backup_comes_back_whole_and_the_server_holds,
    no_key_is_in_a_backup,
    a_backup_that_is_not_what_the_server_wrote_is_refused,
    a_backup_is_not_restored_over_a_server,
    what_is_wrong_in_a_backup_is_found,
);

fn open(slots: &[Slot], stored: &Stored) -> Result<Vault, UpkeepError> {
    Ok(Vault::open(slots, None, &key_file(1), stored, Box::new(SystemChance))?)
}

fn text(identity: &x25519::Identity) -> String {
    identity.to_string().expose_secret().to_owned()
}

async fn backup_of(fleet: &Fleet, identity: &x25519::Identity) -> Vec<u8> {
    let mut file = Vec::new();
    create_backup(fleet.store(), fleet.vault(), &[identity.to_public().to_string()], NOW, &mut file).await.unwrap();
    file
}

async fn a_backup_comes_back_whole_and_the_server_holds(database: Database) {
    let (fleet, token) = new_fleet(&database).await;
    live(&fleet, 2_500).await;
    set(fleet.store(), "UPDATE devices SET lane_last = 5 WHERE name = 'device-3'", &[]).await;
    let identity = x25519::Identity::generate();
    let file = backup_of(&fleet, &identity).await;

    let (vault, findings) = verify_backup(file.as_slice(), &text(&identity), open).unwrap();
    assert!(findings.is_good(), "{findings}");
    assert_eq!(findings, check(fleet.store(), fleet.vault()).await.unwrap());

    // Into a new database of the same kind, after a day.
    let new = if database.is_sqlite() { Database::sqlite() } else { Database::postgres().unwrap() };
    let store = new.open().await;
    let later = NOW + 86_400;
    let restored = restore_backup(&store, &vault, file.as_slice(), &text(&identity), later).await.unwrap();
    assert_eq!((restored.rows, restored.made), (findings.rows, NOW));
    let restored = fleet_of(store.clone(), opened(&store, &key_file(1)).await.unwrap());
    assert_eq!(secrets(&restored).await, secrets(&fleet).await);
    let there = check(&store, restored.vault()).await.unwrap();
    // One more row says that it holds.
    assert_eq!(
        (there.rows, there.opened, there.entries, there.wrong),
        (findings.rows + 1, findings.opened, findings.entries, 0),
        "{there}"
    );
    assert!(restored.authenticate(&token, "here").await.unwrap().is_some());

    // What may have been sent since the backup is not sent once more, nor anything before it.
    assert!(restored.held().await.unwrap().unwrap().reason.contains("restored from a backup"));
    assert!(number(&store, "SELECT MIN(lane_last) FROM devices").await >= later + 30);
    assert_eq!(number(&store, "SELECT COUNT(*) FROM outbox WHERE bytes IS NOT NULL").await, 0);
    assert!(fleet.held().await.unwrap().is_none());
}

async fn no_key_is_in_a_backup(database: Database) {
    let (fleet, token) = new_fleet(&database).await;
    live(&fleet, 3).await;
    let mut secrets: Vec<_> = secrets(&fleet).await.into_iter().collect();
    secrets.push(("what opens the vault".to_owned(), vec![1; 32]));
    secrets.push(("the token".to_owned(), token.as_bytes().to_vec()));
    let identity = x25519::Identity::generate();
    let file = backup_of(&fleet, &identity).await;
    let lines = decrypted(&file, &identity);
    let values = binary_values(&lines);
    assert!(lines.contains("device-3") && !values.is_empty());
    let places = [("the file", file), ("its lines", lines.into_bytes()), ("its binary values", values)];
    must_not_be_in(&secrets, &places.map(|(name, bytes)| (name.to_owned(), bytes)));
}

/// All bytes that stand in base64 in the lines, one after the other.
fn binary_values(lines: &str) -> Vec<u8> {
    let rows = lines.lines().filter_map(|line| serde_json::from_str::<Vec<serde_json::Value>>(line).ok());
    let values = rows.flatten().filter_map(|value| BASE64_STANDARD.decode(value.get("b")?.as_str()?).ok());
    values.flatten().collect()
}

fn decrypted(file: &[u8], identity: &x25519::Identity) -> String {
    let mut lines = String::new();
    let decryptor = Decryptor::new(file).unwrap();
    decryptor.decrypt(std::iter::once(identity as &dyn age::Identity)).unwrap().read_to_string(&mut lines).unwrap();
    lines
}

fn encrypted(lines: &str, identity: &x25519::Identity) -> Vec<u8> {
    let recipient = identity.to_public();
    let encryptor = Encryptor::with_recipients(std::iter::once(&recipient as &dyn age::Recipient)).unwrap();
    let mut file = Vec::new();
    let mut output = encryptor.wrap_output(&mut file).unwrap();
    output.write_all(lines.as_bytes()).unwrap();
    output.finish().unwrap();
    file
}

async fn a_backup_that_is_not_what_the_server_wrote_is_refused(database: Database) {
    let (fleet, _) = new_fleet(&database).await;
    live(&fleet, 3).await;
    let identity = x25519::Identity::generate();
    let file = backup_of(&fleet, &identity).await;
    let verify = |file: &[u8]| verify_backup(file, &text(&identity), open).map(|(_, findings)| findings);
    assert!(verify(&file).unwrap().is_good());

    // Without its identity, cut short, or changed on its way.
    assert!(verify_backup(file.as_slice(), &text(&x25519::Identity::generate()), open).is_err());
    assert!(verify(&file[..file.len() - 1]).is_err());
    let mut flipped = file.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    assert!(verify(&flipped).is_err());

    // By somebody who has the recipient: with another vault, or other rows.
    let lines = decrypted(&file, &identity);
    assert!(verify(&encrypted(&lines, &identity)).unwrap().is_good());
    let all: Vec<_> = lines.lines().collect();
    let door = all.iter().position(|line| line.contains("\"door\"")).unwrap();
    let without_door: Vec<_> = all.iter().enumerate().filter(|(at, _)| *at != door).map(|(_, line)| *line).collect();
    for (what, changed) in [
        ("another name", lines.replace("\"door\"", "\"gate\"")),
        ("a row less", format!("{}\n", without_door.join("\n"))),
        (
            "an end that counts a row less",
            format!("{}\n", without_door.join("\n")).replace(
                &format!("{{\"end\":{}", verify(&file).unwrap().rows),
                &format!("{{\"end\":{}", verify(&file).unwrap().rows - 1),
            ),
        ),
        ("no end", format!("{}\n", all[..all.len() - 1].join("\n"))),
        ("a table less", lines.replace("{\"table\":\"groups\"}\n", "")),
        ("something after the end", format!("{lines}[]\n")),
        ("another format", lines.replacen("\"format\":1", "\"format\":2", 1)),
        ("other tables", lines.replacen("\"schema\":1", "\"schema\":2", 1)),
    ] {
        assert_ne!(changed, lines, "{what}");
        assert!(verify(&encrypted(&changed, &identity)).is_err(), "{what}");
    }
    let wrong =
        |slots: &[Slot], stored: &Stored| Ok(Vault::open(slots, None, &key_file(2), stored, Box::new(SystemChance))?);
    assert!(verify_backup(file.as_slice(), &text(&identity), wrong).is_err());
}

async fn a_backup_is_not_restored_over_a_server(database: Database) {
    let (fleet, _) = new_fleet(&database).await;
    let identity = x25519::Identity::generate();
    let file = backup_of(&fleet, &identity).await;
    let before = check(fleet.store(), fleet.vault()).await.unwrap();
    let refused =
        restore_backup(fleet.store(), fleet.vault(), file.as_slice(), &text(&identity), NOW).await.unwrap_err();
    assert!(refused.to_string().contains("belongs to a key server already"), "{refused}");
    assert_eq!(check(fleet.store(), fleet.vault()).await.unwrap(), before);
    assert!(fleet.held().await.unwrap().is_none());

    // A backup that turns out wrong at its end leaves nothing.
    let new = if database.is_sqlite() { Database::sqlite() } else { Database::postgres().unwrap() };
    let store = new.open().await;
    let changed = encrypted(&decrypted(&file, &identity).replace("\"ada\"", "\"eve\""), &identity);
    assert!(restore_backup(&store, fleet.vault(), changed.as_slice(), &text(&identity), NOW).await.is_err());
    assert_eq!(number(&store, "SELECT COUNT(*) FROM tokens").await, 0);
    assert!(restore_backup(&store, fleet.vault(), file.as_slice(), &text(&identity), NOW).await.is_ok());
}

async fn what_is_wrong_in_a_backup_is_found(database: Database) {
    let (fleet, _) = new_fleet(&database).await;
    live(&fleet, 3).await;
    set(fleet.store(), "UPDATE devices SET key_version = key_version + 1 WHERE name = 'device-3'", &[]).await;
    set(fleet.store(), "UPDATE audit SET subject = '' WHERE id = 2", &[]).await;
    let identity = x25519::Identity::generate();
    let file = backup_of(&fleet, &identity).await;
    let (_, findings) = verify_backup(file.as_slice(), &text(&identity), open).unwrap();
    assert_eq!(findings, check(fleet.store(), fleet.vault()).await.unwrap());
    assert!(findings.wrong >= 2, "{findings}");
}
