//! Live lip-sync correction: how much to delay the sound or the picture now, from the measured offset.
//!
//! **Sign: > 0 means that the sound is late** (lags the picture). One signed number, the *applied* correction, is taken
//! off the offset: where it is positive the picture is delayed by it, where it is negative the sound by its size, the
//! other stream by nothing. What remains in the output is `offset of the input − applied`. The offset is measured
//! before the delays, so that there is no loop that could swing: the corrector only has to choose a target that is
//! true, and to move there unnoticed.
//!
//! **When the target changes.** The measurement moves by some ±12 ms around the truth, and not from slot to slot but
//! over seconds (the estimator's memory is ten), so that "off by 15 ms for 2 s" alone retargets some 30 times in 10 min
//! where nothing has changed. Evidence is therefore asked for in proportion to what can be seen:
//! - first lock: `hold_ms` of sure slots that agree, then any error beyond `dead_zone_ms`;
//! - later, an error of 45 ms or more: the same, at once;
//! - later, a smaller one, which nobody sees: the mean over `patience_ms` of sure slots must be beyond `dead_zone_ms`.
//!
//! A slot that is not sure holds the target, and begins the evidence of `hold_ms` anew; one without a measurement, as
//! between two sentences, only holds. A slew that is under way goes on to its target: half-way is wrong for certain.
//!
//! **How fast.** `rate_ms_per_s` (2 ms of offset in a second of programme) for tracking takes a minute for 120 ms, which
//! is too long for an error that everybody sees. So `acquire_ms_per_s` (10) holds until the first target is reached, and
//! later while what is left is beyond the thresholds of detectability of ITU-R BT.1359 (sound 45 ms early or 125 ms
//! late): 120 ms are gone 2 s + 12 s after the measurement became sure. A change of 10 ms/s is 1 % of speed:
//! - sound: 17 cents of pitch, down while its delay grows and up while it shrinks; a fifth of a semitone, which goes
//!   unnoticed in speech and may be noticed in held notes. 2 ms/s is 3.5 cents, about the least that a trained ear
//!   tells;
//! - picture: a frame of 40 ms stays for 40.4 ms. Where the output keeps a fixed frame rate, one frame in 4 s is shown
//!   twice (or left out, while the delay shrinks) at 25 fps; at 2 ms/s one in 20 s.

use crate::av_offset::AvOffset;
use crate::time::{SLOT, TimeDelta};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Sound earlier than this is detectable (ITU-R BT.1359-1); an error of this size is followed at once.
const EARLY: TimeDelta = TimeDelta::from_ms(45);
/// Sound later than this is detectable (ITU-R BT.1359-1).
const LATE: TimeDelta = TimeDelta::from_ms(125);
/// Slots agree within the estimator's own step of their median …
const AGREE: TimeDelta = SLOT;
/// … except for one in so many.
const ODD_ONE_IN: usize = 10;
/// A target nearer to none than this is none: a stream that needs no delay passes untouched.
const NEAR_NONE: TimeDelta = TimeDelta::from_ms(1);
/// No offset is larger; a broken measurement is not to overflow the arithmetic.
const MOST: TimeDelta = TimeDelta::from_ms(60_000);
/// Slots in a second of programme.
const SLOTS_PER_S: f64 = 25.0;

/// Parameters of the correction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SyncConfig {
    /// How fast the correction follows, ms of offset per second of programme.
    pub rate_ms_per_s: f32,
    /// How fast it moves to its first target, and while the error is detectable, ms per second. Not below the other.
    pub acquire_ms_per_s: f32,
    /// A measurement below this confidence (0…1) says nothing.
    pub min_confidence: f32,
    /// Errors up to this are left alone, ms.
    pub dead_zone_ms: i64,
    /// So long the measurement must be sure of a first target, or of an error of 45 ms or more, ms.
    pub hold_ms: i64,
    /// Over so much sure measurement a smaller error is judged, ms; half of it at least.
    pub patience_ms: i64,
    /// The latency budget: no stream is delayed by more, ms.
    pub max_delay_ms: i64,
}

