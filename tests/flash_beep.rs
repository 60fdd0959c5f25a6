//! The flash-and-beep meter on simulated cameras and microphones: what they do to light and sound moves the answer by no
//! more than 3 ms.

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

use proptest::prelude::*;
use seehear::audio::AudioWindow;
use seehear::flash_beep::{CELLS, COLS, FLASH, FlashBeepMeter, Measurement, MeterError, Pattern, ROWS};
use seehear::time::{SampleRate, TimeDelta, Timestamp};

/// Numbers that are the same every time.
struct Chance(u64);

impl Chance {
    /// 0…1.
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as f64 / f64::from(1_u32 << 31)
    }

    /// About normal.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }
}

/// A recording of the pattern.
#[derive(Clone, Debug)]
struct Scene {
    fps: f64,
    /// Share of a picture's time that is exposed.
    exposure: f64,
    /// When the pattern begins, ms.
    begin: f64,
    /// > 0: the sound is late.
    offset: f64,
    /// Of the picture's time stamps, ms, either way.
    jitter: f64,
    /// Share of pictures that are missing.
    dropped: f64,
    /// The camera's luma is a power of the light, and its white is clipped.
    gamma: f64,
    clip: f64,
    /// Standard deviation of each cell and of all cells together from picture to picture, levels.
    noise: f64,
    flicker: f64,
    /// Screen in the picture: left, top, width, height, cells.
    screen: [f64; 4],
    /// The screen moves by so much, cells.
    shake: f64,
    /// Share of flashes that are covered, of beeps that are not heard.
    covered: f64,
    unheard: f64,
    /// The sound's clock against the picture's, ms a minute.
    drift: f64,
    /// Speech that is this much below the beeps, dB.
    speech: Option<f64>,
    /// Energy of the reverberation to that of the direct sound, dB.
    reverberation: Option<f64>,
    /// Length of the recording, s.
    seconds: f64,
    seed: u64,
}

impl Default for Scene {
    fn default() -> Self {
        Self {
            fps: 30.0,
            exposure: 1.0,
            begin: 2_345.6,
            offset: 85.0,
            jitter: 0.0,
            dropped: 0.0,
            gamma: 1.0,
            clip: 1.0,
            noise: 1.0,
            flicker: 0.0,
            screen: [5.3, 2.2, 5.0, 4.0],
            shake: 0.0,
            covered: 0.0,
            unheard: 0.0,
            drift: 0.0,
            speech: None,
            reverberation: None,
            seconds: 65.0,
            seed: 7,
        }
    }
}

