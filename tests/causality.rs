//! The future of every stage is perturbed: what it has answered by then stays the same to the bit, and its answers come
//! exactly when the latency that it declares says.
//!
//! A stage is driven three times: with a whole input; with one that is the same up to a cut and another world from there
//! on; and with what comes before the cut alone. An answer is *due* when the input reaches to the moment that it is
//! about, and by the stage's latency further. Before the cut exactly the due answers must come, in all three runs the
//! same; after it they must differ.
//!
//! Where an interface lets input lie in a stage before it is asked, all of it is pushed before the first answer is
//! pulled, so that there is a future to look at. Where every push is answered at once there is none; what can be wrong
//! there is that the answer is of an earlier slot, so that the first of them to differ comes later than the latency
//! says, or that it comes late.
//!
//! Not here: `sync` and `events`, which judge and write down what has been, and what lies behind the session in
//! `crates/gst`.

#![allow(
    clippy::unwrap_used,
    clippy::integer_division,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::float_cmp,
    reason = "a test"
)]

mod common;

use common::separator::{self, Mask, Masks};
use common::{Clip, FORMAT, Fixed, assert_told_when_due, engine, noise, picture, sound};
use proptest::prelude::*;
use seehear::align::{Aligner, SLOT_SAMPLES};
use seehear::asd::{Speaker, SpeakingConfig, SpeakingDecider, Voice};
use seehear::attention::{Attended, Attention, AttentionConfig, AttentionMap, OFFSETS};
use seehear::audio::AudioWindow;
use seehear::audio_delay::AudioDelay;
use seehear::av_object::{AvObject, TrackState};
use seehear::av_offset::{AvOffset, OffsetEstimator};
use seehear::correct::{SyncConfig, SyncCorrector};
use seehear::embed::{AudioEmbedder, VideoEmbedder};
use seehear::flow::{Flow, FlowConfig};
use seehear::frame::{Frame, Luma};
use seehear::geometry::{CellPoint, MapGeometry, PxPoint, PxRect};
use seehear::mel::LogMel;
use seehear::motion::{CellMotion, MotionConfig, MotionEstimator};
use seehear::net::{Engine, MelSpec, ScoreSpec};
use seehear::peaks::{Peak, PeakConfig, PeakPicker};
use seehear::reduce::Reducer;
use seehear::separation::{Present, Separator, SeparatorConfig};
use seehear::session::{Session, SessionConfig, declared_latency};
use seehear::sync_meter::{Judged, SyncMeter, SyncMeterConfig};
use seehear::time::{SLOT, SampleRate, TimeDelta, Timestamp};
use seehear::tracker::{Tracker, TrackerConfig};
use seehear::voice::{VoiceActivity, VoiceConfig};
use std::path::Path;

/// The most that any engine of this repository may ask for.
const MOST: TimeDelta = TimeDelta::from_ms(240);

/// A stage under test.
struct Stage {
    name: &'static str,
    /// Its file in `src/`.
    file: &'static str,
    /// Stream time of a unit of its input.
    unit: TimeDelta,
    /// Units of input in a run.
    units: usize,
    /// Drives a new stage with one unit of input made from each seed.
    drive: fn(&[u64]) -> Run,
}

/// What a stage gave.
struct Run {
    /// As the stage declares it; none where it has no `latency`.
    latency: TimeDelta,
    answers: Vec<Answer>,
}

#[derive(Clone, Debug, PartialEq)]
struct Answer {
    /// The stream time from which the stage counts its latency: for most the end of what the answer is about, for aligner
    /// and session its start.
    since: TimeDelta,
    bits: Vec<u64>,
}

const SAMPLE: TimeDelta = TimeDelta::from_ns(62_500);

