//! A delay line for sound whose delay can move: as many sample frames come out as go in, each as it was `d` before.
//!
//! A moving delay reads between the samples: a band-limited interpolation with a Kaiser-windowed sinc of 32 taps, from a
//! table of 512 phases with linear interpolation between them (J. O. Smith, *Digital Audio Resampling*). A slewed sine
//! is within −104 dB of the exact one up to 16 kHz at a rate of 48 kHz (two thirds of half the rate). Three cases differ:
//! - a delay at rest on a whole sample copies the input bit for bit, no delay at all included;
//! - below 15 samples (0.3 ms at 48 kHz) the line does not know what comes after the place it reads. There a polynomial
//!   through as many samples as are known on both sides takes over, down to a straight line below one sample: highest
//!   tones are dulled for the 30 ms in which 10 ms/s crosses that range. The price of a line without latency;
//! - a jump is cross-faded over 10 ms, at constant gain: equal sounds keep their level, others dip by 3 dB.
//!
//! What the line does not know yet is silence: the sound before the first push, and at the end the last `d` stay in the
//! line until as much silence is pushed.

#![expect(clippy::cast_precision_loss, reason = "counts of samples, far below 2^52")]

use crate::time::{SampleRate, TimeDelta};

/// Taps on either side of the place that is read.
const HALF: usize = 16;
/// Taps in all.
const TAPS: usize = 2 * HALF;
/// Phases of the table. Between them the error is (π/512)²/8: −106 dB at half the sample rate.
const PHASES: usize = 512;
/// Shape of the window: 100 dB of stop band, so that the transition ends 0.2 of half the sample rate from it.
const KAISER_BETA: f64 = 10.06;
/// Frames taken into the ring at a time.
const CHUNK: usize = 256;
/// A jump is faded over this.
const FADE: TimeDelta = TimeDelta::from_ms(10);
/// A delay that is to move by more than one sample in so many is a jump: 5 % of speed is no slew any more.
const STEEPEST: f64 = 20.0;
/// The longest delay that a line can be made for.
const LONGEST: TimeDelta = TimeDelta::from_ms(10_000);
/// The most channels.
const MOST_CHANNELS: usize = 64;

/// What a delay line can't be made for, or take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DelayError {
    /// A number of channels that is none, or too large.
    #[error("audio delay: {channels} channels are out of range (1 to 64)")]
    Channels {
        /// As asked for.
        channels: usize,
    },
    /// A longest delay out of range.
    #[error("audio delay: a delay of up to {max_delay} is out of range (0 to 10 s)")]
    MaxDelay {
        /// As asked for.
        max_delay: TimeDelta,
    },
    /// Input that is no whole number of frames, or output of another length.
    #[error(
        "audio delay: {input} samples in and {output} out are not the same number of frames of {channels} channels"
    )]
    Length {
        /// Samples of the input, all channels.
        input: usize,
        /// Samples of the output, all channels.
        output: usize,
        /// Samples in a frame.
        channels: usize,
    },
}

/// A jump under way.
#[derive(Clone, Copy, Debug)]
struct Fade {
    /// The delay before it, samples.
    from: f64,
    /// Frames faded so far.
    done: usize,
}

/// A fractional delay line for interleaved sound. All its memory is allocated by `new`: about
/// `max_delay` · rate · channels · 4 bytes, and 64 KiB.
#[derive(Debug)]
pub struct AudioDelay {
    rate: SampleRate,
    channels: usize,
    max_delay: TimeDelta,
    /// Channel after channel, `length` samples each, the first [`TAPS`] of them once more at the end: what is read is
    /// in one piece.
    ring: Vec<f32>,
    length: usize,
    /// Where the next frame is written, `0..length`.
    head: usize,
    /// The delay at the last frame.
    at: TimeDelta,
    fade: Option<Fade>,
    fade_frames: usize,
    /// `PHASES + 1` rows of taps, oldest sample first.
    table: Vec<f32>,
    kernel: Kernel,
}

