//! Outputs: a file, written beside its place and renamed when whole, and a display.

use crate::error::RunError;
use crate::inbox::Stream;
use crate::plan::{Container, Plan};
use crate::source::{INSTALL, parse, parse_with_pads};
use crate::time::clock_time;
use gst::prelude::*;
use seehear::time::TimeDelta;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A file that does not have its name yet. Dropped before [`PendingFile::commit`], it is removed.
#[derive(Debug)]
pub struct PendingFile {
    target: PathBuf,
    /// `None` for a target that exists and is no regular file (a pipe, /dev/null): it is written to, never replaced.
    temporary: Option<PathBuf>,
}

impl PendingFile {
    /// Creates the temporary file beside `target`, so that a folder that can't be written is known at once.
    ///
    /// # Errors
    /// Names the target and why it can't be written.
    pub fn create(target: &Path) -> Result<Self, RunError> {
        let fail = |why: String| RunError::Output { path: target.to_owned(), why };
        if target.is_dir() {
            return Err(fail("is a folder; name a file in it".into()));
        }
        if std::fs::metadata(target).is_ok_and(|m| !m.is_file()) {
            return Ok(Self { target: target.to_owned(), temporary: None });
        }
        let name = target.file_name().ok_or_else(|| fail("is no file name".into()))?;
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}.part", std::process::id()));
        let temporary = target.with_file_name(hidden);
        std::fs::File::create(&temporary).map_err(|e| {
            fail(format!("can't be written: {e}; choose a folder that exists and that you may write to"))
        })?;
        Ok(Self { target: target.to_owned(), temporary: Some(temporary) })
    }

    /// Where to write.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.temporary.as_deref().unwrap_or(&self.target)
    }

    /// The name it will have.
    #[must_use]
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Gives the whole file its name, after its bytes are on the disk.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn commit(mut self) -> Result<(), RunError> {
        let Some(temporary) = &self.temporary else { return Ok(()) };
        let fail =
            |e: std::io::Error| RunError::Output { path: self.target.clone(), why: format!("can't be finished: {e}") };
        std::fs::File::open(temporary).and_then(|f| f.sync_all()).map_err(fail)?;
        std::fs::rename(temporary, &self.target).map_err(fail)?;
        self.temporary = None;
        Ok(())
    }
}

impl Drop for PendingFile {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary
            && let Err(e) = std::fs::remove_file(temporary)
        {
            gst::warning!(gst::CAT_DEFAULT, "{}: {e}", temporary.display());
        }
    }
}

/// The container for a file name.
///
/// # Errors
/// Names the extensions that the pipeline can write.
pub fn container<'a>(plan: &'a Plan, path: &Path) -> Result<&'a Container, RunError> {
    let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
    plan.output.files.get(&extension).ok_or_else(|| {
        let known: Vec<String> = plan.output.files.keys().map(|e| format!(".{e}")).collect();
        RunError::Output {
            path: path.to_owned(),
            why: format!("this pipeline writes no \"{extension}\" files; it writes {}", known.join(", ")),
        }
    })
}

/// Makes one element.
///
/// # Errors
/// Names the element and the remedy.
pub fn make(name: &str) -> Result<gst::Element, RunError> {
    gst::ElementFactory::make(name)
        .build()
        .map_err(|_| RunError::Setup { why: format!("GStreamer has no element {name}; {INSTALL}") })
}

/// Links a chain of elements and adds them to the bin.
///
/// # Errors
/// When GStreamer refuses.
pub fn chain(bin: &impl IsA<gst::Bin>, elements: &[&gst::Element]) -> Result<(), RunError> {
    let fail = |e: gst::glib::BoolError| RunError::Setup { why: e.to_string() };
    bin.add_many(elements).map_err(fail)?;
    gst::Element::link_many(elements).map_err(fail)
}

/// A queue that holds so much and blocks; zero is no bound.
///
/// # Errors
/// As [`make`].
pub fn queue(max_time: gst::ClockTime, max_buffers: u32) -> Result<gst::Element, RunError> {
    let queue = make("queue")?;
    queue.set_property("max-size-time", max_time.nseconds());
    queue.set_property("max-size-buffers", max_buffers);
    queue.set_property("max-size-bytes", 0_u32);
    Ok(queue)
}

