//! Networks: the [`Network`] and [`Backend`] traits that `crates/nets` implements, and the manifest that says what an
//! engine expects and gives.
//!
//! An AV engine is two ONNX files beside an `engines/<name>.toml`: a video network (successive grey slots → a map of
//! unit vectors) and an audio network (log-mel → unit vectors). The manifest is checked when it is loaded: every
//! field, both files' SHA-256, and, once a backend has opened them, the names and shapes of their tensors.
//! Nothing but the networks is in the graphs: softmax, peaks and thresholds live in the core, once for all backends.

use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// Name and shape of a tensor, f32, row-major.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    /// Its name in the ONNX graph.
    pub name: String,
    /// Its dimensions, outermost first.
    pub shape: Vec<usize>,
}

impl TensorSpec {
    /// A named shape.
    #[must_use]
    pub fn new(name: &str, shape: &[usize]) -> Self {
        Self { name: name.to_owned(), shape: shape.to_vec() }
    }

    /// Number of values.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// True for a tensor of no values.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What can go wrong with an engine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetError {
    /// A file could not be read.
    #[error("engine file {path}: {source}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The manifest is not what a manifest must be.
    #[error("engine manifest {path}: {why}")]
    Manifest {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The ONNX file is not the one that the manifest speaks of.
    #[error(
        "engine file {path}: SHA-256 is {got}, its manifest says {expected}; \
         the file was changed or belongs to another manifest: fetch both again"
    )]
    Hash {
        /// Which file.
        path: PathBuf,
        /// From the manifest.
        expected: String,
        /// Of the file.
        got: String,
    },
    /// The graph has other tensors than the manifest says.
    #[error("engine file {path}: {what}: the manifest says {expected}, the network has {got}")]
    Tensor {
        /// Which file.
        path: PathBuf,
        /// Which tensor.
        what: String,
        /// From the manifest.
        expected: String,
        /// Of the network.
        got: String,
    },
    /// An engine does not fit what it is to be used for.
    #[error("engine {name}: {why}")]
    Unfit {
        /// The engine's name.
        name: String,
        /// What does not fit.
        why: String,
    },
    /// The system has no thread for a stage.
    #[error("no thread for the motion stage: {0}")]
    Thread(std::io::Error),
    /// The inference library is missing or unfit.
    #[error("{backend}: {why}")]
    Library {
        /// Which backend.
        backend: &'static str,
        /// What is wrong and what to do.
        why: String,
    },
    /// A run failed.
    #[error("{backend}: network {net}: {why}")]
    Run {
        /// Which backend.
        backend: &'static str,
        /// Which network.
        net: String,
        /// What the library said.
        why: String,
    },
}

/// A loaded network of fixed shapes: f32 tensors in, f32 tensors out.
pub trait Network: Send {
    /// What [`Network::run`] takes, in order.
    fn inputs(&self) -> &[TensorSpec];

    /// What [`Network::run`] gives, in order.
    fn outputs(&self) -> &[TensorSpec];

    /// Runs once. Slices are dense and row-major; their lengths are those of the specs.
    ///
    /// # Errors
    /// [`NetError::Run`] when the library fails; the network may be run again.
    fn run(&mut self, inputs: &[&[f32]], outputs: &mut [&mut [f32]]) -> Result<(), NetError>;
}

/// Opens networks.
pub trait Backend {
    /// Its name, as in the events' header.
    fn name(&self) -> &'static str;

    /// Opens `model` for inputs of exactly these shapes, which must give outputs of exactly those.
    ///
    /// # Errors
    /// When the library is missing, or the file is not a network of these tensors.
    fn load(&self, model: &Path, inputs: &[TensorSpec], outputs: &[TensorSpec]) -> Result<Box<dyn Network>, NetError>;
}

/// The mel filterbank of an engine.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MelSpec {
    /// Number of filters.
    pub mels: usize,
    /// Lower edge of the first filter, Hz.
    pub low_hz: f32,
    /// Upper edge of the last filter, Hz.
    pub high_hz: f32,
}

