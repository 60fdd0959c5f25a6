//! Plans: networks that TensorRT has built for one kind of GPU, and the folder that keeps them.
//!
//! A plan is good for what it was built from and nothing else: the model's bytes, TensorRT's version, the compute
//! capability, the precision and the shapes (an INT8 file's calibration is in its bytes: the scales). All of that stands in the file before the plan
//! itself, one line of JSON, and the SHA-256 of it is the plan's key. The file's name has only what people want to see
//! there, so that a plan that no longer fits is found and told, and built again, instead of lying about for ever.

use crate::driver::Version;
use seehear::net::{NetError, TensorSpec};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::io::Write;
use std::path::{Path, PathBuf};

/// The version of the file's format.
const FORMAT: u32 = 1;

/// In what numbers a network computes. It is a property of the ONNX file; here it is for names and keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit floats, as trained.
    #[default]
    Fp32,
    /// Convolutions in 16-bit floats ([`crate::onnx::to_half`]).
    Fp16,
    /// Convolutions in 8-bit integers, as the file's Q and DQ nodes say.
    Int8,
}

impl Precision {
    /// As a model's file name says it: `x-int8.video.onnx`, `x.fp16.onnx`.
    #[must_use]
    pub fn of_name(model: &Path) -> Self {
        let name = model.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        let says = |p: Self| name.split(['-', '.', '_']).any(|part| part == p.name());
        [Self::Fp16, Self::Int8].into_iter().find(|&p| says(p)).unwrap_or(Self::Fp32)
    }

    /// As in file names and options.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fp32 => "fp32",
            Self::Fp16 => "fp16",
            Self::Int8 => "int8",
        }
    }
}

impl std::str::FromStr for Precision {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Fp32, Self::Fp16, Self::Int8]
            .into_iter()
            .find(|p| p.name() == text)
            .ok_or_else(|| format!("no precision {text:?}; there are fp32, fp16, int8"))
    }
}

/// Everything that a plan depends on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The model file's stem.
    pub model: String,
    /// SHA-256 of the model's bytes.
    pub model_sha256: String,
    /// TensorRT's kind and version: `rtx 1.7.1`.
    pub tensorrt: String,
    /// What GPUs it runs on: `8.6`.
    pub compute: String,
    /// In what numbers.
    pub precision: Precision,
    /// Inputs and outputs with their shapes, in order: `slots=1x5x192x336 embedding=1x128x12x21`.
    pub shapes: String,
}

impl Recipe {
    /// For a model's bytes and tensors.
    #[must_use]
    pub fn new(
        model: &Path,
        bytes: &[u8],
        tensorrt: &str,
        compute: Version,
        precision: Precision,
        (inputs, outputs): (&[TensorSpec], &[TensorSpec]),
    ) -> Self {
        let shapes: Vec<String> =
            inputs.iter().chain(outputs).map(|spec| format!("{}={}", spec.name, times(&spec.shape))).collect();
        Self {
            model: model.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
            model_sha256: sha256(bytes),
            tensorrt: tensorrt.to_owned(),
            compute: compute.to_string(),
            precision,
            shapes: shapes.join(" "),
        }
    }

    /// SHA-256 of all of it.
    #[must_use]
    pub fn key(&self) -> String {
        sha256(&serde_json::to_vec(self).expect("strings and numbers are JSON"))
    }

    /// The plan's name in its folder: what people know it by, and no hash.
    #[must_use]
    pub fn file_name(&self) -> String {
        let first = self.shapes.split(' ').next().and_then(|input| input.split('=').nth(1)).unwrap_or("none");
        let compute = self.compute.replace('.', "");
        format!("{}-{first}-sm{compute}-{}.plan", self.model, self.precision.name())
    }

    /// The first thing in which another recipe differs, in words.
    fn difference(&self, other: &Self) -> String {
        let pairs = [
            ("model", &self.model_sha256, &other.model_sha256),
            ("TensorRT", &self.tensorrt, &other.tensorrt),
            ("compute capability", &self.compute, &other.compute),
            ("shapes", &self.shapes, &other.shapes),
        ];
        match pairs.iter().find(|(_, a, b)| a != b) {
            Some(("model", ..)) => "another model of this name".to_owned(),
            Some((what, _, got)) => format!("another {what} ({got})"),
            None => "another recipe".to_owned(),
        }
    }
}

