//! Separation: one microphone's mixture and an object's embeddings → that object's own voice.
//!
//! A causal network looks at the mixture's spectrum and at what an object's mouth does (its unit video embedding along its
//! trajectory) and says of every bin how much of it, and in what phase, is that object's: a complex mask. The mixture times the
//! mask is the voice (the fourth use of audio-visual objects in Afouras et al. 2020, there with a bidirectional network over
//! whole clips; here causal, with its memory handed in and out).
//!
//! **Rates.** The network works at 16 kHz, on bins of 31.25 Hz up to 8 kHz. The mixture keeps the rate that it has: its own spectrum
//! has the same bins ([`crate::stft`]), so the network is shown those up to 8 kHz and its mask is applied to them directly; nothing
//! is resampled. Above 8 kHz, where the network hears nothing, everything is attenuated by the mean magnitude of the mask from 4 to 8
//! kHz: a voice's sibilants go on above there, and what is none of it is mostly none of it there either.
//!
//! **Channels.** The network hears the mean of the channels; all of them get the same mask, so the voice stays where it was.
//!
//! **Time.** An output sample has the index of the input sample that it is a part of. It comes [`Separator::latency`] later:
//! a window (32 ms), and the other hops of a block where several are given to the network at once, which is ten times faster.
//!
//! **Objects come and go.** Who is given for the first time begins with an empty memory, at a block's beginning, and is faded in; who
//! is given no more, or without an embedding, is faded out, and forgotten after [`FORGET_HOPS`].

use crate::net::{Backend, NetError, Network, Provenance, TensorSpec, check_file_name, check_hash};
use crate::stft::{Analyser, StftFormat, Synthesiser};
use crate::time::{SampleRate, TimeDelta};
use realfft::num_complex::Complex32;
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// Bins that the network sees: 0 to 8 kHz.
pub const BINS: usize = 257;
/// Samples of the network's window.
const WINDOW: usize = 512;
/// Of the network's bins those from here on, 4 to 8 kHz, say what becomes of what lies above them.
const TOP_BAND: usize = 128;
/// Gain rises and falls in so many hops: 64 ms from nothing to all.
const FADE_HOPS: usize = 4;
/// By so much a hop.
const FADE: f32 = 0.25;
/// So many hops without an embedding (2 s), and the network's memory of an object is given up.
pub const FORGET_HOPS: usize = 125;

/// The network of a separator: `[1, hops, …]` in and out.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeparatorNetwork {
    /// ONNX file, beside the manifest.
    pub file: String,
    /// Its SHA-256, hexadecimal.
    pub sha256: String,
    /// Name of the input `[1, T, 2, 257]`: real and imaginary part of the mixture's spectrum, samples in −1…1.
    pub mixture: String,
    /// Name of the input `[1, T, dim]`: the object's unit video embedding; zeros where it is not to be seen.
    pub embedding: String,
    /// Name of the input `[1, N]`: the memory; zeros at the beginning.
    pub state_in: String,
    /// Name of the output `[1, T, 2, 257]`: real and imaginary part of the mask.
    pub mask: String,
    /// Name of the output `[1, N]`.
    pub state_out: String,
}

/// `engines/<name>.toml` of a separator.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeparatorManifest {
    /// Version of this format: 1.
    pub schema: u32,
    /// The separator's name.
    pub name: String,
    /// `"separation"`.
    pub kind: String,
    /// Name of the engine whose embeddings it takes.
    pub engine: String,
    /// Dimensions of an embedding.
    pub dim: usize,
    /// Sample rate that it was trained at, Hz: 16000.
    pub rate: u32,
    /// Samples of a window: 512.
    pub window: usize,
    /// Samples from one window to the next: 256.
    pub hop: usize,
    /// Values of the memory.
    pub state: usize,
    /// The network.
    pub network: SeparatorNetwork,
    /// Where the weights come from.
    pub provenance: Provenance,
}

/// A separator's manifest that was checked, with the folder it stands in.
#[derive(Clone, Debug)]
pub struct SeparatorEngine {
    /// The manifest.
    pub manifest: SeparatorManifest,
    dir: PathBuf,
}

