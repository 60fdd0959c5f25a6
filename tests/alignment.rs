//! Alignment under what real sources do: any frame rate, variable frame rate, jitter, drops, skewed clocks, late
//! starts, gaps and jumps. A simulated source with its own clock stamps each picture with the time at which it was
//! taken, so that every slot can be asked what it shows.

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

use common::noise;
use proptest::prelude::*;
use seehear::align::{AlignCounters, Aligner};
use seehear::audio::AudioWindow;
use seehear::frame::Frame;
use seehear::time::{SLOT, TimeDelta, Timestamp};

/// What one window held.
#[derive(Clone, Debug, PartialEq)]
struct Slot {
    start: Timestamp,
    /// When the picture was taken.
    shown: Timestamp,
    lag: TimeDelta,
    repeated: bool,
    lost: bool,
    discont: bool,
    first_sample: f32,
}

/// A camera and a microphone on clocks of their own.
struct Source {
    frames: Vec<(Timestamp, Option<TimeDelta>)>,
    /// (start, first sample's value, length); a sample's value is its index in the microphone's count, in units of 1.
    sound: Vec<(Timestamp, Vec<f32>)>,
}

impl Source {
    /// Sound of `seconds` from `from`, in 20 ms buffers; the microphone's clock runs `ppm` fast of running time, its
    /// stamps are rounded to 1 ms.
    fn microphone(from: Timestamp, seconds: i64, ppm: i64) -> Vec<(Timestamp, Vec<f32>)> {
        (0..seconds * 50)
            .map(|k| {
                let ns = k * 20_000_000 * 1_000_000 / (1_000_000 + ppm);
                let start = from + TimeDelta::from_ns(ns / 1_000_000 * 1_000_000);
                (start, (0..320).map(|i| (k * 320 + i) as f32 / 16_000.0).collect())
            })
            .collect()
    }

    /// In the order of time, as a muxer would; returns all windows.
    fn run(self, max_lead: Option<TimeDelta>) -> (Vec<Slot>, AlignCounters) {
        let mut a = Aligner::new(max_lead);
        let mut slots = Vec::new();
        let mut sound = self.sound.into_iter().peekable();
        for (pts, duration) in self.frames {
            while let Some((start, samples)) = sound.next_if(|(t, _)| *t <= pts) {
                a.push_audio(AudioWindow { start, samples: &samples, discont: false });
                pull(&mut a, &mut slots);
            }
            a.push_frame(Frame { pts, duration, picture: pts });
            pull(&mut a, &mut slots);
        }
        a.end_video();
        for (start, samples) in sound {
            a.push_audio(AudioWindow { start, samples: &samples, discont: false });
            pull(&mut a, &mut slots);
        }
        a.end_audio();
        pull(&mut a, &mut slots);
        (slots, a.counters())
    }
}

fn pull(a: &mut Aligner<Timestamp>, into: &mut Vec<Slot>) {
    while let Some(w) = a.pull() {
        into.push(Slot {
            start: w.start,
            shown: *w.picture,
            lag: w.picture_lag,
            repeated: w.repeated,
            lost: w.sound_lost,
            discont: w.discont,
            first_sample: w.samples[0],
        });
    }
}

fn ms(t: i64) -> Timestamp {
    Timestamp::from_ms(t)
}

fn frames(n: i64, num: i64, den: i64, durations: bool) -> Vec<(Timestamp, Option<TimeDelta>)> {
    let step = TimeDelta::from_ns(1_000_000_000 * den / num);
    (0..n).map(|k| (Timestamp::from_ns(k * 1_000_000_000 * den / num), durations.then_some(step))).collect()
}

