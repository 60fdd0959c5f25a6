//! The way in: appsinks that put frames and sound, with their running times, into the inbox.

use super::Shared;
use crate::picture::GstPicture;
use gst::prelude::*;
use gst_app::{AppSink, AppSinkCallbacks};
use seehear::frame::Frame;
use seehear::session::SourceFormat;
use seehear::time::{TimeDelta, Timestamp};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A frame with the format it has.
#[derive(Debug)]
pub(super) struct VideoItem {
    pub(super) frame: Frame<GstPicture>,
    pub(super) format: SourceFormat,
}

/// Sound, or the news that there is none.
#[derive(Debug)]
pub(super) enum AudioItem {
    /// f32 little-endian, 16 kHz mono.
    Sound { start: Timestamp, discont: bool, buffer: gst::Buffer },
    /// The source says that there is no sound up to here.
    Gap { until: Timestamp },
}

fn timestamp(t: gst::ClockTime) -> Timestamp {
    Timestamp::from_ns(i64::try_from(t.nseconds()).unwrap_or(i64::MAX))
}

fn delta(t: gst::ClockTime) -> TimeDelta {
    TimeDelta::from_ns(i64::try_from(t.nseconds()).unwrap_or(i64::MAX))
}

/// Running time of a buffer; `None` for one without a time or outside its segment (an edit list cut it off).
fn running(sample: &gst::Sample) -> Option<Timestamp> {
    let segment = sample.segment()?.downcast_ref::<gst::ClockTime>()?;
    segment.to_running_time(sample.buffer()?.pts()?).map(timestamp)
}

/// Counts a buffer that the analysis can't take. One that lies outside its segment is not meant to be shown at all.
fn unusable(shared: &Shared, sample: &gst::Sample) -> gst::FlowSuccess {
    if running(sample).is_some() || sample.buffer().is_some_and(|b| b.pts().is_none()) {
        shared.unusable.fetch_add(1, Ordering::Relaxed);
    }
    gst::FlowSuccess::Ok
}

/// Remembers how far the file has been read.
fn note_reached(shared: &Shared, buffer: &gst::BufferRef) {
    let end = buffer.pts().map(|t| t + buffer.duration().unwrap_or_default());
    if let Some(end) = end.and_then(|t| i64::try_from(t.nseconds()).ok()) {
        shared.reached.fetch_max(end, Ordering::Relaxed);
    }
}

fn sink(caps: &gst::Caps, callbacks: AppSinkCallbacks) -> AppSink {
    // Not async: the pipeline starts at once, the analysis takes what comes. The inbox is the queue, not the sink.
    AppSink::builder().caps(caps).sync(false).async_(false).enable_last_sample(false).callbacks(callbacks).build()
}

/// The sink for frames.
pub(super) fn video_sink(shared: &Arc<Shared>) -> AppSink {
    let (into, end) = (Arc::clone(shared), Arc::clone(shared));
    let mut known: Option<(gst::Caps, gst_video::VideoInfo)> = None;
    let mut whole_before = false;
    let callbacks = AppSinkCallbacks::builder()
        .new_sample(move |sink| {
            let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
            let (Some(caps), Some(buffer)) = (sample.caps(), sample.buffer_owned()) else {
                return Ok(gst::FlowSuccess::Ok);
            };
            if known.as_ref().is_none_or(|(k, _)| k.as_ref() != caps) {
                let info = gst_video::VideoInfo::from_caps(caps).map_err(|_| gst::FlowError::NotNegotiated)?;
                known = Some((caps.to_owned(), info));
            }
            let Some((_, info)) = &known else { return Err(gst::FlowError::NotNegotiated) };
            let Some(pts) = running(&sample) else { return Ok(unusable(&into, &sample)) };
            // A recording cut out of a stream begins with pictures that lack their references: no damage.
            let corrupt = buffer.flags().contains(gst::BufferFlags::CORRUPTED);
            whole_before |= !corrupt;
            if corrupt && whole_before && into.corrupt.fetch_add(1, Ordering::Relaxed) == 0 {
                into.corrupt_at.store(pts.ns(), Ordering::Relaxed);
            }
            note_reached(&into, &buffer);
            let duration = buffer.duration().map(delta);
            let Some(picture) = GstPicture::map(buffer, info) else { return Ok(unusable(&into, &sample)) };
            let par = info.par();
            let format = SourceFormat {
                width: info.width(),
                height: info.height(),
                pixel_aspect: f64::from(par.numer()) / f64::from(par.denom().max(1)),
            };
            let item = VideoItem { frame: Frame { pts, duration, picture }, format };
            into.inbox.push_video(item).map_err(|_| gst::FlowError::Eos)?;
            Ok(gst::FlowSuccess::Ok)
        })
        .eos(move |_| end.inbox.end_video())
        .build();
    sink(&crate::picture::analysis_caps(), callbacks)
}

/// The sink for sound.
pub(super) fn audio_sink(shared: &Arc<Shared>) -> AppSink {
    let (into, gap, end) = (Arc::clone(shared), Arc::clone(shared), Arc::clone(shared));
    let caps = gst::Caps::builder("audio/x-raw")
        .field("format", "F32LE")
        .field("rate", 16_000_i32)
        .field("channels", 1_i32)
        .field("layout", "interleaved")
        .build();
    let callbacks = AppSinkCallbacks::builder()
        .new_sample(move |sink| {
            let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
            let Some(buffer) = sample.buffer_owned() else { return Ok(gst::FlowSuccess::Ok) };
            let Some(start) = running(&sample) else { return Ok(unusable(&into, &sample)) };
            note_reached(&into, &buffer);
            let discont = buffer.flags().contains(gst::BufferFlags::DISCONT);
            into.inbox.push_audio(AudioItem::Sound { start, discont, buffer }).map_err(|_| gst::FlowError::Eos)?;
            Ok(gst::FlowSuccess::Ok)
        })
        .new_event(move |sink| {
            // Gaps are events; the sink wants every event fetched, and handles none of them itself.
            while let Ok(object) = sink.try_pull_object(gst::ClockTime::ZERO).ok_or(()) {
                if let Ok(event) = object.downcast::<gst::Event>()
                    && let gst::EventView::Gap(g) = event.view()
                {
                    let (start, length) = g.get();
                    let segment = sink.static_pad("sink").and_then(|p| p.sticky_event::<gst::event::Segment>(0));
                    let end = start + length.unwrap_or(gst::ClockTime::ZERO);
                    let until = segment
                        .as_ref()
                        .and_then(|s| s.segment().downcast_ref::<gst::ClockTime>())
                        .and_then(|s| s.to_running_time(end));
                    if let Some(until) = until
                        && gap.inbox.push_audio(AudioItem::Gap { until: timestamp(until) }).is_err()
                    {
                        return false;
                    }
                }
            }
            false
        })
        .eos(move |_| end.inbox.end_audio())
        .build();
    sink(&caps, callbacks)
}
