//! The short-time Fourier transform, streaming: a hop of samples in, a spectrum out, and back.
//!
//! Windows are 32 ms long, every 16 ms, weighted by the square root of a periodic Hann window on the way in and on the way out,
//! so that overlap-add of untouched spectra gives the samples back ([`Analyser`], [`Synthesiser`]). Window `k` covers the hops
//! `k − 1` and `k`, counted from 0; before the stream there is silence. Its middle is the beginning of hop `k`.
//!
//! Bins are 31.25 Hz apart at every sample rate, because the window is as long in time at all of them: bin 96 is 3 kHz at 16 as at 48
//! kHz, and a mask made at one rate fits the other ([`crate::separation`]). That takes a rate with a whole number of samples in a
//! hop, so a multiple of 125 Hz: 8, 16, 24, 32, 48, 96 kHz, but not 44.1.

use crate::time::SampleRate;
use realfft::num_complex::Complex32;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};
use std::sync::Arc;

/// A second has so many times 2 hops of 16 ms: 125.
const HALF_HOPS_PER_S: u32 = 125;

/// Sizes of the transform at a sample rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StftFormat {
    /// Samples from one window to the next: 16 ms.
    pub hop: usize,
    /// Samples of a window: two hops.
    pub window: usize,
    /// Bins of a spectrum, from 0 Hz to half the sample rate.
    pub bins: usize,
}

impl StftFormat {
    /// `None` for a rate whose hop is no whole number of samples: one that is no multiple of 125 Hz.
    #[must_use]
    pub fn new(rate: SampleRate) -> Option<Self> {
        let hz = rate.hz();
        if !hz.is_multiple_of(HALF_HOPS_PER_S) {
            return None;
        }
        let hop = 2 * usize::try_from(hz.div_euclid(HALF_HOPS_PER_S)).ok()?;
        Some(Self { hop, window: 2 * hop, bins: hop + 1 })
    }

    /// The square root of the periodic Hann window: half a sine.
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "samples of a window")]
    fn weights(self) -> Vec<f32> {
        (0..self.window).map(|n| (std::f64::consts::PI * n as f64 / self.window as f64).sin() as f32).collect()
    }
}

/// Samples to spectra.
pub struct Analyser {
    format: StftFormat,
    weights: Vec<f32>,
    /// The last window.
    past: Vec<f32>,
    fft: Arc<dyn RealToComplex<f32>>,
    weighted: Vec<f32>,
    scratch: Vec<Complex32>,
    spectrum: Vec<Complex32>,
}

impl std::fmt::Debug for Analyser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Analyser").field("format", &self.format).finish_non_exhaustive()
    }
}

impl Analyser {
    /// With silence before the stream.
    #[must_use]
    pub fn new(format: StftFormat) -> Self {
        let fft = RealFftPlanner::new().plan_fft_forward(format.window);
        Self {
            format,
            weights: format.weights(),
            past: vec![0.0; format.window],
            weighted: fft.make_input_vec(),
            scratch: fft.make_scratch_vec(),
            spectrum: fft.make_output_vec(),
            fft,
        }
    }

    /// Takes the next hop; gives the spectrum `[bins]` of the window that ends with it. Not scaled: a sine of amplitude 1 has a
    /// magnitude of about a third of the window's length.
    ///
    /// # Panics
    /// If `samples` are not a hop.
    pub fn push(&mut self, samples: impl ExactSizeIterator<Item = f32>) -> &[Complex32] {
        let StftFormat { hop, .. } = self.format;
        assert_eq!(samples.len(), hop, "a hop of samples");
        self.past.copy_within(hop.., 0);
        for (p, s) in self.past[hop..].iter_mut().zip(samples) {
            *p = s;
        }
        for ((x, p), w) in self.weighted.iter_mut().zip(&self.past).zip(&self.weights) {
            *x = p * w;
        }
        self.fft
            .process_with_scratch(&mut self.weighted, &mut self.spectrum, &mut self.scratch)
            .expect("buffers are of the transform's own sizes");
        &self.spectrum
    }

    /// Forgets the stream.
    pub fn reset(&mut self) {
        self.past.fill(0.0);
    }
}

/// Spectra to samples.
pub struct Synthesiser {
    format: StftFormat,
    weights: Vec<f32>,
    /// Second half of the last window, which waits for the first half of the next.
    tail: Vec<f32>,
    fft: Arc<dyn ComplexToReal<f32>>,
    spectrum: Vec<Complex32>,
    samples: Vec<f32>,
    scratch: Vec<Complex32>,
}

