//! `run --http` and `--serve-config` from end to end: what others see of a run, what they change, and how it ends.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod common;

use common::{demo, program};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// A run whose standard error is read line by line.
struct Run {
    child: Child,
    lines: Receiver<String>,
    said: Vec<String>,
    port: u16,
}

impl Run {
    fn start(args: &[&str]) -> Self {
        let mut child = program()
            .arg("run")
            .arg(demo())
            .args(["--realtime"])
            .args(args)
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let (tell, lines) = channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || stderr.lines().map_while(Result::ok).all(|l| tell.send(l).is_ok()));
        let mut run = Self { child, lines, said: Vec::new(), port: 0 };
        let line = run.line("dashboard: ");
        run.port = line.trim_end_matches('/').rsplit(':').next().unwrap().parse().unwrap();
        run
    }

    /// Waits for a line that has `what` in it.
    fn line(&mut self, what: &str) -> String {
        loop {
            let line = self
                .lines
                .recv_timeout(Duration::from_secs(60))
                .unwrap_or_else(|e| panic!("{e} instead of \"{what}\" after {:#?}", self.said));
            self.said.push(line.clone());
            if line.contains(what) {
                return line;
            }
        }
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> TcpStream {
        let mut s = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        s.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        write!(
            s,
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            self.port,
            body.len()
        )
        .unwrap();
        s
    }

    /// Status and body.
    fn get(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let mut text = String::new();
        self.ask(method, path, body).read_to_string(&mut text).unwrap();
        let status = text.split(' ').nth(1).unwrap().parse().unwrap();
        (status, text.split_once("\r\n\r\n").unwrap().1.to_owned())
    }

    fn json(&self, path: &str) -> Value {
        serde_json::from_str(&self.get("GET", path, "").1).unwrap()
    }

    /// Waits until the settings are so.
    fn settings(&self, so: impl Fn(&Value) -> bool) -> Value {
        for _ in 0..200 {
            let s = self.json("/settings");
            if so(&s) {
                return s;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("{}", self.json("/settings"));
    }

    /// Reads from a stream until it has said `what`.
    fn until(&self, path: &str, what: &[u8]) {
        let (mut s, mut all, mut part) = (self.ask("GET", path, ""), Vec::new(), vec![0; 65_536]);
        while !all.windows(what.len()).any(|w| w == what) {
            let n = s.read(&mut part).unwrap();
            assert!(n > 0, "{path} ended: {}", String::from_utf8_lossy(&all));
            all.extend_from_slice(&part[..n]);
        }
    }

    fn signal(&self, name: &str) {
        let done = Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap();
        assert!(done.success());
    }

    /// Ends it by Ctrl-C; everything that it said.
    fn end(mut self) -> String {
        self.signal("-INT");
        let status = self.child.wait().unwrap();
        self.said.extend(self.lines.iter());
        let said = self.said.join("\n");
        assert_eq!(status.code(), Some(0), "{said}");
        assert!(!said.contains("panicked") && !said.contains("CRITICAL"), "{said}");
        said
    }
}

#[test]
fn others_see_a_run_and_change_it() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.mkv");
    let run = Run::start(&["--http", "0", "-o", out.to_str().unwrap()]);
    run.until("/events", b"\"type\":\"frame\"");
    run.until("/events?only=vitals", b"latency_ms");
    // Two pictures, whole ones.
    run.until("/picture", &[0xFF, 0xD9]);
    let health = run.json("/health");
    assert_eq!((&health["ok"], &health["name"]), (&Value::Bool(true), &"seehear".into()), "{health}");
    assert!(health["load"].as_f64().is_some_and(|l| l > 0.0), "{health}");
    let metrics = run.get("GET", "/metrics", "").1;
    for name in ["seehear_slots_total ", "seehear_latency_seconds_count ", "seehear_drops_total{cause=\"late_frames\"}"]
    {
        assert!(metrics.contains(name), "{metrics}");
    }
    let before = run.settings(|_| true);
    assert_eq!(
        (&before["overlay"], &before["heatmap"], &before["sync"]),
        (&true.into(), &false.into(), &"correct".into())
    );
    let (status, told) =
        run.get("PATCH", "/settings", r#"{"threshold":0.75,"overlay":false,"heatmap":true,"step_sync":true}"#);
    assert_eq!(status, 202, "{told}");
    run.settings(|s| s["threshold"] == 0.75 && s["overlay"] == false && s["heatmap"] == true);
    let (status, told) = run.get("PATCH", "/settings", r#"{"sync":"off"}"#);
    assert_eq!(status, 409, "{told}");
    run.end();
    assert!(std::fs::metadata(out).unwrap().len() > 10_000);
}

#[test]
fn a_configuration_is_read_anew_and_what_is_wrong_with_it_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (file, record) = (folder.path().join("seehear.toml"), folder.path().join("events.jsonl"));
    let write = |name: &str, settings: &str| {
        let text =
            format!("name = \"{name}\"\n[http]\nlisten = \"0\"\n[record]\npath = {record:?}\n[settings]\n{settings}");
        std::fs::write(&file, text).unwrap();
    };
    write("hall", "threshold = 0.4");
    let mut run = Run::start(&["--serve-config", file.to_str().unwrap()]);
    run.settings(|s| (s["threshold"].as_f64().unwrap() - 0.4).abs() < 1e-6);
    write("room", "threshold = 0.6");
    run.signal("-HUP");
    assert!(run.line("reloaded").ends_with("reloaded: 1 change(s); at the next start only: name"));
    run.settings(|s| (s["threshold"].as_f64().unwrap() - 0.6).abs() < 1e-6);
    write("room", "volume = 11");
    run.signal("-HUP");
    assert!(run.line("not reloaded").contains("unknown field `volume`"));
    while run.json("/health")["slots"].as_u64().unwrap() < 20 {
        std::thread::sleep(Duration::from_millis(50));
    }
    run.end();
    let lines = std::fs::read_to_string(&record).unwrap();
    let events: Vec<Value> = lines.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert!(events.iter().filter(|e| e["type"] == "frame").count() > 10, "{lines}");
    assert_eq!(events.last().unwrap()["type"], "summary");
}

fn refused(args: &[&str]) -> String {
    let out = program().arg("run").arg(demo()).args(args).output().unwrap();
    assert_eq!(out.status.code(), Some(1));
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(said.lines().count(), 1, "{said}");
    said
}

#[test]
fn what_cannot_be_served_is_said_at_once() {
    assert!(refused(&["--http", "0.0.0.0:0"]).contains("set a token for it"));
    assert!(refused(&["--http", "nowhere"]).contains("is no address"));
    assert!(refused(&["--serve-config", "/no/such.toml"]).contains("/no/such.toml: No such file"));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.toml");
    std::fs::write(&file, "[settings]\noverlay = false").unwrap();
    assert!(refused(&["--serve-config", Path::new(&file).to_str().unwrap()]).contains("overlay can't be changed"));
}
