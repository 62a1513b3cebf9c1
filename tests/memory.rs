//! How often a client key stands in the memory of a running program, found by searching that memory; and that none of an
//! old one is left.
//!
//! A test starts itself as another program, which lives the life of a client: made, loaded, sealing, opening, following
//! commands. At each of its stops this one reads all of its writable memory.
#![cfg(all(feature = "std", feature = "getrandom", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use e4::{
    C2SecretKey, Client, ClientId, ClientKey, Command, FileStore, Identity, Mode, Opened, REPORT_LEN, SigningKey,
    StorageKey, Timestamp, Topic, TopicKey, controller::Recipient,
};
use std::{
    env, fs,
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    process::{self, Child, ChildStdin, ChildStdout, Stdio},
};
use zeroize::Zeroizing;

const FOLDER: &str = "E4_MEMORY_TEST";
const TOPIC: &str = "plant/7/pump/pressure";

/// How often a client key may stand in the memory: where it lives, and where the stack was not used again since.
const COPIES: usize = 3;

#[test]
fn f16_a_client_key_stands_in_few_places_and_nowhere_once_it_is_replaced_symmetric() {
    measure(Mode::Symmetric);
}

#[test]
fn f16_a_client_key_stands_in_few_places_and_nowhere_once_it_is_replaced_public_key() {
    measure(Mode::PublicKey);
}

fn id() -> ClientId {
    ClientId::from_name("pump-7").unwrap()
}

/// Random, so that it is found nowhere by chance.
fn random() -> [u8; 32] {
    *StorageKey::generate().unwrap().as_bytes()
}

fn recipient(mode: Mode, key: &[u8; 32], c2: &C2SecretKey) -> Recipient {
    match mode {
        Mode::Symmetric => Recipient::symmetric(id(), &ClientKey::from_bytes(key).unwrap()),
        Mode::PublicKey => {
            Recipient::public_key(id(), c2, &SigningKey::from_seed(key).unwrap().verifying_key()).unwrap()
        }
    }
}

fn measure(mode: Mode) {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (random(), random());
    let c2 = C2SecretKey::from_bytes(&random()).unwrap();
    let now = Timestamp::now();
    let (under_old, under_new) = (recipient(mode, &old, &c2), recipient(mode, &new, &c2));
    let topic_key = Command::set_topic_key(&Topic::new(TOPIC).unwrap(), TopicKey::from_bytes(&random()).unwrap());
    let set_id_key = match mode {
        Mode::Symmetric => Command::SetClientKey(ClientKey::from_bytes(&new).unwrap()),
        Mode::PublicKey => Command::SetSigningKey(SigningKey::from_seed(&new).unwrap()),
    };
    let write = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
    write("key", &old);
    if mode == Mode::PublicKey {
        write("c2", c2.public_key().as_bytes());
    }
    for (name, recipient, command, sent) in [
        ("set topic key", &under_old, &topic_key, now.plus(1)),
        ("set id key", &under_old, &set_id_key, now.plus(2)),
        ("reset", &under_new, &Command::ResetTopics, now.plus(3)),
    ] {
        write(name, recipient.seal_dated(command, sent).unwrap().as_bytes());
    }

    let mut client = Running::start(folder.path());
    if client.memory().is_err() {
        // A system that lets nobody look into another program's memory.
        return;
    }
    let mut counts = Vec::new();
    for stop in ["made", "followed", "loaded", "used", "replaced", "used again"] {
        client.until(stop);
        let (of_old, of_new) = client.count([&old, &new]);
        println!("{mode:?}, {stop}: {of_old} of the old key, {of_new} of the new one");
        counts.push((stop, of_old, of_new));
        client.go_on();
    }
    for (stop, of_old, of_new) in counts {
        let is_replaced = stop == "replaced" || stop == "used again";
        let (of_present, of_absent) = if is_replaced { (of_new, of_old) } else { (of_old, of_new) };
        assert!((1..=COPIES).contains(&of_present), "{of_present} copies of the key when it is {stop}");
        assert_eq!(of_absent, 0, "copies of the other key when it is {stop}");
    }
}

