//! Brokers by script: obedient ones that take everything and pass nothing on, but for what the script does otherwise.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

pub(crate) const CONNECT: u8 = 1;
pub(crate) const PUBLISH: u8 = 3;
pub(crate) const SUBSCRIBE: u8 = 8;
pub(crate) const UNSUBSCRIBE: u8 = 10;
pub(crate) const DISCONNECT: u8 = 14;
const PUBREL: u8 = 6;
const PINGREQ: u8 = 12;

/// MQTT 3.1.1 and 5, as CONNECT names them.
pub(crate) const V311: u8 = 4;
pub(crate) const V5: u8 = 5;

/// A packet of a client.
#[derive(Debug, Clone)]
pub(crate) struct Packet {
    /// Which connection it came on; the first one is 0.
    pub(crate) connection: usize,
    /// The version of MQTT on this connection.
    pub(crate) level: u8,
    pub(crate) kind: u8,
    flags: u8,
    body: Vec<u8>,
}

impl Packet {
    pub(crate) fn qos(&self) -> u8 {
        (self.flags >> 1) & 3
    }

    fn text(&self, at: usize) -> &[u8] {
        let len = usize::from(u16::from_be_bytes([self.body[at], self.body[at + 1]]));
        &self.body[at + 2..at + 2 + len]
    }

    /// Bytes of the properties at an offset, with their length.
    fn properties(&self, at: usize) -> usize {
        if self.level == V5 { 1 + usize::from(self.body[at]) } else { 0 }
    }

    /// The topic of a PUBLISH, or the first filter of a SUBSCRIBE or UNSUBSCRIBE.
    pub(crate) fn topic(&self) -> String {
        let at = if self.kind == PUBLISH { 0 } else { 2 + self.properties(2) };
        String::from_utf8(self.text(at).to_vec()).unwrap()
    }

    /// The payload of a PUBLISH.
    pub(crate) fn payload(&self) -> &[u8] {
        let mut at = 2 + self.text(0).len();
        at += if self.qos() == 0 { 0 } else { 2 };
        &self.body[at + self.properties(at)..]
    }

    /// Whether this PUBLISH is to be kept.
    pub(crate) fn is_retained(&self) -> bool {
        self.flags & 1 == 1
    }

    /// Whether a device says what it holds.
    pub(crate) fn is_report(&self) -> bool {
        self.kind == PUBLISH && self.topic().ends_with("/report")
    }

    /// Whether this CONNECT asks for a clean session.
    pub(crate) fn begins_anew(&self) -> bool {
        const CLEAN: u8 = 2;
        self.body[7] & CLEAN != 0
    }

    pub(crate) fn id(&self) -> [u8; 2] {
        let at = if self.kind == PUBLISH { 2 + self.text(0).len() } else { 0 };
        [self.body[at], self.body[at + 1]]
    }

    /// Reason codes that answer this SUBSCRIBE.
    pub(crate) fn suback(&self, codes: &[u8]) -> Vec<u8> {
        packet(0x90, &[&self.id()[..], self.no_properties(), codes].concat())
    }

    /// What answers this PUBLISH of QoS 1, with a reason code of MQTT 5.
    pub(crate) fn puback(&self, code: u8) -> Vec<u8> {
        let code = if self.level == V5 { &[code][..] } else { &[] };
        packet(0x40, &[&self.id()[..], code].concat())
    }

    fn no_properties(&self) -> &'static [u8] {
        if self.level == V5 { &[0] } else { &[] }
    }

    /// What an obedient broker answers.
    pub(crate) fn obeyed(&self) -> Vec<u8> {
        match (self.kind, self.qos()) {
            (CONNECT, _) => connack(self.level, 0, &[]),
            (SUBSCRIBE, _) => {
                let options = self.body.last().unwrap();
                self.suback(&[options & 3])
            }
            (UNSUBSCRIBE, _) => {
                let code: &[u8] = if self.level == V5 { &[0] } else { &[] };
                packet(0xb0, &[&self.id()[..], self.no_properties(), code].concat())
            }
            (PUBLISH, 1) => self.puback(0),
            (PUBLISH, 2) => packet(0x50, &self.id()),
            (PUBREL, _) => packet(0x70, &self.id()),
            (PINGREQ, _) => packet(0xd0, &[]),
            _ => Vec::new(),
        }
    }
}

/// A CONNACK that takes the connection (code 0) or not, in a new session, with properties of MQTT 5.
pub(crate) fn connack(level: u8, code: u8, properties: &[u8]) -> Vec<u8> {
    let mut body = vec![0, code];
    if level == V5 {
        body.push(u8::try_from(properties.len()).unwrap());
        body.extend(properties);
    }
    packet(0x20, &body)
}