/// A row for every stage, in the order a frame meets them.
#[rustfmt::skip]
const STAGES: [Stage; 18] = [
    Stage { name: "Aligner", file: "align", unit: TimeDelta::from_ms(5), units: 8 * 24, drive: aligner },
    Stage { name: "Reducer", file: "reduce", unit: SLOT, units: 40, drive: reducer },
    Stage { name: "LogMel", file: "mel", unit: TimeDelta::from_ns(2_500_000), units: 128, drive: log_mel },
    Stage { name: "Flow", file: "flow", unit: SLOT, units: 40, drive: flow },
    Stage { name: "MotionEstimator", file: "motion", unit: SLOT, units: 40, drive: motion_estimator },
    Stage { name: "VideoEmbedder", file: "embed", unit: SLOT, units: 40, drive: video_embedder },
    Stage { name: "AudioEmbedder", file: "embed", unit: SLOT, units: 40, drive: audio_embedder },
    Stage { name: "VoiceActivity", file: "voice", unit: SLOT, units: 80, drive: voice_activity },
    Stage { name: "Attention", file: "attention", unit: SLOT, units: 64, drive: attention },
    Stage { name: "OffsetEstimator", file: "av_offset", unit: SLOT, units: 120, drive: offset_estimator },
    Stage { name: "SyncMeter", file: "sync_meter", unit: SLOT, units: 72, drive: sync_meter },
    Stage { name: "PeakPicker", file: "peaks", unit: SLOT, units: 40, drive: peak_picker },
    Stage { name: "Tracker", file: "tracker", unit: SLOT, units: 64, drive: tracker },
    Stage { name: "SpeakingDecider", file: "asd", unit: SLOT, units: 64, drive: speaking_decider },
    Stage { name: "Session", file: "session", unit: SLOT, units: 60, drive: session },
    Stage { name: "SyncCorrector", file: "correct", unit: SLOT, units: 80, drive: sync_corrector },
    Stage { name: "AudioDelay", file: "audio_delay", unit: SAMPLE, units: 2_400, drive: audio_delay },
    Stage { name: "Separator", file: "separation", unit: TimeDelta::from_ms(8), units: 60, drive: separate },
];

impl Stage {
    /// How many of the answers are due once `units` of input are there.
    fn due(&self, run: &Run, units: usize) -> usize {
        let until = self.unit * units as i64;
        run.answers.iter().take_while(|a| a.since + run.latency <= until).count()
    }

    /// Runs the stage with another world `after` the cut, and nothing after it. How many answers that were not due by then
    /// the other world left as they were, before the first that it changed; `None` where it changed none.
    fn perturb(&self, whole: &Run, before: u64, after: u64, cut: usize) -> Option<usize> {
        let mut seeds = vec![before; self.units];
        let heard = (self.drive)(&seeds[..cut]);
        seeds[cut..].fill(after);
        let other = (self.drive)(&seeds);
        let due = self.due(whole, cut);
        let what = format!("{}, cut after {cut} of {} units", self.name, self.units);
        assert!(0 < due && due < whole.answers.len(), "{what}: {due} answers are due, nothing is tested");
        assert_eq!(heard.answers.len(), due, "{what}: answers given and answers due by a latency of {}", whole.latency);
        for run in [&heard, &other] {
            let same = whole.answers.iter().zip(&run.answers).take_while(|(a, b)| a == b).count();
            assert!(same >= due, "{what}: of {due} answers due, number {same} was changed by what came after");
        }
        let (left, right) = (&whole.answers[due..], &other.answers[due..]);
        let same = left.iter().zip(right).take_while(|(a, b)| a == b).count();
        (same < left.len().min(right.len())).then_some(same)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn the_future_changes_nothing_answered(before in 0_u64..1000, after in 1000_u64..2000, share in 0.45..0.75_f64) {
        for stage in &STAGES {
            let cut = (stage.units as f64 * share) as usize;
            let whole = (stage.drive)(&vec![before; stage.units]);
            prop_assert!(stage.perturb(&whole, before, after, cut).is_some(), "{}: the input changes nothing", stage.name);
        }
    }
}

/// At every one of a row of moments exactly the answers are out that the declared latency allows; and no stage declares
/// more than it uses: what comes last before an answer is due changes that answer.
#[test]
fn the_latency_declared_is_the_latency_measured() {
    for stage in &STAGES {
        let whole = (stage.drive)(&vec![3; stage.units]);
        let first = stage.units / 2;
        let left = (first..=first + 12).filter_map(|cut| stage.perturb(&whole, 3, 1003, cut));
        assert_eq!(left.min(), Some(0), "{}: answers left as they were by what they had waited for", stage.name);
    }
}

/// Whoever adds a stage adds a row.
#[test]
fn every_stage_has_its_row() {
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "rs") {
            let declared = std::fs::read_to_string(&path).unwrap().matches("pub fn latency(&self)").count();
            let rows = STAGES.iter().filter(|s| path.file_stem().is_some_and(|f| f == s.file)).count();
            assert!(rows >= declared, "{}: {declared} latencies declared, {rows} rows here", path.display());
        }
    }
}