/// The video half of an engine: `[1, slots, height, width]` → `[1, dim, height/stride, width/stride]`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VideoSpec {
    /// ONNX file, beside the manifest.
    pub file: String,
    /// Its SHA-256, hexadecimal.
    pub sha256: String,
    /// Name of the input tensor.
    pub input: String,
    /// Name of the output tensor.
    pub output: String,
    /// Successive 25 Hz pictures in a stack; the output stands for the middle one.
    pub slots: usize,
    /// Height of the network's picture, pixels, by default; a multiple of `stride`.
    pub height: usize,
    /// Pixels of the network's picture per cell.
    pub stride: usize,
}

/// The audio half of an engine: `[1, 1, mels, 4·(2·context + 1)]` → `[1, dim, steps·(2·context + 1)]`, of which the
/// middle slot's vectors are used.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AudioSpec {
    /// ONNX file, beside the manifest.
    pub file: String,
    /// Its SHA-256, hexadecimal.
    pub sha256: String,
    /// Name of the input tensor.
    pub input: String,
    /// Name of the output tensor.
    pub output: String,
    /// Slots of sound that the network sees on either side of the one it describes.
    pub context_slots: usize,
    /// Vectors a slot: 1, or 4 for one every 10 ms. The first stands for the slot's beginning.
    pub steps_per_slot: usize,
    /// Standard deviation below which the running normalisation does not go: silence stays silence.
    pub min_std: f32,
    /// The filterbank.
    pub mel: MelSpec,
}

/// How scores of an engine are read.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScoreSpec {
    /// Multiplies a mean score before the softmax over offsets.
    pub scale: f32,
    /// The offset, in ms, that the engine answers for material in sync (> 0: audio late).
    pub zero_ms: f32,
    /// Spread of the offsets that material in good order shows, ms, one standard deviation.
    pub spread_ms: f32,
    /// Height of the offset curve's peak over its median from which the offset is sure.
    pub sure: f32,
    /// Height below which there is nothing.
    pub nothing: f32,
    /// Speaking probability of an object whose attention logit is ℓ: σ(slope·ℓ + bias).
    pub slope: f32,
    /// See `slope`.
    pub bias: f32,
}

/// Where the weights come from.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// Who trained it, on what.
    pub trained: String,
    /// Licence of the weights.
    pub licence: String,
    /// Scores, as measured.
    pub scores: String,
}

/// `engines/<name>.toml`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of this format: 1.
    pub schema: u32,
    /// The engine's name.
    pub name: String,
    /// Dimensions of an embedding.
    pub dim: usize,
    /// Largest absolute difference between two backends on the same input.
    pub tolerance: f32,
    /// The video network.
    pub video: VideoSpec,
    /// The audio network.
    pub audio: AudioSpec,
    /// How scores are read.
    pub score: ScoreSpec,
    /// Where the weights come from.
    pub provenance: Provenance,
}

/// A manifest that was checked, with the folder it stands in.
#[derive(Clone, Debug)]
pub struct Engine {
    /// The manifest.
    pub manifest: Manifest,
    dir: PathBuf,
}

impl Engine {
    /// Reads and checks a manifest and the SHA-256 of both files.
    ///
    /// # Errors
    /// Names the file, the field, what was expected and what was found.
    pub fn load(path: &Path) -> Result<Self, NetError> {
        let text = std::fs::read_to_string(path).map_err(|source| NetError::Read { path: path.to_owned(), source })?;
        let manifest = parse_manifest(&text).map_err(|why| NetError::Manifest { path: path.to_owned(), why })?;
        let dir = path.parent().unwrap_or(Path::new(".")).to_owned();
        for (file, expected) in
            [(&manifest.video.file, &manifest.video.sha256), (&manifest.audio.file, &manifest.audio.sha256)]
        {
            check_hash(&dir.join(file), expected)?;
        }
        Ok(Self { manifest, dir })
    }

    /// The video network's file.
    #[must_use]
    pub fn video_file(&self) -> PathBuf {
        self.dir.join(&self.manifest.video.file)
    }

