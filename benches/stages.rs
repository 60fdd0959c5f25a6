//! One benchmark per stage of the core, at the sizes of a 720p session with the default engine: `cargo bench`.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::integer_division,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::float_cmp,
    reason = "a benchmark"
)]

use divan::{Bencher, black_box};
use seehear::attention::{Attended, Attention, AttentionConfig, AttentionMap};
use seehear::audio_delay::AudioDelay;
use seehear::av_offset::AvOffset;
use seehear::correct::{SyncConfig, SyncCorrector};
use seehear::flow::{Flow, FlowConfig};
use seehear::frame::{GreyImage, Luma};
use seehear::geometry::MapGeometry;
use seehear::mel::LogMel;
use seehear::motion::{CellMotion, MotionConfig, MotionEstimator};
use seehear::net::{MelSpec, ScoreSpec};
use seehear::overlay::{Mark, draw_mark};
use seehear::peaks::{PeakConfig, PeakPicker};
use seehear::reduce::Reducer;
use seehear::time::{SampleRate, TimeDelta, Timestamp};
use seehear::tracker::{Tracker, TrackerConfig};

fn main() {
    divan::main();
}

const GEOMETRY: MapGeometry = MapGeometry { cols: 25, rows: 14, width: 1280, height: 720 };
const SCORE: ScoreSpec =
    ScoreSpec { scale: 28.6, zero_ms: 0.0, spread_ms: 60.0, sure: 0.1, nothing: 0.04, slope: 2.6, bias: -2.6 };

fn wave(n: usize) -> Vec<f32> {
    (0..n).map(|i| (i as f32 * 0.37).sin()).collect()
}

#[divan::bench(args = [(1280, 720), (1920, 1080)])]
fn reduce(bencher: Bencher<'_, '_>, (width, height): (u32, u32)) {
    let picture = GreyImage { data: (0..width * height).map(|i| (i * 31) as u8).collect(), width, height };
    let mut reducer = Reducer::new(400, 224);
    let mut out = vec![0; 400 * 224];
    bencher.bench_local(|| reducer.reduce(black_box(&picture).luma(), &mut out));
}

#[divan::bench(args = [false, true])]
fn flow_480x270(bencher: Bencher<'_, '_>, check: bool) {
    let mut flow = Flow::new(480, 270, &FlowConfig { check, ..FlowConfig::default() });
    let picture = |shift: f32| -> Vec<u8> {
        let at = |i: u32| ((i % 480) as f32 - shift, (i / 480) as f32 + 0.5 * shift);
        let grey = |(x, y): (f32, f32)| 128.0 + 60.0 * (0.31 * x + 0.1 * y).sin() + 60.0 * (0.23 * y - 0.07 * x).cos();
        (0..480 * 270).map(|i| grey(at(i)) as u8).collect()
    };
    let pictures = [picture(0.0), picture(2.3)];
    let mut k = 0;
    bencher.bench_local(|| {
        k = 1 - k;
        flow.push(black_box(&pictures[k])).unwrap();
    });
}

#[divan::bench]
fn log_mel_slot(bencher: Bencher<'_, '_>) {
    let mut mel = LogMel::new(&MelSpec { mels: 64, low_hz: 60.0, high_hz: 7600.0 });
    let slot = wave(640);
    bencher.bench_local(|| {
        mel.push(black_box(&slot));
        while let Some(frame) = mel.pull() {
            black_box(frame);
        }
    });
}

/// A pan of a fifth of a cell a slot.
fn pan() -> CellMotion {
    let mut pan = CellMotion::still(GEOMETRY.cols, GEOMETRY.rows);
    pan.dx.fill(0.2);
    pan.still = false;
    pan
}

