//! The A/V offset of a device by flash and beep: the pattern that a screen and a loudspeaker give, and the meter that
//! finds it in a recording.
//!
//! **Sign: > 0 means that the sound is late.** White flashes on black, each with a beep that begins with it, at
//! intervals that never come again: every part of the pattern is known by its intervals alone, so that the flashes and
//! the beeps of a recording are found, and told from what else shines and sounds, each without the other. What was
//! missed or covered does not matter, and an offset of two seconds is not mistaken for a small one.
//!
//! | file | what |
//! |---|---|
//! | this | [`Pattern`]; [`FlashBeepMeter`], which brings both together |
//! | `flashes.rs` | which cells of the picture flash, when each flash began to within a few ms |
//! | `beeps.rs` | when each beep began, by a matched filter |
//!
//! What the time of a flash is: a picture's stamp is taken for the moment at which its exposure began, and for a file
//! that no camera made for the moment from which the picture is to be seen.

#![expect(clippy::cast_precision_loss, reason = "counts of events and ticks; display")]

mod beeps;
mod flashes;

use crate::audio::{AudioRing, AudioWindow};
use crate::frame::{Frame, Luma};
use crate::reduce::Reducer;
use crate::time::{SampleRate, TimeDelta, Timestamp};
use beeps::Beep;

/// Pictures per second of the pattern: every screen of 60 Hz shows each once, and the flashes begin on odd and even
/// ones, so that a camera of 30 fps that runs in step with the screen still meets them in two phases.
pub const PATTERN_FPS: u32 = 60;
/// Pictures that a flash lasts: 133 ms, of which a camera of 15 fps sees one whole.
const FLASH_TICKS: u32 = 8;
/// How long a flash lasts.
pub const FLASH: TimeDelta = TimeDelta::from_ns(133_333_333);
/// How long a beep lasts.
pub const BEEP: TimeDelta = TimeDelta::from_ms(50);
/// A beep sweeps through these frequencies, Hz: what small loudspeakers and microphones do well. A sweep is found to
/// a fraction of a millisecond (the inverse of its bandwidth), a tone of the same length is not.
const SWEEP_HZ: (f64, f64) = (1_000.0, 3_000.0);
/// Raised-cosine edges of a beep, s.
const EDGE_S: f64 = 0.001;
/// Peak of a beep, of full scale.
const PEAK: f64 = 0.7;
/// Intervals between flashes, ticks: 0.7 to 1.4 s. Below three a second, as photosensitive viewers need it.
const INTERVALS: (u32, u32) = (42, 84);
/// Nothing happens for so long at the beginning (players fade in, show their buttons) and at the end, ticks.
const MARGIN: u32 = 90;

/// Columns of cells that the meter looks at.
pub const COLS: usize = 16;
/// Rows of cells that the meter looks at.
pub const ROWS: usize = 9;
/// Cells.
pub const CELLS: usize = COLS * ROWS;

/// The largest offset that is told.
pub const REACH: TimeDelta = TimeDelta::from_ms(2_000);
/// The longest recording that is taken: what is kept of it is bounded.
pub const LONGEST: TimeDelta = TimeDelta::from_ms(600_000);
/// The least number of flashes, beeps and events.
const LEAST: usize = 8;

/// The pattern: when its flashes and beeps begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// First picture of every flash.
    ticks: Vec<u32>,
    /// Pictures in all.
    frames: u32,
}

impl Default for Pattern {
    /// Of a minute.
    fn default() -> Self {
        Self::new(TimeDelta::from_ms(60_000))
    }
}

impl Pattern {
    /// Of this length, a multiple of a picture's; a shorter one is the beginning of a longer one.
    #[must_use]
    pub fn new(length: TimeDelta) -> Self {
        let frames = length.ns().max(0).saturating_mul(i64::from(PATTERN_FPS)).div_euclid(1_000_000_000);
        let frames = u32::try_from(frames).unwrap_or(u32::MAX);
        let (mut ticks, mut at, mut state) = (Vec::new(), MARGIN, 1_u64);
        while at + FLASH_TICKS + MARGIN <= frames {
            ticks.push(at);
            // SplitMix64 (Steele, Lea, Flood 2014): the same pattern for ever, whatever a library does.
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            let span = u64::from(INTERVALS.1 - INTERVALS.0 + 1);
            at += INTERVALS.0 + u32::try_from((z ^ (z >> 31)) % span).unwrap_or(0);
        }
        Self { ticks, frames }
    }

