//! Passwords, and keys made from them.

use crate::source::Source;
use anyhow::{Context, anyhow, ensure};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use e4::ClientId;
use std::io::{self, IsTerminal};
use zeroize::Zeroizing;

/// Characters that a password has at least.
const MIN_CHARS: usize = 16;
const MAX_LEN: usize = 4096;

/// Passes over the memory, lanes and KiB of memory: the second recommended choice of RFC 9106, section 4.
const PASSES: u32 = 3;
const LANES: u32 = 4;
const MEMORY_KIB: u32 = 64 * 1024;

/// Reads a password from the source, or else from the terminal (twice), or else from standard input.
pub(crate) fn read(source: Option<&Source>) -> anyhow::Result<Zeroizing<String>> {
    let password = match source {
        Some(source) => read_from(source)?,
        None if io::stdin().is_terminal() => ask()?,
        None => read_from(&Source::Stdin)?,
    };
    let chars = password.chars().count();
    ensure!(
        chars >= MIN_CHARS,
        "the password has {chars} characters, and at least {MIN_CHARS} are needed: several random words, for example"
    );
    Ok(password)
}

/// The client key, or the seed of the Ed25519 key pair, of a client with this password.
///
/// `Argon2id(password as UTF-8, salt = client id, 3 passes, 4 lanes, 64 MiB, 32 bytes)`, version 0x13.
pub(crate) fn derive_key(password: &str, client: &ClientId) -> anyhow::Result<Zeroizing<[u8; 32]>> {
    let mut key = Zeroizing::new([0; 32]);
    let params = Params::new(MEMORY_KIB, PASSES, LANES, Some(key.len()))?;
    let mut memory = Zeroizing::new(vec![Block::default(); params.block_count()]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params).hash_password_into_with_memory(
        password.as_bytes(),
        client.as_bytes(),
        &mut *key,
        memory.as_mut_slice(),
    )?;
    Ok(key)
}

fn ask() -> anyhow::Result<Zeroizing<String>> {
    let prompt = |text| rpassword::prompt_password(text).map(Zeroizing::new).context("could not read a password");
    let password = prompt("Password: ")?;
    ensure!(*password == *prompt("The same again: ")?, "the two passwords are not the same");
    Ok(password)
}

fn read_from(source: &Source) -> anyhow::Result<Zeroizing<String>> {
    let line = one_line(source.password(MAX_LEN)?).with_context(|| source.of_password())?;
    let text = str::from_utf8(&line).map_err(|_shows_a_part| anyhow!("is no text in UTF-8"));
    Ok(Zeroizing::new(text.with_context(|| source.of_password())?.to_owned()))
}

/// A password, wherever it comes from, is one line, and the end of that line is no part of it: editors, `echo` and
/// `docker secret` put one there.
///
/// # Errors
///
/// If there are more lines, of which nobody could say how many count.
pub(crate) fn one_line(mut password: Zeroizing<Vec<u8>>) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let line = password.strip_suffix(b"\n").unwrap_or(&password);
    let len = line.strip_suffix(b"\r").unwrap_or(line).len();
    password.truncate(len);
    ensure!(!password.contains(&b'\n') && !password.contains(&b'\r'), "has more than one line: a password is one");
    Ok(password)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f41_the_end_of_the_line_is_no_part_of_a_password() {
        for (given, expected) in [
            ("secret", Some("secret")),
            ("secret\n", Some("secret")),
            ("secret\r\n", Some("secret")),
            ("secret\r", Some("secret")),
            (" secret \n", Some(" secret ")),
            ("", Some("")),
            ("secret\n\n", None),
            ("two\nlines", None),
            ("two\rlines\n", None),
        ] {
            let line = one_line(Zeroizing::new(given.into())).ok();
            assert_eq!(line.as_ref().map(|line| &line[..]), expected.map(str::as_bytes), "{given:?}");
        }
    }

    #[test]
    fn keys_from_passwords_are_those_that_another_implementation_derives() {
        // Computed with argon2-cffi 25.1 (the reference C implementation).
        for (name, password, expected) in [
            (
                "pump-7",
                "correct horse battery staple",
                "572ef79353bd77c908badbc5b1d57ce6620ffec4c58047942bb8c31633f29e04",
            ),
            (
                "alice",
                "super-secret-alice-password",
                "ac7b848c5085216573dab9b9b69cc2796b8ac1d7e169705439ec4b752f91a978",
            ),
        ] {
            let key = derive_key(password, &ClientId::from_name(name).unwrap()).unwrap();
            assert_eq!(hex::encode(*key), expected, "{name}");
        }
    }
}
