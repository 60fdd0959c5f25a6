//! Attention: agreement of every place of the picture with the sound, over time offsets, as calibrated log-odds.
//!
//! The score of cell (y, x) at offset δ is the mean of ⟨v(t, y, x), a(t + δ)⟩ over the last moments (exponentially
//! forgotten). A place that makes the sound scores high at the true offset and low at all others; a place that merely
//! moves scores alike at all of them. The attention logit is therefore the log-likelihood ratio
//!
//! ```text
//! ℓ(y, x) = ln Σ_δ p(δ) exp(s·S[δ, y, x]) − μ ln mean_δ exp(s·S[δ, y, x]) − (1 − μ) ln mean_δ,y',x' exp(s·S[δ, y', x'])
//! ```
//!
//! of "in time with the sound, at an offset drawn from p" against two rivals in the proportion μ : 1 − μ: "this place at
//! any of the K shifts" and "any place at any shift". That is what the network was trained to tell apart (InfoNCE over
//! time shifts; Afouras et al. 2020, eq. 1, Chung & Zisserman 2016 for the shifts as negatives; and over the places of
//! many pictures). Against its own shifts alone (μ = 1) a place is judged without its neighbours, but noise of the
//! background passes for agreement; against all places alone (μ = 0) a lively face outshines a calm one. It is low where
//! nothing can be told, and does not say who is best but whether anybody is, so that "nobody" is an answer. (LWTNet's
//! softmax over space always points somewhere.) The engine's calibration, fitted on scenes with truth, turns ℓ into the
//! log-odds that the place speaks: `slope · ℓ + bias`.

#![expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "a few dozen offsets")]

use crate::geometry::MapGeometry;
use crate::net::ScoreSpec;
use crate::time::{SLOT, TimeDelta, Timestamp};
use serde::{Deserialize, Serialize};

/// Offsets reach this many slots to either side: ±600 ms.
pub const REACH: usize = 15;
/// How many offsets there are.
pub const OFFSETS: usize = 2 * REACH + 1;
/// Maps that may wait for their sound: the audio network's latency in slots, generously.
const WAITING: usize = 80;

/// Parameters of the attention stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AttentionConfig {
    /// Time constant of the mean over time, ms. Short is quick and noisy.
    pub memory_ms: f32,
    /// μ: how much a place is measured against itself at other shifts, the rest against the whole picture; 0…1.
    pub own_share: f32,
    /// How often the map is smoothed by a binomial 3 × 3 kernel. A network sees a mouth from all cells around it, and
    /// often best from beside it: smoothing brings the ring of peaks together in its middle.
    pub smoothing: u8,
}

impl Default for AttentionConfig {
    fn default() -> Self {
        Self { memory_ms: 700.0, own_share: 0.7, smoothing: 0 }
    }
}

/// Agreement of every cell with the sound at one moment.
#[derive(Clone, Copy, Debug)]
pub struct AttentionMap<'a> {
    /// When the slot begins, running time.
    pub start: Timestamp,
    /// Log-odds `[rows, cols]` that the place makes the sound, if one is heard at all.
    pub logits: &'a [f32],
    /// Where the cells lie in the source picture.
    pub geometry: MapGeometry,
}

/// The attention stage: push maps and sounds of the same slots (the map may come first), pull attention.
#[derive(Debug)]
pub struct Attention {
    geometry: MapGeometry,
    dim: usize,
    scale: f32,
    slope: f32,
    bias: f32,
    /// A slot's share of the running mean.
    gain: f32,
    own_share: f32,
    smoothing: u8,
    /// Video maps `[dim, cells]`, a ring by slot.
    maps: Vec<Vec<f32>>,
    /// Sound vectors `[dim]`, a ring by slot.
    sounds: Vec<Vec<f32>>,
    maps_seen: usize,
    sounds_seen: usize,
    done: usize,
    /// Running sums `[offset, cells]`, forgotten exponentially; divided by `weights` they are means.
    sums: Vec<f32>,
    /// How much each offset has been seen, 0…1: at the beginning of a stream the far ones have not.
    weights: [f32; OFFSETS],
    /// ln p(δ).
    log_prior: [f32; OFFSETS],
    zero: f32,
    spread: f32,
    row: Vec<f32>,
    base: Vec<f32>,
    with_prior: Vec<f32>,
    logits: Vec<f32>,
    peaks: [f32; OFFSETS],
}