/// A message for the client, of QoS 0 or 1; as the broker had kept it, if `retained`.
pub(crate) fn message(level: u8, topic: &str, payload: &[u8], id: Option<u8>, retained: bool) -> Vec<u8> {
    let mut body = u16::try_from(topic.len()).unwrap().to_be_bytes().to_vec();
    body.extend(topic.as_bytes());
    body.extend(id.map(|id| [0, id]).iter().flatten());
    body.extend(if level == V5 { &[0][..] } else { &[] });
    body.extend(payload);
    packet(0x30 | u8::from(id.is_some()) << 1 | u8::from(retained), &body)
}

/// DISCONNECT of MQTT 5.
pub(crate) fn disconnect(code: u8) -> Vec<u8> {
    packet(0xe0, &[code, 0])
}

pub(crate) fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    let mut left = body.len();
    loop {
        let seven = u8::try_from(left % 128).unwrap();
        left /= 128;
        packet.push(if left == 0 { seven } else { seven | 128 });
        if left == 0 {
            break;
        }
    }
    packet.extend(body);
    packet
}

/// What a script does about a packet.
pub(crate) enum Does {
    /// What the standard says.
    Obeys,
    /// Says this; nothing at all, if it is empty.
    Says(Vec<u8>),
    /// Says this, and closes the connection.
    SaysAndCloses(Vec<u8>),
    Closes,
}

/// A broker by script. It listens until this value goes, and a connection lives as long as its client.
pub(crate) struct Scripted {
    pub(crate) port: u16,
    seen: Arc<Mutex<Vec<Packet>>>,
    over: Arc<AtomicBool>,
}

impl Scripted {
    /// Reports of devices are taken without a word: when they come is left to chance.
    pub(crate) fn new(script: impl Fn(&Packet) -> Does + Send + Sync + 'static) -> Self {
        Self::start(script, false)
    }

    /// As [`new`](Self::new), and the script has a say in reports too.
    pub(crate) fn with_reports(script: impl Fn(&Packet) -> Does + Send + Sync + 'static) -> Self {
        Self::start(script, true)
    }

    fn start(script: impl Fn(&Packet) -> Does + Send + Sync + 'static, sees_reports: bool) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (seen, over) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let this = Self { port, seen, over };
        let (seen, over, script) = (Arc::clone(&this.seen), Arc::clone(&this.over), Arc::new(script));
        thread::spawn(move || {
            for (connection, stream) in listener.incoming().flatten().enumerate() {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                let (seen, script) = (Arc::clone(&seen), Arc::clone(&script));
                // It ends with the connection; how is not its business.
                thread::spawn(move || talk(stream, connection, sees_reports, &seen, &*script));
            }
        });
        this
    }

    /// What clients have sent so far.
    pub(crate) fn seen(&self) -> Vec<Packet> {
        self.seen.lock().unwrap().clone()
    }

    /// What clients have sent so far of one kind.
    pub(crate) fn seen_of(&self, kind: u8) -> Vec<Packet> {
        self.seen().into_iter().filter(|packet| packet.kind == kind).collect()
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let _woken = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

fn talk(
    mut stream: TcpStream,
    connection: usize,
    sees_reports: bool,
    seen: &Mutex<Vec<Packet>>,
    script: &dyn Fn(&Packet) -> Does,
) -> io::Result<()> {
    let mut level = 0;
    loop {
        let [first] = read(&mut stream)?;
        let (mut len, mut shift) = (0, 0);
        loop {
            let [byte] = read(&mut stream)?;
            len |= usize::from(byte & 127) << shift;
            shift += 7;
            if byte < 128 {
                break;
            }
        }
        let mut body = vec![0; len];
        stream.read_exact(&mut body)?;
        let (kind, flags) = (first >> 4, first & 15);
        if kind == CONNECT {
            // Or it is no CONNECT: who looks for the cause of a failure tries TLS as well.
            level = *body.get(6).ok_or(io::ErrorKind::InvalidData)?;
        }
        let packet = Packet { connection, level, kind, flags, body };
        if !sees_reports && packet.is_report() {
            stream.write_all(&packet.obeyed())?;
            continue;
        }
        seen.lock().unwrap().push(packet.clone());
        let does = script(&packet);
        match does {
            Does::Obeys => stream.write_all(&packet.obeyed())?,
            Does::Says(bytes) => stream.write_all(&bytes)?,
            Does::SaysAndCloses(bytes) => {
                stream.write_all(&bytes)?;
                // What was said is to be read first, and the client may go by itself.
                stream.set_read_timeout(Some(Duration::from_millis(500)))?;
                let _gone = io::copy(&mut stream, &mut io::sink());
                return Ok(());
            }
            Does::Closes => return close(stream),
        }
    }
}

/// In good order: what the client has sent and nobody has read would have the system take back what was said.
fn close(mut stream: TcpStream) -> io::Result<()> {
    stream.shutdown(Shutdown::Write)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    io::copy(&mut stream, &mut io::sink()).map(drop)
}

fn read<const N: usize>(stream: &mut TcpStream) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}
