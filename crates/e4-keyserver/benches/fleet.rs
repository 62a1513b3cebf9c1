//! How long a fleet of a hundred thousand devices takes: enrolment, a rotation, a withdrawal, and sealing alone.
//!
//! `cargo bench -p e4-keyserver --bench fleet` on SQLite, in a temporary folder. `E4_BENCH_DATABASE=postgresql://…` names an empty database
//! to use instead. With `--test` it goes once through a small fleet, to see that it runs. Each figure is printed beside the target,
//! and beside a tenth of the devices: what is linear has a ratio of 10.

use e4::{
    Client, ClientId, ClientKey, Command, Identity, MemoryStore, Timestamp, TopicHash, TopicKey,
    controller::{Lane, Recipient},
};
use e4_keyserver::{
    fleet::{
        Actor, Arrived, Fleet, GroupPolicy, NewDevice, NewDeviceKey, NewGroup, NewTopic, Policy, Publication,
        SystemClock, TopicPolicy, Who,
    },
    model::{Access, Labels, Leases, Role, RotationKind, Slice, TopicName},
    store::{Store, leases},
    upkeep::found,
    vault::{SystemChance, Unlock, Vault, Work},
};
use std::{
    collections::{HashMap, HashSet},
    error::Error,
    hint::black_box,
    sync::Arc,
    time::Instant,
};
use zeroize::Zeroizing;

type Outcome<T> = Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> Outcome<()> {
    let is_test = std::env::args().any(|argument| argument == "--test");
    let (small, large) = if is_test { (200, 400) } else { (10_000, 100_000) };
    sealing(if is_test { 100 } else { 300_000 })?;
    let few = fleet_of(small).await?;
    let many = fleet_of(large).await?;
    let devices = f64::from(u32::try_from(large)?);
    println!("enrol {large} devices in bulk: {:.2} s, {:.0} a second", many.enrolled, devices / many.enrolled);
    println!(
        "rotate a topic of {large} members, intention and all rounds, committed: {:.2} s; of {small}: {:.3} s; ratio {:.1}",
        many.rotated,
        few.rotated,
        many.rotated / few.rotated
    );
    println!("  of that the intention: {:.3} s", many.intended);
    println!("judge a report of each of {large} devices: {:.2} s, {:.0} a second", many.judged, devices / many.judged);
    println!(
        "withdraw a device with {} topics, plan: {:.2} s; all queued: {:.2} s",
        many.topics, many.foreseen, many.withdrawn
    );
    Ok(())
}

/// Commands for a rotation, one for each of many devices.
fn sealing(devices: u64) -> Outcome<()> {
    let recipients: Result<Vec<_>, Box<dyn Error>> = (0..1000_u64)
        .map(|n| Ok(Recipient::symmetric(ClientId::from_name(&format!("device-{n}"))?, &ClientKey::generate()?)))
        .collect();
    let (recipients, key, topic, now) =
        (recipients?, TopicKey::generate()?, TopicHash::from_bytes([7; 16]), Timestamp::now());
    let start = Instant::now();
    for recipient in recipients.iter().cycle().take(usize::try_from(devices)?) {
        let command = Command::SetTopicKey { topic, key: key.clone() };
        black_box(recipient.seal(&[command], &mut Lane::new(), now)?);
    }
    let taken = start.elapsed().as_secs_f64();
    println!("seal commands for a rotation: {:.0} a second and core", f64::from(u32::try_from(devices)?) / taken);
    Ok(())
}

struct Figures {
    enrolled: f64,
    intended: f64,
    rotated: f64,
    judged: f64,
    topics: usize,
    foreseen: f64,
    withdrawn: f64,
}

/// Devices in a group of this many, each of which has a topic of its own.
const CELL: usize = 100;

