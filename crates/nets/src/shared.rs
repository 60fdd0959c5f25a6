//! Shared libraries that another one needs: named, found and loaded before that other is.
//!
//! ONNX Runtime's CUDA and TensorRT providers are libraries that need others (cuBLAS, cuDNN, TensorRT), each of one major
//! version. Were they left to the loader, the first that is missing would come up as a message from inside ONNX Runtime.
//! Here the provider's list (`DT_NEEDED` of its ELF file) is read first: what is missing, or there in another major
//! version, is named with what to do. What lies in folders that the loader does not know (those of PyPI's `nvidia-*`
//! packages) is loaded by its path; the loader then finds it by its name.

use crate::locate::innermost;
use goblin::elf::Elf;
use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_LAZY, RTLD_LOCAL};
use memmap2::Mmap;
use std::fs::File;
use std::path::{Path, PathBuf};

/// Names in the file's `DT_NEEDED`, in order.
pub(crate) fn needed(path: &Path) -> Result<Vec<String>, String> {
    let file = File::open(path).map_err(|e| format!("{}: {e}", path.display()))?;
    // Mapped, as the CUDA provider has hundreds of megabytes, of which this needs a few pages.
    // SAFETY: An installed library is not written to while programs run that use it; the loader maps it the same way.
    let bytes = unsafe { Mmap::map(&file) }.map_err(|e| format!("{}: {e}", path.display()))?;
    let elf = Elf::parse(&bytes).map_err(|e| format!("{} is no shared library: {e}", path.display()))?;
    Ok(elf.libraries.iter().map(|&name| name.to_owned()).collect())
}

/// The major version of CUDA that a library was built with: that of the CUDA libraries which it needs.
pub(crate) fn cuda_major(needed: &[String]) -> Option<u32> {
    needed.iter().find_map(|name| {
        let (stem, version) = name.split_once(".so.")?;
        matches!(stem, "libcudart" | "libcublas" | "libcublasLt").then(|| version.split('.').next()?.parse().ok())?
    })
}

/// Loads these, from the loader's own places or else from the folders. `remedy` ends the error.
pub(crate) fn load_all(names: &[String], folders: &[PathBuf], remedy: &str) -> Result<(), String> {
    // One may need another of the list: what cannot be loaded yet may be, after the others.
    let mut left: Vec<&String> = names.iter().collect();
    loop {
        let before = left.len();
        let mut whys = Vec::new();
        left.retain(|name| load(name, folders).map_err(|why| whys.push(why)).is_err());
        match (whys.into_iter().next(), left.first()) {
            (Some(_), _) if left.len() < before => {}
            (Some(why), Some(name)) => return Err(format!("{}; {remedy}", missing(name, folders, &why))),
            _ => return Ok(()),
        }
    }
}

/// Loads one library for good.
fn load(name: &str, folders: &[PathBuf]) -> Result<(), String> {
    let mut why = match open(name.as_ref(), RTLD_GLOBAL) {
        Ok(library) => {
            std::mem::forget(library);
            return Ok(());
        }
        Err(why) => why,
    };
    for path in folders.iter().map(|dir| dir.join(name)).filter(|path| path.is_file()) {
        match open(&path, RTLD_GLOBAL) {
            Ok(library) => {
                std::mem::forget(library);
                return Ok(());
            }
            // Of a file that is there this says more than "not found" above.
            Err(other) => why = other,
        }
    }
    Err(why)
}

fn open(path: &Path, scope: i32) -> Result<Library, String> {
    // SAFETY: Loading runs the library's initialisers. These are NVIDIA's libraries of a set name, from the system or
    // from the folder that the user installed them into; they are written to be loaded in any order.
    unsafe { Library::open(Some(path), RTLD_LAZY | scope) }.map_err(|e| innermost(&e))
}