/// The weights for one delay.
#[derive(Clone, Copy, Debug)]
struct Kernel {
    delay: f64,
    /// The oldest sample read is this many before the present one.
    back: usize,
    taps: usize,
    weights: [f32; TAPS],
}

impl AudioDelay {
    /// A line of silence with no delay, for frames of `channels` samples and delays up to `max_delay`.
    ///
    /// # Errors
    /// For no or more than 64 channels, and for a `max_delay` below zero or above 10 s.
    pub fn new(rate: SampleRate, channels: usize, max_delay: TimeDelta) -> Result<Self, DelayError> {
        if channels == 0 || channels > MOST_CHANNELS {
            return Err(DelayError::Channels { channels });
        }
        if max_delay < TimeDelta::ZERO || max_delay > LONGEST {
            return Err(DelayError::MaxDelay { max_delay });
        }
        let samples = |t| usize::try_from(rate.index_at(t)).unwrap_or(0);
        let length = samples(max_delay) + 1 + TAPS + CHUNK;
        let mut line = Self {
            rate,
            channels,
            max_delay,
            ring: vec![0.0; channels * (length + TAPS)],
            length,
            head: 0,
            at: TimeDelta::ZERO,
            fade: None,
            fade_frames: samples(FADE).max(1),
            table: table(),
            kernel: Kernel { delay: -1.0, back: 0, taps: 0, weights: [0.0; TAPS] },
        };
        line.set_kernel(0.0);
        Ok(line)
    }

    /// Takes interleaved sound and gives as much, each frame as it was the delay before. The delay moves in a straight
    /// line from where it is to `delay_at_end` at the last frame; beyond 0…`max_delay` it is held at the limit. A move
    /// by more than 5 % of the block is a jump instead: the new delay holds from the first frame on, faded in over
    /// 10 ms. A jump during a fade waits for the first push after it.
    ///
    /// # Errors
    /// When `input` is no whole number of frames, or `out` is not as long; nothing is taken then.
    pub fn push(&mut self, input: &[f32], delay_at_end: TimeDelta, out: &mut [f32]) -> Result<(), DelayError> {
        if input.len() != out.len() || !input.len().is_multiple_of(self.channels) {
            return Err(DelayError::Length { input: input.len(), output: out.len(), channels: self.channels });
        }
        if input.is_empty() {
            return Ok(());
        }
        let frames = input.len() as f64 / self.channels as f64;
        let goal = delay_at_end.clamp(TimeDelta::ZERO, self.max_delay);
        let change = self.samples(goal - self.at);
        let (start, step, end) = if goal == self.at {
            (self.resting(goal), 0.0, goal)
        } else if change.abs() * STEEPEST <= frames {
            (self.samples(self.at), change / frames, goal)
        } else if self.fade.is_some() {
            (self.resting(self.at), 0.0, self.at)
        } else {
            self.fade = Some(Fade { from: self.resting(self.at), done: 0 });
            (self.resting(goal), 0.0, goal)
        };
        let chunk = CHUNK * self.channels;
        let mut done = 0_u32;
        for (input, out) in input.chunks(chunk).zip(out.chunks_mut(chunk)) {
            let first = self.head;
            self.write(input);
            let rests = step.abs() <= 0.0 && start.fract().abs() <= 0.0;
            if rests && self.fade.is_none() {
                self.copy(first, start, out);
                continue;
            }
            let mut place = first;
            for out in out.chunks_exact_mut(self.channels) {
                done += 1;
                self.frame(place, start + step * f64::from(done), out);
                place = if place + 1 == self.length { 0 } else { place + 1 };
            }
        }
        self.at = end;
        Ok(())
    }

    /// The delay of the last frame that came out.
    #[must_use]
    pub fn delay(&self) -> TimeDelta {
        self.at
    }

