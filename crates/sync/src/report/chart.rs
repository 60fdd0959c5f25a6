//! The two drawings of the page: the offset over time, and the offset on the scale of the tolerances.
//!
//! Only shapes are SVG; they are stretched to the place they get, with strokes that keep their width. Text is HTML laid
//! over them at percentages, so it stays readable on a phone. Units inside the SVG: 0…1000 across and down.

use super::text::{clock, escape};
use super::{Point, Segment, SyncReport};
use crate::verdict::{BT1359_ACCEPTABILITY, BT1359_DETECTABILITY, IS191, Limits, R37, digits, signed};

/// So many points are drawn at most; a screen has no more columns to show them.
pub(super) const MOST_POINTS: usize = 1500;
/// Points farther apart than this are not joined into one band, ms: nobody spoke in between. (Of
/// points a second apart, those left by thinning lie up to two groups apart.)
const GAP_MS: f64 = 4000.0;
/// So many segments still carry their figure in the chart.
const MOST_LABELS: usize = 8;
/// Text in the margin is kept apart by this much of the height, percent.
const LABEL_GAP: f64 = 5.2;

/// From the outermost in, with the names in the margin (the part in the middle gives way on a phone).
pub(super) const BANDS: [(&str, &str, &str, Limits); 4] = [
    ("accept", "BT.1359 ", "accepted", BT1359_ACCEPTABILITY),
    ("detect", "BT.1359 ", "unnoticed", BT1359_DETECTABILITY),
    ("r37", "EBU ", "R37", R37),
    ("is191", "ATSC ", "IS-191", IS191),
];

/// A straight scale from values to 0…1000 (or to percent).
#[derive(Clone, Copy, Debug, PartialEq)]
struct Scale {
    from: f64,
    to: f64,
}

impl Scale {
    fn unit(self, x: f64) -> f64 {
        let u = (x - self.from) / (self.to - self.from);
        // What is no number has no place; it must not break the drawing.
        if u.is_nan() { 0.0 } else { u }
    }

    /// Across, 0…1000.
    fn across(self, x: f64) -> f64 {
        self.unit(x).clamp(0.0, 1.0) * 1e3
    }

    /// Down, 0…1000: higher values are farther up.
    fn down(self, x: f64) -> f64 {
        (1.0 - self.unit(x).clamp(0.0, 1.0)) * 1e3
    }

    fn contains(self, x: f64) -> bool {
        (self.from..=self.to).contains(&x)
    }

    /// The multiples of `step` that it covers.
    fn ticks(self, step: f64) -> Vec<f64> {
        let mut ticks = Vec::new();
        let mut k = (self.from / step).ceil();
        while k * step <= self.to && ticks.len() < 100 {
            ticks.push(k * step);
            k += 1.0;
        }
        ticks
    }

    /// The finest of the steps that gives no more than `most` ticks.
    fn step(self, steps: &[f64], most: f64) -> f64 {
        let fits = |s: &&f64| (self.to - self.from) / **s <= most;
        steps.iter().find(fits).copied().unwrap_or((self.to - self.from) / most)
    }
}

/// The points as drawn: all, or of every few the lowest and the highest. Only measured points are shown, and no outlier
/// gets lost in a mean.
pub(super) fn thinned(points: &[Point]) -> Vec<Point> {
    let usable =
        |p: &&Point| [p.t_ms, p.offset_ms, p.low_ms, p.high_ms].iter().all(|x| x.is_finite()) && p.low_ms <= p.high_ms;
    let all: Vec<Point> = points.iter().filter(usable).copied().collect();
    if all.len() <= MOST_POINTS {
        return all;
    }
    let mut out: Vec<Point> = Vec::with_capacity(MOST_POINTS);
    for group in all.chunks(group_len(all.len())) {
        let low = group.iter().min_by(|a, b| a.offset_ms.total_cmp(&b.offset_ms));
        let high = group.iter().max_by(|a, b| a.offset_ms.total_cmp(&b.offset_ms));
        let (Some(low), Some(high)) = (low, high) else { continue };
        let (first, second) = if low.t_ms <= high.t_ms { (low, high) } else { (high, low) };
        out.push(*first);
        if second != first {
            out.push(*second);
        }
    }
    out
}

