//! The flash-and-beep pattern as a file, or on this machine's screen and loudspeaker.
//!
//! Encoders, muxers and sinks are those of the `file` pipeline; only the source is other: two appsrcs that are asked for one
//! picture or some sound at a time.

use crate::error::RunError;
use crate::output::{self, DisplayError, PendingFile, chain, make};
use crate::plan::Plan;
use crate::run::Control;
use crate::time::{clock_time, timestamp};
use gst::prelude::*;
use gst_app::{AppSrc, AppSrcCallbacks};
use seehear::flash_beep::{PATTERN_FPS, Pattern};
use seehear::time::{SampleRate, TimeDelta, Timestamp};
use std::collections::BTreeMap;
use std::path::Path;

/// Size of the picture in a file, pixels: all of one grey, players make it as large as they like.
const FILE_SIZE: (i32, i32) = (640, 360);
/// Size of the window, for those that can't fill the screen.
const WINDOW_SIZE: (i32, i32) = (1280, 720);
/// What players and sound cards take as it is.
const RATE: u32 = 48_000;
/// Samples in a buffer: 20 ms.
const CHUNK: u32 = 960;
/// Luma of a picture that is lit, and of one that is not.
const WHITE: u8 = 255;
const BLACK: u8 = 0;

/// Writes the pattern to a file: .mp4 (H.264, AAC) or .mkv (H.264, FLAC). False where it was stopped; nothing is there then.
///
/// # Errors
/// Names the file and the remedy.
pub fn write(
    pattern: &Pattern,
    path: &Path,
    progress: &mut dyn FnMut(Timestamp),
    control: &Control,
) -> Result<bool, RunError> {
    crate::init()?;
    let plan = Plan::built_in("file")?;
    let container = output::container(&plan, path)?;
    let file = PendingFile::create(path)?;
    let pipeline = gst::Pipeline::new();
    let (picture, sound) = source(&pipeline, pattern, FILE_SIZE)?;
    output::build_file(
        &pipeline,
        container,
        &BTreeMap::new(),
        file.path(),
        (&picture, &sound),
        (TimeDelta::ZERO, None),
    )?;
    let whole = play(&pipeline, progress, control, &|why| RunError::Output { path: path.to_owned(), why })?;
    if whole {
        file.commit()?;
    }
    Ok(whole)
}

/// Shows and plays the pattern once, by the display of `plan`. False where it was stopped, or its window closed.
///
/// # Errors
/// Where there is no screen or no sound device.
pub fn show(
    pattern: &Pattern,
    plan: &Plan,
    progress: &mut dyn FnMut(Timestamp),
    control: &Control,
) -> Result<bool, RunError> {
    crate::init()?;
    let pipeline = gst::Pipeline::new();
    pipeline.connect_deep_element_added(|_, _, element| {
        if element.has_property_with_type("fullscreen", bool::static_type()) {
            element.set_property("fullscreen", true);
        }
    });
    let (picture, sound) = source(&pipeline, pattern, WINDOW_SIZE)?;
    output::build_display(&pipeline, plan, &plan.defaults, (&picture, &sound), TimeDelta::ZERO)?;
    play(&pipeline, progress, control, &|why| RunError::Setup {
        why: format!("the pattern can't be played here ({why}): write it with --pattern FILE, and play it on a phone"),
    })
}

/// A tee of the picture and one of the sound.
fn source(
    pipeline: &gst::Pipeline,
    pattern: &Pattern,
    (width, height): (i32, i32),
) -> Result<(gst::Element, gst::Element), RunError> {
    let rate = SampleRate::new(RATE).expect("a rate above 0");
    let fraction = |n: u32| gst::Fraction::new(i32::try_from(n).unwrap_or(1), 1);
    let caps = gst_video::VideoCapsBuilder::new()
        .format(gst_video::VideoFormat::Gray8)
        .width(width)
        .height(height)
        .framerate(fraction(PATTERN_FPS))
        .build();
    let still = |luma: u8| gst::Buffer::from_mut_slice(vec![luma; usize::try_from(width * height).unwrap_or(0)]);
    let (black, white) = (still(BLACK), still(WHITE));
    let (shown, mut frame) = (pattern.clone(), 0_u32);
    let picture = appsrc(&caps, move || {
        if frame >= shown.frames() {
            return None;
        }
        // The pixels are shared, the time is the buffer's own.
        let mut buffer = if shown.is_lit(frame) { white.copy() } else { black.copy() };
        stamp(&mut buffer, Pattern::time_of(frame), Pattern::time_of(frame + 1));
        frame += 1;
        Some(buffer)
    });
    let caps = gst::Caps::builder("audio/x-raw")
        .field("format", "F32LE")
        .field("rate", i32::try_from(RATE).unwrap_or(0))
        .field("channels", 1_i32)
        .field("layout", "interleaved")
        .build();
    let (played, mut at) = (pattern.clone(), 0_i64);
    let end = rate.index_at(pattern.length());
    let mut samples = vec![0.0; CHUNK as usize];
    let sound = appsrc(&caps, move || {
        let next = (at + i64::from(CHUNK)).min(end);
        samples.truncate(usize::try_from(next - at).unwrap_or(0));
        if samples.is_empty() {
            return None;
        }
        played.sound_into(rate, at, &mut samples);
        let mut buffer = gst::Buffer::from_mut_slice(samples.iter().flat_map(|s| s.to_le_bytes()).collect::<Vec<u8>>());
        stamp(&mut buffer, rate.time_of(at), rate.time_of(next));
        at = next;
        Some(buffer)
    });
    let (video_tee, audio_tee) = (make("tee")?, make("tee")?);
    chain(pipeline, &[picture.upcast_ref(), &video_tee])?;
    chain(pipeline, &[sound.upcast_ref(), &audio_tee])?;
    Ok((video_tee, audio_tee))
}

