//! A/V sync of a programme: what the stretches of a [`SyncMeter`](crate::sync_meter::SyncMeter) say together.
//!
//! **Sign: > 0 means that the sound is late.** Every stretch s gives a likelihood p_s(δ) of the offset. In some of them
//! nobody who is seen is heard, whatever their curve looks like, so its evidence is that of a mixture (share ρ of strangers):
//!
//! ```text
//! g_s(δ) = κ ln(ρ + (1 − ρ) K p_s(δ)),    K: number of offsets;    nothing known: g = 0
//! ```
//!
//! κ makes the probabilities that come of it true ones (neighbouring stretches are no independent witnesses): fitted on
//! people never trained on. The course of the offset is the path of greatest evidence through all stretches
//! (Viterbi), which may creep by a step of the grid or jump, both at a price. Jumps divide the programme into
//! [`Segment`]s; in each of them a line is fitted, level unless a slope is far likelier: so drift is told from a step.

#![expect(clippy::cast_precision_loss, reason = "counts of stretches and offsets")]

use crate::peaks::vertex;
use crate::sync_meter::Stretch;
use crate::time::{SLOT, TimeDelta, Timestamp};
use serde::{Deserialize, Serialize};

/// How far an offset may be off and still count as right.
pub const TOLERANCE: TimeDelta = TimeDelta::from_ms(20);

/// Parameters of the estimate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EstimateConfig {
    /// κ: what a stretch's log-likelihood is worth.
    pub temperature: f64,
    /// ρ: share of stretches in which whoever is heard is not seen.
    pub strangers: f64,
    /// Standard deviation of the engine's own zero from talker to talker, ms: no measurement of one talker is surer.
    pub zero_spread_ms: f64,
    /// Price of a change of the offset by a step of the grid from one stretch to the next, nats.
    pub creep_cost: f64,
    /// Price of any other change, nats.
    pub jump_cost: f64,
    /// How much likelier a sloping line must be than a level one, nats.
    pub slope_gain: f64,
    /// Least change over a segment that is told as drift, ms.
    pub least_drift_ms: f64,
    /// Confidence below which nothing is told.
    pub least_confidence: f64,
    /// Probability that anybody visible was heard at all, even odds beforehand, below which nothing is told.
    pub least_somebody: f64,
    /// Seconds of visible speech below which nothing is told.
    pub least_judged_s: f64,
}

impl Default for EstimateConfig {
    fn default() -> Self {
        Self {
            temperature: 1.3,
            strangers: 0.3,
            zero_spread_ms: 9.0,
            creep_cost: 3.0,
            jump_cost: 11.0,
            slope_gain: 6.0,
            least_drift_ms: 20.0,
            least_confidence: 0.35,
            least_somebody: 0.5,
            least_judged_s: 1.0,
        }
    }
}

/// An offset with its uncertainty.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Offset {
    /// > 0: the sound is late.
    pub offset: TimeDelta,
    /// Probability that it is within [`TOLERANCE`] of the truth, 0…1.
    pub confidence: f64,
    /// One standard deviation, the engine's zero included.
    pub error: TimeDelta,
    /// It lies at the edge of what was looked for: the truth may lie beyond.
    pub at_edge: bool,
}

/// A stretch of the programme whose offset stays, or moves evenly.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Segment {
    /// Start.
    pub start: Timestamp,
    /// End.
    pub end: Timestamp,
    /// In its middle; `None`: can't tell.
    pub offset: Option<Offset>,
    /// Change of the offset, ms a minute; 0 where none stands out.
    pub drift_ms_per_min: f64,
    /// Seconds in which somebody visible seems to have spoken.
    pub judged_s: f64,
}

/// The offset about one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Middle of the stretch.
    pub at: Timestamp,
    /// From the stretches around it.
    pub offset: Offset,
}

/// What is known of a programme.
#[derive(Clone, Debug, PartialEq)]
pub struct Estimate {
    /// Of the whole, the offset that serves most of it; `None`: can't tell.
    pub offset: Option<Offset>,
    /// Seconds in which somebody visible seems to have spoken.
    pub judged_s: f64,
    /// By jumps.
    pub segments: Vec<Segment>,
    /// The course, where somebody spoke.
    pub points: Vec<Point>,
}

/// Stretches to either side of one whose evidence makes a point of the course.
const AROUND: usize = 4;

/// The evidence of one stretch: g over the grid.
struct Evidence {
    start: Timestamp,
    length: TimeDelta,
    g: Vec<f64>,
}

