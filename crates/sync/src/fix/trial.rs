//! Short runs of ffmpeg that find out what it will do: how far a muxer moves the sound, and which streams it can't hold.

use super::container::Container;
use super::ffmpeg::{Line, ask, file, output};
use super::probe::{Stream, seconds};
use super::{FixError, Task};
use serde::Deserialize;

/// Far from zero, where nothing special happens, seconds.
const AWAY_S: &str = "10";
/// Packets of each sound track that are looked at.
const PACKETS: &str = "8";

/// How much later than asked the muxer stores each sound track, seconds: 0 in order, −6.5 ms for Opus in Matroska with
/// ffmpeg 5.1. `codec` writes the options for the sound's codecs; the sound is silence when it is encoded.
pub(super) fn displacements(task: &Task<'_>, encoded: bool, codec: &dyn Fn(&mut Line)) -> Result<Vec<f64>, FixError> {
    let none = vec![0.0; task.sound.len()];
    if !task.container.is_matroska() {
        return Ok(none);
    }
    let times = |muxer: &str| {
        let mut line = Line::new();
        line.words(&["-copyts"]);
        if encoded {
            for s in &task.sound {
                let silence = format!("anullsrc=r={}:cl={}", s.rate, s.layout);
                line.words(&["-itsoffset", AWAY_S, "-f", "lavfi", "-i", &silence]);
            }
            for k in 0..task.sound.len() {
                line.option("-map", format!("{k}:a"));
            }
        } else {
            line.words(&["-itsoffset", AWAY_S]).option("-i", file(task.input));
            for s in &task.sound {
                line.option("-map", format!("0:{}", s.stream.index));
            }
        }
        codec(&mut line);
        line.words(&["-frames:a", PACKETS, "-avoid_negative_ts", "disabled", "-f", muxer]);
        line.word(file(task.pending.path()));
        let (status, _, _) = output(&task.tools.ffmpeg, &line, task.stop)?;
        if !status.success() {
            // The run itself will say what is wrong.
            return Ok(None);
        }
        #[derive(Deserialize)]
        struct Answer {
            packets: Vec<Packet>,
        }
        #[derive(Deserialize)]
        struct Packet {
            stream_index: usize,
            pts_time: Option<String>,
        }
        let words = ["-show_entries", "packet=stream_index,pts_time"];
        let Ok(json) = ask(task.tools, &words, task.pending.path(), task.stop)? else { return Ok(None) };
        let Ok(answer) = serde_json::from_slice::<Answer>(&json) else { return Ok(None) };
        let track = |k: usize| {
            let packets = answer.packets.iter().filter(|p| p.stream_index == k);
            packets.filter_map(|p| seconds(p.pts_time.as_ref())).collect()
        };
        Ok::<_, FixError>(Some((0..task.sound.len()).map(track).collect::<Vec<Vec<f64>>>()))
    };
    let (Some(should), Some(is)) = (times("nut")?, times(task.container.muxer())?) else { return Ok(none) };
    let late = should.iter().zip(&is).map(|(should, is)| {
        let (sum, n) =
            should.iter().zip(is).fold((0.0, 0.0_f64), |(sum, n), (should, is)| (sum + is - should, n + 1.0));
        sum / n.max(1.0)
    });
    // Less than a tick is rounding.
    Ok(late.map(|s| if s.abs() < 0.001 { 0.0 } else { s }).collect())
}

/// The streams that the output's container refuses, each tried alone.
pub(super) fn refused<'a>(task: &'a Task<'_>) -> Result<Vec<&'a Stream>, FixError> {
    let mut refused = Vec::new();
    for stream in task.media.tracks() {
        let mut line = Line::new();
        line.words(&["-t", "1"]).option("-i", file(task.input)).option("-map", format!("0:{}", stream.index));
        line.words(&["-c", "copy", "-copy_unknown", "-map_chapters", "-1"]);
        if matches!(task.container, Container::Mp4 | Container::Mov) {
            line.words(&["-strict", "experimental"]);
        }
        line.words(&["-f", task.container.muxer()]).word(file(task.pending.path()));
        let (status, _, _) = output(&task.tools.ffmpeg, &line, task.stop)?;
        if !status.success() {
            refused.push(stream);
        }
    }
    Ok(refused)
}
