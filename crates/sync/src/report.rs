//! The report of a sync measurement: its data (also the `--json` contract), a page of HTML, lines for a terminal.
//!
//! **Sign: > 0 means that the sound is late** (lags the picture). Times are floats in milliseconds from the start of
//! the file. The page is one file that needs nothing else: no network, no script (its own content policy forbids
//! both), so it can be mailed, archived and opened in ten years.

mod chart;
mod page;
mod text;

use crate::verdict::{Verdicts, digits, error_digits, lateness, signed, sound};
use serde::{Deserialize, Serialize};
use text::{clock, length, percent, plain, surety};

pub use page::html;

/// The version of this format.
pub const SCHEMA: u32 = 1;

/// An offset that moves by at least this much within a file is told as changing: the confidence is that of ±20 ms, so
/// less is not told apart.
const CHANGE_MS: f64 = 20.0;

/// What was measured in one file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SyncReport {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The input, as given.
    pub source: String,
    /// The engine's name.
    pub engine: String,
    /// Length of the file, ms.
    pub duration_ms: f64,
    /// Seconds in which somebody visible spoke.
    pub judged_s: f64,
    /// The offset of the whole file. `null`: can't tell.
    pub offset_ms: Option<f64>,
    /// Probability that `offset_ms` is within ±20 ms of the truth, 0…1.
    pub confidence: f64,
    /// One standard deviation of `offset_ms`.
    pub error_ms: Option<f64>,
    /// How the offset moves; > 0: the sound gets later.
    pub drift_ms_per_min: Option<f64>,
    /// Of `offset_ms`.
    pub verdicts: Option<Verdicts>,
    /// Why it can't be told, as the end of a sentence: "nobody visible spoke".
    pub why: Option<String>,
    /// Stretches with an offset of their own, in order of time.
    pub segments: Vec<Segment>,
    /// The course of the offset, one a second at most, where somebody spoke; in order of time.
    pub points: Vec<Point>,
}

/// A stretch of the file in which the offset stays, or moves evenly.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Segment {
    /// Start, ms.
    pub start_ms: f64,
    /// End, ms.
    pub end_ms: f64,
    /// In the middle of the segment. `null`: can't tell.
    pub offset_ms: Option<f64>,
    /// Probability that `offset_ms` is within ±20 ms of the truth, 0…1.
    pub confidence: f64,
    /// One standard deviation of `offset_ms`.
    pub error_ms: Option<f64>,
    /// How the offset moves; > 0: the sound gets later.
    pub drift_ms_per_min: Option<f64>,
    /// Of `offset_ms`.
    pub verdicts: Option<Verdicts>,
}

/// The offset about one moment.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// When, ms.
    pub t_ms: f64,
    /// The likeliest offset.
    pub offset_ms: f64,
    /// The lower end of its interval.
    pub low_ms: f64,
    /// The upper end of its interval.
    pub high_ms: f64,
    /// Probability that `offset_ms` is within ±20 ms of the truth, 0…1.
    pub confidence: f64,
}

/// A picture of what was judged.
#[derive(Clone, Debug, PartialEq)]
pub struct Thumbnail {
    /// When, ms.
    pub t_ms: f64,
    /// The picture, as a JPEG file.
    pub jpeg: Vec<u8>,
    /// Width of the JPEG, pixels.
    pub width: u32,
    /// Height of the JPEG, pixels.
    pub height: u32,
    /// Who was judged: left, top, width, height in pixels of the JPEG.
    pub boxes: Vec<[f64; 4]>,
    /// What is to be seen, in a few words.
    pub label: String,
}

impl Segment {
    /// The offset at the start and at the end.
    fn ends(&self) -> Option<[f64; 2]> {
        let middle = self.offset_ms.filter(|o| o.is_finite())?;
        let drift = self.drift_ms_per_min.filter(|d| d.is_finite()).unwrap_or(0.0);
        let half = drift * (self.end_ms - self.start_ms).max(0.0) / 60e3 / 2.0;
        Some([middle - half, middle + half])
    }
}