/// Of how many points two are shown; 1 if there are few enough to show all.
pub(super) fn group_len(points: usize) -> usize {
    if points <= MOST_POINTS { 1 } else { (2 * points).div_ceil(MOST_POINTS) }
}

fn quantile(sorted: &[f64], q: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    // The place as a float; the index next to it is searched for rather than cast.
    let place = f64::from(u32::try_from(last).unwrap_or(u32::MAX)) * q;
    (0..=last).zip(0_u32..).find(|(_, k)| f64::from(*k) >= place).and_then(|(i, _)| sorted.get(i)).copied()
}

fn scales(report: &SyncReport, points: &[Point]) -> (Scale, Scale) {
    let ends = report.segments.iter().map(|s| s.end_ms).chain(points.iter().map(|p| p.t_ms));
    let x = Scale { from: 0.0, to: ends.filter(|t| t.is_finite()).fold(report.duration_ms.max(1.0), f64::max) };
    // A few wild points may lie beyond the chart (they are marked at its rim) rather than flatten all others.
    let mut edges: Vec<f64> = points.iter().flat_map(|p| [p.low_ms, p.high_ms]).collect();
    edges.sort_by(f64::total_cmp);
    let mut low = quantile(&edges, 0.02).unwrap_or(0.0).min(-50.0);
    let mut high = quantile(&edges, 0.98).unwrap_or(0.0).max(70.0);
    for segment in &report.segments {
        let error = segment.error_ms.filter(|e| e.is_finite()).unwrap_or(0.0);
        for end in segment.ends().into_iter().flatten() {
            low = low.min(end - error);
            high = high.max(end + error);
        }
    }
    let pad = (high - low) * 0.07;
    (x, Scale { from: low - pad, to: high + pad })
}

fn path(class: &str, d: &str) -> String {
    if d.is_empty() { String::new() } else { format!("<path class=\"{class}\" d=\"{d}\"/>") }
}

fn rect(class: &str, x: [f64; 2], y: [f64; 2]) -> String {
    let (w, h) = ((x[1] - x[0]).max(0.0), (y[1] - y[0]).max(0.0));
    format!("<rect class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\" width=\"{w:.1}\" height=\"{h:.1}\"/>", x[0], y[0])
}

/// The offset over time. `points` are [`thinned`]. `described_by` is the id of the text that says what is to be seen.
pub(super) fn course(report: &SyncReport, points: &[Point], described_by: &str) -> String {
    let (x, y) = scales(report, points);
    let mut svg = String::new();
    let mut text = String::new();
    let mut margin: Vec<(f64, String)> = Vec::new();
    for (class, wide, name, limits) in BANDS {
        let (top, bottom) = (y.down(limits.late_ms), y.down(limits.early_ms));
        svg += &rect(&format!("band {class}"), [0.0, 1e3], [top, bottom]);
        for limit in [limits.late_ms, limits.early_ms].into_iter().filter(|l| y.contains(*l)) {
            svg += &path(&format!("limit {class}"), &format!("M0 {:.1}H1000", y.down(limit)));
            let label =
                format!("<span class=\"wide\">{wide}</span>{name}<span class=\"wide\"> {}</span>", signed(limit, 0));
            margin.push((y.down(limit) / 10.0, label));
        }
    }
    for tick in y.ticks(y.step(&[5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0], 8.0)) {
        let at = y.down(tick);
        svg += &path(if tick.abs() < 1e-9 { "zero" } else { "grid" }, &format!("M0 {at:.1}H1000"));
        text += &format!("<span class=\"y\" style=\"top:{:.2}%\">{}</span>", at / 10.0, signed(tick, 0));
    }
    let seconds = [1., 2., 5., 10., 15., 30., 60., 120., 300., 600., 900., 1800., 3600., 7200., 14400., 28800.];
    let steps: Vec<f64> = seconds.iter().map(|s| s * 1e3).collect();
    for (i, tick) in x.ticks(x.step(&steps, 9.0)).into_iter().enumerate() {
        let at = x.across(tick);
        svg += &path("grid", &format!("M{at:.1} 0V1000"));
        let odd = if i % 2 == 1 { " odd" } else { "" };
        text += &format!("<span class=\"x{odd}\" style=\"left:{:.2}%\">{}</span>", at / 10.0, clock(tick));
    }
    let group = group_len(report.points.len());
    let gap_ms = GAP_MS.max(2e3 * f64::from(u32::try_from(group).unwrap_or(u32::MAX)));
    svg += &marks(points, gap_ms, x, y);
    svg += &lines(&report.segments, x, y);
    text += &segment_labels(&report.segments, x, y);
    for (top, label) in apart(margin) {
        text += &format!("<span class=\"limit-name\" style=\"top:{top:.2}%\">{label}</span>");
    }
    format!(
        "<div class=\"plot\" role=\"img\" aria-label=\"Chart of the offset over time\" aria-describedby=\"{described_by}\">\
         <svg viewBox=\"0 0 1000 1000\" preserveAspectRatio=\"none\" aria-hidden=\"true\" focusable=\"false\">{svg}</svg>\
         <div aria-hidden=\"true\">{text}<span class=\"late\">↑ sound late, ms</span>\
         <span class=\"early\">↓ sound early</span></div></div>\n"
    )
}