impl Evidence {
    fn middle(&self) -> Timestamp {
        self.start + TimeDelta::from_ns(self.length.ns().div_euclid(2))
    }

    /// g at a place between the grid's points.
    fn at(&self, k: f64) -> f64 {
        let last = self.g.len() - 1;
        let k = k.clamp(0.0, last as f64);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the grid")]
        let low = (k.floor() as usize).min(last.saturating_sub(1));
        let part = k - low as f64;
        self.g[low] + part * (self.g[(low + 1).min(last)] - self.g[low])
    }
}

/// Estimates a programme from its stretches, in order of time. `zero_ms`: what the engine answers for material in sync;
/// `reach`: the offsets of the curves run from −reach to +reach.
#[must_use]
pub fn estimate(stretches: &[Stretch], zero_ms: f64, reach: TimeDelta, config: &EstimateConfig) -> Estimate {
    let grid = Grid::new(stretches.first().map_or(0, |s| s.curve.len()), zero_ms, reach, config);
    let evidence: Vec<Evidence> = stretches.iter().map(|s| grid.evidence(s)).collect();
    if evidence.is_empty() {
        return Estimate { offset: None, judged_s: 0.0, segments: Vec::new(), points: Vec::new() };
    }
    let path = grid.course(&evidence);
    let mut segments = Vec::new();
    let mut odds = config.jump_cost; // of somebody against nobody, ln
    let mut first = 0;
    for i in 1..=path.len() {
        if i == path.len() || path[i].abs_diff(path[i - 1]) > 1 {
            let (segment, gain) = grid.segment(&evidence[first..i]);
            segments.push(segment);
            odds += gain - config.jump_cost;
            first = i;
        }
    }
    let judged_s = segments.iter().map(|s| s.judged_s).sum();
    let whole = grid.offset(&grid.total(&evidence, 0.0));
    let somebody = 1.0 / (1.0 + (-odds).exp()) >= config.least_somebody;
    let mut points = Vec::with_capacity(evidence.len());
    let (mut from, mut to) = (0, 0);
    for (i, e) in evidence.iter().enumerate() {
        // The stretches of the same segment around this one.
        if i == to {
            from = i;
            to = (i + 1..path.len()).find(|&j| path[j].abs_diff(path[j - 1]) > 1).unwrap_or(path.len());
        }
        let near = &evidence[i.saturating_sub(AROUND).max(from)..(i + AROUND + 1).min(to)];
        if grid.heard(e, path[i] as f64) > 0.5 {
            points.push(Point { at: e.middle(), offset: grid.offset(&grid.total(near, 0.0)) });
        }
    }
    let sure = somebody && whole.confidence >= config.least_confidence && judged_s >= config.least_judged_s;
    if !sure {
        // Segments of a programme that says nothing say nothing: they were cut out of noise.
        segments.iter_mut().for_each(|s: &mut Segment| s.offset = s.offset.filter(|_| somebody));
    }
    Estimate { offset: sure.then_some(whole), judged_s, segments, points }
}

/// How much likelier an evidence is if somebody was heard at some offset, none favoured, than if nobody was: ln.
fn gain(total: &[f64]) -> f64 {
    let top = top(total);
    top + (total.iter().map(|t| (t - top).exp()).sum::<f64>() / total.len() as f64).ln()
}

/// The offsets looked for.
struct Grid<'a> {
    count: usize,
    step_ms: f64,
    first_ms: f64,
    config: &'a EstimateConfig,
}

impl<'a> Grid<'a> {
    fn new(count: usize, zero_ms: f64, reach: TimeDelta, config: &'a EstimateConfig) -> Self {
        let reach_ms = reach.as_ms_f64();
        let step_ms = if count > 1 { 2.0 * reach_ms / (count - 1) as f64 } else { 1.0 };
        Self { count, step_ms, first_ms: -reach_ms - zero_ms, config }
    }

    fn evidence(&self, s: &Stretch) -> Evidence {
        let top = s.curve.iter().copied().fold(f32::MIN, f32::max);
        let sum: f64 = s.curve.iter().map(|c| f64::from(c - top).exp()).sum();
        let c = self.config;
        let g = s.curve.iter().map(|v| {
            let ratio = self.count as f64 * f64::from(v - top).exp() / sum;
            c.temperature * (c.strangers + (1.0 - c.strangers) * ratio).ln()
        });
        let on_the_slots =
            Evidence { start: s.start, length: SLOT * i64::try_from(s.slots).unwrap_or(0), g: g.collect() };
        // Where the pictures are older than their slots, an offset shows in the curve as one that is lower by as much.
        let steps = f64::from(s.picture_lag_ms) / self.step_ms;
        if steps == 0.0 {
            return on_the_slots;
        }
        let g = (0..self.count).map(|k| on_the_slots.at(k as f64 - steps)).collect();
        Evidence { g, ..on_the_slots }
    }