    /// None of its own: a delay of zero is no delay.
    #[must_use]
    pub fn latency(&self) -> TimeDelta {
        TimeDelta::ZERO
    }

    /// As new: silence, and no delay.
    pub fn reset(&mut self) {
        self.ring.fill(0.0);
        self.head = 0;
        self.at = TimeDelta::ZERO;
        self.fade = None;
    }

    /// A delay in samples.
    fn samples(&self, delay: TimeDelta) -> f64 {
        delay.ns() as f64 * f64::from(self.rate.hz()) / 1e9
    }

    /// A delay at rest, in samples: the nanoseconds nearest to a whole sample are that sample. Not so on the way, where
    /// the last half nanosecond would bend the line.
    fn resting(&self, delay: TimeDelta) -> f64 {
        let whole = self.rate.index_at(delay);
        if self.rate.time_of(whole) == delay { whole as f64 } else { self.samples(delay) }
    }

    /// Takes at most [`CHUNK`] frames into the ring.
    fn write(&mut self, input: &[f32]) {
        let start = self.head;
        for (channel, ring) in self.ring.chunks_exact_mut(self.length + TAPS).enumerate() {
            let mut place = start;
            for &x in input.iter().skip(channel).step_by(self.channels) {
                ring[place] = x;
                if place < TAPS {
                    ring[place + self.length] = x;
                }
                place += 1;
                if place == self.length {
                    place = 0;
                }
            }
            self.head = place;
        }
    }

    /// The place `back` samples before `place`.
    fn before(&self, place: usize, back: usize) -> usize {
        if place >= back { place - back } else { place + self.length - back }
    }

    /// A whole delay at rest.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a whole number within the ring")]
    fn copy(&self, first: usize, delay: f64, out: &mut [f32]) {
        let start = self.before(first, delay as usize);
        for (channel, ring) in self.ring.chunks_exact(self.length + TAPS).enumerate() {
            let (head, tail) = ring[..self.length].split_at(start);
            for (y, x) in out.iter_mut().skip(channel).step_by(self.channels).zip(tail.iter().chain(head)) {
                *y = *x;
            }
        }
    }

    /// One frame, whose input is at `place`.
    fn frame(&mut self, place: usize, delay: f64, out: &mut [f32]) {
        let Some(fade) = self.fade else {
            self.set_kernel(delay);
            self.read(place, out, 1.0);
            return;
        };
        self.set_kernel(fade.from);
        self.read(place, out, 1.0);
        let done = fade.done + 1;
        let share = 0.5 - 0.5 * (std::f64::consts::PI * done as f64 / self.fade_frames as f64).cos();
        self.set_kernel(delay);
        #[expect(clippy::cast_possible_truncation, reason = "a gain")]
        self.read(place, out, share as f32);
        self.fade = (done < self.fade_frames).then_some(Fade { done, ..fade });
    }

    /// Puts what the kernel reads in place of this share of `out`.
    fn read(&self, place: usize, out: &mut [f32], share: f32) {
        let Kernel { back, taps, weights, .. } = &self.kernel;
        let start = self.before(place, *back);
        for (ring, y) in self.ring.chunks_exact(self.length + TAPS).zip(out) {
            let x = dot(&ring[start..start + taps], &weights[..*taps]);
            // Not y + share·(x − y): that would keep what is no number in y.
            *y = if share >= 1.0 { x } else { *y * (1.0 - share) + x * share };
        }
    }

    /// Weights for a delay of so many samples, at least 0; what rounding leaves below it is 0.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "not negative, and within the ring and the table"
    )]
    fn set_kernel(&mut self, delay: f64) {
        let k = &mut self.kernel;
        if k.delay.to_bits() == delay.to_bits() {
            return;
        }
        k.delay = delay;
        let whole = delay as usize;
        let part = delay - whole as f64;
        let half = HALF.min(whole + 1);
        k.back = whole + half;
        k.taps = 2 * half;
        if half == HALF {
            let phase = part * PHASES as f64;
            let row = phase as usize;
            let t = (phase - row as f64) as f32;
            let rows = &self.table[row * TAPS..(row + 2) * TAPS];
            let (a, b) = rows.split_at(TAPS);
            for ((w, a), b) in k.weights.iter_mut().zip(a).zip(b) {
                *w = a + t * (b - a);
            }
        } else {
            lagrange(&mut k.weights[..2 * half], part);
        }
    }
}