    /// Pictures, [`PATTERN_FPS`] a second.
    #[must_use]
    pub fn frames(&self) -> u32 {
        self.frames
    }

    /// How long it is.
    #[must_use]
    pub fn length(&self) -> TimeDelta {
        Self::time_of(self.frames)
    }

    /// When picture `frame` begins, from the beginning of the pattern.
    #[must_use]
    pub fn time_of(frame: u32) -> TimeDelta {
        SampleRate::new(PATTERN_FPS).expect("a rate above 0").time_of(i64::from(frame))
    }

    /// When flashes and beeps begin, from the beginning of the pattern.
    pub fn onsets(&self) -> impl Iterator<Item = TimeDelta> {
        self.ticks.iter().map(|&t| Self::time_of(t))
    }

    /// Whether picture `frame` is white; the others are black.
    #[must_use]
    pub fn is_lit(&self, frame: u32) -> bool {
        let next = self.ticks.partition_point(|&t| t <= frame);
        next > 0 && frame < self.ticks[next - 1] + FLASH_TICKS
    }

    /// Writes the sound, mono, −1…1, from sample `first` at `rate` on.
    pub fn sound_into(&self, rate: SampleRate, first: i64, out: &mut [f32]) {
        out.fill(0.0);
        let end = first + i64::try_from(out.len()).unwrap_or(i64::MAX);
        let length = rate.index_at(BEEP);
        for onset in self.onsets() {
            let begin = rate.index_at(onset);
            if begin >= end || begin + length <= first {
                continue;
            }
            for i in begin.max(first)..(begin + length).min(end) {
                // From the onset itself, which need not fall on a sample.
                let t = (rate.time_of(i) - onset).as_s_f64();
                if let Some(o) = usize::try_from(i - first).ok().and_then(|k| out.get_mut(k)) {
                    *o = beep(t).0;
                }
            }
        }
    }
}

/// The beep `t` seconds after its onset, and the same a quarter of a wave on (for its envelope); 0 outside.
#[expect(clippy::cast_possible_truncation, reason = "a sample of −1…1")]
fn beep(t: f64) -> (f32, f32) {
    let length = BEEP.as_s_f64();
    if !(0.0..length).contains(&t) {
        return (0.0, 0.0);
    }
    let edge = (t.min(length - t) / EDGE_S).min(1.0);
    let gain = PEAK * 0.5 * (1.0 - (std::f64::consts::PI * edge).cos());
    let (low, high) = SWEEP_HZ;
    let phase = std::f64::consts::TAU * (low * t + 0.5 * (high - low) / length * t * t);
    ((gain * phase.sin()) as f32, (gain * phase.cos()) as f32)
}

/// What the meter found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measurement {
    /// > 0: the sound is late. In the middle of the events, where it drifts.
    pub offset: TimeDelta,
    /// Standard deviation of the single events. It holds the grid of the camera's pictures: at 30 fps and a short
    /// exposure 10 ms come of that alone.
    pub spread: TimeDelta,
    /// Standard error of `offset`.
    pub error: TimeDelta,
    /// Events (flashes with their beeps) that it comes of.
    pub events: usize,
    /// Flashes that were seen.
    pub flashes: usize,
    /// Beeps that were heard.
    pub beeps: usize,
    /// Change of the offset, ms a minute, where it is significant.
    pub drift_ms_per_min: Option<f64>,
    /// What `offset` may be off by besides, one way, where camera and screen run in step, so that no flash begins while
    /// a picture is being exposed: half a picture's time at most, 0 for a camera that is not in step.
    pub undecided: TimeDelta,
    /// Median distance of the pictures.
    pub frame_interval: TimeDelta,
    /// Cells that flash, of [`CELLS`].
    pub cells: usize,
}

