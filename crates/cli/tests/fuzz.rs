//! Whatever is read from files and from others, mutated: refused or taken, never a panic, and what is taken holds what it must.
//!
//! `make test` runs some thousands of cases, `make fuzz CASES=10000000` as many as are asked for. Case `n` is the same everywhere:
//! a failure names it, and `FUZZ_ONLY=n` runs it alone.

#![allow(clippy::unwrap_used, clippy::integer_division, clippy::cast_possible_truncation, reason = "a test")]

use gstseehear::input::Input;
use gstseehear::plan::{self, Plan};
use gstseehear::stream::StreamPlan;
use seehear::events::Event;
use std::collections::BTreeMap;
use std::panic::catch_unwind;
use std::path::Path;

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        if n == 0 { 0 } else { (self.next() % n as u64) as usize }
    }
}

/// What breaks parsers and ranges.
const PIECES: [&str; 28] = [
    "0",
    "-1",
    "1e999",
    "nan",
    "inf",
    "-inf",
    "9223372036854775808",
    "1_000",
    "0x",
    "\"",
    "'''",
    "\"\"\"",
    "[",
    "]]",
    "{",
    "}",
    "=",
    "\n",
    "\r\n",
    ".",
    "true",
    "null",
    "\u{feff}",
    "\u{202e}é",
    "\\u0000",
    "://",
    "@",
    "%",
];

/// One to six changes: bytes, pieces, lines; often still text of the kind.
fn mutate(chance: &mut Chance, seeds: &[String], of: &str) -> Vec<u8> {
    let mut bytes = of.as_bytes().to_vec();
    for _ in 0..=chance.below(6) {
        let at = chance.below(bytes.len() + 1);
        match chance.below(8) {
            0 if at < bytes.len() => bytes[at] ^= 1 << chance.below(8),
            1 if at < bytes.len() => bytes[at] = chance.next() as u8,
            2 => drop(bytes.drain(at..(at + 1 + chance.below(20)).min(bytes.len()))),
            3 => bytes.truncate(at),
            4 | 5 => drop(bytes.splice(at..at, PIECES[chance.below(PIECES.len())].bytes())),
            6 => {
                // A number by another.
                let Some(from) = (at..bytes.len()).find(|&i| bytes[i].is_ascii_digit()) else { continue };
                let to = (from..bytes.len()).find(|&i| !bytes[i].is_ascii_digit()).unwrap_or(bytes.len());
                drop(bytes.splice(from..to, PIECES[chance.below(8)].bytes()));
            }
            _ => {
                let other = &seeds[chance.below(seeds.len())];
                let lines: Vec<&str> = other.lines().collect();
                if let Some(line) = lines.get(chance.below(lines.len())) {
                    drop(bytes.splice(at..at, format!("\n{line}\n").bytes()));
                }
            }
        }
    }
    bytes
}

struct Target {
    name: &'static str,
    seeds: Vec<String>,
    /// Panics where something is wrong.
    try_it: fn(&str),
}

fn read(folder: &str, extension: &str) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(folder);
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    files
        .iter()
        .filter(|p| p.extension().is_some_and(|e| e == extension))
        .map(|p| std::fs::read_to_string(p).unwrap())
        .collect()
}

