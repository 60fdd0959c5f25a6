//! Who may ask.
//!
//! | threat | answer |
//! |---|---|
//! | somebody else on the network | the token, unless only this machine can reach it |
//! | a web page whose name was made to point here (DNS rebinding) | `Host` must be one of ours |
//! | a web page elsewhere that opens a WebSocket, changes settings or shows the picture | `Origin` must be ourselves, `Sec-Fetch-Site` must not say otherwise, the cookie is `SameSite=Strict` |
//! | a page that frames the dashboard, or injects into it | Content-Security-Policy (`page.rs`) |
//!
//! The token comes as `Authorization: Bearer …`, or as `?token=…`, which sets a cookie; the cookie's value is derived
//! from the token, so that it holds over a restart.

use super::{Options, Shared, api};
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, COOKIE, HOST, ORIGIN, SET_COOKIE, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::Response;
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use subtle::ConstantTimeEq;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// Sent with every answer.
const ALWAYS: [(&str, &str); 4] = [
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
];

/// How a client showed the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    /// None is asked for.
    NotNeeded,
    /// In the header: no web page can do that for somebody else.
    Bearer,
    /// In the address: a cookie is to be set.
    Query,
    /// In the cookie.
    Cookie,
}

/// What requests are checked against.
#[derive(Debug)]
pub(super) struct Guard {
    /// SHA-256 of the token, and of the cookie: of equal length whatever was sent, so that comparing takes equal time.
    token: Option<[u8; 32]>,
    cookie: String,
    cookie_name: String,
    loopback: bool,
    hosts: Vec<String>,
}

fn digest(text: &[u8]) -> [u8; 32] {
    Sha256::digest(text).into()
}

impl Guard {
    pub(super) fn new(options: &Options, addr: SocketAddr) -> Self {
        let mut hosts: Vec<String> = options.hosts.iter().map(|h| h.to_ascii_lowercase()).collect();
        if let Ok(name) = std::fs::read_to_string("/proc/sys/kernel/hostname") {
            let name = name.trim().to_ascii_lowercase();
            hosts.push(format!("{name}.local"));
            hosts.push(name);
        }
        let cookie = options.token.iter().fold(String::new(), |mut hex, token| {
            for byte in digest(format!("seehear cookie {token}").as_bytes()) {
                write!(hex, "{byte:02x}").expect("a String takes everything");
            }
            hex
        });
        Self {
            token: options.token.as_ref().map(|t| digest(t.as_bytes())),
            cookie,
            // Cookies are shared by all ports of a machine.
            cookie_name: format!("seehear-{}", addr.port()),
            loopback: addr.ip().is_loopback(),
            hosts,
        }
    }

    fn shown(&self, headers: &HeaderMap, uri: &Uri) -> Option<Shown> {
        let Some(token) = &self.token else { return Some(Shown::NotNeeded) };
        let same = |given: &[u8], want: &[u8; 32]| bool::from(digest(given).ct_eq(want));
        let bearer = headers.get(AUTHORIZATION).and_then(|v| v.as_bytes().split_at_checked(7));
        if bearer.is_some_and(|(scheme, given)| scheme.eq_ignore_ascii_case(b"bearer ") && same(given, token)) {
            return Some(Shown::Bearer);
        }
        let mut pairs = url::form_urlencoded::parse(uri.query().unwrap_or("").as_bytes());
        if pairs.any(|(k, v)| k == "token" && same(v.as_bytes(), token)) {
            return Some(Shown::Query);
        }
        let cookies = headers.get_all(COOKIE).iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(';'));
        let want = digest(self.cookie.as_bytes());
        cookies
            .filter_map(|c| c.trim().strip_prefix(self.cookie_name.as_str())?.strip_prefix('='))
            .any(|given| same(given.as_bytes(), &want))
            .then_some(Shown::Cookie)
    }

    /// Whether `Host` names us. On loopback only loopback's own names count; elsewhere any IP address does, because
    /// rebinding takes a name.
    fn knows(&self, host: &str) -> bool {
        let Ok(authority) = host.parse::<axum::http::uri::Authority>() else { return false };
        if host.contains('@') {
            return false;
        }
        let name = authority.host().trim_end_matches('.').to_ascii_lowercase();
        if name == "localhost" || self.hosts.contains(&name) {
            return true;
        }
        let ip = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        ip.is_ok_and(|ip| !self.loopback || ip.is_loopback())
    }
}

/// Whether a browser says that another site asks.
fn foreign(headers: &HeaderMap, host: &str) -> bool {
    if let Some(origin) = headers.get(ORIGIN) {
        let own =
            |scheme| origin.as_bytes().strip_prefix(scheme).is_some_and(|o| o.eq_ignore_ascii_case(host.as_bytes()));
        // https: behind a proxy.
        if !own(b"http://".as_slice()) && !own(b"https://".as_slice()) {
            return true;
        }
    }
    let site = headers.get(SEC_FETCH_SITE).map(HeaderValue::as_bytes);
    // To follow a link to the dashboard is no request on somebody's behalf.
    let navigates = headers.get(SEC_FETCH_MODE).is_some_and(|m| m == "navigate");
    matches!(site, Some(b"cross-site" | b"same-site")) && !navigates
}

