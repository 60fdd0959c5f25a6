//! The broker's address: `mqtt[s]://[user:password@]host[:port][/name][?frames=no&ca=FILE]`.

use rumqttc::Transport;
use std::path::PathBuf;
use url::Url;

/// Why there will be no connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Not understood. Holds no password.
    #[error("mqtt: {0}; an address is mqtt[s]://[user:password@]host[:port][/name][?frames=no&ca=FILE]")]
    Address(String),
    /// The certificates.
    #[error("mqtt: {0}")]
    Tls(String),
    /// No thread or no runtime.
    #[error("mqtt: can't start: {0}")]
    Start(std::io::Error),
}

/// Where the broker is, and what it is told.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) login: Option<(String, String)>,
    /// Second part of the topics.
    pub(super) name: String,
    /// Every slot, and not only changes.
    pub(super) frames: bool,
    pub(super) tls: bool,
    /// The authority that signed the broker's certificate, PEM; else those that the system trusts.
    pub(super) ca: Option<PathBuf>,
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Never the password.
        write!(f, "{}:{}/{}", self.host, self.port, self.name)
    }
}

impl Address {
    /// Reads an address; where it names no `name`, that of the run is taken.
    ///
    /// # Errors
    /// Says what is wrong, without the password.
    pub fn parse(text: &str, run: &str) -> Result<Self, Error> {
        let bad = |what: &str| Error::Address(what.to_owned());
        let url = Url::parse(text).map_err(|e| bad(&format!("no URL: {e}")))?;
        let tls = match url.scheme() {
            "mqtt" => false,
            "mqtts" => true,
            other => return Err(bad(&format!("{other}:// is no scheme for a broker"))),
        };
        if tls && !cfg!(feature = "tls") {
            return Err(bad("this program was built without TLS (feature tls)"));
        }
        let host = url.host_str().filter(|h| !h.is_empty()).ok_or_else(|| bad("it names no host"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let decoded = |part: &str| {
            let pair = format!("v={}", part.replace('+', "%2B"));
            url::form_urlencoded::parse(pair.as_bytes()).next().map(|(_, v)| v.into_owned()).unwrap_or_default()
        };
        let name = match url.path().trim_matches('/') {
            "" => run.to_owned(),
            path => decoded(path),
        };
        if name.is_empty() || name.len() > 100 || name.contains(|c: char| "/+#$".contains(c) || c.is_control()) {
            return Err(bad("the name must be 1 to 100 characters without / + # $"));
        }
        let mut address = Self {
            host: host.to_owned(),
            port: url.port().unwrap_or(if tls { 8883 } else { 1883 }),
            login: (!url.username().is_empty())
                .then(|| (decoded(url.username()), decoded(url.password().unwrap_or("")))),
            name,
            frames: true,
            tls,
            ca: None,
        };
        for (key, value) in url.query_pairs() {
            match (&*key, &*value) {
                ("frames", "yes") => address.frames = true,
                ("frames", "no") => address.frames = false,
                ("frames", _) => return Err(bad("frames is yes or no")),
                ("ca", file) if tls && !file.is_empty() => address.ca = Some(PathBuf::from(file)),
                ("ca", _) => return Err(bad("ca names a file, and goes with mqtts://")),
                (other, _) => return Err(bad(&format!("{other:?} is not known"))),
            }
        }
        Ok(address)
    }

    #[cfg(not(feature = "tls"))]
    pub(super) fn transport(&self) -> Result<Option<Transport>, Error> {
        Ok(None)
    }

    /// TLS, where the address asks for it.
    #[cfg(feature = "tls")]
    pub(super) fn transport(&self) -> Result<Option<Transport>, Error> {
        use rustls::pki_types::CertificateDer;
        use rustls::pki_types::pem::PemObject;
        use std::sync::Arc;

        if !self.tls {
            return Ok(None);
        }
        let mut roots = rustls::RootCertStore::empty();
        if let Some(file) = &self.ca {
            let unfit = |e: &dyn std::fmt::Display| Error::Tls(format!("{}: {e}", file.display()));
            for cert in CertificateDer::pem_file_iter(file).map_err(|e| unfit(&e))? {
                roots.add(cert.map_err(|e| unfit(&e))?).map_err(|e| unfit(&e))?;
            }
            if roots.is_empty() {
                return Err(unfit(&"holds no certificate"));
            }
        } else {
            let (added, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if added == 0 {
                return Err(Error::Tls(
                    "this system trusts no certificate; install ca-certificates, or say ?ca=FILE".into(),
                ));
            }
        }
        // Named here, so that it does not depend on what else is in the program.
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| Error::Tls(e.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Some(Transport::tls_with_config(rumqttc::TlsConfiguration::Rustls(Arc::new(config)))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let a = Address::parse("mqtt://broker.lan", "studio-1").unwrap();
        assert_eq!((a.host.as_str(), a.port, a.name.as_str(), a.frames), ("broker.lan", 1883, "studio-1", true));
        assert_eq!(a.login, None);
        let a = Address::parse("mqtt://eva:p%40s+s@[::1]:9/cam%201?frames=no", "x").unwrap();
        assert_eq!((a.host.as_str(), a.port, a.name.as_str(), a.frames), ("::1", 9, "cam 1", false));
        assert_eq!(a.login, Some(("eva".to_owned(), "p@s+s".to_owned())));
        assert!(!format!("{a:?}").contains("p@s"));
    }

    #[cfg(feature = "tls")]
    #[test]
    fn tls() {
        let a = Address::parse("mqtts://b?ca=/no/such.pem", "x").unwrap();
        assert_eq!((a.port, a.tls), (8883, true));
        let told = a.transport().err().map(|e| e.to_string()).unwrap();
        assert!(told.contains("/no/such.pem"), "{told}");
        let empty = tempfile::NamedTempFile::new().unwrap();
        let a = Address::parse(&format!("mqtts://b?ca={}", empty.path().display()), "x").unwrap();
        assert!(a.transport().err().unwrap().to_string().contains("holds no certificate"));
    }

    #[test]
    fn what_is_wrong_is_said_without_the_password() {
        for (text, says) in [
            ("broker", "no URL"),
            ("http://u:s3cret@broker", "http:// is no scheme"),
            ("mqtt://", "no host"),
            ("mqtt://u:s3cret@b/a/b", "without /"),
            ("mqtt://u:s3cret@b/a%23", "without /"),
            ("mqtt://u:s3cret@b?frames=1", "frames is yes or no"),
            ("mqtt://u:s3cret@b?ca=x", "goes with mqtts"),
            ("mqtt://u:s3cret@b?qos=2", "\"qos\" is not known"),
            ("mqtt://u:s3cret@b:99999", "no URL: invalid port"),
        ] {
            let told = Address::parse(text, "run").unwrap_err().to_string();
            assert!(told.contains(says) && !told.contains("s3cret"), "{text}: {told}");
        }
        assert!(Address::parse("mqtt://b", "a/b").is_err(), "the run's own name is checked too");
    }
}