/// Why nothing was found.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MeterError {
    /// The pattern's flashes are not in the picture.
    #[error(
        "no flashes of the pattern were seen: let its screen fill a good part of the picture, in a room that is not \
         too bright, and show the whole minute"
    )]
    NoFlashes,
    /// The pattern's beeps are not in the sound.
    #[error(
        "no beeps of the pattern were heard ({flashes} flashes were seen): turn the player up, and the noise \
         suppression of the microphone off"
    )]
    NoBeeps {
        /// Flashes that were seen.
        flashes: usize,
    },
    /// Too few flashes with their beeps.
    #[error(
        "too few events: {flashes} flashes, {beeps} beeps, {events} with both, {LEAST} are needed: record the whole \
         minute of the pattern"
    )]
    TooFew {
        /// Flashes that were seen.
        flashes: usize,
        /// Beeps that were heard.
        beeps: usize,
        /// Flashes with their beeps.
        events: usize,
    },
    /// The events disagree.
    #[error(
        "the events disagree: {:.0} ms from one to the next (standard deviation) where {:.0} are allowed: the player \
         or the recording stutters",
        spread.as_ms_f64(), limit.as_ms_f64()
    )]
    TooSpread {
        /// Standard deviation of the single events.
        spread: TimeDelta,
        /// What is allowed.
        limit: TimeDelta,
    },
    /// The offset is larger than the pattern is for.
    #[error("the offset is beyond ±{:.0} s: about {:.1} s", REACH.as_s_f64(), offset.as_s_f64())]
    Beyond {
        /// What it seems to be.
        offset: TimeDelta,
    },
    /// The recording is longer than is taken.
    #[error("the recording is longer than {:.0} minutes: cut the minute of the pattern out of it", LONGEST.as_s_f64() / 60.0)]
    TooLong,
}

/// The meter: push a recording's pictures and sound in, ask once at the end.
#[derive(Debug)]
pub struct FlashBeepMeter {
    pattern: Pattern,
    reducer: Reducer,
    cells: [u8; CELLS],
    frames: Vec<(Timestamp, [u8; CELLS])>,
    /// With the time of its first sample.
    sound: Option<(Timestamp, AudioRing)>,
    too_long: bool,
}

impl FlashBeepMeter {
    /// For recordings of this pattern.
    #[must_use]
    pub fn new(pattern: Pattern) -> Self {
        Self {
            pattern,
            reducer: Reducer::new(COLS, ROWS),
            cells: [0; CELLS],
            frames: Vec::new(),
            sound: None,
            too_long: false,
        }
    }

    /// Takes a picture.
    pub fn push_frame<P: Luma>(&mut self, frame: &Frame<P>) {
        self.reducer.reduce(frame.picture.luma(), &mut self.cells);
        let cells = self.cells;
        self.push_cells(frame.pts, &cells);
    }

    /// Takes a picture by the mean luma of its cells, `[ROWS, COLS]`. One that is not later than the last is left out.
    pub fn push_cells(&mut self, pts: Timestamp, cells: &[u8; CELLS]) {
        let Some(&(first, _)) = self.frames.first() else {
            self.frames.push((pts, *cells));
            return;
        };
        self.too_long |= pts - first > LONGEST;
        if !self.too_long && self.frames.last().is_none_or(|(last, _)| pts > *last) {
            self.frames.push((pts, *cells));
        }
    }

    /// Takes sound, 16 kHz mono.
    pub fn push_sound(&mut self, window: AudioWindow<'_>) {
        let (first, ring) = self.sound.get_or_insert_with(|| (window.start, AudioRing::new(window.start, 16_000)));
        self.too_long |= window.start - *first > LONGEST;
        if !self.too_long {
            ring.push(window);
        }
    }

    /// The offset of what was pushed.
    ///
    /// # Errors
    /// Why there is none, and what to do about it.
    pub fn measure(&self) -> Result<Measurement, MeterError> {
        if self.too_long {
            return Err(MeterError::TooLong);
        }
        let onsets: Vec<f64> = self.pattern.onsets().map(|t| t.as_ms_f64()).collect();
        let origin = self.frames.first().ok_or(MeterError::NoFlashes)?.0;
        let frames: Vec<(f64, &[u8; CELLS])> =
            self.frames.iter().map(|(pts, cells)| ((*pts - origin).as_ms_f64(), cells)).collect();
        let flashes = flashes::find(&frames, &onsets).ok_or(MeterError::NoFlashes)?;
        let beeps = self.beeps(origin);
        let found = bring_together(&onsets, &flashes, &match_beeps(&beeps, &onsets, &flashes)?)?;
        if found.offset.abs() > REACH { Err(MeterError::Beyond { offset: found.offset }) } else { Ok(found) }
    }

