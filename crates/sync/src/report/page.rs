//! The page: its parts from top to bottom.

use super::chart::{self, BANDS, Meter};
use super::text::{base64, clock, clock_tenths, escape, length, percent, sentence, surety};
use super::{Finding, Point, Segment, SyncReport, Thumbnail, drift, figure};
use crate::verdict::{BT1359_ACCEPTABILITY, BT1359_DETECTABILITY};
use crate::verdict::{Bt1359, IS191, Limits, R37, Tolerance, Verdicts, error_digits, signed, sound};

const STYLE: &str = include_str!("style.css");

/// Forbids every script and every request, whatever the page may be made to contain.
const POLICY: &str =
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// Names of the three standards, in the order of all tables.
const STANDARDS: [&str; 3] = ["ITU-R BT.1359-1", "EBU R37", "ATSC IS-191"];

/// The verdicts in a word or two each: BT.1359-1, R37, IS-191.
pub(super) fn verdict_words(v: Verdicts) -> [&'static str; 3] {
    let bt = match v.bt1359 {
        Bt1359::Undetectable => "not noticeable",
        Bt1359::Detectable => "noticeable",
        Bt1359::Unacceptable => "unacceptable",
    };
    let of = |t: Tolerance| if t == Tolerance::Within { "within" } else { "outside" };
    [bt, of(v.r37), of(v.is191)]
}

/// How the verdicts look: a class of the style sheet, and a sign that tells them apart without colour.
fn verdict_looks(v: Verdicts) -> [(&'static str, &'static str); 3] {
    const LOOKS: [(&str, &str); 3] = [("ok", "✓"), ("warn", "▲"), ("bad", "✕")];
    let bt = match v.bt1359 {
        Bt1359::Undetectable => LOOKS[0],
        Bt1359::Detectable => LOOKS[1],
        Bt1359::Unacceptable => LOOKS[2],
    };
    let of = |t: Tolerance| if t == Tolerance::Within { LOOKS[0] } else { LOOKS[2] };
    [bt, of(v.r37), of(v.is191)]
}

/// The report as one page of HTML that needs nothing else. Whatever comes from the file is escaped.
#[must_use]
pub fn html(report: &SyncReport, thumbnails: &[Thumbnail]) -> String {
    let finding = Finding::of(report);
    let points = chart::thinned(&report.points);
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<meta name=\"generator\" content=\"seehear\">\n\
         <title>A/V sync: {}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n",
        escape(&report.source)
    );
    page += &answer(report, finding);
    page += "<main>\n";
    page += &meter(report, finding);
    page += &course(report, &points);
    page += &segments(&report.segments);
    page += &stills(thumbnails);
    page += "</main>\n";
    page += &footer(report);
    page += "</body>\n</html>\n";
    page
}

fn answer(report: &SyncReport, finding: Finding) -> String {
    let worst = report.worst(finding);
    let (class, sign) = match worst {
        None => ("soft", "?"),
        Some((v, _)) if v.all_within() => ("ok", "✓"),
        Some((v, _)) if v.bt1359 == Bt1359::Unacceptable => ("bad", "✕"),
        Some(_) => ("warn", "▲"),
    };
    let mut out = format!(
        "<header>\n<p class=\"kind soft\"><span>A/V sync report</span> <span class=\"wrap\"><bdi>{}</bdi></span></p>\n\
         <h1><span class=\"mark {class}\" aria-hidden=\"true\">{sign}</span>{}</h1>\n<p class=\"lede\">{}</p>\n",
        escape(&report.source),
        sentence(&finding.headline(worst.map(|w| w.0))),
        sentence(&lede(report, finding))
    );
    let mut facts: Vec<(&str, String, String)> = Vec::new();
    if let Some(o) = report.offset_ms.filter(|_| finding != Finding::CantTell) {
        let of = if matches!(finding, Finding::Steady(_)) { "of the whole file" } else { "over the whole file" };
        let error = if report.error_ms.is_some() { ", ± one standard deviation" } else { "" };
        facts.push(("Offset", figure(o, report.error_ms), format!("{of}{error}")));
        let sure = format!("{} within ±20 ms", surety(report.confidence));
        facts.push(("Confidence", percent(report.confidence), sure));
    }
    if let Some(d) = report.drift_ms_per_min.filter(|_| finding != Finding::CantTell) {
        let total = d * report.duration_ms / 60e3;
        let way = match signed(total, 0) {
            ms if ms == "0" => "less than 1 ms over the whole file".to_owned(),
            ms => format!("{ms} ms over the whole file"),
        };
        facts.push(("Drift", drift(d), way));
    }
    let of = format!("with somebody visible speaking, of {}", length(report.duration_ms / 1e3));
    facts.push(("Judged", length(report.judged_s), of));
    out += "<dl class=\"readout\">\n";
    for (name, value, note) in facts {
        out += &format!("<div><dt>{name}</dt><dd>{}<small>{}</small></dd></div>\n", sentence(&value), sentence(&note));
    }
    out + "</dl>\n</header>\n"
}