/// Says what is missing, and what is there in its place.
fn missing(name: &str, folders: &[PathBuf], why: &str) -> String {
    let Some((stem, version)) = name.rsplit_once(".so.") else { return format!("{name} cannot be loaded ({why})") };
    let major: Option<u32> = version.split('.').next().and_then(|n| n.parse().ok());
    let Some(major) = major else { return format!("{name} cannot be loaded ({why})") };
    let others = (major.saturating_sub(5)..=major + 5).filter(|n| *n != major).find_map(|n| {
        let other = format!("{stem}.so.{n}");
        let there = folders.iter().any(|dir| dir.join(&other).exists()) || open(other.as_ref(), RTLD_LOCAL).is_ok();
        there.then_some(other)
    });
    match others {
        Some(other) => format!("{name} is missing; {other} is there, which is another major version"),
        None => format!("{name} cannot be loaded ({why})"),
    }
}

/// Folders beside ONNX Runtime's library in which its packages put what it needs: its own, and those of the wheels
/// (`nvidia/*/lib`, `tensorrt_libs`) that were installed into the same place.
pub(crate) fn folders(library: &Path) -> Vec<PathBuf> {
    let Some(dir) = library.parent() else { return Vec::new() };
    let mut found = vec![dir.to_owned()];
    for root in dir.ancestors().take(3) {
        found.extend(["tensorrt_libs", "tensorrt_rtx_libs"].map(|name| root.join(name)));
        let packages = std::fs::read_dir(root.join("nvidia")).into_iter().flatten().flatten();
        found.extend(packages.map(|package| package.path().join("lib")));
    }
    found.retain(|dir| dir.is_dir());
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// A library that needs others, which lie where no loader looks.
    fn library(dir: &Path, name: &str, needs: &[&str]) -> PathBuf {
        let (source, output) = (dir.join("empty.c"), dir.join(name));
        std::fs::write(&source, "int seehear_empty;").unwrap();
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-o"]).arg(&output).arg(&source).arg(format!("-Wl,-soname,{name}"));
        cc.arg("-Wl,--no-as-needed").args(needs.iter().map(|n| dir.join(n)));
        assert!(cc.status().expect("cc is installed by make setup").success());
        output
    }

    #[test]
    fn what_a_library_needs_is_loaded_from_folders_in_any_order() {
        let dir = tempfile::tempdir().unwrap();
        library(dir.path(), "libseehear_b.so.2", &[]);
        library(dir.path(), "libseehear_a.so.13", &["libseehear_b.so.2"]);
        let top = library(dir.path(), "libseehear_top.so", &["libseehear_a.so.13", "libseehear_b.so.2"]);
        let needs: Vec<String> = needed(&top).unwrap().into_iter().filter(|n| n.contains("seehear")).collect();
        assert_eq!(needs, ["libseehear_a.so.13", "libseehear_b.so.2"]);
        let why = load_all(&needs, &[], "install it").unwrap_err();
        assert!(why.contains("libseehear_a.so.13 cannot be loaded") && why.ends_with("; install it"), "{why}");
        load_all(&needs, &[dir.path().to_owned()], "install it").unwrap();
        // The loader knows them by name now, as the provider's own list will ask for them.
        assert!(open("libseehear_a.so.13".as_ref(), RTLD_LOCAL).is_ok());
    }

    #[test]
    fn another_major_version_is_named() {
        let dir = tempfile::tempdir().unwrap();
        library(dir.path(), "libseehear_infer.so.8", &[]);
        let why = load_all(&["libseehear_infer.so.10".to_owned()], &[dir.path().to_owned()], "install 10").unwrap_err();
        assert_eq!(
            why,
            "libseehear_infer.so.10 is missing; libseehear_infer.so.8 is there, which is another major version; install 10"
        );
    }

    #[test]
    fn the_cuda_that_a_library_was_built_with() {
        let names = |list: &[&str]| list.iter().map(|&n| n.to_owned()).collect::<Vec<_>>();
        assert_eq!(cuda_major(&names(&["libc.so.6", "libcublasLt.so.12", "libcudart.so.12"])), Some(12));
        assert_eq!(cuda_major(&names(&["libcudart.so.13"])), Some(13));
        assert_eq!(cuda_major(&names(&["libc.so.6", "libcudnn.so.9"])), None);
    }

    #[test]
    fn what_is_no_library_is_said_to_be_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("libx.so");
        std::fs::write(&path, "text").unwrap();
        assert!(needed(&path).unwrap_err().contains("is no shared library"));
        assert!(needed(&dir.path().join("none.so")).unwrap_err().contains("none.so: "));
    }
}
