//! Embeddings: a stack of grey slots to a map of unit vectors, log-mel to unit vectors, one or more a slot.
//!
//! Both networks are run once a slot. The video network sees `slots` successive pictures, so its output stands for
//! the middle one and comes `(slots − 1) / 2` slots late; the audio network sees `context_slots` on either side.

#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::integer_division,
    reason = "picture sizes"
)]

use crate::align::SLOT_SAMPLES;
use crate::frame::Luma;
use crate::geometry::MapGeometry;
use crate::mel::LogMel;
use crate::net::{AudioSpec, Backend, Engine, NetError, Network, TensorSpec};
use crate::reduce::Reducer;
use crate::time::{SLOT, TimeDelta};

/// Mel frames in a slot.
const MELS_PER_SLOT: usize = 4;

/// The size of the network's picture for a source of `width` × `height` with pixels `aspect` times as wide as high:
/// `net_height` rows, and as many columns as keep the aspect, both multiples of `stride`.
#[must_use]
pub fn net_size(width: u32, height: u32, aspect: f64, net_height: usize, stride: usize) -> (usize, usize) {
    let s = stride as f64;
    let w = f64::from(width) * aspect * net_height as f64 / f64::from(height.max(1));
    // A banner or a column would make a network of any size: 4:1 either way is the limit.
    let cols = (w / s).round().clamp(1.0, 4.0 * net_height as f64 / s) as usize;
    (cols * stride, net_height)
}

/// The video embedding stage: push a picture a slot, pull the map for the slot two before.
pub struct VideoEmbedder {
    net: Box<dyn Network>,
    reducer: Reducer,
    /// The last `slots` pictures, a ring, each `[h, w]`; `next` is the oldest.
    ring: Vec<Vec<u8>>,
    next: usize,
    filled: usize,
    gain: f32,
    input: Vec<f32>,
    output: Vec<f32>,
    ready: bool,
    moved: bool,
    width: usize,
    stride: usize,
    geometry: MapGeometry,
}

impl std::fmt::Debug for VideoEmbedder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VideoEmbedder").field("geometry", &self.geometry).finish_non_exhaustive()
    }
}

impl VideoEmbedder {
    /// Opens the engine's video network for a source of this size.
    ///
    /// # Errors
    /// As [`Backend::load`].
    pub fn new(
        engine: &Engine,
        backend: &dyn Backend,
        source: (u32, u32),
        aspect: f64,
        net_height: Option<usize>,
    ) -> Result<Self, NetError> {
        let spec = &engine.manifest.video;
        let height = net_height.unwrap_or(spec.height).next_multiple_of(spec.stride);
        let (w, h) = net_size(source.0, source.1, aspect, height, spec.stride);
        let (cols, rows) = (w / spec.stride, h / spec.stride);
        let input = TensorSpec::new(&spec.input, &[1, spec.slots, h, w]);
        let output = TensorSpec::new(&spec.output, &[1, engine.manifest.dim, rows, cols]);
        let net = backend.load(&engine.video_file(), std::slice::from_ref(&input), std::slice::from_ref(&output))?;
        Ok(Self {
            net,
            reducer: Reducer::new(w, h),
            ring: vec![vec![0; w * h]; spec.slots],
            next: 0,
            filled: 0,
            gain: 1.0,
            input: vec![0.0; input.len()],
            output: vec![0.0; output.len()],
            ready: false,
            moved: false,
            width: w,
            stride: spec.stride,
            geometry: MapGeometry { cols, rows, width: source.0, height: source.1 },
        })
    }

    /// The map's place over the source picture.
    #[must_use]
    pub fn geometry(&self) -> MapGeometry {
        self.geometry
    }

    /// Takes the next slot's picture; then [`VideoEmbedder::run`]. Apart, so that others may look at the picture while the
    /// network runs.
    pub fn push(&mut self, picture: &impl Luma) {
        let luma = picture.luma();
        // 255 steps of the full range are 219 of the video range; the offset goes with the mean.
        self.gain = if luma.full_range { 1.0 / 255.0 } else { 1.0 / 219.0 };
        let slots = self.ring.len();
        let (newest, before) = (self.next, (self.next + slots - 1) % slots);
        self.reducer.reduce(luma, &mut self.ring[newest]);
        if self.filled == 0 {
            // Before the stream its first picture stood still.
            let first = std::mem::take(&mut self.ring[newest]);
            for p in self.ring.iter_mut().filter(|p| !p.is_empty()) {
                p.copy_from_slice(&first);
            }
            self.ring[newest] = first;
        }
        self.moved = self.filled > 0 && has_moved(&self.ring[before], &self.ring[newest], self.width, self.stride);
        self.advance();
    }