/// The sentence below the answer.
fn lede(report: &SyncReport, finding: Finding) -> String {
    let Some((worst, better)) = report.worst(finding) else {
        let why = report.why_words();
        let end = if why.ends_with(['.', '!', '?']) { "" } else { "." };
        return format!("{why}{end}").chars().enumerate().map(capital_first).collect();
    };
    let names = |outside: bool| -> Vec<&str> {
        let is =
            [worst.bt1359 != Bt1359::Undetectable, worst.r37 == Tolerance::Outside, worst.is191 == Tolerance::Outside];
        STANDARDS.iter().zip(is).skip(1).filter(|(_, out)| *out == outside).map(|(name, _)| *name).collect()
    };
    let at_times = if better[1] || better[2] { " at times" } else { "" };
    let tolerances = match (names(true).as_slice(), names(false).as_slice()) {
        ([], within) => format!("Within {}", within.join(" and ")),
        ([out], [within]) => format!("Outside {out}{at_times}, within {within}"),
        (out, _) => format!("Outside {}{at_times}", out.join(" and ")),
    };
    let noticed = match (worst.bt1359, better[0]) {
        (Bt1359::Undetectable, _) => "most viewers will not notice",
        (Bt1359::Detectable, false) => "viewers notice, and most still accept it",
        (Bt1359::Detectable, true) => "viewers notice at times, and most still accept it",
        (Bt1359::Unacceptable, false) => "most viewers will not accept it",
        (Bt1359::Unacceptable, true) => "at its worst, most viewers will not accept it",
    };
    let what = match finding {
        Finding::Steady(o) if worst.all_within() => format!("{}. ", sound(o).replacen('s', "S", 1)),
        _ => String::new(),
    };
    format!("{what}{tolerances}; {noticed} (ITU-R BT.1359-1).")
}

fn capital_first((i, c): (usize, char)) -> char {
    if i == 0 { c.to_ascii_uppercase() } else { c }
}

fn meter(report: &SyncReport, finding: Finding) -> String {
    let error = report.error_ms.filter(|_| matches!(finding, Finding::Steady(_)));
    // Nothing told, nothing to hold against the standards; the footer still says what they are.
    let (Some(span), Some((worst, better))) = (finding.span(), report.worst(finding)) else { return String::new() };
    let meter = Meter::new(span, error);
    let rows: [(&[(&str, Limits)], String); 3] = [
        (
            &[("accept", BT1359_ACCEPTABILITY), ("detect", BT1359_DETECTABILITY)],
            format!("unnoticed {} ms<br>accepted {} ms", BT1359_DETECTABILITY.range(), BT1359_ACCEPTABILITY.range()),
        ),
        (&[("r37", R37)], format!("{} ms", R37.range())),
        (&[("is191", IS191)], format!("{} ms", IS191.range())),
    ];
    let mut out = String::from(
        "<section aria-labelledby=\"h-meter\">\n<h2 id=\"h-meter\">Against the standards</h2>\n<table class=\"meter\" role=\"table\">\n\
         <thead role=\"rowgroup\"><tr role=\"row\">\
         <th role=\"columnheader\" scope=\"col\"><span class=\"unseen\">Standard</span></th>\
         <th role=\"columnheader\" scope=\"col\"><span class=\"unseen\">Scale</span></th>\
         <th role=\"columnheader\" scope=\"col\"><span class=\"unseen\">Verdict</span></th></tr></thead>\n\
         <tbody role=\"rowgroup\">\n",
    );
    for (i, (ranges, allowed)) in rows.iter().enumerate() {
        let times = if better[i] { " at times" } else { "" };
        let (class, sign) = verdict_looks(worst)[i];
        let edge = match (finding, error) {
            (Finding::Steady(o), Some(e)) if ranges.iter().any(|(_, l)| l.at_edge(o, e)) => {
                format!("<small>at the edge: the error is about ±{} ms</small>", error_digits(e))
            }
            _ => String::new(),
        };
        let words = verdict_words(worst)[i];
        let verdict = format!("<span class=\"{class}\"><i aria-hidden=\"true\">{sign}</i>{words}{times}</span>{edge}");
        out += &format!(
            "<tr role=\"row\"><th role=\"rowheader\" scope=\"row\"><span class=\"nb\">{}</span><small>{allowed}</small></th>\
             <td role=\"cell\" class=\"lane\">{}</td><td role=\"cell\" class=\"verdict\">{verdict}</td></tr>\n",
            STANDARDS[i],
            meter.track(ranges)
        );
    }
    out + &format!(
        "</tbody>\n<tfoot aria-hidden=\"true\"><tr><th></th><td><span class=\"scale\">{}\
         <span class=\"way\">← sound early</span><span class=\"way right\">sound late, ms →</span></span></td><td></td></tr></tfoot>\n\
         </table>\n</section>\n",
        meter.axis()
    )
}

