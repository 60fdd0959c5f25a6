//! Text of the report: escaping, times, probabilities, base64.

/// Makes text safe between tags and in quoted attributes. Control characters have no place on a page: they show as
/// U+FFFD, the replacement character.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(' '),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// [`escape`] for our own sentences: a figure stays with its unit, and a standard's number in one piece.
pub(super) fn sentence(text: &str) -> String {
    escape(text).replace(" ms", "\u{a0}ms").replace("ITU-R BT.1359-1", "<span class=\"nb\">ITU-R BT.1359-1</span>")
}

/// Makes text safe for a terminal: a file's name can't move the cursor or turn the reading direction round.
pub(super) fn plain(text: &str) -> String {
    let bad = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if bad(c) { '\u{fffd}' } else { c }).collect()
}

/// "3:07", "1:02:03"; to whole seconds.
pub(super) fn clock(t_ms: f64) -> String {
    let s = (t_ms.max(0.0) / 1e3).round();
    let (h, m, s) = ((s / 3600.0).floor(), (s % 3600.0 / 60.0).floor(), s % 60.0);
    if h > 0.0 { format!("{h:.0}:{m:02.0}:{s:02.0}") } else { format!("{m:.0}:{s:02.0}") }
}

/// As [`clock`], to a tenth of a second, for a place in a file that one wants to find again.
pub(super) fn clock_tenths(t_ms: f64) -> String {
    let tenths = (t_ms.max(0.0) / 100.0).round();
    format!("{}.{:.0}", clock((tenths / 10.0).floor() * 1e3), tenths % 10.0)
}

/// "52 s", "12 min", "1 h 3 min": how long, for reading.
pub(super) fn length(s: f64) -> String {
    let s = s.max(0.0);
    match s.round() {
        t if t < 120.0 => format!("{t:.0} s"),
        t if t < 3600.0 => format!("{:.0} min", (t / 60.0).round()),
        t => {
            let m = (t / 60.0).round();
            format!("{:.0} h {:.0} min", (m / 60.0).floor(), m % 60.0)
        }
    }
}

/// A probability as a percentage that claims neither certainty nor impossibility.
pub(super) fn percent(p: f64) -> String {
    match p {
        p if p.is_nan() => "unknown".to_owned(),
        p if p > 0.99 => "over 99 %".to_owned(),
        p if p < 0.01 => "under 1 %".to_owned(),
        p => format!("{:.0} %", p * 100.0),
    }
}

/// What the probability of being within ±20 ms means in words.
pub(super) fn surety(p: f64) -> &'static str {
    match p {
        p if p >= 0.99 => "practically certain",
        p if p >= 0.95 => "very likely",
        p if p >= 0.8 => "likely",
        p if p >= 0.5 => "more likely than not",
        _ => "not likely",
    }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// RFC 4648 base64 with padding.
pub(super) fn base64(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let at = |i: usize| group.get(i).map_or(0, |&b| u32::from(b));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for i in 0..4 {
            let index = usize::try_from(bits >> (18 - 6 * i) & 63).unwrap_or(0);
            out.push(if i <= group.len() { char::from(ALPHABET[index]) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_as_in_the_rfc() {
        let table = [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")];
        for (bytes, text) in table {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(&[0xff, 0xfe, 0xfd, 0xfb]), "//79+w==");
    }

    #[test]
    fn times_read_as_on_a_player() {
        let table = [(0.0, "0:00"), (59_499.0, "0:59"), (59_500.0, "1:00"), (3_599_600.0, "1:00:00")];
        for (t, text) in table {
            assert_eq!(clock(t), text);
        }
        assert_eq!(clock(3_723_000.0), "1:02:03");
        assert_eq!(clock_tenths(12_345.0), "0:12.3");
        assert_eq!(clock_tenths(59_960.0), "1:00.0");
        assert_eq!(length(52.4), "52 s");
        assert_eq!(length(725.0), "12 min");
        assert_eq!(length(3_599.9), "1 h 0 min");
        assert_eq!(length(7_190.0), "2 h 0 min");
    }

    #[test]
    fn no_probability_is_told_as_certain() {
        assert_eq!(percent(1.0), "over 99 %");
        assert_eq!(percent(0.974), "97 %");
        assert_eq!(percent(0.0), "under 1 %");
        assert_eq!(percent(f64::NAN), "unknown");
        assert_eq!(surety(f64::NAN), "not likely");
    }

    #[test]
    fn markup_and_controls_lose_their_meaning() {
        assert_eq!(escape("<a b='c'>&\"\u{7}\n"), "&lt;a b=&#39;c&#39;&gt;&amp;&quot;\u{fffd} ");
        assert_eq!(plain("a\u{1b}[2J\u{202e}b\n"), "a\u{fffd}[2J\u{fffd}b\u{fffd}");
    }
}
