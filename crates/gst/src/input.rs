//! What the user named, and which pipeline serves it.

use crate::error::RunError;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// An input, as `seehear run INPUT` takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A file on disk.
    File(PathBuf),
    /// A URI of GStreamer's.
    Uri(String),
    /// A video device, `/dev/video0`.
    Camera(String),
    /// A moving test picture with a test tone.
    Test,
}

impl Input {
    /// Reads what the user wrote: `test`, a device, a URI, else a file.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        if text == "test" {
            Self::Test
        } else if text.starts_with("/dev/video") {
            Self::Camera(text.to_owned())
        } else if let Some(path) = text.strip_prefix("file://") {
            // Percent-decoding is GStreamer's; a URI without escapes is a path, so that its errors are a path's.
            if path.contains('%') { Self::Uri(text.to_owned()) } else { Self::File(path.into()) }
        } else if text
            .split_once("://")
            .is_some_and(|(s, _)| !s.is_empty() && s.bytes().all(|b| b.is_ascii_alphanumeric()))
        {
            Self::Uri(text.to_owned())
        } else {
            Self::File(text.into())
        }
    }

    /// The built-in pipeline for it.
    #[must_use]
    pub fn pipeline(&self) -> &'static str {
        match self {
            Self::File(_) => "file",
            Self::Camera(_) => "camera",
            Self::Test => "test",
            Self::Uri(uri) => match uri.split_once("://").map(|(s, _)| s) {
                Some("rtsp" | "rtsps" | "rtspt" | "rtspu") => "rtsp",
                Some("srt") => "srt",
                _ => "file",
            },
        }
    }

    /// As the user named it, without the password that a URI may hold: names go into events and logs.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::File(p) => p.display().to_string(),
            Self::Camera(s) => s.clone(),
            Self::Uri(uri) => match uri.split_once("://") {
                Some((scheme, rest)) => {
                    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
                    match authority.rsplit_once('@') {
                        Some((_, host)) => format!("{scheme}://***@{host}{path}"),
                        None => uri.clone(),
                    }
                }
                None => uri.clone(),
            },
            Self::Test => "test".to_owned(),
        }
    }

    /// Finds out before anything is built whether the input can be there at all.
    ///
    /// # Errors
    /// Names the input and what is wrong with it.
    pub fn check(&self) -> Result<(), RunError> {
        let fail = |why: String| Err(RunError::Input { input: self.name(), why });
        match self {
            Self::File(path) => {
                let meta = match std::fs::metadata(path) {
                    Ok(m) => m,
                    Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                        return fail(
                            "no such file; check the path (a URI begins with its scheme, as in rtsp://)".into(),
                        );
                    }
                    Err(e) => return fail(format!("can't be opened: {e}")),
                };
                if meta.is_dir() {
                    return fail("is a folder; name a file in it".into());
                }
                if meta.is_file() && meta.len() == 0 {
                    return fail("is empty (0 bytes); copy or record it again".into());
                }
                let mut byte = [0];
                match File::open(path).and_then(|mut f| f.read(&mut byte)) {
                    Ok(_) => Ok(()),
                    Err(e) => fail(format!("can't be read: {e}; check its permissions")),
                }
            }
            Self::Camera(device) if !Path::new(device).exists() => {
                let found: Vec<String> =
                    (0..64).map(|i| format!("/dev/video{i}")).filter(|d| Path::new(d).exists()).collect();
                let found = if found.is_empty() {
                    "none is connected".to_owned()
                } else {
                    format!("there are {}", found.join(", "))
                };
                fail(format!("no such camera; {found}"))
            }
            _ => Ok(()),
        }
    }

    /// The values of `{…}` places in the pipeline's descriptions.
    ///
    /// # Errors
    /// When a path can't be made a URI.
    pub fn values(&self) -> Result<BTreeMap<String, String>, RunError> {
        let mut values = BTreeMap::new();
        match self {
            Self::File(path) => {
                let absolute = std::path::absolute(path).unwrap_or_else(|_| path.clone());
                let uri = gst::glib::filename_to_uri(&absolute, None).map_err(|e| RunError::Input {
                    input: self.name(),
                    why: format!("can't be named as a URI: {e}"),
                })?;
                values.insert("uri".to_owned(), uri.to_string());
            }
            Self::Uri(uri) => {
                values.insert("uri".to_owned(), uri.clone());
            }
            Self::Camera(device) => {
                values.insert("device".to_owned(), device.clone());
            }
            Self::Test => {}
        }
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_find_their_pipeline() {
        for (text, pipeline) in [
            ("clip.mp4", "file"),
            ("file:///tmp/a.mp4", "file"),
            ("https://example.invalid/a.mp4", "file"),
            ("rtsp://cam.invalid/1", "rtsp"),
            ("srt://:7001", "srt"),
            ("/dev/video2", "camera"),
            ("test", "test"),
            ("odd://name", "file"),
            ("a:b.mp4", "file"),
        ] {
            assert_eq!(Input::parse(text).pipeline(), pipeline, "{text}");
        }
        assert_eq!(Input::parse("file:///tmp/a.mp4"), Input::File("/tmp/a.mp4".into()));
    }

    #[test]
    fn passwords_are_not_repeated() {
        assert_eq!(Input::parse("rtsp://me:p@ss@cam.invalid/1?a=@").name(), "rtsp://***@cam.invalid/1?a=@");
        assert_eq!(Input::parse("rtsp://cam.invalid/a@b").name(), "rtsp://cam.invalid/a@b");
    }

    #[test]
    fn what_is_not_there_is_said_before_anything_runs() {
        let missing = Input::parse("/nowhere/x.mp4").check().unwrap_err().to_string();
        assert!(missing.contains("/nowhere/x.mp4") && missing.contains("no such file"), "{missing}");
        let folder = Input::parse("/tmp").check().unwrap_err().to_string();
        assert!(folder.contains("folder"), "{folder}");
        let camera = Input::parse("/dev/video63").check().unwrap_err().to_string();
        assert!(camera.contains("no such camera"), "{camera}");
    }
}