fn course(report: &SyncReport, points: &[Point]) -> String {
    if points.is_empty() && report.segments.iter().all(|s| s.ends().is_none()) {
        return String::new();
    }
    let mut notes = vec![match (points.first(), points.last()) {
        (Some(first), Some(last)) => format!(
            "{} measured points from {} to {}; each shows the likeliest offset and its interval.",
            report.points.len(),
            clock(first.t_ms),
            clock(last.t_ms)
        ),
        _ => "No course in time was measured, only the segments.".to_owned(),
    }];
    let group = chart::group_len(report.points.len());
    if group > 1 {
        notes.push(format!("Shown are {} of them: the lowest and the highest of every {group}.", points.len()));
    }
    match chart::beyond(report, points) {
        0 => {}
        1 => notes.push("One point lies beyond the scale, marked at its rim.".to_owned()),
        n => notes.push(format!("{n} points lie beyond the scale, marked at its rim.")),
    }
    let icon = |shape: &str| format!("<svg viewBox=\"0 0 30 14\" aria-hidden=\"true\">{shape}</svg>");
    let mut key = String::new();
    if !points.is_empty() {
        let dots = "<path class=\"dot high\" d=\"M6 7h0\"/><path class=\"dot mid\" d=\"M15 7h0\"/><path class=\"dot low\" d=\"M24 7h0\"/>";
        key += &format!("<li>{}one moment; paler: less sure</li>", icon(dots));
        key += &format!("<li>{}its interval</li>", icon("<path class=\"interval\" d=\"M0 1H30V13H0z\"/>"));
    }
    if report.segments.iter().any(|s| s.ends().is_some()) {
        let shape = "<path class=\"error\" d=\"M0 2H30V12H0z\"/><path class=\"segment\" d=\"M0 7H30\"/>";
        key += &format!("<li>{}segment ± one standard deviation</li>", icon(shape));
    }
    let shape = "<path class=\"band\" d=\"M0 1H30V13H0z\"/><path class=\"limit\" d=\"M0 1H30M0 13H30\"/>";
    key += &format!("<li>{}tolerances</li>", icon(shape));
    format!(
        "<section class=\"course-part\" aria-labelledby=\"h-course\">\n<h2 id=\"h-course\">Over time</h2>\n<div class=\"course\">\n{}\
         <ul class=\"key\">{key}</ul>\n<p class=\"small soft\" id=\"course-note\">{}</p>\n</div>\n{}</section>\n",
        chart::course(report, points, "course-note"),
        notes.join(" "),
        point_table(points)
    )
}

