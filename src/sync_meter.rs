//! The sync meter: how well picture and sound agree at every offset in steps of 10 ms, stretch by stretch, where the talkers are.
//!
//! For every slot the score ⟨v(t, y, x), a(t + δ)⟩ of each cell at each shift δ of the sound is summed over a
//! [`Stretch`] of two seconds, carried along by the flow as the attention is. At the end of a stretch the sums are read
//! around the objects that seemed to speak in it (or, where there are none, everywhere), as the log-likelihood of each
//! offset:
//!
//! ```text
//! ℓ(δ) = ln Σ_cells w(cell) exp(s · Σ_t S[δ, t, cell])     s: the engine's scale, for a slot
//! ```
//!
//! A slot is summed when the sound of all its shifts is here, so the meter is `reach` behind the attention; at the ends
//! of a stream, where some shifts have no sound, nothing is judged, and no offset is favoured.
//! What stretches make together is for [`crate::sync`] to say.

#![expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "counts of slots and cells; times")]

use crate::av_offset::MOST_LAG;
use crate::flow::sample;
use crate::geometry::{CellPoint, MapGeometry, PxPoint};
use crate::motion::CellMotion;
use crate::time::{SLOT, TimeDelta, Timestamp};
use serde::{Deserialize, Serialize};

/// What a slot's score is worth, of the engine's scale: that is what the mean of a second is worth to the attention, which
/// averages over less and wants twice what was trained.
const SLOT_SHARE: f32 = 0.5 / 24.0;
/// Share of a stretch's evidence that is looked for away from the objects: they may be wrong.
const ELSEWHERE: f32 = 0.1;
/// Slots with a voice that a stretch must have to say anything.
const FEWEST_VOICED: usize = 8;
/// Objects that may be judged in a slot.
const MAX_JUDGED: usize = 8;
/// Slots that may wait for the attention's objects, generously.
const WAITING: usize = 80;

/// Parameters of the meter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SyncMeterConfig {
    /// Largest offset that is looked for, ms, either way.
    pub reach_ms: i64,
    /// Length of a stretch, ms. Long ones tell places apart, short ones times.
    pub stretch_ms: i64,
    /// Probability of speaking from which an object is judged.
    pub judge_probability: f32,
}

impl Default for SyncMeterConfig {
    fn default() -> Self {
        Self { reach_ms: 600, stretch_ms: 2_000, judge_probability: 0.3 }
    }
}

/// What a stretch of time says of the offset.
#[derive(Clone, Debug, PartialEq)]
pub struct Stretch {
    /// When its first slot begins.
    pub start: Timestamp,
    /// Slots summed.
    pub slots: usize,
    /// Log-likelihood of each offset, from −reach to +reach in even steps, up to a constant. The engine's own zero
    /// is still in it.
    pub curve: Vec<f32>,
    /// How much older than their slots the pictures are, ms, on average: an offset of the curve is too low by as much.
    pub picture_lag_ms: f32,
    /// Where it agrees best, source pixels, at the stretch's end.
    pub place: PxPoint,
    /// Whether objects that seemed to speak were judged, or, for want of any, the whole picture.
    pub objects: bool,
}

/// An object as the meter needs it: where it is, and how likely it speaks.
#[derive(Clone, Copy, Debug)]
pub struct Judged {
    /// Its place, cells.
    pub cell: CellPoint,
    /// Its probability of speaking, 0…1.
    pub probability: f32,
}

/// A slot that waits for the sound of its latest shift.
#[derive(Clone, Debug)]
struct Waiting {
    start: Timestamp,
    lag: TimeDelta,
    map: Vec<f32>,
    motion: CellMotion,
    voiced: bool,
    judged: [Judged; MAX_JUDGED],
    judged_count: usize,
}

