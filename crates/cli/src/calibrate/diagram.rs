//! The reliability diagram as a picture.

use seehear::reliability::{Group, calibration_error};

const SIDE: f64 = 360.0;
const LEFT: f64 = 56.0;
const TOP: f64 = 20.0;

/// Told against found, before and after; the diagonal is what can be believed.
pub(super) fn svg(before: &[Group], after: &[Group]) -> String {
    let (width, height) = (LEFT + SIDE + 24.0, TOP + SIDE + 100.0);
    let mut s = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <title>Reliability of the probability of speaking</title>\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n"
    );
    let x = |p: f64| LEFT + SIDE * p;
    let y = |p: f64| TOP + SIDE * (1.0 - p);
    for k in 0..=5 {
        let p = 0.2 * f64::from(k);
        let (px, py) = (x(p), y(p));
        line(&mut s, format_args!("M{px} {TOP}V{}M{LEFT} {py}H{}", TOP + SIDE, LEFT + SIDE), "#ddd", 1);
        text(&mut s, (px, TOP + SIDE + 18.0), "middle", &format!("{p:.1}"));
        text(&mut s, (LEFT - 8.0, py + 4.0), "end", &format!("{p:.1}"));
    }
    line(&mut s, format_args!("M{} {}L{} {}", x(0.0), y(0.0), x(1.0), y(1.0)), "#888", 1);
    text(&mut s, (x(0.5), TOP + SIDE + 38.0), "middle", "probability told");
    let (mx, my) = (16.0, y(0.5));
    s += &format!(
        "<text transform=\"rotate(-90 {mx} {my})\" x=\"{mx}\" y=\"{my}\" text-anchor=\"middle\">share found heard</text>\n"
    );
    for (row, (name, groups, colour)) in
        [("as it was", before, "#c60"), ("calibrated, on scenes left out of the fit", after, "#06c")]
            .into_iter()
            .enumerate()
    {
        let points: Vec<(f64, f64)> = groups.iter().map(|g| (x(g.predicted), y(g.observed))).collect();
        let path: Vec<String> = points.iter().map(|(px, py)| format!("{px:.1} {py:.1}")).collect();
        if !path.is_empty() {
            line(&mut s, format_args!("M{}", path.join("L")), colour, 2);
        }
        for (px, py) in points {
            s += &format!("<circle cx=\"{px:.1}\" cy=\"{py:.1}\" r=\"4\" fill=\"{colour}\"/>\n");
        }
        #[expect(clippy::cast_precision_loss, reason = "two rows")]
        let at = TOP + SIDE + 62.0 + 20.0 * row as f64;
        s += &format!("<circle cx=\"{LEFT}\" cy=\"{}\" r=\"4\" fill=\"{colour}\"/>\n", at - 4.0);
        text(&mut s, (LEFT + 12.0, at), "start", &format!("{name}: mean error {:.3}", calibration_error(groups)));
    }
    s + "</svg>\n"
}

fn line(s: &mut String, path: std::fmt::Arguments<'_>, colour: &str, width: u32) {
    *s += &format!("<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\"/>\n");
}

fn text(s: &mut String, (x, y): (f64, f64), anchor: &str, words: &str) {
    *s += &format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"#222\">{words}</text>\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_group_is_drawn_where_it_lies() {
        let groups =
            [Group { predicted: 0.0, observed: 0.0, count: 5 }, Group { predicted: 1.0, observed: 0.5, count: 5 }];
        let svg = svg(&groups, &groups[..1]);
        assert!(svg.contains("M56.0 380.0L416.0 200.0"), "{svg}");
        assert!(svg.contains("as it was: mean error 0.250") && svg.contains("mean error 0.000"), "{svg}");
        assert_eq!(svg.matches("<circle").count(), 3 + 2);
    }
}
