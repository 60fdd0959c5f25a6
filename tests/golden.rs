//! The log-mel front-end against numpy (`golden/make_logmel.py`).

#![allow(
    clippy::unwrap_used,
    clippy::integer_division,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::float_cmp,
    reason = "a test"
)]

use seehear::mel::LogMel;
use seehear::net::MelSpec;

#[derive(serde::Deserialize)]
struct Golden {
    samples: i64,
    frames: Vec<usize>,
    logmel: Vec<Vec<f32>>,
}

/// As `signal` in the Python file.
fn signal(n: i64) -> Vec<f32> {
    (0..n)
        .map(|i| {
            let chirp = ((i * i).div_euclid(40).rem_euclid(2000) - 1000) as f64 / 2000.0;
            let low = ((i * 37).rem_euclid(1600) - 800) as f64 / 3000.0;
            let burst = if i.div_euclid(800) % 3 == 0 { 1.0 } else { 0.05 };
            let silent = if i >= n - 1600 { 0.0 } else { 1.0 };
            ((chirp + low) * burst * silent) as f32
        })
        .collect()
}

#[test]
fn log_mel_is_numpys() {
    let golden: Golden = serde_json::from_str(include_str!("golden/logmel.json")).unwrap();
    let mut mel = LogMel::new(&MelSpec { mels: 64, low_hz: 60.0, high_hz: 7600.0 });
    mel.push(&signal(golden.samples));
    mel.flush();
    let mut frames = Vec::new();
    while let Some(f) = mel.pull() {
        frames.push(f.to_vec());
    }
    assert_eq!(frames.len(), 100);
    let mut worst = 0.0_f32;
    for (&k, want) in golden.frames.iter().zip(&golden.logmel) {
        for (got, want) in frames[k].iter().zip(want) {
            worst = worst.max((got - want).abs());
        }
    }
    // f32 against f64; the quiet filters, at ln 1e-6, are the least exact.
    assert!(worst < 2e-3, "{worst}");
    assert!(golden.logmel.iter().flatten().any(|&x| x > 0.0), "the golden signal is not all silence");
}