    /// Beeps of the sound, ms after `origin`.
    fn beeps(&self, origin: Timestamp) -> Vec<Beep> {
        let Some((start, ring)) = &self.sound else { return Vec::new() };
        let mut samples = vec![0.0; usize::try_from(ring.end()).unwrap_or(0)];
        if ring.read(0, &mut samples).is_none() {
            return Vec::new();
        }
        let mut beeps = beeps::find(&samples);
        let start_ms = (*start - origin).as_ms_f64();
        beeps.iter_mut().for_each(|b| b.at_ms += start_ms);
        beeps
    }
}

/// A beep lies no further than this from where the others say, ms: clocks that run apart, an offset that drifts.
const NEAR_MS: f64 = 60.0;

/// The pattern laid into the beeps.
struct Laid {
    /// Where it begins, ms.
    shift: f64,
    /// Number and time of every beep that was heard, ms.
    heard: Vec<(usize, f64)>,
    /// Sum of their coefficients, those in place counted most.
    score: f64,
}

impl Laid {
    fn at(shift: f64, beeps: &[Beep], onsets: &[f64]) -> Self {
        let (mut heard, mut score) = (Vec::new(), 0.0);
        for (k, s) in onsets.iter().enumerate() {
            let from = beeps.partition_point(|b| b.at_ms < shift + s - NEAR_MS);
            let worth = |b: &Beep| f64::from(b.strength) * (1.0 - (b.at_ms - shift - s).abs() / NEAR_MS);
            let there = beeps[from..].iter().take_while(|b| b.at_ms <= shift + s + NEAR_MS);
            if let Some(b) = there.max_by(|a, b| worth(a).total_cmp(&worth(b))) {
                heard.push((k, b.at_ms));
                score += worth(b);
            }
        }
        Self { shift, heard, score }
    }

    /// The best of those that begin no further than this from `near`.
    fn within(reach: f64, near: f64, beeps: &[Beep], onsets: &[f64]) -> Option<Self> {
        let shifts = beeps.iter().flat_map(|b| onsets.iter().map(move |s| b.at_ms - s));
        let all = shifts.filter(|shift| (shift - near).abs() <= reach).map(|shift| Self::at(shift, beeps, onsets));
        let best = all.max_by(|a, b| a.score.total_cmp(&b.score))?;
        // One beep's own place is not the middle of all.
        let middle = median(best.heard.iter().map(|(k, at)| at - onsets[*k]));
        Some(Self::at(middle, beeps, onsets))
    }

    /// Chance lays single beeps near their places, hardly ever into them.
    fn in_place(&self) -> bool {
        self.score >= 0.4 * self.heard.len() as f64
    }
}

/// The beeps that were heard: number and time, ms. Looked for within a little more than the range around the flashes;
/// where they fit much better elsewhere, the offset is beyond the range (a player that repeats the pattern makes them
/// fit as well).
fn match_beeps(beeps: &[Beep], onsets: &[f64], flashes: &flashes::Flashes) -> Result<Vec<(usize, f64)>, MeterError> {
    let (near, seen) = (flashes.shift_ms, flashes.events.len());
    let whole = |laid: &Laid| laid.heard.len() >= LEAST && laid.in_place();
    let close = Laid::within(REACH.as_ms_f64() + NEAR_MS, near, beeps, onsets);
    let far = Laid::within(f64::INFINITY, near, beeps, onsets).filter(whole);
    if let Some(far) = far.filter(|far| close.as_ref().is_none_or(|close| far.score > 1.5 * close.score)) {
        return Err(MeterError::Beyond { offset: TimeDelta::from_ns(to_ns(far.shift - near)) });
    }
    match close {
        Some(laid) if whole(&laid) => Ok(laid.heard),
        Some(laid) if laid.heard.len() >= 4 && laid.in_place() => {
            Err(MeterError::TooFew { flashes: seen, beeps: laid.heard.len(), events: 0 })
        }
        _ => Err(MeterError::NoBeeps { flashes: seen }),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "milliseconds of a recording")]
