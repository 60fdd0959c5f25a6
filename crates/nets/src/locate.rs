//! Finds ONNX Runtime's shared library and says whether it will do, before `ort` touches it.
//!
//! `ort` panics on a missing library, and on one whose API is too old it may do so deep inside an unrelated call. So the
//! candidate is loaded here first and asked for its version through `OrtGetApiBase`, the one function that every ONNX
//! Runtime since 1.0 exports. The order of the places is in the crate's documentation.

use libloading::Library;
use std::error::Error;
use std::ffi::{CStr, c_char};
use std::path::{Path, PathBuf};

/// What to do about a missing or unfit library; ends every message.
pub(crate) const REMEDY: &str = "run `make setup` in the checkout, or pass --onnxruntime PATH";

/// The library's name, as the system's loader knows it.
const FILE: &str = "libonnxruntime.so";

/// Where `make setup-gpu` puts the GPU build with all that it needs.
const GPU_FOLDER: &str = ".deps/onnxruntime-gpu";

/// A library that was loaded once and answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// Absolute, or the bare name if the system's loader found it.
    pub(crate) path: PathBuf,
    /// As the library says, `1.32.0`.
    pub(crate) version: String,
}

/// Finds the library and checks that it is one and new enough.
///
/// The error is a whole sentence without the backend's name.
pub(crate) fn find(explicit: Option<&Path>) -> Result<Found, String> {
    let path = match explicit {
        Some(given) => from_option(given)?,
        None => {
            let exe = std::env::current_exe().ok();
            let exe_dir = exe.as_deref().and_then(Path::parent);
            match exe_dir.and_then(near_executable) {
                Some(path) => path,
                None => return from_loader(exe_dir),
            }
        }
    };
    match probe(&path) {
        Ok(version) => Ok(Found { path, version }),
        Err(why) => Err(format!("{} {why}; {REMEDY}", path.display())),
    }
}

/// The library that has GPU providers beside it: the one of `--onnxruntime`, or what `make setup-gpu` put near the
/// executable, or else the one that the CPU backend would take.
///
/// Nothing is loaded. The error is a whole sentence without the backend's name.
pub(crate) fn gpu_library(explicit: Option<&Path>) -> Result<PathBuf, String> {
    if let Some(given) = explicit {
        return from_option(given);
    }
    let exe = std::env::current_exe().ok();
    let exe_dir = exe.as_deref().and_then(Path::parent).unwrap_or(Path::new("/"));
    gpu_near(exe_dir).or_else(|| near_executable(exe_dir)).ok_or_else(|| {
        format!(
            "no ONNX Runtime for GPUs: none in {GPU_FOLDER}/ above {}; {}",
            exe_dir.display(),
            crate::provider::REMEDY
        )
    })
}

/// The wheel's own folders, under the one that it was installed into.
fn gpu_near(exe_dir: &Path) -> Option<PathBuf> {
    exe_dir.ancestors().find_map(|dir| in_folder(&dir.join(GPU_FOLDER).join("onnxruntime/capi")))
}

/// The file that `--onnxruntime` means. Made absolute: `ort` would take a relative path from the executable's folder.
pub(crate) fn from_option(given: &Path) -> Result<PathBuf, String> {
    let path = std::path::absolute(given).map_err(|e| format!("{}: {e}; {REMEDY}", given.display()))?;
    if path.is_dir() {
        in_folder(&path).ok_or_else(|| format!("no {FILE}* in the folder {}; {REMEDY}", path.display()))
    } else if path.exists() {
        Ok(path)
    } else {
        Err(format!("{}: no such file; {REMEDY}", path.display()))
    }
}

/// Looks in the folders that are known from where the executable stands.
fn near_executable(exe_dir: &Path) -> Option<PathBuf> {
    exe_dir
        .ancestors()
        .map(|dir| dir.join(".deps/onnxruntime"))
        .chain([exe_dir.join("../lib/seehear"), exe_dir.to_owned()])
        .find_map(|dir| in_folder(&dir))
}

/// The last place. A bare name that the loader does not know is the common case of "nothing installed at all".
fn from_loader(exe_dir: Option<&Path>) -> Result<Found, String> {
    let path = PathBuf::from(FILE);
    match probe(&path) {
        Ok(version) => Ok(Found { path, version }),
        Err(why) => {
            let near = exe_dir.map_or_else(
                || "the executable's folder is unknown".to_owned(),
                |dir| {
                    let dir = dir.display();
                    format!(
                        "there is no {FILE}* in .deps/onnxruntime/ of {dir} or of a folder above it, \
                         in {dir}/../lib/seehear/, or in {dir}"
                    )
                },
            );
            Err(format!("no ONNX Runtime: {near}, and the system's {FILE} {why}; {REMEDY}"))
        }
    }
}

/// The library in a folder: the plain name, or else the newest of the versioned ones.
fn in_folder(dir: &Path) -> Option<PathBuf> {
    let plain = dir.join(FILE);
    if plain.is_file() {
        return Some(plain);
    }
    std::fs::read_dir(dir)
        .ok()?
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let suffix = path.file_name()?.to_str()?.strip_prefix(FILE)?.strip_prefix('.')?;
            let version: Vec<u32> = suffix.split('.').map(|n| n.parse().ok()).collect::<Option<_>>()?;
            path.is_file().then_some((version, path))
        })
        .max()
        .map(|(_, path)| path)
}