/// The meter: push every slot's map, sounds, motion and objects; pull finished stretches.
#[derive(Debug)]
pub struct SyncMeter {
    geometry: MapGeometry,
    dim: usize,
    /// Slots to either side.
    reach: usize,
    /// Sound vectors a slot, evenly apart: the resolution of the offset.
    steps: usize,
    stretch_slots: usize,
    judge_probability: f32,
    gain: f32,
    slots: Vec<Waiting>,
    slots_seen: usize,
    /// Sound vectors `[steps, dim]` of a slot, a ring.
    sounds: Vec<Vec<f32>>,
    sounds_seen: usize,
    /// The slot to be summed next.
    next: usize,
    /// `[shifts, cells]` of the stretch under way.
    sums: Vec<f32>,
    row: Vec<f32>,
    summed: usize,
    voiced: usize,
    /// Sum of the pictures' lags, and of how many.
    lags: (TimeDelta, u16),
    /// Evidence for each cell that it was a talker's, carried along as the sums are.
    weights: Vec<f32>,
    finished: Stretch,
    ready: bool,
}

impl SyncMeter {
    /// For maps of `geometry` with `dim`-dimensional vectors and `steps` sound vectors a slot, whose scores are worth
    /// `scale` ([`crate::net::ScoreSpec::scale`]).
    #[must_use]
    pub fn new(config: &SyncMeterConfig, geometry: MapGeometry, dim: usize, steps: usize, scale: f32) -> Self {
        let reach = TimeDelta::from_ms(config.reach_ms).slots_ceil().max(1);
        let cells = geometry.cells();
        let shifts = 2 * steps * reach + 1;
        let none = Judged { cell: CellPoint::default(), probability: 0.0 };
        let waiting = Waiting {
            start: Timestamp::ZERO,
            lag: TimeDelta::ZERO,
            map: vec![0.0; dim * cells],
            motion: CellMotion::still(geometry.cols, geometry.rows),
            voiced: false,
            judged: [none; MAX_JUDGED],
            judged_count: 0,
        };
        Self {
            geometry,
            dim,
            reach,
            steps,
            stretch_slots: TimeDelta::from_ms(config.stretch_ms).slots_ceil().max(1),
            judge_probability: config.judge_probability,
            gain: scale * SLOT_SHARE,
            slots: vec![waiting; reach + WAITING],
            slots_seen: 0,
            sounds: vec![vec![0.0; steps * dim]; 2 * reach + WAITING],
            sounds_seen: 0,
            next: 0,
            sums: vec![0.0; shifts * cells],
            row: vec![0.0; cells],
            summed: 0,
            voiced: 0,
            lags: (TimeDelta::ZERO, 0),
            weights: vec![0.0; cells],
            finished: Stretch {
                start: Timestamp::ZERO,
                slots: 0,
                curve: vec![0.0; shifts],
                picture_lag_ms: 0.0,
                place: PxPoint::default(),
                objects: false,
            },
            ready: false,
        }
    }

    /// Largest offset looked for, either way.
    #[must_use]
    pub fn reach(&self) -> TimeDelta {
        SLOT * i64::try_from(self.reach).unwrap_or(i64::MAX)
    }

    /// Takes the sound vectors `[steps, dim]` of the next slot, earliest first.
    pub fn push_sound(&mut self, sound: &[f32]) {
        let n = self.sounds.len();
        self.sounds[self.sounds_seen % n].copy_from_slice(sound);
        self.sounds_seen += 1;
    }

    /// Takes the map `[dim, rows, cols]` of the next slot: when it begins and how much older its picture is
    /// ([`AvWindow::picture_lag`](crate::align::AvWindow::picture_lag)), how its cells moved, and whether a voice was heard;
    /// its sound must be here already. Then [`SyncMeter::judge`] its objects.
    pub fn push_map(&mut self, (start, lag): (Timestamp, TimeDelta), map: &[f32], motion: &CellMotion, voiced: bool) {
        let n = self.slots.len();
        let slot = &mut self.slots[self.slots_seen % n];
        (slot.start, slot.lag) = (start, lag);
        slot.map.copy_from_slice(map);
        slot.motion.copy_from(motion);
        slot.voiced = voiced;
        slot.judged_count = 0;
        self.slots_seen += 1;
    }

    /// An object of the slot last pushed. Of more than eight the rest is not judged.
    pub fn judge(&mut self, object: Judged) {
        let n = self.slots.len();
        let slot = &mut self.slots[(self.slots_seen + n - 1) % n];
        if object.probability >= self.judge_probability && slot.judged_count < MAX_JUDGED {
            slot.judged[slot.judged_count] = object;
            slot.judged_count += 1;
        }
    }

