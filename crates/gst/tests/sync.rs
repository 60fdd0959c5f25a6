//! Live correction at its two places in the pipeline: what a picture and a stretch of sound look like behind them.

#![allow(
    clippy::unwrap_used,
    clippy::integer_division,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::float_cmp,
    reason = "tests compute with small known numbers"
)]

use gst::prelude::*;
use gst_check::Harness;
use gstseehear::sync::{SyncCurve, delay_picture, delay_sound};
use seehear::correct::SyncConfig;
use seehear::time::{TimeDelta, Timestamp};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const RATE: u64 = 48_000;
/// Frames of a sound buffer: 10 ms.
const BLOCK: u64 = 480;
const CAPS: &str = "audio/x-raw,format=F32LE,layout=interleaved,rate=48000,channels=2,channel-mask=(bitmask)0x3";

/// A correction that goes from none to `to_ms` with 10 ms/s and stays there, for `seconds` and what is asked ahead.
fn slewed(to_ms: f64, seconds: u64) -> Arc<SyncCurve> {
    let curve = SyncCurve::new(&SyncConfig::default(), TimeDelta::ZERO);
    for k in 0..(seconds * 25).min(250) as i64 {
        let ms = (k as f64 * 0.4).min(to_ms.abs()) * to_ms.signum();
        curve.post(Timestamp::from_ms(40 * k), TimeDelta::from_ns((ms * 1e6).round() as i64), false);
    }
    Arc::new(curve)
}

/// What [`slewed`] is at `t_ms` of a stream.
fn correction_ms(to_ms: f64, t_ms: f64) -> f64 {
    ((t_ms - 1_000.0).max(0.0) * 0.01).min(to_ms.abs()) * to_ms.signum()
}

/// An element that does nothing, behind or before which the correction stands.
fn harness(prepare: impl Fn(&gst::Element)) -> Harness {
    gstseehear::init().unwrap();
    let identity = gst::ElementFactory::make("identity").build().unwrap();
    prepare(&identity);
    Harness::with_element(&identity, Some("sink"), Some("src"))
}

fn pictures(curve: &Arc<SyncCurve>, left_out: &Arc<AtomicU64>) -> Harness {
    let mut h = harness(|e| delay_picture(&e.static_pad("src").unwrap(), curve, left_out));
    h.set_src_caps_str("video/x-raw,format=GRAY8,width=4,height=4,framerate=25/1");
    h
}

fn sounds(curve: &Arc<SyncCurve>) -> Harness {
    let mut h = harness(|e| delay_sound(&e.static_pad("sink").unwrap(), curve, TimeDelta::from_ms(500)));
    h.set_src_caps_str(CAPS);
    h
}

fn picture(ms: u64) -> gst::Buffer {
    let mut b = gst::Buffer::from_mut_slice(vec![7_u8; 16]);
    let m = b.get_mut().unwrap();
    m.set_pts(gst::ClockTime::from_mseconds(ms));
    m.set_dts(gst::ClockTime::from_mseconds(ms));
    b
}

fn at_frame(n: u64) -> gst::ClockTime {
    gst::ClockTime::from_nseconds((n * 1_000_000_000 + RATE / 2) / RATE)
}

/// The sound at a time, left and right.
fn wave(t_ms: f64) -> [f32; 2] {
    let sine = |hz: f64| if t_ms < 0.0 { 0.0 } else { 0.4 * (std::f64::consts::TAU * hz * t_ms / 1e3).sin() };
    [sine(440.0) as f32, sine(3_100.0) as f32]
}

/// Block `k` of it.
fn block(k: u64) -> gst::Buffer {
    let frames = (k * BLOCK..(k + 1) * BLOCK).flat_map(|n| wave(n as f64 / 48.0));
    let mut b = gst::Buffer::from_mut_slice(frames.flat_map(f32::to_le_bytes).collect::<Vec<u8>>());
    let m = b.get_mut().unwrap();
    m.set_pts(at_frame(k * BLOCK));
    m.set_duration(at_frame(BLOCK));
    b
}

fn samples(b: &gst::Buffer) -> Vec<f32> {
    let map = b.map_readable().unwrap();
    map.chunks_exact(4).map(|s| f32::from_le_bytes([s[0], s[1], s[2], s[3]])).collect()
}

fn largest_bend(x: &[f32]) -> f32 {
    // Left channel: the second differences of every other sample.
    x.windows(5).step_by(2).map(|w| (w[0] - 2.0 * w[2] + w[4]).abs()).fold(0.0, f32::max)
}

