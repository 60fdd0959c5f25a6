//! An engine without an inference library: two small fixed networks whose outputs depend on every part of their input,
//! so that any slip of time or place shows.

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

pub mod separator;

use seehear::asd::Voice;
use seehear::audio::AudioWindow;
use seehear::frame::{Frame, GreyImage};
use seehear::net::{Backend, Engine, NetError, Network, TensorSpec};
use seehear::session::{Session, SessionConfig, SourceFormat};
use seehear::time::{SLOT, SampleRate, TimeDelta, Timestamp};
use sha2::{Digest, Sha256};
use std::path::Path;
use std::sync::Arc;

pub const DIM: usize = 8;
pub const FORMAT: SourceFormat = SourceFormat { width: 96, height: 64, pixel_aspect: 1.0 };

/// An engine of 5 slots of picture, 4 slots of sound to either side, and 8 dimensions.
pub fn engine() -> Engine {
    let dir = tempfile::tempdir().unwrap();
    let hash = |bytes: &[u8]| Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect::<String>();
    std::fs::write(dir.path().join("v"), "video").unwrap();
    std::fs::write(dir.path().join("a"), "audio").unwrap();
    let manifest = format!(
        r#"
schema = 1
name = "test"
dim = {DIM}
tolerance = 1e-6
[video]
file = "v"
sha256 = "{}"
input = "slots"
output = "embedding"
slots = 5
height = 64
stride = 16
[audio]
file = "a"
sha256 = "{}"
input = "logmel"
output = "embedding"
context_slots = 4
steps_per_slot = 1
min_std = 0.5
[audio.mel]
mels = 16
low_hz = 60.0
high_hz = 7600.0
[score]
scale = 20.0
zero_ms = 0.0
spread_ms = 60.0
sure = 0.1
nothing = 0.04
slope = 2.0
bias = -1.0
[provenance]
trained = "not at all"
licence = "MIT"
scores = "none"
"#,
        hash(b"video"),
        hash(b"audio")
    );
    let path = dir.path().join("test.toml");
    std::fs::write(&path, manifest).unwrap();
    Engine::load(&path).unwrap()
}

pub struct Fixed;

struct VideoNet([TensorSpec; 1], [TensorSpec; 1]);
struct AudioNet([TensorSpec; 1], [TensorSpec; 1]);

/// A weight that looks random and is the same on every machine.
fn weight(i: usize, j: usize) -> f32 {
    let h = (i as u32).wrapping_mul(0x9E37_79B9) ^ (j as u32).wrapping_mul(0x85EB_CA6B);
    ((h ^ (h >> 15)).wrapping_mul(0x2C1B_3C6D) >> 8) as f32 / (1 << 23) as f32 - 1.0
}

fn normalise(values: &mut [f32], stride: usize, at: usize, dim: usize) {
    let norm = (0..dim).map(|d| values[d * stride + at].powi(2)).sum::<f32>().sqrt().max(1e-6);
    for d in 0..dim {
        values[d * stride + at] /= norm;
    }
}

impl Network for VideoNet {
    fn inputs(&self) -> &[TensorSpec] {
        &self.0
    }
    fn outputs(&self) -> &[TensorSpec] {
        &self.1
    }
    fn run(&mut self, inputs: &[&[f32]], outputs: &mut [&mut [f32]]) -> Result<(), NetError> {
        let ([_, slots, h, w], [_, dim, rows, cols]) =
            (self.0[0].shape[..].try_into().unwrap(), self.1[0].shape[..].try_into().unwrap());
        let (slots, h, w, dim, rows, cols): (usize, usize, usize, usize, usize, usize) = (slots, h, w, dim, rows, cols);
        for y in 0..rows {
            for x in 0..cols {
                for d in 0..dim {
                    let mut sum = 0.0;
                    for s in 0..slots {
                        for (dy, dx) in [(2, 3), (8, 8), (13, 5)] {
                            sum += weight(d, s) * inputs[0][(s * h + y * 16 + dy) * w + x * 16 + dx];
                        }
                    }
                    outputs[0][(d * rows + y) * cols + x] = sum + 1e-3 * weight(d, 77);
                }
                normalise(outputs[0], rows * cols, y * cols + x, dim);
            }
        }
        Ok(())
    }
}

impl Network for AudioNet {
    fn inputs(&self) -> &[TensorSpec] {
        &self.0
    }
    fn outputs(&self) -> &[TensorSpec] {
        &self.1
    }
    fn run(&mut self, inputs: &[&[f32]], outputs: &mut [&mut [f32]]) -> Result<(), NetError> {
        let (mels, frames) = (self.0[0].shape[2], self.0[0].shape[3]);
        let (dim, span) = (self.1[0].shape[1], self.1[0].shape[2]);
        for t in 0..span {
            for d in 0..dim {
                let mut sum = 0.0;
                for m in 0..mels {
                    for k in 0..frames {
                        let near = 1.0 / (1.0 + (k as f32 - 4.0 * t as f32).abs());
                        sum += weight(d + 100, m) * near * inputs[0][m * frames + k];
                    }
                }
                outputs[0][d * span + t] = sum;
            }
            normalise(outputs[0], span, t, dim);
        }
        Ok(())
    }
}

impl Backend for Fixed {
    fn name(&self) -> &'static str {
        "fixed"
    }
    fn load(&self, model: &Path, inputs: &[TensorSpec], outputs: &[TensorSpec]) -> Result<Box<dyn Network>, NetError> {
        let (i, o) = ([inputs[0].clone()], [outputs[0].clone()]);
        let sound = model.file_name().is_some_and(|f| f == "a" || f.to_string_lossy().contains(".audio."));
        Ok(if sound { Box::new(AudioNet(i, o)) } else { Box::new(VideoNet(i, o)) })
    }
}

