//! Finds TensorRT for RTX, checks its version and loads it, once per process.

use super::unfit;
use crate::locate::innermost;
use libloading::os::unix::{Library as Dl, RTLD_GLOBAL, RTLD_LAZY};
use seehear::net::NetError;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use trtx::{LogHandler, Logger, Severity};

/// The two libraries, as the wheel has them; the number is the major version.
const RUNTIME: &str = "libtensorrt_rtx.so.1";
const PARSER: &str = "libtensorrt_onnxparser_rtx.so.1";

/// Where `make test-tensorrt` puts them, above the executable.
const FOLDER: &str = ".deps/tensorrt";

const REMEDY: &str = "run `make setup-tensorrt` in the checkout, or pass --tensorrt DIR";

/// What TensorRT complained of lately, newest last; an error takes it along.
static COMPLAINTS: Mutex<VecDeque<String>> = Mutex::new(VecDeque::new());

/// The loaded library; `Err` is remembered too, as a library that failed half-way is not tried again.
static LOADED: OnceLock<Result<Library, String>> = OnceLock::new();

/// One logger for the process: TensorRT keeps the first that it is given.
static LOGGER: OnceLock<Logger> = OnceLock::new();

/// TensorRT for RTX, loaded and of a version that fits.
#[derive(Clone, Debug)]
pub struct Library {
    version: String,
    folder: PathBuf,
}

struct Complaints;

impl LogHandler for Complaints {
    fn log(&self, severity: Severity, message: &str) {
        if severity <= Severity::Error {
            let mut kept = COMPLAINTS.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.len() == 4 {
                kept.pop_front();
            }
            kept.push_back(message.trim().to_owned());
        }
    }
}

/// What TensorRT complained of since the last call, in one line.
pub(super) fn complaints() -> String {
    let mut kept = COMPLAINTS.lock().unwrap_or_else(PoisonError::into_inner);
    let lines: Vec<String> = kept.drain(..).map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    lines.join("; ")
}

impl Library {
    /// From this folder, or else `.deps/tensorrt` above the executable, or else the system's loader. Needs no GPU.
    ///
    /// # Errors
    /// [`NetError::Library`] when it is missing, is another library or of a version that this program cannot use.
    pub fn load(folder: Option<&Path>) -> Result<Self, NetError> {
        LOADED.get_or_init(|| load(folder)).clone().map_err(unfit)
    }

    /// `rtx 1.7.1`.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Where it was found; empty for the system's loader.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The process' logger.
    pub(super) fn logger(&self) -> Result<&'static Logger, NetError> {
        if let Some(logger) = LOGGER.get() {
            return Ok(logger);
        }
        let made = Logger::new(Complaints).map_err(|e| unfit(e.to_string()))?;
        Ok(LOGGER.get_or_init(|| made))
    }
}

fn load(explicit: Option<&Path>) -> Result<Library, String> {
    let folder = match explicit {
        Some(dir) => {
            let dir = std::path::absolute(dir).map_err(|e| format!("{}: {e}; {REMEDY}", dir.display()))?;
            if !dir.join(RUNTIME).is_file() {
                return Err(format!("no {RUNTIME} in the folder {}; {REMEDY}", dir.display()));
            }
            dir
        }
        None => near().unwrap_or_default(),
    };
    // Joined to nothing it is the bare name, which the system's loader looks for.
    let (runtime, parser) = (folder.join(RUNTIME), folder.join(PARSER));
    let number = version(&runtime)?;
    // SAFETY: It gives a number that was compiled in.
    let built = unsafe { trtx::trtx_sys::get_tensorrt_version() };
    check_version(&runtime, number, built)?;
    // The parser asks for its functions by the loader's global table.
    for path in [&runtime, &parser] {
        std::mem::forget(open(path)?);
    }
    trtx::dynamically_load_tensorrt(Some(&runtime)).map_err(|e| format!("{}: {e}; {REMEDY}", runtime.display()))?;
    trtx::dynamically_load_tensorrt_onnxparser(Some(&parser))
        .map_err(|e| format!("{}: {e}; {REMEDY}", parser.display()))?;
    Ok(Library { version: format!("rtx {}", dotted(number)), folder })
}

fn near() -> Option<PathBuf> {
    let exe = std::env::current_exe().ok()?;
    exe.ancestors().skip(1).map(|dir| dir.join(FOLDER)).find(|dir| dir.join(RUNTIME).is_file())
}

fn open(path: &Path) -> Result<Dl, String> {
    // SAFETY: Loading runs the library's initialisers. It is NVIDIA's, by name, from where the user installed it.
    unsafe { Dl::open(Some(path), RTLD_LAZY | RTLD_GLOBAL) }
        .map_err(|e| format!("no TensorRT for RTX: {} cannot be loaded ({}); {REMEDY}", path.display(), innermost(&e)))
}

/// The library's own version, as a number: 10701 is 1.7.1.
fn version(path: &Path) -> Result<u32, String> {
    let library = open(path)?;
    // SAFETY: `getInferLibVersion` has had this signature since TensorRT 5 (NvInferRuntimeBase.h).
    let ask = unsafe { library.get::<unsafe extern "C" fn() -> i32>(b"getInferLibVersion") }
        .map_err(|_| format!("{} is not TensorRT: it has no getInferLibVersion; {REMEDY}", path.display()))?;
    // SAFETY: It takes nothing and gives a number that was compiled in.
    let number = unsafe { ask() };
    // Stays: it is opened again, and TensorRT does not promise to survive being unloaded.
    std::mem::forget(library);
    u32::try_from(number).map_err(|_| format!("{} gives version {number}; {REMEDY}", path.display()))
}

/// Same major version, as the classes' layout differs between them, and not older, as new functions are at the end.
fn check_version(path: &Path, got: u32, built: u32) -> Result<(), String> {
    let major = |number: u32| number.div_euclid(10_000);
    let without_patch = |number: u32| number.div_euclid(100);
    if major(got) != major(built) {
        return Err(format!(
            "{} is TensorRT {}; this program was built for TensorRT for RTX {}.x: another major version; {REMEDY}",
            path.display(),
            dotted(got),
            major(built)
        ));
    }
    if without_patch(got) < without_patch(built) {
        let (got, built) = (dotted(got), dotted(built));
        return Err(format!("{} is TensorRT for RTX {got}; {built} or newer is needed; {REMEDY}", path.display()));
    }
    Ok(())
}

fn dotted(number: u32) -> String {
    format!("{}.{}.{}", number.div_euclid(10_000), number.div_euclid(100) % 100, number % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        let check = |got, built| check_version("libx.so".as_ref(), got, built);
        assert_eq!(check(10_701, 10_701), Ok(()));
        assert_eq!(check(10_700, 10_701), Ok(()));
        assert_eq!(check(10_900, 10_701), Ok(()));
        assert!(check(10_600, 10_701).unwrap_err().contains("is TensorRT for RTX 1.6.0; 1.7.1 or newer"));
        let other = check(100_800, 10_701).unwrap_err();
        assert!(other.contains("is TensorRT 10.8.0") && other.contains("another major version"), "{other}");
    }
}
