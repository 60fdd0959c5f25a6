//! Whatever comes over the network: answered or refused, never a crash, and settings stay in their range.

mod common;

use common::{TOKEN, ask, get, local, patch, raw, start};
use proptest::prelude::*;
use seehear_serve::http::{Options, Server, parse_addr};
use seehear_serve::settings::{Request, THRESHOLD};
use seehear_serve::{Change, Hub, Settings, SyncMode, config::Config, mqtt};
use std::sync::LazyLock;

static OPEN: LazyLock<(Hub, Server)> = LazyLock::new(|| start(&local()));
static GUARDED: LazyLock<(Hub, Server)> =
    LazyLock::new(|| start(&Options { token: Some(TOKEN.to_owned()), ..local() }));

fn settings() -> Settings {
    Settings {
        threshold: Some(0.5),
        overlay: Some(true),
        heatmap: Some(true),
        sync: Some(SyncMode::Off),
        sync_modes: vec![SyncMode::Off],
        step_sync: true,
    }
}

fn header_text() -> impl Strategy<Value = String> {
    "[ -~]{0,60}"
}

/// JSON that is nearly right, so that it gets further than the parser.
fn nearly() -> impl Strategy<Value = String> {
    let key = prop::sample::select(vec!["threshold", "overlay", "heatmap", "sync", "step_sync", "other"]);
    let value = prop_oneof![
        any::<f64>().prop_map(|x| x.to_string()),
        (-2.0..2.0_f64).prop_map(|x| x.to_string()),
        prop::sample::select(vec!["true", "false", "null", "\"off\"", "\"measure\"", "[]", "{}", "1e999", "-0"])
            .prop_map(str::to_owned),
    ];
    prop::collection::vec((key, value), 0..4).prop_map(|pairs| {
        let body: Vec<String> = pairs.iter().map(|(k, v)| format!("\"{k}\":{v}")).collect();
        format!("{{{}}}", body.join(","))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn bytes_that_are_no_request(bytes in prop::collection::vec(any::<u8>(), 1..400)) {
        let mut bytes = bytes;
        // An end, so that nobody waits for more.
        bytes.extend(b"\r\n\r\n");
        let a = raw(OPEN.1.addr(), &bytes);
        prop_assert!(a.status == 0 || (400..500).contains(&a.status), "{}", a.head);
        prop_assert_eq!(get(OPEN.1.addr(), "/metrics").status, 200);
    }

    #[test]
    fn requests_that_are_odd(
        path in "/[ -~&&[^# ]]{0,80}",
        host in header_text(),
        origin in header_text(),
        cookie in header_text(),
        auth in header_text(),
    ) {
        let headers = [("Host", host.as_str()), ("Origin", &origin), ("Cookie", &cookie), ("Authorization", &auth)];
        let a = ask(GUARDED.1.addr(), "GET", &path, &headers, "");
        // Nobody guesses the token.
        prop_assert!((400..500).contains(&a.status), "{}", a.head);
    }

    #[test]
    fn settings_that_are_odd(json in prop_oneof![nearly(), "\\PC{0,200}"]) {
        let a = patch(OPEN.1.addr(), &json);
        prop_assert!([400, 409].contains(&a.status), "{}: {}", json, a.status);
        prop_assert!(a.json()["error"].is_string());
    }

    #[test]
    fn changes_are_in_their_range(json in nearly()) {
        if let Ok(changes) = Request::parse(json.as_bytes()).and_then(|r| r.changes(&settings())) {
            prop_assert!(!changes.is_empty());
            for c in changes {
                match c {
                    Change::Threshold(t) => prop_assert!(THRESHOLD.contains(&t)),
                    Change::Sync(m) => prop_assert_eq!(m, SyncMode::Off),
                    _ => {}
                }
            }
        }
    }

    #[test]
    fn texts_that_are_no_address(text in "\\PC{0,80}") {
        // Neither panics; most are refused.
        drop(parse_addr(&text));
        if let Err(e) = mqtt::Address::parse(&format!("mqtt://u:s3cret@{text}"), "run") {
            prop_assert!(!e.to_string().contains("s3cret"), "{}", e);
        }
        drop(Config::parse(&text));
    }
}