fn point_table(points: &[Point]) -> String {
    if points.is_empty() {
        return String::new();
    }
    let row = |p: &Point| {
        let [o, low, high] = [p.offset_ms, p.low_ms, p.high_ms].map(|x| signed(x, 0));
        format!(
            "<tr><td>{}</td><td>{o}</td><td>{low}</td><td>{high}</td><td>{}</td></tr>\n",
            clock(p.t_ms),
            percent(p.confidence)
        )
    };
    format!(
        "<details>\n<summary>The chart as a table ({} rows)</summary>\n\
         <div class=\"scroll\" role=\"region\" aria-label=\"The chart as a table\" tabindex=\"0\">\n<table>\n<thead><tr>\
         <th scope=\"col\">Time</th><th scope=\"col\">Offset, ms</th><th scope=\"col\">from</th><th scope=\"col\">to</th>\
         <th scope=\"col\">Confidence</th></tr></thead>\n<tbody>\n{}</tbody>\n</table>\n</div>\n</details>\n",
        points.len(),
        points.iter().map(row).collect::<String>()
    )
}

fn segments(segments: &[Segment]) -> String {
    if segments.is_empty() {
        return String::new();
    }
    let head = ["Time", "Offset", "Drift", "Confidence", "BT.1359-1", "R37", "IS-191"];
    let mut out = String::from(
        "<section aria-labelledby=\"h-segments\">\n<h2 id=\"h-segments\">Segments</h2>\n<table class=\"stack\" role=\"table\" aria-describedby=\"segments-note\">\n\
         <thead role=\"rowgroup\"><tr role=\"row\">",
    );
    for name in head {
        out += &format!("<th role=\"columnheader\" scope=\"col\">{name}</th>");
    }
    out += "</tr></thead>\n<tbody role=\"rowgroup\">\n";
    for s in segments {
        let none = || "<span class=\"soft\">–</span>".to_owned();
        let offset = s.offset_ms.filter(|o| o.is_finite());
        let mut cells = vec![
            offset.map_or_else(|| "can’t tell".to_owned(), |o| figure(o, s.error_ms)),
            s.drift_ms_per_min.filter(|d| d.is_finite()).map_or_else(none, drift),
            offset.map_or_else(none, |_| percent(s.confidence)),
        ];
        match s.verdicts.or(offset.map(Verdicts::of)) {
            Some(v) => cells.extend(verdict_words(v).iter().zip(verdict_looks(v)).map(|(words, (class, sign))| {
                format!("<span class=\"verdict {class}\"><i aria-hidden=\"true\">{sign}</i>{words}</span>")
            })),
            None => cells.extend([none(), none(), none()]),
        }
        out += &format!(
            "<tr role=\"row\"><th role=\"rowheader\" scope=\"row\" data-label=\"{}\"><span class=\"nb\">{} – {}</span></th>",
            head[0],
            clock(s.start_ms),
            clock(s.end_ms)
        );
        for (name, cell) in head.iter().skip(1).zip(cells) {
            out += &format!(
                "<td role=\"cell\" class=\"{}\" data-label=\"{name}\"><span>{cell}</span></td>",
                if cell == none() { "num none" } else { "num" }
            );
        }
        out += "</tr>\n";
    }
    out + "</tbody>\n</table>\n<p class=\"small soft\" id=\"segments-note\">± is one standard deviation; the confidence is the \
           probability that the offset is within ±20 ms. With drift, offset and verdicts are those of the segment’s middle.</p>\n\
           </section>\n"
}

fn stills(thumbnails: &[Thumbnail]) -> String {
    if thumbnails.is_empty() {
        return String::new();
    }
    let mut out = String::from(
        "<section aria-labelledby=\"h-stills\">\n<h2 id=\"h-stills\">What was judged</h2>\n<div class=\"stills\">\n",
    );
    for t in thumbnails {
        let (at, label) = (clock_tenths(t.t_ms), escape(&t.label));
        let boxed = match t.boxes.len() {
            0 => "nothing boxed".to_owned(),
            1 => "one speaker boxed".to_owned(),
            n => format!("{n} speakers boxed"),
        };
        let rects: String = t
            .boxes
            .iter()
            .filter(|b| b.iter().all(|x| x.is_finite()))
            .flat_map(|[x, y, w, h]| {
                // Dark below light: to be seen on any picture.
                ["under", "over"].map(|class| {
                    format!(
                        "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>",
                        w.max(0.0),
                        h.max(0.0)
                    )
                })
            })
            .collect();
        out += &format!(
            "<figure><span class=\"still\"><img width=\"{w}\" height=\"{h}\" alt=\"Frame at {at}, {boxed}: {label}\" \
             src=\"data:image/jpeg;base64,{}\"><svg viewBox=\"0 0 {w} {h}\" aria-hidden=\"true\" focusable=\"false\">{rects}</svg></span>\
             <figcaption>{at} · {label}</figcaption></figure>\n",
            base64(&t.jpeg),
            w = t.width,
            h = t.height,
        );
    }
    out + "</div>\n</section>\n"
}

