//! Whatever is wrong with a model or a call is an error that says which file, which tensor, what was expected and what
//! was found; never a panic, and never the end of a network that was sound.

mod common;

use common::{audio_specs, engine_file, golden_file, onnx_runtime, video_specs};
use seehear::net::{Backend, NetError, Network, TensorSpec};
use std::fs;
use std::path::Path;

fn load(model: &Path, inputs: &[TensorSpec], outputs: &[TensorSpec]) -> Result<Box<dyn Network>, NetError> {
    onnx_runtime(1).load(model, inputs, outputs)
}

fn load_error(model: &Path, inputs: &[TensorSpec], outputs: &[TensorSpec]) -> NetError {
    match load(model, inputs, outputs) {
        Ok(_) => panic!("{} was accepted", model.display()),
        Err(error) => error,
    }
}

#[test]
fn missing_model() {
    let (input, output) = audio_specs();
    let error = load_error(Path::new("/nowhere/x.onnx"), &[input], &[output]);
    assert!(matches!(&error, NetError::Read { path, .. } if path == Path::new("/nowhere/x.onnx")), "{error}");
}

#[test]
fn corrupt_models() {
    let dir = tempfile::tempdir().unwrap();
    let whole = fs::read(engine_file("av-small.audio.onnx")).unwrap();
    let half = &whole[..whole.len().div_euclid(2)];
    let cases: [(&str, &[u8]); 4] =
        [("empty", b""), ("text", b"not a network\n"), ("noise", &[0xa5; 4096]), ("half", half)];
    for (name, bytes) in cases {
        let model = dir.path().join(format!("{name}.onnx"));
        fs::write(&model, bytes).unwrap();
        let (input, output) = audio_specs();
        let error = load_error(&model, &[input], &[output]);
        assert!(matches!(error, NetError::Library { .. }), "{name}: {error}");
        let text = error.to_string();
        for part in [&model.display().to_string(), "fetch the engine again"] {
            assert!(text.contains(part), "{name}: {text}");
        }
    }
    let (input, output) = audio_specs();
    let error = load_error(dir.path(), &[input], &[output]);
    assert!(error.to_string().contains(&dir.path().display().to_string()), "{error}");
}

/// What to open, as what, and the words that the error must hold for expected and got.
type TensorCase = (&'static str, TensorSpec, TensorSpec, &'static str, &'static str);

#[test]
fn tensors_other_than_the_manifest_says() {
    let video = |input: &str, shape: &[usize], output: &str, out_shape: &[usize]| {
        (TensorSpec::new(input, shape), TensorSpec::new(output, out_shape))
    };
    let good_in: &[usize] = &[1, 5, 96, 160];
    let good_out: &[usize] = &[1, 128, 6, 10];
    let case = |what, (input, output), expected, got| -> TensorCase { (what, input, output, expected, got) };
    let cases = [
        case("inputs", video("frames", good_in, "embedding", good_out), "says frames", "has slots"),
        case("name of an output", video("slots", good_in, "map", good_out), "says map", "has embedding"),
        case("input \"slots\"", video("slots", &[1, 5, 96], "embedding", good_out), "(1, 5, 96)", "(n, 5, h, w)"),
        case(
            "input \"slots\"",
            video("slots", &[1, 4, 96, 160], "embedding", good_out),
            "(1, 4, 96, 160)",
            "(n, 5, h, w)",
        ),
        case(
            "input \"slots\"",
            video("slots", &[1, 5, 0, 160], "embedding", good_out),
            "(1, 5, 0, 160)",
            "(n, 5, h, w)",
        ),
        // The graph leaves these open: found out by running it.
        case(
            "output \"embedding\"",
            video("slots", good_in, "embedding", &[1, 128, 6, 11]),
            "(1, 128, 6, 11)",
            "(1, 128, 6, 10)",
        ),
        case("output \"embedding\"", video("slots", good_in, "embedding", &[1, 64, 6, 10]), "(1, 64, 6, 10)", "128"),
        case("output \"embedding\"", video("slots", good_in, "embedding", &[1, 128, 60]), "(1, 128, 60)", "128"),
    ];
    let model = engine_file("av-small.video.onnx");
    for (tensor, input, output, expected_words, got_words) in cases {
        let error = load_error(&model, &[input], &[output]);
        let NetError::Tensor { path, what, .. } = &error else { panic!("not a tensor error: {error}") };
        assert_eq!((path, what.as_str()), (&model, tensor), "{error}");
        let text = error.to_string();
        assert!(text.contains(expected_words) && text.contains(got_words), "{text}");
    }
}

#[test]
fn element_types_other_than_f32() {
    let model = golden_file("identity-i64.onnx");
    let error = load_error(&model, &[TensorSpec::new("x", &[2])], &[TensorSpec::new("y", &[2])]);
    assert!(matches!(error, NetError::Tensor { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("Tensor<f32>(2)") && text.contains("Tensor<i64>(2)"), "{text}");
}

#[test]
fn an_input_that_nobody_feeds() {
    let spec = |name| TensorSpec::new(name, &[3]);
    let model = golden_file("sum-difference.onnx");
    for inputs in [&[][..], &[spec("a")], &[spec("a"), spec("a")]] {
        let error = load_error(&model, inputs, &[spec("sum")]);
        assert!(matches!(&error, NetError::Tensor { what, .. } if what == "inputs"), "{error}");
        assert!(error.to_string().contains("a, b"), "{error}");
    }
}

#[test]
fn a_tensor_named_twice() {
    let spec = |name| TensorSpec::new(name, &[3]);
    let model = golden_file("sum-difference.onnx");
    let (a, b, sum) = (spec("a"), spec("b"), spec("sum"));
    let both = [a.clone(), b.clone()];
    for error in [
        load_error(&model, &[a.clone(), b, a], std::slice::from_ref(&sum)),
        load_error(&model, &both, &[sum.clone(), sum]),
    ] {
        assert!(matches!(error, NetError::Tensor { .. }), "{error}");
        assert!(error.to_string().contains("twice"), "{error}");
    }
}

#[test]
fn wrong_lengths_are_refused_and_the_network_still_runs() {
    let (input, output) = video_specs(96, 160);
    let (data, mut got) = (vec![0.1; input.len()], vec![0.0; output.len()]);
    let mut net = load(&engine_file("av-small.video.onnx"), &[input], &[output]).unwrap();

    let assert_run_error = |result: Result<(), NetError>, words: &str| {
        let Err(error @ NetError::Run { .. }) = result else { panic!("not a run error: {result:?}") };
        let text = error.to_string();
        for part in ["onnxruntime-cpu", "av-small.video", words] {
            assert!(text.contains(part), "{part:?} is not in: {text}");
        }
    };
    let before = got.clone();
    assert_run_error(net.run(&[&data[1..]], &mut [&mut got]), "input \"slots\" holds 76799 values");
    assert_run_error(net.run(&[], &mut [&mut got]), "0 inputs given, it has 1");
    assert_run_error(net.run(&[&data, &data], &mut [&mut got]), "2 inputs given, it has 1");
    assert_run_error(net.run(&[&data], &mut [&mut got[1..]]), "output \"embedding\" holds 7679 values");
    assert_run_error(net.run(&[&data], &mut []), "0 outputs given, it has 1");
    assert!(got == before, "a refused run wrote to the output");

    net.run(&[&data], &mut [&mut got]).unwrap();
    assert!(got != before);
}