impl Default for SyncConfig {
    fn default() -> Self {
        Self {
            rate_ms_per_s: 2.0,
            acquire_ms_per_s: 10.0,
            min_confidence: 0.9,
            dead_zone_ms: 15,
            hold_ms: 2_000,
            patience_ms: 60_000,
            max_delay_ms: 500,
        }
    }
}

impl SyncConfig {
    /// Checks that every number is in its range.
    ///
    /// # Errors
    /// Names the field, its value and its range.
    pub fn validate(&self) -> Result<(), String> {
        let floats = [
            // Beyond 5 % the sound is a different one.
            ("rate_ms_per_s", self.rate_ms_per_s, 0.1..=50.0),
            ("acquire_ms_per_s", self.acquire_ms_per_s, 0.1..=50.0),
            ("min_confidence", self.min_confidence, 0.0..=1.0),
        ];
        for (name, value, range) in floats {
            if !range.contains(&value) {
                return Err(format!("{name} = {value} is out of range ({} to {})", range.start(), range.end()));
            }
        }
        let times = [
            ("dead_zone_ms", self.dead_zone_ms, 1..=1_000),
            ("hold_ms", self.hold_ms, 40..=60_000),
            ("patience_ms", self.patience_ms, 40..=600_000),
            ("max_delay_ms", self.max_delay_ms, 0..=5_000),
        ];
        for (name, ms, range) in times {
            if !range.contains(&ms) {
                return Err(format!("{name} = {ms} is out of range ({} to {})", range.start(), range.end()));
            }
        }
        if self.acquire_ms_per_s < self.rate_ms_per_s {
            return Err(format!(
                "acquire_ms_per_s = {} is below rate_ms_per_s = {}: the first lock would be the slowest",
                self.acquire_ms_per_s, self.rate_ms_per_s
            ));
        }
        Ok(())
    }
}

/// What the corrector does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SyncState {
    /// Switched off; what was applied goes back to none.
    Off,
    /// Nothing sure has been measured yet.
    Measuring,
    /// The target is applied.
    Holding,
    /// On the way to the target.
    Slewing,
    /// The error is beyond the budget: the target is the budget, and some of the error stays. Told on the way too.
    Clamped,
}

/// The correction of one slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Correction {
    /// What is taken off the offset at the end of this slot. > 0: the picture is delayed; < 0: the sound is.
    pub applied: TimeDelta,
    /// Where `applied` is going, within the budget.
    pub target: TimeDelta,
    /// The offset that was found in the input, beyond the budget or not.
    pub wanted: TimeDelta,
    /// What is being done.
    pub state: SyncState,
}

impl Correction {
    /// How much the picture is delayed at the end of this slot; never negative.
    #[must_use]
    pub fn picture_delay(&self) -> TimeDelta {
        self.applied.max(TimeDelta::ZERO)
    }

    /// How much the sound is delayed at the end of this slot; never negative.
    #[must_use]
    pub fn sound_delay(&self) -> TimeDelta {
        (-self.applied).max(TimeDelta::ZERO)
    }

    /// What is left of the offset that was found. > 0: the output's sound is late.
    #[must_use]
    pub fn remaining(&self) -> TimeDelta {
        self.wanted - self.applied
    }
}

/// The controller: push the measured offset of every slot, pull the correction. Nothing allocates after `new`.
#[derive(Debug)]
pub struct SyncCorrector {
    /// At most so much per slot …
    track: TimeDelta,
    /// … or so much.
    acquire: TimeDelta,
    min_confidence: f32,
    dead_zone: TimeDelta,
    max_delay: TimeDelta,
    hold_slots: usize,
    patience_slots: u32,
    /// The last sure measurements with no doubtful one between them, at most `hold_slots`.
    recent: VecDeque<TimeDelta>,
    sorted: Vec<TimeDelta>,
    /// Mean of the sure measurements since the last change of target, forgotten over `patience_slots`, ns.
    mean_ns: f64,
    seen: u32,
    on: bool,
    /// A first target was found (it may be none).
    locked: bool,
    /// The first target is not reached yet.
    acquiring: bool,
    wanted: TimeDelta,
    applied: TimeDelta,
    retargets: u64,
}