impl Scene {
    fn measure(&self) -> Result<Measurement, MeterError> {
        let pattern = Pattern::default();
        let mut chance = Chance(self.seed);
        let onsets: Vec<f64> = pattern.onsets().map(|t| t.as_ms_f64()).collect();
        let mut meter = FlashBeepMeter::new(pattern.clone());

        let lit: Vec<f64> = onsets.iter().filter(|_| chance.uniform() >= self.covered).copied().collect();
        let interval = 1e3 / self.fps;
        let open = interval * self.exposure;
        for k in 0..(self.seconds * self.fps) as u32 {
            let t = f64::from(k) * interval;
            let overlap = |s: f64| {
                let on = self.begin + s;
                ((t + open).min(on + FLASH.as_ms_f64()) - t.max(on)).max(0.0) / open
            };
            let light: f64 = lit.iter().map(|s| overlap(*s)).sum();
            let white = (light.min(self.clip) / self.clip).powf(self.gamma);
            let (dx, dy) = (self.shake * (0.003 * t).sin(), self.shake * (0.0047 * t).cos());
            let [left, top, w, h] = self.screen;
            let all = self.flicker * chance.normal();
            let mut cells = [0_u8; CELLS];
            for (i, cell) in cells.iter_mut().enumerate() {
                let (x, y) = ((i % COLS) as f64, (i / COLS) as f64);
                let inside = |at: f64, from: f64, size: f64| ((at + 1.0).min(from + size) - at.max(from)).max(0.0);
                let share = inside(x, left + dx, w) * inside(y, top + dy, h);
                let back = 50.0 + 60.0 * ((x * 3.1 + y * 1.7).sin() * 0.5 + 0.5);
                let level = back * (1.0 - share) + share * (18.0 + 200.0 * white);
                *cell = (level + all + self.noise * chance.normal()).clamp(0.0, 255.0).round() as u8;
            }
            let stamp = t + self.jitter * (2.0 * chance.uniform() - 1.0);
            if chance.uniform() >= self.dropped {
                meter.push_cells(Timestamp::from_ns((stamp * 1e6) as i64), &cells);
            }
        }
        assert_eq!(ROWS * COLS, CELLS);

        let mut sound = vec![0.0_f32; (self.seconds * 16e3) as usize];
        let mut whole = vec![0.0_f32; SampleRate::ANALYSIS.index_at(pattern.length()) as usize];
        pattern.sound_into(SampleRate::ANALYSIS, 0, &mut whole);
        let tail: Vec<(usize, f64)> = match self.reverberation {
            Some(db) => {
                let mut t: Vec<(usize, f64)> = (0..300)
                    .map(|_| {
                        let at = 40 + (chance.uniform() * 8_000.0) as usize; // 2.5 … 500 ms
                        (at, chance.normal() * (-(at as f64) / 1_600.0).exp())
                    })
                    .collect();
                let energy: f64 = t.iter().map(|(_, g)| g * g).sum();
                let scale = (10_f64.powf(db / 10.0) / energy).sqrt();
                t.iter_mut().for_each(|(_, g)| *g *= scale);
                t
            }
            None => Vec::new(),
        };
        for s in &onsets {
            if chance.uniform() < self.unheard {
                continue;
            }
            let from = (s * 16.0).round() as usize;
            // Each beep on its own, so that the clock may run away; the offset is that of the middle.
            let late = self.offset + self.drift * (s - 30_000.0) / 60_000.0;
            let to = ((self.begin + s + late) * 16.0).round() as i64;
            for (i, x) in whole[from..from + 800].iter().enumerate() {
                let mut put = |at: i64, x: f64| {
                    if let Some(o) = usize::try_from(at).ok().and_then(|i| sound.get_mut(i)) {
                        *o += 0.3 * x as f32;
                    }
                };
                put(to + i as i64, f64::from(*x));
                tail.iter().for_each(|(d, g)| put(to + i as i64 + *d as i64, f64::from(*x) * g));
            }
        }
        if let Some(db) = self.speech {
            let power: f64 =
                whole[..].iter().map(|x| f64::from(0.3 * x).powi(2)).sum::<f64>() / (onsets.len() as f64 * 800.0);
            let voice = speech(sound.len(), &mut chance);
            let own = voice.iter().map(|x| x * x).sum::<f64>() / voice.len() as f64;
            let gain = (power / own).sqrt() * 10_f64.powf(-db / 20.0);
            sound.iter_mut().zip(&voice).for_each(|(s, v)| *s += (gain * v) as f32);
        }
        for (k, chunk) in sound.chunks(1_024).enumerate() {
            let start = Timestamp::ZERO + SampleRate::ANALYSIS.time_of(k as i64 * 1_024);
            meter.push_sound(AudioWindow { start, samples: chunk, discont: false });
        }
        meter.measure()
    }

    /// How far the answer is off, ms.
    fn error(&self) -> f64 {
        match self.measure() {
            Ok(m) => m.offset.as_ms_f64() - self.offset,
            Err(e) => panic!("{e}: {self:?}"),
        }
    }
}

/// Something like speech: syllables of gliding harmonics, and hisses.
fn speech(n: usize, chance: &mut Chance) -> Vec<f64> {
    let (mut pitch, mut phase, mut hiss, mut level, mut goal) = (120.0, 0.0, 0.0, 0.0, 0.0);
    (0..n)
        .map(|i| {
            if i % 2_400 == 0 {
                (goal, hiss, pitch) =
                    (chance.uniform(), f64::from(u8::from(chance.uniform() < 0.3)), 90.0 + 80.0 * chance.uniform());
            }
            level += (goal - level) * 0.002;
            phase += pitch / 16e3;
            let voiced: f64 =
                (1..24).map(|h| (std::f64::consts::TAU * phase * f64::from(h)).sin() / f64::from(h)).sum();
            level * ((1.0 - hiss) * voiced + hiss * 0.5 * (chance.uniform() - 0.5))
        })
        .collect()
}

#[test]
fn every_frame_rate_and_exposure_is_within_three_milliseconds() {
    for fps in [25.0, 30_000.0 / 1_001.0, 29.9, 30.01, 50.0, 60_000.0 / 1_001.0, 60.02, 15.03] {
        for exposure in [0.05, 0.3, 0.6, 1.0] {
            let scene = Scene { fps, exposure, ..Scene::default() };
            let error = scene.error();
            assert!(error.abs() <= 3.0, "{fps} fps, exposed for {exposure}: {error} ms");
        }
    }
}

