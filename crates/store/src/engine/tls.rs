//! TLS to PostgreSQL. Asked for by `sslmode` in the database's address; then the server's certificate is always
//! verified, against the system's authorities or those in `sslrootcert`.

use std::str::FromStr;
use std::sync::Arc;

use postgres::config::SslMode;
use postgres::{Client, Config, NoTls};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::StoreError;

/// How to connect.
#[derive(Clone)]
pub(super) struct Way {
    pub(super) config: Config,
    tls: Option<MakeRustlsConnect>,
}

impl Way {
    /// Reads a database's address. `sslmode` is `disable` (the default), `require` or `verify-full`; the last two are the
    /// same here.
    pub(super) fn parse(url: &str) -> Result<Self, StoreError> {
        let (plain, asked) = take_tls(url)?;
        let mut config =
            Config::from_str(&plain).map_err(|e| StoreError::Open(format!("the address of the database is not valid: {e}")))?;
        config.ssl_mode(if asked.is_some() { SslMode::Require } else { SslMode::Disable });
        let tls = asked.map(|roots| roots.load()).transpose()?;
        Ok(Self { config, tls })
    }

    pub(super) fn connect(&self) -> Result<Client, postgres::Error> {
        match &self.tls {
            Some(tls) => self.config.connect(tls.clone()),
            None => self.config.connect(NoTls),
        }
    }
}

/// Whom to trust.
#[derive(Debug, PartialEq, Eq)]
enum Roots {
    System,
    File(String),
}

/// The address without its TLS parameters, and whom to trust where TLS is asked for.
fn take_tls(url: &str) -> Result<(String, Option<Roots>), StoreError> {
    let Some((head, query)) = url.split_once('?') else { return Ok((url.to_owned(), None)) };
    let (mut rest, mut wanted, mut file) = (Vec::new(), false, None);
    for pair in query.split('&') {
        match pair.split_once('=') {
            Some(("sslmode", "disable")) => wanted = false,
            Some(("sslmode", "require" | "verify-full")) => wanted = true,
            Some(("sslmode", other)) => {
                let shown: String = other.chars().take(20).collect();
                return Err(StoreError::Open(format!("sslmode={shown} is not known; it can be disable, require or verify-full")));
            }
            Some(("sslrootcert", path)) => file = Some(percent_encoding::percent_decode_str(path).decode_utf8_lossy().into_owned()),
            _ => rest.push(pair),
        }
    }
    let plain = if rest.is_empty() { head.to_owned() } else { format!("{head}?{}", rest.join("&")) };
    Ok((plain, wanted.then(|| file.map_or(Roots::System, Roots::File))))
}

impl Roots {
    fn load(&self) -> Result<MakeRustlsConnect, StoreError> {
        let mut roots = RootCertStore::empty();
        match self {
            Self::System => {
                let (_taken, _ignored) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
            Self::File(path) => {
                let fail = |e: String| StoreError::Open(format!("the authorities in {path} cannot be read: {e}"));
                for certificate in CertificateDer::pem_file_iter(path).map_err(|e| fail(e.to_string()))? {
                    roots.add(certificate.map_err(|e| fail(e.to_string()))?).map_err(|e| fail(e.to_string()))?;
                }
            }
        }
        if roots.is_empty() {
            return Err(StoreError::Open("there is no certificate authority to trust; name a file with sslrootcert=FILE".into()));
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(|e| StoreError::Open(format!("no TLS: {e}")))?;
        Ok(MakeRustlsConnect::new(builder.with_root_certificates(roots).with_no_client_auth()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_says_whether_tls_is_spoken_and_whom_to_trust() {
        let taken = |url: &str| take_tls(url).expect("an address");
        assert_eq!(taken("postgres://h/d"), ("postgres://h/d".into(), None));
        assert_eq!(taken("postgres://h/d?sslmode=disable"), ("postgres://h/d".into(), None));
        assert_eq!(taken("postgres://h/d?a=b&sslmode=require"), ("postgres://h/d?a=b".into(), Some(Roots::System)));
        let file = Some(Roots::File("/a b.pem".into()));
        assert_eq!(taken("postgres://h/d?sslrootcert=/a%20b.pem&sslmode=verify-full"), ("postgres://h/d".into(), file));
        assert!(take_tls("postgres://h/d?sslmode=prefer").is_err());
    }
}