impl Attention {
    /// For maps of `geometry` with `dim`-dimensional unit vectors.
    #[must_use]
    pub fn new(config: &AttentionConfig, score: &ScoreSpec, geometry: MapGeometry, dim: usize) -> Self {
        let cells = geometry.cells();
        let slot_ms = SLOT.as_ms_f64() as f32;
        let mut this = Self {
            geometry,
            dim,
            scale: score.scale,
            slope: score.slope,
            bias: score.bias,
            gain: 1.0 - (-slot_ms / config.memory_ms.max(slot_ms)).exp(),
            own_share: config.own_share.clamp(0.0, 1.0),
            smoothing: config.smoothing,
            maps: vec![vec![0.0; dim * cells]; REACH + 1 + WAITING],
            sounds: vec![vec![0.0; dim]; REACH + 1],
            maps_seen: 0,
            sounds_seen: 0,
            done: 0,
            sums: vec![0.0; OFFSETS * cells],
            weights: [0.0; OFFSETS],
            log_prior: [0.0; OFFSETS],
            zero: score.zero_ms / slot_ms,
            spread: (score.spread_ms / slot_ms).max(0.25),
            row: vec![0.0; cells],
            base: vec![0.0; cells],
            with_prior: vec![0.0; cells],
            logits: vec![0.0; cells],
            peaks: [0.0; OFFSETS],
        };
        this.set_offset(TimeDelta::ZERO);
        this
    }

    /// Looks for agreement around this measured offset (> 0: audio late) from now on.
    pub fn set_offset(&mut self, offset: TimeDelta) {
        let centre = self.zero + (offset.as_ms_f64() / SLOT.as_ms_f64()) as f32;
        let mut sum = 0.0;
        for (j, p) in self.log_prior.iter_mut().enumerate() {
            let d = (j as f32 - REACH as f32 - centre) / self.spread;
            *p = -0.5 * d * d;
            sum += p.exp();
        }
        for p in &mut self.log_prior {
            *p -= sum.ln();
        }
    }

    /// Takes the map `[dim, rows, cols]` of the next slot.
    pub fn push_map(&mut self, map: &[f32]) {
        let n = self.maps.len();
        self.maps[self.maps_seen % n].copy_from_slice(map);
        self.maps_seen += 1;
    }

    /// Takes the sound vector `[dim]` of the next slot.
    pub fn push_sound(&mut self, sound: &[f32]) {
        let n = self.sounds.len();
        self.sounds[self.sounds_seen % n].copy_from_slice(sound);
        self.sounds_seen += 1;
    }