/// Builds the file branch behind two tees. `ahead`: how far the picture's time stamps may run ahead of the sound's; `lead`: how
/// much further still, live, before the sound is taken for missing and filled in.
///
/// # Errors
/// When an element is missing or does not fit.
pub fn build_file(
    pipeline: &gst::Pipeline,
    container: &Container,
    values: &BTreeMap<String, String>,
    path: &Path,
    (video, audio): (&gst::Element, &gst::Element),
    (ahead, lead): (TimeDelta, Option<TimeDelta>),
) -> Result<(), RunError> {
    let muxer = parse(&container.muxer, values, "muxer")?;
    let muxer = only_child(&muxer, "muxer")?;
    let sink = make("filesink")?;
    sink.set_property("location", path.to_string_lossy().as_ref());
    // What has been written is there, whatever becomes of the program.
    sink.set_property_from_str("buffer-mode", "unbuffered");
    // Takes no part in prerolling: the first picture comes only once the analysis has seen what follows it.
    sink.set_property("async", false);
    sink.set_property("sync", false);
    chain(pipeline, &[&muxer, &sink])?;
    // The muxer wants the stream that is behind; an encoder's look-ahead must fit in the other's queue.
    for (tee, encoder, name) in
        [(video, &container.video_encoder, "video_encoder"), (audio, &container.audio_encoder, "audio_encoder")]
    {
        let encoder = parse_with_pads(encoder, values, name)?;
        if name == "audio_encoder" {
            take_off_priming(&encoder)?;
        }
        let before = if name == "video_encoder" {
            // The muxer leaves a picture here until the sound has come as far.
            queue(gst::ClockTime::from_mseconds(80) + clock_time(ahead), 0)?
        } else {
            queue(gst::ClockTime::from_seconds(20), 0)?
        };
        let kind = if name == "video_encoder" { Stream::Video } else { Stream::Audio };
        chain(pipeline, &[&before])?;
        chain_constant(pipeline, &before, kind, encoder.upcast_ref())?;
        tee.link(&before).map_err(|e| RunError::Setup { why: e.to_string() })?;
        let mut last: gst::Element = encoder.upcast();
        if let (Some(lead), Stream::Video) = (lead, kind) {
            // Encoded pictures are small: so many may wait for sound.
            let room = queue(clock_time(ahead + lead) + gst::ClockTime::from_seconds(1), 0)?;
            chain(pipeline, &[&room])?;
            last.link(&room).map_err(|e| RunError::Setup { why: e.to_string() })?;
            last = room;
        }
        last.link(&muxer).map_err(|e| RunError::Setup { why: format!("{name} does not fit the muxer: {e}") })?;
    }
    Ok(())
}

