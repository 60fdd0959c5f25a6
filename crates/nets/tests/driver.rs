//! Whatever is wrong with the driver or the GPU is an error in one line with a remedy, and is found before any other
//! library is touched. The drivers here are `fake_driver.c`, built with the answers of each case.

#![allow(clippy::unwrap_used, reason = "a test")]

use seehear_nets::driver::{Driver, DriverError, Needs, Version};
use std::path::{Path, PathBuf};
use std::process::Command;

const NEEDS: Needs = Needs { cuda_major: 13, compute: Version::new(7, 5), free_bytes: 512 << 20 };

/// Builds a driver with these answers.
fn fake(dir: &Path, name: &str, answers: &[&str]) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fake_driver.c");
    let output = dir.join(format!("lib{name}.so"));
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-o"]).arg(&output).arg(source);
    cc.args(answers.iter().map(|a| format!("-D{a}")));
    assert!(cc.status().expect("cc is installed by make setup").success());
    output
}

/// The error of a driver with these answers, at start or at the choice of GPU 0.
#[track_caller]
fn refused(answers: &[&str], words: &[&str]) -> DriverError {
    let dir = tempfile::tempdir().unwrap();
    let path = fake(dir.path(), "fake", answers);
    let error = match Driver::load(&path) {
        Ok(driver) => driver.device(0, &NEEDS).unwrap_err(),
        Err(error) => error,
    };
    let text = error.to_string();
    assert!(!text.contains('\n'), "more than a line: {text}");
    for part in words {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
    error
}

#[test]
fn no_driver() {
    let dir = tempfile::tempdir().unwrap();
    let text = dir.path().join("libcuda.so.1");
    for path in [dir.path().join("none.so"), text.clone()] {
        std::fs::write(&text, "no library").unwrap();
        let error = Driver::load(&path).unwrap_err();
        assert!(matches!(error, DriverError::Missing { .. }), "{error}");
        for part in [&path.display().to_string(), "install the driver", "--backend onnxruntime-cpu"] {
            assert!(error.to_string().contains(part), "{error}");
        }
    }
    // The system's: there, or missing in the same words.
    if let Err(error) = Driver::start() {
        assert!(!error.to_string().contains('\n'), "{error}");
    }
}

#[test]
fn another_library_of_that_name() {
    let error = refused(&["WITHOUT_CONTEXT"], &["is not NVIDIA's driver", "cuDevicePrimaryCtxRetain", "reinstall"]);
    assert!(matches!(error, DriverError::NotADriver { .. }), "{error}");
}

#[test]
fn a_driver_that_does_not_start() {
    for (code, words) in [
        ("3", "modprobe nvidia"),
        ("34", "stubs/"),
        ("803", "restart the machine"),
        ("804", "cuda-compat"),
        ("999", "nvidia-uvm"),
        ("777", "dmesg"),
    ] {
        refused(&[&format!("INIT={code}")], &["does not start", "cuInit", code, words]);
    }
    refused(&["RETAIN=46"], &["cuDevicePrimaryCtxRetain", "46", "compute mode"]);
}

#[test]
fn a_driver_without_a_gpu() {
    for answers in ["INIT=100", "COUNT=0"] {
        assert_eq!(refused(&[answers], &["no GPU", "nvidia-smi"]), DriverError::NoDevice);
    }
}

#[test]
fn a_driver_of_an_older_cuda() {
    refused(&["CUDA=12080"], &["too old", "CUDA 12.8", "CUDA 13.0", "driver 580"]);
    refused(&["CUDA=11040"], &["CUDA 11.4"]);
}

#[test]
fn a_gpu_that_will_not_do() {
    refused(&["MAJOR=7", "MINOR=0"], &["Fake GPU", "capability 7.0", "need 7.5", "--gpu N"]);
    refused(&["FREE_MIB=100"], &["Fake GPU", "100 MiB", "512 MiB", "nvidia-smi"]);
}

#[test]
fn a_good_one() {
    let dir = tempfile::tempdir().unwrap();
    let driver = Driver::load(&fake(dir.path(), "good", &["COUNT=2", "CUDA=13020", "MAJOR=12", "MINOR=0"])).unwrap();
    assert_eq!(driver.cuda(), Version::new(13, 2));
    let ordinals: Vec<usize> = driver.devices().iter().map(|d| d.ordinal).collect();
    assert_eq!(ordinals, [0, 1]);
    let device = driver.device(1, &NEEDS).unwrap();
    assert_eq!((device.name.as_str(), device.compute), ("Fake GPU", Version::new(12, 0)));
    assert_eq!((device.memory_bytes, driver.free_bytes(device)), (12 << 30, Ok(8000 << 20)));
    // An RTX 3060's numbers, for which NVIDIA gives 12.7 TFLOP/s and 360 GB/s.
    let peak = seehear_nets::driver::Device { compute: Version::new(8, 6), ..device.clone() }.peak().unwrap();
    assert!((peak.fp32_gflops - 12_737.5).abs() < 1.0 && (peak.gbytes_per_s - 360.0).abs() < 0.1, "{peak:?}");
    let error = driver.device(2, &NEEDS).unwrap_err();
    assert_eq!(error, DriverError::NoSuchDevice { asked: 2, count: 2 });
}