#[divan::bench(args = [false, true])]
fn attention_slot(bencher: Bencher<'_, '_>, panned: bool) {
    let mut attention = Attention::new(&AttentionConfig::default(), &SCORE, GEOMETRY, 128, 2);
    let (map, sound) = (wave(128 * GEOMETRY.cells()), wave(128));
    let motion = if panned { pan() } else { CellMotion::still(GEOMETRY.cols, GEOMETRY.rows) };
    bencher.bench_local(|| {
        attention.push_map(black_box(&map));
        attention.push_sound(&sound);
        attention.pull(Timestamp::ZERO, &motion).map(|m| m.map.logits[0])
    });
}

#[divan::bench]
fn motion_slot(bencher: Bencher<'_, '_>) {
    let mut motion = MotionEstimator::new(&MotionConfig::default(), 336, 192, 16);
    let picture = |shift: f32| -> Vec<u8> {
        let at = |i: u32| ((i % 336) as f32 - shift, (i / 336) as f32 + 0.5 * shift);
        let grey = |(x, y): (f32, f32)| 128.0 + 60.0 * (0.31 * x + 0.1 * y).sin() + 60.0 * (0.23 * y - 0.07 * x).cos();
        (0..336 * 192).map(|i| grey(at(i)) as u8).collect()
    };
    let pictures = [picture(0.0), picture(2.3)];
    let mut k = 0;
    bencher.bench_local(|| {
        k = 1 - k;
        motion.push(black_box(&pictures[k]), true).unwrap();
    });
}

#[divan::bench]
fn peaks_and_tracker_slot(bencher: Bencher<'_, '_>) {
    let mut attention = Attention::new(&AttentionConfig::default(), &SCORE, GEOMETRY, 128, 2);
    let (map, sound) = (wave(128 * GEOMETRY.cells()), wave(128));
    let motion = pan();
    for _ in 0..40 {
        attention.push_map(&map);
        attention.push_sound(&sound);
        attention.advance(&motion).unwrap();
    }
    let attended = attention.map(Timestamp::ZERO, &motion);
    let logits: Vec<f32> = wave(GEOMETRY.cells()).iter().map(|x| 2.0 * x).collect();
    let attended = Attended { map: AttentionMap { logits: &logits, ..attended.map }, ..attended };
    let mut picker = PeakPicker::new(&PeakConfig::default(), GEOMETRY.cells());
    let mut tracker = Tracker::new(&TrackerConfig::default());
    bencher.bench_local(|| {
        picker.push(black_box(&attended));
        tracker.push(picker.pull().unwrap(), &attended, true);
        tracker.pull().map(<[_]>::len)
    });
}

#[divan::bench]
fn draw_a_speaker(bencher: Bencher<'_, '_>) {
    bencher.bench_local(|| draw_mark(black_box(Mark { id: 3, speaking: true, width: 240, height: 300 }), 3.6));
}

/// 40 ms of 48 kHz stereo: no delay (a copy), a slew of 10 ms/s, rest between two samples.
#[divan::bench(args = [(0, 0), (80_001_000, 400_000), (80_001_000, 0)])]
fn audio_delay_slot(bencher: Bencher<'_, '_>, (start_ns, per_slot_ns): (i64, i64)) {
    let mut line = AudioDelay::new(SampleRate::new(48_000).unwrap(), 2, TimeDelta::from_ms(500)).unwrap();
    let (input, mut out) = (wave(2 * 1_920), vec![0.0; 2 * 1_920]);
    let mut delay = start_ns;
    bencher.bench_local(|| {
        // To and fro, so that it never ends at a limit.
        delay = if delay == start_ns { start_ns + per_slot_ns } else { start_ns };
        line.push(black_box(&input), TimeDelta::from_ns(delay), black_box(&mut out)).unwrap();
    });
}

#[divan::bench]
fn sync_corrector_slot(bencher: Bencher<'_, '_>) {
    let mut corrector = SyncCorrector::new(&SyncConfig::default()).unwrap();
    let mut k = 0;
    bencher.bench_local(|| {
        k = (k + 7_919_993) % 24_000_000;
        corrector.push(Some(AvOffset::new(TimeDelta::from_ns(80_000_000 + k), 1.0)));
        corrector.pull()
    });
}