/// Loads a library and asks for its version. The error continues a sentence that begins with the path.
fn probe(path: &Path) -> Result<String, String> {
    // SAFETY: Loading runs the library's initialisers. The path is the user's own choice or that of who installed the
    // program, which is the trust that any shared library is given; ONNX Runtime's initialisers need nothing of us.
    let library = unsafe { Library::new(path) }.map_err(|e| format!("cannot be loaded ({})", innermost(&e)))?;
    // SAFETY: `OrtGetApiBase` has had this signature since ONNX Runtime 1.0 (onnxruntime_c_api.h); no other library
    // has a function of this name.
    let get_base = unsafe { library.get::<unsafe extern "C" fn() -> *const ort::sys::OrtApiBase>(b"OrtGetApiBase") }
        .map_err(|_| "is a library, but not ONNX Runtime (it has no OrtGetApiBase)".to_owned())?;
    // SAFETY: It takes nothing, may be called from any thread at any time, and gives a pointer to a constant.
    let base = unsafe { get_base() };
    // SAFETY: Null, or a constant of the library, which stays loaded while `library` lives, to the end of this function.
    let base = unsafe { base.as_ref() }.ok_or("gives no API (OrtGetApiBase is null)")?;
    // SAFETY: It takes nothing and gives a C string that is part of the library.
    let version: *const c_char = unsafe { (base.GetVersionString)() };
    if version.is_null() {
        return Err("does not say its version".to_owned());
    }
    // SAFETY: Not null, ends with a zero byte, and lives as long as `library`; it is copied here.
    let version = unsafe { CStr::from_ptr(version) }.to_string_lossy().into_owned();

    let floor = ort::MINOR_VERSION;
    let numbers: Vec<u32> = version.split('.').take(2).filter_map(|n| n.parse().ok()).collect();
    if !matches!(numbers[..], [1, minor] if minor >= floor) {
        return Err(format!("is ONNX Runtime {version:?}; 1.{floor} or a later 1.x is needed"));
    }
    // Asked only now: a library that does not have the API prints a complaint of its own.
    // SAFETY: Any number may be asked for; the answer is null for those that the library does not have.
    if unsafe { (base.GetApi)(floor) }.is_null() {
        return Err(format!("is ONNX Runtime {version}, but does not have API {floor}"));
    }
    // It stays loaded for the life of the process: `ort` opens it again, and unloading ONNX Runtime while its threads
    // or its thread-local destructors may still run is not something it promises to survive.
    std::mem::forget(library);
    Ok(version)
}

/// The loader's own words: `libloading`'s outer message only says "dlopen failed".
pub(crate) fn innermost(error: &dyn Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn touch(dir: &Path, name: &str) -> PathBuf {
        fs::create_dir_all(dir).unwrap();
        let path = dir.join(name);
        fs::write(&path, "").unwrap();
        path
    }

    #[test]
    fn plain_name_wins_then_the_newest_version() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(in_folder(dir.path()), None);
        touch(dir.path(), "libonnxruntime_providers_shared.so");
        touch(dir.path(), "libonnxruntime.so.bak");
        assert_eq!(in_folder(dir.path()), None);
        touch(dir.path(), "libonnxruntime.so.1.9.0");
        let newest = touch(dir.path(), "libonnxruntime.so.1.32.0");
        assert_eq!(in_folder(dir.path()), Some(newest));
        let plain = touch(dir.path(), FILE);
        assert_eq!(in_folder(dir.path()), Some(plain));
    }

    #[test]
    fn places_near_the_executable_in_order() {
        let root = tempfile::tempdir().unwrap();
        let exe_dir = root.path().join("checkout/target/debug/deps");
        fs::create_dir_all(&exe_dir).unwrap();
        // The least preferred first: each that is added must take over.
        let expected = [
            touch(&exe_dir, FILE),
            touch(&exe_dir.join("../lib/seehear"), FILE),
            touch(&root.path().join(".deps/onnxruntime"), FILE),
            touch(&root.path().join("checkout/.deps/onnxruntime"), FILE),
        ];
        for last in (0..expected.len()).rev() {
            assert_eq!(near_executable(&exe_dir), Some(expected[last].clone()));
            fs::remove_file(&expected[last]).unwrap();
        }
        assert_eq!(near_executable(&exe_dir), None);
    }

    #[test]
    fn the_gpu_build_comes_before_the_other() {
        let root = tempfile::tempdir().unwrap();
        let exe_dir = root.path().join("checkout/target/debug");
        touch(&root.path().join("checkout/.deps/onnxruntime"), FILE);
        assert_eq!(gpu_near(&exe_dir), None);
        let gpu =
            touch(&root.path().join("checkout/.deps/onnxruntime-gpu/onnxruntime/capi"), "libonnxruntime.so.1.31.1");
        assert_eq!(gpu_near(&exe_dir), Some(gpu));
    }

    #[test]
    fn an_option_may_be_a_folder() {
        let dir = tempfile::tempdir().unwrap();
        assert!(from_option(dir.path()).unwrap_err().contains("in the folder"));
        let file = touch(dir.path(), FILE);
        assert_eq!(from_option(dir.path()), Ok(file.clone()));
        assert_eq!(from_option(&file), Ok(file));
    }

    #[test]
    fn nothing_found_names_every_place_and_the_remedy() {
        let why = from_loader(Some(Path::new("/opt/bin")));
        // A machine may have it installed for all; then there is nothing to say.
        if let Err(why) = why {
            for part in [".deps/onnxruntime/ of /opt/bin", "/opt/bin/../lib/seehear/", "system's", REMEDY] {
                assert!(why.contains(part), "{why}");
            }
        }
    }
}
