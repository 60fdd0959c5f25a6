//! A/V offset: where the curve of agreement over time shifts has its peak.
//!
//! **Sign: > 0 means that the sound is late** (lags the picture). The curve is the highest mean score in the picture at
//! every shift, forgotten over some ten seconds; its peak is refined below a slot by a parabola; the height of the peak
//! over the curve's median says how sure it is (SyncNet's confidence, Chung & Zisserman 2016, on calibrated scores).

#![expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "a few dozen offsets")]

use crate::attention::{OFFSETS, REACH};
use crate::net::ScoreSpec;
use crate::peaks::vertex;
use crate::time::{SLOT, TimeDelta};

/// Slots over which the curve is forgotten: ten seconds.
const MEMORY_SLOTS: f32 = 250.0;
/// Slots of sound before an offset is told at all: two seconds.
const FEWEST_SLOTS: u32 = 50;

/// A picture that is older than this is held while nothing moves, and says nothing of the others.
pub(crate) const MOST_LAG: TimeDelta = TimeDelta::from_ms(120);

/// An estimated offset between sound and picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AvOffset {
    /// > 0: the sound is late.
    pub offset: TimeDelta,
    /// The same before the pictures' mean age is taken into account: the shift at which picture and sound of the
    /// slots agree best, the engine's zero taken off.
    pub on_the_slots: TimeDelta,
    /// 0: nothing to go by; 1: sure.
    pub confidence: f32,
}

impl AvOffset {
    /// Measured on slots whose pictures are as old as they.
    #[must_use]
    pub fn new(offset: TimeDelta, confidence: f32) -> Self {
        Self { offset, on_the_slots: offset, confidence }
    }
}

/// The offset stage: push the curve of every slot with a voice, pull the estimate.
#[derive(Debug)]
pub struct OffsetEstimator {
    curve: [f32; OFFSETS],
    /// Mean [`picture_lag`](crate::align::AvWindow::picture_lag), ns, over the same slots.
    lag_ns: f64,
    seen: u32,
    zero_ms: f32,
    nothing: f32,
    sure: f32,
}

impl OffsetEstimator {
    /// For an engine whose scores read so.
    #[must_use]
    pub fn new(score: &ScoreSpec) -> Self {
        Self {
            curve: [0.0; OFFSETS],
            lag_ns: 0.0,
            seen: 0,
            zero_ms: score.zero_ms,
            nothing: score.nothing,
            sure: score.sure,
        }
    }

    /// Takes the highest mean score in the picture at every shift, and how much older than the slot its picture is.
    pub fn push(&mut self, curve: &[f32; OFFSETS], picture_lag: TimeDelta) {
        self.seen = self.seen.saturating_add(1);
        let gain = 1.0 / (self.seen as f32).min(MEMORY_SLOTS);
        for (mean, c) in self.curve.iter_mut().zip(curve) {
            *mean += gain * (c - *mean);
        }
        if picture_lag.abs() <= MOST_LAG {
            self.lag_ns += f64::from(gain) * (picture_lag.ns() as f64 - self.lag_ns);
        }
    }

    /// The present estimate; `None` before two seconds of voice.
    #[must_use]
    pub fn pull(&self) -> Option<AvOffset> {
        if self.seen < FEWEST_SLOTS {
            return None;
        }
        let best = (0..OFFSETS).max_by(|&i, &j| self.curve[i].total_cmp(&self.curve[j]))?;
        let mut sorted = self.curve;
        sorted.sort_unstable_by(f32::total_cmp);
        let height = self.curve[best] - sorted[REACH];
        let part = if best > 0 && best + 1 < OFFSETS {
            vertex(self.curve[best - 1], self.curve[best], self.curve[best + 1])
        } else {
            0.0
        };
        let slots = best as f32 - REACH as f32 + part;
        let ns = f64::from(slots) * SLOT.ns() as f64 - f64::from(self.zero_ms) * 1e6;
        let on_the_slots = TimeDelta::from_ns(ns.round() as i64);
        Some(AvOffset {
            offset: on_the_slots + TimeDelta::from_ns(self.lag_ns.round() as i64),
            on_the_slots,
            confidence: ((height - self.nothing) / (self.sure - self.nothing)).clamp(0.0, 1.0),
        })
    }

    /// None: the estimate is of the past.
    #[must_use]
    pub fn latency(&self) -> TimeDelta {
        TimeDelta::ZERO
    }

    /// Forgets the curve.
    pub fn reset(&mut self) {
        self.curve = [0.0; OFFSETS];
        self.lag_ns = 0.0;
        self.seen = 0;
    }
}

/// Slots of an object's voice over which its own curve is averaged at most: eight seconds.
const OWN_SLOTS: f32 = 200.0;
/// How much of what is expected of anything in the picture stays with an object, whatever was heard of it.
const DOUBT: f32 = 0.1;

/// What is known of one object's own offset: pictures put together, relayed or dubbed have one each.
///
/// A posterior over the shifts: the picture's prior, and the object's own mean score at each shift while it seemed to
/// speak, which counts for as many seconds as were heard, up to a limit. Some doubt remains, so that it can change.
#[derive(Clone, Copy, Debug)]
pub struct OffsetBelief {
    curve: [f32; OFFSETS],
    /// Slots heard, weighted by the probability that it was this object.
    heard: f32,
    log_p: [f32; OFFSETS],
}