impl std::fmt::Debug for Synthesiser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Synthesiser").field("format", &self.format).finish_non_exhaustive()
    }
}

impl Synthesiser {
    /// With silence before the stream.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "samples of a window")]
    pub fn new(format: StftFormat) -> Self {
        let fft = RealFftPlanner::new().plan_fft_inverse(format.window);
        let scale = 1.0 / format.window as f32;
        Self {
            format,
            weights: format.weights().into_iter().map(|w| w * scale).collect(),
            tail: vec![0.0; format.hop],
            spectrum: fft.make_input_vec(),
            samples: fft.make_output_vec(),
            scratch: fft.make_scratch_vec(),
            fft,
        }
    }

    /// Where the next spectrum `[bins]` is put, for [`Synthesiser::push`].
    pub fn spectrum(&mut self) -> &mut [Complex32] {
        &mut self.spectrum
    }

    /// Takes the spectrum that was put in; gives the hop of samples *before* the one that completed its window, which is now whole.
    pub fn push(&mut self) -> impl ExactSizeIterator<Item = f32> + '_ {
        let last = self.format.bins - 1;
        // A real signal has none; a complex mask may make some.
        self.spectrum[0].im = 0.0;
        self.spectrum[last].im = 0.0;
        self.fft
            .process_with_scratch(&mut self.spectrum, &mut self.samples, &mut self.scratch)
            .expect("buffers are of the transform's own sizes, its ends are real");
        let hop = self.format.hop;
        for (n, (x, w)) in self.samples.iter_mut().zip(&self.weights).enumerate() {
            *x *= w;
            if n < hop {
                *x += self.tail[n];
            }
        }
        self.tail.copy_from_slice(&self.samples[hop..]);
        self.samples[..hop].iter().copied()
    }

    /// Forgets the stream.
    pub fn reset(&mut self) {
        self.tail.fill(0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(hz: u32) -> SampleRate {
        SampleRate::new(hz).unwrap()
    }

    fn noise(n: usize) -> Vec<f32> {
        (0..n).map(|i| ((i as u32).wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 23) as f32 - 1.0).collect()
    }

    #[test]
    fn rates_without_a_whole_hop_have_no_format() {
        for (hz, hop) in [(8_000, 128), (16_000, 256), (32_000, 512), (48_000, 768), (96_000, 1536), (16_125, 258)] {
            let format = StftFormat::new(rate(hz)).unwrap();
            assert_eq!((format.hop, format.window, format.bins), (hop, 2 * hop, hop + 1));
        }
        for hz in [11_025, 22_050, 44_100] {
            assert_eq!(StftFormat::new(rate(hz)), None);
        }
    }

    #[test]
    fn untouched_spectra_give_the_samples_back() {
        for hz in [8_000, 16_000, 24_000, 48_000, 96_000] {
            let format = StftFormat::new(rate(hz)).unwrap();
            let (mut there, mut back) = (Analyser::new(format), Synthesiser::new(format));
            let sound = noise(20 * format.hop);
            let mut out = Vec::new();
            for hop in sound.chunks(format.hop) {
                back.spectrum().copy_from_slice(there.push(hop.iter().copied()));
                out.extend(back.push());
            }
            // The first hop that comes out lies before the stream.
            let (before, rest) = out.split_at(format.hop);
            let worst = rest.iter().zip(&sound).map(|(a, b)| (a - b).abs()).fold(0.0_f32, f32::max);
            let before = before.iter().fold(0.0_f32, |m, x| m.max(x.abs()));
            assert!(worst <= 1e-6 && before <= 1e-6, "{hz} Hz: {worst}, before the stream {before}");
        }
    }

    #[test]
    fn a_tone_is_in_the_same_bin_at_every_rate() {
        for hz in [8_000, 16_000, 48_000] {
            let format = StftFormat::new(rate(hz)).unwrap();
            let mut there = Analyser::new(format);
            let tone = |n: usize| (std::f64::consts::TAU * 3_000.0 * n as f64 / f64::from(hz)).sin() as f32;
            there.push((0..format.hop).map(tone));
            let spectrum = there.push((format.hop..format.window).map(tone));
            let loudest = (0..format.bins).max_by(|&a, &b| spectrum[a].norm().total_cmp(&spectrum[b].norm()));
            assert_eq!(loudest, Some(96), "{hz} Hz");
        }
    }
}
