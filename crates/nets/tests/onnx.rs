//! Files made in FP16 and INT8 compute what the FP32 file does, within what such numbers allow; and the count of a
//! network's cost is that of its layers.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use common::{audio_specs, engine_file, golden_file, golden_input, onnx_runtime, root, video_specs};
use seehear::net::{Backend, TensorSpec};
use seehear_nets::onnx::{Ranges, count, quantise, to_half};
use std::path::Path;

/// What a model gives for the golden input.
fn outputs(model: &Path, input: &TensorSpec, output: &TensorSpec) -> Vec<f32> {
    let mut net = onnx_runtime(1).load(model, std::slice::from_ref(input), std::slice::from_ref(output)).unwrap();
    let mut got = vec![0.0; output.len()];
    net.run(&[&golden_input(input.len(), 1.0)], &mut [&mut got]).unwrap();
    got
}

/// The lowest cosine of any cell's two vectors; both are unit vectors over dimension 1.
fn lowest_cosine(a: &[f32], b: &[f32], output: &TensorSpec) -> f32 {
    let dim = output.shape[1];
    let cells: usize = output.shape[2..].iter().product();
    let dot = |cell: usize| (0..dim).map(|d| a[d * cells + cell] * b[d * cells + cell]).sum::<f32>();
    (0..cells).map(dot).fold(f32::INFINITY, f32::min)
}

#[test]
fn fp16_computes_the_same() {
    let dir = tempfile::tempdir().unwrap();
    for (name, (input, output)) in
        [("av-small.video.onnx", video_specs(96, 160)), ("av-small.audio.onnx", audio_specs())]
    {
        let bytes = std::fs::read(engine_file(name)).unwrap();
        let half = to_half(&bytes).unwrap();
        assert!(half.len() * 10 < bytes.len() * 6, "{name}: {} of {} bytes", half.len(), bytes.len());
        let path = dir.path().join(name);
        std::fs::write(&path, half).unwrap();
        let (a, b) = (outputs(&engine_file(name), &input, &output), outputs(&path, &input, &output));
        let largest = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0_f32, f32::max);
        assert!(largest > 0.0 && largest < 5e-3, "{name}: differs by {largest}");
        assert!(lowest_cosine(&a, &b, &output) > 0.9999);
    }
}

#[test]
fn int8_computes_nearly_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = std::fs::read(engine_file("av-small.video.onnx")).unwrap();
    let text = std::fs::read_to_string(root().join("calibration/av-small.ranges.json")).unwrap();
    let table: Ranges = serde_json::from_str(&text).unwrap();
    let path = dir.path().join("av-small-int8.video.onnx");
    std::fs::write(&path, quantise(&bytes, &table).unwrap()).unwrap();
    let (input, output) = video_specs(96, 160);
    let (a, b) = (outputs(&engine_file("av-small.video.onnx"), &input, &output), outputs(&path, &input, &output));
    let cosine = lowest_cosine(&a, &b, &output);
    // The worst cell; on noise, which no footage has. `av-small-int8`, made for processors, is as far off.
    assert!(cosine > 0.95 && cosine < 1.0, "{cosine}");
}

#[test]
fn what_cannot_be_converted_is_said() {
    let bytes = std::fs::read(engine_file("av-small.video.onnx")).unwrap();
    let sum = std::fs::read(golden_file("sum-difference.onnx")).unwrap();
    let table = |sha256: &str| Ranges { by: String::new(), model_sha256: sha256.into(), ranges: [].into() };
    assert_eq!(to_half(&sum).unwrap_err(), "has no convolution to compute in FP16");
    for bad in [&b""[..], b"not a network\n", &[0xa5; 4096], &bytes[..bytes.len().div_euclid(2)]] {
        assert!(to_half(bad).unwrap_err().contains("is no ONNX file"));
        assert!(count(bad, &TensorSpec::new("x", &[1])).unwrap_err().contains("is no ONNX file"));
    }
    let why = quantise(&bytes, &table("0")).unwrap_err();
    assert!(why.ends_with("its calibration table is for 0"), "{why}");
    let sha256 = why.split_whitespace().nth(2).unwrap().trim_end_matches(',');
    assert_eq!(quantise(&bytes, &table(sha256)).unwrap_err(), "has a tensor \"slots\" without a range");
}

#[test]
fn multiply_adds_by_hand() {
    let bytes = std::fs::read(engine_file("av-small.video.onnx")).unwrap();
    let small = count(&bytes, &TensorSpec::new("slots", &[1, 5, 192, 336])).unwrap();
    // The first convolution alone: 24 channels of 5 × 5 × 5 weights at half the size.
    assert!(small.multiply_adds > 24 * 125 * 96 * 168);
    let weights = small.weights;
    assert!((600_000..800_000).contains(&weights), "{weights}: the model card says 0.70 M");
    // Twice the picture in both directions, or four pictures, is four times the work with the same weights.
    for shape in [[1, 5, 384, 672], [4, 5, 192, 336]] {
        let large = count(&bytes, &TensorSpec::new("slots", &shape)).unwrap();
        assert_eq!((large.multiply_adds, large.activations), (4 * small.multiply_adds, 4 * small.activations));
        assert_eq!(large.weights, weights);
    }
    let quantised = std::fs::read(engine_file("av-small-int8.video.onnx")).unwrap();
    assert_eq!(count(&quantised, &TensorSpec::new("slots", &[1, 5, 192, 336])).unwrap(), small);
    let audio = std::fs::read(engine_file("av-small.audio.onnx")).unwrap();
    let audio = count(&audio, &TensorSpec::new("logmel", &[1, 1, 64, 28])).unwrap();
    assert!((600_000..900_000).contains(&audio.weights), "{}: the model card says 0.79 M", audio.weights);
    println!("{small:?} {audio:?}");
}