/// Interval band, and a dot for each point in three shades of confidence.
fn marks(points: &[Point], gap_ms: f64, x: Scale, y: Scale) -> String {
    let mut band = String::new();
    for run in points.chunk_by(|a, b| b.t_ms - a.t_ms <= gap_ms) {
        let side = |p: &Point, v: f64| format!("{:.1} {:.1}", x.across(p.t_ms), y.down(v));
        if let [p] = run {
            // A lone point has no width to fill: a thin bar.
            let (at, w) = (x.across(p.t_ms), 0.8);
            let (top, bottom) = (y.down(p.high_ms), y.down(p.low_ms));
            band += &format!("M{:.1} {top:.1}h{w}V{bottom:.1}h-{w}z", at - w / 2.0);
            continue;
        }
        let up: Vec<String> = run.iter().map(|p| side(p, p.high_ms)).collect();
        let back: Vec<String> = run.iter().rev().map(|p| side(p, p.low_ms)).collect();
        band += &format!("M{}L{}z", up.join("L"), back.join("L"));
    }
    let mut dots = [const { String::new() }; 3];
    let mut beyond = String::new();
    for p in points {
        let shade = usize::from(p.confidence >= 0.5) + usize::from(p.confidence >= 0.8);
        let to = if y.contains(p.offset_ms) { &mut dots[shade] } else { &mut beyond };
        // A line of no length with round ends: a dot that keeps its shape when the drawing is stretched.
        *to += &format!("M{:.1} {:.1}h0", x.across(p.t_ms), y.down(p.offset_ms));
    }
    let [low, mid, high] = dots;
    path("interval", &band)
        + &path("dot low", &low)
        + &path("dot mid", &mid)
        + &path("dot high", &high)
        + &path("dot beyond", &beyond)
}

/// How many points lie beyond the chart.
pub(super) fn beyond(report: &SyncReport, points: &[Point]) -> usize {
    let (_, y) = scales(report, points);
    points.iter().filter(|p| !y.contains(p.offset_ms)).count()
}

fn lines(segments: &[Segment], x: Scale, y: Scale) -> String {
    let mut svg = String::new();
    for (i, s) in segments.iter().enumerate() {
        let (a, b) = (x.across(s.start_ms), x.across(s.end_ms));
        if i > 0 {
            svg += &path("cut", &format!("M{a:.1} 0V1000"));
        }
        let Some([from, to]) = s.ends() else {
            svg += &rect("untold", [a, b], [0.0, 1e3]);
            continue;
        };
        if let Some(e) = s.error_ms.filter(|e| e.is_finite()) {
            let d = format!(
                "M{a:.1} {:.1}L{b:.1} {:.1}V{:.1}L{a:.1} {:.1}z",
                y.down(from + e),
                y.down(to + e),
                y.down(to - e),
                y.down(from - e)
            );
            svg += &path("error", &d);
        }
        svg += &path("segment", &format!("M{a:.1} {:.1}L{b:.1} {:.1}", y.down(from), y.down(to)));
    }
    svg
}

