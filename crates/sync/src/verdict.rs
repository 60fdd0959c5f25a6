//! Verdicts: an A/V offset against what ITU-R BT.1359-1, EBU R37 and ATSC IS-191 allow.
//!
//! **Sign: > 0 means that the sound is late** (lags the picture). BT.1359-1 counts the other way round (sound early is
//! positive), R37 and IS-191 give two amounts without a sign; everything here is in our sign. A limit itself is still
//! allowed: "shall not exceed", "≤" and "by more than" are the words of the three. Where each applies is told in
//! `docs/standards.md`.
//!
//! A verdict is of the figure as measured. How sure the figure is changes the words, never the class.

use serde::{Deserialize, Serialize};

/// The range of offsets that a standard allows, both ends included.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// What a reader knows it as.
    pub name: &'static str,
    /// The earliest sound allowed, ms; below 0.
    pub early_ms: f64,
    /// The latest sound allowed, ms; above 0.
    pub late_ms: f64,
}

/// ITU-R BT.1359-1 (1998), considering g): beyond these, viewers on the average notice.
pub const BT1359_DETECTABILITY: Limits = Limits { name: "ITU-R BT.1359-1", early_ms: -45.0, late_ms: 125.0 };
/// ITU-R BT.1359-1 (1998), considering g) and recommends 2: beyond these, viewers on the average object.
pub const BT1359_ACCEPTABILITY: Limits = Limits { name: "ITU-R BT.1359-1", early_ms: -90.0, late_ms: 185.0 };
/// EBU R37-2007, table 1: the whole chain, at any output meant for emission.
pub const R37: Limits = Limits { name: "EBU R37", early_ms: -40.0, late_ms: 60.0 };
/// ATSC IS-191 (2003): at the inputs of the emission encoder.
pub const IS191: Limits = Limits { name: "ATSC IS-191", early_ms: -15.0, late_ms: 45.0 };

impl Limits {
    /// Whether the offset is allowed. What is not a number is not.
    #[must_use]
    pub fn allow(&self, offset_ms: f64) -> bool {
        (self.early_ms..=self.late_ms).contains(&offset_ms)
    }

    /// Whether a limit lies within one standard deviation of the offset, so that the true one may well be beyond it.
    #[must_use]
    pub fn at_edge(&self, offset_ms: f64, error_ms: f64) -> bool {
        [self.early_ms, self.late_ms].iter().any(|limit| (offset_ms - limit).abs() <= error_ms)
    }

    /// "−40…+60".
    #[must_use]
    pub fn range(&self) -> String {
        format!("{}…{}", signed(self.early_ms, 0), signed(self.late_ms, 0))
    }
}

/// Against ITU-R BT.1359-1: what viewers on the average make of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bt1359 {
    /// Not noticed.
    Undetectable,
    /// Noticed, and still acceptable.
    Detectable,
    /// Not acceptable.
    Unacceptable,
}

/// Against a standard with one tolerance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tolerance {
    /// Allowed.
    Within,
    /// Not allowed.
    Outside,
}

impl Tolerance {
    fn of(limits: &Limits, offset_ms: f64) -> Self {
        if limits.allow(offset_ms) { Self::Within } else { Self::Outside }
    }
}

/// One offset against the three standards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdicts {
    /// ITU-R BT.1359-1.
    pub bt1359: Bt1359,
    /// EBU R37.
    pub r37: Tolerance,
    /// ATSC IS-191.
    pub is191: Tolerance,
}

impl Verdicts {
    /// Of an offset in ms, > 0: the sound is late. What is not a number gets the worst.
    #[must_use]
    pub fn of(offset_ms: f64) -> Self {
        let bt1359 = if BT1359_DETECTABILITY.allow(offset_ms) {
            Bt1359::Undetectable
        } else if BT1359_ACCEPTABILITY.allow(offset_ms) {
            Bt1359::Detectable
        } else {
            Bt1359::Unacceptable
        };
        Self { bt1359, r37: Tolerance::of(&R37, offset_ms), is191: Tolerance::of(&IS191, offset_ms) }
    }

    /// Allowed by all three.
    #[must_use]
    pub fn all_within(&self) -> bool {
        self.bt1359 == Bt1359::Undetectable && self.r37 == Tolerance::Within && self.is191 == Tolerance::Within
    }

    /// The worse of the two in each standard.
    #[must_use]
    pub fn worse(self, other: Self) -> Self {
        Self { bt1359: self.bt1359.max(other.bt1359), r37: self.r37.max(other.r37), is191: self.is191.max(other.is191) }
    }

