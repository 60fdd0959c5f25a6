//! Whatever is wrong with the library is an error that says what, where and what to do; never a panic, and never a
//! reason not to try again with another.
//!
//! Apart from `errors.rs`, because a process that has loaded a good library refuses every other: the refusals must come
//! first, in a process of their own.

mod common;

use common::onnx_runtime;
use seehear::net::NetError;
use seehear_nets::{OnnxRuntime, OnnxRuntimeOptions};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const REMEDY: &str = "run `make setup` in the checkout, or pass --onnxruntime PATH";

fn with_library(library: &Path) -> Result<OnnxRuntime, NetError> {
    OnnxRuntime::new(OnnxRuntimeOptions { threads: 1, library: Some(library.to_owned()) })
}

/// Asserts that this library is refused in these words, with its path and the remedy.
#[track_caller]
fn assert_refused(library: &Path, words: &str) {
    match with_library(library) {
        Err(error @ NetError::Library { .. }) => {
            let text = error.to_string();
            for part in ["onnxruntime-cpu", &library.display().to_string(), words, REMEDY] {
                assert!(text.contains(part), "{part:?} is not in: {text}");
            }
        }
        Err(other) => panic!("not a library error: {other}"),
        Ok(_) => panic!("{} was accepted", library.display()),
    }
}

/// Builds a library that is none of ONNX Runtime, or an odd one, from Rust source.
fn build_library(dir: &Path, name: &str, source: &str) -> PathBuf {
    let (input, output) = (dir.join(format!("{name}.rs")), dir.join(format!("lib{name}.so")));
    fs::write(&input, source).expect("the folder is ours");
    let status = Command::new("rustc")
        .args(["--edition", "2024", "--crate-type", "cdylib", "-o"])
        .args([&output, &input])
        .status()
        .expect("rustc is on PATH where cargo runs");
    assert!(status.success(), "rustc failed on {}", input.display());
    output
}

/// A library that calls itself ONNX Runtime of this version and has no API to give.
fn impostor(dir: &Path, name: &str, version: &str) -> PathBuf {
    let source = format!(
        r#"
        #[repr(C)]
        pub struct Base {{
            api: extern "C" fn(u32) -> *const u8,
            version: extern "C" fn() -> *const u8,
        }}
        extern "C" fn api(_: u32) -> *const u8 {{ std::ptr::null() }}
        extern "C" fn version() -> *const u8 {{ c"{version}".as_ptr().cast() }}
        static BASE: Base = Base {{ api, version }};
        #[unsafe(no_mangle)]
        pub extern "C" fn OrtGetApiBase() -> *const Base {{ &BASE }}
        "#
    );
    build_library(dir, name, &source)
}

/// In one test, as the order matters: all refusals first, then a good library in the very same process.
#[test]
fn unfit_libraries_are_refused_and_a_good_one_still_loads() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();

    assert_refused(&dir.join("nowhere/libonnxruntime.so"), "no such file");
    assert_refused(dir, "no libonnxruntime.so* in the folder");
    let text = dir.join("text.so");
    fs::write(&text, "this is not a library").unwrap();
    assert_refused(&text, "cannot be loaded");
    let other = build_library(dir, "other", "#[unsafe(no_mangle)] pub extern \"C\" fn f() {}");
    assert_refused(&other, "it has no OrtGetApiBase");
    assert_refused(&impostor(dir, "old", "1.16.3"), "is ONNX Runtime \"1.16.3\"; 1.17 or a later 1.x");
    assert_refused(&impostor(dir, "new", "2.0.0"), "is ONNX Runtime \"2.0.0\"; 1.17 or a later 1.x");
    assert_refused(&impostor(dir, "odd", "main"), "is ONNX Runtime \"main\"; 1.17 or a later 1.x");
    assert_refused(&impostor(dir, "empty", "1.99.0"), "does not have API 17");

    let first = onnx_runtime(1);
    let again = onnx_runtime(2);
    assert_eq!((first.library(), first.version()), (again.library(), again.version()));
    let minor: u32 = first.version().split('.').nth(1).unwrap().parse().unwrap();
    assert!(minor >= 17, "{}", first.version());
    // With no option it is whatever this process runs on already.
    assert!(OnnxRuntime::new(OnnxRuntimeOptions::default()).is_ok());

    let refused = with_library(&other).unwrap_err().to_string();
    assert!(refused.contains("this process already runs on"), "{refused}");
}

#[test]
fn thread_counts_out_of_range() {
    for threads in [0, 257, usize::MAX] {
        let error = OnnxRuntime::new(OnnxRuntimeOptions { threads, library: None }).unwrap_err();
        assert!(error.to_string().contains(&format!("threads = {threads}")), "{error}");
    }
}
