//! TensorRT for RTX as far as it goes without a GPU: the library is loaded, every committed network is parsed and built for
//! every kind of GPU, and whatever is wrong is an error. `make test-tensorrt` fetches the library and runs this.

#![cfg(feature = "tensorrt")]
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use common::{audio_specs, engine_file, golden_file, root, video_specs};
use seehear::net::{NetError, TensorSpec};
use seehear_nets::driver::{Driver, Version};
use seehear_nets::notice::{Listener, Notice};
use seehear_nets::onnx::{quantise, to_half};
use seehear_nets::plan::{Found, Plans, Precision, Recipe};
use seehear_nets::{BUILDS_FOR, BuildOptions, Library, TensorRt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

fn library() -> Library {
    Library::load(Some(&root().join(".deps/tensorrt"))).expect("these tests need TensorRT: make test-tensorrt")
}

fn on(compute: Version) -> BuildOptions {
    BuildOptions { compute, listener: Listener::default() }
}

/// Every committed network with its tensors, but for the quantised one (below).
fn networks() -> Vec<(PathBuf, TensorSpec, TensorSpec)> {
    let video = |name| {
        let (input, output) = video_specs(192, 336);
        (engine_file(name), input, output)
    };
    let (input, output) = audio_specs();
    vec![video("av-small.video.onnx"), (engine_file("av-small.audio.onnx"), input, output)]
}

fn build(model: &Path, inputs: &[TensorSpec], outputs: &[TensorSpec], compute: Version) -> Result<Vec<u8>, NetError> {
    library().build(model, &std::fs::read(model).unwrap(), inputs, outputs, &on(compute))
}

#[test]
fn every_network_builds_for_every_kind_of_gpu() {
    for (model, input, output) in networks() {
        for compute in BUILDS_FOR {
            let began = std::time::Instant::now();
            let plan = build(&model, std::slice::from_ref(&input), std::slice::from_ref(&output), compute)
                .unwrap_or_else(|e| panic!("{} for {compute}: {e}", model.display()));
            assert!(plan.len() > 10_000, "{} for {compute}: {} bytes", model.display(), plan.len());
            println!("{:?} sm {compute}: {} bytes, {:.1?}", model.file_name().unwrap(), plan.len(), began.elapsed());
        }
    }
}

#[test]
fn a_batch_of_cameras_is_a_shape_like_any_other() {
    let (input, output) =
        (TensorSpec::new("slots", &[16, 5, 96, 160]), TensorSpec::new("embedding", &[16, 128, 6, 10]));
    build(&engine_file("av-small.video.onnx"), &[input], &[output], Version::new(8, 6)).unwrap();
}

#[test]
fn progress_is_told() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let listener = {
        let heard = Arc::clone(&heard);
        Listener::new(move |notice| heard.lock().unwrap().push(notice.clone()))
    };
    let (model, input, output) = networks().remove(0);
    let options = BuildOptions { compute: Version::new(8, 9), listener };
    library().build(&model, &std::fs::read(&model).unwrap(), &[input], &[output], &options).unwrap();
    let heard = heard.lock().unwrap();
    assert!(!heard.is_empty());
    for notice in heard.iter() {
        let Notice::Building { phase, done, of } = notice else { panic!("{notice:?}") };
        assert!(!phase.is_empty() && done <= of, "{notice:?}");
    }
}

#[test]
fn a_plan_is_kept_and_found_for_the_same_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let (plans, library) = (Plans::new(dir.path()), library());
    let (model, input, output) = networks().remove(1);
    let bytes = std::fs::read(&model).unwrap();
    let specs = (&[input][..], &[output][..]);
    let recipe = |compute| Recipe::new(&model, &bytes, library.version(), compute, Precision::Fp32, specs);
    let here = recipe(Version::new(8, 6));
    let plan = build(&model, specs.0, specs.1, Version::new(8, 6)).unwrap();
    plans.keep(&here, &plan).unwrap();
    assert!(plans.find(&here).unwrap() == Found::Plan(plan));
    assert!(plans.find(&recipe(Version::new(8, 9))).unwrap() == Found::Nothing);
    assert!(library.version().starts_with("rtx 1."), "{}", library.version());
}

#[test]
fn kinds_of_gpu_that_it_does_not_build_for() {
    let (model, input, output) = networks().remove(0);
    for compute in [Version::new(6, 1), Version::new(9, 0), Version::new(8, 7)] {
        let error = build(&model, std::slice::from_ref(&input), std::slice::from_ref(&output), compute).unwrap_err();
        let text = error.to_string();
        for part in ["tensorrt: ", &compute.to_string(), "7.5, 8.0, 8.6, 8.9, 12.0, 12.1", "onnxruntime-tensorrt"] {
            assert!(text.contains(part), "{part:?} is not in: {text}");
        }
    }
}

