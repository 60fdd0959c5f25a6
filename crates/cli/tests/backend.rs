//! `--backend`: what is named runs or is an error in one line; `auto` always runs and says on what, and why not on better.
//! True with a GPU and without one.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use common::{demo, finished, program};
use seehear::events::Event;

/// One second of the demo on this backend: exit code, backend in the header, standard error.
fn run(backend: &str, more: &[&str]) -> (i32, Option<String>, String) {
    let mut c = program();
    c.arg("run").arg(demo()).args(["--backend", backend, "--duration", "1", "-e", "-"]).args(more);
    let (code, stdout, stderr) = finished(&c.output().unwrap());
    let header = stdout.lines().next().map(|line| match serde_json::from_str(line).unwrap() {
        Event::Header(header) => header.backend,
        other => panic!("the first line is {other:?}"),
    });
    (code, header, stderr)
}

#[test]
fn a_named_backend_runs_or_says_why_not() {
    for backend in ["onnxruntime-cuda", "onnxruntime-tensorrt", "tensorrt"] {
        let (code, header, stderr) = run(backend, &["--quiet"]);
        if code == 0 {
            assert_eq!(header.as_deref(), Some(backend));
            continue;
        }
        assert_eq!((code, header), (1, None), "{stderr}");
        let lines: Vec<&str> = stderr.lines().collect();
        assert!(lines.len() == 1 && lines[0].starts_with(&format!("seehear: {backend}: ")), "{stderr}");
        // Something to do about it.
        assert!(
            ["install", "--backend", "--gpu", "make setup-gpu", "look at"].iter().any(|w| stderr.contains(w)),
            "{stderr}"
        );
    }
}

#[test]
fn auto_runs_and_tells_what_it_took() {
    let (code, header, stderr) = run("auto", &[]);
    assert_eq!(code, 0, "{stderr}");
    let taken = header.unwrap();
    let line = stderr.lines().find(|l| l.starts_with("backend: ")).unwrap();
    assert!(line.starts_with(&format!("backend: {taken}")), "{line}");
    if taken == "onnxruntime-cpu" {
        for other in ["onnxruntime-cuda", "onnxruntime-tensorrt", "tensorrt"] {
            assert!(line.contains(other), "no reason against {other}: {line}");
        }
    }
    let (code, header, stderr) = run("auto", &["--quiet"]);
    assert_eq!((code, header, stderr.as_str()), (0, Some(taken), ""));
}

#[test]
fn an_unknown_backend_is_wrong_usage() {
    let (code, _, stderr) = run("gpu", &[]);
    assert_eq!(code, 2);
    assert!(stderr.contains("onnxruntime-cuda, onnxruntime-tensorrt, tensorrt, auto"), "{stderr}");
}