impl SeparatorEngine {
    /// Reads and checks a manifest and the SHA-256 of the network.
    ///
    /// # Errors
    /// Names the file, the field, what was expected and what was found.
    pub fn load(path: &Path) -> Result<Self, NetError> {
        let text = std::fs::read_to_string(path).map_err(|source| NetError::Read { path: path.to_owned(), source })?;
        let manifest = parse_manifest(&text).map_err(|why| NetError::Manifest { path: path.to_owned(), why })?;
        let dir = path.parent().unwrap_or(Path::new(".")).to_owned();
        check_hash(&dir.join(&manifest.network.file), &manifest.network.sha256)?;
        Ok(Self { manifest, dir })
    }

    /// The network's file.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        self.dir.join(&self.manifest.network.file)
    }
}

/// Parses and validates the text of a separator's manifest.
///
/// # Errors
/// What is wrong, in words.
pub fn parse_manifest(text: &str) -> Result<SeparatorManifest, String> {
    let m: SeparatorManifest = toml::from_str(text).map_err(|e| {
        if text.contains("[video]") {
            "is the manifest of an AV engine (--engine), not of a separator".to_owned()
        } else {
            e.to_string()
        }
    })?;
    if m.schema != 1 {
        return Err(format!("schema = {} is not known; this program reads schema 1", m.schema));
    }
    if m.kind != "separation" {
        return Err(format!("kind = {:?} is no separator; it must be \"separation\"", m.kind));
    }
    if (m.rate, m.window, m.hop) != (16_000, WINDOW, BINS - 1) {
        return Err(format!(
            "rate = {}, window = {}, hop = {}: this program knows 16000, {WINDOW} and {}",
            m.rate,
            m.window,
            m.hop,
            BINS - 1
        ));
    }
    for (name, value, most) in [("dim", m.dim, 4096), ("state", m.state, 1 << 24)] {
        if value == 0 || value > most {
            return Err(format!("{name} = {value} is out of range (1 to {most})"));
        }
    }
    check_file_name("network.file", &m.network.file)?;
    Ok(m)
}

/// What a separator is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeparatorConfig {
    /// Of the mixture and of the voices; a multiple of 125 Hz, 8 kHz or more.
    pub rate: SampleRate,
    /// Of the mixture and of the voices, interleaved; 1 or more.
    pub channels: usize,
    /// Objects at once, at most.
    pub objects: usize,
    /// Hops that the network is given at once: 1 live, 25 (0.4 s) for a file.
    pub block: usize,
}

/// An object at one hop.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Present<'a> {
    /// Its id.
    pub id: u32,
    /// Its unit video embedding `[dim]` at the middle of the window.
    pub embedding: &'a [f32],
}

/// A stretch of an object's voice.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Voice<'a> {
    /// The object's id.
    pub id: u32,
    /// Index of the first sample frame, counted from the first one pushed.
    pub start: u64,
    /// Samples, interleaved.
    pub samples: &'a [f32],
}

/// One object: the network's memory of it, and its way back to samples.
#[derive(Debug)]
struct Lane {
    id: u32,
    /// Somebody's.
    used: bool,
    /// Hops since it was last given with an embedding.
    absent: usize,
    gain: f32,
    state: Vec<f32>,
    /// Of the block, `[block, dim]`.
    embeddings: Vec<f32>,
    /// Of the block, for each hop.
    gains: Vec<f32>,
    synthesisers: Vec<Synthesiser>,
    /// Of the block, `[block, hop, channels]`.
    voice: Vec<f32>,
}

impl Lane {
    fn begin(&mut self, id: u32) {
        (self.id, self.used, self.absent, self.gain) = (id, true, 0, 0.0);
        self.state.fill(0.0);
        self.embeddings.fill(0.0);
        self.gains.fill(0.0);
        self.synthesisers.iter_mut().for_each(Synthesiser::reset);
    }
}

