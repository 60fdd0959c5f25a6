//! `seehear calibrate speaking`, and what `--calibration` does with its file.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use common::{demo, seehear};
use std::ffi::OsStr;
use std::path::Path;

fn run(args: &[&OsStr]) -> (i32, String, String) {
    seehear(args)
}

/// A folder with the demo and its truth under these names.
fn scenes(dir: &Path, names: &[&str]) {
    for name in names {
        std::fs::copy(demo(), dir.join(format!("{name}.mp4"))).unwrap();
        std::fs::copy(demo().with_extension("truth.json"), dir.join(format!("{name}.truth.json"))).unwrap();
    }
}

#[test]
fn a_probability_is_fitted_written_drawn_and_used() {
    let dir = tempfile::tempdir().unwrap();
    scenes(dir.path(), &["a", "b"]);
    let (file, diagram) = (dir.path().join("room.toml"), dir.path().join("room.svg"));
    // What the file says of the device stays.
    std::fs::write(
        &file,
        "by = \"x\"\nat = \"2026-11-23T11:20:00Z\"\n[offset]\nms = 100.0\nspread_ms = 1.0\nerror_ms = 0.1\nevents = 9\n",
    )
    .unwrap();
    let (code, told, stderr) = run(&[
        "calibrate".as_ref(),
        "speaking".as_ref(),
        dir.path().as_os_str(),
        "-o".as_ref(),
        file.as_os_str(),
        "--diagram".as_ref(),
        diagram.as_os_str(),
    ]);
    assert_eq!(code, 0, "{stderr}");
    assert!(told.starts_with("2 scenes, ") && told.contains("\nslope = "), "{told}");
    assert!(std::fs::read_to_string(diagram).unwrap().ends_with("</svg>\n"));
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(
        text.contains("ms = 100.0") && text.contains("engine = \"av-small\"") && text.contains("calibrate speaking")
    );

    // A device whose sound is 100 ms late: what is in sync comes out as early by that, and its probabilities are others.
    let summary = |extra: &[&OsStr]| {
        let demo = demo();
        let mut args: Vec<&OsStr> = vec!["run".as_ref(), demo.as_os_str(), "-e".as_ref(), "-".as_ref(), "-q".as_ref()];
        args.extend(extra);
        let (code, events, stderr) = run(&args);
        assert_eq!(code, 0, "{stderr}");
        let last = events.lines().rev().find(|l| l.contains("\"type\":\"frame\"")).unwrap().to_owned();
        let last: serde_json::Value = serde_json::from_str(&last).unwrap();
        (last["offset_ms"].as_f64().unwrap(), events)
    };
    let (before, events) = summary(&[]);
    let (after, others) = summary(&["--calibration".as_ref(), file.as_os_str()]);
    assert!((after - before + 100.0).abs() < 10.0, "{before} → {after}");
    assert_ne!(events, others);
    let (code, _, stderr) = run(&["sync".as_ref(), demo().as_os_str(), "--calibration".as_ref(), file.as_os_str()]);
    assert!(code == 1 && stderr.contains("fitted for the engine av-small, this is av-small-int8"), "{stderr}");
}

#[test]
fn what_can_t_be_fitted_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let calibrate = |dir: &Path| run(&["calibrate".as_ref(), "speaking".as_ref(), dir.as_os_str()]);
    let (code, _, stderr) = calibrate(dir.path());
    assert!(code == 1 && stderr.contains("no NAME.truth.json in it"), "{stderr}");
    std::fs::write(dir.path().join("a.truth.json"), "{\"cells\": []}").unwrap();
    let (code, _, stderr) = calibrate(dir.path());
    assert!(code == 1 && stderr.contains("a.truth.json") && stderr.contains("turns"), "{stderr}");
    std::fs::write(dir.path().join("a.truth.json"), "{\"cells\": [], \"turns\": []}").unwrap();
    let (code, _, stderr) = calibrate(dir.path());
    assert!(code == 1 && stderr.contains("no video"), "{stderr}");
    let (code, _, stderr) = run(&["run".as_ref(), demo().as_os_str(), "--calibration".as_ref(), "nowhere".as_ref()]);
    assert!(code == 1 && stderr.contains("no calibration \"nowhere\""), "{stderr}");
}