fn footer(report: &SyncReport) -> String {
    let [accept, detect, r37, is191] = BANDS.map(|(_, _, _, limits)| limits.range());
    format!(
        "<footer>\n<h2>How this was measured</h2>\n\
         <p><b>Sign.</b> Offsets above 0 mean that the sound is late (lags the picture), below 0 that it is early. \
         ITU-R BT.1359-1 counts the other way round; its limits are given here in this report’s sign.</p>\n\
         <p><b>Method.</b> By lips and voice: the network <bdi>{}</bdi> compared what was seen with what was heard in \
         {} of {} in which somebody visible spoke. Where nobody does, nothing is measured. The confidence is the probability that an \
         offset is within ±20 ms of the truth; errors are one standard deviation. A verdict is of the offset as \
         measured; the error does not change it.</p>\n\
         <p><b>Standards.</b> ITU-R BT.1359-1 (1998): on the average, viewers do not notice {detect} ms and accept \
         {accept} ms, which is also the tolerance of the whole chain. EBU R37 (2007): {r37} ms, the whole chain up to an \
         output for emission. ATSC IS-191 (2003): {is191} ms, at the inputs of the emission encoder. A file is one place \
         in such a chain: what comes after it adds its own offset.</p>\n\
         <p>Made by seehear, report format {}. This page is complete: it loads nothing and runs no script.</p>\n</footer>\n",
        escape(&report.engine),
        length(report.judged_s),
        length(report.duration_ms / 1e3),
        report.schema
    )
}

#[cfg(test)]
mod tests {
    use super::super::tests::{report, segment};
    use super::*;

    fn point(t_ms: f64, offset_ms: f64) -> Point {
        Point { t_ms, offset_ms, low_ms: offset_ms - 10.0, high_ms: offset_ms + 10.0, confidence: 0.9 }
    }

    /// Every element closes in order; none but the void ones stays open.
    fn well_formed(page: &str) {
        let mut open: Vec<String> = Vec::new();
        for tag in page.split('<').skip(1).filter(|t| !t.starts_with('!')) {
            let tag = tag.split('>').next().unwrap();
            let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap().to_owned();
            if tag.starts_with('/') {
                assert_eq!(open.pop(), Some(name));
            } else if !tag.ends_with('/') && !["meta", "img", "br"].contains(&name.as_str()) {
                open.push(name);
            }
        }
        assert!(open.is_empty(), "{open:?}");
    }

    fn full() -> SyncReport {
        let mut r = report(
            Some(84.0),
            vec![
                segment(0.0, 200.0, Some(-2.0), Some(0.1)),
                segment(200.0, 300.0, None, None),
                segment(300.0, 600.0, Some(140.0), None),
            ],
        );
        r.drift_ms_per_min = Some(0.4);
        r.points = (0..600).map(|i| point(f64::from(i) * 1e3, f64::from(i) / 4.0)).collect();
        r
    }

    #[test]
    fn every_kind_of_report_is_a_well_formed_page() {
        let mut thumbnail = Thumbnail {
            t_ms: 1e3,
            jpeg: vec![255, 216],
            width: 320,
            height: 180,
            boxes: vec![[1.0, 2.0, 3.0, 4.0]],
            label: "a".to_owned(),
        };
        thumbnail.boxes.push([f64::NAN, 0.0, 1.0, 1.0]);
        for r in [
            full(),
            report(None, vec![]),
            report(Some(3.0), vec![]),
            report(Some(-400.0), vec![segment(0.0, 0.0, Some(-400.0), None)]),
        ] {
            let page = html(&r, &[thumbnail.clone()]);
            well_formed(&page);
            assert!(!page.contains("NaN") && !page.contains("inf\""));
            assert_eq!(page.matches("<h1>").count(), 1);
            assert!(page.contains("src=\"data:image/jpeg;base64,/9g=\""));
            assert_eq!(page.matches("class=\"over\"").count(), 1);
        }
    }