fn to_ns(ms: f64) -> i64 {
    (ms * 1e6).round() as i64
}

/// The offset of flashes and beeps with the same number.
fn bring_together(
    onsets: &[f64],
    flashes: &flashes::Flashes,
    beeps: &[(usize, f64)],
) -> Result<Measurement, MeterError> {
    // When the flash was, what its own pictures say beyond that, and how late its beep came.
    let pairs: Vec<(f64, f64)> = flashes
        .events
        .iter()
        .filter_map(|f| {
            let beep = beeps.iter().find(|(k, _)| *k == f.number)?.1;
            Some((onsets[f.number], beep - f.at_ms))
        })
        .collect();
    let interval = flashes.interval_ms;
    let middle = median(pairs.iter().map(|p| p.1));
    let mad = median(pairs.iter().map(|p| (p.1 - middle).abs()));
    let reject = (6.0 * mad).max(0.75 * interval + 5.0);
    let used: Vec<(f64, f64)> = pairs.iter().copied().filter(|p| (p.1 - middle).abs() <= reject).collect();
    if used.len() < LEAST {
        let (flashes, beeps) = (flashes.events.len(), beeps.len());
        return Err(MeterError::TooFew { flashes, beeps, events: used.len() });
    }
    let line = Line::through(&used);
    let n = used.len() as f64;
    let length_ms = used.last().map_or(0.0, |p| p.0) - used.first().map_or(0.0, |p| p.0);
    let drifts = line.slope.abs() > 4.0 * line.slope_error && (line.slope * length_ms).abs() > 2.0;
    let level = if drifts { line.sd } else { line.level_sd };
    // Pictures come on a grid: 0.29 of their distance is what that alone makes.
    let limit = 8.0 + 0.35 * interval;
    if level > limit {
        let ms = |x: f64| TimeDelta::from_ns(to_ns(x));
        return Err(MeterError::TooSpread { spread: ms(level), limit: ms(limit) });
    }
    Ok(Measurement {
        offset: TimeDelta::from_ns(to_ns(line.middle)),
        spread: TimeDelta::from_ns(to_ns(level)),
        error: TimeDelta::from_ns(to_ns(level / n.sqrt())),
        events: used.len(),
        flashes: flashes.events.len(),
        beeps: beeps.len(),
        drift_ms_per_min: drifts.then_some(line.slope * 60_000.0),
        undecided: TimeDelta::from_ns(to_ns(flashes.undecided_ms)),
        frame_interval: TimeDelta::from_ns(to_ns(interval)),
        cells: flashes.cells,
    })
}

/// A least-squares line.
struct Line {
    /// Mean of x and of y.
    x: f64,
    middle: f64,
    slope: f64,
    slope_error: f64,
    /// Standard deviation around the line, and around the mean.
    sd: f64,
    level_sd: f64,
}

impl Line {
    /// Through three points or more.
    fn through(points: &[(f64, f64)]) -> Self {
        let n = points.len() as f64;
        let (x, y) = (points.iter().map(|p| p.0).sum::<f64>() / n, points.iter().map(|p| p.1).sum::<f64>() / n);
        let xx: f64 = points.iter().map(|p| (p.0 - x).powi(2)).sum();
        let yy: f64 = points.iter().map(|p| (p.1 - y).powi(2)).sum();
        let xy: f64 = points.iter().map(|p| (p.0 - x) * (p.1 - y)).sum();
        let slope = if xx > 0.0 { xy / xx } else { 0.0 };
        let rest = (yy - slope * xy).max(0.0) / (n - 2.0).max(1.0);
        let slope_error = (rest / xx.max(f64::MIN_POSITIVE)).sqrt();
        Self { x, middle: y, slope, slope_error, sd: rest.sqrt(), level_sd: (yy / (n - 1.0).max(1.0)).sqrt() }
    }

    fn at(&self, x: f64) -> f64 {
        self.middle + self.slope * (x - self.x)
    }
}

/// Of no values: 0.
fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut v: Vec<f64> = values.collect();
    v.sort_unstable_by(f64::total_cmp);
    let n = v.len();
    if n == 0 { 0.0 } else { 0.5 * (v[(n - 1) >> 1] + v[n >> 1]) }
}