/// What the page opens with.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Finding {
    CantTell,
    /// One offset holds throughout.
    Steady(f64),
    /// Evenly from the first to the second.
    Drifts(f64, f64),
    /// Between the two, in steps or unevenly.
    Changes(f64, f64),
}

impl Finding {
    fn of(report: &SyncReport) -> Self {
        let ends: Vec<[f64; 2]> = report.segments.iter().filter_map(Segment::ends).collect();
        let low = ends.iter().flatten().copied().fold(f64::INFINITY, f64::min);
        let high = ends.iter().flatten().copied().fold(f64::NEG_INFINITY, f64::max);
        match (ends.as_slice(), report.offset_ms.filter(|o| o.is_finite())) {
            ([from_to], Some(_)) if (from_to[1] - from_to[0]).abs() >= CHANGE_MS => {
                Self::Drifts(from_to[0], from_to[1])
            }
            ([_, _, ..], _) if high - low >= CHANGE_MS => Self::Changes(low, high),
            (_, Some(offset)) => Self::Steady(offset),
            (_, None) => Self::CantTell,
        }
    }

    /// The lowest and the highest offset.
    fn span(self) -> Option<[f64; 2]> {
        match self {
            Self::CantTell => None,
            Self::Steady(o) => Some([o, o]),
            Self::Drifts(a, b) | Self::Changes(a, b) => Some([a.min(b), a.max(b)]),
        }
    }

    fn headline(self, verdicts: Option<Verdicts>) -> String {
        let words = |o: f64| lateness(o).unwrap_or_else(|| "on time".to_owned());
        match self {
            Self::CantTell => "Can’t tell".to_owned(),
            Self::Steady(_) if verdicts.is_some_and(|v| v.all_within()) => "In sync".to_owned(),
            Self::Steady(o) => sound(o).replacen('s', "S", 1),
            Self::Drifts(from, to) => format!("Sound drifts from {} to {}", words(from), words(to)),
            Self::Changes(low, high) => format!("Offset changes, from {} to {}", words(low), words(high)),
        }
    }
}

impl SyncReport {
    /// Fills in every verdict from its offset.
    #[must_use]
    pub fn with_verdicts(mut self) -> Self {
        let of = |offset: Option<f64>| offset.filter(|o| o.is_finite()).map(Verdicts::of);
        self.verdicts = of(self.offset_ms);
        for segment in &mut self.segments {
            segment.verdicts = of(segment.offset_ms);
        }
        self
    }

    /// The worst verdicts of any place in the file, and whether another place does better, by standard.
    fn worst(&self, finding: Finding) -> Option<(Verdicts, [bool; 3])> {
        let all: Vec<Verdicts> = match finding {
            Finding::CantTell => Vec::new(),
            Finding::Steady(o) => vec![self.verdicts.unwrap_or_else(|| Verdicts::of(o))],
            Finding::Drifts(..) | Finding::Changes(..) => {
                self.segments.iter().filter_map(Segment::ends).flatten().map(Verdicts::of).collect()
            }
        };
        let worst = all.iter().copied().reduce(Verdicts::worse)?;
        let better = [
            all.iter().any(|v| v.bt1359 < worst.bt1359),
            all.iter().any(|v| v.r37 < worst.r37),
            all.iter().any(|v| v.is191 < worst.is191),
        ];
        Some((worst, better))
    }

    fn why_words(&self) -> String {
        self.why.clone().unwrap_or_else(|| "too little of the file could be judged".to_owned())
    }
}

/// "+84 ± 6 ms", "+84 ms".
fn figure(offset_ms: f64, error_ms: Option<f64>) -> String {
    match error_ms.filter(|e| e.is_finite()) {
        Some(e) => format!("{} ± {} ms", digits(offset_ms), error_digits(e)),
        None => format!("{} ms", digits(offset_ms)),
    }
}