    /// True when map and sound of the next slot are both here.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.done < self.maps_seen.min(self.sounds_seen)
    }

    /// The attention of the next slot whose map and sound are both here; `start` is that slot's.
    pub fn pull(&mut self, start: Timestamp) -> Option<AttentionMap<'_>> {
        self.advance()?;
        Some(self.map(start))
    }

    /// Takes the next slot into the running means; `None` while it is not [`Attention::ready`].
    pub fn advance(&mut self) -> Option<()> {
        if !self.ready() {
            return None;
        }
        let t = self.done;
        self.done += 1;
        // Every pair is scored when its later half arrives: nothing waits for the future.
        for back in 0..=REACH.min(t) {
            self.accumulate(t - back, t, REACH + back);
            if back > 0 {
                self.accumulate(t, t - back, REACH - back);
            }
        }
        self.weigh();
        Some(())
    }

    /// The attention of the slot last taken in, at the offset now expected.
    pub fn map(&mut self, start: Timestamp) -> AttentionMap<'_> {
        self.read_out();
        AttentionMap { start, logits: &self.logits, geometry: self.geometry }
    }

    /// Adds the agreement of the picture of slot `v` with the sound of slot `a` to the running mean at `offset`.
    fn accumulate(&mut self, v: usize, a: usize, offset: usize) {
        let cells = self.geometry.cells();
        let map = &self.maps[v % self.maps.len()];
        let sound = &self.sounds[a % self.sounds.len()];
        self.row.fill(0.0);
        for (plane, &s) in map.chunks_exact(cells).zip(sound) {
            for (r, &m) in self.row.iter_mut().zip(plane) {
                *r += s * m;
            }
        }
        for (sum, &r) in self.sums[offset * cells..][..cells].iter_mut().zip(&self.row) {
            *sum += self.gain * (r - *sum);
        }
        self.weights[offset] += self.gain * (1.0 - self.weights[offset]);
    }

    /// What a cell scores at any offset whatever: the value of an offset that has not been seen yet. Without it the
    /// offsets near zero, seen first, would stand out at the beginning of every stream.
    fn weigh(&mut self) {
        let cells = self.geometry.cells();
        self.base.fill(0.0);
        for sums in self.sums.chunks_exact(cells) {
            for (b, s) in self.base.iter_mut().zip(sums) {
                *b += s;
            }
        }
        let weight: f32 = self.weights.iter().sum();
        for b in &mut self.base {
            *b /= weight.max(f32::MIN_POSITIVE);
        }
        for ((peak, sums), w) in self.peaks.iter_mut().zip(self.sums.chunks_exact(cells)).zip(self.weights) {
            *peak = sums.iter().zip(&self.base).map(|(s, b)| s + (1.0 - w) * b).fold(f32::MIN, f32::max);
        }
    }

    fn read_out(&mut self) {
        let cells = self.geometry.cells();
        self.row.fill(0.0);
        self.with_prior.fill(0.0);
        // Taken off before the exponential, so that any scale fits an f32; it cancels in the ratios.
        let top = self.scale * self.peaks.iter().copied().fold(f32::MIN, f32::max);
        for (j, sums) in self.sums.chunks_exact(cells).enumerate() {
            let prior = self.log_prior[j].exp();
            let unseen = 1.0 - self.weights[j];
            let cells = sums.iter().zip(&self.base);
            for ((any, with), (sum, base)) in self.row.iter_mut().zip(&mut self.with_prior).zip(cells) {
                let e = (self.scale * (sum + unseen * base) - top).exp();
                *any += e;
                *with += prior * e;
            }
        }
        let everywhere = (self.row.iter().sum::<f32>() / (OFFSETS * cells) as f32).ln();
        let rival = (1.0 - self.own_share) * everywhere;
        for ((l, any), with) in self.logits.iter_mut().zip(&self.row).zip(&self.with_prior) {
            // What has underflowed is no candidate: some finite depth will do.
            let [with, own] = [*with, *any / OFFSETS as f32].map(|e| e.max(f32::MIN_POSITIVE).ln());
            *l = self.slope * (with - self.own_share * own - rival) + self.bias;
        }
        for _ in 0..self.smoothing {
            smooth(&mut self.logits, &mut self.row, self.geometry.cols);
        }
    }

    /// The highest mean score in the picture at every offset, −600…+600 ms in steps of a slot.
    #[must_use]
    pub fn offset_curve(&self) -> &[f32; OFFSETS] {
        &self.peaks
    }

    /// Waits for nothing: a map is pulled as soon as both its halves are pushed.
    #[must_use]
    pub fn latency(&self) -> TimeDelta {
        TimeDelta::ZERO
    }

    /// Forgets maps, sounds and scores.
    pub fn reset(&mut self) {
        self.maps_seen = 0;
        self.sounds_seen = 0;
        self.done = 0;
        self.sums.fill(0.0);
        self.weights = [0.0; OFFSETS];
        self.set_offset(TimeDelta::ZERO);
    }

    /// The engine's zero: the offset, in ms, that it answers for material in sync.
    #[must_use]
    pub fn zero_ms(&self) -> f32 {
        self.zero * SLOT.as_ms_f64() as f32
    }

    /// Dimensions of a vector.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.dim
    }
}

