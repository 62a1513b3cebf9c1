use crate::{
    id::ClientArgs,
    output::{Failure, Output},
    password,
    secret_file::{Readers, Source, check_free, print_key, with_pub, write_key},
    terminal::note,
};
use anyhow::bail;
use e4::{C2SecretKey, KeyFingerprint, RootKey, SigningKey, TopicKey};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Make a new key and write it to a file
///
/// A key file is one line of 64 hexadecimal digits that only you can read (mode 0600). A public key goes to a second
/// file, FILE.pub, to be given to others. No secret is shown; the fingerprint tells whether two files hold the same key.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  e4 keygen symmetric --out pump-7.key
  e4 keygen symmetric --password --name pump-7 --out pump-7.key
  e4 keygen symmetric --password-file pump-7.password --name pump-7 --out pump-7.key
  e4 keygen ed25519 --out pump-7.key       writes pump-7.key and pump-7.key.pub
  e4 keygen root --out plant.root")]
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
    fn key<K>(
        &self,
        from_bytes: impl FnOnce(&[u8; 32]) -> Result<K, e4::KeyError>,
        random: impl FnOnce() -> Result<K, e4::KeyError>,
    ) -> Result<K, Failure> {
        if !self.password && self.password_file.is_none() {
            if self.client.id()?.is_some() {
                return Err(anyhow::anyhow!("a random key belongs to no client: leave out --name and --id").into());
            }
            return Ok(random()?);
        }
        let client = self.client.required_id()?;
        let password = password::read(self.password_file.as_ref())?;
        Ok(from_bytes(&*password::derive_key(&password, &client)?)?)
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
            let key = args.key(TopicKey::from_bytes, TopicKey::generate)?;
            write_secret("symmetric", &args.out, key.as_bytes(), key.fingerprint(), output)
        }
        Kind::Ed25519(args) => {
            args.out.check_free_pair()?;
            let key = args.key(SigningKey::from_seed, SigningKey::generate)?;
            write_pair("ed25519", &args.out, key.as_seed(), key.verifying_key().as_bytes(), output)
        }
        Kind::X25519(out) => {
            out.check_free_pair()?;
            let key = C2SecretKey::generate()?;
            write_pair("x25519", out, key.as_bytes(), key.public_key().as_bytes(), output)
        }
        Kind::Root(out) => {
            out.check_free()?;
            let key = RootKey::generate()?;
            write_secret("root", out, key.as_bytes(), key.fingerprint(), output)
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
    out: &OutArgs,
    key: &[u8; 32],
    fingerprint: KeyFingerprint,
    output: Output,
) -> Result<(), Failure> {
    if out.is_stdout() {
        print_key(key)?;
        note(format!("fingerprint  {fingerprint}"));
        return Ok(());
    }
    write_key(&out.out, key, Readers::Owner, out.force)?;
    let secret_file = &out.out;
    let fingerprint = Some(fingerprint.to_string());
    let written = Written { kind, secret_file, public_file: None, public_key: None, fingerprint };
    output.print(&written, || written.to_text())
}

fn write_pair(kind: &str, out: &OutArgs, secret: &[u8; 32], public: &[u8; 32], output: Output) -> Result<(), Failure> {
    let public_file = with_pub(&out.out);
    write_key(&out.out, secret, Readers::Owner, out.force)?;
    write_key(&public_file, public, Readers::Everyone, out.force)?;
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