fn segment_labels(segments: &[Segment], x: Scale, y: Scale) -> String {
    let mut text = String::new();
    for s in segments.iter().filter(|_| segments.len() <= MOST_LABELS) {
        let at = x.across(f64::midpoint(s.start_ms, s.end_ms)) / 10.0;
        let wide = x.across(s.end_ms) - x.across(s.start_ms) >= 90.0;
        match s.ends() {
            Some([from, to]) if wide => {
                let error = s.error_ms.filter(|e| e.is_finite()).unwrap_or(0.0);
                let top = y.down(f64::midpoint(from, to) + error) / 10.0;
                let words = if (to - from).abs() < super::CHANGE_MS {
                    format!("{} ms", digits(f64::midpoint(from, to)))
                } else {
                    format!("{} → {} ms", digits(from), digits(to))
                };
                text +=
                    &format!("<span class=\"told\" style=\"left:{at:.2}%;top:{top:.2}%\">{}</span>", escape(&words));
            }
            None if wide => text += &format!("<span class=\"told none\" style=\"left:{at:.2}%\">can’t tell</span>"),
            _ => {}
        }
    }
    text
}

/// Moves labels off each other, as little as it takes.
fn apart(mut labels: Vec<(f64, String)>) -> Vec<(f64, String)> {
    labels.sort_by(|a, b| a.0.total_cmp(&b.0));
    for _ in 0..50 {
        for i in 1..labels.len() {
            let lap = LABEL_GAP - (labels[i].0 - labels[i - 1].0);
            if lap > 1e-9 {
                labels[i - 1].0 -= lap / 2.0;
                labels[i].0 += lap / 2.0;
            }
        }
    }
    labels
}

/// The scale of the tolerance meter: wide enough for the standards, and for the offset.
#[derive(Clone, Copy, Debug)]
pub(super) struct Meter {
    scale: Scale,
    span: [f64; 2],
    /// Half the width of the error band.
    error_ms: f64,
}

impl Meter {
    pub(super) fn new(span: [f64; 2], error_ms: Option<f64>) -> Self {
        let error_ms = error_ms.filter(|e| e.is_finite()).unwrap_or(0.0);
        let far = span[0].abs().max(span[1].abs()) + error_ms;
        let reach = if far <= 210.0 { 220.0 } else { (far / 100.0).ceil() * 110.0 };
        Self { scale: Scale { from: -reach, to: reach }, span, error_ms }
    }

    /// One row: the allowed ranges, from the outermost in, and where the offset is.
    pub(super) fn track(&self, ranges: &[(&str, Limits)]) -> String {
        let across = |ms: f64| self.scale.across(ms);
        let mut svg = String::new();
        for (class, l) in ranges {
            let x = [across(l.early_ms), across(l.late_ms)];
            svg += &rect(&format!("band {class}"), x, [250.0, 750.0]);
        }
        svg += &path("zero", &format!("M{:.1} 0V1000", across(0.0)));
        let [low, high] = self.span;
        let needle = |ms: f64| path("needle", &format!("M{:.1} 0V1000", across(ms)));
        svg += &rect("error", [across(low - self.error_ms), across(high + self.error_ms)], [0.0, 1e3]);
        svg += &needle(low);
        if high > low {
            svg += &needle(high);
            svg += &path("needle", &format!("M{:.1} 500H{:.1}", across(low), across(high)));
        }
        format!(
            "<svg class=\"track\" viewBox=\"0 0 1000 1000\" preserveAspectRatio=\"none\" aria-hidden=\"true\" \
             focusable=\"false\">{svg}</svg>"
        )
    }

