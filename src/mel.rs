//! The log-mel front-end: 16 kHz sound to one spectral frame every 10 ms.
//!
//! Frame `k` is centred at `(k + ½)·10 ms` from the start of the stream: samples `160k − 120 … 160k + 280`, Hann
//! window (symmetric, 400), 512-point power spectrum, triangular mel filters of peak 1 on the HTK scale
//! `mel = 2595·log₁₀(1 + f/700)`, `ln(x + 1e-6)`. A golden file computed with numpy pins it (`tests/golden.rs`).

#![expect(clippy::cast_precision_loss, reason = "sizes of a spectrum")]

use crate::net::MelSpec;
use crate::time::{SampleRate, TimeDelta};
use realfft::{RealFftPlanner, RealToComplex, num_complex::Complex32};
use std::sync::Arc;

/// Samples between two mel frames: 10 ms.
pub const HOP: usize = 160;
/// Samples under the window: 25 ms.
pub const WINDOW: usize = 400;
const FFT: usize = 512;
const BINS: usize = 257;
/// Samples of the window before its own hop begins.
const BEFORE: usize = 120;
/// Added to the mel power before the logarithm.
const FLOOR: f32 = 1e-6;

/// The log-mel stage. Push any number of samples, pull frames until there is none.
pub struct LogMel {
    fft: Arc<dyn RealToComplex<f32>>,
    window: [f32; WINDOW],
    /// Per filter: first bin, and where its weights end in `weights`.
    filters: Vec<(usize, usize)>,
    weights: Vec<f32>,
    /// Samples from the beginning of the next frame's window.
    buffer: Vec<f32>,
    used: usize,
    time: Vec<f32>,
    spectrum: Vec<Complex32>,
    scratch: Vec<Complex32>,
    power: Vec<f32>,
    out: Vec<f32>,
}

impl std::fmt::Debug for LogMel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogMel").field("mels", &self.filters.len()).finish_non_exhaustive()
    }
}

impl LogMel {
    /// Filters and window for `spec`.
    #[must_use]
    pub fn new(spec: &MelSpec) -> Self {
        let fft = RealFftPlanner::new().plan_fft_forward(FFT);
        let (filters, weights) = mel_filters(spec);
        let mut window = [0.0; WINDOW];
        for (i, w) in window.iter_mut().enumerate() {
            let phase = 2.0 * std::f64::consts::PI * i as f64 / (WINDOW - 1) as f64;
            #[expect(clippy::cast_possible_truncation, reason = "the window is f32")]
            {
                *w = (0.5 - 0.5 * phase.cos()) as f32;
            }
        }
        let mut this = Self {
            scratch: fft.make_scratch_vec(),
            spectrum: fft.make_output_vec(),
            time: vec![0.0; FFT],
            fft,
            window,
            out: vec![0.0; filters.len()],
            filters,
            weights,
            buffer: Vec::with_capacity(16_000),
            used: 0,
            power: vec![0.0; BINS],
        };
        this.reset();
        this
    }

    /// Takes the next samples of the stream.
    pub fn push(&mut self, samples: &[f32]) {
        self.buffer.drain(..self.used);
        self.used = 0;
        self.buffer.extend_from_slice(samples);
    }

    /// The next frame, `[mels]`, natural logarithm of mel power, or `None` until more sound has come.
    ///
    /// # Panics
    /// Never: the transform's sizes are fixed at construction.
    pub fn pull(&mut self) -> Option<&[f32]> {
        let frame = self.buffer.get(self.used..self.used + WINDOW)?;
        for ((t, s), w) in self.time.iter_mut().zip(frame).zip(&self.window) {
            *t = s * w;
        }
        self.time[WINDOW..].fill(0.0);
        self.used += HOP;
        self.fft
            .process_with_scratch(&mut self.time, &mut self.spectrum, &mut self.scratch)
            .expect("buffers were made by the plan");
        for (p, c) in self.power.iter_mut().zip(&self.spectrum) {
            *p = c.norm_sqr();
        }
        let mut begin = 0;
        for (o, &(bin, end)) in self.out.iter_mut().zip(&self.filters) {
            let weights = &self.weights[begin..end];
            let sum: f32 = weights.iter().zip(&self.power[bin..]).map(|(w, p)| w * p).sum();
            *o = (sum + FLOOR).ln();
            begin = end;
        }
        Some(&self.out)
    }

