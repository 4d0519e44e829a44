//! A PostgreSQL cluster of our own: made in a temporary folder, stopped and removed at the end.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::packages;

/// The oldest version that AllClear supports.
const OLDEST: u32 = 15;

/// A running cluster.
pub(crate) struct Server {
    folder: PathBuf,
    programs: PathBuf,
    port: u16,
}

impl Server {
    /// Makes and starts a cluster.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let programs = programs()?;
        let folder = std::env::temp_dir().join(format!("allclear-postgres-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let server = Self { folder, programs, port };
        server.give_away()?;
        let data = server.data();
        // Another collation than C shows cursors that compare by bytes where they must not.
        let locale = ["--locale-provider=icu", "--icu-locale=en-US", "--locale=C.UTF-8", "--encoding=UTF8"];
        server.run("initdb", &[&["-D", &data, "-U", "allclear", "-A", "trust", "--no-sync"], locale.as_slice()].concat())?;
        server.certify()?;
        let settings = "-c unix_socket_directories= -c fsync=off -c max_connections=200 -c ssl=on";
        let files = format!("-c ssl_cert_file={0}/server.crt -c ssl_key_file={0}/server.key", server.folder.display());
        let options = format!("-p {port} -c listen_addresses=localhost {settings} {files}");
        server.run("pg_ctl", &["-D", &data, "-w", "-l", &format!("{}/log", server.folder.display()), "-o", &options, "start"])?;
        Ok(server)
    }

    /// The address of its default database.
    pub(crate) fn url(&self) -> String {
        format!("postgres://allclear@127.0.0.1:{}/postgres", self.port)
    }

    fn data(&self) -> String {
        self.folder.join("data").display().to_string()
    }

    /// The certificate of the authority by which the server is known.
    pub(crate) fn authority(&self) -> PathBuf {
        self.folder.join("authority.crt")
    }

    /// An authority of our own, and the server's certificate by it.
    fn certify(&self) -> anyhow::Result<()> {
        use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
        let (authority_key, key) = (KeyPair::generate()?, KeyPair::generate()?);
        let mut authority = CertificateParams::new(Vec::new())?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        std::fs::write(self.authority(), authority.self_signed(&authority_key)?.pem())?;
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let certificate = CertificateParams::new(names)?.signed_by(&key, &Issuer::new(authority, authority_key))?;
        std::fs::write(self.folder.join("server.crt"), certificate.pem())?;
        let file = self.folder.join("server.key");
        std::fs::write(&file, key.serialize_pem())?;
        // PostgreSQL takes a key that nobody else can read, and that is its own.
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
        if packages::is_root() {
            let status = Command::new("chown").arg("postgres").arg(&file).status()?;
            if !status.success() {
                bail!("cannot give {} to the user postgres", file.display());
            }
        }
        Ok(())
    }

    /// PostgreSQL refuses to run as root; its package brings a user for it.
    fn give_away(&self) -> anyhow::Result<()> {
        if packages::is_root() {
            let status = Command::new("chown").arg("postgres").arg(&self.folder).status()?;
            if !status.success() {
                bail!("cannot give {} to the user postgres", self.folder.display());
            }
        }
        Ok(())
    }

    fn run(&self, program: &str, args: &[&str]) -> anyhow::Result<()> {
        let path = self.programs.join(program);
        let mut command = if packages::is_root() {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(&path);
            command
        } else {
            Command::new(&path)
        };
        let status =
            command.args(args).current_dir(&self.folder).stdout(Stdio::null()).status().with_context(|| format!("cannot run {program}"))?;
        if !status.success() {
            let log = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            bail!("{program} ended with {status}\n{log}");
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let data = self.data();
        if let Err(error) = self.run("pg_ctl", &["-D", &data, "-m", "immediate", "stop"]) {
            eprintln!("the cluster could not be stopped: {error:#}");
        }
        if let Err(error) = std::fs::remove_dir_all(&self.folder) {
            eprintln!("{} could not be removed: {error}", self.folder.display());
        }
    }
}

/// Where PostgreSQL's server programs are; installed where they are missing.
fn programs() -> anyhow::Result<PathBuf> {
    if let Some(found) = find_programs() {
        return Ok(found);
    }
    packages::install("postgresql")?;
    find_programs().context("postgresql is installed, but its server programs are not where they are expected")
}

fn find_programs() -> Option<PathBuf> {
    let on_path = packages::find("initdb").and_then(|file| file.parent().map(Path::to_owned));
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut known: Vec<(u32, PathBuf)> =
        versions.filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin")))).collect();
    known.sort();
    let newest = known.into_iter().rfind(|(version, folder)| *version >= OLDEST && folder.join("initdb").is_file());
    newest.map(|(_, folder)| folder).or(on_path)
}