impl OffsetBelief {
    /// As of anything in the picture.
    #[must_use]
    pub fn new(log_prior: &[f32; OFFSETS]) -> Self {
        Self { curve: [0.0; OFFSETS], heard: 0.0, log_p: *log_prior }
    }

    /// Takes in the object's mean scores of a slot in which it made the sound with this probability. A second counts for
    /// `weight` (in natural units of log-likelihood per score), `most_s` seconds at most.
    pub fn update(
        &mut self,
        curve: &[f32; OFFSETS],
        probability: f32,
        log_prior: &[f32; OFFSETS],
        weight: f32,
        most_s: f32,
    ) {
        self.heard += probability;
        let gain = probability / self.heard.clamp(f32::MIN_POSITIVE, OWN_SLOTS);
        for (mean, c) in self.curve.iter_mut().zip(curve) {
            *mean += gain * (c - *mean);
        }
        let seconds = (self.heard * SLOT.as_s_f64() as f32).min(most_s);
        for ((p, c), prior) in self.log_p.iter_mut().zip(&self.curve).zip(log_prior) {
            *p = prior + weight * seconds * c;
        }
        let top = self.log_p.iter().copied().fold(f32::MIN, f32::max);
        let sum: f32 = self.log_p.iter().map(|p| (p - top).exp()).sum();
        for (p, prior) in self.log_p.iter_mut().zip(log_prior) {
            *p = ((1.0 - DOUBT) * (*p - top).exp() / sum + DOUBT * prior.exp()).ln();
        }
    }

    /// ln p(δ), −600…+600 ms in steps of a slot.
    #[must_use]
    pub fn log_p(&self) -> &[f32; OFFSETS] {
        &self.log_p
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn estimator() -> OffsetEstimator {
        OffsetEstimator::new(&ScoreSpec {
            scale: 20.0,
            zero_ms: 20.0,
            spread_ms: 40.0,
            sure: 0.1,
            nothing: 0.04,
            slope: 1.0,
            bias: 0.0,
        })
    }

    #[test]
    fn the_peak_is_found_between_the_slots_and_the_engines_zero_taken_off() {
        let mut e = estimator();
        let mut curve = [0.1; OFFSETS];
        for (j, c) in curve.iter_mut().enumerate() {
            let d = j as f32 - (REACH as f32 + 3.25);
            *c += (0.2 - 0.02 * d * d).max(0.0);
        }
        for _ in 0..60 {
            e.push(&curve, TimeDelta::ZERO);
        }
        let got = e.pull().unwrap();
        assert!((got.offset.as_ms_f64() - (3.25 * 40.0 - 20.0)).abs() < 1.0, "{:?}", got.offset);
        assert!(got.confidence > 0.99);
    }

    #[test]
    fn pictures_older_than_their_slots_are_taken_into_account_and_stills_are_not() {
        let mut e = estimator();
        let mut curve = [0.1; OFFSETS];
        curve[REACH] = 0.3;
        for k in 0..600 {
            // Of a camera whose frames fall 19 ms after the slots' beginnings; now and then one is held for long.
            e.push(&curve, TimeDelta::from_ms(if k % 10 == 0 { 4_000 } else { 19 }));
        }
        let got = e.pull().unwrap();
        assert_eq!(got.on_the_slots, TimeDelta::from_ms(-20), "the engine's zero alone");
        assert!((got.offset.as_ms_f64() + 1.0).abs() < 0.1, "{:?}", got.offset);
    }

    #[test]
    fn an_object_s_own_offset_is_learnt_from_its_voice_and_can_change() {
        let prior = [-(OFFSETS as f32).ln(); OFFSETS];
        let mut b = OffsetBelief::new(&prior);
        let curve = |at: usize| std::array::from_fn(|j| if j == at { 0.2 } else { 0.1 });
        let best = |b: &OffsetBelief| (0..OFFSETS).max_by(|&i, &j| b.log_p[i].total_cmp(&b.log_p[j])).unwrap();
        for _ in 0..100 {
            b.update(&curve(3), 0.0, &prior, 40.0, 4.0);
        }
        assert!(b.log_p.iter().zip(&prior).all(|(p, q)| (p - q).abs() < 1e-4), "silence says nothing");
        for _ in 0..100 {
            b.update(&curve(18), 0.9, &prior, 40.0, 4.0);
        }
        assert_eq!(best(&b), 18);
        assert!((b.log_p.iter().map(|p| p.exp()).sum::<f32>() - 1.0).abs() < 1e-3 && b.log_p[18].exp() > 0.8);
        for _ in 0..600 {
            b.update(&curve(9), 0.9, &prior, 40.0, 4.0);
        }
        assert_eq!(best(&b), 9);
    }

    #[test]
    fn a_flat_curve_is_no_evidence_and_the_beginning_is_silent() {
        let mut e = estimator();
        for i in 0..60 {
            assert_eq!(e.pull().is_some(), i >= 50);
            e.push(&[0.1; OFFSETS], TimeDelta::ZERO);
        }
        assert!(e.pull().unwrap().confidence < 1e-6);
    }
}
