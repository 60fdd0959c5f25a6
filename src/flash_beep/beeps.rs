//! When the beeps of a sound begin: a matched filter, the earliest strong path of each.
//!
//! The sound is compared with the beep and with the beep a quarter of a wave on: the root of both squares is the
//! envelope of the agreement, free of the carrier. Divided by what the sound has there in the beep's band it is a
//! coefficient of 0…1 that knows no loudness: 0.95 for a beep 10 dB above noise, under 0.35 for noise alone. In a room
//! the first path to arrive is the direct one, though a later one may be stronger.

#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "indices of samples and bins"
)]

use super::{BEEP, SWEEP_HZ, beep};
use crate::peaks::vertex;
use crate::time::SampleRate;
use realfft::RealFftPlanner;
use realfft::num_complex::Complex32;

/// A beep.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Beep {
    /// Its onset, ms after the first sample.
    pub(super) at_ms: f64,
    /// The coefficient.
    pub(super) strength: f32,
}

/// Samples of a block, and of those at either end that do not count: the band's filter rings there.
const BLOCK: usize = 1 << 16;
const ENDS: usize = 1 << 12;
/// Coefficient from which it may be a beep; the pattern's intervals tell whether it is.
const LEAST: f32 = 0.3;
/// Nearer than this there are no two beeps, ms.
const APART_MS: f64 = 300.0;
/// The direct path comes so long before the strongest at most, ms, and is at least so strong, of it.
const FIRST_MS: f64 = 25.0;
const FIRST: f32 = 0.5;

/// The beeps of a sound of 16 kHz, in order.
pub(super) fn find(samples: &[f32]) -> Vec<Beep> {
    let agreement = Agreement::of(samples);
    let per_ms = f64::from(SampleRate::ANALYSIS.hz()) / 1e3;
    let apart = (APART_MS * per_ms) as usize;
    let mut strong: Vec<usize> = (0..agreement.envelope.len()).filter(|&i| agreement.is_peak(i)).collect();
    strong.sort_unstable_by(|&a, &b| agreement.coefficient[b].total_cmp(&agreement.coefficient[a]));
    let mut kept: Vec<usize> = Vec::new();
    for i in strong {
        let at = kept.partition_point(|&k| k < i);
        let far = |k: Option<&usize>| k.is_none_or(|&k| k.abs_diff(i) > apart);
        if far(kept.get(at)) && far(at.checked_sub(1).and_then(|a| kept.get(a))) {
            kept.insert(at, i);
        }
    }
    let first = (FIRST_MS * per_ms) as usize;
    kept.into_iter()
        .map(|i| {
            let e = &agreement.envelope;
            // The strongest path may be louder than the one of the best coefficient.
            let top = e[i.saturating_sub(first)..(i + first).min(e.len())].iter().copied().fold(0.0, f32::max);
            let direct = (i.saturating_sub(first)..=i).find(|&j| e[j] >= FIRST * top && local_maximum(e, j));
            let j = direct.unwrap_or(i);
            let fine = if j > 0 && j + 1 < e.len() { vertex(e[j - 1], e[j], e[j + 1]) } else { 0.0 };
            Beep { at_ms: (j as f64 + f64::from(fine)) / per_ms, strength: agreement.coefficient[i] }
        })
        .collect()
}

fn local_maximum(e: &[f32], i: usize) -> bool {
    (i == 0 || e[i - 1] < e[i]) && (i + 1 >= e.len() || e[i + 1] <= e[i])
}

/// How well the sound from each sample on agrees with a beep.
struct Agreement {
    envelope: Vec<f32>,
    /// 0…1.
    coefficient: Vec<f32>,
}

impl Agreement {
    fn is_peak(&self, i: usize) -> bool {
        self.coefficient[i] >= LEAST && local_maximum(&self.envelope, i)
    }

