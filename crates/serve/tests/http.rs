//! What the server answers.

mod common;

use common::{ask, connect, event, frame, get, local, open, patch, start, timing, until};
use seehear::events::Summary;
use seehear_serve::http::serve;
use seehear_serve::vitals::Severity;
use seehear_serve::{Change, Hub, SyncMode};
use std::io::{BufRead, Read};
use std::time::{Duration, Instant};
use tokio_tungstenite::tungstenite;

#[test]
fn the_page_comes_with_a_policy_and_is_not_sent_twice() {
    let (_hub, server) = start(&local());
    let page = get(server.addr(), "/");
    assert_eq!(page.status, 200);
    assert!(page.body.starts_with("<!doctype html>") && page.body.trim_end().ends_with("</html>"));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'sha256-") && !policy.contains("unsafe"), "{policy}");
    for (name, value) in [("x-content-type-options", "nosniff"), ("cross-origin-resource-policy", "same-origin")] {
        assert_eq!(page.header(name), Some(value));
    }
    let tag = page.header("etag").unwrap();
    let again = ask(server.addr(), "GET", "/", &[("If-None-Match", tag)], "");
    assert_eq!((again.status, again.body.as_str()), (304, ""));
    assert_eq!(ask(server.addr(), "GET", "/", &[("If-None-Match", "\"other\"")], "").status, 200);
    assert_eq!(get(server.addr(), "/nothing").status, 404);
    assert_eq!(ask(server.addr(), "POST", "/", &[], "").status, 405);
}

#[test]
fn events_arrive() {
    let (hub, server) = start(&local());
    let mut all = open(server.addr(), "/events");
    let mut some = open(server.addr(), "/events?only=speaking");
    let kinds: Vec<String> = (0..4).map(|_| event(&mut all).unwrap().0).collect();
    assert_eq!(kinds, ["header", "settings", "history", "vitals"]);
    for i in 0..40 {
        hub.frame(&frame(i, 2, 1 + i.div_euclid(20)), timing());
    }
    let slots: Vec<f64> = std::iter::from_fn(|| event(&mut all))
        .filter(|e| e.0 == "frame")
        .take(40)
        .map(|e| e.1["t_ms"].as_f64().unwrap())
        .collect();
    assert!(slots.windows(2).all(|w| (w[1] - w[0] - 40.0).abs() < 1e-9), "{slots:?}");
    let turns: Vec<_> = (0..2).map(|_| event(&mut some).unwrap()).collect();
    assert_eq!(turns.iter().map(|t| t.1["ids"].to_string()).collect::<Vec<_>>(), ["[1]", "[2]"]);
    assert_eq!(get(server.addr(), "/events?only=frames").status, 400);
    assert_eq!(get(server.addr(), "/events?other=1").status, 400);
    assert_eq!(get(server.addr(), "/ws").status, 426);
}

#[test]
fn events_and_pictures_over_websocket() {
    let (hub, server) = start(&local());
    let url = format!("ws://{}/ws?picture=1", server.addr());
    let (mut ws, _) = tungstenite::client(url, connect(server.addr())).unwrap();
    let mut kinds = Vec::new();
    let mut pictures = Vec::new();
    let mut slot = 0;
    while kinds.iter().filter(|k| *k == "frame").count() < 10 || pictures.len() < 2 {
        hub.frame(&frame(slot, 1, 1), timing());
        if hub.picture_wanted() {
            hub.picture(f64::from(slot) * 40.0, vec![0xFF, 0xD8, 7]).unwrap();
        }
        slot += 1;
        match ws.read().unwrap() {
            tungstenite::Message::Text(text) => {
                let v: serde_json::Value = serde_json::from_str(&text).unwrap();
                kinds.push(v["type"].as_str().unwrap().to_owned());
            }
            tungstenite::Message::Binary(b) => {
                let (t, jpeg) = b.split_at(8);
                assert_eq!(jpeg, [0xFF, 0xD8, 7]);
                pictures.push(f64::from_le_bytes(t.try_into().unwrap()));
            }
            _ => {}
        }
    }
    assert_eq!(kinds[..4], ["header", "settings", "history", "vitals"]);
    assert!(pictures[0] < pictures[1]);
    server.stop();
    // What was on its way, then a proper end.
    let last = std::iter::from_fn(|| Some(ws.read()))
        .find(|m| !matches!(m, Ok(m) if m.is_text() || m.is_binary() || m.is_ping()));
    assert!(matches!(last, Some(Ok(tungstenite::Message::Close(_)))), "{last:?}");
}

#[test]
fn pictures_as_motion_jpeg() {
    let (hub, server) = start(&local());
    let mut stream = open(server.addr(), "/picture");
    until("somebody looks", || hub.picture_wanted());
    hub.picture(120.0, vec![0xFF, 0xD8, 1, 2, 3]).unwrap();
    let mut lines = Vec::new();
    while lines.last().is_none_or(|l| l != "\r\n") || lines.len() < 4 {
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        lines.push(line);
    }
    let head = lines.concat();
    assert!(
        head.contains("--seehear-picture\r\nContent-Type: image/jpeg\r\nContent-Length: 5\r\nX-T-Ms: 120\r\n"),
        "{head}"
    );
    let mut jpeg = [0; 5];
    stream.read_exact(&mut jpeg).unwrap();
    assert_eq!(jpeg, [0xFF, 0xD8, 1, 2, 3]);
    drop(stream);
    until("the client's leaving is seen", || {
        std::thread::sleep(Duration::from_millis(100));
        drop(hub.picture(0.0, vec![0xFF, 0xD8]));
        !hub.metrics_text().contains("clients{kind=\"picture\"} 1")
    });
}