    /// The figures below the rows.
    pub(super) fn axis(&self) -> String {
        let step = self.scale.step(&[50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0], 9.0);
        let tick = |(i, &ms): (usize, &f64)| {
            let odd = if i % 2 == 1 { " class=\"odd\"" } else { "" };
            format!("<span{odd} style=\"left:{:.2}%\">{}</span>", self.scale.across(ms) / 10.0, signed(ms, 0))
        };
        self.scale.ticks(step).iter().enumerate().map(tick).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{report, segment};
    use super::*;
    use proptest::prelude::*;

    fn point(t_ms: f64, offset_ms: f64) -> Point {
        Point { t_ms, offset_ms, low_ms: offset_ms - 10.0, high_ms: offset_ms + 10.0, confidence: 0.9 }
    }

    proptest! {
        #[test]
        fn thinning_keeps_extremes_order_and_measured_points(
            offsets in proptest::collection::vec(-300.0..300.0_f64, 0..6000), spacing in 1000.0..3000.0_f64
        ) {
            let t = (0_u32..).map(|i| f64::from(i) * spacing);
            let all: Vec<Point> = offsets.iter().zip(t).map(|(&o, t)| point(t, o)).collect();
            let few = thinned(&all);
            prop_assert!(few.len() <= MOST_POINTS);
            prop_assert!(few.windows(2).all(|w| w[0].t_ms < w[1].t_ms));
            prop_assert!(few.iter().all(|p| all.contains(p)));
            let top = |points: &[Point]| points.iter().map(|p| p.offset_ms).fold(f64::NEG_INFINITY, f64::max);
            let low = |points: &[Point]| points.iter().map(|p| p.offset_ms).fold(f64::INFINITY, f64::min);
            prop_assert!(top(&few).total_cmp(&top(&all)).is_eq() && low(&few).total_cmp(&low(&all)).is_eq());
        }

        #[test]
        fn labels_never_lap(places in proptest::collection::vec(0.0..100.0_f64, 0..9)) {
            let out = apart(places.iter().map(|&p| (p, String::new())).collect());
            prop_assert!(out.windows(2).all(|w| w[1].0 - w[0].0 > LABEL_GAP * 0.8));
        }
    }

    #[test]
    fn late_is_up_and_right() {
        let s = Scale { from: -100.0, to: 100.0 };
        assert!(s.down(50.0) < s.down(-50.0) && s.across(50.0) > s.across(-50.0));
        assert_eq!(s.ticks(50.0), [-100.0, -50.0, 0.0, 50.0, 100.0]);
        assert!((s.step(&[5.0, 20.0, 50.0], 8.0) - 50.0).abs() < 1e-9);
    }

    #[test]
    fn what_is_not_a_number_is_left_out() {
        let points = [point(0.0, f64::NAN), point(f64::INFINITY, 3.0), point(2000.0, 5.0)];
        assert_eq!(thinned(&points), [points[2]]);
        let mut r = report(Some(5.0), vec![segment(0.0, 10.0, Some(f64::NAN), None)]);
        r.duration_ms = f64::NAN;
        assert!(!course(&r, &points[2..], "x").contains("NaN"));
        assert!(!Meter::new([5.0, 5.0], Some(f64::NAN)).track(&[("r37", R37)]).contains("NaN"));
    }

    #[test]
    fn wild_points_are_marked_at_the_rim() {
        let mut points: Vec<Point> = (0..200).map(|i| point(f64::from(i) * 1e3, 10.0)).collect();
        points[7] = point(7e3, 900.0);
        let r = report(Some(10.0), vec![]);
        assert_eq!(beyond(&r, &points), 1);
        assert!(course(&r, &points, "x").contains("dot beyond"));
    }

    #[test]
    fn a_drifting_segment_rises_and_a_break_in_speech_breaks_the_band() {
        let r = report(Some(50.0), vec![segment(0.0, 600.0, Some(50.0), Some(10.0))]);
        let (x, y) = scales(&r, &[]);
        let svg = lines(&r.segments, x, y);
        assert!(svg.contains(&format!("M0.0 {:.1}L1000.0 {:.1}", y.down(0.0), y.down(100.0))), "{svg}");
        let points = [point(0.0, 1.0), point(1e3, 2.0), point(60e3, 3.0)];
        assert_eq!(marks(&points, GAP_MS, x, y).matches('z').count(), 2);
    }

    #[test]
    fn the_meter_reaches_as_far_as_the_offset() {
        assert!(Meter::new([84.0, 84.0], Some(6.0)).axis().contains("+200"));
        assert!(Meter::new([-950.0, -950.0], None).axis().contains("−1000"));
        let needles = |span| Meter::new(span, None).track(&[("r37", R37)]).matches("needle").count();
        assert_eq!((needles([84.0, 84.0]), needles([-20.0, 84.0])), (1, 3));
    }
}
