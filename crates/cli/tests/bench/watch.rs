//! A run that is watched while things go wrong: what its viewer got, and what it held.

use crate::common::{Told, events, program};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What a process holds.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    pub rss_mib: f64,
    pub files: usize,
    pub threads: usize,
}

fn held(pid: u32) -> Option<Held> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let number =
        |key: &str| status.lines().find_map(|l| l.strip_prefix(key))?.split_whitespace().next()?.parse::<f64>().ok();
    Some(Held {
        rss_mib: number("VmRSS:")? / 1024.0,
        files: std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count(),
        threads: number("Threads:")? as usize,
    })
}

pub struct Run {
    child: Child,
    readings: Arc<Mutex<Vec<(f64, Held)>>>,
    begun: Instant,
    pub dir: tempfile::TempDir,
    recording: PathBuf,
}

impl Run {
    /// `seehear run ARGS` for `seconds` of its time line, recorded and told beside.
    pub fn start(args: &[&str], seconds: u32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let recording = dir.path().join("seen.mkv");
        let mut c = program();
        c.arg("run").args(args).args(["--duration", &seconds.to_string(), "-o"]).arg(&recording);
        c.arg("-e").arg(dir.path().join("events.jsonl"));
        c.stdin(Stdio::null()).stdout(Stdio::null()).stderr(std::fs::File::create(dir.path().join("said")).unwrap());
        let child = c.spawn().unwrap();
        let (readings, begun) = (Arc::new(Mutex::new(Vec::new())), Instant::now());
        let (into, pid) = (Arc::clone(&readings), child.id());
        std::thread::spawn(move || {
            while let Some(now) = held(pid) {
                into.lock().unwrap().push((begun.elapsed().as_secs_f64(), now));
                std::thread::sleep(Duration::from_millis(250));
            }
        });
        Self { child, readings, begun, dir, recording }
    }

    pub fn said(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("said")).unwrap()
    }

    /// Waits until the clock of this run says `s`.
    pub fn until(&self, s: f64) {
        std::thread::sleep(Duration::from_secs_f64(s).saturating_sub(self.begun.elapsed()));
    }

    /// Waits for its end.
    pub fn end(mut self) -> Seen {
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if begun.elapsed() > Duration::from_secs(120) {
                self.child.kill().unwrap();
                panic!("it hangs: {}", self.said());
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        let said = self.said();
        assert!(status.success() && !said.contains("panicked"), "{status}: {said}");
        let all = self.readings.lock().unwrap().clone();
        let last = all.last().unwrap().0;
        let at = |s: f64| all.iter().min_by(|a, b| (a.0 - s).abs().total_cmp(&(b.0 - s).abs())).unwrap().1;
        Seen {
            pictures: times(&self.recording, "v"),
            sound: times(&self.recording, "a"),
            told: events(&self.dir.path().join("events.jsonl")),
            said,
            before: at(4.0),
            after: at(last - 1.5),
        }
    }
}

/// What a viewer saw and heard, and what was told.
pub struct Seen {
    /// Begin of each picture, s.
    pub pictures: Vec<f64>,
    /// Begin of each packet of sound, s.
    pub sound: Vec<f64>,
    pub told: Told,
    pub said: String,
    pub before: Held,
    pub after: Held,
}

/// Time stamps of a stream's packets.
fn times(file: &Path, kind: &str) -> Vec<f64> {
    let probe = Command::new("ffprobe")
        .args(["-v", "error", "-select_streams", kind, "-show_entries", "packet=pts_time", "-of", "csv=p=0"])
        .arg(file)
        .output()
        .unwrap();
    let mut times: Vec<f64> =
        String::from_utf8(probe.stdout).unwrap().lines().filter_map(|l| l.trim_end_matches(',').parse().ok()).collect();
    times.sort_by(f64::total_cmp);
    times
}

/// The longest time from one to the next, s.
pub fn longest(times: &[f64]) -> f64 {
    times.windows(2).map(|w| w[1] - w[0]).fold(0.0, f64::max)
}

impl Seen {
    /// Slots that the time line had and nobody was told of.
    pub fn missing_slots(&self) -> f64 {
        let frames = &self.told.frames;
        frames.windows(2).map(|w| ((w[1].t_ms - w[0].t_ms) / 40.0).round() - 1.0).sum()
    }
}