#[test]
fn late_sound_moves_the_picture_s_stamps_and_early_sound_leaves_them() {
    for to_ms in [60.0, -60.0] {
        let (curve, left_out) = (slewed(to_ms, 10), Arc::default());
        let mut h = pictures(&curve, &left_out);
        let mut last = None;
        for k in 0..250 {
            let out = h.push_and_pull(picture(40 * k)).unwrap();
            let want = 40.0 * k as f64 + correction_ms(to_ms, 40.0 * k as f64).max(0.0);
            let got = out.pts().unwrap().nseconds() as f64 / 1e6;
            assert!((got - want).abs() < 1e-3, "picture {k} at {got} and not at {want} ms");
            assert_eq!(out.pts(), out.dts());
            assert!(last < out.pts());
            last = out.pts();
        }
        assert_eq!(left_out.load(Ordering::Relaxed), 0);
    }
}

#[test]
fn early_sound_is_delayed_under_its_stamps_without_a_click_and_late_sound_is_not_touched() {
    for to_ms in [-60.0, 60.0] {
        let mut h = sounds(&slewed(to_ms, 10));
        let (mut worst, mut all, mut plain) = (0.0_f32, Vec::new(), Vec::new());
        for k in 0..1_000 {
            let sent = block(k);
            let bytes = sent.map_readable().unwrap().to_vec();
            plain.extend(samples(&sent));
            let out = h.push_and_pull(sent).unwrap();
            assert_eq!((out.pts(), out.duration()), (Some(at_frame(k * BLOCK)), Some(at_frame(BLOCK))));
            if to_ms > 0.0 || k < 99 {
                assert_eq!(out.map_readable().unwrap().as_slice(), bytes, "touched without need");
            }
            for (n, pair) in samples(&out).chunks(2).enumerate() {
                let t_ms = (k * BLOCK + n as u64) as f64 / 48.0;
                // The line stands for the end of a frame: a sample later.
                let exact = wave(t_ms + correction_ms(to_ms, t_ms + 1.0 / 48.0).min(0.0));
                // Below 15 samples of delay the line's highest tones are not exact; the left one is low.
                worst = worst.max((pair[0] - exact[0]).abs());
                if correction_ms(to_ms, t_ms) < -1.0 {
                    worst = worst.max((pair[1] - exact[1]).abs());
                }
            }
            all.extend(samples(&out));
        }
        assert!(worst < 1e-3, "{worst} beside the delayed sound");
        let bend = largest_bend(&all) / largest_bend(&plain);
        assert!(bend < 1.03, "a click: {bend} times as bent as the source");
    }
}

#[test]
fn what_the_line_holds_is_given_at_the_end_and_in_holes() {
    let curve = SyncCurve::new(&SyncConfig::default(), TimeDelta::ZERO);
    curve.post(Timestamp::ZERO, TimeDelta::from_ms(-100), false);
    let mut h = sounds(&Arc::new(curve));
    let all = |h: &mut Harness| -> Vec<(u64, f32)> {
        std::iter::from_fn(|| h.try_pull())
            .flat_map(|b| {
                let first = (b.pts().unwrap().nseconds() as f64 * 48e-6).round() as u64;
                samples(&b).chunks(2).enumerate().map(|(n, p)| (first + n as u64, p[0])).collect::<Vec<_>>()
            })
            .collect()
    };
    for k in (0..50).chain(150..200) {
        assert_eq!(h.push(block(k)), Ok(gst::FlowSuccess::Ok));
    }
    assert!(h.push_event(gst::event::Gap::builder(at_frame(200 * BLOCK)).duration(at_frame(100 * BLOCK)).build()));
    for k in 300..350 {
        assert_eq!(h.push(block(k)), Ok(gst::FlowSuccess::Ok));
    }
    assert!(h.push_event(gst::event::Eos::new()));
    let got = all(&mut h);
    // Three stretches of 0.5 s, each with the 0.1 s that was owed after it; the first 0.1 s of each are silence.
    assert_eq!(got.len() as u64, 3 * 60 * BLOCK);
    assert!(got.windows(2).all(|w| w[0].0 < w[1].0), "time stamps that go back");
    let sounding = |n: u64| {
        let block = n.checked_sub(10 * BLOCK)? / BLOCK;
        ((0..50).contains(&block) || (150..200).contains(&block) || (300..350).contains(&block)).then_some(())
    };
    for (n, x) in got {
        // Where the delay is faded in at the very beginning nothing is exact.
        if n < BLOCK {
            continue;
        }
        let want = sounding(n).map_or(0.0, |()| wave((n - 10 * BLOCK) as f64 / 48.0)[0]);
        assert!((x - want).abs() < 1e-4, "{x} and not {want} at frame {n}");
    }
    let gap = std::iter::from_fn(|| h.try_pull_event()).find(|e| e.type_() == gst::EventType::Gap).unwrap();
    let gst::EventView::Gap(gap) = gap.view() else { panic!() };
    assert_eq!(gap.get(), (at_frame(200 * BLOCK), Some(at_frame(100 * BLOCK))));
}