    /// The audio network's file.
    #[must_use]
    pub fn audio_file(&self) -> PathBuf {
        self.dir.join(&self.manifest.audio.file)
    }
}

pub(crate) fn check_hash(path: &Path, expected: &str) -> Result<(), NetError> {
    let bytes = std::fs::read(path).map_err(|source| NetError::Read { path: path.to_owned(), source })?;
    let got = Sha256::digest(&bytes).iter().fold(String::new(), |hex, b| hex + &format!("{b:02x}"));
    if got.eq_ignore_ascii_case(expected) {
        Ok(())
    } else {
        Err(NetError::Hash { path: path.to_owned(), expected: expected.to_owned(), got })
    }
}

/// Parses and validates the text of a manifest.
///
/// # Errors
/// What is wrong, in words.
pub fn parse_manifest(text: &str) -> Result<Manifest, String> {
    let m: Manifest = toml::from_str(text).map_err(|e| {
        if text.contains("kind = \"separation\"") {
            "is the manifest of a separator (--separator), not of an AV engine".to_owned()
        } else {
            e.to_string()
        }
    })?;
    let positive = [
        ("dim", m.dim),
        ("video.slots", m.video.slots),
        ("video.height", m.video.height),
        ("video.stride", m.video.stride),
        ("audio.mel.mels", m.audio.mel.mels),
    ];
    for (name, value) in positive {
        if value == 0 || value > 4096 {
            return Err(format!("{name} = {value} is out of range (1 to 4096)"));
        }
    }
    if m.schema != 1 {
        return Err(format!("schema = {} is not known; this program reads schema 1", m.schema));
    }
    if m.video.slots.is_multiple_of(2) {
        return Err(format!("video.slots = {} must be odd: the output stands for the middle one", m.video.slots));
    }
    if !m.video.height.is_multiple_of(m.video.stride) {
        return Err(format!("video.height = {} is no multiple of video.stride = {}", m.video.height, m.video.stride));
    }
    if m.audio.context_slots > 64 {
        return Err(format!("audio.context_slots = {} is out of range (0 to 64)", m.audio.context_slots));
    }
    if !matches!(m.audio.steps_per_slot, 1 | 2 | 4) {
        return Err(format!("audio.steps_per_slot = {} must be 1, 2 or 4", m.audio.steps_per_slot));
    }
    let mel = &m.audio.mel;
    if !(mel.low_hz >= 0.0 && mel.low_hz < mel.high_hz && mel.high_hz <= 8000.0) {
        return Err(format!("audio.mel: {} … {} Hz is no band below 8000 Hz", mel.low_hz, mel.high_hz));
    }
    for (name, value) in [
        ("tolerance", m.tolerance),
        ("score.scale", m.score.scale),
        ("score.spread_ms", m.score.spread_ms),
        ("score.slope", m.score.slope),
        ("audio.min_std", m.audio.min_std),
    ] {
        if !(value > 0.0 && value.is_finite()) {
            return Err(format!("{name} = {value} must be a number above 0"));
        }
    }
    if !m.score.bias.is_finite() {
        return Err(format!("score.bias = {} must be a number", m.score.bias));
    }
    if !m.score.zero_ms.is_finite() || m.score.zero_ms.abs() > 600.0 {
        return Err(format!("score.zero_ms = {} is out of range (±600)", m.score.zero_ms));
    }
    if !(m.score.nothing >= 0.0 && m.score.nothing < m.score.sure) {
        return Err(format!("score.nothing = {} must be below score.sure = {}", m.score.nothing, m.score.sure));
    }
    for (name, file) in [("video.file", &m.video.file), ("audio.file", &m.audio.file)] {
        check_file_name(name, file)?;
    }
    Ok(m)
}

pub(crate) fn check_file_name(field: &str, file: &str) -> Result<(), String> {
    if file.is_empty() || Path::new(file).components().count() != 1 || file == ".." {
        return Err(format!("{field} = {file:?} must be a file name beside the manifest"));
    }
    Ok(())
}
