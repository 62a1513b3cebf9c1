//! PostgreSQL in a temporary folder, as a user that may run it, reached by its socket alone.

use std::{
    env,
    fs::{self, Permissions},
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(60);

/// Makes a cluster and does what it is told. When the tests end, however they end, it reads no more, ends the database and clears up.
const KEEPER: &str = r#"
trap '' INT
bin=$1
folder=$(mktemp -d /tmp/e4-postgres.XXXXXX) || exit 1
data=$folder/data
pid=
# Again and again, since a process that only begins may not heed it.
end() { while kill -"$1" "$pid" 2>/dev/null; do sleep 0.05; done; pid=; }
if ! "$bin/initdb" -D "$data" -U e4 -A trust -N -E UTF8 --locale=C >"$folder/log" 2>&1; then
    cat "$folder/log" >&2
    rm -rf "$folder"
    exit 1
fi
echo "$folder"
while read -r order; do
    case $order in
    start*)
        "$bin/postgres" -D "$data" -k "$folder" -c listen_addresses= -c max_connections=400 -c fsync=off \
            -c dynamic_shared_memory_type=mmap ${order#start} >>"$folder/log" 2>&1 </dev/null &
        pid=$!
        ;;
    kill) end KILL ;;
    esac
    echo done
done
[ -z "$pid" ] || end QUIT
rm -rf "$folder"
"#;

/// A PostgreSQL that is nobody else's.
pub(crate) struct Cluster {
    bin: PathBuf,
    folder: PathBuf,
    keeper: Mutex<Keeper>,
}

struct Keeper {
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    process: Child,
}

impl Cluster {
    /// The one of this process, started by whoever asks first.
    pub(crate) fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Cluster>> = OnceLock::new();
        SHARED.get_or_init(Self::start).as_ref()
    }

    /// One more; none if PostgreSQL is not installed, unless the environment says that it must be.
    pub(crate) fn start() -> Option<Self> {
        let Some(bin) = programs() else {
            let required = env::var_os("E4_REQUIRE_POSTGRES").is_some_and(|value| value == "1");
            assert!(!required, "PostgreSQL is not installed, and E4_REQUIRE_POSTGRES=1");
            println!("skipped: PostgreSQL is not installed");
            return None;
        };
        let mut command = as_its_user();
        command.args(["sh", "-c", KEEPER, "sh"]).arg(&bin).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let orders = process.stdin.take();
        let mut answers = BufReader::new(process.stdout.take().unwrap());
        let mut folder = String::new();
        answers.read_line(&mut folder).unwrap();
        assert!(!folder.is_empty(), "PostgreSQL's initdb failed: see above");
        let keeper = Mutex::new(Keeper { orders, answers, process });
        let cluster = Self { bin, folder: folder.trim().into(), keeper };
        cluster.start_again();
        Some(cluster)
    }

    /// SIGKILL: what was not committed is gone.
    pub(crate) fn kill(&self) {
        self.order("kill");
    }

    /// After [`Self::kill`]; returns when it can be used.
    pub(crate) fn start_again(&self) {
        self.order("start");
        let since = Instant::now();
        while !self.run("psql", &["-d", "postgres", "-c", "SELECT 1"]) {
            assert!(since.elapsed() < PATIENCE, "PostgreSQL does not start: see {}/log", self.folder.display());
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// After [`Self::kill`]; on a port of this machine as well, by TLS with this certificate and its key in PEM. The port.
    pub(crate) fn start_again_with_tls(&self, certificate: &str, key: &str) -> u16 {
        let owner = fs::metadata(&self.folder).unwrap().uid();
        for (name, text) in [("server.pem", certificate), ("server.key", key)] {
            let path = self.folder.join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
            chown(&path, Some(owner), None).unwrap();
        }
        let at = self.folder.display();
        let files = format!("-c ssl=on -c ssl_cert_file={at}/server.pem -c ssl_key_file={at}/server.key");
        let since = Instant::now();
        loop {
            // Somebody else may take the port before it does.
            let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
            self.order(&format!("start -c listen_addresses=127.0.0.1 -c port={port} {files}"));
            let asked = Instant::now();
            while asked.elapsed() < Duration::from_secs(10) {
                if self.run("psql", &["-p", &port.to_string(), "-d", "postgres", "-c", "SELECT 1"]) {
                    return port;
                }
                thread::sleep(Duration::from_millis(50));
            }
            self.kill();
            assert!(since.elapsed() < PATIENCE, "PostgreSQL does not start: see {at}/log");
        }
    }

    /// A new database, and its name.
    pub(crate) fn create_database(&self) -> String {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("fleet{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        assert!(self.run("createdb", &[&name]), "no new database");
        name
    }

    pub(crate) fn drop_database(&self, name: &str) {
        self.run("dropdb", &["--force", name]);
    }

    /// Where a database of this cluster is.
    pub(crate) fn url(&self, name: &str) -> String {
        format!("postgresql:///{name}?host={}&user=e4", self.folder.display())
    }

    fn run(&self, program: &str, arguments: &[&str]) -> bool {
        let mut command = Command::new(self.bin.join(program));
        command.arg("-h").arg(&self.folder).args(["-U", "e4"]).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success()
    }

    fn order(&self, order: &str) {
        let mut keeper = self.keeper.lock().unwrap();
        writeln!(keeper.orders.as_mut().unwrap(), "{order}").unwrap();
        let mut answer = String::new();
        keeper.answers.read_line(&mut answer).unwrap();
        assert_eq!(answer, "done\n");
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let keeper = self.keeper.get_mut().unwrap();
        drop(keeper.orders.take());
        let _ = keeper.process.wait();
    }
}

/// Where PostgreSQL's programs are: on the path, or where Debian has them, the newest first.
fn programs() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut versions: Vec<_> = versions.map(|entry| entry.path().join("bin")).collect();
    versions.sort();
    let needed = ["initdb", "postgres", "psql", "createdb", "dropdb"];
    let folders = env::split_paths(&path).chain(versions.into_iter().rev());
    folders.into_iter().find(|folder| needed.iter().all(|program| folder.join(program).is_file()))
}

/// PostgreSQL refuses to be root's.
fn as_its_user() -> Command {
    let id = Command::new("id").arg("-u").output().unwrap();
    if id.stdout == b"0\n" {
        assert!(Path::new("/usr/bin/setpriv").exists(), "who is root needs setpriv to run PostgreSQL as its own user");
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]);
        command.current_dir("/");
        return command;
    }
    Command::new("env")
}
