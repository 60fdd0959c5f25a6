//! After warm-up a run allocates nothing from Rust's heap: the loop in the core promises as much to the camera.
//!
//! One test in this binary, so that nobody else allocates while it counts.

mod common;

use common::{audio_specs, engine_file, golden_input, video_specs};
use seehear::net::Backend;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts what is asked of the heap, by any thread, and passes it on.
struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: Every call goes to the system's allocator unchanged; counting touches no memory of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: The caller's promise about `layout` is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: `ptr` came from `System` with this layout, as all of ours do.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: The caller's promise about `layout` is passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: `ptr` came from `System` with this layout, as all of ours do; the size is the caller's promise.
        unsafe { System.realloc(ptr, layout, new_size) }
    }
}

#[global_allocator]
static HEAP: Counting = Counting;

#[test]
fn a_run_allocates_nothing() {
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    drop(std::hint::black_box(Box::new(1)));
    assert!(ALLOCATIONS.load(Ordering::Relaxed) > before, "the counter does not count");

    for threads in [1, 2] {
        let backend = common::onnx_runtime(threads);
        let nets = [("av-small.video.onnx", video_specs(192, 336)), ("av-small.audio.onnx", audio_specs())];
        for (file, (input, output)) in nets {
            let data = golden_input(input.len(), 1.0);
            let mut got = vec![0.0; output.len()];
            let mut net = backend.load(&engine_file(file), &[input], &[output]).unwrap();
            // No run of ours first: `load` is the warm-up.
            for run in 0..20 {
                let before = ALLOCATIONS.load(Ordering::Relaxed);
                net.run(&[&data], &mut [&mut got]).unwrap();
                let count = ALLOCATIONS.load(Ordering::Relaxed) - before;
                assert_eq!(count, 0, "{file}, {threads} threads, run {run}");
            }
        }
    }
}