pub fn session(max_lead: Option<TimeDelta>) -> Session<Arc<GreyImage>> {
    let mut config = SessionConfig::default();
    // The test's networks have learnt nothing: weak agreement must do.
    config.peaks.min_logit = 0.1;
    Session::new(&engine(), &Fixed, FORMAT, &config, max_lead).unwrap()
}

/// Sound pushed in 10 ms pieces: at every moment exactly the reports are out that the session's declared latency allows.
pub fn assert_told_when_due(s: &mut Session<Arc<GreyImage>>, clip: &Clip) {
    let mut told = Vec::new();
    for (k, chunk) in clip.sound.chunks(160).enumerate() {
        let start = Timestamp::from_ms(10 * k as i64);
        if k % 4 == 0 {
            s.push_frame(clip.frames[k / 4].clone());
        }
        s.push_audio(AudioWindow { start, samples: chunk, discont: false });
        drain(s, &mut told);
        // What has arrived reaches to here; the report of every slot that this suffices for is out, and no other.
        let now = start + TimeDelta::from_ms(10);
        let due = (0..).take_while(|&i| Timestamp::ZERO + SLOT * i + s.latency() <= now).count();
        assert_eq!(told.len(), due, "at {now}");
    }
    assert!(!told.is_empty());
}

/// One report, as values that can be compared to the bit.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    pub start: Timestamp,
    pub objects: Vec<(u32, [u32; 4], u32, bool)>,
    pub voice: Voice,
    pub offset_ns: Option<i64>,
    pub logits: Vec<u32>,
}

pub fn drain(session: &mut Session<Arc<GreyImage>>, into: &mut Vec<Told>) {
    while let Some(r) = session.pull().unwrap() {
        into.push(Told {
            start: r.start,
            objects: r
                .speakers
                .iter()
                .map(|s| {
                    let b = s.object.rect;
                    (
                        s.object.id,
                        [b.centre.x, b.centre.y, b.w, b.h].map(f32::to_bits),
                        s.probability.to_bits(),
                        s.speaking,
                    )
                })
                .collect(),
            voice: r.voice,
            offset_ns: r.offset.map(|o| o.offset.ns()),
            logits: r.map.logits.iter().map(|l| l.to_bits()).collect(),
        });
    }
}

/// Moving pictures and babbling sound, the same for the same seed; two halves of the picture move differently.
pub struct Clip {
    pub frames: Vec<Frame<Arc<GreyImage>>>,
    pub sound: Vec<f32>,
}

pub fn noise(seed: u64, i: u64) -> f32 {
    let mut z = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(i.wrapping_mul(0xBF58_476D_1CE4_E5B9));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (z >> 40) as f32 / (1 << 23) as f32 - 1.0
}

/// What is said at `ms`, 0…1: syllables of 200 ms.
fn syllable(seed: u64, ms: i64) -> f32 {
    let k = ms.div_euclid(200);
    let phase = ms.rem_euclid(200) as f32 / 200.0;
    (noise(seed, k as u64).abs()) * (std::f32::consts::PI * phase).sin()
}

pub fn picture(seed: u64, ms: i64) -> Arc<GreyImage> {
    let (w, h) = (FORMAT.width, FORMAT.height);
    let data = (0..w * h)
        .map(|i| {
            let (x, y) = (i % w, i / w);
            let texture = noise(seed, u64::from(i)) * 40.0;
            let mouth = syllable(seed + u64::from(x >= w / 2), ms) * if (y / 8) % 2 == 0 { 40.0 } else { -20.0 };
            (100.0 + texture + mouth).clamp(0.0, 255.0) as u8
        })
        .collect();
    Arc::new(GreyImage { data, width: w, height: h })
}

/// Sample `i` of 16 kHz.
pub fn sound(seed: u64, i: i64) -> f32 {
    syllable(seed, i / 16) * 0.3 * noise(seed + 9, i as u64)
}

impl Clip {
    /// `fps` as a fraction; frame `k` at `k / fps`, rounded to the nanosecond.
    pub fn new(seed: u64, seconds: i64, (num, den): (i64, i64)) -> Self {
        let n = seconds * num / den;
        let frames = (0..n)
            .map(|k| {
                let ns = k * 1_000_000_000 * den / num;
                Frame {
                    pts: Timestamp::from_ns(ns),
                    duration: Some(TimeDelta::from_ns(1_000_000_000 * den / num)),
                    picture: picture(seed, ns / 1_000_000),
                }
            })
            .collect();
        Self { frames, sound: (0..seconds * 16_000).map(|i| sound(seed, i)).collect() }
    }

    /// All of it, a slot of sound and the frames of the same time by turns.
    pub fn whole(&self) -> Vec<Told> {
        let mut s = session(None);
        let mut told = Vec::new();
        let mut next = 0;
        for (k, chunk) in self.sound.chunks(640).enumerate() {
            let start = Timestamp::from_ns(SampleRate::ANALYSIS.time_of(k as i64 * 640).ns());
            while next < self.frames.len() && self.frames[next].pts <= start {
                s.push_frame(self.frames[next].clone());
                next += 1;
            }
            s.push_audio(AudioWindow { start, samples: chunk, discont: false });
            drain(&mut s, &mut told);
        }
        for f in &self.frames[next..] {
            s.push_frame(f.clone());
        }
        s.end_video();
        s.end_audio();
        drain(&mut s, &mut told);
        told
    }
}