    /// As [`VideoEmbedder::push`] of the last picture once more.
    pub fn repeat(&mut self) {
        let slots = self.ring.len();
        let last = std::mem::take(&mut self.ring[(self.next + slots - 1) % slots]);
        self.ring[self.next].copy_from_slice(&last);
        self.ring[(self.next + slots - 1) % slots] = last;
        self.moved = false;
        self.advance();
    }

    fn advance(&mut self) {
        self.ready = false;
        self.next = (self.next + 1) % self.ring.len();
        self.filled = (self.filled + 1).min(self.ring.len());
    }

    /// Runs the network, once the stack is full; true if there is a map to pull.
    ///
    /// # Errors
    /// [`NetError::Run`]; the slot is lost, the stage goes on.
    pub fn run(&mut self) -> Result<bool, NetError> {
        let slots = self.ring.len();
        if self.filled <= slots / 2 {
            return Ok(false);
        }
        let plane = self.input.len() / slots;
        let sum: u64 = self.ring.iter().map(|p| p.iter().map(|&b| u64::from(b)).sum::<u64>()).sum();
        let mean = (sum as f64 / self.input.len() as f64) as f32;
        for (k, out) in self.input.chunks_exact_mut(plane).enumerate() {
            let picture = &self.ring[(self.next + k) % slots];
            for (o, &b) in out.iter_mut().zip(picture) {
                *o = (f32::from(b) - mean) * self.gain;
            }
        }
        self.net.run(&[&self.input], &mut [&mut self.output])?;
        self.ready = true;
        Ok(true)
    }

    /// Whether anything moved between the last two pictures.
    #[must_use]
    pub fn moved(&self) -> bool {
        self.moved
    }

    /// In place of [`VideoEmbedder::run`] where there is no time for it: the last map stands for this slot's too.
    pub fn hold(&mut self) -> bool {
        self.ready = self.filled > self.ring.len() / 2;
        self.ready
    }

    /// The last picture pushed as the network sees it, packed `[height, width]`.
    #[must_use]
    pub fn picture(&self) -> &[u8] {
        &self.ring[(self.next + self.ring.len() - 1) % self.ring.len()]
    }

    /// Width and height of the network's picture.
    #[must_use]
    pub fn net_size(&self) -> (usize, usize) {
        (self.width, self.ring[0].len().div_euclid(self.width))
    }

    /// The map `[dim, rows, cols]` for the picture `latency` before the last one pushed.
    pub fn pull(&mut self) -> Option<&[f32]> {
        std::mem::take(&mut self.ready).then_some(&self.output[..])
    }

    /// How much later than a picture its map comes.
    #[must_use]
    pub fn latency(&self) -> TimeDelta {
        SLOT * (self.ring.len() / 2) as i64
    }

    /// Begins a new stream of pictures.
    pub fn reset(&mut self) {
        self.filled = 0;
        self.ready = false;
    }
}

/// Mean change of a block's pixels, of 255, from which it has moved: above what a codec does to a still.
const MOVED: u64 = 2;

/// True if some `block` × `block` block changed by more than [`MOVED`] a pixel on average. By blocks, because lips are
/// a small part of a picture.
fn has_moved(a: &[u8], b: &[u8], width: usize, block: usize) -> bool {
    let limit = MOVED * (block * block) as u64;
    a.chunks(width * block).zip(b.chunks(width * block)).any(|(a, b)| {
        (0..width).step_by(block).any(|x| {
            let rows = a.chunks(width).zip(b.chunks(width));
            let change: u64 = rows
                .map(|(a, b)| {
                    let end = (x + block).min(width);
                    a[x..end].iter().zip(&b[x..end]).map(|(&p, &q)| u64::from(p.abs_diff(q))).sum::<u64>()
                })
                .sum();
            change > limit
        })
    })
}

/// Running mean and standard deviation of the log-mels: exact over the beginning, then forgetting, so that a live
/// stream is normalised as a whole clip was in training, from the past alone.
#[derive(Clone, Copy, Debug)]
struct Norm {
    mean: f64,
    var: f64,
    slots: f64,
}

impl Norm {
    /// 30 s: longer than a pause, shorter than a change of room.
    const MEMORY_SLOTS: f64 = 750.0;

    fn new() -> Self {
        Self { mean: 0.0, var: 0.0, slots: 0.0 }
    }

    fn push(&mut self, mels: &[f32]) {
        let n = mels.len() as f64;
        let mean = mels.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
        let var = mels.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / n;
        self.slots = (self.slots + 1.0).min(Self::MEMORY_SLOTS);
        let a = 1.0 / self.slots;
        let d = mean - self.mean;
        self.mean += a * d;
        self.var = (1.0 - a) * (self.var + a * d * d) + a * var;
    }
}