    /// Sums the slots whose sound is all here; true when a stretch is finished: pull it, and call again.
    pub fn advance(&mut self) -> bool {
        while !self.ready && self.next < self.slots_seen && self.next + self.reach < self.sounds_seen {
            let t = self.next;
            let n = self.slots.len();
            if self.slots[t % n].motion.cut && self.summed > 0 {
                self.finish();
                if self.ready {
                    break;
                }
            }
            self.next += 1;
            if self.summed == 0 {
                self.begin(self.slots[t % n].start);
            } else {
                self.follow(t);
            }
            // The first slots have no sound at the shifts before them.
            if t >= self.reach {
                self.sum(t);
            }
            if self.summed >= self.stretch_slots {
                self.finish();
            }
        }
        self.ready
    }

    /// The stretch that was finished last.
    pub fn pull(&mut self) -> Option<&Stretch> {
        std::mem::take(&mut self.ready).then_some(&self.finished)
    }

    /// The stream is over: what has been summed of the last stretch is told if it is half of one.
    pub fn end(&mut self) -> bool {
        if !self.advance() && 2 * self.summed >= self.stretch_slots {
            self.finish();
        }
        self.ready
    }

    /// Begins a new stream.
    pub fn reset(&mut self) {
        (self.slots_seen, self.sounds_seen, self.next) = (0, 0, 0);
        self.clear();
        self.ready = false;
    }

    fn begin(&mut self, start: Timestamp) {
        self.finished.start = start;
    }

    fn clear(&mut self) {
        self.sums.fill(0.0);
        self.weights.fill(0.0);
        (self.summed, self.voiced, self.lags) = (0, 0, (TimeDelta::ZERO, 0));
    }

    /// Carries the sums along to slot `t`.
    fn follow(&mut self, t: usize) {
        let motion = &self.slots[t % self.slots.len()].motion;
        if motion.still {
            return;
        }
        let (cols, cells) = (self.geometry.cols, self.geometry.cells());
        for plane in self.sums.chunks_exact_mut(cells).chain(std::iter::once(&mut self.weights[..])) {
            for (i, o) in self.row.iter_mut().enumerate() {
                let (dx, dy) = motion.shift(i);
                *o = sample(plane, cols, (i % cols) as f32 + dx, i.div_euclid(cols) as f32 + dy);
            }
            plane.copy_from_slice(&self.row);
        }
    }

    fn sum(&mut self, t: usize) {
        let cells = self.geometry.cells();
        let slot = &self.slots[t % self.slots.len()];
        let first = self.steps * (t - self.reach);
        for (k, sums) in self.sums.chunks_exact_mut(cells).enumerate() {
            let frame = first + k;
            let sounds = &self.sounds[frame.div_euclid(self.steps) % self.sounds.len()];
            let sound = &sounds[frame % self.steps * self.dim..][..self.dim];
            for (plane, &s) in slot.map.chunks_exact(cells).zip(sound) {
                for (sum, &m) in sums.iter_mut().zip(plane) {
                    *sum += s * m;
                }
            }
        }
        for judged in &slot.judged[..slot.judged_count] {
            for i in self.geometry.around(judged.cell) {
                self.weights[i] += judged.probability;
            }
        }
        self.summed += 1;
        self.voiced += usize::from(slot.voiced);
        if slot.lag.abs() <= MOST_LAG {
            self.lags = (self.lags.0 + slot.lag, self.lags.1.saturating_add(1));
        }
    }