#[test]
fn health_and_metrics() {
    let (hub, server) = start(&local());
    hub.frame(&frame(0, 2, 1), timing());
    let well = get(server.addr(), "/health");
    assert_eq!((well.status, well.json()["ok"].as_bool()), (200, Some(true)));
    hub.trouble("mqtt", Some((Severity::Warning, "no broker".to_owned())));
    assert_eq!(get(server.addr(), "/health").status, 200, "the analysis does its work");
    hub.trouble("source", Some((Severity::Failing, "lost".to_owned())));
    let ill = get(server.addr(), "/health");
    assert_eq!((ill.status, ill.json()["reasons"][0].as_str()), (503, Some("source: lost")));
    let metrics = get(server.addr(), "/metrics");
    assert!(metrics.header("content-type").unwrap().starts_with("application/openmetrics-text"));
    for line in [
        "seehear_slots_total 1",
        "seehear_up 0",
        "seehear_latency_seconds_count 1",
        "seehear_objects{state=\"confirmed\"} 2",
    ] {
        assert!(metrics.body.contains(line), "{line} in\n{}", metrics.body);
    }
    hub.trouble("source", None);
    hub.set_slot_timeout(Duration::from_millis(50));
    until("no slot is noticed", || get(server.addr(), "/health").status == 503);
    hub.frame(&frame(1, 2, 1), timing());
    hub.set_slot_timeout(Duration::from_secs(60));
    assert_eq!(get(server.addr(), "/health").status, 200);
    hub.summary(&Summary::default());
    assert_eq!(get(server.addr(), "/health").json()["reasons"][0], "the run has ended");
}

#[test]
fn settings_are_asked_for_and_told_when_they_hold() {
    let (hub, server) = start(&local());
    let addr = server.addr();
    assert_eq!(get(addr, "/settings").json()["threshold"], serde_json::Value::Null);
    assert_eq!(patch(addr, r#"{"threshold":0.5}"#).status, 409, "this run can't");
    hub.update_settings(|s| {
        s.threshold = Some(0.5);
        s.sync = Some(SyncMode::Off);
        s.sync_modes = vec![SyncMode::Off, SyncMode::Measure];
    });
    let mut told = open(addr, "/events?only=settings");
    assert_eq!(event(&mut told).unwrap().1["threshold"], 0.5);
    let answer = patch(addr, r#"{"threshold":0.75,"sync":"measure"}"#);
    assert_eq!((answer.status, answer.json()["threshold"].as_f64()), (202, Some(0.5)), "not yet");
    let changes = hub.take_changes();
    assert_eq!(changes, [Change::Threshold(0.75), Change::Sync(SyncMode::Measure)]);
    hub.update_settings(|s| changes.iter().for_each(|c| s.take_over(*c)));
    assert_eq!(event(&mut told).unwrap().1["threshold"], 0.75);
    assert_eq!(get(addr, "/settings").json()["sync"], "measure");
    for (json, status) in [
        ("{}", 400),
        ("", 400),
        ("{\"threshold\":7}", 400),
        ("{\"volume\":7}", 400),
        ("{\"sync\":\"correct\"}", 409),
        ("{\"overlay\":true}", 409),
        (&format!("{{\"threshold\":{}1}}", " ".repeat(5000)), 413),
    ] {
        let a = patch(addr, json);
        assert_eq!(a.status, status, "{json:.40}");
        assert!(a.json()["error"].as_str().unwrap().starts_with("settings: "));
    }
    assert!(hub.take_changes().is_empty());
    assert_eq!(ask(addr, "PATCH", "/settings", &[("Content-Type", "text/plain")], "{\"threshold\":0.6}").status, 415);
    let busy = (0..100).map(|_| patch(addr, r#"{"threshold":0.6}"#)).find(|a| a.status != 202).unwrap();
    assert_eq!((busy.status, busy.header("retry-after")), (503, Some("1")));
}

#[test]
fn it_stops_at_once_and_can_begin_again_in_the_same_place() {
    let (_hub, server) = start(&local());
    let addr = server.addr();
    let mut stream = open(addr, "/events");
    let taken = serve(&seehear_serve::http::Options { addr, ..local() }, &Hub::new("b")).unwrap_err().to_string();
    assert!(taken.contains("can't listen on 127.0.0.1:") && taken.contains("take another port"), "{taken}");
    let began = Instant::now();
    server.stop();
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert!(std::iter::from_fn(|| event(&mut stream)).count() <= 4, "the stream ends");
    let server = serve(&seehear_serve::http::Options { addr, ..local() }, &Hub::new("b")).unwrap();
    assert_eq!(get(server.addr(), "/health").json()["name"], "b");
}