/// Sum of products, in eight sums side by side that the compiler can keep in vectors.
fn dot(x: &[f32], w: &[f32]) -> f32 {
    let mut sums = [0.0_f32; 8];
    let (xs, ws) = (x.chunks_exact(8), w.chunks_exact(8));
    let mut rest = 0.0;
    for (x, w) in xs.remainder().iter().zip(ws.remainder()) {
        rest += x * w;
    }
    for (x, w) in xs.zip(ws) {
        for ((s, x), w) in sums.iter_mut().zip(x).zip(w) {
            *s += x * w;
        }
    }
    sums.iter().sum::<f32>() + rest
}

/// Weights of the samples around a place `part` of a sample before the older one in the middle, oldest first: the
/// polynomial through all of them, in its barycentric form. Among few samples nothing is truer to low tones.
#[expect(clippy::cast_possible_truncation, reason = "weights")]
fn lagrange(weights: &mut [f32], part: f64) {
    let order = weights.len() - 1;
    let place = (weights.len() >> 1) as f64 - part;
    if part <= 0.0 {
        weights.fill(0.0);
        weights[weights.len() >> 1] = 1.0;
        return;
    }
    let terms = || {
        let mut binomial = 1.0;
        (0..=order).map(move |m| {
            let term = binomial / (place - m as f64);
            binomial *= (m as f64 - order as f64) / (m + 1) as f64;
            term
        })
    };
    let sum: f64 = terms().sum();
    for (w, term) in weights.iter_mut().zip(terms()) {
        *w = (term / sum) as f32;
    }
}

/// The taps of every phase, oldest sample first: a sinc under a Kaiser window, with a sum of one. At a whole sample
/// exactly one of them is not zero.
#[expect(clippy::cast_possible_truncation, reason = "weights")]
fn table() -> Vec<f32> {
    let mut table = vec![0.0; (PHASES + 1) * TAPS];
    let window = |x: f64| bessel_i0(KAISER_BETA * (1.0 - x * x).max(0.0).sqrt());
    for (row, weights) in table.chunks_exact_mut(TAPS).enumerate() {
        let part = row as f64 / PHASES as f64;
        let tap = |m: usize| {
            let x = HALF as f64 - m as f64 - part;
            if row == 0 || row == PHASES {
                f64::from(u8::from(x.abs() <= 0.0))
            } else {
                (std::f64::consts::PI * x).sin() / x * window(x / HALF as f64)
            }
        };
        let sum: f64 = (0..TAPS).map(tap).sum();
        for (m, w) in weights.iter_mut().enumerate() {
            *w = (tap(m) / sum) as f32;
        }
    }
    table
}