/// The audio embedding stage: push a slot of sound, pull the vectors of the slot `latency` before.
pub struct AudioEmbedder {
    net: Box<dyn Network>,
    mel: LogMel,
    spec: AudioSpec,
    /// Log-mels `[slot, 4, mels]` of the last `2·context + 1` slots, oldest first.
    mels: Vec<f32>,
    /// Mel frames of the slot that is being filled.
    partial: usize,
    /// Whole slots seen since the beginning of the stream.
    seen: usize,
    norm: Norm,
    input: Vec<f32>,
    all: Vec<f32>,
    output: Vec<f32>,
    ready: bool,
}

impl std::fmt::Debug for AudioEmbedder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AudioEmbedder").field("spec", &self.spec).finish_non_exhaustive()
    }
}

impl AudioEmbedder {
    /// Opens the engine's audio network.
    ///
    /// # Errors
    /// As [`Backend::load`].
    pub fn new(engine: &Engine, backend: &dyn Backend) -> Result<Self, NetError> {
        let spec = engine.manifest.audio.clone();
        let (span, mels, dim) = (2 * spec.context_slots + 1, spec.mel.mels, engine.manifest.dim);
        let input = TensorSpec::new(&spec.input, &[1, 1, mels, span * MELS_PER_SLOT]);
        let output = TensorSpec::new(&spec.output, &[1, dim, span * spec.steps_per_slot]);
        let net = backend.load(&engine.audio_file(), std::slice::from_ref(&input), std::slice::from_ref(&output))?;
        Ok(Self {
            net,
            mel: LogMel::new(&spec.mel),
            mels: vec![0.0; input.len()],
            partial: 0,
            seen: 0,
            norm: Norm::new(),
            input: vec![0.0; input.len()],
            all: vec![0.0; output.len()],
            output: vec![0.0; dim * spec.steps_per_slot],
            ready: false,
            spec,
        })
    }

    /// Takes the sound of the next slot and, once the context is there, runs the network; true if there is a vector to
    /// pull.
    ///
    /// # Errors
    /// [`NetError::Run`]; the slot is lost, the stage goes on.
    pub fn push(&mut self, samples: &[f32; SLOT_SAMPLES]) -> Result<bool, NetError> {
        self.ready = false;
        self.mel.push(samples);
        let per_slot = MELS_PER_SLOT * self.spec.mel.mels;
        let mut filled = false;
        while let Some(frame) = self.mel.pull() {
            if self.partial == 0 {
                self.mels.copy_within(per_slot.., 0);
            }
            let n = frame.len();
            let at = self.mels.len() - per_slot + self.partial * n;
            self.mels[at..at + n].copy_from_slice(frame);
            self.partial = (self.partial + 1) % MELS_PER_SLOT;
            filled |= self.partial == 0;
        }
        if !filled {
            return Ok(false);
        }
        let newest = &self.mels[self.mels.len() - per_slot..];
        self.norm.push(newest);
        self.seen += 1;
        if self.seen == 1 {
            // Before the stream there is silence, as quiet as its own beginning.
            let (past, first) = self.mels.split_at_mut(per_slot * 2 * self.spec.context_slots);
            for slot in past.chunks_exact_mut(per_slot) {
                slot.copy_from_slice(first);
            }
        }
        if self.seen > self.spec.context_slots { self.run() } else { Ok(false) }
    }

    fn run(&mut self) -> Result<bool, NetError> {
        let mels = self.spec.mel.mels;
        let frames = self.input.len() / mels;
        let std = (self.norm.var.sqrt() as f32).max(self.spec.min_std);
        let (mean, gain) = (self.norm.mean as f32, 1.0 / std);
        for (k, frame) in self.mels.chunks_exact(mels).enumerate() {
            for (m, &x) in frame.iter().enumerate() {
                self.input[m * frames + k] = (x - mean) * gain;
            }
        }
        self.net.run(&[&self.input], &mut [&mut self.all])?;
        let steps = self.spec.steps_per_slot;
        let dim = self.output.len() / steps;
        let rows = self.all.chunks_exact((2 * self.spec.context_slots + 1) * steps);
        for (d, row) in rows.enumerate() {
            for (k, &x) in row[self.spec.context_slots * steps..][..steps].iter().enumerate() {
                self.output[k * dim + d] = x;
            }
        }
        self.ready = true;
        Ok(true)
    }

    /// The vectors `[steps_per_slot, dim]` of the slot `latency` before the last one pushed, earliest first.
    pub fn pull(&mut self) -> Option<&[f32]> {
        std::mem::take(&mut self.ready).then_some(&self.output[..])
    }

    /// How much later than a slot's sound its vector comes, in whole slots (the mel front-end's 7.5 ms rounded up).
    #[must_use]
    pub fn latency(&self) -> TimeDelta {
        SLOT * (self.spec.context_slots + self.mel.latency().slots_ceil()) as i64
    }

    /// Begins a new stream of sound; what was learnt of its level is kept.
    pub fn reset(&mut self) {
        self.mel.reset();
        self.partial = 0;
        self.seen = 0;
        self.ready = false;
    }
}