/// With the networks' shapes from the manifest, and what comes out of them made up.
#[test]
fn the_engines_answer_within_240_ms() {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("engines")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "toml") {
            continue;
        }
        if std::fs::read_to_string(&path).unwrap().contains("kind = \"separation\"") {
            continue;
        }
        let engine = Engine::load(&path).unwrap();
        let declared = declared_latency(&engine);
        assert!(declared <= MOST, "{} declares {declared}", path.display());
        let mut session = Session::new(&engine, &Fixed, FORMAT, &SessionConfig::default(), None).unwrap();
        assert_eq!(session.latency(), declared);
        assert_told_when_due(&mut session, &Clip::new(3, 1, (25, 1)));
        names.push(engine.manifest.name);
    }
    assert!(names.iter().any(|n| n == "av-small"), "{names:?}");
}

// What the stages are driven with. `slot` is the unit's number, `seed` the world that it comes from.

const DIM: usize = 4;
const GEOMETRY: MapGeometry = MapGeometry { cols: 12, rows: 8, width: 192, height: 128 };
const SCORE: ScoreSpec =
    ScoreSpec { scale: 4.0, zero_ms: 0.0, spread_ms: 60.0, sure: 0.1, nothing: 0.04, slope: 2.0, bias: -1.0 };

fn slots(seeds: &[u64]) -> impl Iterator<Item = (usize, u64)> + '_ {
    seeds.iter().copied().enumerate()
}

/// When a slot begins.
fn start(slot: usize) -> Timestamp {
    Timestamp::ZERO + SLOT * slot as i64
}

/// An answer about a slot, counted from its end.
fn of_slot(slot: usize, bits: Vec<u64>) -> Answer {
    Answer { since: SLOT * (slot as i64 + 1), bits }
}

fn bits(values: &[f32]) -> Vec<u64> {
    values.iter().map(|v| u64::from(v.to_bits())).collect()
}

/// Value `i` of the slot.
fn value(seed: u64, slot: usize, i: usize) -> f32 {
    noise(seed, (slot * 100_000 + i) as u64)
}

fn values(seed: u64, slot: usize, n: usize) -> Vec<f32> {
    (0..n).map(|i| value(seed, slot, i)).collect()
}

fn babble(seed: u64, slot: usize) -> [f32; SLOT_SAMPLES] {
    std::array::from_fn(|i| sound(seed, (slot * SLOT_SAMPLES + i) as i64))
}

/// A texture that all worlds share, moved by up to two pixels a slot.
fn moving(seed: u64, slot: usize) -> Vec<u8> {
    let (dx, dy) = (2.0 * value(seed, slot, 0), 2.0 * value(seed, slot, 1));
    let at = |i: u32| ((i % 64) as f32 + dx, (i / 64) as f32 + dy);
    let grey = |(x, y): (f32, f32)| 128.0 + 60.0 * (0.31 * x + 0.1 * y).sin() + 60.0 * (0.23 * y - 0.07 * x).cos();
    (0..64 * 48).map(|i| grey(at(i)) as u8).collect()
}

/// How the cells move: hardly, with a cut now and then, in a picture whose look changes slowly.
fn motion(seed: u64, slot: usize) -> CellMotion {
    let mut motion = CellMotion::still(GEOMETRY.cols, GEOMETRY.rows);
    let cells = GEOMETRY.cells();
    motion.dx = (0..cells).map(|i| 0.1 * value(seed, slot, i)).collect();
    motion.dy = (0..cells).map(|i| 0.1 * value(seed, slot, cells + i)).collect();
    motion.still = false;
    motion.cut = value(seed, slot, 2 * cells) > 0.96;
    let look = |i: usize| 100.0 + 40.0 * noise(1, i as u64) + 4.0 * value(seed, slot, i);
    motion.thumbnail = (0..4 * cells).map(look).collect();
    motion
}

