//! Looks into the finished file: everything is there, and nothing but the sound has moved.

use super::probe::{Media, seconds};
use super::{FixError, Task};

/// Tags that say how a file was written, not what it is; and times that are written differently.
const ABOUT_THE_FILE: [&str; 8] = [
    "encoder",
    "major_brand",
    "minor_version",
    "compatible_brands",
    "duration",
    "creation_time",
    "service_name",
    "service_provider",
];

/// Gives the global tags that are missing.
///
/// # Errors
/// Names what is missing or has moved.
pub(super) fn verify(task: &Task<'_>) -> Result<Vec<String>, FixError> {
    let fail = |why: String| FixError::Output { path: task.pending.target().to_owned(), why };
    let output = Media::probe(task.tools, task.pending.path(), task.stop)?
        .map_err(|said| fail(format!("was written, but can't be read again: {said}")))?;

    // The order may differ: some readers tell attachments last.
    let mut rest: Vec<_> = output.tracks().collect();
    let mut missing = Vec::new();
    for stream in task.media.tracks() {
        let same = |s: &&super::Stream| {
            (&s.codec_type, &s.codec_name, s.has("attached_pic"))
                == (&stream.codec_type, &stream.codec_name, stream.has("attached_pic"))
        };
        let Some(i) = rest.iter().position(same) else {
            missing.push(stream);
            continue;
        };
        let found = rest.remove(i);
        if stream.codec_type == "video"
            && !stream.has("attached_pic")
            && let (Some(was), Some(is)) = (seconds(stream.start_time.as_ref()), seconds(found.start_time.as_ref()))
            && (is - was - task.base_s()).abs() > task.container.tick_s()
        {
            return Err(fail(format!("ffmpeg moved {} from {was} s to {is} s; nothing was written", stream.name())));
        }
    }
    if !missing.is_empty() {
        return Err(fail(super::cannot_hold(&missing, task.input)));
    }
    let told = |m: &Media, base: f64| -> Vec<(i64, i64, Option<String>)> {
        #[expect(clippy::cast_possible_truncation, reason = "hundredths of a second of a programme")]
        let round = |text: &String| ((seconds(Some(text)).unwrap_or(f64::NAN) + base) * 100.0).round() as i64;
        let title = |c: &super::probe::Chapter| c.tags.get("title").cloned();
        m.chapters.iter().map(|c| (round(&c.start_time), round(&c.end_time), title(c))).collect()
    };
    let (was, is) = (told(task.media, task.base_s()), told(&output, 0.0));
    if was.len() != is.len() {
        let why = format!("this kind of file holds {} of {} chapters; choose another, as .mkv", is.len(), was.len());
        return Err(fail(why));
    }
    // The end of a last chapter may be taken from the length of the file.
    for (was, is) in was.iter().zip(&is) {
        if (was.0 - is.0).abs() > 1 || was.2 != is.2 {
            return Err(fail(format!("ffmpeg changed the chapter {was:?} to {is:?}; nothing was written")));
        }
    }
    let key = |k: &String| k.to_lowercase();
    let kept: Vec<String> = output.format.tags.keys().map(key).collect();
    let tags = task.media.format.tags.keys().map(key);
    Ok(tags.filter(|k| !ABOUT_THE_FILE.contains(&k.as_str()) && !kept.contains(k)).collect())
}
