//! The way in: appsinks that put frames and sound, with their running times, into the inbox.

use super::graph::{Shared, sink_pad};
use crate::error::RunError;
use crate::inbox::Closed;
use crate::picture::GstPicture;
use crate::time::{delta, timestamp};
use gst::prelude::*;
use gst_app::{AppSink, AppSinkCallbacks};
use seehear::frame::Frame;
use seehear::session::SourceFormat;
use seehear::time::Timestamp;
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

/// Nobody reads the inbox any more: the stream ends here, unless it only passes, or will be read again.
fn pushed(shared: &Shared, result: Result<(), Closed>) -> Result<gst::FlowSuccess, gst::FlowError> {
    let goes_on = || [&shared.passing, &shared.flushing].iter().any(|flag| flag.load(Ordering::Acquire));
    // Open again by now: it was a flush that closed it.
    if result.is_ok() || goes_on() || !shared.inbox.is_closed() {
        return Ok(gst::FlowSuccess::Ok);
    }
    Err(gst::FlowError::Eos)
}

/// Remembers how far the file has been read.
fn note_reached(shared: &Shared, buffer: &gst::BufferRef) {
    if let Some(pts) = buffer.pts() {
        let end = timestamp(pts + buffer.duration().unwrap_or_default());
        shared.reached.fetch_max(end.ns(), Ordering::Relaxed);
    }
}

/// A decoder asks those behind it for memory, and in a queue the question waits its turn. FLAC's asks a second time:
/// before the encoder then stands sound that waits for its picture, which waits for the analysis, which waits for the
/// sound behind the question. Sound is small: the decoder's own memory will do.
pub(super) fn answer_no_allocation(first: &gst::Element) -> Result<(), RunError> {
    let pad = sink_pad(first)?;
    pad.add_probe(gst::PadProbeType::QUERY_DOWNSTREAM, |_, info| match info.query().map(|q| q.view()) {
        Some(gst::QueryView::Allocation(_)) => gst::PadProbeReturn::Drop,
        _ => gst::PadProbeReturn::Ok,
    });
    Ok(())
}

/// More than two channels of which nobody says where they stand (a field recorder's, PCM in .mov) can't be mixed by
/// position, and no encoder takes them: `convert` makes them stereo, with their average on both sides. `first` sees their
/// caps before `convert` does.
pub(super) fn average_unpositioned(
    first: &gst::Element,
    convert: &gst::Element,
    shared: &Arc<Shared>,
) -> Result<(), RunError> {
    let pad = sink_pad(first)?;
    let (convert, shared) = (convert.downgrade(), Arc::clone(shared));
    pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
        if let Some(gst::EventView::Caps(caps)) = info.event().map(|e| e.view())
            && let Some(convert) = convert.upgrade()
            && let Some(s) = caps.caps().structure(0)
        {
            let averaged = unpositioned(s).filter(|n| *n > 2).unwrap_or(0);
            shared.averaged_channels.fetch_max(averaged, Ordering::Relaxed);
            convert.set_property("mix-matrix", averaging(averaged));
        }
        gst::PadProbeReturn::Ok
    });
    Ok(())
}

/// How many channels the caps have, where they have no positions.
fn unpositioned(caps: &gst::StructureRef) -> Option<u32> {
    let positioned = caps.get::<gst::Bitmask>("channel-mask").is_ok_and(|m| m.0 != 0);
    let channels = u32::try_from(caps.get::<i32>("channels").ok()?).ok()?;
    (!positioned).then_some(channels)
}

/// audioconvert's matrix (rows of single floats: one for each channel that goes out) from so many channels to two;
/// none, which leaves it to the positions, for 0.
fn averaging(channels: u32) -> gst::Array {
    if channels == 0 {
        return gst::Array::default();
    }
    let share = f32::from(u16::try_from(channels).unwrap_or(u16::MAX)).recip();
    let row = || gst::Array::new((0..channels).map(|_| share)).to_send_value();
    gst::Array::from_values([row(), row()])
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
            if let Some(board) = &into.board {
                board.arrived(pts);
            }
            let duration = buffer.duration().map(delta);
            let Some(picture) = GstPicture::map(buffer, info) else { return Ok(unusable(&into, &sample)) };
            let par = info.par();
            let format = SourceFormat {
                width: info.width(),
                height: info.height(),
                pixel_aspect: f64::from(par.numer()) / f64::from(par.denom().max(1)),
            };
            let item = VideoItem { frame: Frame { pts, duration, picture }, format };
            let result = into.inbox.push_video(item);
            if result.is_err() {
                into.give_up_to(pts);
            }
            pushed(&into, result)
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
            pushed(&into, into.inbox.push_audio(AudioItem::Sound { start, discont, buffer }))
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
                        && pushed(&gap, gap.inbox.push_audio(AudioItem::Gap { until: timestamp(until) })).is_err()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_without_positions_are_known() {
        gst::init().unwrap();
        for (caps, want) in [
            ("audio/x-raw, channels=1", Some(1)),
            ("audio/x-raw, channels=2", Some(2)),
            ("audio/x-raw, channels=4, channel-mask=(bitmask)0x0", Some(4)),
            ("audio/x-raw, channels=4, channel-mask=(bitmask)0x33", None),
            ("audio/x-raw, channels=6, channel-mask=(bitmask)0x3f", None),
        ] {
            let caps: gst::Caps = caps.parse().unwrap();
            assert_eq!(unpositioned(caps.structure(0).unwrap()), want, "{caps}");
        }
    }

    #[test]
    fn both_sides_get_the_average() {
        gst::init().unwrap();
        assert!(averaging(0).is_empty());
        let rows = averaging(4);
        for row in rows.iter() {
            let row = row.get::<gst::Array>().unwrap();
            let shares: Vec<f32> = row.iter().map(|v| v.get().unwrap()).collect();
            assert_eq!(shares, [0.25; 4]);
        }
        assert_eq!(rows.len(), 2);
    }
}