/// The attention of one made-up slot: what stages behind it need beside their own input.
fn any_attention() -> Attention {
    let mut attention = Attention::new(&AttentionConfig::default(), &SCORE, GEOMETRY, DIM, 2);
    attention.push_map(&values(7, 0, DIM * GEOMETRY.cells()));
    attention.push_sound(&values(8, 0, DIM));
    attention.advance(&CellMotion::still(GEOMETRY.cols, GEOMETRY.rows)).unwrap();
    attention
}

// The stages.

/// Sound in pieces of 5 ms, a picture with every third or so of them: all pushed, then pulled.
fn aligner(seeds: &[u64]) -> Run {
    let mut aligner = Aligner::new(None);
    for (unit, seed) in slots(seeds) {
        let pts = Timestamp::from_ms(5 * unit as i64);
        if unit % 8 == 0 || value(seed, unit, 0) > 0.4 {
            aligner.push_frame(Frame { pts, duration: Some(SLOT), picture: seed << 32 | unit as u64 });
        }
        aligner.push_audio(AudioWindow { start: pts, samples: &values(seed, unit, 80), discont: false });
    }
    let mut answers = Vec::new();
    while let Some(w) = aligner.pull() {
        let flags = [w.repeated, w.sound_lost, w.discont].map(u64::from);
        let bits = [&[*w.picture], &flags[..], &bits(w.samples)].concat();
        answers.push(Answer { since: w.start - Timestamp::ZERO, bits });
    }
    Run { latency: aligner.latency(), answers }
}

fn reducer(seeds: &[u64]) -> Run {
    let mut reducer = Reducer::new(32, 16);
    let answer = |(slot, seed)| {
        let mut out = vec![0; 32 * 16];
        reducer.reduce(picture(seed, 40 * slot as i64).luma(), &mut out);
        of_slot(slot, out.into_iter().map(u64::from).collect())
    };
    Run { latency: TimeDelta::ZERO, answers: slots(seeds).map(answer).collect() }
}

/// Pieces of 2.5 ms, all pushed, then pulled.
fn log_mel(seeds: &[u64]) -> Run {
    let mut mel = LogMel::new(&MelSpec { mels: 16, low_hz: 60.0, high_hz: 7600.0 });
    for (unit, seed) in slots(seeds) {
        mel.push(&values(seed, unit, 40));
    }
    let mut answers = Vec::new();
    while let Some(frame) = mel.pull() {
        answers.push(Answer { since: TimeDelta::from_ms(10 * (answers.len() as i64 + 1)), bits: bits(frame) });
    }
    Run { latency: mel.latency(), answers }
}

fn flow(seeds: &[u64]) -> Run {
    let mut flow = Flow::new(64, 48, &FlowConfig { check: true, ..FlowConfig::default() });
    let mut answers = Vec::new();
    for (slot, seed) in slots(seeds) {
        flow.push(&moving(seed, slot)).unwrap();
        let fields = flow.field().into_iter().chain(flow.field_back());
        let mut all: Vec<u64> = fields.flat_map(|f| [bits(f.dx), bits(f.dy)].concat()).collect();
        all.extend(flow.validity().into_iter().flatten().map(|&v| u64::from(v)));
        answers.push(of_slot(slot, all));
    }
    Run { latency: flow.latency(), answers }
}

fn motion_estimator(seeds: &[u64]) -> Run {
    let mut estimator = MotionEstimator::new(&MotionConfig::default(), 64, 48, 16);
    let answer = |(slot, seed)| {
        estimator.push(&moving(seed, slot), value(seed, slot, 2) < 0.8).unwrap();
        let m = estimator.pull();
        let flags = m.valid.iter().chain([&m.still, &m.cut]).map(|&v| u64::from(v));
        let all = [&m.dx, &m.dy, &m.thumbnail].into_iter().flat_map(|v| bits(v)).chain(flags).collect();
        of_slot(slot, all)
    };
    Run { latency: TimeDelta::ZERO, answers: slots(seeds).map(answer).collect() }
}

fn video_embedder(seeds: &[u64]) -> Run {
    let mut embedder = VideoEmbedder::new(&engine(), &Fixed, (FORMAT.width, FORMAT.height), 1.0, None).unwrap();
    let mut answers = Vec::new();
    for (slot, seed) in slots(seeds) {
        embedder.push(&picture(seed, 40 * slot as i64));
        embedder.run().unwrap();
        if let Some(map) = embedder.pull() {
            answers.push(of_slot(answers.len(), bits(map)));
        }
    }
    Run { latency: embedder.latency(), answers }
}

