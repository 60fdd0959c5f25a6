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
//!
//! **Aggregation.** A place is followed by optical flow: the running means of all offsets are carried along,
//! A_t = γ · warp(A_{t−1}) + (1 − γ) · S_t, and so is the picture of an earlier slot that is heard only now (its
//! displacement is kept, not its map, so nothing blurs). Where nothing can be followed a cell keeps what it has, and forgets it
//! at the usual pace: to begin anew there was measured to be worse, as lips are hard to follow. After a cut everything begins
//! anew.

#![expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "a few dozen offsets")]

use crate::flow::sample;
use crate::geometry::MapGeometry;
use crate::motion::CellMotion;
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
    /// Offset about which agreement is looked for until it is measured, ms, > 0: the sound is late. A device's own.
    pub expected_ms: f32,
    /// How far from there, ms, one standard deviation; the engine's own spread where not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spread_ms: Option<f32>,
}

impl Default for AttentionConfig {
    fn default() -> Self {
        Self { memory_ms: 700.0, own_share: 0.7, smoothing: 0, expected_ms: 0.0, spread_ms: None }
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

/// Attention with what it was made of, for the stages that make objects of it.
#[derive(Clone, Copy, Debug)]
pub struct Attended<'a> {
    /// The map.
    pub map: AttentionMap<'a>,
    /// What its logits were read from.
    pub scores: &'a Scores,
    /// How the cells moved since the slot before.
    pub motion: &'a CellMotion,
    /// The video map `[dim, rows, cols]` of the slot.
    pub embeddings: &'a [f32],
}

/// Mean scores of all cells over offsets, and how they are read.
#[derive(Clone, Debug)]
pub struct Scores {
    /// `[OFFSETS, cells]`, from −600 ms in steps of a slot.
    means: Vec<f32>,
    cells: usize,
    scale: f32,
    slope: f32,
    bias: f32,
    own_share: f32,
    log_prior: [f32; OFFSETS],
    /// ln mean exp(s·S) over all places and shifts, times what its share as a rival is.
    rival: f32,
}

impl Scores {
    /// Scores of a map that says nothing, for tests of what comes after.
    #[cfg(test)]
    pub(crate) fn none(cells: usize) -> Self {
        let score =
            ScoreSpec { scale: 1.0, zero_ms: 0.0, spread_ms: 40.0, sure: 0.1, nothing: 0.0, slope: 1.0, bias: 0.0 };
        Self::new(&AttentionConfig::default(), &score, cells)
    }

    fn new(config: &AttentionConfig, score: &ScoreSpec, cells: usize) -> Self {
        Self {
            means: vec![0.0; OFFSETS * cells],
            cells,
            scale: score.scale,
            slope: score.slope,
            bias: score.bias,
            own_share: config.own_share.clamp(0.0, 1.0),
            log_prior: [0.0; OFFSETS],
            rival: 0.0,
        }
    }

    /// A cell's mean score at every offset, −600…+600 ms in steps of a slot.
    #[must_use]
    pub fn curve(&self, cell: usize) -> [f32; OFFSETS] {
        std::array::from_fn(|j| self.means[j * self.cells + cell])
    }

    /// ln p(δ) of the offset that is expected of anything in the picture.
    #[must_use]
    pub fn log_prior(&self) -> &[f32; OFFSETS] {
        &self.log_prior
    }

    /// Natural units of a score: what a difference counts for in a log-likelihood.
    #[must_use]
    pub fn scale(&self) -> f32 {
        self.scale
    }