/// Times a fleet of so many devices from its enrolment on.
async fn fleet_of(devices: usize) -> Outcome<Figures> {
    let folder = tempfile::tempdir()?;
    let url = format!("sqlite:{}", folder.path().join("fleet.db").display());
    let store = Store::open(&std::env::var("E4_BENCH_DATABASE").unwrap_or(url)).await?;
    let vault = Vault::create(Box::new(SystemChance), b"")?;
    let slot = vault.new_slot("slot", &Unlock::KeyFile(Zeroizing::new([7; 32])), Work::DEFAULT, 0)?;
    found(&store, &vault, &[slot]).await?;
    let fleet = Fleet::new(store, Arc::new(vault), Arc::new(SystemClock), Policy::default());
    fleet.begin_fleet("bench").await?;
    let admin = Actor::new("bench", Role::Administrator, "here");
    let group = async |name: String| {
        fleet.add_group(&admin, &NewGroup { name, selector: None, policy: GroupPolicy::default() }).await
    };
    group("all".to_owned()).await?;
    let cells = devices.div_ceil(CELL);
    for cell in 0..cells {
        group(format!("cell-{cell}")).await?;
    }

    let mut clients = HashMap::new();
    let mut new = Vec::new();
    for n in 0..devices {
        let name = format!("device-{n}");
        let (id, key) = (ClientId::from_name(&name)?, ClientKey::generate()?);
        new.push(NewDevice {
            line: u64::try_from(n)? + 1,
            name: Some(name),
            id: None,
            key: NewDeviceKey::Symmetric(Zeroizing::new(*key.as_bytes())),
            labels: Labels::default(),
            groups: vec!["all".to_owned(), format!("cell-{}", n / CELL)],
            notes: String::new(),
        });
        clients.insert(id, Client::builder(Identity::symmetric(id, key)).create(MemoryStore::new())?);
    }
    let start = Instant::now();
    fleet.add_devices(&admin, new).await?;
    let enrolled = start.elapsed().as_secs_f64();

    let mut field = Field { fleet: fleet.clone(), leases: all_leases(&fleet).await?, clients };
    let topic = async |name: &str, who: &[Who]| -> Outcome<i64> {
        let new =
            NewTopic { name: TopicName::new(name)?, key: None, policy: TopicPolicy::default(), notes: String::new() };
        let id = fleet.add_topic(&admin, &new).await?.id;
        for who in who {
            fleet.set_access(&admin, id, who, Access::BOTH).await?;
        }
        Ok(id)
    };
    let shared = topic("all/of/them", &[Who::Group("all".to_owned())]).await?;
    let first = field.rounds().await?;
    field.confirm(first).await?;

    let start = Instant::now();
    fleet.rotate(&admin, shared, RotationKind::Hard).await?;
    let intended = start.elapsed().as_secs_f64();
    let sent = field.rounds().await?;
    let rotated = start.elapsed().as_secs_f64();
    assert_eq!(sent.len(), devices, "one command for each device");
    let judged = field.confirm(sent).await?;

    let topics = cells.min(1000);
    let stolen = ClientId::from_name("device-0")?;
    for cell in 0..topics {
        topic(&format!("cell/{cell}"), &[Who::Group(format!("cell-{cell}")), Who::Device(stolen)]).await?;
    }
    while let sent = field.rounds().await?
        && !sent.is_empty()
    {
        field.confirm(sent).await?;
    }
    let start = Instant::now();
    let reach = fleet.withdraw(&admin, &stolen, true).await?;
    let foreseen = start.elapsed().as_secs_f64();
    assert_eq!(reach.could_read.len(), topics + 1);
    let start = Instant::now();
    fleet.withdraw(&admin, &stolen, false).await?;
    let sent = field.rounds().await?;
    let withdrawn = start.elapsed().as_secs_f64();
    assert!(sent.len() >= topics * (CELL - 1), "{} commands", sent.len());
    Ok(Figures { enrolled, intended, rotated, judged, topics, foreseen, withdrawn })
}

async fn all_leases(fleet: &Fleet) -> Outcome<Leases> {
    let holder = leases::Holder { name: "bench".to_owned(), presence: -1 };
    let mut tx = fleet.store().write().await?;
    let mut held = Leases::default();
    // A server takes its share in steps.
    while held.0.len() < Slice::all().count() {
        held = leases::keep(&mut tx, &holder, fleet.now()).await?;
    }
    tx.commit().await?;
    Ok(held)
}

/// The devices, each a client in memory, and the way to them.
struct Field {
    fleet: Fleet,
    leases: Leases,
    clients: HashMap<ClientId, Client>,
}

impl Field {
    /// Rounds until nothing is due.
    async fn rounds(&self) -> Outcome<Vec<Publication>> {
        let mut sent = Vec::new();
        loop {
            let round = self.fleet.round(&self.leases, 2000).await?;
            sent.extend(round.publications);
            if round.devices < 2000 {
                return Ok(sent);
            }
        }
    }

    /// The devices take what was sent and report, and the reports are judged; seconds for the judging.
    async fn confirm(&mut self, sent: Vec<Publication>) -> Outcome<f64> {
        let mut reporting = HashSet::new();
        for Publication { device, bytes, .. } in sent {
            let client = self.clients.get_mut(&device).ok_or("a device of this fleet")?;
            client.open(client.control_topic(), &bytes)?;
            reporting.insert(device);
        }
        let reports = reporting.into_iter().filter_map(|device| {
            let bytes = self.clients.get_mut(&device)?.report().to_vec();
            Some(Arrived { device, bytes, retained: false })
        });
        let reports: Vec<_> = reports.collect();
        let start = Instant::now();
        for reports in reports.chunks(2000) {
            self.fleet.hear(reports.to_vec()).await?;
        }
        Ok(start.elapsed().as_secs_f64())
    }
}