/// What stands before the plan in its file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    format: u32,
    key: String,
    recipe: Recipe,
    plan_sha256: String,
}

/// A plan as it was found.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// It fits.
    Plan(Vec<u8>),
    /// There is none.
    Nothing,
    /// There is one that does not fit, or is damaged: why, in words.
    Unfit(String),
}

/// A file of the folder, and its recipe or why it is none.
pub type Listed = (PathBuf, Result<Recipe, String>);

/// The folder of plans.
#[derive(Clone, Debug)]
pub struct Plans {
    dir: PathBuf,
}

impl Plans {
    /// A folder; it is made when the first plan is kept.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// Where the plan of a recipe is kept.
    #[must_use]
    pub fn path(&self, recipe: &Recipe) -> PathBuf {
        self.dir.join(recipe.file_name())
    }

    /// Looks for the plan of a recipe.
    ///
    /// # Errors
    /// [`NetError::Read`] for a file that is there and cannot be read.
    pub fn find(&self, recipe: &Recipe) -> Result<Found, NetError> {
        let path = self.path(recipe);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Found::Nothing),
            Err(source) => return Err(NetError::Read { path, source }),
        };
        Ok(match open(&bytes) {
            Err(why) => Found::Unfit(why),
            Ok((head, _)) if head.key != recipe.key() => {
                Found::Unfit(format!("built for {}", recipe.difference(&head.recipe)))
            }
            Ok((_, plan)) => Found::Plan(plan.to_vec()),
        })
    }

    /// Keeps a plan, in place of any that was there; never half of one.
    ///
    /// # Errors
    /// [`NetError::Read`] when the folder or the file cannot be written.
    pub fn keep(&self, recipe: &Recipe, plan: &[u8]) -> Result<PathBuf, NetError> {
        let path = self.path(recipe);
        let head = Head { format: FORMAT, key: recipe.key(), recipe: recipe.clone(), plan_sha256: sha256(plan) };
        let mut text = serde_json::to_vec(&head).expect("strings and numbers are JSON");
        text.push(b'\n');
        let part = path.with_extension(format!("{}.part", std::process::id()));
        let write = || {
            std::fs::create_dir_all(&self.dir)?;
            let mut file = std::fs::File::create(&part)?;
            file.write_all(&text)?;
            file.write_all(plan)?;
            std::fs::rename(&part, &path)
        };
        write().map_err(|source| {
            // What cannot be written can mostly not be removed either; the first error is the one to tell.
            drop(std::fs::remove_file(&part));
            NetError::Read { path: path.clone(), source }
        })?;
        Ok(path)
    }

    /// All plans of the folder, by file name; of those that are none, why.
    ///
    /// # Errors
    /// [`NetError::Read`] when a file cannot be read.
    pub fn list(&self) -> Result<Vec<Listed>, NetError> {
        let entries = match std::fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(NetError::Read { path: self.dir.clone(), source }),
        };
        let mut paths: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
        paths.retain(|path| path.extension().is_some_and(|e| e == "plan"));
        paths.sort();
        let read = |path: PathBuf| match std::fs::read(&path) {
            Ok(bytes) => Ok((path, open(&bytes).map(|(head, _)| head.recipe))),
            Err(source) => Err(NetError::Read { path, source }),
        };
        paths.into_iter().map(read).collect()
    }
}

/// Head and plan of a file that is whole.
fn open(bytes: &[u8]) -> Result<(Head, &[u8]), String> {
    let end = bytes.iter().position(|b| *b == b'\n').ok_or("damaged")?;
    let head: Head = serde_json::from_slice(&bytes[..end]).map_err(|_| "damaged, or of another version of seehear")?;
    if head.format != FORMAT {
        return Err(format!("of format {}; this program reads {FORMAT}", head.format));
    }
    let plan = &bytes[end + 1..];
    if sha256(plan) != head.plan_sha256 { Err("damaged".to_owned()) } else { Ok((head, plan)) }
}