    #[test]
    fn nothing_outside_the_page_is_asked_for() {
        let page = html(&full(), &[]);
        for word in ["http:", "https:", "//", "url(", "@import", "<script", "<link", "<iframe", "onload", "javascript:"]
        {
            assert!(!page.contains(word), "{word}");
        }
        assert!(page.contains("default-src 'none'"));
    }

    #[test]
    fn a_hostile_file_is_only_text() {
        let hostile = "</title><script>alert(1)</script>\" onerror='x' \u{202e}&amp;<!--\u{0}.mp4";
        let mut r = report(None, vec![]);
        r.source = hostile.to_owned();
        r.engine = hostile.to_owned();
        r.why = Some(hostile.to_owned());
        let t = Thumbnail { t_ms: 0.0, jpeg: vec![], width: 1, height: 1, boxes: vec![], label: hostile.to_owned() };
        let page = html(&r, &[t]);
        well_formed(&page);
        assert!(
            !page.contains("<script")
                && !page.contains("' \u{202e}")
                && !page.contains("<!--")
                && !page.contains('\u{0}')
        );
        let shown = "&lt;/title&gt;&lt;script&gt;alert(1)&lt;/script&gt;&quot; onerror=&#39;x&#39; \u{202e}&amp;amp;&lt;!--\u{fffd}.mp4";
        // Title, heading, why, engine, alternative text, caption.
        assert_eq!(page.matches(shown).count(), 6);
    }

    #[test]
    fn the_answer_comes_large_and_in_words() {
        let page = html(&report(Some(84.0), vec![]), &[]);
        assert!(page.contains("</span>Sound is 84\u{a0}ms late</h1>"));
        assert!(page.contains(
            "Outside EBU R37 and ATSC IS-191; most viewers will not notice (<span class=\"nb\">ITU-R BT.1359-1</span>)."
        ));
        assert!(page.contains("+84 ± 6\u{a0}ms"));
        let page = html(&report(Some(4.0), vec![]), &[]);
        assert!(
            page.contains("</span>In sync</h1>")
                && page.contains("Sound is 4\u{a0}ms late. Within EBU R37 and ATSC IS-191;")
        );
        let page = html(&report(Some(57.0), vec![]), &[]);
        assert!(
            page.contains("Outside ATSC IS-191, within EBU R37;")
                && page.contains("at the edge: the error is about ±6 ms")
        );
        let mut blind = report(None, vec![]);
        blind.why = Some("nobody visible spoke".to_owned());
        let page = html(&blind, &[]);
        assert!(page.contains("</span>Can’t tell</h1>\n<p class=\"lede\">Nobody visible spoke.</p>"));
        assert!(!page.contains("id=\"h-course\"") && !page.contains("id=\"h-meter\"") && !page.contains("Confidence"));
        assert!(html(&full(), &[]).contains("Outside EBU R37 and ATSC IS-191 at times; viewers notice at times"));
    }

    #[test]
    fn the_table_has_the_numbers_of_the_chart() {
        let mut r = full();
        r.points = (0..5000).map(|i| point(f64::from(i) * 1e3, f64::from(i % 97) - 48.0)).collect();
        r.duration_ms = 5000e3;
        let page = html(&r, &[]);
        let rows = page.matches("<tr><td>").count();
        assert!((chart::MOST_POINTS - 100..=chart::MOST_POINTS).contains(&rows), "{rows}");
        assert_eq!(page.matches("h0M").count() + page.matches("h0\"").count() - 3, rows);
        assert!(page.contains("5000 measured points from 0:00 to 1:23:19"));
        assert!(page.contains("−48") && !page.contains(">-"));
        assert!(page.len() < 400_000, "{}", page.len());
    }

    #[test]
    fn digits_of_the_offset_are_those_of_the_verdict() {
        assert!(html(&report(Some(60.4), vec![]), &[]).contains("Sound is 60.4\u{a0}ms late"));
    }
}
