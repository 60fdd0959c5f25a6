//! Separators on ONNX Runtime: hops one at a time, with the memory handed on, give what all of them at once give.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use common::{golden_input, onnx_runtime, root};
use seehear::net::{Backend, NetError, TensorSpec};
use seehear::separation::{BINS, Separator, SeparatorConfig, SeparatorEngine};
use seehear::time::SampleRate;
use std::path::PathBuf;

/// The tests' own, and all of `engines/`.
fn separators() -> Vec<PathBuf> {
    let mut all = vec![root().join("crates/cli/tests/separator/everything.toml")];
    let engines = std::fs::read_dir(root().join("engines")).unwrap().map(|e| e.unwrap().path());
    let separates = |p: &PathBuf| std::fs::read_to_string(p).unwrap().contains("kind = \"separation\"");
    all.extend(engines.filter(|p| p.extension().is_some_and(|e| e == "toml")).filter(separates));
    all
}

#[test]
fn hops_one_at_a_time_equal_a_block() {
    const HOPS: usize = 25;
    for path in separators() {
        let engine = SeparatorEngine::load(&path).unwrap();
        let (m, dim, state) = (&engine.manifest, engine.manifest.dim, engine.manifest.state);
        let backend = onnx_runtime(1);
        let load = |hops: usize| {
            let inputs = [
                TensorSpec::new(&m.network.mixture, &[1, hops, 2, BINS]),
                TensorSpec::new(&m.network.embedding, &[1, hops, dim]),
                TensorSpec::new(&m.network.state_in, &[1, state]),
            ];
            let outputs = [
                TensorSpec::new(&m.network.mask, &[1, hops, 2, BINS]),
                TensorSpec::new(&m.network.state_out, &[1, state]),
            ];
            backend.load(&engine.file(), &inputs, &outputs).unwrap()
        };
        let (mixture, embedding) = (golden_input(HOPS * 2 * BINS, 4.0), golden_input(HOPS * dim, 0.25));
        let mut at_once = (vec![0.0; HOPS * 2 * BINS], vec![0.0; state]);
        let inputs: [&[f32]; 3] = [&mixture, &embedding, &vec![0.0; state]];
        load(HOPS).run(&inputs, &mut [&mut at_once.0, &mut at_once.1]).unwrap();
        let (mut net, mut memory, mut mask) = (load(1), vec![0.0; state], vec![0.0; 2 * BINS]);
        let hops = mixture.chunks(2 * BINS).zip(embedding.chunks(dim)).zip(at_once.0.chunks(2 * BINS));
        for (k, ((mixture, embedding), want)) in hops.enumerate() {
            let before = memory.clone();
            net.run(&[mixture, embedding, &before], &mut [&mut mask, &mut memory]).unwrap();
            let off = mask.iter().zip(want).map(|(a, b)| (a - b).abs()).fold(0.0_f32, f32::max);
            assert!(off < 1e-3, "{}: hop {k}: {off}", path.display());
        }
        assert!(at_once.0.iter().any(|m| *m != 0.0) && memory.iter().any(|m| *m != 0.0), "{}", path.display());
    }
}

#[test]
fn a_network_of_another_shape_than_its_manifest_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let here = root().join("crates/cli/tests/separator");
    std::fs::copy(here.join("everything.onnx"), dir.path().join("everything.onnx")).unwrap();
    let good = std::fs::read_to_string(here.join("everything.toml")).unwrap();
    let rate = SampleRate::ANALYSIS;
    let config = SeparatorConfig { rate, channels: 1, objects: 2, block: 1 };
    for (from, to, named) in [
        ("state = 2", "state = 3", "state"),
        ("dim = 128", "dim = 64", "embedding"),
        ("\"mask\"", "\"masks\"", "masks"),
    ] {
        let path = dir.path().join("s.toml");
        std::fs::write(&path, good.replace(from, to)).unwrap();
        let engine = SeparatorEngine::load(&path).unwrap();
        let error = Separator::new(&engine, &onnx_runtime(1), config).unwrap_err();
        assert!(matches!(error, NetError::Tensor { .. }) && error.to_string().contains(named), "{error}");
    }
}
