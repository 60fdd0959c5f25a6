//! A live stream that falls silent holds nothing up: what is missing of it is filled in.
//!
//! A muxer writes what is behind first, and waits for it. Where a microphone goes away and the camera does not, the file, every
//! stream and in the end the camera itself would wait for sound that does not come. So the sound that is further behind
//! the picture than it ever should be is silence; and for a picture that does not come the last one is shown again.
//! What comes too late after all, for a time that has been filled, is left out.

use crate::inbox::Stream;
use gst::prelude::*;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One of the two streams, at the place where it is watched.
#[derive(Default)]
struct Line {
    pad: Option<gst::glib::WeakRef<gst::Pad>>,
    segment: Option<gst::FormattedSegment<gst::ClockTime>>,
    /// Running time up to which there is something.
    reached: Option<gst::ClockTime>,
    /// Running time up to which it was filled in.
    filled: Option<gst::ClockTime>,
    audio: Option<gst_audio::AudioInfo>,
    /// The last picture.
    picture: Option<gst::Buffer>,
    ended: bool,
}

struct Lines([Line; 2]);

/// What is longer is a jump of the time line, and nothing is missing of it.
const LONGEST: gst::ClockTime = gst::ClockTime::from_seconds(10);
/// Less between one buffer of sound and the next is no hole.
const HOLE: gst::ClockTime = gst::ClockTime::from_mseconds(40);
/// By so much more than the sound's a picture's lead may be: sound is waited for with room for twenty seconds.
const PICTURES_LATE: gst::ClockTime = gst::ClockTime::from_seconds(3);
/// How long a filled-in picture stands.
const PICTURE: gst::ClockTime = gst::ClockTime::from_mseconds(200);

fn index(stream: Stream) -> usize {
    usize::from(stream == Stream::Audio)
}

fn other(stream: Stream) -> Stream {
    if stream == Stream::Video { Stream::Audio } else { Stream::Video }
}

impl Line {
    fn event(&mut self, event: &gst::EventRef) {
        match event.view() {
            gst::EventView::Segment(s) => self.segment = s.segment().downcast_ref::<gst::ClockTime>().cloned(),
            gst::EventView::Caps(c) => self.audio = gst_audio::AudioInfo::from_caps(c.caps()).ok(),
            gst::EventView::FlushStop(_) => (self.reached, self.filled, self.ended) = (None, None, false),
            gst::EventView::StreamStart(_) => self.ended = false,
            gst::EventView::Eos(_) => self.ended = true,
            _ => {}
        }
    }

    /// Where a buffer begins and ends, running time.
    fn span(&self, buffer: &gst::BufferRef) -> Option<(gst::ClockTime, gst::ClockTime)> {
        let begin = self.segment.as_ref()?.to_running_time(buffer.pts()?)?;
        Some((begin, begin.checked_add(buffer.duration().unwrap_or(gst::ClockTime::ZERO))?))
    }

    /// What stands for the time from where the line has come to `to`, and how far that reaches.
    fn missing(&mut self, stream: Stream, to: gst::ClockTime) -> Option<(gst::Pad, gst::Buffer)> {
        let from = self.reached.filter(|from| !self.ended && *from < to)?;
        if to - from > LONGEST {
            self.reached = Some(to);
            return None;
        }
        let pad = self.pad.as_ref()?.upgrade()?;
        let at = self.segment.as_ref()?.position_from_running_time(from)?;
        let mut buffer = match stream {
            Stream::Audio => {
                let info = self.audio.as_ref()?;
                let samples = (to - from).nseconds().checked_mul(u64::from(info.rate()))?.div_ceil(1_000_000_000);
                let size = usize::try_from(samples).ok()?.checked_mul(usize::try_from(info.bpf()).ok()?)?;
                let mut silence = gst::Buffer::with_size(size).ok()?;
                {
                    let silence = silence.get_mut()?;
                    info.format_info().fill_silence(silence.map_writable().ok()?.as_mut_slice());
                    silence.set_duration(to - from);
                }
                silence
            }
            Stream::Video => {
                let mut again = self.picture.clone()?;
                again.make_mut().set_duration(to - from);
                again
            }
        };
        buffer.make_mut().set_pts(at);
        buffer.make_mut().set_dts(gst::ClockTime::NONE);
        buffer.make_mut().set_flags(gst::BufferFlags::GAP);
        (self.reached, self.filled) = (Some(to), Some(to));
        Some((pad, buffer))
    }
}

/// Watches two source pads, `video` and `audio`: neither comes to be more than `lead` behind the other.
pub(crate) fn gaps(video: &gst::Pad, audio: &gst::Pad, lead: gst::ClockTime) {
    let lines = Arc::new(Mutex::new(Lines([Line::default(), Line::default()])));
    for (pad, stream) in [(video, Stream::Video), (audio, Stream::Audio)] {
        lock(&lines).0[index(stream)].pad = Some(pad.downgrade());
        let lines = Arc::clone(&lines);
        let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM | gst::PadProbeType::EVENT_FLUSH;
        pad.add_probe(kinds, move |_, info| match &info.data {
            Some(gst::PadProbeData::Event(event)) => {
                lock(&lines).0[index(stream)].event(event);
                gst::PadProbeReturn::Ok
            }
            Some(gst::PadProbeData::Buffer(buffer)) => watch(&lines, stream, buffer, lead),
            _ => gst::PadProbeReturn::Ok,
        });
    }
}

fn lock(lines: &Mutex<Lines>) -> MutexGuard<'_, Lines> {
    lines.lock().unwrap_or_else(PoisonError::into_inner)
}

fn watch(lines: &Mutex<Lines>, stream: Stream, buffer: &gst::Buffer, lead: gst::ClockTime) -> gst::PadProbeReturn {
    let mut all = lock(lines);
    let line = &mut all.0[index(stream)];
    let Some((begin, end)) = line.span(buffer) else { return gst::PadProbeReturn::Ok };
    if let Some(filled) = line.filled
        && end <= filled
    {
        // Our own comes through here too, and has been taken into account.
        let own = buffer.flags().contains(gst::BufferFlags::GAP) && end == filled;
        return if own { gst::PadProbeReturn::Ok } else { gst::PadProbeReturn::Drop };
    }
    // A hole in the sound: an encoder would close it up, or a player stumble over it.
    let hole = (stream == Stream::Audio && line.reached.is_some_and(|reached| begin > reached + HOLE))
        .then(|| line.missing(stream, begin))
        .flatten();
    line.reached = line.reached.max(Some(end));
    if stream == Stream::Video {
        line.picture = Some(buffer.clone());
    }
    let behind = other(stream);
    // A picture is long in coming where its results are; it is shown again some times a second and no oftener.
    let (lead, step) =
        if behind == Stream::Video { (lead + PICTURES_LATE, PICTURE) } else { (lead, gst::ClockTime::ZERO) };
    let due = end.checked_sub(lead).and_then(|to| (to > all.0[index(behind)].reached? + step).then_some(to));
    let missing = due.and_then(|to| all.0[index(behind)].missing(behind, to));
    drop(all);
    for (pad, fill) in [hole, missing].into_iter().flatten() {
        if let Err(e) = pad.push(fill) {
            gst::debug!(gst::CAT_DEFAULT, "{}: nobody takes what is filled in: {e}", pad.name());
        }
    }
    gst::PadProbeReturn::Ok
}
