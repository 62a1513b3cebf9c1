//! A small HTTP server that answers as a test says, and keeps what it was asked.

use serde_json::Value;
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

/// What was asked.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// `GET /v1/status`
    pub(crate) fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// What is answered.
pub(crate) struct Reply(Vec<u8>);

impl Reply {
    pub(crate) fn new(status: u16, headers: &str, body: impl AsRef<[u8]>) -> Self {
        let body = body.as_ref();
        let head =
            format!("HTTP/1.1 {status} x\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n", body.len());
        Self([head.as_bytes(), body].concat())
    }

    pub(crate) fn json(value: &Value) -> Self {
        Self::new(200, "Content-Type: application/json\r\n", value.to_string())
    }

    pub(crate) fn problem(status: u16, value: &Value) -> Self {
        Self::new(status, "Content-Type: application/problem+json\r\n", value.to_string())
    }

    /// These bytes, and no more.
    pub(crate) fn raw(bytes: &str) -> Self {
        Self(bytes.as_bytes().to_vec())
    }

    /// The connection ends without an answer.
    pub(crate) fn none() -> Self {
        Self(Vec::new())
    }
}

/// Answers until the test is over.
pub(crate) struct Http {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<Request>>>,
}

impl Http {
    /// `answer` is called with each request and how many there were before.
    pub(crate) fn start(mut answer: impl FnMut(&Request, usize) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&asked);
        thread::spawn(move || {
            for connection in listener.incoming() {
                let mut connection = connection.unwrap();
                let Some(request) = read(&connection) else { continue };
                let before = kept.lock().unwrap().len();
                kept.lock().unwrap().push(request.clone());
                // Who is told enough may be gone.
                let _gone = connection.write_all(&answer(&request, before).0);
            }
        });
        Self { address, asked }
    }

    pub(crate) fn asked(&self) -> Vec<Request> {
        self.asked.lock().unwrap().clone()
    }

    /// The methods and paths of all requests.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.asked().iter().map(Request::line).collect()
    }
}

fn read(connection: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(connection);
    let mut line = || {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        Some(line.trim_end().to_owned())
    };
    let first = line()?;
    let mut words = first.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    while let Some((name, value)) = line()?.split_once(": ") {
        headers.push((name.to_owned(), value.to_owned()));
    }
    let mut request = Request { method, path, headers, body: Vec::new() };
    let len = request.header("content-length").map_or(0, |len| len.parse().unwrap());
    assert!(request.header("transfer-encoding").is_none(), "a body without a length: {request:?}");
    request.body = vec![0; len];
    reader.read_exact(&mut request.body).ok()?;
    Some(request)
}