#[test]
fn what_cameras_and_rooms_do_moves_it_by_no_more_than_three_milliseconds() {
    let base = Scene { exposure: 0.5, fps: 29.97, ..Scene::default() };
    for (what, scene) in [
        ("gamma", Scene { gamma: 0.45, ..base.clone() }),
        ("clipped white", Scene { gamma: 0.45, clip: 0.3, ..base.clone() }),
        ("noise", Scene { noise: 12.0, ..base.clone() }),
        ("flicker", Scene { flicker: 8.0, ..base.clone() }),
        ("a small screen", Scene { screen: [7.6, 4.1, 1.2, 0.9], ..base.clone() }),
        ("a tiny screen", Scene { screen: [7.3, 4.3, 0.6, 0.4], ..base.clone() }),
        ("a camera held by hand", Scene { shake: 0.8, ..base.clone() }),
        ("stamps that jitter", Scene { jitter: 6.0, ..base.clone() }),
        ("pictures missing", Scene { dropped: 0.15, ..base.clone() }),
        ("variable rate", Scene { dropped: 0.3, jitter: 4.0, exposure: 1.0, ..base.clone() }),
        ("flashes covered, beeps unheard", Scene { covered: 0.3, unheard: 0.3, ..base.clone() }),
        ("speech", Scene { speech: Some(10.0), ..base.clone() }),
        ("loud speech", Scene { speech: Some(0.0), ..base.clone() }),
        ("reverberation", Scene { reverberation: Some(0.0), ..base.clone() }),
        ("a church", Scene { reverberation: Some(6.0), speech: Some(10.0), ..base.clone() }),
        ("begun in the middle", Scene { begin: -25_000.0, seconds: 40.0, ..base.clone() }),
        ("long before and after", Scene { begin: 31_000.0, seconds: 130.0, ..base.clone() }),
        (
            "all of it",
            Scene {
                gamma: 0.45,
                noise: 5.0,
                flicker: 3.0,
                shake: 0.4,
                jitter: 3.0,
                dropped: 0.05,
                covered: 0.1,
                unheard: 0.1,
                speech: Some(10.0),
                reverberation: Some(0.0),
                ..base.clone()
            },
        ),
    ] {
        let m = scene.measure().unwrap_or_else(|e| panic!("{what}: {e}"));
        let error = m.offset.as_ms_f64() - scene.offset;
        println!("{what}: {error:.2} ms, told ±{}, spread {}, {} events", m.error, m.spread, m.events);
        assert!(error.abs() <= 3.0, "{what}: {error} ms, {m:?}");
    }
}

#[test]
fn a_camera_in_step_with_the_screen_says_what_it_cannot_see() {
    // Every flash falls between two exposures, in two phases: 8 ms of the truth are never lit.
    let scene = Scene { fps: 30.0, exposure: 0.2, begin: 2_000.0 - 12.0, ..Scene::default() };
    let m = scene.measure().unwrap();
    let (error, told) = ((m.offset.as_ms_f64() - scene.offset).abs(), m.undecided.as_ms_f64());
    assert!(told > 3.0 && error <= told + 1.5, "{error} ms, {m:?}");
    // A pattern that no camera took is in step too; what its stamps say is the truth.
    let file = Scene { fps: 60.0, begin: 2_000.0, ..Scene::default() };
    assert!(file.error().abs() < 1.0, "{}", file.error());
    let free = Scene { fps: 29.9, exposure: 0.2, ..Scene::default() };
    assert!(free.measure().unwrap().undecided.as_ms_f64() < 3.0);
}

#[test]
fn drift_is_told_where_there_is_one() {
    let still = Scene { fps: 29.97, exposure: 0.5, ..Scene::default() };
    assert_eq!(still.measure().unwrap().drift_ms_per_min, None);
    let drifts = Scene { drift: 30.0, ..still };
    let m = drifts.measure().unwrap();
    assert!((m.drift_ms_per_min.unwrap() - 30.0).abs() < 6.0, "{m:?}");
    assert!((m.offset.as_ms_f64() - drifts.offset).abs() < 3.0, "{m:?}");
}

