//! Time: signed nanoseconds on one running-time line, and the only arithmetic between samples, slots and time.
//!
//! A [`Timestamp`] is a place on GStreamer's running-time line, a [`TimeDelta`] a distance on it. An index (of a sample,
//! a mel frame, a slot) becomes a time by one multiplication from the origin, and a time an index by one division:
//! nothing is accumulated, so nothing drifts. (`int(rate / fps)` samples a frame drifts by 37.5 ms a minute at
//! 16 kHz and 30 fps, by 97.5 ms at 29.97.)

use std::fmt;
use std::ops::{Add, Mul, Neg, Sub};

const NS_PER_S: i128 = 1_000_000_000;

/// The spacing of the analysis grid: one slot is 40 ms, 25 slots a second, whatever the frame rate of the source.
pub const SLOT: TimeDelta = TimeDelta::from_ms(40);

/// A place on the running-time line, in nanoseconds. May be negative (a stream that starts before its segment).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// A signed distance between two [`Timestamp`]s, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimeDelta(i64);

impl Timestamp {
    /// Running time zero.
    pub const ZERO: Self = Self(0);

    /// From nanoseconds of running time.
    #[must_use]
    pub const fn from_ns(ns: i64) -> Self {
        Self(ns)
    }

    /// From whole milliseconds of running time.
    #[must_use]
    pub const fn from_ms(ms: i64) -> Self {
        Self(ms * 1_000_000)
    }

    /// Nanoseconds of running time.
    #[must_use]
    pub const fn ns(self) -> i64 {
        self.0
    }

    /// Milliseconds of running time, for display and JSON only.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "display only; exact below 104 days")]
    pub fn as_ms_f64(self) -> f64 {
        self.0 as f64 / 1e6
    }
}

impl TimeDelta {
    /// No distance.
    pub const ZERO: Self = Self(0);

    /// From nanoseconds.
    #[must_use]
    pub const fn from_ns(ns: i64) -> Self {
        Self(ns)
    }

    /// From whole milliseconds.
    #[must_use]
    pub const fn from_ms(ms: i64) -> Self {
        Self(ms * 1_000_000)
    }

    /// Nanoseconds.
    #[must_use]
    pub const fn ns(self) -> i64 {
        self.0
    }

    /// Milliseconds, for display and JSON only.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "display only; exact below 104 days")]
    pub fn as_ms_f64(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// Seconds, for display and filter constants only.
    #[must_use]
    pub fn as_s_f64(self) -> f64 {
        self.as_ms_f64() / 1e3
    }

    /// The distance without its sign.
    #[must_use]
    pub const fn abs(self) -> Self {
        Self(self.0.abs())
    }

    /// How many whole slots cover this distance (rounded up): a hold of 300 ms is 8 slots.
    #[must_use]
    pub fn slots_ceil(self) -> usize {
        usize::try_from(self.0.div_euclid(SLOT.0) + i64::from(self.0.rem_euclid(SLOT.0) > 0)).unwrap_or(0)
    }
}

impl Add<TimeDelta> for Timestamp {
    type Output = Self;
    fn add(self, d: TimeDelta) -> Self {
        Self(self.0.saturating_add(d.0))
    }
}

impl Sub<TimeDelta> for Timestamp {
    type Output = Self;
    fn sub(self, d: TimeDelta) -> Self {
        Self(self.0.saturating_sub(d.0))
    }
}

impl Sub for Timestamp {
    type Output = TimeDelta;
    fn sub(self, other: Self) -> TimeDelta {
        TimeDelta(self.0.saturating_sub(other.0))
    }
}

impl Add for TimeDelta {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sub for TimeDelta {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Neg for TimeDelta {
    type Output = Self;
    fn neg(self) -> Self {
        Self(-self.0)
    }
}

impl Mul<i64> for TimeDelta {
    type Output = Self;
    fn mul(self, n: i64) -> Self {
        Self(self.0.saturating_mul(n))
    }
}

/// `h:mm:ss.mmm`, the way players show it.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.div_euclid(1_000_000);
        let (sign, ms) = if ms < 0 { ("-", -ms) } else { ("", ms) };
        let (s, ms) = (ms.div_euclid(1000), ms.rem_euclid(1000));
        let (m, s) = (s.div_euclid(60), s.rem_euclid(60));
        write!(f, "{sign}{}:{:02}:{s:02}.{ms:03}", m.div_euclid(60), m.rem_euclid(60))
    }
}

impl fmt::Display for TimeDelta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} ms", self.as_ms_f64())
    }
}

