//! The certificate that the server shows: one from files, or one of a local authority that is made on first use.

use std::fs;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, PoisonError, RwLock};

use allclear_domain::{Span, Timestamp};
use anyhow::{Context, bail};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

/// How the listener is encrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Tls {
    /// With this certificate and its key.
    Files { certificate: PathBuf, key: PathBuf },
    /// With one of a local authority in the data folder.
    Local,
}

impl FromStr for Tls {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(',') {
            Some((certificate, key)) if !certificate.is_empty() && !key.is_empty() => {
                Ok(Self::Files { certificate: certificate.into(), key: key.into() })
            }
            _ if text == "local" => Ok(Self::Local),
            _ => Err("write CERT.pem,KEY.pem or local".to_owned()),
        }
    }
}

/// What a certificate of the local authority is for.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    pub(crate) listen: SocketAddr,
    pub(crate) public_url: Option<String>,
}

/// The certificate in use; it can be read anew while connections are served.
#[derive(Clone)]
pub(crate) struct Certificate {
    tls: Tls,
    folder: PathBuf,
    names: Names,
    config: Arc<RwLock<Arc<ServerConfig>>>,
}

impl Certificate {
    /// Reads or makes it. `data` is the data folder.
    pub(crate) fn open(tls: Tls, data: &Path, names: Names, now: Timestamp) -> anyhow::Result<Self> {
        let folder = data.join("tls");
        let config = config(&tls, &folder, &names, now)?;
        Ok(Self { tls, folder, names, config: Arc::new(RwLock::new(Arc::new(config))) })
    }

    /// Reads or makes it anew; connections from now on use it.
    pub(crate) fn renew(&self, now: Timestamp) -> anyhow::Result<()> {
        let next = config(&self.tls, &self.folder, &self.names, now)?;
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
        Ok(())
    }

    /// What clients must trust, if the authority is ours.
    pub(crate) fn authority(&self) -> Option<PathBuf> {
        (self.tls == Tls::Local).then(|| self.folder.join("ca.pem"))
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

fn config(tls: &Tls, folder: &Path, names: &Names, now: Timestamp) -> anyhow::Result<ServerConfig> {
    let (chain, key) = match tls {
        Tls::Files { certificate, key } => {
            let read = |path: &Path| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
            (read(certificate)?, read(key)?)
        }
        Tls::Local => signed_locally(folder, names, now)?,
    };
    let what = match tls {
        Tls::Files { certificate, .. } => certificate.display().to_string(),
        Tls::Local => "the local certificate".to_owned(),
    };
    let chain =
        CertificateDer::pem_slice_iter(&chain).collect::<Result<Vec<_>, _>>().with_context(|| format!("{what} is not in PEM form"))?;
    if chain.is_empty() {
        bail!("{what} holds no certificate");
    }
    let key = PrivateKeyDer::from_pem_slice(&key).with_context(|| format!("the key of {what} is not in PEM form"))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?.with_no_client_auth();
    let mut config = builder.with_single_cert(chain, key).with_context(|| format!("{what} and its key do not belong together"))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// A certificate for this server, signed by the authority in the folder, which is made where there is none.
fn signed_locally(folder: &Path, names: &Names, now: Timestamp) -> anyhow::Result<(Vec<u8>, Vec<u8>)> {
    const VALID: Span = Span::from_mins(397 * 24 * 60);
    const EARLIER: Span = Span::from_mins(24 * 60);
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let (certificate_file, key_file) = (folder.join("ca.pem"), folder.join("ca.key"));
    if !certificate_file.exists() || !key_file.exists() {
        let (certificate, key) = authority()?;
        write(&key_file, &key, 0o600)?;
        write(&certificate_file, &certificate, 0o644)?;
    }
    let read = |path: &Path| fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()));
    let authority_key = KeyPair::from_pem(&read(&key_file)?).with_context(|| format!("{} is no key", key_file.display()))?;
    let issuer = Issuer::new(authority_params(), authority_key);
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "AllClear");
    params.subject_alt_names = alternative_names(names)?;
    params.use_authority_key_identifier_extension = true;
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    (params.not_before, params.not_after) = (day(now.minus(EARLIER)), day(now.plus(VALID)));
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, &issuer)?;
    Ok((certificate.pem().into_bytes(), key.serialize_pem().into_bytes()))
}

fn authority() -> anyhow::Result<(String, String)> {
    let key = KeyPair::generate()?;
    Ok((authority_params().self_signed(&key)?.pem(), key.serialize_pem()))
}

fn authority_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "AllClear local authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    params
}

/// This machine, the address that is listened on, and the one that others use.
fn alternative_names(names: &Names) -> anyhow::Result<Vec<SanType>> {
    let mut hosts = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    if !names.listen.ip().is_unspecified() {
        hosts.push(names.listen.ip().to_string());
    }
    if let Some(host) = names.public_url.as_deref().and_then(|url| http::Uri::from_str(url).ok()?.host().map(str::to_owned)) {
        hosts.push(host.trim_matches(['[', ']']).to_owned());
    }
    if let Ok(host) = fs::read_to_string("/proc/sys/kernel/hostname") {
        hosts.push(host.trim().to_owned());
    }
    hosts.sort();
    hosts.dedup();
    let name = |host: String| match host.parse::<IpAddr>() {
        Ok(address) => Ok(SanType::IpAddress(address)),
        Err(_) => Ok(SanType::DnsName(host.as_str().try_into().with_context(|| format!("{host:?} cannot stand in a certificate"))?)),
    };
    hosts.into_iter().filter(|host| !host.is_empty()).map(name).collect()
}

/// The day of an instant, as certificates have it.
fn day(at: Timestamp) -> time::OffsetDateTime {
    let text = at.to_rfc3339_seconds();
    let part = |range: std::ops::Range<usize>| text.get(range).and_then(|digits| digits.parse().ok());
    rcgen::date_time_ymd(part(0..4).unwrap_or(2026), part(5..7).unwrap_or(1) as u8, part(8..10).unwrap_or(1) as u8)
}

fn write(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    let fail = || format!("cannot write {}", path.display());
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path).with_context(fail)?;
    file.write_all(text.as_bytes()).with_context(fail)?;
    file.sync_all().with_context(fail)
}
