//! Sound: [`AudioWindow`], a stretch of 16 kHz mono with its time, and [`AudioRing`], which lays such stretches on the
//! one sample grid of the session.
//!
//! Time stamps of real streams are not exact: containers round to a millisecond, sound cards run some parts in 10⁵
//! fast or slow, packets are lost. The ring therefore takes samples as contiguous as long as their time stamps agree
//! with the count within [`GAP`]; a slow disagreement (clock skew) is removed a sample at a time, a fast one is a gap
//! (filled with silence and marked) or an overlap (the second copy is dropped).

use crate::time::{SampleRate, TimeDelta, Timestamp};
use std::collections::VecDeque;

/// A disagreement between time stamp and sample count from here on is a gap or an overlap, not jitter.
pub const GAP: TimeDelta = TimeDelta::from_ms(40);
/// The smoothed disagreement that is let stand: below the resolution of the mel grid by far.
const SLACK_SAMPLES: f64 = 16.0;
/// How much of a new disagreement is believed at once; time stamps rounded to 1 ms average out over ~20 buffers.
const SKEW_GAIN: f64 = 0.05;
/// The nearest distance, in samples, between two single-sample corrections: at most 0.6 % of speed.
const NUDGE_EVERY: usize = 160;

/// A stretch of mono sound, f32 in −1…1, 16 kHz.
#[derive(Clone, Copy, Debug)]
pub struct AudioWindow<'a> {
    /// Running time of the first sample.
    pub start: Timestamp,
    /// The samples.
    pub samples: &'a [f32],
    /// The source says that sound was lost before this window.
    pub discont: bool,
}

/// What became of the sound that was pushed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AudioCounters {
    /// Gaps filled with silence.
    pub gaps: u64,
    /// Samples of silence in them.
    pub silence_samples: u64,
    /// Samples dropped because their time had been taken already.
    pub overlap_samples: u64,
    /// Samples inserted (> 0) or left out (< 0) against clock skew.
    pub skew_samples: i64,
}

/// A bounded stretch of the session's sample grid: index `i` is the time `origin + i / 16 000 s`.
#[derive(Debug)]
pub struct AudioRing {
    origin: Timestamp,
    samples: VecDeque<f32>,
    /// Grid index of `samples[0]`.
    first: i64,
    /// Ranges of silence put in for lost sound, as grid indices, oldest first; those before `first` are forgotten.
    gaps: VecDeque<(i64, i64)>,
    started: bool,
    skew: f64,
    since_nudge: usize,
    capacity: usize,
    counters: AudioCounters,
}

impl AudioRing {
    /// A ring whose index 0 is at `origin`, holding at most `capacity` samples.
    #[must_use]
    pub fn new(origin: Timestamp, capacity: usize) -> Self {
        Self {
            origin,
            // One window of a decoder may overshoot; room for it keeps the loop free of allocation.
            samples: VecDeque::with_capacity(capacity * 2),
            first: 0,
            gaps: VecDeque::with_capacity(64),
            started: false,
            skew: 0.0,
            since_nudge: 0,
            capacity,
            counters: AudioCounters::default(),
        }
    }

    /// Starts again with index 0 at `origin`; the counters go on.
    pub fn restart(&mut self, origin: Timestamp) {
        self.origin = origin;
        self.samples.clear();
        self.gaps.clear();
        self.first = 0;
        self.started = false;
        self.skew = 0.0;
    }

    /// Grid index after the last sample.
    #[must_use]
    #[expect(clippy::cast_possible_wrap, reason = "a ring of 2^63 samples cannot be")]
    pub fn end(&self) -> i64 {
        self.first + self.samples.len() as i64
    }

    /// What was filled, dropped and nudged so far.
    #[must_use]
    pub fn counters(&self) -> AudioCounters {
        self.counters
    }

    /// How many more samples fit before old ones must be consumed.
    #[must_use]
    pub fn room(&self) -> usize {
        self.capacity.saturating_sub(self.samples.len())
    }

    /// Lays a window on the grid. Samples before `first` (already consumed, or before the origin) are dropped.
    pub fn push(&mut self, window: AudioWindow<'_>) {
        let at = SampleRate::ANALYSIS.index_at(window.start - self.origin);
        let off = at - self.end();
        let gap = SampleRate::ANALYSIS.index_at(GAP);
        let mut samples = window.samples;
        if !self.started || off.abs() > gap || (window.discont && off != 0) {
            if off > 0 {
                if self.started {
                    self.counters.gaps += 1;
                }
                self.fill_silence(off);
            } else {
                let drop = usize::try_from(-off).unwrap_or(0).min(samples.len());
                if self.started {
                    self.counters.overlap_samples += drop as u64;
                }
                samples = &samples[drop..];
            }
            self.skew = 0.0;
            self.started |= !samples.is_empty();
            self.samples.extend(samples);
            return;
        }
        #[expect(clippy::cast_precision_loss, reason = "|off| is at most a gap")]
        let off = off as f64;
        self.skew += (off - self.skew) * SKEW_GAIN;
        for &s in samples {
            self.since_nudge += 1;
            if self.since_nudge >= NUDGE_EVERY && self.skew.abs() > SLACK_SAMPLES {
                self.since_nudge = 0;
                if self.skew > 0.0 {
                    self.samples.push_back(s); // the grid has run ahead of the source's count: once more
                    self.skew -= 1.0;
                    self.counters.skew_samples += 1;
                } else {
                    self.skew += 1.0;
                    self.counters.skew_samples -= 1;
                    continue;
                }
            }
            self.samples.push_back(s);
        }
    }