    /// The attention logit of a cell whose offset is known as `log_p`.
    #[must_use]
    pub fn logit(&self, cell: usize, log_p: &[f32; OFFSETS]) -> f32 {
        let curve = self.curve(cell);
        let top = curve.iter().copied().fold(f32::MIN, f32::max);
        let (mut with, mut own) = (0.0, 0.0);
        for (c, p) in curve.iter().zip(log_p) {
            let e = (self.scale * (c - top)).exp();
            own += e;
            with += p.exp() * e;
        }
        let [with, own] = [with, own / OFFSETS as f32].map(|e: f32| e.max(f32::MIN_POSITIVE).ln() + self.scale * top);
        self.slope * (with - self.own_share * own - self.rival) + self.bias
    }
}

/// Where the cells of the present slot lay in an earlier one.
#[derive(Clone, Debug)]
struct Path {
    dx: Vec<f32>,
    dy: Vec<f32>,
    still: bool,
}

/// The attention stage: push maps and sounds of the same slots (the map may come first), pull attention.
#[derive(Debug)]
pub struct Attention {
    geometry: MapGeometry,
    dim: usize,
    /// A slot's share of the running mean.
    gain: f32,
    smoothing: u8,
    /// Pictures before and after its own that a map shows.
    half_stack: usize,
    /// Video maps `[dim, cells]`, a ring by slot.
    maps: Vec<Vec<f32>>,
    /// Sound vectors `[dim]`, a ring by slot.
    sounds: Vec<Vec<f32>>,
    maps_seen: usize,
    sounds_seen: usize,
    done: usize,
    /// The slot with which the present shot begins.
    shot: usize,
    /// Since each slot, a ring as long as that of the sounds.
    paths: Vec<Path>,
    /// Running sums `[offset, cells]`, forgotten exponentially; divided by `seen` they are means.
    sums: Vec<f32>,
    /// How much of each has been seen, 0…1: at the beginning of a stream the far offsets have not.
    seen: Vec<f32>,
    scores: Scores,
    zero: f32,
    spread: f32,
    expected: TimeDelta,
    row: Vec<f32>,
    base: Vec<f32>,
    logits: Vec<f32>,
    peaks: [f32; OFFSETS],
}

impl Attention {
    /// For maps of `geometry` with `dim`-dimensional unit vectors, each of which shows its own picture and `half_stack`
    /// before and after it.
    #[must_use]
    pub fn new(
        config: &AttentionConfig,
        score: &ScoreSpec,
        geometry: MapGeometry,
        dim: usize,
        half_stack: usize,
    ) -> Self {
        let cells = geometry.cells();
        let slot_ms = SLOT.as_ms_f64() as f32;
        let mut this = Self {
            geometry,
            dim,
            gain: 1.0 - (-slot_ms / config.memory_ms.max(slot_ms)).exp(),
            smoothing: config.smoothing,
            half_stack,
            maps: vec![vec![0.0; dim * cells]; REACH + 1 + WAITING],
            sounds: vec![vec![0.0; dim]; REACH + 1],
            maps_seen: 0,
            sounds_seen: 0,
            done: 0,
            shot: 0,
            paths: vec![Path { dx: vec![0.0; cells], dy: vec![0.0; cells], still: true }; REACH + 1],
            sums: vec![0.0; OFFSETS * cells],
            seen: vec![0.0; OFFSETS * cells],
            scores: Scores::new(config, score, cells),
            zero: score.zero_ms / slot_ms,
            spread: (config.spread_ms.unwrap_or(score.spread_ms) / slot_ms).max(0.25),
            expected: TimeDelta::from_ns((f64::from(config.expected_ms) * 1e6) as i64),
            row: vec![0.0; cells],
            base: vec![0.0; cells],
            logits: vec![0.0; cells],
            peaks: [0.0; OFFSETS],
        };
        this.set_offset(this.expected);
        this
    }