/// A source that gives what `next` says, until it says none.
fn appsrc(caps: &gst::Caps, mut next: impl FnMut() -> Option<gst::Buffer> + Send + 'static) -> AppSrc {
    let source = AppSrc::builder().caps(caps).format(gst::Format::Time).block(true).build();
    let callbacks = AppSrcCallbacks::builder().need_data(move |source, _| {
        let pushed = match next() {
            Some(buffer) => source.push_buffer(buffer),
            None => source.end_of_stream(),
        };
        if let Err(e) = pushed {
            // Whoever takes it is being stopped.
            gst::debug!(gst::CAT_DEFAULT, obj = source, "{e}");
        }
    });
    source.set_callbacks(callbacks.build());
    source
}

fn stamp(buffer: &mut gst::Buffer, start: TimeDelta, end: TimeDelta) {
    if let Some(b) = buffer.get_mut() {
        b.set_pts(clock_time(start));
        b.set_duration(clock_time(end - start));
    }
}

/// Plays to the end; false where it was stopped.
fn play(
    pipeline: &gst::Pipeline,
    progress: &mut dyn FnMut(Timestamp),
    control: &Control,
    fail: &dyn Fn(String) -> RunError,
) -> Result<bool, RunError> {
    let bus = pipeline.bus().ok_or_else(|| fail("a pipeline without a bus".to_owned()))?;
    let outcome = match pipeline.set_state(gst::State::Playing) {
        Ok(_) => watch(pipeline, &bus, progress, control),
        // The cause has been told by then.
        Err(e) => Err(std::iter::from_fn(|| bus.pop()).find_map(|m| trouble(&m)).unwrap_or_else(|| e.to_string())),
    };
    let stopped = pipeline.set_state(gst::State::Null).map_err(|e| e.to_string());
    outcome.and_then(|whole| stopped.map(|_| whole)).map_err(fail)
}

fn watch(
    pipeline: &gst::Pipeline,
    bus: &gst::Bus,
    progress: &mut dyn FnMut(Timestamp),
    control: &Control,
) -> Result<bool, String> {
    loop {
        if let Some(message) = bus.timed_pop(gst::ClockTime::from_mseconds(40)) {
            match message.view() {
                gst::MessageView::Eos(_) => return Ok(true),
                gst::MessageView::Error(e) if DisplayError::of(e) == Some(DisplayError::Closed) => return Ok(false),
                _ => {}
            }
            if let Some(why) = trouble(&message) {
                return Err(why);
            }
        }
        if control.stopped() {
            return Ok(false);
        }
        if let Some(at) = pipeline.query_position::<gst::ClockTime>() {
            progress(timestamp(at));
        }
    }
}

/// Why it can't be played, if that is what a message says.
fn trouble(message: &gst::MessageRef) -> Option<String> {
    let plain = |e: &gst::glib::Error| e.message().trim_end_matches('.').to_owned();
    match message.view() {
        gst::MessageView::Error(e) => Some(plain(&e.error())),
        // These two found no sink that works here, and go on without; a pattern of half is none.
        gst::MessageView::Warning(w) => match w.src()?.type_().name() {
            "GstAutoVideoSink" => Some(format!("no screen: {}", plain(&w.error()))),
            "GstAutoAudioSink" => Some(format!("no sound device: {}", plain(&w.error()))),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: TimeDelta = TimeDelta::from_ms(4_000);

    fn display(picture: &str, sound: &str) -> Plan {
        let mut plan = Plan::built_in("file").unwrap();
        plan.output.display_video = Some(picture.to_owned());
        plan.output.display_audio = Some(sound.to_owned());
        plan
    }

    #[test]
    fn it_is_shown_by_the_clock_to_its_end_and_can_be_stopped() {
        let plan = display("fakesink sync=true", "fakesink sync=true");
        let (pattern, control) = (Pattern::new(SHORT), Control::default());
        let (began, mut at) = (std::time::Instant::now(), Vec::new());
        assert!(show(&pattern, &plan, &mut |t| at.push(t), &control).unwrap());
        assert!(began.elapsed().as_secs_f64() > 3.8, "{:?}", began.elapsed());
        assert!(at.is_sorted() && at.last().is_some_and(|t| *t > Timestamp::from_ms(3_000)), "{at:?}");
        control.stop();
        assert!(!show(&pattern, &plan, &mut |_| (), &control).unwrap());
    }

    #[test]
    fn half_a_pattern_is_an_error() {
        let failing = "identity error-after=3 ! fakesink";
        let plan = display("fakesink sync=true", failing);
        let error = show(&Pattern::new(SHORT), &plan, &mut |_| (), &Control::default()).unwrap_err().to_string();
        assert!(error.contains("can't be played here") && error.contains("--pattern FILE"), "{error}");
    }

    #[test]
    fn a_file_is_whole_or_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let files = || std::fs::read_dir(dir.path()).unwrap().count();
        let (pattern, control) = (Pattern::new(SHORT), Control::default());
        let path = dir.path().join("p.mkv");
        assert!(write(&pattern, &path, &mut |_| (), &control).unwrap());
        assert!(std::fs::metadata(&path).unwrap().len() > 10_000);
        control.stop();
        assert!(!write(&pattern, &dir.path().join("q.mp4"), &mut |_| (), &control).unwrap());
        assert_eq!(files(), 1);
        let error = write(&pattern, &dir.path().join("p.avi"), &mut |_| (), &control).unwrap_err().to_string();
        assert!(error.contains("it writes .mkv, .mp4"), "{error}");
    }
}