/// The separation stage: push samples; at every hop say who is there; pull voices.
///
/// ```text
/// while !samples.is_empty() {
///     samples = &samples[separator.push(samples)..];
///     while let Some(at) = separator.due() {
///         separator.step(who is there at `at`)?;
///         while let Some(voice) = separator.pull() { … }
///     }
/// }
/// ```
pub struct Separator {
    net: Box<dyn Network>,
    format: StftFormat,
    config: SeparatorConfig,
    dim: usize,
    /// The hop that is being filled, interleaved.
    hop: Vec<f32>,
    filled: usize,
    analysers: Vec<Analyser>,
    /// Of the block, `[block, channels, bins]`.
    spectra: Vec<Complex32>,
    /// Of the block, `[block, 2, BINS]`: what the network is shown.
    mixture: Vec<f32>,
    mask: Vec<f32>,
    state_out: Vec<f32>,
    lanes: Vec<Lane>,
    /// Hops of the block that are there.
    in_block: usize,
    /// Hops since the beginning, those of the present block not counted.
    before_block: u64,
    /// Sample frames pushed.
    pushed: u64,
    ended: bool,
    /// The lane that is pulled next; all of them have been where it is their number.
    next: usize,
    /// First frame and frames of the voices that are pulled, and how many of the block's frames lie before them.
    out: (u64, usize, usize),
    turned_away: u64,
}