fn targets() -> Vec<Target> {
    let texts = |all: &[&str]| all.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>();
    let event = |e: &Event| serde_json::to_string(e).unwrap();
    let events = vec![
        event(&Event::Summary(seehear::events::Summary::default())),
        r#"{"type":"header","schema":1,"source":"a","width":1280,"height":720,"engine":"e","backend":"b","latency_ms":200.0}"#.into(),
        r#"{"type":"frame","t_ms":40.0,"objects":[{"id":1,"x":1.5,"y":2.0,"w":3.0,"h":4.0,"score":0.5,"speaking":true,"state":"confirmed"}],"voice":"on-screen","offset_ms":8.3,"offset_confidence":1.0,"sync":{"state":"holding","applied_ms":1.0,"target_ms":2.0}}"#.into(),
    ];
    vec![
        Target {
            name: "pipeline",
            seeds: read("pipelines", "toml"),
            try_it: |t| {
                let Ok(plan) = Plan::parse(t) else { return };
                assert!(plan.queues.video.max_items > 0 && plan.stages.validate().is_ok());
                for (_, text) in plan.descriptions() {
                    drop(plan::fill(text, &plan.defaults));
                }
            },
        },
        Target {
            name: "stream",
            seeds: read("pipelines/streams", "toml"),
            try_it: |t| {
                if let Ok(plan) = StreamPlan::parse(t) {
                    assert!(plan.muxer.is_some() || plan.sink.is_some());
                }
            },
        },
        Target {
            name: "engine",
            seeds: read("engines", "toml"),
            try_it: |t| {
                drop(seehear::net::parse_manifest(t));
                drop(seehear::separation::parse_manifest(t));
            },
        },
        Target {
            name: "calibration",
            seeds: texts(&[
                "schema = 1\nmade = \"2026-11-23\"\n[device]\noffset_ms = -41.5\nspread_ms = 1.2\nflashes = 40\n",
                "schema = 1\nmade = \"x\"\n[speaking]\nengine = \"av-small\"\nslope = 1.2\nbias = -0.3\n",
            ]),
            try_it: |t| drop(seehear::calibration::Calibration::parse(t)),
        },
        Target {
            name: "service",
            seeds: {
                let mut all = read("crates/serve/packaging", "toml");
                all.push("name = \"a\"\nslot_timeout_s = 5\n[http]\nlisten = \"0.0.0.0:80\"\nhosts = [\"b\"]\nmax_clients = 3\n[mqtt]\nurl = \"mqtts://u:p@h:1/n?frames=no&ca=f\"\n[record]\npath = \"e\"\nmax_mib = 1\n[settings]\nthreshold = 0.5\nsync = \"off\"\n".into());
                all
            },
            try_it: |t| {
                if let Ok(config) = seehear_serve::config::Config::parse(t) {
                    assert!(config.slot_timeout_s > 0 && config.mqtt_address().is_ok());
                }
            },
        },
        Target {
            name: "settings",
            seeds: texts(&[r#"{"threshold":0.5,"overlay":true,"heatmap":false,"sync":"measure","step_sync":true}"#]),
            try_it: |t| {
                drop(seehear_serve::settings::Request::parse(t.as_bytes()));
            },
        },
        Target {
            name: "address",
            seeds: texts(&["127.0.0.1:8080", ":80", "[::1]:9", "localhost:1", "u:p@h:1883/n?frames=no"]),
            try_it: |t| {
                drop(seehear_serve::http::parse_addr(t));
                if let Err(e) = seehear_serve::mqtt::Address::parse(&format!("mqtt://u:s3cret@{t}"), "run") {
                    assert!(!e.to_string().contains("s3cret"), "{e}");
                }
            },
        },
        Target {
            name: "event",
            seeds: events,
            try_it: |t| {
                let Ok(event) = serde_json::from_str::<Event>(t) else { return };
                // What was read is written and read again as it was.
                let again = serde_json::to_string(&event).unwrap();
                let twice: Event = serde_json::from_str(&again).unwrap();
                assert_eq!(serde_json::to_string(&twice).unwrap(), again);
            },
        },
        Target {
            name: "input",
            seeds: texts(&[
                "rtsp://u:s3cret@cam/1",
                "/dev/video0",
                "file:///a%20b",
                "srt://:9000?mode=listener",
                "talk.mp4",
            ]),
            try_it: |t| {
                let input = Input::parse(t);
                assert!(plan::BUILT_IN.iter().any(|(name, _)| *name == input.pipeline()));
                drop(input.name());
                let values = BTreeMap::from([("uri".to_owned(), t.to_owned())]);
                let filled = plan::fill("a uri={uri} ! b", &values).unwrap();
                // A value stays within its quotes: nothing of it is an element or a property.
                let inside = filled.strip_prefix("a uri=\"").and_then(|f| f.strip_suffix("\" ! b")).unwrap();
                let mut escaped = false;
                for c in inside.chars() {
                    assert!(c != '"' || escaped, "{filled}");
                    escaped = c == '\\' && !escaped;
                }
                assert!(!escaped, "{filled}");
            },
        },
    ]
}

#[test]
fn nothing_that_is_read_brings_it_down() {
    let number = |name: &str| std::env::var(name).ok().map(|v| v.parse::<u64>().unwrap());
    let cases = number("CASES").unwrap_or(20_000);
    let only = number("FUZZ_ONLY");
    let targets = targets();
    let quiet = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let range = only.map_or(0..cases, |n| n..n + 1);
    let mut failed = Vec::new();
    for n in range {
        let target = &targets[(n % targets.len() as u64) as usize];
        let mut chance = Chance(n);
        let seed = &target.seeds[chance.below(target.seeds.len())];
        let bytes = mutate(&mut chance, &target.seeds, seed);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if catch_unwind(|| (target.try_it)(&text)).is_err() {
            failed.push(format!("case {n} ({}): {text:?}", target.name));
        }
    }
    std::panic::set_hook(quiet);
    assert!(failed.is_empty(), "{} cases:\n{}", failed.len(), failed[..failed.len().min(5)].join("\n"));
}