    /// Silence up to grid index `to`, marked as a gap: the sound is missing there, or has ended.
    pub fn silence_until(&mut self, to: i64) {
        self.fill_silence(to - self.end());
    }

    fn fill_silence(&mut self, n: i64) {
        let Ok(count) = usize::try_from(n) else { return };
        if count == 0 {
            return;
        }
        let end = self.end();
        match self.gaps.back_mut() {
            Some(last) if last.1 == end => last.1 = end + n,
            _ => self.gaps.push_back((end, end + n)),
        }
        self.counters.silence_samples += count as u64;
        self.samples.extend(std::iter::repeat_n(0.0, count));
    }

    /// Copies grid indices `from .. from + out.len()` into `out`, zeros where the ring has nothing (before the first
    /// sample), and says whether any of it stands for lost sound. `None` while the last of it is still to come.
    pub fn read(&self, from: i64, out: &mut [f32]) -> Option<bool> {
        let to = from + i64::try_from(out.len()).ok()?;
        if to > self.end() {
            return None;
        }
        for (i, o) in (from..to).zip(out.iter_mut()) {
            *o = usize::try_from(i - self.first).ok().and_then(|k| self.samples.get(k)).copied().unwrap_or(0.0);
        }
        Some(from < self.first || self.gaps.iter().any(|&(a, b)| a < to && from < b))
    }

    /// Forgets everything before grid index `index`.
    pub fn consume(&mut self, index: i64) {
        let n = usize::try_from(index - self.first).unwrap_or(0).min(self.samples.len());
        self.samples.drain(..n);
        self.first += i64::try_from(n).unwrap_or(0);
        while self.gaps.front().is_some_and(|g| g.1 <= self.first) {
            self.gaps.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ring() -> AudioRing {
        AudioRing::new(Timestamp::ZERO, 1 << 20)
    }

    fn window(start: Timestamp, samples: &[f32]) -> AudioWindow<'_> {
        AudioWindow { start, samples, discont: false }
    }

    #[test]
    fn a_late_start_is_silence() {
        let mut r = ring();
        r.push(window(Timestamp::from_ms(10), &[1.0; 160]));
        let mut out = [9.0; 320];
        assert_eq!(r.read(0, &mut out), Some(true));
        assert_eq!((out[159], out[160]), (0.0, 1.0));
        assert_eq!(r.counters().gaps, 0, "a late start is no lost sound");
    }

    #[test]
    fn sound_before_the_origin_is_dropped() {
        let mut r = AudioRing::new(Timestamp::from_ms(10), 1 << 16);
        let s: Vec<f32> = (0..480_u16).map(f32::from).collect();
        r.push(window(Timestamp::ZERO, &s));
        let mut out = [0.0; 1];
        assert_eq!(r.read(0, &mut out), Some(false));
        assert_eq!(out, [160.0]);
        assert_eq!(r.end(), 320);
    }

    #[test]
    fn a_gap_is_marked_silence_and_an_overlap_is_dropped() {
        let mut r = ring();
        r.push(window(Timestamp::ZERO, &[1.0; 1600]));
        r.push(window(Timestamp::from_ms(300), &[2.0; 1600]));
        assert_eq!(r.end(), 6400);
        let mut out = [0.0; 1600];
        assert_eq!(r.read(0, &mut out), Some(false));
        assert_eq!(r.read(1600, &mut out), Some(true));
        assert!(out.iter().all(|&x| x == 0.0));
        assert_eq!(r.read(4800, &mut out), Some(false));
        r.push(window(Timestamp::from_ms(300), &[3.0; 3200]));
        assert_eq!(r.end(), 8000);
        assert_eq!(
            r.counters(),
            AudioCounters { gaps: 1, silence_samples: 3200, overlap_samples: 1600, skew_samples: 0 }
        );
    }

    proptest! {
        /// Whatever the chunking and 1-ms rounding of time stamps, the grid holds the same samples.
        #[test]
        fn chunking_and_rounding_leave_no_mark(sizes in prop::collection::vec(1usize..2000, 1..60)) {
            let mut r = ring();
            let mut n = 0_i64;
            for len in sizes {
                let s: Vec<f32> = (0..len).map(|i| (n as f32 + i as f32).sin()).collect();
                let ms = SampleRate::ANALYSIS.time_of(n).ns().div_euclid(1_000_000);
                r.push(window(Timestamp::from_ms(ms), &s));
                n += len as i64;
            }
            prop_assert_eq!(r.end(), n);
            let mut out = vec![0.0; usize::try_from(n).unwrap()];
            prop_assert_eq!(r.read(0, &mut out), Some(false));
            for (i, o) in out.iter().enumerate() {
                prop_assert!((o - (i as f32).sin()).abs() < 1e-6);
            }
        }

        /// A sound card that is `ppm` off stays within 5 ms of its time stamps for ten minutes.
        #[test]
        fn skew_is_followed(ppm in -300_i64..300) {
            let mut r = AudioRing::new(Timestamp::ZERO, 4000);
            let chunk = [0.1_f32; 320];
            for k in 0..30_000_i64 {
                let ns = k * 20_000_000 * (1_000_000 + ppm) / 1_000_000;
                r.push(window(Timestamp::from_ns(ns), &chunk));
                r.consume(r.end() - 100);
            }
            let truth = SampleRate::ANALYSIS.index_at(TimeDelta::from_ns(30_000 * 20 * (1_000_000 + ppm)));
            prop_assert!((r.end() - truth).abs() < 80, "{} samples off", r.end() - truth);
            prop_assert_eq!(r.counters().gaps, 0);
        }
    }
}