/// The modified Bessel function of the first kind and order zero, by its series.
fn bessel_i0(x: f64) -> f64 {
    let (mut sum, mut term) = (1.0, 1.0);
    for k in 1..40 {
        term *= (x / (2.0 * f64::from(k))).powi(2);
        sum += term;
    }
    sum
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "samples and frames of a few seconds")]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::f64::consts::TAU;

    const HZ: f64 = 48_000.0;

    fn line(channels: usize) -> AudioDelay {
        AudioDelay::new(SampleRate::new(48_000).unwrap(), channels, TimeDelta::from_ms(500)).unwrap()
    }

    fn at_sample(n: i64) -> TimeDelta {
        SampleRate::new(48_000).unwrap().time_of(n)
    }

    fn noise(frames: usize, seed: u64) -> Vec<f32> {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        };
        std::iter::repeat_with(next).take(frames).collect()
    }

    fn pushed(line: &mut AudioDelay, input: &[f32], delay: TimeDelta) -> Vec<f32> {
        let mut out = vec![f32::NAN; input.len()];
        line.push(input, delay, &mut out).unwrap();
        out
    }

    /// A sine through a slew (ms/s) from one delay to another (ms) between two rests of 0.2 s, in blocks of 10 ms, and
    /// the same computed exactly.
    fn slewed_sine(hz: f64, from_ms: f64, to_ms: f64, rate: f64) -> (Vec<f64>, Vec<f64>) {
        let sine = |t: f64| if t < 0.0 { 0.0 } else { 0.5 * (TAU * hz * t).sin() };
        let (block, rest) = (480, 9_600.0);
        let moving = (to_ms - from_ms).abs() / rate * HZ;
        let delay_ms = |n: f64| from_ms + (to_ms - from_ms) * ((n - rest) / moving).clamp(0.0, 1.0);
        let mut d = line(1);
        let from = TimeDelta::from_ns((from_ms * 1e6) as i64);
        pushed(&mut d, &vec![0.0; 4_800], from);
        let (mut got, mut exact) = (Vec::new(), Vec::new());
        for k in 0..((2.0 * rest + moving) / block as f64) as usize {
            let input: Vec<f32> = (0..block).map(|j| sine((k * block + j) as f64 / HZ) as f32).collect();
            // The last frame's delay; the first frames of the line stand for time −1/rate.
            let end = TimeDelta::from_ns((delay_ms(((k + 1) * block) as f64) * 1e6).round() as i64);
            got.extend(pushed(&mut d, &input, end).into_iter().map(f64::from));
            exact.extend((0..block).map(|j| {
                let n = (k * block + j) as f64;
                sine(n / HZ - delay_ms(n + 1.0) / 1e3)
            }));
        }
        (got, exact)
    }

    fn snr_db(got: &[f64], exact: &[f64]) -> f64 {
        let signal: f64 = exact.iter().map(|x| x * x).sum();
        let noise: f64 = got.iter().zip(exact).map(|(g, x)| (g - x) * (g - x)).sum();
        10.0 * (signal / noise).log10()
    }

    #[test]
    fn no_delay_is_the_input_bit_for_bit() {
        let mut input = noise(3_000, 1);
        input[7] = -0.0;
        input[100] = f32::from_bits(0x7FC0_1234);
        input[200] = f32::INFINITY;
        input[300] = f32::MIN_POSITIVE / 4.0;
        let got = pushed(&mut line(3), &input, TimeDelta::ZERO);
        assert!(got.iter().zip(&input).all(|(g, x)| g.to_bits() == x.to_bits()));
    }

    #[test]
    fn a_whole_delay_at_rest_is_a_copy_of_what_came_before() {
        for samples in [1, 7, 48, 3_841, 24_000] {
            let mut d = line(2);
            let input = noise(2 * 60_000, 2);
            let mut got = Vec::new();
            for block in input.chunks(2 * 700) {
                got.extend(pushed(&mut d, block, at_sample(samples)));
            }
            let shift = 2 * samples as usize;
            // The first block moves there.
            let moved = shift.max(2 * 700);
            assert!(
                got[moved..].iter().zip(&input[moved - shift..]).all(|(g, x)| g.to_bits() == x.to_bits()),
                "{samples}"
            );
            assert_eq!(d.delay(), at_sample(samples));
        }
    }

    #[test]
    fn a_slewed_sine_is_the_exact_one_to_16_khz() {
        for rate in [2.0, 10.0] {
            for hz in [100.0, 1_000.0, 4_000.0, 8_000.0, 12_000.0, 16_000.0] {
                for (from, to) in [(1.0, 4.0), (4.0, 1.0)] {
                    let (got, exact) = slewed_sine(hz, from, to, rate);
                    let snr = snr_db(&got[4_800..], &exact[4_800..]);
                    println!("{rate} ms/s, {hz} Hz, {from} to {to} ms: {snr:.1} dB");
                    assert!(snr > 100.0, "{snr} dB at {hz} Hz, {rate} ms/s, {from} to {to} ms");
                }
            }
        }
    }

    #[test]
    fn leaving_and_reaching_no_delay_costs_only_the_highest_tones() {
        for (hz, least) in [(100.0, 105.0), (1_000.0, 65.0), (4_000.0, 42.0), (16_000.0, 17.0)] {
            for (from, to) in [(0.0, 0.4), (0.4, 0.0)] {
                let (got, exact) = slewed_sine(hz, from, to, 10.0);
                // The 40 ms of the slew alone.
                let snr = snr_db(&got[9_600..11_520], &exact[9_600..11_520]);
                println!("{hz} Hz, {from} to {to} ms: {snr:.1} dB");
                assert!(snr > least, "{snr} dB at {hz} Hz, {from} to {to} ms");
            }
        }
    }

    /// Changes of the magnitude spectrum from one window of 1024 to the next, 256 on, as shares of its norm.
    fn flux(x: &[f64]) -> Vec<f64> {
        let bins = 96; // to 4.5 kHz, and then every 8th
        let spectra: Vec<Vec<f64>> = (0..=(x.len() - 1_024) >> 8)
            .map(|k| {
                let w: Vec<f64> = (0..1_024)
                    .map(|n| x[256 * k + n] * (0.5 - 0.5 * (TAU * (n as f64 + 0.5) / 1_024.0).cos()))
                    .collect();
                (0..bins + 52)
                    .map(|b| {
                        let turn = TAU * (if b < bins { b } else { bins + 8 * (b - bins) }) as f64 / 1_024.0;
                        let (mut re, mut im) = (0.0, 0.0);
                        for (n, w) in w.iter().enumerate() {
                            let (sin, cos) = (turn * n as f64).sin_cos();
                            (re, im) = (re + w * cos, im + w * sin);
                        }
                        re.hypot(im)
                    })
                    .collect()
            })
            .collect();
        let norm = |v: &mut dyn Iterator<Item = f64>| v.map(|x| x * x).sum::<f64>().sqrt();
        spectra
            .windows(2)
            .map(|s| norm(&mut s[0].iter().zip(&s[1]).map(|(a, b)| b - a)) / norm(&mut s[0].iter().copied()))
            .collect()
    }

    #[test]
    fn a_slew_begins_and_ends_without_a_trace_in_the_spectrum() {
        for (from, to) in [(0.0, 1.5), (1.5, 0.0), (2.0, 3.5)] {
            let (got, exact) = slewed_sine(1_000.0, from, to, 10.0);
            let (got, exact) = (flux(&got[4_800..]), flux(&exact[4_800..]));
            let worst = got.iter().zip(&exact).map(|(g, x)| (g - x).abs()).fold(0.0, f64::max);
            let most = exact.iter().copied().fold(0.0, f64::max);
            println!("{from} to {to} ms: flux at most {most:.5}, off by {worst:.6}");
            assert!(worst < 1e-4, "{worst}");
        }
    }

    #[test]
    fn a_jump_is_faded_without_a_click() {
        // The second difference of a 1 kHz sine is at most ω²·amplitude; a cut between two phases has hundreds of times it.
        let smooth = (TAU * 1_000.0 / HZ).powi(2) * 0.5;
        for jump_ms in [80.3, 200.5, 499.99] {
            let mut d = line(1);
            let mut all = Vec::new();
            for k in 0..200 {
                let input: Vec<f32> =
                    (0..480).map(|j| (0.5 * (TAU * 1_000.0 * f64::from(k * 480 + j) / HZ).sin()) as f32).collect();
                let ms = if (70..140).contains(&k) { jump_ms } else { 0.0 };
                all.extend(pushed(&mut d, &input, TimeDelta::from_ns((ms * 1e6) as i64)).into_iter().map(f64::from));
            }
            let worst = all.windows(3).map(|w| (w[0] - 2.0 * w[1] + w[2]).abs()).fold(0.0, f64::max);
            println!("{jump_ms} ms: {:.3} of the sine's own", worst / smooth);
            assert!(worst < 1.1 * smooth, "{} times a sine's", worst / smooth);
            let late = |n: usize| 0.5 * (TAU * 1_000.0 * (n as f64 / HZ - jump_ms / 1e3)).sin();
            assert!((70 * 480 + 480..140 * 480).all(|n| (all[n] - late(n)).abs() < 1e-4), "whole after 10 ms");
            let middle = 70 * 480 + 239;
            let between = 0.5 * (late(middle) + 0.5 * (TAU * 1_000.0 * middle as f64 / HZ).sin());
            assert!((all[middle] - between).abs() < 1e-4, "half and half after 5 ms");
        }
    }

    #[test]
    fn a_jump_during_a_fade_waits_and_delays_keep_to_their_limits() {
        let mut d = line(1);
        let block = [0.25; 240];
        pushed(&mut d, &block, TimeDelta::from_ms(100));
        assert_eq!(d.delay(), TimeDelta::from_ms(100));
        pushed(&mut d, &block, TimeDelta::from_ms(200));
        assert_eq!(d.delay(), TimeDelta::from_ms(100), "in the fade");
        pushed(&mut d, &block, TimeDelta::from_ms(9_000));
        assert_eq!(d.delay(), TimeDelta::from_ms(500));
        for _ in 0..3 {
            pushed(&mut d, &block, TimeDelta::from_ms(-5));
        }
        assert_eq!((d.delay(), d.latency()), (TimeDelta::ZERO, TimeDelta::ZERO));
    }

    #[test]
    fn what_is_no_number_stays_where_it_is() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX] {
            let mut d = line(1);
            let mut input = noise(4_000, 3);
            pushed(&mut d, &input, TimeDelta::from_ns(2_345_678));
            input[1_000] = bad;
            let got = pushed(&mut d, &input, TimeDelta::from_ns(2_345_678));
            let middle = 1_000 + 112; // 112.59 samples later
            assert!(got.iter().enumerate().all(|(n, y)| y.abs() < 4.0 || (middle - 15..=middle + 16).contains(&n)));
            assert!(got[middle].is_nan() || got[middle].abs() > 4.0);
            let mut ramp = line(1);
            pushed(&mut ramp, &input, TimeDelta::from_ms(1));
            assert!(pushed(&mut ramp, &noise(4_000, 4), TimeDelta::from_ms(2)).iter().skip(100).all(|y| y.abs() < 4.0));
        }
    }

    #[test]
    fn channels_do_not_mix() {
        let (left, right) = (noise(5_000, 5), noise(5_000, 6));
        let both: Vec<f32> = left.iter().zip(&right).flat_map(|(l, r)| [*l, *r]).collect();
        for delay in [TimeDelta::from_ms(1), TimeDelta::from_ns(1_234_567), TimeDelta::from_ms(300)] {
            let got = pushed(&mut line(2), &both, delay);
            let alone = [pushed(&mut line(1), &left, delay), pushed(&mut line(1), &right, delay)];
            assert!(got.chunks_exact(2).enumerate().all(|(n, y)| y == [alone[0][n], alone[1][n]]));
        }
    }

    #[test]
    fn memory_is_allocated_once_and_a_reset_line_is_as_new() {
        let mut d = line(2);
        let storage = |d: &AudioDelay| (d.ring.as_ptr(), d.ring.len(), d.table.as_ptr(), d.table.len());
        let (before, input) = (storage(&d), noise(20_000, 7));
        let first = pushed(&mut d, &input, TimeDelta::from_ns(1_234_567));
        pushed(&mut d, &input, TimeDelta::from_ms(444));
        pushed(&mut d, &input[..200], TimeDelta::from_ms(4)); // and in the midst of a fade
        d.reset();
        assert!(first == pushed(&mut d, &input, TimeDelta::from_ns(1_234_567)));
        assert_eq!(before, storage(&d));
        assert!(before.1 + before.3 < 2 * 25_000 + 17_000);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let make = |channels, ms| AudioDelay::new(SampleRate::ANALYSIS, channels, TimeDelta::from_ms(ms)).map(|_| ());
        assert_eq!(make(0, 500), Err(DelayError::Channels { channels: 0 }));
        assert_eq!(make(65, 500), Err(DelayError::Channels { channels: 65 }));
        assert!(make(1, -1).unwrap_err().to_string().contains("-1.0 ms"));
        assert!(make(1, 10_001).is_err());
        let mut d = line(2);
        for (input, output) in [(3, 3), (4, 2)] {
            let error = d.push(&vec![0.0; input], TimeDelta::ZERO, &mut vec![0.0; output]).unwrap_err();
            assert_eq!(error, DelayError::Length { input, output, channels: 2 });
        }
        d.push(&[], TimeDelta::from_ms(3), &mut []).unwrap();
        assert_eq!(d.delay(), TimeDelta::ZERO);
    }

    #[derive(Clone, Debug)]
    enum Part {
        /// Nanoseconds of delay per frame, and frames.
        Slew(i64, usize),
        /// To this delay, ns, and frames.
        Jump(i64, usize),
    }

    fn part() -> impl Strategy<Value = Part> {
        prop_oneof![
            (-208_i64..=208, 1_usize..3_000).prop_map(|(c, n)| Part::Slew(c, n)),
            Just(Part::Slew(0, 700)),
            (0_i64..400_000_000, 480_usize..2_000).prop_map(|(d, n)| Part::Jump(d, n)),
            (0_i64..8_000, 480_usize..2_000).prop_map(|(d, n)| Part::Jump(at_sample(d).ns(), n)),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn in_any_blocks_it_is_the_same(
            parts in prop::collection::vec(part(), 1..8),
            blocks in prop::collection::vec(1_usize..1_500, 1..20),
            channels in 1_usize..3,
        ) {
            let (mut whole, mut stream) = (line(channels), line(channels));
            let mut sizes = blocks.iter().copied().cycle();
            let mut delay = 0_i64;
            for (k, part) in parts.iter().enumerate() {
                let (frames, per_frame) = match *part {
                    // Within the limits: beyond them the line is bent, where depends on the block.
                    Part::Slew(c, n) => {
                        let ok = (0..500_000_000).contains(&(delay + c * n as i64));
                        (n, if ok { c } else { 0 })
                    }
                    Part::Jump(to, n) => {
                        // Smaller ones are slews in a block that is long enough.
                        if (to - delay).abs() > 5_000_000 {
                            delay = to;
                        }
                        (n, 0)
                    }
                };
                let input = noise(frames * channels, k as u64);
                let begin = delay;
                delay += per_frame * frames as i64;
                let batch = pushed(&mut whole, &input, TimeDelta::from_ns(delay));
                let (mut got, mut done) = (Vec::new(), 0);
                while done < frames {
                    let n = sizes.next().unwrap().min(frames - done);
                    done += n;
                    let input = &input[(done - n) * channels..done * channels];
                    got.extend(pushed(&mut stream, input, TimeDelta::from_ns(begin + per_frame * done as i64)));
                }
                let worst = got.iter().zip(&batch).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                prop_assert!(worst < 2e-6, "{} off in part {}", worst, k);
                if per_frame == 0 {
                    let last = channels * frames.saturating_sub(1);
                    prop_assert_eq!(&got[last..], &batch[last..]);
                }
                prop_assert_eq!(stream.delay(), whole.delay());
            }
        }
    }
}
