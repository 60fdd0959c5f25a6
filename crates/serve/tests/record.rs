//! Events to a file that is rotated.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use common::{child, frame, header, timing, until};
use seehear::events::{Event, Summary};
use seehear_serve::Hub;
use seehear_serve::record::record;
use seehear_serve::rotate::Limits;
use std::path::Path;

fn lines(path: &Path) -> Vec<Event> {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.ends_with('\n'), "{}", path.display());
    text.lines().map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{e}: {l}"))).collect()
}

fn slots(events: &[Event]) -> Vec<f64> {
    events.iter().filter_map(|e| if let Event::Frame(f) = e { Some(f.t_ms) } else { None }).collect()
}

#[test]
fn each_file_is_events_as_of_a_run() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("e.jsonl");
    let hub = Hub::new("a");
    let recorder = record(&hub, &path, Limits { max_bytes: 20_000, keep: 50, ..Limits::default() }).unwrap();
    hub.header(&header());
    for i in 0..500 {
        hub.frame(&frame(i, 3, 1), timing());
    }
    hub.summary(&Summary::default());
    recorder.stop();
    let newest = lines(&path);
    assert!(matches!(newest.last(), Some(Event::Summary(_))));
    let mut all = Vec::new();
    let files = std::fs::read_dir(&dir).unwrap().count();
    assert!(files > 5, "{files}");
    for n in (1..files).rev() {
        let old = lines(&dir.path().join(format!("e.jsonl.{n}")));
        assert!(matches!(old[0], Event::Header(_)));
        all.extend(slots(&old));
    }
    all.extend(slots(&newest));
    assert!(all.len() == 500 && all.windows(2).all(|w| (w[1] - w[0] - 40.0).abs() < 1e-9), "none lost, in order");
    // A second run does not write over the first.
    record(&hub, &path, Limits::default()).unwrap().stop();
    assert!(matches!(lines(&dir.path().join("e.jsonl.1")).last(), Some(Event::Summary(_))));
}

#[test]
#[ignore = "the program whose files may not grow, of the next test"]
fn records_to_a_small_place() {
    let Ok(dir) = std::env::var("SEEHEAR_TEST_DIR") else { return };
    let hub = Hub::new("a");
    let recorder = record(&hub, &Path::new(&dir).join("e.jsonl"), Limits::default()).unwrap();
    hub.header(&header());
    for i in 0..500 {
        hub.frame(&frame(i, 3, 1), timing());
    }
    until("the loss is told", || hub.health().warnings.iter().any(|w| w.contains("e.jsonl: File too large")));
    assert!(hub.health().ok);
    recorder.stop();
    assert!(hub.metrics().lost_by("file") > 400);
}

/// The kernel refuses to make any file larger than 16 KiB: a write ends in the middle of a line, as on a full disk.
#[test]
fn a_place_that_is_full_holds_whole_lines() {
    let dir = tempfile::tempdir().unwrap();
    let program = child("records_to_a_small_place");
    let mut shell = std::process::Command::new("sh");
    shell
        .args(["-c", "trap '' XFSZ; ulimit -f 32; exec \"$@\"", "sh"])
        .arg(program.get_program())
        .args(program.get_args());
    let done = shell.env("SEEHEAR_TEST_DIR", dir.path()).stdout(std::process::Stdio::null()).status().unwrap();
    assert!(done.success());
    let events = lines(&dir.path().join("e.jsonl"));
    let t = slots(&events);
    assert!(t.len() > 20 && t.len() < 100, "{}", t.len());
    assert!(t.windows(2).all(|w| (w[1] - w[0] - 40.0).abs() < 1e-9));
}
