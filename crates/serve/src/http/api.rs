//! Metrics, health, settings.

use super::Shared;
use crate::settings::{Refused, Request as Wanted};
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use std::time::Duration;

/// A change is a handful of numbers.
const MAX_BODY: usize = 4096;
/// And comes at once.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// An answer that says what was wrong.
pub(super) fn problem(status: StatusCode, why: &str) -> Response {
    (status, [(CACHE_CONTROL, "no-store")], Json(json!({ "error": why }))).into_response()
}

pub(super) async fn not_found() -> Response {
    let why = "nothing here; there are /, /events, /ws, /picture, /metrics, /health, /settings";
    problem(StatusCode::NOT_FOUND, why)
}

pub(super) async fn not_allowed() -> Response {
    problem(StatusCode::METHOD_NOT_ALLOWED, "GET only; /settings also takes PATCH")
}

pub(super) async fn metrics(State(shared): State<Shared>) -> Response {
    ([(CONTENT_TYPE, OPENMETRICS), (CACHE_CONTROL, "no-store")], shared.hub.metrics_text()).into_response()
}

pub(super) async fn health(State(shared): State<Shared>) -> Response {
    let v = shared.hub.vitals();
    let status = if v.health.ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = json!({
        "ok": v.health.ok,
        "reasons": v.health.reasons,
        "warnings": v.health.warnings,
        "name": shared.hub.name(),
        "slots": v.slots,
        "fps": v.fps,
        "load": v.load,
    });
    (status, [(CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

pub(super) async fn settings(State(shared): State<Shared>) -> Response {
    ([(CACHE_CONTROL, "no-store")], Json(shared.hub.settings())).into_response()
}

pub(super) async fn change(State(shared): State<Shared>, headers: HeaderMap, body: Body) -> Response {
    // A form on another site can't send this type without asking first, which is refused.
    let is_json = |v: &HeaderValue| {
        v.to_str().is_ok_and(|v| v.split(';').next().is_some_and(|t| t.trim().eq_ignore_ascii_case("application/json")))
    };
    if !headers.get(CONTENT_TYPE).is_some_and(is_json) {
        return problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, "settings: send Content-Type: application/json");
    }
    let body = match tokio::time::timeout(BODY_TIMEOUT, axum::body::to_bytes(body, MAX_BODY)).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => return problem(StatusCode::PAYLOAD_TOO_LARGE, "settings: more than 4096 bytes, or broken off"),
        Err(_) => return problem(StatusCode::REQUEST_TIMEOUT, "settings: the body did not come within 5 s"),
    };
    match Wanted::parse(&body).and_then(|wanted| shared.hub.ask(&wanted)) {
        // Not yet: the program takes it at its next slot, and says so by a `settings` event.
        Ok(()) => (StatusCode::ACCEPTED, Json(shared.hub.settings())).into_response(),
        Err(why) => {
            let status = match why {
                Refused::Malformed(_) | Refused::Threshold(_) => StatusCode::BAD_REQUEST,
                Refused::Fixed(_) => StatusCode::CONFLICT,
                Refused::Busy => StatusCode::SERVICE_UNAVAILABLE,
            };
            let mut response = problem(status, &why.to_string());
            if status == StatusCode::SERVICE_UNAVAILABLE {
                response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            response
        }
    }
}
