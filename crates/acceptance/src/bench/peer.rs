//! Prometheus' blackbox exporter, asked for probes at a steady rate.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::process;
use crate::binary::{free_addr, get, pause, wait};

/// A module with the same three checks as our test: status, a header, the body.
const MODULES: &str = r#"
modules:
  three:
    prober: http
    timeout: 5s
    http:
      valid_status_codes: [200]
      fail_if_header_not_matches: [{ header: Content-Type, regexp: "application/json" }]
      fail_if_body_not_matches_regexp: ['"playback_url":"[^"]+"']
      preferred_ip_protocol: ip4
"#;

pub(super) struct Exporter {
    child: Child,
    addr: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Exporter {
    pub(super) fn start() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("blackbox.yml");
        std::fs::write(&file, MODULES)?;
        let addr = free_addr()?;
        let mut command = Command::new("prometheus-blackbox-exporter");
        command.arg(format!("--config.file={}", file.display())).arg(format!("--web.listen-address={addr}"));
        let child =
            command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().context("prometheus-blackbox-exporter cannot be started")?;
        let exporter = Self { child, addr, _folder: folder };
        if !wait(Duration::from_secs(10), || get(addr, "/-/healthy").is_some_and(|(status, _)| status == 200)) {
            bail!("the exporter does not answer");
        }
        Ok(exporter)
    }

    /// CPU per probe, over `span` at about `rate` probes a second.
    #[expect(clippy::disallowed_methods, reason = "a measurement")]
    pub(super) fn cpu_per_probe(&self, target: SocketAddr, rate: u32, span: Duration) -> anyhow::Result<(Duration, u32)> {
        let before = process::cpu(self.child.id())?;
        let (begun, mut probes) = (Instant::now(), 0_u32);
        let mut stream = TcpStream::connect(self.addr)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        let request = format!("GET /probe?module=three&target=http://{target}/probe HTTP/1.1\r\nhost: {}\r\n\r\n", self.addr);
        while begun.elapsed() < span {
            stream.write_all(request.as_bytes())?;
            let answer = read_answer(&mut stream)?;
            if !answer.contains("probe_success 1") {
                bail!("the exporter's probe failed: {answer}");
            }
            probes += 1;
            let due = Duration::from_secs_f64(f64::from(probes) / f64::from(rate));
            pause(due.saturating_sub(begun.elapsed()));
        }
        Ok(((process::cpu(self.child.id())? - before) / probes, probes))
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        if self.child.kill().is_ok() {
            let _status = self.child.wait();
        }
    }
}

/// An answer with a length on a connection that stays open.
fn read_answer(stream: &mut TcpStream) -> anyhow::Result<String> {
    let (mut text, mut buffer) = (Vec::new(), [0_u8; 16 << 10]);
    loop {
        let n = stream.read(&mut buffer)?;
        text.extend_from_slice(&buffer[..n]);
        let so_far = String::from_utf8_lossy(&text);
        if n == 0 || so_far.ends_with("0\r\n\r\n") || is_whole(&so_far) {
            return Ok(without_chunks(&so_far));
        }
    }
}

fn is_whole(text: &str) -> bool {
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length =
        head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ").and_then(|n| n.parse::<usize>().ok()));
    length.is_some_and(|length| body.len() >= length)
}

/// The text of an answer whose chunks end anywhere within a line.
fn without_chunks(text: &str) -> String {
    let is_length = |line: &str| !line.is_empty() && line.len() <= 8 && line.bytes().all(|b| b.is_ascii_hexdigit());
    text.split("\r\n").filter(|part| !is_length(part)).collect()
}