#[test]
fn every_rate_shows_the_picture_of_the_slots_middle() {
    for (num, den) in [(24_000, 1001), (24, 1), (25, 1), (30_000, 1001), (30, 1), (50, 1), (60, 1), (12, 1)] {
        for durations in [true, false] {
            let taken = frames(20 * num / den, num, den, durations);
            let source = Source { frames: taken.clone(), sound: Source::microphone(ms(0), 20, 0) };
            let (slots, counters) = source.run(None);
            // A last picture of no stated duration counts as a slot long.
            assert!(
                (498..=500 + i32::from(!durations) as usize).contains(&slots.len()),
                "{num}/{den}: {}",
                slots.len()
            );
            for (k, slot) in slots.iter().enumerate() {
                assert_eq!(slot.start, Timestamp::ZERO + SLOT * k as i64);
                let middle = slot.start + TimeDelta::from_ms(20);
                let want = taken.iter().rev().find(|(t, _)| *t <= middle).unwrap().0;
                assert_eq!(slot.shown, want, "{num}/{den} slot {k}");
                let sample = if k < 500 { (k * 640) as f32 / 16_000.0 } else { 0.0 };
                assert_eq!(slot.first_sample, sample);
            }
            assert_eq!(counters.late + counters.jumps + counters.audio.gaps, 0);
        }
    }
}

#[test]
fn late_starts_of_either_stream() {
    // The sound 500 ms late: silence first, marked.
    let source = Source { frames: frames(50, 25, 1, true), sound: Source::microphone(ms(500), 2, 0) };
    let (slots, _) = source.run(None);
    assert!(slots[..12].iter().all(|s| s.lost && s.first_sample == 0.0));
    assert!(!slots[13].lost);
    assert_eq!(slots[13].first_sample, 0.02, "slot 13 begins at 520 ms, 20 ms into the sound");
    // The picture 500 ms late: the grid begins with it, on the sound of its own time.
    let late: Vec<_> = frames(50, 25, 1, true).into_iter().map(|(t, d)| (t + TimeDelta::from_ms(507), d)).collect();
    let (slots, _) = Source { frames: late, sound: Source::microphone(ms(0), 3, 0) }.run(None);
    assert_eq!((slots[0].start, slots[0].shown), (ms(507), ms(507)));
    assert_eq!(slots[0].first_sample, 0.507);
}

#[test]
fn the_pictures_age_is_told() {
    let lags = |taken: Vec<(Timestamp, Option<TimeDelta>)>| -> Vec<f64> {
        let (slots, _) = Source { frames: taken, sound: Source::microphone(ms(0), 20, 0) }.run(None);
        slots.iter().take(490).map(|s| s.lag.as_ms_f64()).collect()
    };
    let mean = |lags: &[f64]| lags.iter().sum::<f64>() / lags.len() as f64;
    // Frames that fall on the slots are as old as they, however late the first one comes.
    for late in [0, 7, 507] {
        let taken = frames(500, 25, 1, true).into_iter().map(|(t, d)| (t + TimeDelta::from_ms(late), d)).collect();
        assert!(lags(taken).iter().all(|&lag| lag == 0.0));
    }
    // A first frame whose stamp is off moves the grid, not the pictures: the others tell.
    for (moved, want) in [(21, 19.0), (-15, 15.0), (15, -15.0)] {
        let mut taken = frames(500, 25, 1, true);
        taken[1..].iter_mut().for_each(|(t, _)| *t = *t + TimeDelta::from_ms(moved));
        assert!(lags(taken)[2..].iter().all(|&lag| lag == want), "{moved}");
    }
    // Other rates fall on the slots in every way, and are as old as they on average.
    for (num, den) in [(24, 1), (30_000, 1_001), (60_000, 1_001), (24_000, 1_001)] {
        let got = mean(&lags(frames(i64::from(num) * 20 / i64::from(den), num.into(), den.into(), true)));
        assert!(got.abs() < 1.5, "{num}/{den}: {got}");
    }
    // A frame that is held says what it said when it was taken.
    assert_eq!(lags(frames(250, 25, 2, true))[..4], [0.0, 40.0, 0.0, 40.0]);
}