/// "+0.31 ms/min": two digits that mean something.
fn drift(ms_per_min: f64) -> String {
    let decimals = match ms_per_min.abs() {
        d if d < 1.0 => 2,
        d if d < 10.0 => 1,
        _ => 0,
    };
    format!("{} ms/min", signed(ms_per_min, decimals))
}

/// The report in lines for a terminal: the answer first, then the standards, then what it rests on.
#[must_use]
pub fn words(report: &SyncReport) -> Vec<String> {
    let finding = Finding::of(report);
    let worst = report.worst(finding);
    let head = finding.headline(worst.map(|w| w.0));
    let sure = format!("{}: {} within ±20 ms", percent(report.confidence), surety(report.confidence));
    let mut lines = match (finding, report.offset_ms) {
        (Finding::CantTell, _) => vec![format!("can't tell: {}", plain(&report.why_words()))],
        (Finding::Steady(_), Some(o)) => vec![format!("{head}: {} ({sure})", figure(o, report.error_ms))],
        _ => vec![head],
    };
    if let (Finding::Steady(o), Some((verdicts, _))) = (finding, worst) {
        lines.extend(verdicts.words(o, report.error_ms));
    }
    if let Some(d) = report.drift_ms_per_min.filter(|_| finding != Finding::CantTell) {
        lines.push(format!("drift {}", drift(d)));
    }
    let shown = 40;
    if report.segments.len() > 1 || matches!(finding, Finding::Drifts(..)) {
        lines.extend(report.segments.iter().take(shown).map(segment_words));
        if report.segments.len() > shown {
            lines.push(format!("… and {} more segments (--json has them all)", report.segments.len() - shown));
        }
    }
    lines.push(format!(
        "judged: {} with somebody visible speaking, of {}; > 0: the sound is late",
        length(report.judged_s),
        length(report.duration_ms / 1e3)
    ));
    lines
}

