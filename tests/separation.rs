//! The separation stage: what comes out is what went in, at its own time, whatever pieces it comes in.

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

mod common;

use common::separator::{DIM, Mask, Masks, engine};
use proptest::prelude::*;
use seehear::net::NetError;
use seehear::separation::{Present, Separator, SeparatorConfig, SeparatorEngine, parse_manifest};
use seehear::time::{SampleRate, TimeDelta};
use std::collections::BTreeMap;

fn separator(mask: Mask, hz: u32, channels: usize, block: usize) -> Separator {
    let rate = SampleRate::new(hz).unwrap();
    Separator::new(&engine(), &Masks(mask), SeparatorConfig { rate, channels, objects: 4, block }).unwrap()
}

/// Who is there at a time, with what embedding.
type There<'a> = &'a dyn Fn(TimeDelta) -> Vec<(u32, [f32; DIM])>;

/// Everybody's whole track, with silence where nothing came.
fn tracks(
    s: &mut Separator,
    sound: &[f32],
    channels: usize,
    cuts: &[usize],
    there: There<'_>,
) -> BTreeMap<u32, Vec<f32>> {
    let mut out: BTreeMap<u32, Vec<f32>> = BTreeMap::new();
    let mut rest = sound;
    let mut cuts = cuts.iter().cycle();
    let mut ended = false;
    while !ended {
        let n = (cuts.next().unwrap() * channels).min(rest.len());
        let (mut piece, later) = rest.split_at(n);
        rest = later;
        if n == 0 && rest.is_empty() {
            s.end();
            ended = true;
        }
        loop {
            piece = &piece[s.push(piece)..];
            let Some(at) = s.due() else { break };
            let all = there(at);
            let present: Vec<_> = all.iter().map(|(id, e)| Present { id: *id, embedding: e }).collect();
            s.step(&present).unwrap();
            while let Some(v) = s.pull() {
                let track = out.entry(v.id).or_insert_with(|| vec![0.0; sound.len()]);
                let at = v.start as usize * channels;
                track[at..at + v.samples.len()].copy_from_slice(v.samples);
            }
        }
    }
    out
}

fn noise(n: usize) -> Vec<f32> {
    (0..n).map(|i| ((i as u32).wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 24) as f32 - 0.5).collect()
}

fn sine(n: usize, hz: u32, tone: f64) -> Vec<f32> {
    (0..n).map(|i| 0.5 * (std::f64::consts::TAU * tone * i as f64 / f64::from(hz)).sin() as f32).collect()
}