    /// Reads the stretch out, if enough of a voice was heard in it.
    fn finish(&mut self) {
        let cells = self.geometry.cells();
        if self.voiced >= FEWEST_VOICED {
            let total: f32 = self.weights.iter().sum();
            self.finished.objects = total > 0.0;
            let spread = 1.0 / cells as f32;
            for w in &mut self.weights {
                *w = if total > 0.0 { (1.0 - ELSEWHERE) * *w / total + ELSEWHERE * spread } else { spread };
            }
            let (mut best, mut at) = (f32::MIN, 0);
            for (value, sums) in self.finished.curve.iter_mut().zip(self.sums.chunks_exact(cells)) {
                let top = self.gain * sums.iter().copied().fold(f32::MIN, f32::max);
                let mut sum = 0.0;
                for (i, (s, w)) in sums.iter().zip(&self.weights).enumerate() {
                    let e = w * (self.gain * s - top).exp();
                    sum += e;
                    let own = e.ln() + top;
                    if own > best {
                        (best, at) = (own, i);
                    }
                }
                *value = sum.max(f32::MIN_POSITIVE).ln() + top;
            }
            let cell = CellPoint { x: (at % self.geometry.cols) as f32, y: at.div_euclid(self.geometry.cols) as f32 };
            self.finished.place = self.geometry.to_px(cell);
            self.finished.slots = self.summed;
            self.finished.picture_lag_ms = self.lags.0.as_ms_f64() as f32 / f32::from(self.lags.1.max(1));
            self.ready = true;
        }
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const G: MapGeometry = MapGeometry { cols: 5, rows: 4, width: 500, height: 400 };
    const DIM: usize = 32;
    const STEPS: usize = 4;

    fn vector(seed: usize) -> Vec<f32> {
        let mut s = (seed as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) + 1;
        let v: Vec<f32> = (0..DIM)
            .map(|_| {
                s ^= s << 13;
                s ^= s >> 7;
                s ^= s << 17;
                (s >> 40) as f32 / (1 << 24) as f32 - 0.5
            })
            .collect();
        let n = v.iter().map(|x| x * x).sum::<f32>().sqrt();
        v.into_iter().map(|x| x / n).collect()
    }

    /// Cell 7 shows what is heard `late` frames of 10 ms later; all stretches' best shifts, and whether by objects.
    fn stretches(slots: usize, late: usize, judged: bool, cut_at: Option<usize>) -> Vec<(i64, usize, isize, bool)> {
        let mut m =
            SyncMeter::new(&SyncMeterConfig { stretch_ms: 1_000, ..SyncMeterConfig::default() }, G, DIM, STEPS, 400.0);
        let mut out = Vec::new();
        let mut take = |m: &mut SyncMeter| {
            let s = m.pull().unwrap();
            let best = (0..s.curve.len()).max_by(|&a, &b| s.curve[a].total_cmp(&s.curve[b])).unwrap();
            out.push((s.start.ns().div_euclid(1_000_000), s.slots, best as isize - 60, s.objects));
        };
        for t in 0..slots {
            let sound: Vec<f32> = (0..STEPS).flat_map(|k| vector(STEPS * t + k + 1000)).collect();
            m.push_sound(&sound);
            let shown = vector(STEPS * t + 1000 + late);
            let mut map = vec![0.0; DIM * G.cells()];
            for cell in 0..G.cells() {
                let v = if cell == 7 { shown.clone() } else { vector(t * G.cells() + cell + 900_000) };
                for d in 0..DIM {
                    map[d * G.cells() + cell] = v[d];
                }
            }
            let mut motion = CellMotion::still(G.cols, G.rows);
            motion.cut = cut_at == Some(t);
            m.push_map((Timestamp::from_ms(40 * t as i64), TimeDelta::ZERO), &map, &motion, true);
            if judged {
                m.judge(Judged { cell: CellPoint { x: 2.0, y: 1.0 }, probability: 0.9 });
            }
            while m.advance() {
                take(&mut m);
            }
        }
        if m.end() {
            take(&mut m);
        }
        out
    }

    #[test]
    fn the_offset_is_found_to_10_ms_second_by_second() {
        // 100 slots, of which 15 at either end have no sound at some shift: 70, in stretches of 25.
        for judged in [false, true] {
            let got = stretches(100, 13, judged, None);
            assert_eq!(got, [(600, 25, 13, judged), (1600, 25, 13, judged), (2600, 20, 13, judged)]);
        }
    }

    #[test]
    fn a_cut_ends_a_stretch() {
        let got: Vec<usize> = stretches(100, 0, true, Some(50)).iter().map(|s| s.1).collect();
        assert_eq!(got, [25, 10, 25]);
    }

    #[test]
    fn a_stretch_without_a_voice_says_nothing() {
        let mut m = SyncMeter::new(&SyncMeterConfig::default(), G, DIM, STEPS, 80.0);
        for t in 0..100 {
            m.push_sound(&vec![0.1; STEPS * DIM]);
            let map = vec![0.1; DIM * G.cells()];
            m.push_map((Timestamp::from_ms(40 * t), TimeDelta::ZERO), &map, &CellMotion::still(G.cols, G.rows), false);
            assert!(!m.advance());
        }
    }
}