fn audio_embedder(seeds: &[u64]) -> Run {
    let mut embedder = AudioEmbedder::new(&engine(), &Fixed).unwrap();
    let mut answers = Vec::new();
    for (slot, seed) in slots(seeds) {
        embedder.push(&babble(seed, slot)).unwrap();
        if let Some(vectors) = embedder.pull() {
            answers.push(of_slot(answers.len(), bits(vectors)));
        }
    }
    Run { latency: embedder.latency(), answers }
}

/// Loud or silent by chance.
fn voice_activity(seeds: &[u64]) -> Run {
    let mut voice = VoiceActivity::new(&VoiceConfig { hold_ms: 0, ..VoiceConfig::default() });
    let mut answers = Vec::new();
    for (slot, seed) in slots(seeds) {
        voice.push(&[value(seed, slot, 0).max(0.0); SLOT_SAMPLES]);
        answers.extend(voice.pull().map(|voiced| of_slot(slot, vec![u64::from(voiced)])));
    }
    Run { latency: voice.latency(), answers }
}

/// All maps are there before the first sound.
fn attention(seeds: &[u64]) -> Run {
    let mut attention = Attention::new(&AttentionConfig::default(), &SCORE, GEOMETRY, DIM, 2);
    for (slot, seed) in slots(seeds) {
        attention.push_map(&values(seed, slot, DIM * GEOMETRY.cells()));
    }
    let mut answers = Vec::new();
    for (slot, seed) in slots(seeds) {
        attention.push_sound(&values(seed + 1, slot, DIM));
        let motion = motion(seed, slot);
        while let Some(a) = attention.pull(start(slot), &motion) {
            let curves = (0..GEOMETRY.cells()).flat_map(|cell| bits(&a.scores.curve(cell)));
            answers.push(of_slot(slot, bits(a.map.logits).into_iter().chain(curves).collect()));
        }
        if let Some(last) = answers.last_mut() {
            last.bits.extend(bits(attention.offset_curve()));
        }
    }
    Run { latency: attention.latency(), answers }
}

fn offset_estimator(seeds: &[u64]) -> Run {
    let mut estimator = OffsetEstimator::new(&SCORE);
    let answer = |(slot, seed)| {
        let curve = std::array::from_fn(|i| value(seed, slot, i) + f32::from(u8::from(i == OFFSETS / 2)));
        estimator.push(&curve, lag(seed, slot));
        of_slot(slot, offset(estimator.pull()))
    };
    let answers = slots(seeds).map(answer).collect();
    Run { latency: estimator.latency(), answers }
}

/// How much older than its slot a picture is.
fn lag(seed: u64, slot: usize) -> TimeDelta {
    TimeDelta::from_ns((20e6 * value(seed, slot, 4)) as i64)
}

fn offset(offset: Option<AvOffset>) -> Vec<u64> {
    offset.map_or(Vec::new(), |o| vec![o.offset.ns() as u64, u64::from(o.confidence.to_bits())])
}

/// Sounds, maps and objects of all slots, then the stretches, of ten slots each.
fn sync_meter(seeds: &[u64]) -> Run {
    let config = SyncMeterConfig { reach_ms: 120, stretch_ms: 400, ..SyncMeterConfig::default() };
    let mut meter = SyncMeter::new(&config, GEOMETRY, DIM, 2, SCORE.scale);
    for (slot, seed) in slots(seeds) {
        meter.push_sound(&values(seed + 1, slot, 2 * DIM));
    }
    for (slot, seed) in slots(seeds) {
        // A cut ends a stretch before its time.
        let motion = CellMotion { cut: false, ..motion(seed, slot) };
        meter.push_map((start(slot), lag(seed, slot)), &values(seed, slot, DIM * GEOMETRY.cells()), &motion, true);
        let cell = CellPoint { x: 6.0 + 5.0 * value(seed, slot, 1), y: 4.0 + 3.0 * value(seed, slot, 2) };
        meter.judge(Judged { cell, probability: value(seed, slot, 3).abs() });
    }
    let mut answers = Vec::new();
    while meter.advance() {
        let s = meter.pull().unwrap();
        let since = s.start + SLOT * s.slots as i64 - Timestamp::ZERO;
        let place = [s.place.x, s.place.y, s.picture_lag_ms];
        answers.push(Answer { since, bits: [bits(&s.curve), bits(&place), vec![u64::from(s.objects)]].concat() });
    }
    Run { latency: meter.reach(), answers }
}