/// Binomial 3 × 3, in place; beyond the border lies the border.
fn smooth(map: &mut [f32], scratch: &mut [f32], cols: usize) {
    for (line, out) in map.chunks_exact(cols).zip(scratch.chunks_exact_mut(cols)) {
        for (x, o) in out.iter_mut().enumerate() {
            *o = 0.25 * (line[x.saturating_sub(1)] + 2.0 * line[x] + line[(x + 1).min(cols - 1)]);
        }
    }
    let rows = map.len().div_euclid(cols);
    for (y, out) in map.chunks_exact_mut(cols).enumerate() {
        let (above, below) = (y.saturating_sub(1) * cols, (y + 1).min(rows - 1) * cols);
        for (x, o) in out.iter_mut().enumerate() {
            *o = 0.25 * (scratch[above + x] + 2.0 * scratch[y * cols + x] + scratch[below + x]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCORE: ScoreSpec =
        ScoreSpec { scale: 20.0, zero_ms: 0.0, spread_ms: 40.0, sure: 0.1, nothing: 0.04, slope: 1.0, bias: 0.0 };
    const GEOMETRY: MapGeometry = MapGeometry { cols: 3, rows: 2, width: 300, height: 200 };

    /// Cell 4 shows the sound's own vectors `lag` slots earlier; the others show unrelated ones.
    fn run(lag: usize, offset: TimeDelta) -> (Vec<f32>, [f32; OFFSETS]) {
        let config = AttentionConfig { own_share: 1.0, ..AttentionConfig::default() };
        let mut a = Attention::new(&config, &SCORE, GEOMETRY, 8);
        a.set_offset(offset);
        let unit = |seed: usize| {
            let mut state = seed as u64 + 1;
            let mut next = || {
                state = (state ^ (state >> 29)).wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(0x1234_5678_9ABC_DEF1);
                (state >> 40) as f32 / (1 << 23) as f32 - 1.0
            };
            let v: Vec<f32> = (0..16).map(|_| next()).skip(8).collect();
            let n = v.iter().map(|x| x * x).sum::<f32>().sqrt();
            v.into_iter().map(|x| x / n).collect::<Vec<_>>()
        };
        for t in 0..200_usize {
            let mut map = vec![0.0; 8 * 6];
            for cell in 0..6 {
                let v = if cell == 4 { unit(t + lag) } else { unit(5000 * (cell + 1) + t) };
                for (d, x) in v.into_iter().enumerate() {
                    map[d * 6 + cell] = x;
                }
            }
            a.push_map(&map);
            assert!(a.pull(Timestamp::ZERO).is_none(), "no map without its sound");
            a.push_sound(&unit(t));
            assert!(a.pull(Timestamp::ZERO).is_some());
        }
        (a.logits.clone(), a.peaks)
    }

    #[test]
    fn the_sounding_cell_stands_out_at_its_offset() {
        for lag in [0_usize, 3] {
            let (logits, curve) = run(lag, SLOT * lag as i64);
            let best = (0..6).max_by(|&i, &j| logits[i].total_cmp(&logits[j])).unwrap();
            assert_eq!(best, 4);
            assert!(logits[4] > 1.5, "{logits:?}");
            assert!((0..6).filter(|&c| c != 4).all(|c| logits[c] < 0.7), "{logits:?}");
            let peak = (0..OFFSETS).max_by(|&i, &j| curve[i].total_cmp(&curve[j])).unwrap();
            // The picture shows now what will sound `lag` slots later: the audio is late.
            assert_eq!(peak, REACH + lag);
        }
    }

    #[test]
    fn smoothing_keeps_a_flat_map_and_spreads_a_point() {
        let mut scratch = [0.0; 12];
        let mut flat = [2.0; 12];
        smooth(&mut flat, &mut scratch, 4);
        assert_eq!(flat, [2.0; 12]);
        let mut point = [0.0; 12];
        point[5] = 16.0;
        smooth(&mut point, &mut scratch, 4);
        assert_eq!(point, [1.0, 2.0, 1.0, 0.0, 2.0, 4.0, 2.0, 0.0, 1.0, 2.0, 1.0, 0.0]);
    }

    #[test]
    fn agreement_far_from_the_expected_offset_is_none() {
        let (logits, _) = run(10, TimeDelta::ZERO);
        assert!(logits[4] < 0.0, "{logits:?}");
    }
}
