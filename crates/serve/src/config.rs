//! All of it in one TOML file, and what a reload of that file changes.
//!
//! ```
//! let config = seehear_serve::config::Config::parse(r#"
//!     name = "studio-1"
//!     [http]
//!     listen = "0.0.0.0:8080"
//!     token_file = "/etc/seehear/token"
//!     [mqtt]
//!     url = "mqtt://broker.lan"
//!     [record]
//!     path = "/var/lib/seehear/events.jsonl"
//!     max_mib = 64
//!     [settings]
//!     threshold = 0.6
//! "#)?;
//! # Ok::<(), seehear_serve::config::Error>(())
//! ```

use crate::http;
use crate::mqtt;
use crate::rotate::Limits;
use crate::settings::{Change, Refused, Request, Settings};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The file.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Tells this run from others: in MQTT's topics, `/health` and `build_info`.
    pub name: String,
    /// No slot for so long is a reason for `/health` to say so, s.
    pub slot_timeout_s: u32,
    /// The server.
    pub http: Option<Http>,
    /// The broker.
    pub mqtt: Option<Mqtt>,
    /// Events to a file.
    pub record: Option<Record>,
    /// What is asked for at the start and at every reload.
    pub settings: Option<Request>,
}

impl Default for Config {
    fn default() -> Self {
        Self { name: "seehear".to_owned(), slot_timeout_s: 5, http: None, mqtt: None, record: None, settings: None }
    }
}

/// `[http]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Http {
    /// `PORT`, `:PORT` (this machine only) or `IP:PORT`.
    pub listen: String,
    /// A file that holds the token, and nothing else: not in this one, which is shown to people.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
    /// Names under which clients reach it through a proxy.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// Streams at a time.
    #[serde(default = "max_clients")]
    pub max_clients: usize,
    /// Pictures a second, at most.
    #[serde(default = "pictures_per_s")]
    pub pictures_per_s: u32,
}

impl Http {
    /// At an address, the rest as where the file does not say.
    ///
    /// # Errors
    /// As [`http::parse_addr`].
    pub fn new(listen: &str, token_file: Option<PathBuf>) -> Result<Self, Error> {
        http::parse_addr(listen)?;
        let (max_clients, pictures_per_s) = (max_clients(), pictures_per_s());
        Ok(Self { listen: listen.to_owned(), token_file, hosts: Vec::new(), max_clients, pictures_per_s })
    }
}

fn max_clients() -> usize {
    32
}

fn pictures_per_s() -> u32 {
    10
}

/// `[mqtt]`
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mqtt {
    /// The broker's [`mqtt::Address`].
    pub url: String,
}

impl std::fmt::Debug for Mqtt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // It may hold a password.
        f.debug_struct("Mqtt").finish_non_exhaustive()
    }
}

/// `[record]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The newest file.
    pub path: PathBuf,
    /// A new file from this size on, MiB.
    #[serde(default = "max_mib")]
    pub max_mib: u64,
    /// And from this age on, hours.
    #[serde(default = "max_hours")]
    pub max_hours: u64,
    /// Old files kept.
    #[serde(default = "keep")]
    pub keep: u32,
}

fn max_mib() -> u64 {
    64
}

fn max_hours() -> u64 {
    24
}

fn keep() -> u32 {
    7
}

/// Why a file is not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Can't be read.
    #[error("{0}: {1}")]
    Read(PathBuf, std::io::Error),
    /// No TOML, an unknown field or a value of the wrong type.
    #[error("line {line}: {why}")]
    Toml {
        /// Where, from 1.
        line: usize,
        /// What is wrong there, in one line.
        why: String,
    },
    /// Out of range.
    #[error("{field} is {value}; it must be {range}")]
    Range {
        /// The field.
        field: &'static str,
        /// What it is.
        value: u64,
        /// What it may be.
        range: &'static str,
    },
    /// `[http]`.
    #[error(transparent)]
    Http(#[from] http::Error),
    /// `[mqtt]`.
    #[error(transparent)]
    Mqtt(#[from] mqtt::Error),
}

/// What a new file means for a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Reload {
    /// To be applied now.
    pub changes: Vec<Change>,
    /// Parts that differ and take effect at the next start only.
    pub restart: Vec<&'static str>,
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// Says what is wrong, where, and what is allowed. Nothing has changed then.
    pub fn load(path: &Path) -> Result<Self, Error> {
        Self::parse(&read(path)?)
    }

    /// Reads TOML.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(text: &str) -> Result<Self, Error> {
        let config: Self = toml::from_str(text).map_err(|e| {
            let before = e.span().and_then(|s| text.get(..s.start)).unwrap_or_default();
            let why = e.message().lines().collect::<Vec<_>>().join("; ");
            Error::Toml { line: before.matches('\n').count() + 1, why }
        })?;
        config.validate()?;
        Ok(config)
    }

    fn validate(&self) -> Result<(), Error> {
        let within = |field, value: u64, range: std::ops::RangeInclusive<u64>, told| {
            if range.contains(&value) { Ok(()) } else { Err(Error::Range { field, value, range: told }) }
        };
        within("slot_timeout_s", self.slot_timeout_s.into(), 1..=3600, "1 to 3600")?;
        if let Some(h) = &self.http {
            http::parse_addr(&h.listen)?;
            within("http.max_clients", u64::try_from(h.max_clients).unwrap_or(u64::MAX), 1..=1000, "1 to 1000")?;
            within("http.pictures_per_s", h.pictures_per_s.into(), 1..=60, "1 to 60")?;
        }
        if let Some(m) = &self.mqtt {
            mqtt::Address::parse(&m.url, &self.name)?;
        }
        if let Some(r) = &self.record {
            within("record.max_mib", r.max_mib, 1..=1_000_000, "1 to 1000000")?;
            within("record.max_hours", r.max_hours, 1..=10_000, "1 to 10000")?;
            within("record.keep", r.keep.into(), 0..=1000, "0 to 1000")?;
        }
        Ok(())
    }

    /// The server's options; reads the token.
    ///
    /// # Errors
    /// The token can't be read.
    pub fn http_options(&self) -> Result<Option<http::Options>, Error> {
        let Some(h) = &self.http else { return Ok(None) };
        let token = h.token_file.as_deref().map(read).transpose()?.map(|t| t.trim().to_owned());
        let options = http::Options::new(http::parse_addr(&h.listen)?);
        Ok(Some(http::Options { token, hosts: h.hosts.clone(), max_clients: h.max_clients, ..options }))
    }

    /// The broker's address.
    ///
    /// # Errors
    /// None that reading the file did not tell.
    pub fn mqtt_address(&self) -> Result<Option<mqtt::Address>, Error> {
        Ok(self.mqtt.as_ref().map(|m| mqtt::Address::parse(&m.url, &self.name)).transpose()?)
    }

    /// What `new` means for a run that was started, or last reloaded, with `self`, and in which `now` holds.
    ///
    /// # Errors
    /// Settings that can't be had; nothing is changed then.
    pub fn reload(&self, new: &Self, now: &Settings) -> Result<Reload, Refused> {
        let changes = match &new.settings {
            // What has not changed in the file is left as it is: somebody may have changed it in the dashboard.
            Some(s) if self.settings != new.settings => s.changes(now)?,
            _ => Vec::new(),
        };
        let differ = [
            ("name", self.name != new.name),
            ("slot_timeout_s", self.slot_timeout_s != new.slot_timeout_s),
            ("[http]", self.http != new.http),
            ("[mqtt]", self.mqtt != new.mqtt),
            ("[record]", self.record != new.record),
        ];
        Ok(Reload { changes, restart: differ.iter().filter(|d| d.1).map(|d| d.0).collect() })
    }
}