impl SyncCorrector {
    /// With these parameters, switched on, nothing applied.
    ///
    /// # Errors
    /// Names the field that is out of its range ([`SyncConfig::validate`]).
    pub fn new(config: &SyncConfig) -> Result<Self, String> {
        config.validate()?;
        let hold_slots = TimeDelta::from_ms(config.hold_ms).slots_ceil();
        let patience = TimeDelta::from_ms(config.patience_ms).slots_ceil();
        Ok(Self {
            track: per_slot(config.rate_ms_per_s),
            acquire: per_slot(config.acquire_ms_per_s),
            min_confidence: config.min_confidence,
            dead_zone: TimeDelta::from_ms(config.dead_zone_ms),
            max_delay: TimeDelta::from_ms(config.max_delay_ms),
            hold_slots,
            patience_slots: u32::try_from(patience).unwrap_or(u32::MAX),
            recent: VecDeque::with_capacity(hold_slots),
            sorted: Vec::with_capacity(hold_slots),
            mean_ns: 0.0,
            seen: 0,
            on: true,
            locked: false,
            acquiring: true,
            wanted: TimeDelta::ZERO,
            applied: TimeDelta::ZERO,
            retargets: 0,
        })
    }

    /// Takes the measured offset of the next slot's **input**; the correction moves on by a slot. `None` where the slot
    /// says nothing new (no estimate yet, no voice: an estimate that only stands is no evidence).
    pub fn push(&mut self, measured: Option<AvOffset>) {
        match measured {
            Some(m) if self.on && m.confidence >= self.min_confidence => self.weigh(m.offset.clamp(-MOST, MOST)),
            Some(_) => self.recent.clear(),
            None => {}
        }
        let target = self.target();
        let left = target - self.applied;
        // Of what goes out now; switched off, nobody asks.
        let detectable = self.on && (left > LATE || left < -EARLY);
        let most = if detectable || (self.acquiring && self.locked) { self.acquire } else { self.track };
        self.applied = self.applied + left.clamp(-most, most);
        if self.locked && self.applied == target {
            self.acquiring = false;
        }
    }

    /// The correction of the last slot pushed.
    #[must_use]
    pub fn pull(&self) -> Correction {
        let target = self.target();
        let state = if !self.on {
            SyncState::Off
        } else if target != self.wanted {
            SyncState::Clamped
        } else if target != self.applied {
            SyncState::Slewing
        } else if self.locked {
            SyncState::Holding
        } else {
            SyncState::Measuring
        };
        Correction { applied: self.applied, target, wanted: self.wanted, state }
    }

    /// The operator's wish: what is known by now is applied at once. Where the last `hold_ms` were sure, that is their
    /// median, however small the change; otherwise the target.
    pub fn step_now(&mut self) -> Correction {
        if self.on
            && let Some(offset) = self.agreed()
        {
            self.retarget(offset);
        }
        self.applied = self.target();
        self.acquiring &= !self.locked;
        self.pull()
    }

    /// Switches the correction on or off. Off slews back to no correction; on begins with a first lock.
    pub fn set_on(&mut self, on: bool) {
        if on != self.on {
            self.on = on;
            self.wanted = TimeDelta::ZERO;
            self.restart();
        }
    }

    /// Another programme begins, or the time line jumped: what was measured no longer counts, and the next target is a
    /// first one. What is applied stays, so that nothing jumps.
    pub fn restart(&mut self) {
        self.recent.clear();
        self.seen = 0;
        self.locked = false;
        self.acquiring = self.on;
    }

    /// How often the target has changed.
    #[must_use]
    pub fn retargets(&self) -> u64 {
        self.retargets
    }

    /// None: the correction of a slot is known as soon as its measurement is.
    #[must_use]
    pub fn latency(&self) -> TimeDelta {
        TimeDelta::ZERO
    }

    /// As new; nothing is applied any more, at once. Whether it is switched on stays.
    pub fn reset(&mut self) {
        self.restart();
        self.wanted = TimeDelta::ZERO;
        self.applied = TimeDelta::ZERO;
        self.retargets = 0;
    }

