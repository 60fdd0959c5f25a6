//! `seehear sync` on the demo clip: what containers do to time is no offset, and a corrected file is in sync.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use common::{demo, seehear};
use serde_json::Value;
use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

fn ffmpeg(args: &[&str], output: &Path) {
    let done = Command::new("ffmpeg").args(["-v", "error", "-nostdin", "-y"]).args(args).arg(output).status();
    assert!(done.expect("ffmpeg runs").success(), "{args:?}");
}

fn sync(args: &[&OsStr]) -> (i32, Value, String) {
    let mut all: Vec<&OsStr> = vec!["sync".as_ref(), "--json".as_ref()];
    all.extend(args);
    let (code, stdout, stderr) = seehear(&all);
    (code, serde_json::from_str(&stdout).unwrap_or(Value::Null), stderr)
}

fn offset(file: &Path) -> f64 {
    let (code, told, stderr) = sync(&[file.as_os_str()]);
    assert_eq!(code, 0, "{stderr}");
    told["offset_ms"].as_f64().unwrap_or_else(|| panic!("{}: {told}", file.display()))
}

/// The demo with its sound late by this, in the container that the name says.
fn late(seconds: &str, codecs: &[&str], output: &Path) {
    let demo = demo();
    let demo = demo.to_str().expect("a path in UTF-8");
    let mut args = vec!["-i", demo, "-itsoffset", seconds, "-i", demo, "-map", "0:v", "-map", "1:a"];
    args.extend(codecs);
    ffmpeg(&args, output);
}

#[test]
fn containers_do_not_move_the_offset_and_the_corrected_file_is_in_sync() {
    let dir = tempfile::tempdir().unwrap();
    let zero = offset(&demo());
    assert!(zero.abs() < 20.0, "the demo is in sync: {zero}");
    // Edit lists and AAC priming; Opus pre-skip; a time line that begins at 1.4 s.
    let opus: &[&str] = &["-c:v", "copy", "-c:a", "libopus"];
    for (name, codecs) in [("late.mp4", &["-c", "copy"][..]), ("late.mkv", opus), ("late.ts", &["-c", "copy"])] {
        let file = dir.path().join(name);
        late("0.12", codecs, &file);
        let got = offset(&file) - zero;
        assert!((got - 120.0).abs() <= 10.0, "{name}: {got} ms");
    }
    // Frames that do not fall on the slots, and other rates than the slots': neither moves what is seen.
    let off_the_slots = ["-itsoffset", "0.026", "-i"];
    let demo = demo();
    let demo = demo.to_str().expect("a path in UTF-8");
    for (name, args) in [
        ("off.mkv", [&off_the_slots[..], &[demo, "-i", demo, "-map", "0:v", "-map", "1:a", "-c", "copy"]].concat()),
        ("24.mp4", ["-i", demo, "-vf", "fps=24", "-preset", "veryfast", "-c:a", "copy"].to_vec()),
    ] {
        let file = dir.path().join(name);
        ffmpeg(&args, &file);
        let want = if name == "off.mkv" { -26.0 } else { 0.0 };
        let got = offset(&file) - zero;
        assert!((got - want).abs() <= 8.0, "{name}: {got} ms");
    }
    let (file, fixed, page) = (dir.path().join("late.mp4"), dir.path().join("fixed.mp4"), dir.path().join("r.html"));
    let (code, told, stderr) =
        sync(&[file.as_os_str(), "--fix".as_ref(), fixed.as_os_str(), "--report".as_ref(), page.as_os_str()]);
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(
        (told["verdicts"]["r37"].as_str(), told["verdicts"]["is191"].as_str()),
        (Some("outside"), Some("outside"))
    );
    assert_eq!(told["segments"].as_array().map(Vec::len), Some(1), "{told}");
    assert!(offset(&fixed).abs() <= 10.0, "{}", offset(&fixed));
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("ms late") && page.contains("data:image/jpeg;base64,"));
}

#[test]
fn what_has_no_speaker_is_not_told_and_bad_input_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let silent = dir.path().join("silent.mp4");
    ffmpeg(
        &[
            "-f",
            "lavfi",
            "-i",
            "testsrc=s=320x240:r=25:d=6",
            "-f",
            "lavfi",
            "-i",
            "anullsrc=r=48000:d=6",
            "-shortest",
            "-pix_fmt",
            "yuv420p",
        ],
        &silent,
    );
    let (code, told, stderr) = sync(&[silent.as_os_str()]);
    assert_eq!((code, told["offset_ms"].is_null()), (0, true), "{told} {stderr}");
    assert!(told["why"].as_str().is_some_and(|w| w.contains("no voice")), "{told}");
    // Nothing to go by: nothing is written.
    let fixed = dir.path().join("fixed.mp4");
    let (code, _, stderr) = sync(&[silent.as_os_str(), "--fix".as_ref(), fixed.as_os_str()]);
    assert!(code == 1 && stderr.contains("can't be told") && !fixed.exists(), "{stderr}");
    let (code, _, stderr) = sync(&[silent.as_os_str(), "--fix".as_ref(), silent.as_os_str()]);
    assert!(code == 1 && stderr.contains("is the input itself"), "{stderr}");
    let (code, _, stderr) = sync(&[demo().as_os_str(), "--audio-track".as_ref(), "3".as_ref()]);
    assert!(code == 1 && stderr.contains("1 sound track(s), number 3"), "{stderr}");
}