impl std::fmt::Debug for Separator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Separator").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Separator {
    /// Opens the separator's network.
    ///
    /// # Errors
    /// As [`Backend::load`]; [`NetError::Unfit`] for a rate or a number of channels that it does not take.
    pub fn new(engine: &SeparatorEngine, backend: &dyn Backend, config: SeparatorConfig) -> Result<Self, NetError> {
        let unfit = |why: String| NetError::Unfit { name: engine.manifest.name.clone(), why };
        let format = StftFormat::new(config.rate)
            .filter(|f| f.bins >= TOP_BAND)
            .ok_or_else(|| unfit(format!("{} Hz is no multiple of 125 Hz above 8 kHz; resample", config.rate.hz())))?;
        let SeparatorConfig { channels, objects, block, .. } = config;
        if channels == 0 || objects == 0 || !(1..=1000).contains(&block) {
            return Err(unfit(format!(
                "{channels} channels, {objects} objects, {block} hops a block: at least one of each"
            )));
        }
        let SeparatorManifest { dim, state, network: n, .. } = &engine.manifest;
        let spectra = [1, block, 2, BINS];
        let inputs = [
            TensorSpec::new(&n.mixture, &spectra),
            TensorSpec::new(&n.embedding, &[1, block, *dim]),
            TensorSpec::new(&n.state_in, &[1, *state]),
        ];
        let outputs = [TensorSpec::new(&n.mask, &spectra), TensorSpec::new(&n.state_out, &[1, *state])];
        let lane = || Lane {
            id: 0,
            used: false,
            absent: 0,
            gain: 0.0,
            state: vec![0.0; *state],
            embeddings: vec![0.0; block * dim],
            gains: vec![0.0; block],
            synthesisers: (0..channels).map(|_| Synthesiser::new(format)).collect(),
            voice: vec![0.0; block * format.hop * channels],
        };
        Ok(Self {
            net: backend.load(&engine.file(), &inputs, &outputs)?,
            format,
            config,
            dim: *dim,
            hop: vec![0.0; format.hop * channels],
            filled: 0,
            analysers: (0..channels).map(|_| Analyser::new(format)).collect(),
            spectra: vec![Complex32::default(); block * channels * format.bins],
            mixture: vec![0.0; inputs[0].len()],
            mask: vec![0.0; outputs[0].len()],
            state_out: vec![0.0; *state],
            lanes: (0..objects).map(|_| lane()).collect(),
            in_block: 0,
            before_block: 0,
            pushed: 0,
            ended: false,
            next: objects,
            out: (0, 0, 0),
            turned_away: 0,
        })
    }

    /// Takes interleaved samples up to the end of the present hop; how many values it took. Nothing while a hop is
    /// [due](Separator::due).
    pub fn push(&mut self, samples: &[f32]) -> usize {
        let n = samples.len().min(self.hop.len() - self.filled);
        self.hop[self.filled..self.filled + n].copy_from_slice(&samples[..n]);
        self.filled += n;
        if n > 0 && self.filled == self.hop.len() {
            self.pushed += self.format.hop as u64;
        }
        n
    }

    /// No more samples will come: what is held back falls due.
    pub fn end(&mut self) {
        if self.ended {
            return;
        }
        self.ended = true;
        if self.filled < self.hop.len() {
            self.pushed += self.filled.div_euclid(self.config.channels) as u64;
        }
        self.fill_up();
    }

    /// After the end: silence, until the last sample has come out.
    fn fill_up(&mut self) {
        let done = self.before_block.saturating_sub(1) * self.format.hop as u64;
        if self.ended && (done < self.pushed || self.in_block > 0) {
            self.hop[self.filled..].fill(0.0);
            self.filled = self.hop.len();
        }
    }

    /// The middle of the window that is complete now, from the first sample: [`Separator::step`] wants to know who is there
    /// then. `None` until more is pushed.
    #[must_use]
    pub fn due(&self) -> Option<TimeDelta> {
        let full = self.filled == self.hop.len();
        let hops = self.before_block + self.in_block as u64;
        full.then(|| self.config.rate.time_of(i64::try_from(hops * self.format.hop as u64).unwrap_or(i64::MAX)))
    }

    /// Does the hop that is due. When it completes a block there are voices to [pull](Separator::pull); what was not pulled of the
    /// block before is lost.
    ///
    /// # Errors
    /// [`NetError::Run`]; the block is lost.
    ///
    /// # Panics
    /// If no hop is due, or an embedding is of another size than the separator's.
    pub fn step(&mut self, present: &[Present<'_>]) -> Result<(), NetError> {
        assert!(self.filled == self.hop.len(), "a hop is due");
        self.filled = 0;
        self.analyse();
        self.place(present);
        self.in_block += 1;
        let mut done = Ok(());
        if self.in_block == self.config.block {
            done = self.finish_block();
            self.in_block = 0;
            self.before_block += self.config.block as u64;
        }
        self.fill_up();
        done
    }

    /// The spectra of the hop, and what the network is shown of them.
    #[expect(clippy::cast_precision_loss, reason = "a few channels, samples of a window")]
    fn analyse(&mut self) {
        let (channels, bins) = (self.config.channels, self.format.bins);
        let spectra = &mut self.spectra[self.in_block * channels * bins..][..channels * bins];
        for (c, (analyser, spectrum)) in self.analysers.iter_mut().zip(spectra.chunks_exact_mut(bins)).enumerate() {
            spectrum.copy_from_slice(analyser.push(self.hop[c..].iter().step_by(channels).copied()));
        }
        let scale = WINDOW as f32 / (self.format.window * channels) as f32;
        let (re, im) = self.mixture[self.in_block * 2 * BINS..][..2 * BINS].split_at_mut(BINS);
        for (k, (re, im)) in re.iter_mut().zip(im).enumerate().take(bins) {
            let sum: Complex32 = spectra[k..].iter().step_by(bins).sum();
            (*re, *im) = (sum.re * scale, sum.im * scale);
        }
    }

    /// Who is there: lanes begin, go on, fade.
    fn place(&mut self, present: &[Present<'_>]) {
        let (t, dim) = (self.in_block, self.dim);
        for p in present {
            assert_eq!(p.embedding.len(), dim, "an embedding of the separator's size");
            if self.lanes.iter().any(|l| l.used && l.id == p.id) {
                continue;
            }
            // A free lane, or the one of who has been away longest: so long that they are not heard in this block any more.
            let silent = self.config.block + FADE_HOPS;
            let gone = |l: &Lane| !present.iter().any(|p| p.id == l.id) && l.absent > silent;
            let best = (0..self.lanes.len())
                .filter(|&i| !self.lanes[i].used || gone(&self.lanes[i]))
                .max_by_key(|&i| if self.lanes[i].used { self.lanes[i].absent } else { usize::MAX });
            match best {
                // What was done of the block without them stays empty.
                Some(i) => self.lanes[i].begin(p.id),
                None => self.turned_away += 1,
            }
        }
        for lane in self.lanes.iter_mut().filter(|l| l.used) {
            let to = &mut lane.embeddings[t * dim..][..dim];
            let given = present.iter().find(|p| p.id == lane.id);
            match given {
                Some(p) => to.copy_from_slice(p.embedding),
                None => to.fill(0.0),
            }
            lane.absent = if given.is_some() { 0 } else { lane.absent + 1 };
            lane.gain = (lane.gain + if given.is_some() { FADE } else { -FADE }).clamp(0.0, 1.0);
            lane.gains[t] = lane.gain;
        }
    }

    /// Masks and samples of all lanes.
    fn finish_block(&mut self) -> Result<(), NetError> {
        let SeparatorConfig { channels, block, .. } = self.config;
        let StftFormat { hop, bins, .. } = self.format;
        let first = self.before_block.saturating_sub(1) * hop as u64;
        let skip = if self.before_block == 0 { hop } else { 0 };
        let most = usize::try_from(self.pushed.saturating_sub(first)).unwrap_or(usize::MAX);
        self.out = (first, (block * hop - skip).min(most), skip);
        self.next = self.lanes.len();
        for lane in self.lanes.iter_mut().filter(|l| l.used) {
            self.net
                .run(&[&self.mixture, &lane.embeddings, &lane.state], &mut [&mut self.mask, &mut self.state_out])?;
            std::mem::swap(&mut lane.state, &mut self.state_out);
            for t in 0..block {
                let (re, im) = self.mask[t * 2 * BINS..][..2 * BINS].split_at(BINS);
                let gain = lane.gains[t];
                let above = gain * mean_magnitude(&re[TOP_BAND..], &im[TOP_BAND..]);
                let out = &mut lane.voice[t * hop * channels..][..hop * channels];
                for (c, synthesiser) in lane.synthesisers.iter_mut().enumerate() {
                    let from = &self.spectra[(t * channels + c) * bins..][..bins];
                    let to = synthesiser.spectrum();
                    for (k, (to, x)) in to.iter_mut().zip(from).enumerate() {
                        *to = if k < BINS { x * Complex32::new(re[k], im[k]) * gain } else { x * above };
                    }
                    for (o, s) in out[c..].iter_mut().step_by(channels).zip(synthesiser.push()) {
                        *o = s;
                    }
                }
            }
            if lane.absent >= FORGET_HOPS {
                lane.used = false;
            }
        }
        self.next = 0;
        Ok(())
    }

    /// The voices of the block that was completed, one object after the other.
    pub fn pull(&mut self) -> Option<Voice<'_>> {
        let (start, frames, skip) = self.out;
        while let Some(i) = (self.next < self.lanes.len() && frames > 0).then_some(self.next) {
            self.next += 1;
            if self.lanes[i].used {
                let (lane, channels) = (&self.lanes[i], self.config.channels);
                let samples = &lane.voice[skip * channels..][..frames * channels];
                return Some(Voice { id: lane.id, start, samples });
            }
        }
        None
    }

    /// From a sample to its voices, in stream time: a window, and the other hops of a block.
    #[must_use]
    pub fn latency(&self) -> TimeDelta {
        let frames = self.format.window + (self.config.block - 1) * self.format.hop;
        self.config.rate.time_of(i64::try_from(frames).unwrap_or(i64::MAX))
    }

    /// How often somebody was there for whom there was no room.
    #[must_use]
    pub fn turned_away(&self) -> u64 {
        self.turned_away
    }

    /// Forgets the stream and everybody in it; sample frames are counted from 0 again.
    pub fn reset(&mut self) {
        self.analysers.iter_mut().for_each(Analyser::reset);
        self.lanes.iter_mut().for_each(|l| l.used = false);
        (self.filled, self.in_block, self.before_block, self.pushed) = (0, 0, 0, 0);
        (self.ended, self.next, self.out) = (false, self.lanes.len(), (0, 0, 0));
    }
}

#[expect(clippy::cast_precision_loss, reason = "bins")]
fn mean_magnitude(re: &[f32], im: &[f32]) -> f32 {
    re.iter().zip(im).map(|(re, im)| re.hypot(*im)).sum::<f32>() / re.len() as f32
}