#[test]
fn what_is_not_there_is_an_error_that_says_so() {
    let dark = Scene { covered: 1.1, noise: 4.0, ..Scene::default() };
    assert_eq!(dark.measure(), Err(MeterError::NoFlashes));
    let quiet = Scene { unheard: 1.1, ..Scene::default() };
    assert!(matches!(quiet.measure(), Err(MeterError::NoBeeps { flashes: 50.. })), "{:?}", quiet.measure());
    let talk = Scene { unheard: 1.1, speech: Some(0.0), ..Scene::default() };
    assert!(matches!(talk.measure(), Err(MeterError::NoBeeps { .. })), "{:?}", talk.measure());
    let few = Scene { unheard: 0.93, seed: 3, ..Scene::default() };
    assert!(matches!(few.measure(), Err(MeterError::TooFew { beeps: 1..8, .. })), "{:?}", few.measure());
    let short = Scene { seconds: 6.0, ..Scene::default() };
    assert_eq!(short.measure(), Err(MeterError::NoFlashes));
    for offset in [2_100.0, -3_000.0, 9_000.0] {
        let far = Scene { offset, begin: 12_000.0, seconds: 80.0, ..Scene::default() };
        let Err(MeterError::Beyond { offset: told }) = far.measure() else { panic!("{:?}", far.measure()) };
        assert!((told.as_ms_f64() - offset).abs() < 45.0, "{told}");
    }
    assert_eq!(FlashBeepMeter::new(Pattern::default()).measure(), Err(MeterError::NoFlashes));
    let mut long = FlashBeepMeter::new(Pattern::default());
    for s in 0..700 {
        long.push_cells(Timestamp::from_ms(1_000 * s), &[0; CELLS]);
    }
    assert_eq!(long.measure(), Err(MeterError::TooLong));
}

#[test]
fn a_player_that_stutters_is_not_believed() {
    // Each beep is late by 0 to 80 ms.
    let pattern = Pattern::default();
    let mut meter = FlashBeepMeter::new(pattern.clone());
    let mut chance = Chance(5);
    let onsets: Vec<f64> = pattern.onsets().map(|t| t.as_ms_f64()).collect();
    for k in 0..1_800_u32 {
        let t = f64::from(k) * 33.37;
        let lit = onsets.iter().any(|s| (*s..s + 133.0).contains(&t));
        meter.push_cells(Timestamp::from_ns((t * 1e6) as i64), &[if lit { 230 } else { 20 }; CELLS]);
    }
    let mut sound = vec![0.0_f32; 960_000];
    let mut whole = sound.clone();
    pattern.sound_into(SampleRate::ANALYSIS, 0, &mut whole);
    for s in &onsets {
        let (from, late) = ((s * 16.0) as usize, (chance.uniform() * 1_280.0) as usize);
        sound[from + late..from + late + 800].copy_from_slice(&whole[from..from + 800]);
    }
    meter.push_sound(AudioWindow { start: Timestamp::ZERO, samples: &sound, discont: false });
    let told = meter.measure();
    assert!(matches!(told, Err(MeterError::TooSpread { .. })), "{told:?}");
}

#[test]
fn no_part_of_the_pattern_is_like_another() {
    let pattern = Pattern::default();
    let onsets: Vec<i64> = pattern.onsets().map(|t| t.ns() / 1_000_000).collect();
    assert!((50..60).contains(&onsets.len()), "{}", onsets.len());
    // By how many flashes the pattern, laid over itself at another place, would be taken for itself.
    let alike = |shift: i64| onsets.iter().filter(|a| onsets.iter().any(|b| (*a - b - shift).abs() <= 40)).count();
    let most = (100..60_000).step_by(5).map(alike).max().unwrap();
    assert!(most * 4 <= onsets.len(), "{most} of {}", onsets.len());
    let lit = (0..pattern.frames()).filter(|f| pattern.is_lit(*f)).count();
    assert_eq!(lit, onsets.len() * 8);
    assert!(pattern.onsets().all(|t| pattern.is_lit((t.as_s_f64() * 60.0).round() as u32)));
    let half: Vec<TimeDelta> = Pattern::new(TimeDelta::from_ms(30_000)).onsets().collect();
    assert!(pattern.onsets().take(half.len()).eq(half), "a shorter one is the beginning of a longer one");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn any_offset_and_phase(
        offset in -1_990_i64..1_990,
        begin in 2_500.0..4_500.0,
        fps in prop::sample::select(vec![25.0, 29.97, 30.003, 59.94]),
        exposure in 0.1..1.0,
        seed in 0_u64..1_000,
    ) {
        let scene = Scene {
            offset: offset as f64, begin, fps, exposure, seed,
            noise: 3.0, jitter: 1.0, gamma: 0.45, speech: Some(10.0), seconds: 70.0, ..Scene::default()
        };
        let m = scene.measure();
        prop_assert!(m.is_ok(), "{:?}", m);
        let m = m.unwrap();
        let error = m.offset.as_ms_f64() - scene.offset;
        // 30.003 fps are in step with a screen of 60 Hz.
        prop_assert!(m.undecided.as_ms_f64() <= if fps == 30.003 { 17.0 } else { 4.0 }, "{:?}", m);
        prop_assert!(error.abs() <= 3.0 + m.undecided.as_ms_f64(), "{} ms: {:?}", error, m);
    }
}
