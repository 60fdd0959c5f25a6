//! From one pipeline's encoders to the sources of another, in time.

use crate::inbox::Stream;
use gst::prelude::*;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What a viewer's media may hold that it has not sent yet.
const ROOM: gst::ClockTime = gst::ClockTime::from_seconds(2);

/// The sources of the media that viewers have now.
struct Media {
    video: gst_app::AppSrc,
    audio: Option<gst_app::AppSrc>,
    /// A key picture has gone out: what comes before it can't be decoded.
    begun: bool,
}

impl Media {
    fn of(&self, stream: Stream) -> Option<&gst_app::AppSrc> {
        match stream {
            Stream::Video => Some(&self.video),
            Stream::Audio => self.audio.as_ref(),
        }
    }
}

/// The last caps of each stream, and who takes it.
#[derive(Default)]
pub(super) struct Relay {
    media: Mutex<Option<Media>>,
    dropped: AtomicU64,
}

impl Relay {
    fn lock(&self) -> MutexGuard<'_, Option<Media>> {
        self.media.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A media has been made for viewers: it is fed from here on.
    pub(super) fn feed(&self, video: gst_app::AppSrc, audio: Option<gst_app::AppSrc>) {
        for source in [Some(&video), audio.as_ref()].into_iter().flatten() {
            source.set_is_live(true);
            source.set_format(gst::Format::Time);
            source.set_max_bytes(0);
            source.set_max_time(ROOM);
            source.set_leaky_type(gst_app::AppLeakyType::Downstream);
        }
        *self.lock() = Some(Media { video, audio, begun: false });
    }

    /// Nobody looks any more.
    pub(super) fn rest(&self) {
        *self.lock() = None;
    }

    /// Buffers that could not be given to viewers.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Gives `sample` on; `from` is where it comes out of its own pipeline. Says whether a key picture is wanted.
    pub(super) fn push(&self, stream: Stream, sample: &gst::Sample, from: &gst::Element) -> bool {
        let mut slot = self.lock();
        let Some(media) = slot.as_mut() else { return false };
        let Some(source) = media.of(stream).cloned() else { return false };
        let Some(buffer) = sample.buffer() else { return false };
        let is_key = stream == Stream::Video && !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
        // Without a base time the viewers' media isn't there yet.
        let Some(theirs) = source.base_time().filter(|_| source.current_state() == gst::State::Playing) else {
            return false;
        };
        let wanted = !media.begun && stream == Stream::Video && !is_key;
        if !media.begun && !is_key {
            return wanted;
        }
        let Some(moved) = in_time_of(theirs, sample, buffer, from) else {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return false;
        };
        media.begun = true;
        // Not under the lock: who takes it may be at `rest`.
        drop(slot);
        if source.push_sample(&moved).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        false
    }
}

/// The sample with the time stamps that it has where the base time is `theirs`; none for what was before that, and for what
/// has no time.
fn in_time_of(
    theirs: gst::ClockTime,
    sample: &gst::Sample,
    buffer: &gst::BufferRef,
    from: &gst::Element,
) -> Option<gst::Sample> {
    let segment = sample.segment()?.downcast_ref::<gst::ClockTime>()?.clone();
    let ours = from.base_time()?;
    let moved = |t: Option<gst::ClockTime>| {
        let at = segment.to_running_time(t?)?;
        ours.checked_add(at)?.checked_sub(theirs)
    };
    let pts = moved(buffer.pts())?;
    let mut copy = buffer.copy();
    {
        let copy = copy.get_mut()?;
        copy.set_pts(pts);
        copy.set_dts(moved(buffer.dts()));
    }
    let caps = sample.caps()?.to_owned();
    let plain = gst::FormattedSegment::<gst::ClockTime>::new();
    Some(gst::Sample::builder().buffer(&copy).caps(&caps).segment(&plain).build())
}