fn worst(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

const ALWAYS: There<'static> = &|_| vec![(7, [0.5; DIM])];

#[test]
fn a_mask_of_one_gives_the_mixture_back_at_its_own_time_at_every_rate() {
    for hz in [16_000, 24_000, 32_000, 48_000, 96_000] {
        for channels in [1, 2] {
            for block in [1, 25] {
                // A length that ends within a hop.
                let sound = noise((hz as usize / 2 + 77) * channels);
                let out = tracks(&mut separator(Mask::One, hz, channels, block), &sound, channels, &[1_000], ALWAYS);
                assert_eq!(out.keys().copied().collect::<Vec<_>>(), [7]);
                // After the fade-in every sample is where it was.
                let faded = hz as usize / 1000 * 80 * channels;
                let off = worst(&out[&7][faded..], &sound[faded..]);
                assert!(off <= 2e-6, "{hz} Hz, {channels} channels, blocks of {block}: {off}");
            }
        }
    }
}

#[test]
fn a_mask_of_zero_gives_silence() {
    let sound = noise(48_000);
    let out = tracks(&mut separator(Mask::Zero, 48_000, 1, 25), &sound, 1, &[999], ALWAYS);
    assert!(out[&7].iter().all(|s| *s == 0.0));
}

#[test]
fn above_what_the_network_hears_counts_the_mean_of_its_top_band() {
    // The mask is 1 below 4 kHz and 0.25 above: so is what lies above 8 kHz.
    for (tone, gain) in [(1_000.0, 1.0), (6_000.0, 0.25), (12_000.0, 0.25)] {
        let sound = sine(48_000, 48_000, tone);
        let out = tracks(&mut separator(Mask::Halves, 48_000, 1, 25), &sound, 1, &[4_800], ALWAYS);
        let want: Vec<f32> = sound.iter().map(|s| gain * s).collect();
        let off = worst(&out[&7][9_600..43_200], &want[9_600..43_200]);
        assert!(off <= 2e-3, "{tone} Hz: {off}");
    }
}

#[test]
fn both_channels_keep_their_place() {
    let mono = sine(16_000, 16_000, 440.0);
    let sound: Vec<f32> = mono.iter().flat_map(|s| [*s, -0.25 * s]).collect();
    let out = tracks(&mut separator(Mask::One, 16_000, 2, 1), &sound, 2, &[160], ALWAYS);
    assert!(worst(&out[&7][4_000..], &sound[4_000..]) <= 2e-6);
}

#[test]
fn who_comes_and_goes_is_faded_and_makes_no_click() {
    let sound = sine(32_000, 16_000, 200.0);
    let step = sound.windows(2).map(|w| (w[1] - w[0]).abs()).fold(0.0, f32::max);
    let there = |at: TimeDelta| {
        let ms = at.as_ms_f64();
        if (500.0..900.0).contains(&ms) || (1_000.0..1_500.0).contains(&ms) { vec![(1, [1.0; DIM])] } else { vec![] }
    };
    for block in [1, 25] {
        let out = tracks(&mut separator(Mask::One, 16_000, 1, block), &sound, 1, &[1_600], &there);
        let jump = out[&1].windows(2).map(|w| (w[1] - w[0]).abs()).fold(0.0, f32::max);
        // A fade of 64 ms adds next to nothing to the steepest slope of the sine itself; a cut would add 0.5.
        assert!(jump <= 1.1 * step, "{jump} after {step}");
        let at = |ms: usize| out[&1][ms * 16..(ms + 20) * 16].iter().fold(0.0_f32, |m, s| m.max(s.abs()));
        assert!(at(400) == 0.0 && at(600) > 0.49 && at(1_600) == 0.0, "{} {} {}", at(400), at(600), at(1_600));
    }
}

#[test]
fn one_hop_at_a_time_equals_blocks() {
    let sound = noise(40_000);
    let there = |at: TimeDelta| {
        let e = (at.as_ms_f64() / 40.0).floor() as f32 * 0.1;
        vec![(1, [e.sin(); DIM]), (2, [e.cos(); DIM])]
    };
    let one = tracks(&mut separator(Mask::Memory, 16_000, 1, 1), &sound, 1, &[256], &there);
    let many = tracks(&mut separator(Mask::Memory, 16_000, 1, 25), &sound, 1, &[256], &there);
    assert!(worst(&one[&1], &many[&1]) <= 1e-6 && worst(&one[&2], &many[&2]) <= 1e-6);
    // And the network's answer depends on whom it looks at.
    assert!(worst(&one[&1], &one[&2]) > 0.05);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn pieces_do_not_matter(cuts in prop::collection::vec(1_usize..3_000, 1..20), block in 1_usize..30, stereo: bool) {
        let channels = 1 + usize::from(stereo);
        let sound = noise(20_011 * channels);
        let there = |at: TimeDelta| {
            let e = (at.as_ms_f64() / 40.0).floor() as f32 * 0.1;
            let mut all = vec![(1, [e.sin(); DIM])];
            if (300.0..700.0).contains(&at.as_ms_f64()) {
                all.push((2, [e.cos(); DIM]));
            }
            all
        };
        let whole = tracks(&mut separator(Mask::Memory, 16_000, channels, block), &sound, channels, &[20_011], &there);
        let pieces = tracks(&mut separator(Mask::Memory, 16_000, channels, block), &sound, channels, &cuts, &there);
        prop_assert_eq!(whole, pieces);
    }
}

#[test]
fn latency_is_a_window_and_what_a_block_waits_for() {
    let s = |hz, block| separator(Mask::One, hz, 1, block).latency();
    assert_eq!(s(16_000, 1), TimeDelta::from_ms(32));
    assert_eq!(s(48_000, 1), TimeDelta::from_ms(32));
    assert_eq!(s(48_000, 25), TimeDelta::from_ms(32 + 24 * 16));
    // As measured: the first sample comes out with the hop that ends 32 ms after it.
    let mut one = separator(Mask::One, 16_000, 1, 1);
    let mut pushed = 0;
    'out: loop {
        pushed += one.push(&[0.5]);
        while one.due().is_some() {
            one.step(&[Present { id: 1, embedding: &[1.0; DIM] }]).unwrap();
            if let Some(v) = one.pull() {
                assert_eq!((v.start, v.samples.len()), (0, 256));
                break 'out;
            }
        }
    }
    assert_eq!(pushed, 512);
}