fn segment_words(s: &Segment) -> String {
    let when = format!("{} … {}", clock(s.start_ms), clock(s.end_ms));
    let Some(offset) = s.offset_ms.filter(|o| o.is_finite()) else { return format!("{when}  can't tell") };
    let verdicts = s.verdicts.unwrap_or_else(|| Verdicts::of(offset));
    let moves = s.drift_ms_per_min.map_or_else(String::new, |d| format!(", {}", drift(d)));
    let [bt, r37, is191] = page::verdict_words(verdicts);
    let sure = percent(s.confidence);
    format!("{when}  {}{moves} ({sure}); BT.1359-1 {bt}, R37 {r37}, IS-191 {is191}", figure(offset, s.error_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn segment(start_s: f64, end_s: f64, offset: Option<f64>, drift: Option<f64>) -> Segment {
        Segment {
            start_ms: start_s * 1e3,
            end_ms: end_s * 1e3,
            offset_ms: offset,
            confidence: 0.97,
            error_ms: offset.map(|_| 6.0),
            drift_ms_per_min: drift,
            verdicts: None,
        }
    }

    pub(super) fn report(offset: Option<f64>, segments: Vec<Segment>) -> SyncReport {
        SyncReport {
            schema: SCHEMA,
            source: "talk.mp4".to_owned(),
            engine: "test".to_owned(),
            duration_ms: 600e3,
            judged_s: 312.0,
            offset_ms: offset,
            confidence: 0.97,
            error_ms: offset.map(|_| 6.0),
            drift_ms_per_min: None,
            verdicts: None,
            why: None,
            segments,
            points: Vec::new(),
        }
        .with_verdicts()
    }

    #[test]
    fn the_answer_fits_what_was_found() {
        let drifting = || segment(0.0, 600.0, Some(50.0), Some(10.0));
        let table = [
            (report(None, vec![]), "Can’t tell"),
            (report(Some(84.0), vec![]), "Sound is 84 ms late"),
            (report(Some(84.0), vec![segment(0.0, 600.0, Some(84.0), Some(0.1))]), "Sound is 84 ms late"),
            (report(Some(-50.0), vec![]), "Sound is 50 ms early"),
            (report(Some(12.0), vec![]), "In sync"),
            (report(Some(46.0), vec![]), "Sound is 46 ms late"),
            (report(Some(50.0), vec![drifting()]), "Sound drifts from on time to 100 ms late"),
            (
                report(None, vec![segment(0.0, 9.0, Some(-20.0), None), segment(9.0, 20.0, Some(120.0), None)]),
                "Offset changes, from 20 ms early to 120 ms late",
            ),
            // Segments that can't be told don't count.
            (report(Some(3.0), vec![segment(0.0, 9.0, Some(3.0), None), segment(9.0, 20.0, None, None)]), "In sync"),
        ];
        for (report, head) in table {
            let finding = Finding::of(&report);
            assert_eq!(finding.headline(report.worst(finding).map(|w| w.0)), head);
        }
    }

    #[test]
    fn the_worst_place_gives_the_verdict_and_says_if_others_are_better() {
        let r = report(Some(84.0), vec![segment(0.0, 9.0, Some(0.0), None), segment(9.0, 20.0, Some(70.0), None)]);
        let (worst, better) = r.worst(Finding::of(&r)).unwrap();
        assert_eq!(worst, Verdicts::of(70.0));
        assert_eq!(better, [false, true, true]);
    }

    #[test]
    fn words_for_a_terminal() {
        let lines = words(&report(Some(84.0), vec![]));
        assert_eq!(lines[0], "Sound is 84 ms late: +84 ± 6 ms (97 %: very likely within ±20 ms)");
        assert_eq!(lines[2], "sound is 84 ms late: outside EBU R37 (−40…+60)");
        assert_eq!(lines[4], "judged: 5 min with somebody visible speaking, of 10 min; > 0: the sound is late");
        let mut blind = report(None, vec![]);
        blind.why = Some("nobody\u{1b}[31m visible spoke".to_owned());
        assert_eq!(words(&blind)[0], "can't tell: nobody\u{fffd}[31m visible spoke");
        let steps =
            words(&report(None, vec![segment(0.0, 90.0, Some(-2.0), None), segment(90.0, 600.0, Some(140.0), None)]));
        assert_eq!(steps[2], "1:30 … 10:00  +140 ± 6 ms (97 %); BT.1359-1 noticeable, R37 outside, IS-191 outside");
    }

    #[test]
    fn drift_shows_two_digits() {
        for (d, text) in [(0.312, "+0.31 ms/min"), (-1.26, "−1.3 ms/min"), (12.6, "+13 ms/min"), (0.001, "0.00 ms/min")]
        {
            assert_eq!(drift(d), text);
        }
    }

    #[test]
    fn the_json_contract() {
        let mut r = report(Some(84.0), vec![segment(0.0, 600.0, None, None)]);
        r.points.push(Point { t_ms: 1e3, offset_ms: 80.0, low_ms: 70.0, high_ms: 90.0, confidence: 0.9 });
        let json = serde_json::to_value(&r).unwrap();
        assert_eq!(json["schema"], 1);
        assert_eq!(json["verdicts"]["r37"], "outside");
        assert!(json["why"].is_null() && json["segments"][0]["offset_ms"].is_null());
        let keys = |v: &serde_json::Value| v.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
        assert_eq!(
            keys(&json),
            "confidence drift_ms_per_min duration_ms engine error_ms judged_s offset_ms points schema segments source \
             verdicts why"
        );
        assert_eq!(
            keys(&json["segments"][0]),
            "confidence drift_ms_per_min end_ms error_ms offset_ms start_ms verdicts"
        );
        assert_eq!(keys(&json["points"][0]), "confidence high_ms low_ms offset_ms t_ms");
        assert_eq!(serde_json::from_value::<SyncReport>(json).unwrap(), r);
    }
}
