//! The lines of docs/gstreamer.md run as they stand there.

#![allow(clippy::unwrap_used, reason = "a test")]

use gst::prelude::*;
use std::path::{Path, PathBuf};

fn repo(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path).canonicalize().unwrap()
}

#[test]
fn every_line_of_the_page_runs_to_its_end() {
    gstseehear::init().unwrap();
    let page = std::fs::read_to_string(repo("docs/gstreamer.md")).unwrap();
    let lines: Vec<&str> = page.split("```gst\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert_eq!(lines.len(), 5);
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out.mkv");
    for line in lines {
        // The page's files, and a library that a target folder elsewhere does not find.
        let line = line
            .replace("talk.mp4", repo("tests/media/demo.mp4").to_str().unwrap())
            .replace("out.mkv", out.to_str().unwrap())
            .replace(
                "name=seehear",
                &format!(
                    "name=seehear engine={} onnxruntime={}",
                    repo("engines/av-small-int8.toml").display(),
                    repo(".deps/onnxruntime/libonnxruntime.so").display()
                ),
            );
        let pipeline = gst::parse::launch(&line).unwrap_or_else(|e| panic!("{e}: {line}"));
        pipeline.set_state(gst::State::Playing).unwrap();
        let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
        let end = pipeline.bus().unwrap().timed_pop_filtered(gst::ClockTime::from_seconds(300), &kinds);
        pipeline.set_state(gst::State::Null).unwrap();
        match end.as_ref().map(|m| m.view()) {
            Some(gst::MessageView::Eos(_)) => {}
            Some(gst::MessageView::Error(e)) => panic!("{} ({:?}): {line}", e.error(), e.debug()),
            _ => panic!("no end within five minutes: {line}"),
        }
    }
    assert!(std::fs::metadata(out).unwrap().len() > 100_000);
}