#[test]
fn after_a_reset_everything_begins_again_and_who_finds_no_room_is_counted() {
    let sound = noise(8_000);
    let mut s = separator(Mask::Memory, 16_000, 1, 5);
    let first = tracks(&mut s, &sound, 1, &[500], ALWAYS);
    s.reset();
    assert_eq!(tracks(&mut s, &sound, 1, &[700], ALWAYS), first);
    assert_eq!(s.turned_away(), 0);
    s.reset();
    let crowd = |_| (0..5).map(|id| (id, [0.1; DIM])).collect();
    assert_eq!(tracks(&mut s, &sound, 1, &[500], &crowd).len(), 4);
    assert!(s.turned_away() > 0);
}

#[test]
fn what_does_not_fit_is_refused_in_words() {
    let new = |hz, channels| {
        let rate = SampleRate::new(hz).unwrap();
        Separator::new(&engine(), &Masks(Mask::One), SeparatorConfig { rate, channels, objects: 4, block: 1 })
    };
    let error = new(44_100, 1).unwrap_err();
    assert!(matches!(error, NetError::Unfit { .. }) && error.to_string().contains("44100 Hz"), "{error}");
    assert!(new(16_000, 0).is_err());
}

#[test]
fn a_bad_manifest_says_what_is_wrong() {
    let good = common::separator::manifest("0".repeat(64).as_str());
    parse_manifest(&good).unwrap();
    for (from, to, why) in [
        ("schema = 1", "schema = 2", "schema = 2 is not known"),
        ("kind = \"separation\"", "kind = \"sync\"", "no separator"),
        ("hop = 256", "hop = 128", "hop = 128"),
        ("rate = 16000", "rate = 8000", "rate = 8000"),
        ("state = 4", "state = 0", "state = 0 is out of range"),
        ("dim = 3", "dim = 0", "dim = 0 is out of range"),
        ("file = \"n\"", "file = \"../n\"", "beside the manifest"),
        ("hop = 256", "hop = 256\nspeed = 3", "unknown field"),
        ("mask = \"mask\"", "", "missing field `mask`"),
    ] {
        let error = parse_manifest(&good.replace(from, to)).unwrap_err();
        assert!(error.contains(why), "{to}: {error}");
    }
    let error = parse_manifest("schema = 1\n[video]\nfile = \"v\"").unwrap_err();
    assert!(error.contains("--engine"), "{error}");
    let error = seehear::net::parse_manifest(&good).unwrap_err();
    assert!(error.contains("--separator"), "{error}");
    // A network that was changed after its manifest was written.
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("n"), "another").unwrap();
    std::fs::write(dir.path().join("s.toml"), good).unwrap();
    let error = SeparatorEngine::load(&dir.path().join("s.toml")).unwrap_err();
    assert!(matches!(error, NetError::Hash { .. }), "{error}");
    let error = SeparatorEngine::load(&dir.path().join("none.toml")).unwrap_err();
    assert!(matches!(error, NetError::Read { .. }) && error.to_string().contains("none.toml"), "{error}");
}
