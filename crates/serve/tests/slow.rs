//! Readers that are slow, or too many: none of them holds the analysis up.

mod common;

use common::{PATIENCE, connect, event, frame, get, local, open, start, timing, until};
use seehear_serve::http::Options;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

/// Posts slots of 16 objects; the longest time that one took.
fn post(hub: &seehear_serve::Hub, slots: u32) -> Duration {
    let mut longest = Duration::ZERO;
    for i in 0..slots {
        let began = Instant::now();
        hub.frame(&frame(i, 16, i.div_euclid(25) % 16), timing());
        longest = longest.max(began.elapsed());
    }
    longest
}

#[test]
fn clients_that_never_read_hold_nobody_up_and_are_cut_off() {
    let (hub, server) = start(&Options { stall: Duration::from_millis(300), ..local() });
    let addr = server.addr();
    let stuck: Vec<_> = ["/events", "/picture", "/ws"].map(|path| {
        let mut s = connect(addr);
        let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        write!(s, "GET {path} HTTP/1.1\r\nHost: {addr}\r\n{}\r\n", if path == "/ws" { upgrade } else { "" }).unwrap();
        s
    })
    .into();
    let gauge = |kind: &str, n| hub.metrics_text().contains(&format!("clients{{kind=\"{kind}\"}} {n}"));
    for kind in ["sse", "picture", "ws"] {
        until(kind, || gauge(kind, 1));
    }
    hub.set_pictures_per_s(1000);
    let began = Instant::now();
    let mut longest = Duration::ZERO;
    // 3 MB pictures and 3 kB slots fill whatever the kernel keeps for them.
    until("all three are cut off", || {
        longest = longest.max(post(&hub, 200));
        if hub.picture_wanted() {
            let mut jpeg = vec![0; 3 << 20];
            jpeg[..2].copy_from_slice(&[0xFF, 0xD8]);
            drop(hub.picture(0.0, jpeg));
        }
        ["sse", "picture", "ws"].iter().all(|k| gauge(k, 0))
    });
    // A slot has 40 ms; posting it takes some 10 µs. This machine may give the processor to others meanwhile.
    assert!(longest < Duration::from_millis(500), "{longest:?} in {:?}", began.elapsed());
    assert!(hub.metrics().lost_by("sse") > 0 && hub.metrics().lost_by("ws") > 0, "and what they missed is counted");
    drop(stuck);
    // Others are served as ever.
    let mut reader = open(addr, "/events?only=frame");
    hub.frame(&frame(7, 1, 1), timing());
    assert_eq!(event(&mut reader).unwrap().1["t_ms"], 280.0);
}

#[test]
fn thirty_clients_all_get_everything() {
    const SLOTS: u32 = 200;
    let (hub, server) = start(&local());
    let addr = server.addr();
    let readers: Vec<_> = (0..30)
        .map(|_| {
            let mut stream = open(addr, "/events?only=frame");
            std::thread::spawn(move || {
                let t = std::iter::from_fn(|| event(&mut stream)).map(|e| e.1["t_ms"].as_f64().unwrap());
                t.take(usize::try_from(SLOTS).unwrap()).collect::<Vec<_>>()
            })
        })
        .collect();
    let began = Instant::now();
    let mut longest = Duration::ZERO;
    for i in 0..SLOTS {
        let before = Instant::now();
        hub.frame(&frame(i, 4, 1), timing());
        longest = longest.max(before.elapsed());
        // Five times as fast as live.
        std::thread::sleep(Duration::from_millis(8));
    }
    for r in readers {
        let t = r.join().unwrap();
        assert!(t.len() == 200 && t.windows(2).all(|w| (w[1] - w[0] - 40.0).abs() < 1e-9), "{t:?}");
    }
    assert_eq!(hub.metrics().lost_by("sse"), 0);
    assert!(longest < Duration::from_millis(500), "{longest:?} in {:?}", began.elapsed());
}

#[test]
fn one_too_many_is_told_so() {
    let (hub, server) = start(&Options { max_clients: 3, ..local() });
    let streams: Vec<_> = (0..3).map(|_| open(server.addr(), "/events")).collect();
    let full = get(server.addr(), "/picture");
    assert_eq!((full.status, full.header("retry-after")), (503, Some("10")));
    assert!(full.body.contains("too many clients"));
    assert_eq!(get(server.addr(), "/health").status, 200, "short questions are still answered");
    drop(streams);
    until("there is room again", || {
        hub.frame(&frame(0, 1, 1), timing());
        hub.metrics_text().contains("clients{kind=\"sse\"} 0")
    });
    drop(open(server.addr(), "/events"));
}

#[test]
fn connections_that_say_nothing_do_not_keep_others_out() {
    let (_hub, server) = start(&Options { max_clients: 1, ..local() });
    // 33 places in all; each is given up after ten seconds.
    let mut idle: Vec<_> = (0..33).map(|_| connect(server.addr())).collect();
    let began = Instant::now();
    assert_eq!(get(server.addr(), "/metrics").status, 200);
    assert!(began.elapsed() < PATIENCE);
    assert_eq!(idle[0].read(&mut [0; 1]).unwrap_or(0), 0);
}
