//! What the program's tests share: running it, making media with ffmpeg, reading events.

#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    clippy::integer_division,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::float_cmp,
    reason = "test code, of which each test file uses its part"
)]

use seehear::events::{Event, FrameEvent, Header, Summary};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

pub fn demo() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/media/demo.mp4").canonicalize().unwrap()
}

/// An engine of the checkout.
pub fn engine(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../engines/{name}.toml")).canonicalize().unwrap()
}

pub fn program() -> Command {
    program_on("av-small")
}

pub fn program_on(name: &str) -> Command {
    let mut c = Command::new(env!("CARGO_BIN_EXE_seehear"));
    // Found without environment variables in the checkout; a target folder elsewhere needs to be told.
    let library = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.deps/onnxruntime/libonnxruntime.so");
    c.arg("--engine").arg(engine(name)).arg("--onnxruntime").arg(library);
    c
}

/// Runs the program; panics if it was killed or panicked itself.
pub fn seehear<S: AsRef<std::ffi::OsStr>>(args: &[S]) -> (i32, String, String) {
    // The defaults, of the checkout.
    let sync = args.first().is_some_and(|verb| verb.as_ref() == "sync");
    let out = program_on(if sync { "av-small-int8" } else { "av-small" }).args(args).output().unwrap();
    finished(&out)
}

pub fn finished(out: &Output) -> (i32, String, String) {
    let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
    let (stdout, stderr) = (text(&out.stdout), text(&out.stderr));
    assert!(!stderr.contains("panicked"), "{stderr}");
    (out.status.code().unwrap_or_else(|| panic!("killed: {stderr}")), stdout, stderr)
}

pub fn ffmpeg(args: &str, inputs: &[&Path], output: &Path) {
    let mut c = Command::new("ffmpeg");
    c.args(["-v", "error", "-nostdin", "-y"]);
    for i in inputs {
        c.arg("-i").arg(i);
    }
    c.args(args.split_whitespace()).arg(output);
    let out = c.output().unwrap();
    assert!(out.status.success(), "ffmpeg {args}: {}", String::from_utf8_lossy(&out.stderr));
}

pub struct Told {
    pub header: Header,
    pub frames: Vec<FrameEvent>,
    pub summary: Summary,
}

/// Reads an events file, strictly: header, frames, summary, nothing else.
pub fn events(path: &Path) -> Told {
    let text = std::fs::read_to_string(path).unwrap();
    let mut all: Vec<Event> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let Some(Event::Summary(summary)) = all.pop() else { panic!("no summary") };
    let mut all = all.into_iter();
    let Some(Event::Header(header)) = all.next() else { panic!("no header") };
    let frames = all
        .map(|e| match e {
            Event::Frame(f) => f,
            other => panic!("{other:?}"),
        })
        .collect();
    Told { header, frames, summary }
}

/// What stands in the truth beside the demo.
#[derive(serde::Deserialize)]
pub struct Truth {
    pub cells: Vec<[f32; 4]>,
    pub turns: Vec<Turn>,
    pub voiced: Vec<u8>,
}

#[derive(serde::Deserialize)]
pub struct Turn {
    pub start_ms: f64,
    pub end_ms: f64,
    pub who: Option<i32>,
}

pub fn truth() -> Truth {
    serde_json::from_str(&std::fs::read_to_string(demo().with_extension("truth.json")).unwrap()).unwrap()
}

impl Truth {
    /// Who is heard at `ms`: `Some(Some(cell))`, `Some(None)` from off screen, `None` nobody or too near to a change.
    pub fn who(&self, ms: f64) -> Option<Option<usize>> {
        let turn = self.turns.iter().find(|t| t.start_ms + 600.0 <= ms && ms < t.end_ms - 200.0)?;
        let voiced = self.voiced.get((ms / 40.0) as usize).is_some_and(|v| *v == 1);
        voiced.then_some(turn.who).flatten().map(|w| usize::try_from(w).ok())
    }

    pub fn cell(&self, x: f32, y: f32) -> Option<usize> {
        self.cells.iter().position(|[cx, cy, w, h]| (*cx..cx + w).contains(&x) && (*cy..cy + h).contains(&y))
    }

    /// Share of the on-screen slots, shifted by `shift_ms`, in which the strongest speaker is the right one.
    pub fn pointing(&self, frames: &[FrameEvent], shift_ms: f64) -> f64 {
        let (mut hit, mut n) = (0.0, 0.0);
        for f in frames {
            let Some(Some(who)) = self.who(f.t_ms - shift_ms) else { continue };
            n += 1.0;
            let top = f.objects.iter().filter(|o| o.speaking).max_by(|a, b| a.score.total_cmp(&b.score));
            hit += f64::from(u8::from(top.and_then(|o| self.cell(o.x, o.y)) == Some(who)));
        }
        assert!(n > 100.0, "{n} slots to judge");
        hit / n
    }
}
