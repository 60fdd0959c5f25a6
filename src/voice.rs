//! Voice activity: is there sound that stands out of the background?
//!
//! Level against a floor: the floor is the lowest level of the last seconds, followed at once downwards and slowly
//! upwards; sound is heard while the level is well above it. It asks for no speech in particular (music passes); that
//! somebody in the picture makes the sound is for the attention to say.

#![expect(clippy::cast_precision_loss, reason = "a few hundred samples")]

use crate::align::SLOT_SAMPLES;
use crate::time::{SLOT, TimeDelta};
use serde::{Deserialize, Serialize};

/// Parameters of the voice stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VoiceConfig {
    /// Level below which nothing is heard at all, dBFS.
    pub min_dbfs: f32,
    /// How far above the floor sound is heard, dB.
    pub above_floor_db: f32,
    /// How long a voice goes on after the last sound, ms: pauses between words.
    pub hold_ms: i64,
    /// How fast the floor follows a background that gets louder, dB per second.
    pub floor_rise_db_per_s: f32,
}

impl Default for VoiceConfig {
    fn default() -> Self {
        Self { min_dbfs: -60.0, above_floor_db: 8.0, hold_ms: 240, floor_rise_db_per_s: 3.0 }
    }
}

/// The voice stage: push a slot of sound, pull whether a voice may be in it.
#[derive(Debug)]
pub struct VoiceActivity {
    config: VoiceConfig,
    hold_slots: usize,
    floor_dbfs: f32,
    since: usize,
    ready: bool,
}

impl VoiceActivity {
    /// With these parameters.
    #[must_use]
    pub fn new(config: &VoiceConfig) -> Self {
        Self {
            config: config.clone(),
            hold_slots: TimeDelta::from_ms(config.hold_ms).slots_ceil(),
            floor_dbfs: config.min_dbfs,
            since: usize::MAX,
            ready: false,
        }
    }

    /// Takes the next slot's sound.
    pub fn push(&mut self, samples: &[f32; SLOT_SAMPLES]) {
        let power = samples.iter().map(|s| s * s).sum::<f32>() / SLOT_SAMPLES as f32;
        // Corrupt sound may hold NaN or infinity: that is no voice, and must not stick in the floor.
        let dbfs = if power.is_finite() { 10.0 * power.max(1e-12).log10() } else { -120.0 };
        self.since = self.since.saturating_add(1);
        if dbfs > self.config.min_dbfs.max(self.floor_dbfs + self.config.above_floor_db) {
            self.since = 0;
        }
        #[expect(clippy::cast_possible_truncation, reason = "0.04")]
        let rise = self.config.floor_rise_db_per_s * SLOT.as_s_f64() as f32;
        self.floor_dbfs = (self.floor_dbfs + rise).min(dbfs.max(self.config.min_dbfs - self.config.above_floor_db));
        self.ready = true;
    }

    /// Whether a voice may be heard in the last slot pushed.
    pub fn pull(&mut self) -> Option<bool> {
        std::mem::take(&mut self.ready).then_some(self.since <= self.hold_slots)
    }

    /// None.
    #[must_use]
    pub fn latency(&self) -> TimeDelta {
        TimeDelta::ZERO
    }

    /// Begins a new stream.
    pub fn reset(&mut self) {
        self.floor_dbfs = self.config.min_dbfs;
        self.since = usize::MAX;
        self.ready = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(level: impl Fn(usize) -> f32, slots: usize) -> f32 {
        let mut v = VoiceActivity::new(&VoiceConfig::default());
        let mut heard = 0.0;
        for k in 0..slots {
            let mut s = [0.0; SLOT_SAMPLES];
            for (i, x) in s.iter_mut().enumerate() {
                *x = level(k) * (i as f32 * 0.5).sin();
            }
            v.push(&s);
            heard += f32::from(u8::from(v.pull().unwrap()));
        }
        heard / slots as f32
    }

    #[test]
    fn silence_and_a_steady_hum_are_no_voice_and_syllables_are() {
        assert!(share(|_| 0.0, 500) < 1e-6);
        assert!(share(|_| 0.05, 2000) < 0.2, "the floor rises to a steady sound");
        assert!(share(|k| if k % 8 < 5 { 0.1 } else { 0.005 }, 500) > 0.99);
        assert!(share(|k| if k < 250 && k % 8 < 5 { 0.1 } else { 0.0 }, 500) < 0.53);
    }

    #[test]
    fn nan_is_no_voice_for_ever() {
        let mut v = VoiceActivity::new(&VoiceConfig::default());
        v.push(&[f32::NAN; SLOT_SAMPLES]);
        assert_eq!(v.pull(), Some(false));
        v.push(&[0.3; SLOT_SAMPLES]);
        assert_eq!(v.pull(), Some(true));
    }
}