    /// One sentence for each standard: BT.1359-1, R37, IS-191, of the offset that these verdicts are of. `error_ms`
    /// (one standard deviation) is only put into words.
    #[must_use]
    pub fn words(&self, offset_ms: f64, error_ms: Option<f64>) -> [String; 3] {
        let sound = sound(offset_ms);
        let (bt, limits) = match self.bt1359 {
            Bt1359::Undetectable => ("not detectable", [BT1359_DETECTABILITY; 2]),
            Bt1359::Detectable => ("detectable, still acceptable", [BT1359_DETECTABILITY, BT1359_ACCEPTABILITY]),
            Bt1359::Unacceptable => ("unacceptable", [BT1359_ACCEPTABILITY; 2]),
        };
        let [near, far] = limits;
        let ranges = if near == far { near.range() } else { format!("{}, {}", near.range(), far.range()) };
        let edge = edge(&limits, offset_ms, error_ms);
        let bt = format!("{sound}: {bt} by {} ({ranges}){edge}", near.name);
        let one = |limits: Limits, is: Tolerance| {
            let is = if is == Tolerance::Within { "within" } else { "outside" };
            let edge = self::edge(&[limits], offset_ms, error_ms);
            format!("{sound}: {is} {} ({}){edge}", limits.name, limits.range())
        };
        [bt, one(R37, self.r37), one(IS191, self.is191)]
    }
}

/// Words for an offset so near to one of the limits that the measurement can't part it from them; else empty.
fn edge(limits: &[Limits], offset_ms: f64, error_ms: Option<f64>) -> String {
    match error_ms {
        Some(error) if limits.iter().any(|l| l.at_edge(offset_ms, error)) => {
            format!(", at the edge: the error of this measurement is about ±{} ms", error_digits(error))
        }
        _ => String::new(),
    }
}

/// "sound is 84 ms late", "sound is 12 ms early", "sound is on time".
#[must_use]
pub fn sound(offset_ms: f64) -> String {
    match lateness(offset_ms) {
        Some(words) => format!("sound is {words}"),
        None => "sound is on time".to_owned(),
    }
}

/// "84 ms late", "12 ms early"; `None` if it rounds to nothing.
#[must_use]
pub fn lateness(offset_ms: f64) -> Option<String> {
    let text = digits(offset_ms);
    match text.strip_prefix('−') {
        Some(early) => Some(format!("{early} ms early")),
        None => text.strip_prefix('+').map(|late| format!("{late} ms late")),
    }
}

/// An offset with its sign and no more digits than it needs: whole milliseconds, unless the rounding would carry it
/// over a limit and make the figure contradict its verdict (60.4 ms is outside what 60 ms is within).
#[must_use]
pub fn digits(offset_ms: f64) -> String {
    let same = |decimals: i32| {
        let k = 10_f64.powi(decimals);
        Verdicts::of((offset_ms * k).round() / k) == Verdicts::of(offset_ms)
    };
    let decimals = (0..3).find(|&d| same(d)).unwrap_or(3);
    signed(offset_ms, usize::try_from(decimals).unwrap_or(0))
}

/// An error (one standard deviation) to the digits that it has: below 1 ms is told as "1".
#[must_use]
pub fn error_digits(error_ms: f64) -> String {
    format!("{:.0}", error_ms.abs().round().max(1.0))
}