    /// Looks for agreement around this measured offset (> 0: audio late) from now on.
    pub fn set_offset(&mut self, offset: TimeDelta) {
        let centre = self.zero + (offset.as_ms_f64() / SLOT.as_ms_f64()) as f32;
        let mut sum = 0.0;
        for (j, p) in self.scores.log_prior.iter_mut().enumerate() {
            let d = (j as f32 - REACH as f32 - centre) / self.spread;
            *p = -0.5 * d * d;
            sum += p.exp();
        }
        for p in &mut self.scores.log_prior {
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

    /// The attention of the next slot whose map and sound are both here; `start` is that slot's, `motion` what moved from
    /// the slot before it.
    pub fn pull<'a>(&'a mut self, start: Timestamp, motion: &'a CellMotion) -> Option<Attended<'a>> {
        self.advance(motion)?;
        Some(self.map(start, motion))
    }

    /// Takes the next slot into the running means; `None` while it is not [`Attention::ready`].
    pub fn advance(&mut self, motion: &CellMotion) -> Option<()> {
        if !self.ready() {
            return None;
        }
        let t = self.done;
        self.done += 1;
        if motion.cut {
            self.shot = t + self.half_stack;
            self.sums.fill(0.0);
            self.seen.fill(0.0);
        } else if !motion.still {
            self.follow(t, motion);
        }
        let path = &mut self.paths[t % (REACH + 1)];
        path.still = true;
        // Every pair is scored when its later half arrives: nothing waits for the future.
        for back in 0..=REACH.min(t) {
            self.accumulate(t - back, t, REACH + back);
            if back > 0 {
                self.accumulate(t, t - back, REACH - back);
            }
        }
        self.average();
        Some(())
    }

    /// The video map `[dim, rows, cols]` of the slot last taken in.
    #[must_use]
    pub fn last_map(&self) -> &[f32] {
        &self.maps[(self.done + self.maps.len() - 1) % self.maps.len()]
    }

    /// The attention of the slot last taken in, at the offset now expected; `motion` is that slot's.
    pub fn map<'a>(&'a mut self, start: Timestamp, motion: &'a CellMotion) -> Attended<'a> {
        self.read_out();
        let map = AttentionMap { start, logits: &self.logits, geometry: self.geometry };
        Attended { map, scores: &self.scores, motion, embeddings: self.last_map() }
    }

    /// Carries sums and paths along to slot `t`.
    fn follow(&mut self, t: usize, motion: &CellMotion) {
        let (cols, cells) = (self.geometry.cols, self.geometry.cells());
        for plane in self.sums.chunks_exact_mut(cells).chain(self.seen.chunks_exact_mut(cells)) {
            warp(plane, cols, motion, &mut self.row);
            plane.copy_from_slice(&self.row);
        }
        for back in 1..=REACH.min(t) {
            let path = &mut self.paths[(t - back) % (REACH + 1)];
            if path.still {
                path.dx.copy_from_slice(&motion.dx);
                path.dy.copy_from_slice(&motion.dy);
                path.still = false;
                continue;
            }
            for (plane, step) in [(&mut path.dx, &motion.dx), (&mut path.dy, &motion.dy)] {
                warp(plane, cols, motion, &mut self.row);
                for ((p, &r), &m) in plane.iter_mut().zip(&self.row).zip(step) {
                    *p = r + m;
                }
            }
        }
    }

    /// Adds the agreement of the picture of slot `v` with the sound of slot `a` to the running mean at `offset`.
    fn accumulate(&mut self, v: usize, a: usize, offset: usize) {
        let (cols, cells) = (self.geometry.cols, self.geometry.cells());
        let map = &self.maps[v % self.maps.len()];
        let sound = &self.sounds[a % self.sounds.len()];
        let sums = &mut self.sums[offset * cells..][..cells];
        let seen = &mut self.seen[offset * cells..][..cells];
        // What was before a cut is of another picture.
        if v < self.shot {
            return;
        }
        self.row.fill(0.0);
        for (plane, &s) in map.chunks_exact(cells).zip(sound) {
            for (r, &m) in self.row.iter_mut().zip(plane) {
                *r += s * m;
            }
        }
        let path = &self.paths[v % self.paths.len()];
        if path.still {
            for ((sum, seen), r) in sums.iter_mut().zip(seen).zip(&self.row) {
                *sum += self.gain * (r - *sum);
                *seen += self.gain * (1.0 - *seen);
            }
            return;
        }
        for i in 0..cells {
            let (x, y) = ((i % cols) as f32 + path.dx[i], i.div_euclid(cols) as f32 + path.dy[i]);
            sums[i] += self.gain * (sample(&self.row, cols, x, y) - sums[i]);
            seen[i] += self.gain * (1.0 - seen[i]);
        }
    }

    /// Means from sums. What has not been seen of an offset counts as the cell's mean over all offsets: without that the
    /// offsets near zero, seen first, would stand out at the beginning of every stream.
    fn average(&mut self) {
        let cells = self.geometry.cells();
        self.base.fill(0.0);
        self.row.fill(0.0);
        for (sums, seen) in self.sums.chunks_exact(cells).zip(self.seen.chunks_exact(cells)) {
            for ((b, s), (r, w)) in self.base.iter_mut().zip(sums).zip(self.row.iter_mut().zip(seen)) {
                *b += s;
                *r += w;
            }
        }
        for (b, w) in self.base.iter_mut().zip(&self.row) {
            *b /= w.max(f32::MIN_POSITIVE);
        }
        let planes = self.sums.chunks_exact(cells).zip(self.seen.chunks_exact(cells));
        for ((means, (sums, seen)), peak) in self.scores.means.chunks_exact_mut(cells).zip(planes).zip(&mut self.peaks)
        {
            for (((m, s), w), b) in means.iter_mut().zip(sums).zip(seen).zip(&self.base) {
                *m = s + (1.0 - w) * b;
            }
            *peak = means.iter().copied().fold(f32::MIN, f32::max);
        }
    }

    fn read_out(&mut self) {
        let cells = self.geometry.cells();
        let Scores { means, scale, slope, bias, own_share, log_prior, rival, .. } = &mut self.scores;
        self.row.fill(0.0);
        self.base.fill(0.0);
        let with_prior = &mut self.base;
        // Taken off before the exponential, so that any scale fits an f32; it cancels in the ratios.
        let top = *scale * self.peaks.iter().copied().fold(f32::MIN, f32::max);
        for (means, prior) in means.chunks_exact(cells).zip(&*log_prior) {
            let prior = prior.exp();
            for ((any, with), mean) in self.row.iter_mut().zip(&mut *with_prior).zip(means) {
                let e = (*scale * mean - top).exp();
                *any += e;
                *with += prior * e;
            }
        }
        let everywhere = (self.row.iter().sum::<f32>() / (OFFSETS * cells) as f32).ln();
        *rival = (1.0 - *own_share) * (everywhere + top);
        let rival = *rival - (1.0 - *own_share) * top;
        for ((l, any), with) in self.logits.iter_mut().zip(&self.row).zip(&*with_prior) {
            // What has underflowed is no candidate: some finite depth will do.
            let [with, own] = [*with, *any / OFFSETS as f32].map(|e| e.max(f32::MIN_POSITIVE).ln());
            *l = *slope * (with - *own_share * own - rival) + *bias;
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
        self.shot = 0;
        self.sums.fill(0.0);
        self.seen.fill(0.0);
        self.set_offset(self.expected);
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

/// Every cell's value at the place that it came from.
fn warp(plane: &[f32], cols: usize, motion: &CellMotion, out: &mut [f32]) {
    for (i, o) in out.iter_mut().enumerate() {
        let (dx, dy) = motion.shift(i);
        *o = sample(plane, cols, (i % cols) as f32 + dx, i.div_euclid(cols) as f32 + dy);
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
        let mut a = Attention::new(&config, &SCORE, GEOMETRY, 8, 2);
        let still = CellMotion::still(3, 2);
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
            assert!(a.pull(Timestamp::ZERO, &still).is_none(), "no map without its sound");
            a.push_sound(&unit(t));
            assert!(a.pull(Timestamp::ZERO, &still).is_some());
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