#[test]
fn a_dropped_frame_is_held_and_a_sound_gap_is_silence() {
    let mut taken = frames(100, 25, 1, true);
    taken.drain(40..50);
    let mut sound = Source::microphone(ms(0), 4, 0);
    sound.drain(100..120); // 2.0 to 2.4 s
    let (slots, counters) = Source { frames: taken, sound }.run(None);
    assert_eq!(slots.len(), 100);
    assert!(slots[40..50].iter().all(|s| s.repeated && s.shown == ms(39 * 40)));
    assert!(slots[50..60].iter().all(|s| s.lost), "2.0 to 2.4 s");
    assert!(!slots[49].lost && !slots[60].lost);
    assert_eq!(slots[60].first_sample, 2.4);
    assert_eq!((counters.repeated, counters.audio.gaps), (10, 1));
}

#[test]
fn a_jump_of_both_streams_is_a_new_beginning() {
    for jump in [3_600_000, -3_000] {
        let shift = |t: Timestamp| if t >= ms(4_000) { t + TimeDelta::from_ms(jump) } else { t };
        let taken = frames(200, 25, 1, true).into_iter().map(|(t, d)| (shift(t), d)).collect();
        let sound = Source::microphone(ms(0), 8, 0).into_iter().map(|(t, s)| (shift(t), s)).collect();
        // In the order of arrival, not of time stamps.
        let source = Source { frames: taken, sound };
        let (slots, counters) = run_interleaved(source);
        assert!(slots.len() <= 210, "an hour was made up: {} slots", slots.len());
        assert!(counters.jumps >= 1, "{jump}");
        let last = slots.last().unwrap();
        assert_eq!(last.start, ms(7_960 + jump), "{jump}");
        assert!((last.first_sample - 7.96).abs() < 0.01, "{jump}: sound and picture together again: {last:?}");
        assert!(slots.iter().filter(|s| s.discont).count() >= 2);
    }
}

/// One frame and two buffers of sound by turns.
fn run_interleaved(source: Source) -> (Vec<Slot>, AlignCounters) {
    let mut a = Aligner::new(None);
    let mut slots = Vec::new();
    let mut sound = source.sound.into_iter();
    for (pts, duration) in source.frames {
        a.push_frame(Frame { pts, duration, picture: pts });
        for (start, samples) in sound.by_ref().take(2) {
            a.push_audio(AudioWindow { start, samples: &samples, discont: false });
        }
        pull(&mut a, &mut slots);
    }
    a.end_video();
    a.end_audio();
    pull(&mut a, &mut slots);
    (slots, a.counters())
}

#[test]
fn a_still_is_shown_as_long_as_the_sound_lasts() {
    let source = Source { frames: vec![(ms(0), None)], sound: Source::microphone(ms(0), 10, 0) };
    let (slots, _) = source.run(None);
    assert_eq!(slots.len(), 250);
    assert!(slots[1..].iter().all(|s| s.repeated));
}

#[test]
fn live_a_dead_microphone_or_camera_holds_nothing_up() {
    let lead = TimeDelta::from_ms(500);
    let source = Source { frames: frames(250, 25, 1, true), sound: Source::microphone(ms(0), 3, 0) };
    let mut a = Aligner::new(Some(lead));
    let mut slots = Vec::new();
    for (k, (pts, duration)) in source.frames.iter().enumerate() {
        a.push_frame(Frame { pts: *pts, duration: *duration, picture: *pts });
        for (start, samples) in source.sound.iter().skip(k * 2).take(2) {
            a.push_audio(AudioWindow { start: *start, samples, discont: false });
        }
        pull(&mut a, &mut slots);
        let behind = k as i64 - slots.len() as i64;
        assert!(behind <= 13, "{behind} slots behind at frame {k}");
    }
    assert!(slots[100..].iter().all(|s| s.lost), "the microphone died at 3 s");

    let mut a = Aligner::new(Some(lead));
    let mut slots = Vec::new();
    a.push_frame(Frame { pts: ms(0), duration: None, picture: ms(0) });
    for (start, samples) in Source::microphone(ms(0), 5, 0) {
        a.push_audio(AudioWindow { start, samples: &samples, discont: false });
        pull(&mut a, &mut slots);
    }
    assert!(slots.len() > 105, "the camera died at 0 s, the sound goes on: {}", slots.len());
}