    fn of(samples: &[f32]) -> Self {
        let rate = SampleRate::ANALYSIS;
        let length = rate.index_at(BEEP) as usize;
        let (sine, cosine): (Vec<f32>, Vec<f32>) = (0..length).map(|i| beep(rate.time_of(i as i64).as_s_f64())).unzip();
        let own: f64 = sine.iter().map(|s| f64::from(*s).powi(2)).sum();
        let mut planner = RealFftPlanner::<f32>::new();
        let (forward, back) = (planner.plan_fft_forward(BLOCK), planner.plan_fft_inverse(BLOCK));
        let mut buffer = forward.make_input_vec();
        let mut spectrum = |from: &[f32]| {
            buffer.fill(0.0);
            buffer[..from.len()].copy_from_slice(from);
            let mut out = forward.make_output_vec();
            forward.process(&mut buffer, &mut out).expect("lengths of the plan's own making");
            out
        };
        let bands = band();
        let templates = [spectrum(&sine), spectrum(&cosine)];
        let back_to_time = |mut product: Vec<Complex32>| {
            // The ends of a real signal's spectrum are real.
            for end in [0, product.len() - 1] {
                product[end].im = 0.0;
            }
            let mut out = back.make_output_vec();
            back.process(&mut product, &mut out).expect("lengths of the plan's own making");
            out.iter_mut().for_each(|o| *o /= BLOCK as f32);
            out
        };
        let mut result = Self { envelope: Vec::new(), coefficient: Vec::new() };
        let step = BLOCK - 2 * ENDS;
        let starts = (0..samples.len()).step_by(step);
        for start in starts {
            let mut block = vec![0.0; BLOCK];
            // Silence before the beginning and after the end.
            let skip = ENDS.saturating_sub(start);
            let from = (start + skip).saturating_sub(ENDS);
            let n = (BLOCK - skip).min(samples.len() - from);
            block[skip..skip + n].copy_from_slice(&samples[from..from + n]);
            let sound: Vec<Complex32> = spectrum(&block).iter().zip(&bands).map(|(x, b)| x * b).collect();
            let [with_sine, with_cosine] = [0, 1]
                .map(|k: usize| back_to_time(sound.iter().zip(&templates[k]).map(|(x, t)| x * t.conj()).collect()));
            let banded = back_to_time(sound);
            let mut power: f64 = banded[ENDS..ENDS + length].iter().map(|s| f64::from(*s).powi(2)).sum();
            for i in ENDS..ENDS + step.min(samples.len() - start) {
                let agreement = with_sine[i].hypot(with_cosine[i]);
                // Below −120 dB of full scale nothing is heard.
                let floor = 1e-12 * length as f64;
                result.envelope.push(agreement);
                result.coefficient.push((f64::from(agreement) / (own * power.max(floor)).sqrt()) as f32);
                power += f64::from(banded[i + length]).powi(2) - f64::from(banded[i]).powi(2);
            }
        }
        result
    }
}

/// The gain of each bin: 1 in the beep's band, falling to 0 over half an octave on either side.
fn band() -> Vec<f32> {
    let hz = f64::from(SampleRate::ANALYSIS.hz()) / BLOCK as f64;
    let (low, high) = SWEEP_HZ;
    let side = std::f64::consts::SQRT_2;
    (0..=BLOCK >> 1)
        .map(|k| {
            let f = k as f64 * hz;
            let inside = ((f - low / side) / (low - low / side)).min((high * side - f) / (high * side - high));
            (0.5 - 0.5 * (std::f64::consts::PI * inside.clamp(0.0, 1.0)).cos()) as f32
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flash_beep::Pattern;
    use crate::time::TimeDelta;

    #[test]
    fn beeps_are_found_between_the_samples_across_blocks() {
        let pattern = Pattern::new(TimeDelta::from_ms(20_000));
        let mut sound = vec![0.0; 320_000];
        pattern.sound_into(SampleRate::ANALYSIS, 0, &mut sound);
        let found = find(&sound);
        let want: Vec<f64> = pattern.onsets().map(|t| t.as_ms_f64()).collect();
        assert_eq!(found.len(), want.len());
        for (f, w) in found.iter().zip(&want) {
            assert!((f.at_ms - w).abs() < 0.02 && f.strength > 0.99, "{f:?} {w}");
        }
    }

    #[test]
    fn silence_noise_and_a_tone_are_no_beeps() {
        let mut state = 1_u32;
        let noise = (0..160_000).map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f64::from(state) as f32 / u32::MAX as f32 - 0.5
        });
        let tone = (0..160_000).map(|i| (i as f32 * 0.7).sin());
        assert!(find(&[0.0; 40_000]).is_empty() && find(&[]).is_empty());
        assert!(find(&noise.collect::<Vec<_>>()).iter().all(|b| b.strength < 0.4));
        assert!(find(&tone.collect::<Vec<_>>()).iter().all(|b| b.strength < 0.4));
    }
}