/// Adds `encoder` and links `before` to it, which gets one format from the first to the last: a picture of another size is scaled into the
/// first one's, with black borders where its shape is another; sound of another rate or layout is converted. Containers
/// and most protocols can't tell of a change, and end or come to nothing at one.
///
/// # Errors
/// As [`chain`].
pub(crate) fn chain_constant(
    bin: &impl IsA<gst::Bin>,
    before: &gst::Element,
    kind: Stream,
    encoder: &gst::Element,
) -> Result<(), RunError> {
    let fit = match kind {
        Stream::Video => {
            let scale = make("videoscale")?;
            scale.set_property("add-borders", true);
            vec![scale]
        }
        Stream::Audio => vec![make("audioconvert")?, make("audioresample")?],
    };
    let filter = make("capsfilter")?;
    let all: Vec<&gst::Element> = fit.iter().chain([&filter, encoder]).collect();
    chain(bin, &all)?;
    before.link(&fit[0]).map_err(|e| RunError::Setup { why: e.to_string() })?;
    let entrance =
        fit[0].static_pad("sink").ok_or_else(|| RunError::Setup { why: "a converter without a sink pad".into() })?;
    let (first, filter) = (std::sync::OnceLock::<gst::Caps>::new(), filter.downgrade());
    let kept: &[&str] = match kind {
        Stream::Video => &["width", "height", "pixel-aspect-ratio"],
        Stream::Audio => &["rate", "channels"],
    };
    entrance.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
        let Some(event) = info.event() else { return gst::PadProbeReturn::Ok };
        let gst::EventView::Caps(caps) = event.view() else { return gst::PadProbeReturn::Ok };
        let Some(now) = caps.caps().structure(0) else { return gst::PadProbeReturn::Ok };
        let Some(at_first) = first.get() else {
            let mut constant = gst::Structure::new_empty(now.name());
            for field in kept.iter().copied() {
                if let Ok(value) = now.value(field) {
                    constant.set_value(field, value.clone());
                }
            }
            if let Some(filter) = filter.upgrade() {
                filter.set_property("caps", gst::Caps::from(constant));
            }
            if first.set(caps.caps_owned()).is_err() {
                gst::warning!(gst::CAT_DEFAULT, "two first formats");
            }
            return gst::PadProbeReturn::Ok;
        };
        // No picture is made or left out for another rate: the rate in the caps is a hint, the time stamps count.
        if let (Stream::Video, Some(Ok(rate))) = (kind, at_first.structure(0).map(|s| s.value("framerate"))) {
            let mut changed = caps.caps_owned();
            changed.make_mut().set_value("framerate", rate.clone());
            let renewed = gst::event::Caps::builder(&changed).seqnum(event.seqnum()).build();
            info.data = Some(gst::PadProbeData::Event(renewed));
        }
        gst::PadProbeReturn::Ok
    });
    Ok(())
}

/// An AAC encoder begins with a frame of priming (1024 samples) and stamps it with the time of the first sound, so that
/// all its sound comes 21 ms late at 48 kHz. That frame goes, and the others take the time of what they hold.
pub(crate) fn take_off_priming(encoder: &gst::Bin) -> Result<(), RunError> {
    let pad = encoder
        .static_pad("src")
        .ok_or_else(|| RunError::Setup { why: "audio_encoder: the description has no open end".into() })?;
    let priming = std::sync::OnceLock::new();
    pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        let aac = pad.current_caps().is_some_and(|c| c.structure(0).is_some_and(|s| s.name() == "audio/mpeg"));
        if !aac {
            return gst::PadProbeReturn::Ok;
        }
        let Some(gst::PadProbeData::Buffer(mut buffer)) = info.data.take() else { return gst::PadProbeReturn::Ok };
        let Some(length) = priming.get() else {
            if priming.set(buffer.duration().unwrap_or_default()).is_err() {
                gst::warning!(gst::CAT_DEFAULT, "two first frames");
            }
            return gst::PadProbeReturn::Handled;
        };
        let earlier = |t: Option<gst::ClockTime>| t.map(|t| t.saturating_sub(*length));
        let b = buffer.make_mut();
        b.set_pts(earlier(b.pts()));
        b.set_dts(earlier(b.dts()));
        info.data = Some(gst::PadProbeData::Buffer(buffer));
        gst::PadProbeReturn::Ok
    });
    Ok(())
}

/// What a display says as an error, and what it means for the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DisplayError {
    /// The sound device went away: the picture is shown without sound.
    NoSound,
    /// The user closed the window: as Ctrl-C.
    Closed,
    /// The screen can't be used, or went away.
    NoScreen,
}

impl DisplayError {
    /// `None` for an error of another element. The sink may be one that an auto sink made: its kind tells.
    pub(crate) fn of(error: &gst::message::Error) -> Option<Self> {
        let factory = error.src()?.downcast_ref::<gst::Element>()?.factory()?;
        let is = |kind| factory.has_type(gst::ElementFactoryType::SINK | kind);
        if is(gst::ElementFactoryType::MEDIA_AUDIO) {
            Some(Self::NoSound)
        } else if !is(gst::ElementFactoryType::MEDIA_VIDEO) {
            None
        } else if error.error().matches(gst::ResourceError::NotFound) {
            Some(Self::Closed)
        } else {
            Some(Self::NoScreen)
        }
    }
}

