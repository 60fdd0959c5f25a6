//! One suite for every backend: whatever computes the networks must compute the same.
//!
//! Every one of [`Kind::ALL`] is in the suite; what this machine cannot run is named with its reason. The golden values come
//! from `golden/make_golden.py`; the tolerance is the one in the engine's manifest.

mod common;

use common::{audio_specs, engine_file, golden_file, golden_input, video_specs};
use seehear::net::{Backend, Engine, Network, TensorSpec};
use seehear_nets::{Choice, Kind};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;

/// A backend, or why this machine cannot run it.
type Candidate = (String, Result<Box<dyn Backend>, String>);

/// Every backend of this crate. The CPU's is never skipped: where it is missing the suite fails with the remedy.
fn backends() -> Vec<Candidate> {
    let mut all: Vec<Candidate> = vec![
        ("onnxruntime-cpu, 1 thread".to_owned(), Ok(Box::new(common::onnx_runtime(1)))),
        ("onnxruntime-cpu, 2 threads".to_owned(), Ok(Box::new(common::onnx_runtime(2)))),
    ];
    for kind in Kind::ALL.into_iter().filter(|kind| kind.on_gpu()) {
        let opened = seehear_nets::open(Choice::One(kind), &common::options());
        all.push((kind.to_string(), opened.map(|c| c.backend as Box<dyn Backend>).map_err(|e| e.to_string())));
    }
    all
}

/// What was said already, as every test goes through all backends.
static SKIPPED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Runs `test` on every backend that this machine has and names the others.
fn on_each(test: impl Fn(&str, &dyn Backend)) {
    for (name, backend) in backends() {
        match backend {
            Ok(backend) => test(&name, &*backend),
            // Straight to stderr: the harness keeps the output of tests that pass, and a skip must be seen.
            Err(why) if SKIPPED.lock().expect("no test panics here").insert(name.clone()) => {
                writeln!(std::io::stderr(), "conformance: skipped {name}: {why}").expect("stderr is open");
            }
            Err(_) => {}
        }
    }
}

#[derive(Deserialize)]
struct Golden {
    video: GoldenNet,
    audio: GoldenNet,
}

#[derive(Deserialize)]
struct GoldenNet {
    sha256: String,
    cases: Vec<GoldenCase>,
}

#[derive(Deserialize)]
struct GoldenCase {
    input: Vec<usize>,
    output: Vec<usize>,
    scale: f32,
    step: usize,
    values: Vec<f32>,
}

/// The committed engines.
const ENGINES: [&str; 2] = ["av-small", "av-small-int8"];

fn engine(name: &str) -> Engine {
    Engine::load(&engine_file(&format!("{name}.toml"))).expect("the committed engine is whole")
}

/// A network of one input and one output, with an input for it and room for what it gives.
type Opened = (Box<dyn Network>, Vec<f32>, Vec<f32>);

fn open(backend: &dyn Backend, model: &Path, specs: (TensorSpec, TensorSpec)) -> Opened {
    let (input, output) = specs;
    let buffers = (golden_input(input.len(), 1.0), vec![0.0; output.len()]);
    let net = backend.load(model, &[input], &[output]).expect("the committed network opens");
    (net, buffers.0, buffers.1)
}

/// Every engine's two networks, the video network at a small size.
fn all(backend: &dyn Backend) -> Vec<Opened> {
    let two = |engine: Engine| {
        let (video, audio) = (engine.video_file(), engine.audio_file());
        [open(backend, &video, video_specs(96, 160)), open(backend, &audio, audio_specs())]
    };
    ENGINES.iter().flat_map(|name| two(engine(name))).collect()
}

#[test]
fn golden_values() {
    for name in ENGINES {
        golden_values_of(name);
    }
}

fn golden_values_of(engine: &str) {
    let text = std::fs::read_to_string(golden_file(&format!("{engine}.json"))).expect("golden values are there");
    let engine = self::engine(engine);
    let golden: Golden = serde_json::from_str(&text).expect("golden values are JSON");
    let m = &engine.manifest;
    let nets = [
        (&golden.video, engine.video_file(), &m.video.sha256, &m.video.input, &m.video.output),
        (&golden.audio, engine.audio_file(), &m.audio.sha256, &m.audio.input, &m.audio.output),
    ];
    on_each(|name, backend| {
        for (golden, file, sha256, input, output) in &nets {
            let file_name = file.display();
            assert_eq!(golden.sha256, **sha256, "{file_name} changed: run tests/golden/make_golden.py");
            for case in &golden.cases {
                let specs = (TensorSpec::new(input, &case.input), TensorSpec::new(output, &case.output));
                let (mut net, mut data, mut got) = open(backend, file, specs);
                data.iter_mut().for_each(|v| *v *= case.scale);
                net.run(&[&data], &mut [&mut got]).expect("the network runs");
                assert_eq!(got.iter().step_by(case.step).count(), case.values.len());
                for (i, (g, e)) in got.iter().step_by(case.step).zip(&case.values).enumerate() {
                    let at = i * case.step;
                    assert!(
                        (g - e).abs() <= m.tolerance,
                        "{name}: {file_name} {:?} value {at}: {g}, golden {e}",
                        case.input
                    );
                }
            }
        }
    });
}

