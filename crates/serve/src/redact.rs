//! Secrets in the name of a source.

use url::Url;

/// The source without user name, password and query of a URI: what is told over a network must hold none of them (a
/// camera's password is in the first, SRT's passphrase in the last).
pub(crate) fn redact(source: &str) -> String {
    if !source.contains("://") {
        return source.to_owned();
    }
    let Ok(mut url) = Url::parse(source) else { return "(a URI that can't be parsed)".to_owned() };
    let had_query = url.query().is_some();
    url.set_query(None);
    url.set_fragment(None);
    // Refused only for URIs that can't hold a user, which then have nothing to hide.
    let hidden = url.set_username("").is_ok() && url.set_password(None).is_ok();
    if !hidden && url.authority().contains('@') {
        return format!("{}://(hidden)", url.scheme());
    }
    if had_query { format!("{url}?…") } else { url.to_string() }
}

#[cfg(test)]
mod tests {
    use super::redact;

    #[test]
    fn secrets_stay_here() {
        for (given, told) in [
            ("talk.mp4", "talk.mp4"),
            ("/dev/video0", "/dev/video0"),
            ("rtsp://eva:s3cret@cam.lan:554/1", "rtsp://cam.lan:554/1"),
            ("srt://host:9000?mode=caller&passphrase=s3cret", "srt://host:9000?…"),
            ("file:///a/b.mp4", "file:///a/b.mp4"),
            ("rtsp://eva:s3cret@[bad", "(a URI that can't be parsed)"),
            ("rtmp://host/app/stream#s3cret", "rtmp://host/app/stream"),
        ] {
            assert_eq!(redact(given), told);
        }
    }
}