    /// How much a stretch speaks for somebody visible heard at place `k` of the grid, 0…1: nothing where that is no likelier
    /// than at any other place.
    fn heard(&self, e: &Evidence, k: f64) -> f64 {
        (1.0 - (-e.at(k) / self.config.temperature).exp()).clamp(0.0, 1.0)
    }

    /// The course of the offset, as places on the grid: Viterbi.
    fn course(&self, evidence: &[Evidence]) -> Vec<usize> {
        let (n, c) = (self.count, self.config);
        let mut total = vec![0.0; n];
        let mut back: Vec<Vec<u32>> = Vec::with_capacity(evidence.len());
        for e in evidence {
            let best = (0..n).max_by(|&a, &b| f64::total_cmp(&total[a], &total[b])).unwrap_or(0);
            let mut came = Vec::with_capacity(n);
            let mut next = Vec::with_capacity(n);
            for k in 0..n {
                let mut choice = (k, total[k]);
                let others =
                    [(k.saturating_sub(1), c.creep_cost), ((k + 1).min(n - 1), c.creep_cost), (best, c.jump_cost)];
                for (from, cost) in others {
                    if total[from] - cost > choice.1 {
                        choice = (from, total[from] - cost);
                    }
                }
                came.push(u32::try_from(choice.0).unwrap_or(0));
                next.push(choice.1 + e.g[k]);
            }
            back.push(came);
            total = next;
        }
        let mut at = (0..n).max_by(|&a, &b| total[a].total_cmp(&total[b])).unwrap_or(0);
        let mut path = vec![at; evidence.len()];
        for i in (1..evidence.len()).rev() {
            at = back[i][at] as usize;
            path[i - 1] = at;
        }
        path
    }

    /// Evidence of all for each offset in their middle, if it changes by `steps` of the grid from the first to the last.
    fn total(&self, evidence: &[Evidence], steps: f64) -> Vec<f64> {
        let mut sum = vec![0.0; self.count];
        let (Some(first), Some(last)) = (evidence.first(), evidence.last()) else { return sum };
        let span = (last.middle() - first.middle()).as_s_f64().max(1e-9);
        for e in evidence {
            let part = (e.middle() - first.middle()).as_s_f64() / span - 0.5;
            for (k, s) in sum.iter_mut().enumerate() {
                *s += if steps == 0.0 { e.g[k] } else { e.at(k as f64 + steps * part) };
            }
        }
        sum
    }

    /// The likeliest offset of an evidence, refined between the grid's points.
    fn offset(&self, total: &[f64]) -> Offset {
        let best = (0..total.len()).max_by(|&a, &b| total[a].total_cmp(&total[b])).unwrap_or(0);
        // The neighbours 20 ms away: the peak is wider than a step, and its top is noisy.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few steps")]
        let apart = (20.0 / self.step_ms).round().max(1.0) as usize;
        let at_edge = best < 2 * apart || best + 2 * apart >= total.len();
        let part = if best >= apart && best + apart < total.len() {
            #[expect(clippy::cast_possible_truncation, reason = "differences of log-likelihoods")]
            let [before, here, after] = [best - apart, best, best + apart].map(|k| (total[k] - total[best]) as f32);
            f64::from(vertex(before, here, after)) * apart as f64
        } else {
            0.0
        };
        let ms = self.first_ms + (best as f64 + part) * self.step_ms;
        let (mut mass, mut within, mut second) = (0.0, 0.0, 0.0);
        let spread = self.config.zero_spread_ms;
        for (k, t) in total.iter().enumerate() {
            let p = (t - total[best]).exp();
            let off = self.first_ms + k as f64 * self.step_ms - ms;
            mass += p;
            within += p * normal_within(off, TOLERANCE.as_ms_f64(), spread);
            second += p * off * off;
        }
        let error_ms = (second / mass + spread * spread).sqrt();
        Offset { offset: from_ms(ms), confidence: within / mass, error: from_ms(error_ms), at_edge }
    }