/// Lets a request through, or says why not.
pub(super) async fn check(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let guard = &shared.guard;
    let mut response = match judge(guard, &request) {
        Ok(shown) => {
            let mut response = next.run(request).await;
            if shown == Shown::Query {
                let cookie = format!("{}={}; HttpOnly; SameSite=Strict; Path=/", guard.cookie_name, guard.cookie);
                response.headers_mut().insert(SET_COOKIE, HeaderValue::try_from(cookie).expect("hex"));
            }
            response
        }
        Err((status, why)) => {
            let mut response = api::problem(status, why);
            if status == StatusCode::UNAUTHORIZED {
                response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            response
        }
    };
    for (name, value) in ALWAYS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

fn judge(guard: &Guard, request: &Request) -> Result<Shown, (StatusCode, &'static str)> {
    let headers = request.headers();
    let host = headers.get(HOST).and_then(|h| h.to_str().ok()).unwrap_or("");
    let shown = guard.shown(headers, request.uri());
    if shown != Some(Shown::Bearer) && !guard.knows(host) {
        return Err((
            StatusCode::MISDIRECTED_REQUEST,
            "this name is not known here; use the IP address, or list the name in [http] hosts",
        ));
    }
    if foreign(headers, host) {
        return Err((StatusCode::FORBIDDEN, "asked by another site"));
    }
    shown.ok_or((
        StatusCode::UNAUTHORIZED,
        "a token is required: open /?token=TOKEN once, or send Authorization: Bearer TOKEN",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(addr: &str, token: Option<&str>) -> Guard {
        let addr = addr.parse().unwrap();
        let options =
            Options { token: token.map(str::to_owned), hosts: vec!["Wall.example".to_owned()], ..Options::new(addr) };
        Guard::new(&options, addr)
    }

    #[test]
    fn hosts() {
        let here = guard("127.0.0.1:80", None);
        let there = guard("0.0.0.0:80", Some("0123456789abcdef"));
        for (host, loopback, open) in [
            ("127.0.0.1", true, true),
            ("127.0.0.1:8080", true, true),
            ("LOCALHOST:1", true, true),
            ("localhost.", true, true),
            ("[::1]:8080", true, true),
            ("wall.example:80", true, true),
            ("192.168.1.5:80", false, true),
            ("evil.example", false, false),
            ("127.0.0.1.evil.example", false, false),
            ("localhost.evil.example", false, false),
            ("evil.example@127.0.0.1", false, false),
            ("127.0.0.1@evil.example", false, false),
            ("", false, false),
            ("a b", false, false),
        ] {
            assert_eq!(here.knows(host), loopback, "{host} on loopback");
            assert_eq!(there.knows(host), open, "{host} in the open");
        }
    }

    #[test]
    fn origins() {
        let judge = |pairs: &[(&'static str, &'static str)]| {
            let headers = pairs.iter().map(|&(k, v)| (HeaderName::from_static(k), HeaderValue::from_static(v)));
            foreign(&headers.collect(), "127.0.0.1:80")
        };
        assert!(!judge(&[]), "curl, Prometheus, OBS");
        assert!(!judge(&[("origin", "http://127.0.0.1:80"), ("sec-fetch-site", "same-origin")]));
        assert!(!judge(&[("origin", "https://127.0.0.1:80")]));
        assert!(!judge(&[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")]));
        assert!(!judge(&[("sec-fetch-site", "none")]));
        for origin in
            ["http://evil.example", "null", "http://127.0.0.1:81", "http://127.0.0.1:80.evil.example", "file://"]
        {
            assert!(judge(&[("origin", origin)]), "{origin}");
        }
        assert!(judge(&[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors")]), "an <img> elsewhere");
        assert!(judge(&[("sec-fetch-site", "same-site")]), "another port of this machine");
    }

    #[test]
    fn tokens() {
        let token = "0123456789abcdef";
        let g = guard("0.0.0.0:80", Some(token));
        let shown = |header: Option<(HeaderName, String)>, uri: &str| {
            let headers = header.into_iter().map(|(k, v)| (k, HeaderValue::try_from(v).unwrap())).collect();
            g.shown(&headers, &uri.parse().unwrap())
        };
        let auth = |v: &str| shown(Some((AUTHORIZATION, v.to_owned())), "/");
        assert_eq!(auth("Bearer 0123456789abcdef"), Some(Shown::Bearer));
        assert_eq!(auth("bearer 0123456789abcdef"), Some(Shown::Bearer));
        for bad in
            ["Bearer ", "Bearer", "", "Basic 0123456789abcdef", "Bearer 0123456789abcdeF", "Bearer 0123456789abcdef "]
        {
            assert_eq!(auth(bad), None, "{bad:?}");
        }
        assert_eq!(shown(None, "/?a=b&token=0123456789abcdef"), Some(Shown::Query));
        assert_eq!(shown(None, "/?token=0123456789abcde%66"), Some(Shown::Query));
        assert_eq!(shown(None, "/?token=0123456789abcde"), None);
        assert_eq!(shown(None, "/"), None);
        let cookie = |v: String| shown(Some((COOKIE, v)), "/");
        assert_eq!(cookie(format!("a=b; seehear-80={}", g.cookie)), Some(Shown::Cookie));
        assert_eq!(cookie(format!("seehear-81={}", g.cookie)), None);
        assert_eq!(cookie(format!("seehear-80={token}")), None, "the token is not the cookie");
        assert_eq!(cookie("seehear-80=".to_owned()), None);
        let open = guard("127.0.0.1:80", None);
        assert_eq!(open.shown(&HeaderMap::new(), &Uri::from_static("/")), Some(Shown::NotNeeded));
    }
}