fn peak_picker(seeds: &[u64]) -> Run {
    let mut attention = any_attention();
    let mut picker = PeakPicker::new(&PeakConfig::default(), GEOMETRY.cells());
    let mut answers = Vec::new();
    for (slot, seed) in slots(seeds) {
        let (logits, motion) = (values(seed, slot, GEOMETRY.cells()), motion(seed, slot));
        let seen = attention.map(start(slot), &motion);
        picker.push(&Attended { map: AttentionMap { logits: &logits, ..seen.map }, ..seen });
        if let Some(peaks) = picker.pull() {
            let peak = |p: &Peak| [&bits(&[p.cell.x, p.cell.y, p.px.x, p.px.y, p.logit])[..], &rect(p.extent)].concat();
            answers.push(of_slot(slot, peaks.iter().flat_map(peak).collect()));
        }
    }
    Run { latency: picker.latency(), answers }
}

fn rect(r: PxRect) -> Vec<u64> {
    bits(&[r.centre.x, r.centre.y, r.w, r.h])
}

/// Two peaks that wander about their places, each there in most slots.
fn tracker(seeds: &[u64]) -> Run {
    let mut attention = any_attention();
    let mut tracker = Tracker::new(&TrackerConfig::default());
    let mut answers = Vec::new();
    for (slot, seed) in slots(seeds) {
        let motion = motion(seed, slot);
        let seen = attention.map(start(slot), &motion);
        let peak = |k: usize| {
            let [dx, dy, logit] = std::array::from_fn(|i| value(seed, slot, 10 * k + i));
            let px = PxPoint { x: 48.0 + 96.0 * k as f32 + 6.0 * dx, y: 64.0 + 6.0 * dy };
            let extent = PxRect { centre: px, w: 32.0 + 8.0 * dy, h: 32.0 + 8.0 * dx };
            Peak { start: start(slot), cell: GEOMETRY.to_cell(px), px, logit, extent }
        };
        let peaks: Vec<Peak> = (0..2).map(peak).filter(|p| p.logit > -0.6).collect();
        tracker.push(&peaks, &seen, value(seed, slot, 30) > -0.5);
        answers.extend(tracker.pull().map(|o| of_slot(slot, o.iter().flat_map(object).collect())));
    }
    Run { latency: tracker.latency(), answers }
}

fn object(o: &AvObject) -> Vec<u64> {
    let known = [u64::from(o.id), o.state as u64, o.last_peak.ns() as u64, u64::from(o.logit.to_bits())];
    [&known[..], &rect(o.rect)].concat()
}

fn speaking_decider(seeds: &[u64]) -> Run {
    let mut decider = SpeakingDecider::new(&SpeakingConfig::default());
    let mut answers = Vec::new();
    for (slot, seed) in slots(seeds) {
        let rect = PxRect { centre: PxPoint { x: 48.0, y: 64.0 }, w: 32.0, h: 32.0 };
        let object = |id: u32| {
            let logit = 3.0 * value(seed, slot, id as usize);
            AvObject { id, rect, logit, state: TrackState::Confirmed, last_peak: start(slot) }
        };
        decider.push(&[object(1), object(2)], value(seed, slot, 3) > -0.8, value(seed, slot, 4) > -0.8);
        answers.extend(decider.pull().map(|(speakers, voice)| of_slot(slot, decided(speakers, voice))));
    }
    Run { latency: decider.latency(), answers }
}

fn decided(speakers: &[Speaker], voice: Voice) -> Vec<u64> {
    let speaker = |s: &Speaker| {
        let own = [u64::from(s.probability.to_bits()), u64::from(s.speaking), u64::from(s.has_spoken)];
        [&object(&s.object)[..], &own].concat()
    };
    speakers.iter().flat_map(speaker).chain([voice as u64]).collect()
}

