//! The element `seehear` in pipelines of its own: what goes in comes out, and what it says.

#![allow(clippy::unwrap_used, clippy::float_cmp, clippy::cast_possible_truncation, reason = "a test")]

use gst::prelude::*;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

fn repo(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path).canonicalize().unwrap()
}

/// `seehear` with the checkout's engine and library.
fn seehear(more: &str) -> String {
    format!(
        "seehear name=s engine={} onnxruntime={} {more}",
        repo("engines/av-small-int8.toml").display(),
        repo(".deps/onnxruntime/libonnxruntime.so").display()
    )
}

fn pipeline(text: &str) -> gst::Pipeline {
    gstseehear::init().unwrap();
    gst::parse::launch(text).unwrap().downcast().unwrap()
}

fn demo() -> String {
    repo("tests/media/demo.mp4").display().to_string()
}

/// Test streams of so many pictures; 25 a second, with as much sound.
fn made(pictures: u32) -> String {
    format!(
        "videotestsrc num-buffers={pictures} pattern=ball ! video/x-raw,width=320,height=240,framerate=25/1 ! s.video_sink \
         audiotestsrc num-buffers={} samplesperbuffer=640 ! audio/x-raw,rate=16000,channels=1 ! s.audio_sink",
        pictures
    )
}

const SINKS: &str = "s.video_src ! fakesink name=v sync=false s.audio_src ! fakesink name=a sync=false";

/// Plays to the end; counts the messages by name.
fn play(pipeline: &gst::Pipeline) -> BTreeMap<String, usize> {
    pipeline.set_state(gst::State::Playing).unwrap();
    let counts = until_eos(pipeline);
    pipeline.set_state(gst::State::Null).unwrap();
    counts
}

fn until_eos(pipeline: &gst::Pipeline) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    let bus = pipeline.bus().unwrap();
    loop {
        let message = bus.timed_pop(gst::ClockTime::from_seconds(300)).expect("the end within five minutes of silence");
        match message.view() {
            gst::MessageView::Eos(_) => return counts,
            gst::MessageView::Error(e) => panic!("{} ({:?})", e.error(), e.debug()),
            gst::MessageView::Warning(w) => {
                *counts.entry(format!("warning: {}", w.error())).or_default() += 1;
            }
            gst::MessageView::Element(e) => {
                let name = e.structure().map_or("", |s| s.name().as_str()).to_owned();
                *counts.entry(name).or_default() += 1;
            }
            _ => {}
        }
    }
}

/// Counts the buffers at an element's sink pad.
fn counted(pipeline: &gst::Pipeline, name: &str) -> std::sync::Arc<std::sync::atomic::AtomicUsize> {
    let count = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let inner = std::sync::Arc::clone(&count);
    let pad = pipeline.by_name(name).unwrap().static_pad("sink").unwrap();
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
        inner.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        gst::PadProbeReturn::Ok
    });
    count
}

fn count(of: &std::sync::Arc<std::sync::atomic::AtomicUsize>) -> usize {
    of.load(std::sync::atomic::Ordering::Relaxed)
}

#[test]
fn the_demo_is_told_in_messages_and_metas_and_every_picture_goes_on() {
    let p = pipeline(&format!(
        "{} filesrc location={} ! decodebin name=d d. ! queue ! s.video_sink d. ! queue ! s.audio_sink {SINKS}",
        seehear(""),
        demo()
    ));
    let pictures = counted(&p, "v");
    let speakers = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let found = std::sync::Arc::clone(&speakers);
    p.by_name("v").unwrap().static_pad("sink").unwrap().add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        for meta in info.buffer().unwrap().iter_meta::<gst_video::VideoRegionOfInterestMeta>() {
            let params = meta.params().next().unwrap();
            assert!(params.get::<u32>("id").unwrap() > 0 && params.get::<f32>("score").is_ok());
            let speaks = params.get::<bool>("speaking").unwrap();
            assert_eq!(meta.roi_type() == "speaker", speaks);
            found.fetch_add(usize::from(speaks), std::sync::atomic::Ordering::Relaxed);
        }
        gst::PadProbeReturn::Ok
    });
    p.set_state(gst::State::Playing).unwrap();
    let counts = until_eos(&p);
    let s = p.by_name("s").unwrap();
    assert_eq!((counts["seehear-header"], counts["seehear-frame"], counts["seehear-summary"]), (1, 500, 1));
    assert_eq!(count(&pictures), 500);
    assert!(count(&speakers) > 200, "{} of 500", count(&speakers));
    assert!(s.property::<f64>("offset-ms").abs() < 40.0 && s.property::<f32>("offset-confidence") > 0.5);
    assert_eq!((s.property::<f64>("latency-ms"), s.property::<u64>("dropped")), (200.0, 0));
    p.set_state(gst::State::Null).unwrap();
}