#[test]
fn embeddings_are_unit_vectors() {
    on_each(|name, backend| {
        for (mut net, data, mut got) in all(backend) {
            net.run(&[&data], &mut [&mut got]).unwrap();
            let spec = net.outputs()[0].clone();
            // [1, dim, cells...]: the vectors run along dimension 1.
            let dim = spec.shape[1];
            let cells: usize = spec.shape[2..].iter().product();
            for cell in 0..cells {
                let norm = (0..dim).map(|d| got[d * cells + cell].powi(2)).sum::<f32>().sqrt();
                assert!((norm - 1.0).abs() < 1e-4, "{name}: {spec:?} cell {cell}: norm {norm}");
            }
        }
    });
}

#[test]
fn every_run_gives_the_same_bits() {
    on_each(|name, backend| {
        for (mut net, data, mut first) in all(backend) {
            let other: Vec<f32> = data.iter().map(|v| -v).collect();
            net.run(&[&data], &mut [&mut first]).unwrap();
            let mut got = vec![f32::NAN; first.len()];
            let mut different = vec![f32::NAN; first.len()];
            for run in 0..20 {
                // Another input in between: nothing of it may stay behind.
                net.run(&[&other], &mut [&mut different]).unwrap();
                assert_ne!(first, different, "{name}: the input has no effect");
                net.run(&[&data], &mut [&mut got]).unwrap();
                assert!(first == got, "{name}: run {run} differs from the first");
            }
        }
    });
}

#[test]
fn two_networks_and_two_threads_do_not_mix() {
    on_each(|name, backend| {
        let engine = engine("av-small");
        let (mut net, data, mut expected) = open(backend, &engine.video_file(), video_specs(96, 160));
        net.run(&[&data], &mut [&mut expected]).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..2 {
                let (mut net, data, mut got) = open(backend, &engine.video_file(), video_specs(96, 160));
                let expected = &expected;
                scope.spawn(move || {
                    for _ in 0..10 {
                        net.run(&[&data], &mut [&mut got]).unwrap();
                        assert!(&got == expected, "{name}: networks of two threads mix");
                    }
                });
            }
        });
    });
}

#[test]
fn tensors_keep_the_order_of_the_specs() {
    let spec = |name| TensorSpec::new(name, &[3]);
    on_each(|name, backend| {
        // Both the other way round than in the graph.
        let (inputs, outputs) = ([spec("b"), spec("a")], [spec("difference"), spec("sum")]);
        let mut net = backend.load(&golden_file("sum-difference.onnx"), &inputs, &outputs).unwrap();
        assert_eq!((net.inputs(), net.outputs()), (&inputs[..], &outputs[..]));
        let (mut difference, mut sum) = (vec![0.0; 3], vec![0.0; 3]);
        let (a, b) = ([10.0, 20.0, 30.0], [1.0, 2.0, 3.0]);
        net.run(&[&b, &a], &mut [&mut difference, &mut sum]).unwrap();
        // Small whole numbers: exact in any order of operations.
        assert_eq!(difference, vec![9.0, 18.0, 27.0], "{name}: a - b");
        assert_eq!(sum, vec![11.0, 22.0, 33.0], "{name}: a + b");
    });
}

#[test]
fn an_output_may_be_left_out() {
    let spec = |name| TensorSpec::new(name, &[3]);
    on_each(|name, backend| {
        let model = golden_file("sum-difference.onnx");
        let mut net = backend.load(&model, &[spec("a"), spec("b")], &[spec("sum")]).unwrap();
        let mut sum = vec![0.0; 3];
        net.run(&[&[1.0; 3], &[2.0; 3]], &mut [&mut sum]).unwrap();
        assert_eq!(sum, vec![3.0; 3], "{name}");
    });
}