/// A machine that is far behind gives the end of the sound before the last pictures: what is told must still end.
#[test]
fn live_the_end_of_the_sound_far_ahead_of_the_pictures_ends() {
    let mut a = Aligner::new(Some(TimeDelta::from_ms(1_000)));
    for k in 0..25 {
        a.push_frame(Frame { pts: ms(40 * k), duration: Some(TimeDelta::from_ms(40)), picture: ms(40 * k) });
    }
    a.push_audio(AudioWindow { start: Timestamp::ZERO, samples: &[0.1; 16_000 * 3], discont: true });
    a.end_audio();
    let mut told = 0;
    while a.pull().is_some() {
        told += 1;
        assert!(told <= 75, "slots of nothing");
    }
    for k in 25..75 {
        a.push_frame(Frame { pts: ms(40 * k), duration: Some(TimeDelta::from_ms(40)), picture: ms(40 * k) });
    }
    a.end_video();
    while a.pull().is_some() {
        told += 1;
        assert!(told <= 75, "slots of nothing");
    }
    assert_eq!(told, 75);
}

proptest! {
    /// A camera's phase is the grid's: jitter of ±15 ms neither repeats nor loses a frame at 25 fps.
    #[test]
    fn camera_jitter_changes_nothing(seed in 0u64..10_000, phase in 0i64..40) {
        let taken: Vec<_> = (0..250)
            .map(|k| {
                let jitter = if k == 0 { 0.0 } else { noise(seed, k as u64) * 15e6 };
                (Timestamp::from_ns(phase * 1_000_000 + k * 40_000_000 + jitter as i64), None)
            })
            .collect();
        let source = Source { frames: taken.clone(), sound: Source::microphone(ms(0), 11, 0) };
        let (slots, counters) = source.run(None);
        prop_assert_eq!(counters.late + counters.unused, 0);
        for (slot, (t, _)) in slots.iter().zip(&taken) {
            prop_assert_eq!(slot.shown, *t);
        }
    }

    /// Variable frame rate with drops: every slot shows the last picture not after its middle.
    #[test]
    fn variable_frame_rate(seed in 0u64..10_000) {
        let mut t = 0;
        let mut taken = Vec::new();
        for k in 0..300 {
            taken.push((ms(t), None));
            t += 5 + (noise(seed, k).abs() * 110.0) as i64;
        }
        let source = Source { frames: taken.clone(), sound: Source::microphone(ms(0), t / 1000, 0) };
        let (slots, _) = source.run(None);
        prop_assert!(slots.len() as i64 >= t / 40 - 30);
        for slot in &slots {
            let middle = slot.start + TimeDelta::from_ms(20);
            prop_assert_eq!(slot.shown, taken.iter().rev().find(|(t, _)| *t <= middle).unwrap().0);
        }
    }

    /// A microphone whose clock is off stays with the picture: what is heard at a slot was spoken within 4 ms of it.
    #[test]
    fn a_skewed_microphone_is_followed(ppm in -200i64..200) {
        let source = Source { frames: frames(25 * 120, 25, 1, true), sound: Source::microphone(ms(0), 121, ppm) };
        let (slots, counters) = source.run(None);
        prop_assert_eq!(counters.audio.gaps, 0);
        let last = slots.last().unwrap();
        // The microphone's own count at this instant of running time.
        let truth = last.start.as_ms_f64() / 1000.0 * (1.0 + ppm as f64 / 1e6);
        prop_assert!((f64::from(last.first_sample) - truth).abs() < 0.004, "{} {}", last.first_sample, truth);
    }
}
