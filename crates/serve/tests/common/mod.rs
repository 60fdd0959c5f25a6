//! What the tests share: a server, a plain HTTP client, made-up slots.

#![allow(dead_code, clippy::unwrap_used, reason = "test code, of which each test file uses its part")]

use seehear::asd::Voice;
use seehear::av_object::TrackState;
use seehear::events::{FrameEvent, Header, ObjectEvent};
use seehear_serve::http::{Options, Server, serve};
use seehear_serve::{Hub, Timing};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

pub(crate) const TOKEN: &str = "0123456789abcdef";
/// Nothing here takes so long in order; a machine that does other work besides may.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn local() -> Options {
    Options::new(([127, 0, 0, 1], 0).into())
}

pub(crate) fn start(options: &Options) -> (Hub, Server) {
    let hub = Hub::new("test");
    hub.header(&header());
    let server = serve(options, &hub).unwrap();
    (hub, server)
}

pub(crate) fn header() -> Header {
    Header {
        schema: 1,
        source: "talk.mp4".to_owned(),
        width: 640,
        height: 360,
        engine: "av-small".to_owned(),
        backend: "onnxruntime-cpu".to_owned(),
        latency_ms: 200.0,
    }
}

/// A slot with so many objects, of which `speaker` speaks.
pub(crate) fn frame(slot: u32, objects: u32, speaker: u32) -> FrameEvent {
    let object = |id| ObjectEvent {
        id,
        x: 100.5,
        y: 200.5,
        w: 33.3,
        h: 44.4,
        score: 0.123,
        speaking: id == speaker,
        state: TrackState::Confirmed,
    };
    FrameEvent {
        t_ms: f64::from(slot) * 40.0,
        objects: (1..=objects).map(object).collect(),
        voice: if (1..=objects).contains(&speaker) { Voice::OnScreen } else { Voice::None },
        offset_ms: Some(12.5),
        offset_confidence: 1.0,
        sync: None,
    }
}

pub(crate) fn timing() -> Timing {
    Timing { busy: Duration::from_millis(10), latency: Some(Duration::from_millis(220)) }
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let line = self.head.lines().find(|l| l.to_ascii_lowercase().starts_with(&format!("{name}: ")))?;
        Some(&line[name.len() + 2..])
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }
}

pub(crate) fn connect(addr: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(addr).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// Sends `request` as it is, and reads until the other side closes.
pub(crate) fn raw(addr: SocketAddr, request: &[u8]) -> Answer {
    let mut socket = connect(addr);
    socket.write_all(request).unwrap();
    let mut bytes = Vec::new();
    // A server that refuses may close before everything was read.
    drop(socket.read_to_end(&mut bytes));
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text.as_str(), ""));
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

pub(crate) fn ask(addr: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut request = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
    if !headers.iter().any(|h| h.0.eq_ignore_ascii_case("host")) {
        request += &format!("Host: {addr}\r\n");
    }
    for (k, v) in headers {
        request += &format!("{k}: {v}\r\n");
    }
    raw(addr, format!("{request}\r\n{body}").as_bytes())
}

pub(crate) fn get(addr: SocketAddr, path: &str) -> Answer {
    ask(addr, "GET", path, &[], "")
}

pub(crate) fn patch(addr: SocketAddr, json: &str) -> Answer {
    ask(addr, "PATCH", "/settings", &[("Content-Type", "application/json")], json)
}

/// A stream that was asked for, after its head.
pub(crate) fn open(addr: SocketAddr, path: &str) -> BufReader<TcpStream> {
    let mut socket = connect(addr);
    write!(socket, "GET {path} HTTP/1.1\r\nHost: {addr}\r\n\r\n").unwrap();
    let mut reader = BufReader::new(socket);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert!(line.contains(" 200 "), "{line}");
    while line != "\r\n" {
        line.clear();
        reader.read_line(&mut line).unwrap();
    }
    reader
}

/// The next event of an SSE stream: its name and its data.
pub(crate) fn event(stream: &mut impl BufRead) -> Option<(String, serde_json::Value)> {
    let mut name = None;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if let Some(n) = line.strip_prefix("event: ") {
            name = Some(n.trim().to_owned());
        }
        if let Some(data) = line.strip_prefix("data: ") {
            return Some((name?, serde_json::from_str(data).unwrap()));
        }
    }
}

pub(crate) fn until(what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Runs one ignored test of this very program in a process of its own.
pub(crate) fn child(test: &str) -> std::process::Command {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--ignored", "--nocapture"]);
    command
}