    /// The slope of the likeliest line, in steps of the grid from the first stretch to the last: 0 where none reaches an
    /// evidence of `least`. Refined as [`Self::offset`] is: the top of the evidence is wide, and noisy.
    fn slope(&self, evidence: &[Evidence], least: f64) -> f64 {
        // A slope needs time to show, and halves of a step are fine enough to find the top by.
        if evidence.len() < 20 {
            return 0.0;
        }
        let of = |half: i32| top(&self.total(evidence, 0.5 * f64::from(half)));
        #[expect(clippy::cast_possible_truncation, reason = "a few steps")]
        let least_halves = (2.0 * self.config.least_drift_ms / self.step_ms).ceil() as i32;
        let steep = (-MOST_HALVES..=MOST_HALVES).filter(|h| h.abs() >= least_halves).map(|h| (h, of(h)));
        let Some((half, best)) = steep.max_by(|a, b| a.1.total_cmp(&b.1)).filter(|&(_, best)| best > least) else {
            return 0.0;
        };
        #[expect(clippy::cast_possible_truncation, reason = "differences of log-likelihoods")]
        let [before, after] = [half - APART_HALVES, half + APART_HALVES].map(|h| (of(h) - best) as f32);
        0.5 * (f64::from(half) + f64::from(vertex(before, 0.0, after)) * f64::from(APART_HALVES))
    }

    /// One segment, a level line or a sloping one, and the [`gain`] of its evidence.
    fn segment(&self, evidence: &[Evidence]) -> (Segment, f64) {
        let (first, last) = (&evidence[0], &evidence[evidence.len() - 1]);
        let (start, end) = (first.start, last.start + last.length);
        let span_ms = (last.middle() - first.middle()).as_ms_f64();
        let c = self.config;
        let level = self.total(evidence, 0.0);
        let steps = self.slope(evidence, top(&level) + c.slope_gain);
        let total = if steps == 0.0 { level } else { self.total(evidence, steps) };
        let offset = self.offset(&total);
        let place = (offset.offset.as_ms_f64() - self.first_ms) / self.step_ms;
        let judged_s = evidence
            .iter()
            .map(|e| {
                let part = (e.middle() - first.middle()).as_ms_f64() / span_ms.max(1.0) - 0.5;
                e.length.as_s_f64() * self.heard(e, place + steps * part)
            })
            .sum();
        let drift_ms_per_min = if steps == 0.0 { 0.0 } else { steps * self.step_ms / (span_ms / 60_000.0) };
        let sure = offset.confidence >= c.least_confidence && judged_s >= c.least_judged_s;
        (Segment { start, end, offset: sure.then_some(offset), drift_ms_per_min, judged_s }, gain(&total))
    }
}

/// The steepest drift looked for, in halves of the grid's step over a segment.
const MOST_HALVES: i32 = 80;

/// Neighbours between which the top of a slope's evidence is refined: 40 ms, in halves of a step of 10 ms.
const APART_HALVES: i32 = 8;

/// The greatest evidence.
fn top(total: &[f64]) -> f64 {
    total.iter().copied().fold(f64::MIN, f64::max)
}

fn from_ms(ms: f64) -> TimeDelta {
    #[expect(clippy::cast_possible_truncation, reason = "some seconds")]
    TimeDelta::from_ns((ms * 1e6).round() as i64)
}

/// Probability that a normal variable of mean `mean` and standard deviation `sd` lies within ±`limit`.
fn normal_within(mean: f64, limit: f64, sd: f64) -> f64 {
    if sd <= 0.0 {
        return f64::from(u8::from(mean.abs() <= limit));
    }
    normal_below((limit - mean) / sd) - normal_below((-limit - mean) / sd)
}

