//! The steady loop allocates nothing: pushing frames and sound, all stages, and writing events; nor does the flow.
//!
//! The networks here are the tests' own; `crates/nets/tests/allocations.rs` shows the same of the real ones.

#![allow(
    unsafe_code,
    clippy::unwrap_used,
    clippy::integer_division,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::float_cmp,
    reason = "a counting allocator"
)]

mod common;

use common::{Clip, session};
use seehear::audio::AudioWindow;
use seehear::events::EventWriter;
use seehear::flow::{Flow, FlowConfig};
use seehear::time::Timestamp;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator unchanged; counting touches a thread-local integer only.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: the caller's contract is the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from `alloc` above, so from the system allocator.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn the_steady_loop_allocates_nothing() {
    let clip = Clip::new(5, 40, (30, 1));
    let mut s = session(None);
    // A writer that keeps nothing, as a file's is flushed away.
    let mut events = EventWriter::new(std::io::sink());
    let (mut frames, mut told, mut objects, mut after_start) = (clip.frames.into_iter().peekable(), 0, 0, 0);
    for (k, chunk) in (0_i64..).zip(clip.sound.chunks(480)) {
        let start = Timestamp::from_ms(30 * k);
        let before = COUNT.get();
        while let Some(frame) = frames.next_if(|f| f.pts <= start) {
            s.push_frame(frame);
        }
        s.push_audio(AudioWindow { start, samples: chunk, discont: false });
        while let Some(report) = s.pull().unwrap() {
            events.report(&report).unwrap();
            told += 1;
            objects += report.speakers.len();
        }
        if start > Timestamp::from_ms(2_000) {
            after_start += COUNT.get() - before;
        }
    }
    assert!(told > 990 && objects > 0, "{told} slots, {objects} objects");
    assert_eq!(after_start, 0, "allocations in {told} slots");
}

#[test]
fn flow_allocates_nothing_after_its_construction() {
    let pictures: Vec<Vec<u8>> =
        (0..3).map(|k| (0..160 * 90).map(|i| (i * 7 + i / 160 * 13 + k * 5) as u8).collect()).collect();
    let mut flow = Flow::new(160, 90, &FlowConfig { check: true, ..FlowConfig::default() });
    let before = COUNT.get();
    for picture in &pictures {
        flow.push(picture).unwrap();
    }
    let allocated = COUNT.get() - before;
    assert!(flow.field().is_some() && flow.validity().is_some());
    assert_eq!(allocated, 0);
}

#[test]
fn separation_allocates_nothing_while_objects_come_and_go() {
    use common::separator::{DIM, Mask, Masks, engine};
    use seehear::separation::{Present, Separator, SeparatorConfig};
    use seehear::time::SampleRate;
    let rate = SampleRate::new(48_000).unwrap();
    for block in [1, 25] {
        let config = SeparatorConfig { rate, channels: 2, objects: 4, block };
        let mut s = Separator::new(&engine(), &Masks(Mask::Memory), config).unwrap();
        let (sound, mut told, before) = ([0.25; 960], 0, COUNT.get());
        for k in 0..1_000_u32 {
            let mut rest = &sound[..];
            while !rest.is_empty() {
                rest = &rest[s.push(rest)..];
                if s.due().is_some() {
                    // A new one every second, and one who stays.
                    let there = [1, 2 + k / 100].map(|id| Present { id, embedding: &[0.5; DIM] });
                    s.step(&there).unwrap();
                    while let Some(voice) = s.pull() {
                        told += voice.samples.len();
                    }
                }
            }
        }
        let allocated = COUNT.get() - before;
        assert!(told > 1_000 * 960, "{told}");
        assert_eq!(allocated, 0, "in {told} samples");
    }
}