/// The life of the client. Started by the tests above, never with them.
#[test]
#[ignore = "is what the others look at"]
fn client() {
    let Ok(folder) = env::var(FOLDER) else { return };
    let folder = PathBuf::from(folder);
    let read = |name: &str| fs::read(folder.join(name)).unwrap();
    let store = || FileStore::new(folder.join("state"));
    let mut device = Client::builder(identity(&folder)).create(store()).unwrap();
    stop("made");
    let control = device.control_topic();
    device.open(control, &read("set topic key")).unwrap();
    stop("followed");
    drop(device);
    let mut device = Client::builder(identity(&folder)).load_or_create(store()).unwrap();
    stop("loaded");
    use_it(&mut device, 1);
    stop("used");
    device.open(control, &read("set id key")).unwrap();
    stop("replaced");
    use_it(&mut device, 2);
    device.open(control, &read("reset")).unwrap();
    stop("used again");
}

#[inline(never)]
fn identity(folder: &Path) -> Identity {
    let key = Zeroizing::new(fs::read(folder.join("key")).unwrap());
    let key = key.as_slice().try_into().unwrap();
    match fs::read(folder.join("c2")) {
        Err(_) => Identity::symmetric(id(), ClientKey::from_bytes(key).unwrap()),
        Ok(c2) => {
            let c2 = e4::C2PublicKey::from_bytes(&c2.try_into().unwrap()).unwrap();
            Identity::public_key(id(), SigningKey::from_seed(key).unwrap(), c2).unwrap()
        }
    }
}

#[inline(never)]
fn use_it(device: &mut Client, round: u32) {
    for n in 0..20 {
        let sealed = device.seal(TOPIC, format!("{round} {n} bar").as_bytes()).unwrap();
        // In public-key mode nobody is known who could have signed it, not even this client.
        if device.mode() == Mode::Symmetric {
            assert!(matches!(device.open(TOPIC, &sealed).unwrap(), Opened::Message(_)));
        } else {
            device.open(TOPIC, &sealed).unwrap_err();
        }
    }
    device.open(device.control_topic(), &[0x5a; 80]).unwrap_err();
    assert_eq!(device.report().len(), REPORT_LEN);
}

/// Says where it is, and waits until it may go on.
fn stop(at: &str) {
    println!("stop {at}");
    io::stdout().flush().unwrap();
    let mut byte = [0];
    io::stdin().read_exact(&mut byte).unwrap();
}

/// The other program.
struct Running {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Running {
    fn start(folder: &Path) -> Self {
        let mut child = process::Command::new(env::current_exe().unwrap())
            .args(["--exact", "client", "--ignored", "--nocapture", "--test-threads", "1"])
            .env(FOLDER, folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, stdin, stdout }
    }

    fn until(&mut self, stop: &str) {
        let wanted = format!("stop {stop}");
        let mut line = String::new();
        while !line.trim_end().ends_with(&wanted) {
            line.clear();
            assert_ne!(self.stdout.read_line(&mut line).unwrap(), 0, "it ended before it was {stop}");
        }
    }

    fn go_on(&mut self) {
        self.stdin.write_all(b"\n").unwrap();
    }

    fn memory(&self) -> io::Result<fs::File> {
        fs::File::open(format!("/proc/{}/mem", self.child.id()))
    }

    /// How often two keys stand in its writable memory: the first half of each counts as well as the whole.
    fn count(&self, [one, other]: [&[u8; 32]; 2]) -> (usize, usize) {
        let maps = fs::read_to_string(format!("/proc/{}/maps", self.child.id())).unwrap();
        let mut memory = self.memory().unwrap();
        let mut counts = (0, 0);
        for line in maps.lines() {
            let (range, rest) = line.split_once(' ').unwrap();
            if !rest.starts_with("rw") {
                continue;
            }
            let (start, end) = range.split_once('-').unwrap();
            let address = |text| u64::from_str_radix(text, 16).unwrap();
            let mut bytes = vec![0; usize::try_from(address(end) - address(start)).unwrap()];
            memory.seek(SeekFrom::Start(address(start))).unwrap();
            if memory.read_exact(&mut bytes).is_ok() {
                counts.0 += copies(&bytes, one);
                counts.1 += copies(&bytes, other);
            }
        }
        counts
    }
}

fn copies(bytes: &[u8], key: &[u8; 32]) -> usize {
    let half = &key[..16];
    let starts = bytes.iter().enumerate().filter(|(_, byte)| **byte == half[0]);
    starts.filter(|(at, _)| bytes[*at..].starts_with(half)).count()
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ended = self.child.kill().and_then(|()| self.child.wait());
    }
}
