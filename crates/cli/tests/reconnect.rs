//! A live source that ends again and again: the run goes on, its file is one, and the losses are told.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use common::{events, finished, program};
use std::process::Command;

/// The built-in test source, but of `seconds`, then its end.
fn plan(seconds: u32, reconnect: &str) -> String {
    let text = include_str!("../../../pipelines/test.toml");
    let (source, rest) = text.split_once("[queues.video]").unwrap();
    let head = source.split_once("[source]").unwrap().0;
    format!(
        "{head}[source]\n\
         video = 'videotestsrc is-live=true do-timestamp=true pattern=ball num-buffers={} ! video/x-raw,width=320,height=240,framerate=25/1 ! identity'\n\
         audio = 'audiotestsrc is-live=true do-timestamp=true samplesperbuffer=320 num-buffers={} ! audio/x-raw,rate=16000,channels=1 ! identity'\n\
         {reconnect}\n[queues.video]{rest}",
        seconds * 25,
        seconds * 50,
    )
}

#[test]
fn a_source_that_ends_is_built_again() {
    let dir = tempfile::tempdir().unwrap();
    let (file, out, told) = (dir.path().join("p.toml"), dir.path().join("out.mkv"), dir.path().join("e.jsonl"));
    let reconnect = "[source.reconnect]\nfirst_wait_ms = 300\nlongest_wait_ms = 300\nsilent_after_ms = 3000";
    std::fs::write(&file, plan(2, reconnect)).unwrap();
    let mut c = program();
    c.args(["run", "test", "--duration", "7", "--pipeline"]).arg(&file);
    let (code, _, said) = finished(&c.arg("-o").arg(&out).arg("-e").arg(&told).output().unwrap());
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("the source is lost (the stream has ended); another try in 0."), "{said}");
    assert!(said.contains("the source is back after"), "{said}");
    let told = events(&told);
    let losses = told.summary.reconnects;
    assert!((2..=4).contains(&losses), "{losses}: {said}");
    // One time line: a slot every 40 ms, over the losses too.
    assert!(told.frames.windows(2).all(|w| (w[1].t_ms - w[0].t_ms - 40.0).abs() < 0.01));
    assert!((170..=180).contains(&told.frames.len()), "{}", told.frames.len());
    let probe = Command::new("ffprobe")
        .args(["-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0"])
        .arg(&out)
        .output()
        .unwrap();
    let seconds: f64 = String::from_utf8(probe.stdout).unwrap().trim().parse().unwrap();
    assert!((seconds - 7.0).abs() < 1.0, "{seconds}");
}

#[test]
fn without_it_the_end_of_a_source_is_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("p.toml");
    std::fs::write(&file, plan(1, "")).unwrap();
    let (code, _, said) = finished(&program().args(["run", "test", "-p"]).arg(&file).output().unwrap());
    assert_eq!(code, 0, "{said}");
    assert!(!said.contains("lost ("), "{said}");
}