/// The whole programme is there before the first report is pulled.
fn session(seeds: &[u64]) -> Run {
    let sync = SyncMeterConfig { reach_ms: 120, stretch_ms: 400, ..SyncMeterConfig::default() };
    let mut config = SessionConfig { sync: Some(sync), ..SessionConfig::default() };
    config.peaks.min_logit = 0.1;
    let mut session = Session::new(&engine(), &Fixed, FORMAT, &config, None).unwrap();
    for (slot, seed) in slots(seeds) {
        session.push_frame(Frame { pts: start(slot), duration: Some(SLOT), picture: picture(seed, 40 * slot as i64) });
        session.push_audio(AudioWindow { start: start(slot), samples: &babble(seed, slot), discont: false });
    }
    let mut answers = Vec::new();
    while let Some(r) = session.pull().unwrap() {
        let curve = r.stretch.map_or(Vec::new(), |s| bits(&s.curve));
        let bits = [decided(r.speakers, r.voice), offset(r.offset), bits(r.map.logits), curve].concat();
        answers.push(Answer { since: r.start - Timestamp::ZERO, bits });
    }
    Run { latency: session.latency(), answers }
}

fn sync_corrector(seeds: &[u64]) -> Run {
    let config = SyncConfig { hold_ms: 40, patience_ms: 200, ..SyncConfig::default() };
    let mut corrector = SyncCorrector::new(&config).unwrap();
    let answer = |(slot, seed)| {
        let offset = TimeDelta::from_ns((100e6 * value(seed, slot, 0)) as i64);
        let confidence = if value(seed, slot, 1) > -0.8 { 1.0 } else { 0.5 };
        corrector.push((value(seed, slot, 2) > -0.8).then_some(AvOffset::new(offset, confidence)));
        let c = corrector.pull();
        of_slot(
            slot,
            [c.applied, c.target, c.wanted].map(|t| t.ns() as u64).into_iter().chain([c.state as u64]).collect(),
        )
    };
    let answers = slots(seeds).map(answer).collect();
    Run { latency: corrector.latency(), answers }
}

/// Units of 8 ms, half a hop: what is left of the mixture depends on all that was heard of it. The latency counts from the start of
/// what an answer is about.
fn separate(seeds: &[u64]) -> Run {
    const UNIT: usize = 128;
    let config = SeparatorConfig { rate: SampleRate::ANALYSIS, channels: 1, objects: 1, block: 1 };
    let mut separator = Separator::new(&separator::engine(), &Masks(Mask::Memory), config).unwrap();
    let mut answers = Vec::new();
    for (k, &seed) in seeds.iter().enumerate() {
        let samples: Vec<f32> = (k * UNIT..(k + 1) * UNIT).map(|i| noise(seed, i as u64)).collect();
        assert_eq!(separator.push(&samples), UNIT);
        while separator.due().is_some() {
            separator.step(&[Present { id: 1, embedding: &[0.5; separator::DIM] }]).unwrap();
            while let Some(voice) = separator.pull() {
                let since = SampleRate::ANALYSIS.time_of(voice.start as i64);
                answers.push(Answer { since, bits: bits(voice.samples) });
            }
        }
    }
    Run { latency: separator.latency(), answers }
}

/// Blocks of 200 frames: slews, rests and jumps of the delay, which is told with a block, so known when it begins. A block
/// is pushed whole: what of it has not come is silence, and its frames are no answers.
fn audio_delay(seeds: &[u64]) -> Run {
    const BLOCK: usize = 200;
    let delays_us = [0, 600, 1_200, 1_800, 1_810, 1_810, 0, 500, 1_100, 1_110, 12_000, 12_000];
    let mut line = AudioDelay::new(SampleRate::ANALYSIS, 2, TimeDelta::from_ms(20)).unwrap();
    let mut answers = Vec::new();
    for (k, (block, us)) in seeds.chunks(BLOCK).zip(delays_us).enumerate() {
        let mut input = vec![0.0; 2 * BLOCK];
        for (i, (&seed, frame)) in block.iter().zip(input.chunks_exact_mut(2)).enumerate() {
            frame.copy_from_slice(&values(seed, k * BLOCK + i, 2));
        }
        let mut out = vec![0.0; 2 * BLOCK];
        line.push(&input, TimeDelta::from_ns(1_000 * us), &mut out).unwrap();
        for frame in out.chunks_exact(2).take(block.len()) {
            answers.push(Answer { since: SAMPLE * (answers.len() as i64 + 1), bits: bits(frame) });
        }
    }
    Run { latency: line.latency(), answers }
}
