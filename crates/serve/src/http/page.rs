//! The dashboard: one page, put together from `page/` at the first request.

use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use std::sync::LazyLock;

const HTML: &str = include_str!("../../page/index.html");
const STYLE: &str = concat!(include_str!("../../page/base.css"), include_str!("../../page/panels.css"));
const SCRIPT: &str = concat!(
    "'use strict';\n",
    include_str!("../../page/link.js"),
    include_str!("../../page/picture.js"),
    include_str!("../../page/charts.js"),
    include_str!("../../page/panels.js"),
);

struct Page {
    html: String,
    etag: String,
    policy: String,
}

static PAGE: LazyLock<Page> = LazyLock::new(|| {
    let style = format!("\n{STYLE}");
    let script = format!("\n{SCRIPT}");
    let html = HTML.replace("/*STYLE*/", &style).replace("/*SCRIPT*/", &script);
    let hash = |text: &str| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)));
    Page {
        etag: format!("\"{}\"", &STANDARD.encode(Sha256::digest(&html))[..22]),
        // Only this script and this style; nothing from elsewhere, nowhere else to talk to, in nobody's frame.
        policy: format!(
            "default-src 'none'; script-src {}; style-src {}; img-src 'self' blob: data:; connect-src 'self'; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            hash(&script),
            hash(&style)
        ),
        html,
    }
});

pub(super) async fn page(headers: HeaderMap) -> Response {
    let page = &*PAGE;
    let known = headers.get(IF_NONE_MATCH).and_then(|v| v.to_str().ok());
    let status = if known.is_some_and(|k| k.split(',').any(|k| k.trim() == page.etag)) {
        StatusCode::NOT_MODIFIED
    } else {
        StatusCode::OK
    };
    let head = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, &page.policy),
        (ETAG, &page.etag),
        (CACHE_CONTROL, "no-cache"),
    ];
    let body = if status == StatusCode::OK { page.html.as_str() } else { "" };
    (status, head, body).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_whole_and_needs_nothing_from_elsewhere() {
        let html = &PAGE.html;
        assert!(!html.contains("/*STYLE*/") && !html.contains("/*SCRIPT*/"));
        for elsewhere in ["http://", "https://", "src=\"//", "@import", "url("] {
            assert!(!html.contains(elsewhere), "{elsewhere}");
        }
        // The policy would block these silently.
        for inline in [" style=\"", " onclick=", " onload=", "javascript:"] {
            assert!(!html.contains(inline), "{inline}");
        }
        assert_eq!(html.matches("<script").count(), 1);
        assert_eq!(html.matches("<style").count(), 1);
    }
}
