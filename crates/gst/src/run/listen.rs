//! A run without an engine: the source's pictures and sound as they come, for what is measured of a device.

use super::analysis::BOTH;
use super::graph::Shared;
use super::intake::AudioItem;
use super::{Built, Control, Job, Progress, values};
use crate::error::RunError;
use crate::inbox::{Item, Taken};
use crate::picture::GstPicture;
use crate::sync::SyncMode;
use seehear::audio::AudioWindow;
use seehear::frame::Frame;
use seehear::time::{TimeDelta, Timestamp};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// What a source gave, with its running time.
#[derive(Debug)]
pub enum Heard<'a> {
    /// A picture.
    Frame(&'a Frame<GstPicture>),
    /// Sound, 16 kHz mono.
    Sound(AudioWindow<'a>),
}

/// Reads a job's source as [`run`](super::run) does, and gives `take` what comes, each stream in its own order; nothing is
/// analysed, written or shown. Whether it was stopped before its end.
///
/// # Errors
/// As for a run.
pub fn listen(
    job: &Job,
    take: &mut (dyn FnMut(Heard<'_>) + Send),
    progress: &mut dyn FnMut(Progress),
    control: &Control,
) -> Result<bool, RunError> {
    crate::init()?;
    job.input.check()?;
    if job.output.is_some() || job.display || job.sync == SyncMode::Correct {
        return Err(super::setup("nothing is written or shown of a source that is only listened to"));
    }
    let built = Built::new(job, TimeDelta::ZERO, &values(job)?, None)?;
    let shared = &built.shared;
    let (watched, ()) = built.attend(job, progress, control, || {
        take_all(shared, take);
        Ok(())
    })?;
    Ok(watched.interrupted)
}

/// Until both streams have ended.
fn take_all(shared: &Shared, take: &mut (dyn FnMut(Heard<'_>) + Send)) {
    let (mut video, mut audio) = (true, true);
    let mut samples: Vec<f32> = Vec::new();
    let mut first: Option<Timestamp> = None;
    while video || audio {
        match shared.inbox.take(BOTH, Duration::from_millis(200)) {
            Taken::Video(Item::Data(item, _)) => {
                take(Heard::Frame(&item.frame));
                let begin = *first.get_or_insert(item.frame.pts);
                shared.at.store(item.frame.pts.ns(), Ordering::Relaxed);
                // Progress is counted in slots, of which there is none here but by time.
                let slots = (item.frame.pts - begin).slots_ceil();
                shared.slots.fetch_max(u64::try_from(slots).unwrap_or(0), Ordering::Relaxed);
            }
            Taken::Audio(Item::Data(AudioItem::Sound { start, discont, buffer }, _)) => {
                let Ok(map) = buffer.map_readable() else { continue };
                samples.clear();
                samples.extend(map.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])));
                take(Heard::Sound(AudioWindow { start, samples: &samples, discont }));
            }
            Taken::Audio(Item::Data(AudioItem::Gap { .. }, _)) | Taken::Nothing => {}
            Taken::Video(Item::End) => {
                video = false;
                audio &= !shared.stopping.load(Ordering::Acquire);
            }
            Taken::Audio(Item::End) => audio = false,
            Taken::Closed => return,
        }
    }
}