/// Builds the display branch behind two tees. A sink that fails is left alone with what it is given: a file that is
/// written besides goes on. `ahead`: as for [`build_file`].
///
/// # Errors
/// When an element is missing.
pub fn build_display(
    pipeline: &gst::Pipeline,
    plan: &Plan,
    values: &BTreeMap<String, String>,
    (video, audio): (&gst::Element, &gst::Element),
    ahead: TimeDelta,
) -> Result<(), RunError> {
    // Where there is no screen, autovideosink would try DirectFB's sink, which crashes.
    if let Some(directfb) = gst::Registry::get().lookup_feature("dfbvideosink") {
        directfb.set_rank(gst::Rank::NONE);
    }
    for (tee, text, field, convert) in [
        (video, &plan.output.display_video, "output.display_video", "videoconvert"),
        (audio, &plan.output.display_audio, "output.display_audio", "audioconvert"),
    ] {
        let text = text.as_deref().ok_or_else(|| RunError::Setup { why: format!("this pipeline has no {field}") })?;
        let sink = parse_with_pads(text, values, field)?;
        take_no_part_in_prerolling(&sink);
        let before = queue(gst::ClockTime::from_seconds(2) + clock_time(ahead), 0)?;
        let shield = make("errorignore")?;
        shield.set_property_from_str("convert-to", "ok");
        chain(pipeline, &[&before, &shield, &make(convert)?, sink.upcast_ref()])?;
        tee.link(&before).map_err(|e| RunError::Setup { why: e.to_string() })?;
    }
    Ok(())
}

/// The first picture comes to a display only once the analysis has seen what follows it, and the analysis is given
/// nothing before the pipeline plays. What is in `bin` by now, and what an auto sink will choose, does not hold it up.
pub(crate) fn take_no_part_in_prerolling(bin: &gst::Bin) {
    let set = |element: &gst::Element| {
        if element.has_property_with_type("async", bool::static_type()) {
            element.set_property("async", false);
        }
    };
    bin.iterate_recurse().into_iter().flatten().for_each(|element| set(&element));
    bin.connect_deep_element_added(move |_, _, element| set(element));
}

/// Takes the one element out of a parsed bin, so that its request pads can be linked.
pub(crate) fn only_child(bin: &gst::Bin, field: &str) -> Result<gst::Element, RunError> {
    let children = bin.children();
    let [child] = children.as_slice() else {
        return Err(RunError::Setup { why: format!("{field}: must be one element, not {}", children.len()) });
    };
    let child = child.clone();
    bin.remove(&child).map_err(|e| RunError::Setup { why: e.to_string() })?;
    Ok(child)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_gets_its_name_only_when_whole() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("out.mp4");
        let files = || std::fs::read_dir(dir.path()).unwrap().count();
        let pending = PendingFile::create(&target).unwrap();
        assert_eq!((files(), target.exists()), (1, false));
        drop(pending);
        assert_eq!(files(), 0);
        let pending = PendingFile::create(&target).unwrap();
        std::fs::write(pending.path(), b"whole").unwrap();
        pending.commit().unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"whole");
        assert_eq!(files(), 1);
    }

    #[test]
    fn what_is_no_regular_file_is_written_to_and_never_replaced() {
        use std::os::unix::fs::FileTypeExt;
        let null = Path::new("/dev/null");
        let pending = PendingFile::create(null).unwrap();
        assert_eq!(pending.path(), null);
        pending.commit().unwrap();
        drop(PendingFile::create(null).unwrap());
        assert!(std::fs::metadata(null).unwrap().file_type().is_char_device());
    }

    #[test]
    fn an_output_that_cannot_be_is_refused_at_once() {
        let error = PendingFile::create(Path::new("/nowhere/at/all.mp4")).unwrap_err().to_string();
        assert!(error.contains("/nowhere/at/all.mp4") && error.contains("can't be written"), "{error}");
        assert!(PendingFile::create(Path::new("/tmp")).unwrap_err().to_string().contains("folder"));
    }
}