#[test]
fn files_that_are_no_networks() {
    let (model, input, output) = networks().remove(0);
    let whole = std::fs::read(&model).unwrap();
    let half = &whole[..whole.len().div_euclid(2)];
    for bytes in [&b"not a network\n"[..], &[0xa5; 4096], half] {
        let specs = (std::slice::from_ref(&input), std::slice::from_ref(&output));
        let error = library().build(&model, bytes, specs.0, specs.1, &on(Version::new(8, 6))).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("av-small.video.onnx cannot be built by TensorRT rtx"), "{text}");
        assert!(!text.contains('\n'), "more than a line: {text}");
    }
}

/// Unsigned activations and quantised biases are what processors are quick at, and what TensorRT does not take: it wants
/// files of its own (`quantise.rs`).
/// What `seehear engines build --precision` makes, parsed and built.
#[test]
fn fp16_and_int8_build_for_every_kind_of_gpu() {
    let bytes = std::fs::read(engine_file("av-small.video.onnx")).unwrap();
    let table = std::fs::read_to_string(root().join("calibration/av-small.ranges.json")).unwrap();
    let int8 = quantise(&bytes, &serde_json::from_str(&table).unwrap()).unwrap();
    let (_, input, output) = networks().remove(0);
    let specs = (std::slice::from_ref(&input), std::slice::from_ref(&output));
    for (name, bytes) in [("x.fp16.onnx", to_half(&bytes).unwrap()), ("x-int8.onnx", int8)] {
        for compute in BUILDS_FOR {
            let plan = library().build(name.as_ref(), &bytes, specs.0, specs.1, &on(compute)).unwrap();
            println!("{name} sm {compute}: {} bytes", plan.len());
        }
    }
}

#[test]
fn a_file_quantised_for_processors_is_refused() {
    let (_, input, output) = networks().remove(0);
    let error = build(&engine_file("av-small-int8.video.onnx"), &[input], &[output], Version::new(8, 6)).unwrap_err();
    assert!(error.to_string().contains("must have type"), "{error}");
}

#[test]
fn tensors_other_than_asked_for() {
    let spec = TensorSpec::new;
    let good = (spec("slots", &[1, 5, 96, 160]), spec("embedding", &[1, 128, 6, 10]));
    let cases = [
        (spec("frames", &[1, 5, 96, 160]), good.1.clone(), "says frames", "has slots"),
        (good.0.clone(), spec("map", &[1, 128, 6, 10]), "says map", "has embedding"),
        (spec("slots", &[1, 4, 96, 160]), good.1.clone(), "(1, 4, 96, 160)", "(?, 5, ?, ?)"),
        (spec("slots", &[1, 5, 96]), good.1.clone(), "(1, 5, 96)", "(?, 5, ?, ?)"),
        (good.0.clone(), spec("embedding", &[1, 128, 6, 11]), "(1, 128, 6, 11)", "(1, 128, 6, 10)"),
    ];
    let compute = Version::new(8, 6);
    for (input, output, expected, got) in cases {
        let error = build(&engine_file("av-small.video.onnx"), &[input], &[output], compute).unwrap_err();
        assert!(matches!(error, NetError::Tensor { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains(expected) && text.contains(got), "{text}");
    }
    let (x, y) = (spec("x", &[2]), spec("y", &[2]));
    let error = build(&golden_file("identity-i64.onnx"), &[x], &[y], compute).unwrap_err();
    assert!(error.to_string().contains("INT64"), "{error}");
    let model = golden_file("sum-difference.onnx");
    for inputs in [&[][..], &[spec("a", &[3])], &[spec("a", &[3]), spec("a", &[3])]] {
        let error = build(&model, inputs, &[spec("sum", &[3])], compute).unwrap_err();
        assert!(error.to_string().contains("a, b"), "{error}");
    }
    build(&model, &[spec("b", &[3]), spec("a", &[3])], &[spec("sum", &[3])], compute).unwrap();
}

/// Where it would crash: TensorRT's runtime without a driver. The driver is asked first.
#[test]
fn without_a_driver_the_runtime_is_not_touched() {
    let Err(missing) = Driver::start() else { return };
    let error = TensorRt::new(&common::options().gpu, Some(&root().join(".deps/tensorrt"))).unwrap_err();
    assert_eq!(error.to_string(), format!("tensorrt: {missing}"));
}