fn times(shape: &[usize]) -> String {
    shape.iter().map(ToString::to_string).collect::<Vec<_>>().join("x")
}

/// Hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |hex, b| hex + &format!("{b:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe() -> Recipe {
        let specs = ([TensorSpec::new("slots", &[1, 5, 192, 336])], [TensorSpec::new("embedding", &[1, 128, 12, 21])]);
        let (model, compute) = (Path::new("engines/av-small.video.onnx"), Version::new(8, 6));
        Recipe::new(model, b"model", "rtx 1.7.1", compute, Precision::Fp32, (&specs.0, &specs.1))
    }

    #[test]
    fn a_plan_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let plans = Plans::new(&dir.path().join("cache"));
        assert_eq!(plans.find(&recipe()).unwrap(), Found::Nothing);
        assert!(plans.list().unwrap().is_empty());
        let path = plans.keep(&recipe(), b"plan\nof two lines").unwrap();
        assert!(path.ends_with("cache/av-small.video-1x5x192x336-sm86-fp32.plan"), "{}", path.display());
        assert_eq!(plans.find(&recipe()).unwrap(), Found::Plan(b"plan\nof two lines".to_vec()));
        assert_eq!(plans.list().unwrap(), [(path, Ok(recipe()))]);
        assert_eq!(std::fs::read_dir(dir.path().join("cache")).unwrap().count(), 1, "something was left behind");
    }

    #[test]
    fn every_part_of_the_recipe_is_in_the_key() {
        let change: [fn(&mut Recipe); 6] = [
            |r| r.model = "x".into(),
            |r| r.model_sha256 = "x".into(),
            |r| r.tensorrt = "rtx 1.6.0".into(),
            |r| r.compute = "8.9".into(),
            |r| r.precision = Precision::Fp16,
            |r| r.shapes = "x".into(),
        ];
        let mut keys = vec![recipe().key()];
        for change in change {
            let mut other = recipe();
            change(&mut other);
            keys.push(other.key());
        }
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), 7);
    }

    #[test]
    fn what_does_not_fit_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let plans = Plans::new(dir.path());
        let unfit = |plans: &Plans| match plans.find(&recipe()).unwrap() {
            Found::Unfit(why) => why,
            other => panic!("{other:?}"),
        };
        // Each under the name that the recipe has: what a change of the model or an update of TensorRT leaves behind.
        let path = plans.path(&recipe());
        let foreign = |change: fn(&mut Recipe)| {
            let mut other = recipe();
            change(&mut other);
            std::fs::rename(plans.keep(&other, b"plan").unwrap(), &path).unwrap();
            unfit(&plans)
        };
        assert_eq!(foreign(|r| r.model_sha256 = "0".into()), "built for another model of this name");
        assert_eq!(foreign(|r| r.tensorrt = "rtx 1.6.0".into()), "built for another TensorRT (rtx 1.6.0)");
        assert_eq!(foreign(|r| r.compute = "8.9".into()), "built for another compute capability (8.9)");
        std::fs::write(&path, b"").unwrap();
        assert_eq!(unfit(&plans), "damaged");
        plans.keep(&recipe(), b"plan").unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(unfit(&plans), "damaged");
        std::fs::write(&path, "{\"format\":1}\nplan").unwrap();
        assert_eq!(unfit(&plans), "damaged, or of another version of seehear");
        assert_eq!(plans.list().unwrap().len(), 1);
        // And what is built then takes its place.
        plans.keep(&recipe(), b"new").unwrap();
        assert_eq!(plans.find(&recipe()).unwrap(), Found::Plan(b"new".to_vec()));
    }

    #[test]
    fn precisions_read_back() {
        for p in [Precision::Fp32, Precision::Fp16, Precision::Int8] {
            assert_eq!(p.name().parse(), Ok(p));
        }
        for (name, p) in
            [("a.onnx", Precision::Fp32), ("b-int8.video.onnx", Precision::Int8), ("c.fp16.onnx", Precision::Fp16)]
        {
            assert_eq!(Precision::of_name(name.as_ref()), p);
        }
        assert!("bf16".parse::<Precision>().unwrap_err().contains("fp32, fp16, int8"));
    }
}
