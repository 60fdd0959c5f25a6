//! `seehear engines build` and `bench`, as far as they go without a GPU.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use common::{demo, engine, finished, program_on};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A copy of the default engine in a folder of its own, whose cache is then the test's.
fn copied(dir: &Path) -> PathBuf {
    for file in ["av-small.toml", "av-small.video.onnx", "av-small.audio.onnx"] {
        std::fs::copy(engine("av-small").with_file_name(file), dir.join(file)).unwrap();
    }
    dir.join("av-small.toml")
}

fn run(args: &[&str], manifest: &Path) -> (i32, String, String) {
    let library = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.deps/onnxruntime/libonnxruntime.so");
    let mut c = Command::new(env!("CARGO_BIN_EXE_seehear"));
    c.args(args).arg("--engine").arg(manifest).arg("--onnxruntime").arg(library);
    finished(&c.output().unwrap())
}

/// Without a GPU nothing can be built for "this machine": said in one line. The engine in other numbers is written before,
/// and runs.
#[test]
fn an_engine_in_other_numbers_runs() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = copied(dir.path());
    let table = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../calibration/av-small.ranges.json");
    for (precision, name, tolerance) in [("fp16", "av-small-fp16", "5e-3"), ("int8", "av-small-int8-gpu", "5e-2")] {
        let ranges = table.to_str().unwrap();
        let (code, stdout, stderr) =
            run(&["engines", "build", "--precision", precision, "--ranges", ranges], &manifest);
        let made = dir.path().join(format!("cache/{name}.toml"));
        assert!(stdout.contains(&format!("{name} in {precision}")), "{stdout} {stderr}");
        assert!(code == 1 && stderr.contains("builds nothing"), "{stderr}");
        let text = std::fs::read_to_string(&made).unwrap();
        assert!(text.contains(&format!("tolerance = {tolerance}\n")), "{text}");
        let (code, stdout, stderr) = run(&["run", demo().to_str().unwrap(), "--duration", "2", "--json"], &made);
        assert_eq!(code, 0, "{stderr}");
        assert!(stdout.contains("\"failed_slots\":0"), "{stdout}");
        // What was made from it already is not made from again.
        let (code, _, stderr) = run(&["engines", "build", "--precision", "fp16"], &made);
        assert!(code == 1 && stderr.contains("name the FP32 engine"), "{stderr}");
    }
}

#[test]
fn a_table_of_another_model_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = copied(dir.path());
    let table = dir.path().join("t.json");
    for (text, words) in [
        ("{\"by\": \"\", \"model_sha256\": \"0\", \"ranges\": {}}", "its calibration table is for 0"),
        ("{}", "is no table of ranges"),
    ] {
        std::fs::write(&table, text).unwrap();
        let args = ["engines", "build", "--precision", "int8", "--ranges", table.to_str().unwrap()];
        let (code, _, stderr) = run(&args, &manifest);
        assert!(code == 1 && stderr.lines().count() == 1 && stderr.contains(words), "{stderr}");
    }
    assert!(!dir.path().join("cache/av-small-int8-gpu.toml").exists());
}

#[test]
fn ahead_of_time_without_tensorrt_is_an_error_with_the_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let nowhere = dir.path().join("none");
    let manifest = copied(dir.path());
    let args = ["engines", "build", "--for", "8.6", "--tensorrt", nowhere.to_str().unwrap()];
    let (code, _, stderr) = run(&args, &manifest);
    assert_eq!((code, stderr.lines().count()), (1, 1), "{stderr}");
    let remedy = if cfg!(feature = "tensorrt") { "make setup-tensorrt" } else { "--features tensorrt" };
    assert!(stderr.contains(remedy), "{stderr}");
    let (code, _, stderr) = run(&["engines", "build", "--for", "new"], &manifest);
    assert!(code == 2 && stderr.contains("as in 8.6"), "{stderr}");
}

#[test]
fn bench_measures_and_counts() {
    let args =
        ["engines", "bench", "--batch", "1,2", "--size", "320x180", "--seconds", "0.1", "--peak", "100,20", "--json"];
    let (code, stdout, stderr) = finished(&program_on("av-small").args(args).output().unwrap());
    assert_eq!(code, 0, "{stderr}");
    let rows: Vec<serde_json::Value> = serde_json::from_str(&stdout).unwrap();
    let number = |row: &serde_json::Value, name: &str| row[name].as_f64().unwrap();
    for (row, batch) in rows.iter().zip([1.0, 2.0]) {
        assert_eq!(row["backend"], "onnxruntime-cpu");
        assert!((number(row, "batch") - batch).abs() < 1e-9);
        assert!(number(row, "latency_p99_ms") >= number(row, "latency_p50_ms"));
        let per_run = number(row, "ms_per_frame") * batch;
        assert!(per_run >= number(row, "latency_p50_ms") * 0.2, "{row}");
        // 0.577 GMAC a picture at 336 × 192 (1.154 GFLOP), over 100 GFLOP/s.
        assert!((number(row, "floor_ms_per_frame") - 11.537).abs() < 0.01, "{row}");
        assert!(row["gpu_mib"].is_null());
    }
    assert_eq!(rows.len(), 2);
}

/// What is there is told, and what is broken is said by name.
#[test]
fn engines_are_listed_and_verified() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = copied(dir.path());
    let folder = dir.path().to_str().unwrap();
    let (code, stdout, stderr) = run(&["engines", "list", folder], &manifest);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("| av-small | 128 |") && stdout.contains("18 people never trained on"), "{stdout}");
    let (code, stdout, stderr) = run(&["engines", "verify"], &manifest);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("SHA-256 are in order") && stdout.matches("vectors of length 1").count() == 2, "{stdout}");

    let file = dir.path().join("av-small.audio.onnx");
    let mut bytes = std::fs::read(&file).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    for verb in [&["engines", "list", folder][..], &["engines", "verify"]] {
        let (code, _, stderr) = run(verb, &manifest);
        assert!(code == 1 && stderr.contains("av-small.audio.onnx") && stderr.contains("SHA-256"), "{stderr}");
    }
    let empty = dir.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let (code, _, stderr) = run(&["engines", "list", empty.to_str().unwrap()], &manifest);
    assert!(code == 1 && stderr.contains("no engine's manifest"), "{stderr}");
}