/// A number of sample frames per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SampleRate(u32);

impl SampleRate {
    /// The rate of all analysis: 16 kHz.
    pub const ANALYSIS: Self = Self(16_000);

    /// `None` for a rate of zero.
    #[must_use]
    pub const fn new(hz: u32) -> Option<Self> {
        if hz == 0 { None } else { Some(Self(hz)) }
    }

    /// Sample frames per second.
    #[must_use]
    pub const fn hz(self) -> u32 {
        self.0
    }

    /// The index of the sample nearest to `t` after the origin; halves round up.
    #[must_use]
    pub fn index_at(self, t: TimeDelta) -> i64 {
        let n = i128::from(t.0) * i128::from(self.0) * 2 + NS_PER_S;
        i64::try_from(n.div_euclid(2 * NS_PER_S)).expect("292 years of 64-bit nanoseconds at a 32-bit rate fit")
    }

    /// When sample `index` begins, rounded to the nearest nanosecond, halves up.
    #[must_use]
    pub fn time_of(self, index: i64) -> TimeDelta {
        let rate = i128::from(self.0);
        let ns = (i128::from(index) * NS_PER_S * 2 + rate).div_euclid(2 * rate);
        TimeDelta(i64::try_from(ns).unwrap_or(i64::MAX))
    }
}

/// The 25 Hz analysis grid: slot `k` covers `[origin + k·40 ms, origin + (k+1)·40 ms)`.
///
/// The origin is the time stamp of the first picture: a camera's frames then fall at the start of the slots, not
/// half-way between two, where jitter would repeat one and lose the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotGrid {
    /// When slot 0 begins.
    pub origin: Timestamp,
}

impl SlotGrid {
    /// When slot `k` begins.
    #[must_use]
    pub fn start(self, k: i64) -> Timestamp {
        self.origin + SLOT * k
    }

    /// The middle of slot `k`: the instant whose picture stands for the slot.
    #[must_use]
    pub fn centre(self, k: i64) -> Timestamp {
        self.start(k) + TimeDelta(SLOT.0.div_euclid(2))
    }

    /// The slot that holds `t`.
    #[must_use]
    pub fn slot_at(self, t: Timestamp) -> i64 {
        (t - self.origin).0.div_euclid(SLOT.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_hour_of_ntsc_does_not_drift() {
        // Frame k of 30000/1001 fps begins at k·1001/30000 s; its first sample must be the nearest one, for ever.
        let k = 107_892_i64; // an hour
        let t = TimeDelta::from_ns(k * 1_001_000_000_000 / 30_000);
        assert_eq!(
            SampleRate::ANALYSIS.index_at(t),
            (f64::from(107_892) * 16_000.0 * 1001.0 / 30_000.0).round() as i64
        );
    }

    #[test]
    fn slots_are_floor_divided_below_zero_too() {
        let g = SlotGrid { origin: Timestamp::from_ms(13) };
        for (ms, slot) in [(13, 0), (52, 0), (53, 1), (12, -1), (-27, -1), (-28, -2)] {
            assert_eq!(g.slot_at(Timestamp::from_ms(ms)), slot, "{ms} ms");
        }
    }

    #[test]
    fn times_read_as_players_show_them() {
        assert_eq!(Timestamp::from_ms(3_723_004).to_string(), "1:02:03.004");
        assert_eq!(Timestamp::from_ms(-40).to_string(), "-0:00:00.040");
        assert_eq!(TimeDelta::from_ms(300).slots_ceil(), 8);
        assert_eq!(TimeDelta::from_ms(800).slots_ceil(), 20);
    }

    proptest! {
        #[test]
        fn index_and_time_are_inverse(i in -10_000_000_000_i64..10_000_000_000, hz in 1_u32..400_000) {
            let rate = SampleRate::new(hz).unwrap();
            prop_assert_eq!(rate.index_at(rate.time_of(i)), i);
        }
    }
}