impl Record {
    /// When to begin a new file.
    #[must_use]
    pub fn limits(&self) -> Limits {
        let max_age = Duration::from_secs(self.max_hours.saturating_mul(3600));
        Limits { max_bytes: self.max_mib.saturating_mul(1 << 20), max_age, keep: self.keep }
    }
}

fn read(path: &Path) -> Result<String, Error> {
    std::fs::read_to_string(path).map_err(|e| Error::Read(path.to_owned(), e))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: &str = r#"
        name = "studio-1"
        slot_timeout_s = 8
        [http]
        listen = "8080"
        [mqtt]
        url = "mqtt://u:s3cret@b"
        [record]
        path = "e.jsonl"
        keep = 2
        [settings]
        threshold = 0.6
        overlay = false
    "#;

    fn now() -> Settings {
        Settings { threshold: Some(0.5), overlay: Some(true), ..Settings::default() }
    }

    #[test]
    fn a_file_is_read() {
        let c = Config::parse(FULL).unwrap();
        assert_eq!(c.http_options().unwrap().unwrap().addr, "127.0.0.1:8080".parse().unwrap());
        assert_eq!(c.record.as_ref().unwrap().limits().max_bytes, 64 << 20);
        assert!(!format!("{c:?}").contains("s3cret"));
        assert_eq!(Config::parse("").unwrap(), Config::default());
    }

    #[test]
    fn the_token_comes_from_a_file_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let text = format!("[http]\nlisten = \"0.0.0.0:1\"\ntoken_file = {path:?}");
        let c = Config::parse(&text).unwrap();
        let told = c.http_options().unwrap_err().to_string();
        assert!(told.contains("token: No such file"), "{told}");
        std::fs::write(&path, "0123456789abcdef\n").unwrap();
        assert_eq!(c.http_options().unwrap().unwrap().token.as_deref(), Some("0123456789abcdef"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, says) in [
            ("slot_timeout_s = 3\nnam = 'x'", "line 2: unknown field `nam`"),
            ("slot_timeout_s = 0", "slot_timeout_s is 0; it must be 1 to 3600"),
            ("[http]\nlisten = 'nowhere'", "is no address"),
            ("[http]\nlisten = '1'\nmax_clients = 0", "http.max_clients is 0; it must be 1 to 1000"),
            ("[mqtt]\nurl = 'http://b'", "is no scheme"),
            ("[record]\npath = 'x'\nmax_mib = 0", "record.max_mib is 0"),
            ("[settings]\nvolume = 3", "unknown field `volume`"),
        ] {
            let told = Config::parse(text).unwrap_err().to_string();
            assert!(told.contains(says), "{text}: {told}");
        }
        let told = Config::load(Path::new("/no/such.toml")).unwrap_err().to_string();
        assert!(told.starts_with("/no/such.toml: No such file"), "{told}");
    }

    #[test]
    fn a_reload_applies_what_it_can_and_names_the_rest() {
        let old = Config::parse(FULL).unwrap();
        assert_eq!(old.reload(&old, &now()), Ok(Reload { changes: vec![], restart: vec![] }));
        let text = FULL.replace("0.6", "0.7").replace("8080", "9090").replace("keep = 2", "keep = 3");
        let r = old.reload(&Config::parse(&text).unwrap(), &now()).unwrap();
        assert_eq!(r.changes, [Change::Threshold(0.7), Change::Overlay(false)]);
        assert_eq!(r.restart, ["[http]", "[record]"]);
        let bad = Config::parse("[settings]\nheatmap = true").unwrap();
        assert_eq!(old.reload(&bad, &now()), Err(Refused::Fixed("heatmap")));
    }
}
