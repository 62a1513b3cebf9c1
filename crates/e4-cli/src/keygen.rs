use crate::{
    id::ClientArgs,
    key_file::{FileKey, Kind as KeyKind, print_key, with_pub, write_key},
    output::{Failure, Output},
    password,
    source::Source,
    terminal::note,
    whole_file::check_free,
};
use anyhow::bail;
use e4::{C2SecretKey, KeyFingerprint, RootKey, SigningKey, TopicKey};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Make a new key and write it to a file
///
/// A key file is one line that only you can read (mode 0600): 64 hexadecimal digits, and before them which key they are,
/// unless it is a symmetric one. A public key goes to a second file, FILE.pub, to be given to others. No secret is shown; the
/// fingerprint tells whether two files hold the same key.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  e4 keygen symmetric --out pump-7.key
  e4 keygen symmetric --password --name pump-7 --out pump-7.key
  e4 keygen symmetric --password-file pump-7.password --name pump-7 --out pump-7.key
  e4 keygen ed25519 --out pump-7.key       writes pump-7.key and pump-7.key.pub
  e4 keygen root --out plant.root

The words before the digits are root, ed25519-secret, ed25519-public, x25519-secret and x25519-public. Keys of other programs
are taken with the word put before them.")]
pub(crate) struct Args {
    #[command(subcommand)]
    kind: Kind,
}

#[derive(clap::Subcommand)]
enum Kind {
    /// A key of 32 bytes: for a client in symmetric mode, a topic, or a state file (storage key)
    Symmetric(PasswordArgs),
    /// The key pair of a client in public-key mode
    Ed25519(PasswordArgs),
    /// The key pair of a key server with clients in public-key mode (the C2 key)
    X25519(OutArgs),
    /// The secret that the topic keys of a whole namespace are derived from: see `e4 key`
    Root(OutArgs),
}

#[derive(clap::Args)]
struct OutArgs {
    /// Where the secret key goes; `-` for standard output
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Replace files that exist
    #[arg(long)]
    force: bool,
}

#[derive(clap::Args)]
struct PasswordArgs {
    #[command(flatten)]
    out: OutArgs,
    /// Derive the key from a password of at least 16 characters
    ///
    /// The key is Argon2id of it (RFC 9106: 3 passes, 4 lanes, 64 MiB), salted by the client's id: the same password
    /// and client always give the same key. The password is asked for in the terminal, or else read from standard input.
    #[arg(long, requires = "client")]
    password: bool,
    /// Derive the key from the password that is there: in a file, `-` for standard input, `env:NAME` for an environment
    /// variable. It is one line, whose end does not count
    #[arg(long, value_name = "FILE", requires = "client")]
    password_file: Option<Source>,
    #[command(flatten)]
    client: ClientArgs,
}

impl PasswordArgs {
    /// The key from the password, or else a random one.
    fn key<K: FileKey>(&self, random: impl FnOnce() -> Result<K, e4::KeyError>) -> Result<K, Failure> {
        if !self.password && self.password_file.is_none() {
            if self.client.id()?.is_some() {
                return Err(anyhow::anyhow!("a random key belongs to no client: leave out --name and --id").into());
            }
            return Ok(random()?);
        }
        let client = self.client.required_id()?;
        let password = password::read(self.password_file.as_ref())?;
        Ok(K::from_bytes(&*password::derive_key(&password, &client)?)?)
    }
}

/// What was written where.
#[derive(Serialize)]
struct Written<'a> {
    kind: &'a str,
    secret_file: &'a Path,
    #[serde(skip_serializing_if = "Option::is_none")]
    public_file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    public_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fingerprint: Option<String>,
}

pub(crate) fn run(args: &Args, output: Output) -> Result<(), Failure> {
    match &args.kind {
        Kind::Symmetric(args) => {
            args.out.check_free()?;
            let key = args.key(TopicKey::generate)?;
            write_secret("symmetric", KeyKind::Symmetric, &args.out, key.as_bytes(), key.fingerprint(), output)
        }
        Kind::Ed25519(args) => {
            args.out.check_free_pair()?;
            let key = args.key(SigningKey::generate)?;
            let public = key.verifying_key();
            let halves = [(KeyKind::Ed25519Secret, key.as_seed()), (KeyKind::Ed25519Public, public.as_bytes())];
            write_pair("ed25519", &args.out, halves, output)
        }
        Kind::X25519(out) => {
            out.check_free_pair()?;
            let key = C2SecretKey::generate()?;
            let public = key.public_key();
            let halves = [(KeyKind::X25519Secret, key.as_bytes()), (KeyKind::X25519Public, public.as_bytes())];
            write_pair("x25519", out, halves, output)
        }
        Kind::Root(out) => {
            out.check_free()?;
            let key = RootKey::generate()?;
            write_secret("root", KeyKind::Root, out, key.as_bytes(), key.fingerprint(), output)
        }
    }
}

impl OutArgs {
    fn is_stdout(&self) -> bool {
        self.out == Path::new("-")
    }

    /// Before a password is asked for.
    fn check_free(&self) -> anyhow::Result<()> {
        if self.is_stdout() { Ok(()) } else { check_free(&self.out, self.force) }
    }

    fn check_free_pair(&self) -> anyhow::Result<()> {
        if self.is_stdout() {
            bail!(
                "a key pair is two files: name the one for the secret key, and the public one gets that name with .pub"
            );
        }
        check_free(&self.out, self.force)?;
        check_free(&with_pub(&self.out), self.force)
    }
}

fn write_secret(
    kind: &str,
    in_file: KeyKind,
    out: &OutArgs,
    key: &[u8; 32],
    fingerprint: KeyFingerprint,
    output: Output,
) -> Result<(), Failure> {
    if out.is_stdout() {
        print_key(in_file, key)?;
        note(format!("fingerprint  {fingerprint}"));
        return Ok(());
    }
    write_key(&out.out, in_file, key, out.force)?;
    let secret_file = &out.out;
    let fingerprint = Some(fingerprint.to_string());
    let written = Written { kind, secret_file, public_file: None, public_key: None, fingerprint };
    output.print(&written, || written.to_text())
}

fn write_pair(
    kind: &str,
    out: &OutArgs,
    [secret, (public_kind, public)]: [(KeyKind, &[u8; 32]); 2],
    output: Output,
) -> Result<(), Failure> {
    let public_file = with_pub(&out.out);
    write_key(&out.out, secret.0, secret.1, out.force)?;
    write_key(&public_file, public_kind, public, out.force)?;
    let (public_file, public_key) = (Some(public_file), Some(hex::encode(public)));
    let written = Written { kind, secret_file: &out.out, public_file, public_key, fingerprint: None };
    output.print(&written, || written.to_text())
}

impl Written<'_> {
    fn to_text(&self) -> String {
        let mut text = format!("secret key   {}", self.secret_file.display());
        for (what, value) in [
            ("public file", self.public_file.as_ref().map(|path| path.display().to_string())),
            ("public key", self.public_key.clone()),
            ("fingerprint", self.fingerprint.clone()),
        ] {
            if let Some(value) = value {
                text += &format!("\n{what:<12} {value}");
            }
        }
        text
    }
}
