//! Who is let in.

mod common;

use common::{TOKEN, ask, connect, get, local, raw, start};
use seehear_serve::http::{Options, serve};
use seehear_serve::{Hub, SyncMode};
use std::net::SocketAddr;
use tokio_tungstenite::tungstenite;

const PATHS: [&str; 6] = ["/", "/events", "/picture", "/metrics", "/health", "/settings"];

fn guarded() -> Options {
    Options { token: Some(TOKEN.to_owned()), ..local() }
}

#[test]
fn open_to_others_only_with_a_token() {
    let open = Options { addr: ([0, 0, 0, 0], 0).into(), ..local() };
    let told = serve(&open, &Hub::new("a")).unwrap_err().to_string();
    assert!(told.contains("0.0.0.0:0 can be reached by other machines; set a token"), "{told}");
    let server = serve(&Options { token: Some(TOKEN.to_owned()), ..open }, &Hub::new("a")).unwrap();
    let here = SocketAddr::from(([127, 0, 0, 1], server.addr().port()));
    assert_eq!(get(here, "/metrics").status, 401);
}

#[test]
fn without_the_token_there_is_nothing_at_all() {
    let (_hub, server) = start(&guarded());
    for path in PATHS.into_iter().chain(["/ws", "/nothing"]) {
        let a = get(server.addr(), path);
        assert_eq!((a.status, a.header("www-authenticate")), (401, Some("Bearer")), "{path}");
        assert!(!a.body.contains(TOKEN));
    }
    for path in ["/?token=", "/?token=0123456789abcdeF", "/?TOKEN=0123456789abcdef", "/?xtoken=0123456789abcdef"] {
        assert_eq!(get(server.addr(), path).status, 401, "{path}");
    }
    assert_eq!(ask(server.addr(), "PATCH", "/settings", &[("Content-Type", "application/json")], "{}").status, 401);
}

#[test]
fn the_token_in_the_address_becomes_a_cookie() {
    let (_hub, server) = start(&guarded());
    let addr = server.addr();
    let page = get(addr, &format!("/?token={TOKEN}"));
    let cookie = page.header("set-cookie").unwrap();
    assert!(page.status == 200 && cookie.ends_with("; HttpOnly; SameSite=Strict; Path=/"), "{cookie}");
    assert!(!cookie.contains(TOKEN));
    let pair = cookie.split(';').next().unwrap();
    let with = |headers: &[(&str, &str)]| ask(addr, "GET", "/metrics", headers, "");
    assert_eq!(with(&[("Cookie", pair)]).status, 200);
    assert_eq!(with(&[("Cookie", pair)]).header("set-cookie"), None);
    assert_eq!(with(&[("Authorization", &format!("Bearer {TOKEN}"))]).status, 200);
    assert_eq!(with(&[("Authorization", TOKEN)]).status, 401);
    // It holds over a restart: a page on a wall must come back by itself.
    server.stop();
    let again = serve(&Options { addr, ..guarded() }, &Hub::new("b")).unwrap();
    assert_eq!(ask(again.addr(), "GET", "/metrics", &[("Cookie", pair)], "").status, 200);
}

#[test]
fn a_name_that_was_made_to_point_here_is_refused() {
    let (hub, server) = start(&local());
    for host in ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "192.168.0.1", ""] {
        for path in PATHS {
            assert_eq!(ask(server.addr(), "GET", path, &[("Host", host)], "").status, 421, "{host} {path}");
        }
    }
    assert_eq!(raw(server.addr(), b"GET /health HTTP/1.0\r\n\r\n").status, 421, "no host at all");
    // Who sends the token in a header is no web page: Prometheus may use any name.
    let (_hub, server) = start(&guarded());
    let bearer = format!("Bearer {TOKEN}");
    let a = ask(server.addr(), "GET", "/metrics", &[("Host", "any.example"), ("Authorization", &bearer)], "");
    assert_eq!(a.status, 200);
    assert_eq!(hub.slots(), 0);
}

#[test]
fn another_site_can_neither_look_nor_change() {
    let (hub, server) = start(&local());
    hub.update_settings(|s| {
        s.overlay = Some(true);
        s.sync = Some(SyncMode::Off);
    });
    let addr = server.addr();
    for origin in ["http://evil.example", "null", "http://127.0.0.1:1", "https://localhost"] {
        let change = [("Origin", origin), ("Content-Type", "application/json")];
        assert_eq!(ask(addr, "PATCH", "/settings", &change, r#"{"overlay":false}"#).status, 403, "{origin}");
        assert_eq!(ask(addr, "OPTIONS", "/settings", &change, "").status, 403, "{origin}: asked first");
        for path in PATHS {
            let a = ask(addr, "GET", path, &[("Origin", origin)], "");
            assert_eq!((a.status, a.header("access-control-allow-origin")), (403, None), "{origin} {path}");
        }
        let request = tungstenite::ClientRequestBuilder::new(format!("ws://{addr}/ws").parse().unwrap())
            .with_header("Origin", origin);
        let refused = tungstenite::client(request, connect(addr)).map(drop).unwrap_err().to_string();
        assert!(refused.contains("403"), "{origin}: {refused}");
    }
    let image = [("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "no-cors"), ("Sec-Fetch-Dest", "image")];
    assert_eq!(ask(addr, "GET", "/picture", &image, "").status, 403);
    assert!(hub.take_changes().is_empty());
    let own = format!("http://{addr}");
    let change = [("Origin", own.as_str()), ("Content-Type", "application/json"), ("Sec-Fetch-Site", "same-origin")];
    assert_eq!(ask(addr, "PATCH", "/settings", &change, r#"{"overlay":false}"#).status, 202);
    assert_eq!(hub.take_changes().len(), 1);
}

#[test]
fn a_websocket_may_say_nothing_large() {
    let (hub, server) = start(&local());
    let (mut ws, _) = tungstenite::client(format!("ws://{}/ws", server.addr()), connect(server.addr())).unwrap();
    ws.send(tungstenite::Message::text("x".repeat(100_000))).unwrap();
    let end = std::iter::from_fn(|| Some(ws.read())).take(20).find(Result::is_err);
    assert!(end.is_some(), "it is cut off");
    common::until("its place is free", || hub.metrics_text().contains("clients{kind=\"ws\"} 0"));
}