#[test]
fn a_mask_hides_and_messages_can_be_left_out() {
    let p = pipeline(&format!(
        "{} filesrc location={} ! decodebin name=d d. ! queue ! s.video_sink d. ! queue ! s.audio_sink {SINKS}",
        seehear("messages=false overlay=false mask=0,0,1280,720"),
        demo()
    ));
    let metas = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let found = std::sync::Arc::clone(&metas);
    p.by_name("v").unwrap().static_pad("sink").unwrap().add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let n = info.buffer().unwrap().iter_meta::<gst_video::VideoRegionOfInterestMeta>().count();
        found.fetch_add(n, std::sync::atomic::Ordering::Relaxed);
        gst::PadProbeReturn::Ok
    });
    let counts = play(&p);
    assert_eq!((counts.get("seehear-frame"), counts["seehear-summary"]), (None, 1));
    assert_eq!(count(&metas), 0);
}

#[test]
fn a_seek_after_the_end_begins_again() {
    let p = pipeline(&format!(
        "{} filesrc location={} ! decodebin name=d d. ! queue ! s.video_sink d. ! queue ! s.audio_sink {SINKS}",
        seehear(""),
        demo()
    ));
    p.set_state(gst::State::Playing).unwrap();
    let whole = until_eos(&p)["seehear-frame"];
    for from in [10_u64, 15] {
        p.seek_simple(gst::SeekFlags::FLUSH | gst::SeekFlags::ACCURATE, gst::ClockTime::from_seconds(from)).unwrap();
        let rest = until_eos(&p);
        let want = whole - from as usize * 25;
        assert!(rest["seehear-frame"].abs_diff(want) <= 2, "{} slots after a seek to {from} s", rest["seehear-frame"]);
        assert_eq!((rest["seehear-header"], rest["seehear-summary"]), (1, 1));
    }
    p.set_state(gst::State::Null).unwrap();
}

#[test]
fn caps_may_change_and_one_stream_alone_passes() {
    let p = pipeline(&format!("{} {} {SINKS}", seehear("backend=auto"), made(50)));
    let pictures = counted(&p, "v");
    assert_eq!(play(&p)["seehear-frame"], 50);
    assert_eq!(count(&pictures), 50);

    let p = pipeline(&format!(
        "{} concat name=c ! s.video_sink \
         videotestsrc num-buffers=50 ! video/x-raw,width=320,height=240,framerate=25/1 ! c. \
         videotestsrc num-buffers=50 ! video/x-raw,width=480,height=270,framerate=25/1 ! c. \
         audiotestsrc num-buffers=100 samplesperbuffer=640 ! audio/x-raw,rate=16000,channels=1 ! s.audio_sink {SINKS}",
        seehear("")
    ));
    let pictures = counted(&p, "v");
    let frames = play(&p)["seehear-frame"];
    assert!((98..=100).contains(&frames), "{frames}");
    assert_eq!(count(&pictures), 100);

    for (text, sink) in [
        ("videotestsrc num-buffers=30 ! video/x-raw,framerate=25/1 ! s.video_sink s.video_src ! fakesink name=v", "v"),
        ("audiotestsrc num-buffers=30 ! audio/x-raw,rate=16000 ! s.audio_sink s.audio_src ! fakesink name=a", "a"),
    ] {
        let p = pipeline(&format!("{} {text}", seehear("")));
        let passed = counted(&p, sink);
        let said = play(&p);
        assert!(said.keys().any(|k| k.starts_with("warning")), "{said:?}");
        assert_eq!(count(&passed), 30, "{sink}");
    }
}

#[test]
fn live_latency_is_told_and_wrong_settings_are_errors() {
    let p = pipeline(&format!(
        "{} videotestsrc is-live=true ! video/x-raw,width=320,height=240,framerate=25/1 ! s.video_sink \
         audiotestsrc is-live=true ! audio/x-raw,rate=16000,channels=1 ! s.audio_sink \
         s.video_src ! fakesink name=v sync=true s.audio_src ! fakesink name=a sync=true",
        seehear("live=true sync=correct")
    ));
    p.set_state(gst::State::Playing).unwrap();
    assert_eq!(p.state(gst::ClockTime::from_seconds(10)).1, gst::State::Playing);
    std::thread::sleep(Duration::from_secs(2));
    let mut query = gst::query::Latency::new();
    assert!(p.query(&mut query));
    let (live, least, _) = query.result();
    // 200 ms algorithmic, 120 ms of patience, a picture of the source.
    assert!(live && (320..=480).contains(&least.mseconds()), "{live} {least}");
    p.set_state(gst::State::Null).unwrap();

    for (settings, why) in [
        ("engine=nowhere", "above the present folder or the plugin"),
        ("mask=1,2,3", "no x,y,width,height"),
        ("sync=correct", "needs live=true"),
        ("backend=abacus", "abacus"),
        ("frame-speaker=7x7", "1280x720"),
    ] {
        let text = format!("{} {} {SINKS}", seehear(""), made(5));
        let p = pipeline(&text);
        let s = p.by_name("s").unwrap();
        let (name, value) = settings.split_once('=').unwrap();
        s.set_property_from_str(name, value);
        assert!(p.set_state(gst::State::Playing).is_err(), "{settings}");
        let bus = p.bus().unwrap();
        let message = bus.timed_pop_filtered(gst::ClockTime::from_seconds(5), &[gst::MessageType::Error]).unwrap();
        let gst::MessageView::Error(e) = message.view() else { panic!() };
        let said = format!("{} {:?}", e.error(), e.debug());
        assert!(said.contains(why), "{said}");
        p.set_state(gst::State::Null).unwrap();
    }
}
