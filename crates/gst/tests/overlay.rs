//! `seehearoverlay` in a harness: what it draws, what it leaves alone, and what it says of its latency.

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

use gst_check::Harness;
use gstseehear::board::Board;
use gstseehear::overlay::SeehearOverlay;
use seehear::asd::{Speaker, Voice};
use seehear::attention::AttentionMap;
use seehear::av_object::{AvObject, TrackState};
use seehear::geometry::{MapGeometry, PxRect};
use seehear::session::{Report, Seen};
use seehear::time::{TimeDelta, Timestamp};
use std::sync::Arc;

const W: usize = 320;
const H: usize = 240;

fn board(heat: bool, speaking: bool, logit: f32) -> Arc<Board> {
    let board = Board::new(heat);
    let rect = PxRect::from_edges(80.0, 60.0, 240.0, 180.0);
    let start = Timestamp::from_ms(0);
    let object = AvObject { id: 3, rect, logit: 2.0, state: TrackState::Confirmed, last_peak: start };
    let speakers = [Speaker { object, probability: 0.9, speaking, has_spoken: true }];
    let geometry = MapGeometry { cols: 2, rows: 1, width: 320, height: 240 };
    let logits = [logit, -1.0];
    for k in 0..3 {
        let start = Timestamp::from_ms(40 * k);
        let map = AttentionMap { start, logits: &logits, geometry };
        board.post(&Report {
            start,
            speakers: &speakers,
            voice: Voice::OnScreen,
            offset: None,
            correction: None,
            map,
            seen: Seen { embeddings: &[], cut: false },
            stretch: None,
        });
    }
    board.finish();
    Arc::new(board)
}

fn harness(board: &Arc<Board>, patience: Option<TimeDelta>) -> Harness {
    gstseehear::init().unwrap();
    let overlay = SeehearOverlay::with_board(Arc::clone(board), patience);
    let mut h = Harness::with_element(&overlay, Some("sink"), Some("src"));
    h.set_src_caps_str("video/x-raw,format=I420,width=320,height=240,framerate=25/1");
    h
}

fn grey(pts_ms: u64) -> gst::Buffer {
    let mut b = gst::Buffer::from_slice(vec![100_u8; W * H * 3 / 2]);
    let m = b.get_mut().unwrap();
    m.set_pts(gst::ClockTime::from_mseconds(pts_ms));
    m.set_duration(gst::ClockTime::from_mseconds(40));
    b
}

fn changed(b: &gst::Buffer, x: std::ops::Range<usize>, y: std::ops::Range<usize>) -> usize {
    let map = b.map_readable().unwrap();
    y.flat_map(|y| x.clone().map(move |x| y * W + x)).filter(|&i| map[i] != 100).count()
}

#[test]
fn a_speaker_is_framed_and_the_rest_left_alone() {
    for (speaking, least) in [(true, 1500), (false, 400)] {
        let mut h = harness(&board(false, speaking, 0.0), None);
        let out = h.push_and_pull(grey(40)).unwrap();
        assert_eq!(out.pts(), Some(gst::ClockTime::from_mseconds(40)));
        assert!(changed(&out, 80..240, 60..180) > least, "{}", changed(&out, 80..240, 60..180));
        assert_eq!(changed(&out, 0..79, 0..H) + changed(&out, 241..W, 0..H), 0, "drawn outside its box");
        // The face in the middle is left free, the badge is at the top left.
        assert_eq!(changed(&out, 130..200, 110..160), 0);
    }
}

#[test]
fn the_heat_is_where_the_picture_agrees_with_the_sound() {
    let mut h = harness(&board(true, false, 3.0), None);
    let out = h.push_and_pull(grey(0)).unwrap();
    assert!(changed(&out, 0..60, 0..H) > 10_000);
    let map = out.map_readable().unwrap();
    let line: Vec<u8> = (0..W).step_by(20).map(|x| map[120 * W + x]).collect();
    assert_eq!(changed(&out, 290..W, 0..H), 0, "{line:?}");
}

#[test]
fn without_results_the_picture_passes_and_is_counted_live() {
    let empty = Arc::new(Board::new(false));
    let overlay = SeehearOverlay::with_board(Arc::clone(&empty), Some(TimeDelta::from_ms(0)));
    gstseehear::init().unwrap();
    let mut h = Harness::with_element(&overlay, Some("sink"), Some("src"));
    h.set_src_caps_str("video/x-raw,format=NV12,width=320,height=240,framerate=25/1");
    // The harness runs on a test clock: a picture 10 s old has no patience left.
    h.set_time(gst::ClockTime::from_seconds(10)).unwrap();
    let out = h.push_and_pull(grey(0)).unwrap();
    assert_eq!(changed(&out, 0..W, 0..H), 0);
    assert_eq!(overlay.undrawn(), 1);
}

#[test]
fn waiting_is_told_as_latency_on_a_live_pipeline_only() {
    for (patience, extra) in [(Some(TimeDelta::from_ms(360)), 360), (None, 0)] {
        let mut h = harness(&board(false, true, 0.0), patience);
        h.set_upstream_latency(gst::ClockTime::from_mseconds(20));
        h.push_and_pull(grey(0)).unwrap();
        assert_eq!(h.query_latency(), Some(gst::ClockTime::from_mseconds(20 + extra)));
    }
}

#[test]
fn end_of_stream_flush_and_new_caps_pass_through() {
    let mut h = harness(&board(false, true, 0.0), None);
    h.push_and_pull(grey(0)).unwrap();
    assert!(h.push_event(gst::event::FlushStart::new()));
    assert!(h.push_event(gst::event::FlushStop::new(true)));
    h.set_src_caps_str("video/x-raw,format=Y444,width=320,height=240,framerate=50/1");
    let mut b = gst::Buffer::from_slice(vec![100_u8; W * H * 3]);
    b.get_mut().unwrap().set_pts(gst::ClockTime::from_mseconds(80));
    let out = h.push_and_pull(b).unwrap();
    assert!(changed(&out, 80..240, 60..180) > 1000, "drawn in the new format too");
    assert!(h.push_event(gst::event::Eos::new()));
    let mut eos = false;
    while let Some(e) = h.try_pull_event() {
        eos |= e.type_() == gst::EventType::Eos;
    }
    assert!(eos);
}