    fn target(&self) -> TimeDelta {
        self.wanted.clamp(-self.max_delay, self.max_delay)
    }

    /// Takes a sure measurement, and a new target where the evidence asks for one.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "offsets of seconds at most, in ns"
    )]
    fn weigh(&mut self, offset: TimeDelta) {
        if self.recent.len() == self.hold_slots {
            self.recent.pop_front();
        }
        self.recent.push_back(offset);
        let clear = self.dead_zone.max(EARLY);
        // A change that is clear must not drag the mean along before `recent` agrees on it.
        let tame = self.wanted + (offset - self.wanted).clamp(-clear, clear);
        self.seen = self.seen.saturating_add(1).min(self.patience_slots);
        self.mean_ns += (tame.ns() as f64 - self.mean_ns) / f64::from(self.seen);

        if let Some(offset) = self.agreed() {
            let clear = if self.locked { clear } else { self.dead_zone };
            self.locked = true;
            if (offset - self.wanted).abs() > clear {
                self.retarget(offset);
                return;
            }
        }
        let mean = TimeDelta::from_ns(self.mean_ns.round() as i64);
        let patient = self.seen >= self.patience_slots.div_ceil(2);
        if self.locked && patient && (mean - self.wanted).abs() > self.dead_zone {
            self.wanted = near_none(mean);
            self.retargets += 1;
        }
    }

    /// The median of the last `hold_ms`, if they were all sure and nine in ten agree with it.
    fn agreed(&mut self) -> Option<TimeDelta> {
        if self.recent.len() < self.hold_slots {
            return None;
        }
        self.sorted.clear();
        self.sorted.extend(&self.recent);
        self.sorted.sort_unstable();
        let median = *self.sorted.get(self.sorted.len() >> 1)?;
        let odd = self.recent.iter().filter(|&&m| (m - median).abs() > AGREE).count();
        (odd * ODD_ONE_IN <= self.hold_slots).then_some(median)
    }

    /// Takes over what the last `hold_ms` agree on; the mean goes on from there.
    #[expect(clippy::cast_precision_loss, reason = "offsets of seconds at most, in ns")]
    fn retarget(&mut self, offset: TimeDelta) {
        self.locked = true;
        let wanted = near_none(offset);
        self.retargets += u64::from(wanted != self.wanted);
        self.wanted = wanted;
        self.mean_ns = offset.ns() as f64;
        self.seen = u32::try_from(self.hold_slots).unwrap_or(u32::MAX).min(self.patience_slots);
    }
}

fn near_none(offset: TimeDelta) -> TimeDelta {
    if offset.abs() < NEAR_NONE { TimeDelta::ZERO } else { offset }
}

/// The most that a rate allows in one slot.
#[expect(clippy::cast_possible_truncation, reason = "50 ms/s at most")]
fn per_slot(ms_per_s: f32) -> TimeDelta {
    TimeDelta::from_ns((f64::from(ms_per_s) * 1e6 / SLOTS_PER_S).round() as i64)
}

