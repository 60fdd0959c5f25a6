//! Single pictures for whoever looks while it runs: a dashboard.
//!
//! ```text
//! tee ─ (wanted?) ─ queue of one ─ scale ─ jpegenc ─ appsink ─▶ Tap
//! ```
//!
//! What nobody wants is dropped before the queue: it costs a question. The queue drops its oldest: a picture is looked at
//! now or never.

use super::graph::link;
use super::setup;
use crate::error::RunError;
use crate::output::{chain, make};
use crate::time::timestamp;
use gst::prelude::*;
use gst_app::{AppSink, AppSinkCallbacks};
use seehear::time::Timestamp;
use std::fmt::Debug;
use std::sync::Arc;

/// The longer side of a picture, pixels: a page shows no more, and JPEG takes time with the square of it.
const WIDTH: i32 = 960;
/// JPEG's quality, 0…100.
const QUALITY: i32 = 75;

/// Takes single pictures, clean: without what is drawn over them.
pub trait Tap: Debug + Send + Sync {
    /// Whether the next picture is wanted. Asked for every picture, on the source's thread: answers at once.
    fn wanted(&self) -> bool;

    /// A picture as JPEG, at most 960 pixels wide, and when it is shown (running time).
    fn take(&self, at: Timestamp, jpeg: &[u8]);
}

/// Lets `tap` look at what goes through `tee`.
///
/// # Errors
/// When an element is missing.
pub(super) fn attach(bin: &gst::Bin, tee: &gst::Element, tap: &Arc<dyn Tap>) -> Result<(), RunError> {
    let queue = crate::output::queue(gst::ClockTime::ZERO, 1)?;
    queue.set_property_from_str("leaky", "downstream");
    let asked = Arc::clone(tap);
    let entrance = queue.static_pad("sink").ok_or_else(|| setup("a queue without a sink pad"))?;
    entrance.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        if asked.wanted() {
            return gst::PadProbeReturn::Ok;
        }
        // Taken out here: with Drop the bindings and GStreamer would both let go of the buffer.
        info.data = None;
        gst::PadProbeReturn::Handled
    });
    let size = make("capsfilter")?;
    let caps = gst::Caps::builder("video/x-raw")
        .field("width", gst::IntRange::new(16, WIDTH))
        .field("pixel-aspect-ratio", gst::Fraction::new(1, 1))
        .build();
    size.set_property("caps", caps);
    let encoder = make("jpegenc")?;
    encoder.set_property("quality", QUALITY);
    let taker = Arc::clone(tap);
    let callbacks = AppSinkCallbacks::builder()
        .new_sample(move |sink| {
            let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
            let running = sample
                .segment()
                .and_then(|s| s.downcast_ref::<gst::ClockTime>())
                .zip(sample.buffer())
                .and_then(|(segment, buffer)| segment.to_running_time(buffer.pts()?));
            if let (Some(at), Some(Ok(jpeg))) = (running, sample.buffer().map(|b| b.map_readable())) {
                taker.take(timestamp(at), &jpeg);
            }
            Ok(gst::FlowSuccess::Ok)
        })
        .build();
    // Not async: a pipeline does not wait for a picture that nobody may ever want.
    let sink = AppSink::builder().sync(false).async_(false).enable_last_sample(false).callbacks(callbacks).build();
    chain(bin, &[&queue, &make("videoscale")?, &size, &make("videoconvert")?, &encoder, sink.upcast_ref()])?;
    link(tee, &queue)
}