/// The normal distribution, to 1e-7 (Abramowitz and Stegun 1964, 26.2.17).
fn normal_below(x: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * x.abs());
    let poly =
        t * (0.319_381_530 + t * (-0.356_563_782 + t * (1.781_477_937 + t * (-1.821_255_978 + t * 1.330_274_429))));
    let tail = (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt() * poly;
    if x >= 0.0 { 1.0 - tail } else { tail }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::PxPoint;
    use proptest::prelude::*;

    const REACH: TimeDelta = TimeDelta::from_ms(600);

    /// A stretch whose curve is a bell of `height` nats at `ms`, with noise.
    fn stretch(i: usize, ms: f64, height: f64, seed: u64) -> Stretch {
        let mut s = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (i as u64 + 1).wrapping_mul(0xD1B5_4A32_D192_ED03);
        let mut noise = || {
            s ^= s << 13;
            s ^= s >> 7;
            s ^= s << 17;
            (s >> 40) as f64 / (1 << 24) as f64 - 0.5
        };
        let curve = (0..121).map(|k| {
            let d = (f64::from(k) * 10.0 - 600.0 - ms) / 45.0;
            (height * (-0.5 * d * d).exp() + 0.6 * noise()) as f32
        });
        Stretch {
            start: Timestamp::from_ms(i as i64 * 1000),
            slots: 25,
            curve: curve.collect(),
            picture_lag_ms: 0.0,
            place: PxPoint::default(),
            objects: true,
        }
    }

    fn programme(count: usize, seed: u64, ms: impl Fn(usize) -> Option<f64>) -> Estimate {
        let stretches: Vec<_> = (0..count)
            .map(|i| stretch(i, ms(i).unwrap_or(0.0), if ms(i).is_some() { 6.0 } else { 0.0 }, seed))
            .collect();
        estimate(&stretches, -40.0, REACH, &EstimateConfig::default())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn one_offset_is_found_whatever_strangers_say(ms in -500.0..450.0_f64, seed in 0_u64..1000) {
            let got = programme(30, seed, |i| (i % 3 != 0).then_some(ms));
            let offset = got.offset.unwrap();
            prop_assert!((offset.offset.as_ms_f64() - ms - 40.0).abs() < 4.0, "{offset:?}");
            prop_assert!(offset.confidence > 0.8 && !offset.at_edge);
            prop_assert_eq!(got.segments.len(), 1);
            prop_assert_eq!(got.segments[0].drift_ms_per_min, 0.0);
            prop_assert!((14.0..=22.0).contains(&got.judged_s), "{}", got.judged_s);
        }

        #[test]
        fn a_step_divides_and_a_drift_does_not(seed in 0_u64..1000, step in 60.0..200.0_f64, drift in 30.0..90.0_f64) {
            let got = programme(40, seed, |i| Some(if i < 17 { 0.0 } else { step }));
            prop_assert_eq!(got.segments.len(), 2, "{:?}", got.segments);
            let boundary = got.segments[1].start.ns().div_euclid(1_000_000_000);
            prop_assert!((16..=18).contains(&boundary), "{}", boundary);
            let [a, b] = [0, 1].map(|k| got.segments[k].offset.unwrap().offset.as_ms_f64());
            prop_assert!((b - a - step).abs() < 5.0);

            let got = programme(120, seed, |i| Some(drift * (i as f64 - 60.0) / 60.0));
            prop_assert_eq!(got.segments.len(), 1, "{:?}", got.segments);
            let told = got.segments[0].drift_ms_per_min;
            prop_assert!((told - drift).abs() < 4.0, "{} for {}", told, drift);
            prop_assert!((got.segments[0].offset.unwrap().offset.as_ms_f64() - 40.0).abs() < 5.0);
        }

        #[test]
        fn nobody_is_no_offset(seed in 0_u64..1000) {
            let got = programme(20, seed, |_| None);
            prop_assert!(got.offset.is_none(), "{:?}", got.offset);
        }
    }

    #[test]
    fn stretches_whose_pictures_are_older_than_their_slots_say_the_same() {
        // Half of the programme's pictures fall 19 ms after the slots: its curves are as much lower.
        let lag = |i: usize| if i < 15 { 0.0 } else { 19.0 };
        let stretches: Vec<_> =
            (0..30).map(|i| Stretch { picture_lag_ms: lag(i) as f32, ..stretch(i, 100.0 - lag(i), 6.0, 1) }).collect();
        let got = estimate(&stretches, -40.0, REACH, &EstimateConfig::default());
        let offset = got.offset.unwrap();
        assert!((offset.offset.as_ms_f64() - 140.0).abs() < 4.0 && got.segments.len() == 1, "{got:?}");
    }

    #[test]
    fn an_offset_at_the_edge_is_told_as_such_and_nothing_gives_nothing() {
        let got = programme(30, 1, |_| Some(598.0));
        assert!(got.offset.unwrap().at_edge);
        let none = estimate(&[], 0.0, REACH, &EstimateConfig::default());
        assert!(none.offset.is_none() && none.segments.is_empty());
    }

    #[test]
    fn the_normal_distribution() {
        for (x, p) in [(0.0, 0.5), (1.0, 0.841_344_7), (-1.96, 0.024_997_9), (3.0, 0.998_650_1)] {
            assert!((normal_below(x) - p).abs() < 1e-6, "{x}");
        }
        assert!((normal_within(0.0, 20.0, 10.0) - 0.954_5).abs() < 1e-4);
        assert!((normal_within(5.0, 20.0, 0.0) - 1.0).abs() < 1e-12);
    }
}