#[cfg(test)]
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "noise of some milliseconds")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn corrector() -> SyncCorrector {
        SyncCorrector::new(&SyncConfig::default()).unwrap()
    }

    fn sure(ms: i64) -> Option<AvOffset> {
        Some(AvOffset::new(TimeDelta::from_ms(ms), 1.0))
    }

    fn doubtful(ms: i64) -> Option<AvOffset> {
        Some(AvOffset::new(TimeDelta::from_ms(ms), 0.89))
    }

    fn feed(c: &mut SyncCorrector, m: Option<AvOffset>, seconds: i64) -> Correction {
        for _ in 0..seconds * 25 {
            c.push(m);
        }
        c.pull()
    }

    /// Gaussian noise of σ = 12 ms, correlated over `tau_s` (0: white), as sure measurements around `truth_ms`.
    struct Noise {
        seed: u64,
        tau_s: f64,
        last: f64,
    }

    impl Noise {
        fn new(seed: u64, tau_s: f64) -> Self {
            let mut n = Self { seed: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1, tau_s: 0.0, last: 0.0 };
            n.last = n.gauss();
            Self { tau_s, ..n }
        }

        fn gauss(&mut self) -> f64 {
            let mut sum = -6.0;
            for _ in 0..12 {
                self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                sum += (self.seed >> 11) as f64 / (1_u64 << 53) as f64;
            }
            sum
        }

        fn around(&mut self, truth_ms: f64) -> Option<AvOffset> {
            let keep = if self.tau_s > 0.0 { (-0.04 / self.tau_s).exp() } else { 0.0 };
            self.last = keep * self.last + (1.0 - keep * keep).sqrt() * self.gauss();
            let offset = TimeDelta::from_ns(((truth_ms + 12.0 * self.last) * 1e6) as i64);
            Some(AvOffset::new(offset, 0.95))
        }
    }

    #[test]
    fn the_earlier_stream_is_delayed_and_the_other_is_not() {
        for (ms, picture, sound) in [(80, 80, 0), (-80, 0, 80)] {
            let mut c = corrector();
            let got = feed(&mut c, sure(ms), 20);
            assert_eq!(got.picture_delay(), TimeDelta::from_ms(picture));
            assert_eq!(got.sound_delay(), TimeDelta::from_ms(sound));
            assert_eq!((got.state, got.remaining()), (SyncState::Holding, TimeDelta::ZERO));
        }
    }

    #[test]
    fn an_error_of_120_ms_settles_within_15_s_of_sure_measurement() {
        for ms in [120, -120] {
            let mut c = corrector();
            feed(&mut c, None, 5);
            feed(&mut c, doubtful(ms), 30);
            assert_eq!((c.pull().state, c.pull().applied), (SyncState::Measuring, TimeDelta::ZERO));
            assert_eq!(feed(&mut c, sure(ms), 3).state, SyncState::Slewing);
            let got = feed(&mut c, sure(ms), 12);
            assert_eq!((got.state, got.applied), (SyncState::Holding, TimeDelta::from_ms(ms)));
            for seed in 0..40 {
                let (mut c, mut noise) = (corrector(), Noise::new(seed, 0.0));
                (0..15 * 25).for_each(|_| c.push(noise.around(ms as f64)));
                let error = (c.pull().applied - TimeDelta::from_ms(ms)).abs();
                assert!(error < TimeDelta::from_ms(10), "{error} off with seed {seed}");
            }
        }
    }

    #[test]
    fn noise_around_a_constant_offset_does_not_make_it_hunt() {
        for (tau_s, most, mean_most) in [(0.0, 1, 1.0), (1.0, 3, 1.5), (10.0, 6, 3.0)] {
            let mut sum = 0.0;
            for seed in 0..40 {
                let (mut c, mut noise) = (corrector(), Noise::new(seed, tau_s));
                let truth = f64::from(20 * i32::try_from(seed).unwrap() - 400);
                (0..600 * 25).for_each(|_| c.push(noise.around(truth)));
                let error = c.pull().applied.as_ms_f64() - truth;
                assert!(c.retargets() <= most, "{} retargets, τ = {tau_s} s, seed {seed}", c.retargets());
                assert!(error.abs() < 30.0, "{error} ms off, τ = {tau_s} s, seed {seed}");
                sum += c.retargets() as f64;
            }
            println!("τ = {tau_s} s: {:.2} retargets in 10 min", sum / 40.0);
            assert!(sum / 40.0 <= mean_most, "{} retargets on average, τ = {tau_s} s", sum / 40.0);
        }
    }

    #[test]
    fn a_clear_change_is_followed_at_once_a_small_one_in_time_and_a_tiny_one_not() {
        let locked = || {
            let mut c = corrector();
            assert_eq!(feed(&mut c, sure(-100), 20).state, SyncState::Holding);
            c
        };
        let mut c = locked();
        assert_eq!(feed(&mut c, sure(-40), 3).target, TimeDelta::from_ms(-40));
        let mut c = locked();
        assert_eq!(feed(&mut c, sure(-70), 20).target, TimeDelta::from_ms(-100));
        let left = TimeDelta::from_ms(-70) - feed(&mut c, sure(-70), 240).applied;
        assert!(left.abs() <= TimeDelta::from_ms(15), "{left} left of 30 ms");
        let mut c = locked();
        assert_eq!(feed(&mut c, sure(-86), 600).target, TimeDelta::from_ms(-100));
    }

    #[test]
    fn doubt_holds_the_target_and_begins_the_evidence_anew() {
        let mut c = corrector();
        feed(&mut c, sure(100), 3);
        assert_eq!(feed(&mut c, doubtful(-300), 30).applied, TimeDelta::from_ms(100));
        assert_eq!(feed(&mut c, None, 30).state, SyncState::Holding);
        for _ in 0..20 {
            feed(&mut c, sure(-300), 1);
            c.push(doubtful(-300));
        }
        assert_eq!(c.pull().target, TimeDelta::from_ms(100));
        feed(&mut c, sure(-300), 1);
        feed(&mut c, None, 60);
        assert_eq!(c.pull().target, TimeDelta::from_ms(100));
        assert_eq!(feed(&mut c, sure(-300), 1).target, TimeDelta::from_ms(-300), "a pause takes nothing away");
        feed(&mut c, sure(100), 100);
        for m in 0..100 {
            c.push(sure(if m % 2 == 0 { 300 } else { -300 }));
        }
        assert_eq!(c.pull().target, TimeDelta::from_ms(100), "what does not agree says nothing");
        c.push(Some(AvOffset::new(TimeDelta::from_ns(i64::MIN), f32::NAN)));
        c.push(Some(AvOffset::new(TimeDelta::from_ns(i64::MIN), 1.0)));
        assert_eq!(c.pull().target, TimeDelta::from_ms(100));
    }

    #[test]
    fn beyond_the_budget_it_clamps_and_says_so() {
        let mut c = corrector();
        assert_eq!(feed(&mut c, sure(600), 3).state, SyncState::Clamped);
        let got = feed(&mut c, sure(600), 120);
        assert_eq!(got.state, SyncState::Clamped);
        assert_eq!((got.picture_delay(), got.remaining()), (TimeDelta::from_ms(500), TimeDelta::from_ms(100)));
        assert_eq!(c.retargets(), 1);
        assert_eq!(feed(&mut c, sure(420), 120).state, SyncState::Holding);
    }

    #[test]
    fn a_step_applies_at_once_what_is_known() {
        let mut c = corrector();
        feed(&mut c, sure(-200), 1);
        assert_eq!(c.step_now().applied, TimeDelta::ZERO, "nothing is known yet");
        feed(&mut c, sure(-200), 2);
        assert_eq!(c.step_now().sound_delay(), TimeDelta::from_ms(200));
        assert_eq!(feed(&mut c, sure(-190), 2).state, SyncState::Holding);
        assert_eq!(c.step_now().sound_delay(), TimeDelta::from_ms(190), "the operator sees more than the dead zone");
        feed(&mut c, sure(0), 3);
        assert_eq!(c.step_now().applied, TimeDelta::ZERO);
    }

    #[test]
    fn it_is_quick_to_its_first_target_and_while_the_error_shows_and_slow_otherwise() {
        let mut c = corrector();
        let speed = |c: &mut SyncCorrector, m| {
            let before = c.pull().applied;
            c.push(m);
            (c.pull().applied - before).ns() * 25
        };
        feed(&mut c, sure(-100), 3);
        assert_eq!(speed(&mut c, sure(-100)), -10_000_000);
        feed(&mut c, sure(-100), 15);
        feed(&mut c, sure(0), 3);
        assert_eq!(speed(&mut c, sure(0)), 2_000_000, "100 ms late is not detectable");
        feed(&mut c, sure(0), 60);
        feed(&mut c, sure(-80), 3);
        assert_eq!(speed(&mut c, sure(-80)), -10_000_000, "80 ms early is");
        feed(&mut c, sure(-80), 4);
        assert_eq!(speed(&mut c, sure(-80)), -2_000_000);
    }

    #[test]
    fn off_goes_back_to_nothing_slowly_and_another_programme_keeps_what_is_applied() {
        let mut c = corrector();
        feed(&mut c, sure(100), 20);
        c.restart();
        let got = feed(&mut c, None, 10);
        assert_eq!((got.applied, got.state), (TimeDelta::from_ms(100), SyncState::Measuring));
        feed(&mut c, sure(150), 3);
        assert_eq!(feed(&mut c, sure(150), 5).applied, TimeDelta::from_ms(150), "a first lock is quick");
        c.set_on(false);
        let got = feed(&mut c, sure(150), 10);
        assert_eq!((got.applied, got.state), (TimeDelta::from_ms(130), SyncState::Off));
        assert_eq!(feed(&mut c, sure(150), 100).applied, TimeDelta::ZERO);
        c.set_on(true);
        assert_eq!(feed(&mut c, sure(150), 20).applied, TimeDelta::from_ms(150));
        c.reset();
        assert_eq!(c.pull().applied, TimeDelta::ZERO);
        assert_eq!(c.latency(), TimeDelta::ZERO);
    }

    #[test]
    fn a_trace_of_an_offset_is_no_reason_to_touch_the_streams() {
        let mut c = corrector();
        feed(&mut c, sure(80), 20);
        let almost = Some(AvOffset::new(TimeDelta::from_ns(700_000), 1.0));
        assert_eq!(feed(&mut c, almost, 60).applied, TimeDelta::ZERO);
    }

    #[test]
    fn parameters_out_of_range_are_named() {
        let d = SyncConfig::default;
        for (config, want) in [
            (SyncConfig { rate_ms_per_s: f32::NAN, ..d() }, "rate_ms_per_s = NaN"),
            (SyncConfig { acquire_ms_per_s: 1.0, ..d() }, "acquire_ms_per_s = 1 is below"),
            (SyncConfig { hold_ms: 0, ..d() }, "hold_ms = 0"),
            (SyncConfig { max_delay_ms: 5_001, ..d() }, "max_delay_ms = 5001"),
        ] {
            let error = SyncCorrector::new(&config).map(|_| ()).unwrap_err();
            assert!(error.contains(want), "{error}");
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_it_keeps_to_its_rate_and_budget_and_never_turns_away_from_its_target(
            parts in prop::collection::vec((-800_i64..800, 0.8_f32..1.0, 1_usize..200, 0_u8..12), 1..30),
            track in 1_u8..5, quick in 5_u8..20, max_delay_ms in 0_i64..700,
        ) {
            let config = SyncConfig {
                rate_ms_per_s: track.into(), acquire_ms_per_s: quick.into(), max_delay_ms, ..SyncConfig::default()
            };
            let mut c = SyncCorrector::new(&config).unwrap();
            let storage = (c.recent.capacity(), c.sorted.capacity());
            for (ms, confidence, slots, deed) in parts {
                match deed {
                    0 => c.set_on(!c.on),
                    1 => c.restart(),
                    _ => {}
                }
                for _ in 0..slots {
                    let (before, settled) = (c.pull(), !c.acquiring);
                    c.push(Some(AvOffset::new(TimeDelta::from_ms(ms), confidence)));
                    let now = c.pull();
                    let moved = (now.applied - before.applied).abs().ns();
                    prop_assert!(moved <= i64::from(quick) * 40_000);
                    let left = now.target - before.applied;
                    if settled && left <= LATE && left >= -EARLY {
                        prop_assert!(moved <= i64::from(track) * 40_000);
                    }
                    prop_assert!((now.target - now.applied).abs() <= left.abs());
                    prop_assert!(moved > 0 || left == TimeDelta::ZERO);
                    prop_assert!(now.applied.abs() <= TimeDelta::from_ms(max_delay_ms));
                    prop_assert!(now.picture_delay().min(now.sound_delay()) == TimeDelta::ZERO);
                    prop_assert_eq!(now.picture_delay() - now.sound_delay(), now.applied);
                }
            }
            prop_assert_eq!(storage, (c.recent.capacity(), c.sorted.capacity()));
        }
    }
}