/// With a true minus sign, "+" above zero, and neither where the digits shown are all 0.
#[must_use]
pub fn signed(x: f64, decimals: usize) -> String {
    let text = format!("{:.decimals$}", x.abs());
    let sign = match x {
        _ if text.bytes().all(|b| b == b'0' || b == b'.') => "",
        x if x < 0.0 => "−",
        _ => "+",
    };
    format!("{sign}{text}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: [Limits; 4] = [BT1359_DETECTABILITY, BT1359_ACCEPTABILITY, R37, IS191];

    #[test]
    fn the_limits_are_those_of_the_standards_in_our_sign() {
        let ranges: Vec<String> = ALL.iter().map(Limits::range).collect();
        assert_eq!(ranges, ["−45…+125", "−90…+185", "−40…+60", "−15…+45"]);
    }

    #[test]
    fn classes_change_at_the_limits_and_only_there() {
        use Bt1359::{Detectable, Unacceptable, Undetectable};
        use Tolerance::{Outside, Within};
        let table = [
            (-90.1, Unacceptable, Outside, Outside),
            (-90.0, Detectable, Outside, Outside),
            (-45.1, Detectable, Outside, Outside),
            (-45.0, Undetectable, Outside, Outside),
            (-40.1, Undetectable, Outside, Outside),
            (-40.0, Undetectable, Within, Outside),
            (-15.1, Undetectable, Within, Outside),
            (-15.0, Undetectable, Within, Within),
            (0.0, Undetectable, Within, Within),
            (45.0, Undetectable, Within, Within),
            (45.1, Undetectable, Within, Outside),
            (60.0, Undetectable, Within, Outside),
            (60.1, Undetectable, Outside, Outside),
            (125.0, Undetectable, Outside, Outside),
            (125.1, Detectable, Outside, Outside),
            (185.0, Detectable, Outside, Outside),
            (185.1, Unacceptable, Outside, Outside),
            (f64::NAN, Unacceptable, Outside, Outside),
            (f64::NEG_INFINITY, Unacceptable, Outside, Outside),
        ];
        for (offset, bt1359, r37, is191) in table {
            assert_eq!(Verdicts::of(offset), Verdicts { bt1359, r37, is191 }, "{offset}");
        }
    }

    #[test]
    fn the_json_is_kebab_case_under_the_standards_names() {
        let json = serde_json::to_string(&Verdicts::of(84.0)).unwrap();
        assert_eq!(json, r#"{"bt1359":"undetectable","r37":"outside","is191":"outside"}"#);
        assert_eq!(serde_json::from_str::<Verdicts>(&json).unwrap(), Verdicts::of(84.0));
    }

    #[test]
    fn words_say_the_class_and_the_edge() {
        let words = |o: f64, e| Verdicts::of(o).words(o, e);
        assert_eq!(words(84.0, None)[1], "sound is 84 ms late: outside EBU R37 (−40…+60)");
        assert_eq!(words(84.0, Some(6.0))[0], "sound is 84 ms late: not detectable by ITU-R BT.1359-1 (−45…+125)");
        assert_eq!(
            words(57.6, Some(4.2))[1],
            "sound is 58 ms late: within EBU R37 (−40…+60), at the edge: the error of this measurement is about ±4 ms"
        );
        assert!(words(-60.0, None)[0].contains("60 ms early: detectable, still acceptable"));
        assert!(words(300.0, None)[0].contains("unacceptable"));
        assert!(words(0.2, Some(3.0))[2].starts_with("sound is on time: within ATSC IS-191"));
        // Between its two ranges, BT.1359-1 has an edge on either side.
        assert!(words(127.0, Some(3.0))[0].contains("at the edge"));
        assert!(words(183.0, Some(3.0))[0].contains("at the edge"));
        assert!(!words(150.0, Some(3.0))[0].contains("at the edge"));
    }

    #[test]
    fn numbers_have_true_signs() {
        assert_eq!(signed(-12.3, 0), "−12");
        assert_eq!(signed(12.3, 1), "+12.3");
        assert_eq!(signed(-0.3, 0), "0");
        assert_eq!(signed(-0.3, 1), "−0.3");
        assert_eq!(digits(60.4), "+60.4");
        assert_eq!(digits(59.6), "+60");
        assert_eq!(digits(-15.02), "−15.02");
        assert_eq!(error_digits(0.2), "1");
        assert_eq!(lateness(-0.4), None);
    }

    proptest! {
        #[test]
        fn a_limit_is_allowed_and_beyond_it_is_not(which in 0..ALL.len(), beyond in 1e-6..500.0_f64) {
            let l = ALL[which];
            prop_assert!(l.allow(l.early_ms) && l.allow(l.late_ms));
            prop_assert!(!l.allow(l.late_ms + beyond) && !l.allow(l.early_ms - beyond));
        }

        #[test]
        fn farther_from_time_is_never_better(a in -400.0..400.0_f64, k in 1.0..3.0_f64) {
            let (near, far) = (Verdicts::of(a), Verdicts::of(a * k));
            prop_assert_eq!(near.worse(far), far);
        }

        #[test]
        fn the_error_never_changes_the_class(o in -300.0..300.0_f64, error in 0.0..100.0_f64) {
            let v = Verdicts::of(o);
            for (with, without) in v.words(o, Some(error)).iter().zip(v.words(o, None)) {
                let rest = with.strip_prefix(without.as_str());
                prop_assert!(rest.is_some_and(|r| r.is_empty() || r.starts_with(", at the edge")), "{with}");
            }
        }

        #[test]
        fn the_edge_is_told_exactly_within_the_error(which in 2..ALL.len(), late: bool, d in -80.0..80.0_f64, e in 0.5..9.0_f64) {
            let l = ALL[which];
            let offset = if late { l.late_ms } else { l.early_ms } + d;
            let near = [l.early_ms, l.late_ms].iter().any(|x| (x - offset).abs() <= e);
            prop_assert_eq!(Verdicts::of(offset).words(offset, Some(e))[which - 1].contains("at the edge"), near);
        }

        #[test]
        fn the_figure_shown_never_contradicts_its_class(which in 0..ALL.len(), late: bool, d in -0.6..0.6_f64) {
            let l = ALL[which];
            let offset = if late { l.late_ms } else { l.early_ms } + d;
            let shown: f64 = digits(offset).replace('−', "-").parse().unwrap();
            // Nearer to a limit than a microsecond there is nothing to tell apart.
            prop_assume!(d.abs() > 1e-3);
            prop_assert_eq!(Verdicts::of(shown), Verdicts::of(offset));
        }
    }
}