    /// How much sound after the end of a frame's hop it needs.
    #[must_use]
    pub fn latency(&self) -> TimeDelta {
        SampleRate::ANALYSIS.time_of((WINDOW - BEFORE - HOP) as i64)
    }

    /// Ends the stream: silence enough for the frames of all sound pushed so far to come out.
    pub fn flush(&mut self) {
        self.push(&[0.0; WINDOW - BEFORE - HOP]);
    }

    /// Begins a new stream, with silence before it.
    pub fn reset(&mut self) {
        self.buffer.clear();
        self.used = 0;
        self.buffer.resize(BEFORE, 0.0);
    }
}

/// Triangles of peak 1, as runs of non-zero weights: `(first bin, end in weights)` each.
fn mel_filters(spec: &MelSpec) -> (Vec<(usize, usize)>, Vec<f32>) {
    let mel = |hz: f64| 2595.0 * (1.0 + hz / 700.0).log10();
    let hz = |mel: f64| 700.0 * (10_f64.powf(mel / 2595.0) - 1.0);
    let (lo, hi) = (mel(f64::from(spec.low_hz)), mel(f64::from(spec.high_hz)));
    let edge = |i: usize| hz(lo + (hi - lo) * i as f64 / (spec.mels + 1) as f64);
    let (mut filters, mut weights) = (Vec::new(), Vec::new());
    for m in 0..spec.mels {
        let (a, b, c) = (edge(m), edge(m + 1), edge(m + 2));
        let mut first = 0;
        let begin = weights.len();
        for bin in 0..BINS {
            let f = bin as f64 * 16_000.0 / FFT as f64;
            let w = ((f - a) / (b - a)).min((c - f) / (c - b));
            if w > 0.0 {
                if weights.len() == begin {
                    first = bin;
                }
                #[expect(clippy::cast_possible_truncation, reason = "weights are f32")]
                weights.push(w as f32);
            }
        }
        filters.push((first, weights.len()));
    }
    (filters, weights)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SPEC: MelSpec = MelSpec { mels: 64, low_hz: 60.0, high_hz: 7600.0 };

    fn all(mel: &mut LogMel, into: &mut Vec<f32>) {
        while let Some(f) = mel.pull() {
            into.extend_from_slice(f);
        }
    }

    #[test]
    fn a_tone_peaks_in_its_own_filter() {
        let mut mel = LogMel::new(&SPEC);
        let s: Vec<f32> = (0..1600).map(|i| (i as f32 * 1000.0 * std::f32::consts::TAU / 16_000.0).sin()).collect();
        mel.push(&s);
        let mut out = Vec::new();
        all(&mut mel, &mut out);
        let frame = &out[64 * 4..64 * 5];
        let best = (0..64).max_by(|&a, &b| frame[a].total_cmp(&frame[b])).unwrap();
        // 1 kHz is 1000 mel of 60 Hz's 90 … 7.6 kHz's 2788: filter (1000 − 90) / 41.5 − 1 ≈ 20.9.
        assert!((20..=22).contains(&best), "{best}");
    }

    #[test]
    fn latency_is_what_a_click_shows() {
        let mut mel = LogMel::new(&SPEC);
        mel.push(&vec![0.0; HOP]);
        assert!(mel.pull().is_none());
        let extra = SampleRate::ANALYSIS.index_at(mel.latency());
        mel.push(&vec![0.0; usize::try_from(extra).unwrap() - 1]);
        assert!(mel.pull().is_none());
        mel.push(&[0.0]);
        assert!(mel.pull().is_some());
    }

    proptest! {
        #[test]
        fn chunks_do_not_matter(sizes in prop::collection::vec(0usize..700, 1..20)) {
            let n: usize = sizes.iter().sum();
            let s: Vec<f32> = (0..n).map(|i| (i as f32 * 0.37).sin() * 0.3).collect();
            let (mut whole, mut parts) = (Vec::new(), Vec::new());
            let mut mel = LogMel::new(&SPEC);
            mel.push(&s);
            all(&mut mel, &mut whole);
            mel.flush();
            all(&mut mel, &mut whole);
            mel.reset();
            let mut at = 0;
            for len in sizes {
                mel.push(&s[at..at + len]);
                at += len;
                all(&mut mel, &mut parts);
            }
            mel.flush();
            all(&mut mel, &mut parts);
            prop_assert_eq!(whole, parts);
        }
    }
}
