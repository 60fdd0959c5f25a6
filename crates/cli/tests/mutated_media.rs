//! Media with bytes changed, cut out or put in: every run ends by itself, with an answer or an error of one line.
//!
//! `make test` runs a dozen, `make fuzz-media CASES=500` as many as are asked for. Case `n` is the same everywhere.

#![allow(clippy::unwrap_used, clippy::integer_division, clippy::cast_possible_truncation, reason = "a test")]

mod common;

use common::{demo, ffmpeg, program_on};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// A run of two seconds' material takes one; a file that stalls is told after 30.
const PATIENCE: Duration = Duration::from_secs(90);

/// Middle-square Weyl sequence (Widynski 2017): a few good numbers from a case's own.
struct Chance(u64, u64);

impl Chance {
    fn below(&mut self, n: usize) -> usize {
        self.1 = self.1.wrapping_add(0xB5AD_4ECE_DA1C_E2A9);
        let x = self.0.wrapping_mul(self.0).wrapping_add(self.1);
        self.0 = x.rotate_right(32);
        (self.0 >> 16) as usize % n.max(1)
    }
}

fn mutate(bytes: &mut Vec<u8>, chance: &mut Chance) {
    for _ in 0..=chance.below(12) {
        let at = chance.below(bytes.len());
        // Heads and tables lie at the ends.
        let at = match chance.below(3) {
            0 => at.min(at % 4_096),
            1 => bytes.len() - 1 - at % bytes.len().min(4_096),
            _ => at,
        };
        match chance.below(6) {
            0 | 1 => bytes[at] ^= 1 << chance.below(8),
            2 => bytes[at..].iter_mut().take(4).for_each(|b| *b = 0xFF),
            3 => drop(bytes.drain(at..(at + 1 + chance.below(2_000)).min(bytes.len()))),
            4 => drop(bytes.splice(at..at, std::iter::repeat_n(0x5A, 1 + chance.below(300)))),
            _ => bytes.truncate(at.max(64)),
        }
        if bytes.len() < 64 {
            return;
        }
    }
}

#[test]
fn damaged_files_end_in_an_answer_or_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let kinds = [
        ("mp4", "-c:v libx264 -preset ultrafast -c:a aac"),
        ("mkv", "-c:v libx264 -preset ultrafast -c:a flac"),
        ("ts", "-c:v mpeg2video -q:v 4 -c:a aac"),
        ("webm", "-c:v libvpx -deadline realtime -c:a libopus"),
        ("avi", "-c:v mjpeg -q:v 6 -c:a pcm_s16le"),
        ("mov", "-c:v libx264 -preset ultrafast -movflags faststart -c:a aac"),
    ];
    let whole = kinds.map(|(extension, codecs)| {
        let file = dir.path().join(format!("whole.{extension}"));
        ffmpeg(&format!("-t 2 -vf scale=320:-2 -ar 48000 {codecs}"), &[&demo()], &file);
        std::fs::read(file).unwrap()
    });
    let cases = std::env::var("CASES").map_or(12, |n| n.parse::<u64>().unwrap());
    let (mut answers, mut errors) = (0, 0);
    for n in 0..cases {
        let kind = n as usize % kinds.len();
        let mut bytes = whole[kind].clone();
        mutate(&mut bytes, &mut Chance(n + 1, n));
        let file = dir.path().join(format!("case-{n}.{}", kinds[kind].0));
        std::fs::write(&file, &bytes).unwrap();
        let mut c = program_on("av-small-int8");
        c.arg("run").arg(&file).arg("--json");
        if n % 2 == 1 {
            c.arg("--salvage");
        }
        let mut child = c.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let began = Instant::now();
        while child.try_wait().unwrap().is_none() {
            if began.elapsed() > PATIENCE {
                child.kill().unwrap();
                panic!("case {n}: no end after {PATIENCE:?}; CASES={} shows it", n + 1);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let out = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(!said.contains("panicked"), "case {n}: {said}");
        match out.status.code() {
            Some(0) => answers += 1,
            Some(1) => {
                errors += 1;
                let ours: Vec<&str> = said.lines().filter(|l| l.starts_with("seehear: ")).collect();
                assert_eq!(ours.len(), 1, "case {n}: {said}");
            }
            other => panic!("case {n}: ended with {other:?}: {said}"),
        }
        std::fs::remove_file(file).unwrap();
    }
    assert!(answers > 0 && errors > 0, "{answers} answers, {errors} errors");
}