#[test]
fn a_step_is_taken_at_once_by_both_and_counted_where_it_costs_pictures() {
    let curve = Arc::new(SyncCurve::new(&SyncConfig::default(), TimeDelta::ZERO));
    for k in 0..50 {
        curve.post(Timestamp::from_ms(40 * k), TimeDelta::from_ms(if k < 25 { 200 } else { -200 }), k == 25);
    }
    let left_out = Arc::default();
    let (mut h, mut s) = (pictures(&curve, &left_out), sounds(&curve));
    let mut out = Vec::new();
    for k in 0..60 {
        assert_eq!(h.push(picture(40 * k)), Ok(gst::FlowSuccess::Ok));
        out.extend(std::iter::from_fn(|| h.try_pull()).map(|b| b.pts().unwrap().mseconds()));
    }
    // From 1.96 s on (a slot's slope before 1 s, and the lag) none; the last went at 1.92 + 0.2 s.
    let want: Vec<u64> = (0..49).map(|k| 40 * k + 200).chain((54..60).map(|k| 40 * k)).collect();
    assert_eq!(out, want);
    assert_eq!(left_out.load(Ordering::Relaxed), 5);
    let mut heard = Vec::new();
    for k in 0..240 {
        heard.extend(samples(&s.push_and_pull(block(k)).unwrap()));
    }
    let right = |k: u64| wave(k as f64 / 48.0 - 200.0)[0] - heard[2 * k as usize];
    assert!((100_000..115_000).all(|k| right(k).abs() < 1e-3));
    assert!(largest_bend(&heard) < 0.01, "a click: {}", largest_bend(&heard));
}

#[test]
fn a_sink_s_quality_of_service_does_not_reach_what_stands_before() {
    let left_out = Arc::default();
    let mut h = pictures(&slewed(60.0, 10), &left_out);
    h.push_and_pull(picture(0)).unwrap();
    let diff = gst::ClockTime::from_mseconds(300);
    h.push_upstream_event(gst::event::Qos::new(gst::QOSType::Underflow, 2.0, 300_000_000, diff));
    let seen: Vec<_> = std::iter::from_fn(|| h.try_pull_upstream_event()).map(|e| e.type_()).collect();
    assert!(!seen.contains(&gst::EventType::Qos), "{seen:?}");
}

#[test]
fn gaps_of_the_picture_are_moved_like_pictures() {
    let curve = SyncCurve::new(&SyncConfig::default(), TimeDelta::ZERO);
    curve.post(Timestamp::ZERO, TimeDelta::from_ms(100), false);
    let left_out = Arc::default();
    let mut h = pictures(&Arc::new(curve), &left_out);
    h.push_and_pull(picture(0)).unwrap();
    let ms = gst::ClockTime::from_mseconds;
    assert!(h.push_event(gst::event::Gap::builder(ms(40)).duration(ms(80)).build()));
    let gap = std::iter::from_fn(|| h.try_pull_event()).find(|e| e.type_() == gst::EventType::Gap).unwrap();
    let gst::EventView::Gap(gap) = gap.view() else { panic!() };
    assert_eq!(gap.get(), (ms(140), Some(ms(80))));
}

#[test]
fn sound_that_no_line_can_take_is_an_error() {
    let curve = slewed(-60.0, 1);
    gstseehear::init().unwrap();
    let identity = gst::ElementFactory::make("identity").build().unwrap();
    let bus = gst::Bus::new();
    identity.set_bus(Some(&bus));
    delay_sound(&identity.static_pad("sink").unwrap(), &curve, TimeDelta::from_ms(60_000));
    let mut h = Harness::with_element(&identity, Some("sink"), Some("src"));
    identity.set_bus(Some(&bus));
    h.set_src_caps_str(CAPS);
    let message = bus.pop_filtered(&[gst::MessageType::Error]).unwrap();
    let gst::MessageView::Error(e) = message.view() else { panic!() };
    assert!(e.debug().unwrap().contains("the sound can't be delayed"), "{e:?}");
}
