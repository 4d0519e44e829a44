//! The public page against nginx with the same bytes, each on one processor, asked by the same client on another.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};

use crate::binary::{Process, Start, fixed_secrets, free_addr, get, wait};

/// The target: our requests a second by nginx's.
const WANTED: f64 = 0.8;

/// Connections that ask, each as soon as it was answered.
const CONNECTIONS: &str = "32";

/// Components on the page.
const COMPONENTS: usize = 20;

pub(super) fn measure(span: Duration) -> anyhow::Result<()> {
    let folder = super::folder()?;
    let (config, data) = (folder.path().join("config"), folder.path().join("data"));
    std::fs::create_dir(&config)?;
    std::fs::write(config.join("world.yaml"), world())?;
    let listen = free_addr()?;
    let start = Start { config: &config, data: &data, listen, crash_at: None, database: None, secrets: fixed_secrets() };
    let mut process = Process::spawn_on("0", &start)?;
    if !process.wait_until_ready(Duration::from_secs(20)) {
        bail!("AllClear does not start");
    }
    let url = format!("http://{listen}/status/synq");
    let bytes = Command::new("curl").args(["-s", "-H", "accept-encoding: gzip", &url]).output().context("curl is needed")?.stdout;
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        bail!("the page did not come packed");
    }
    let nginx = Nginx::start(folder.path(), &bytes)?;
    // In turns, so that whatever else the machine does meets both.
    let part = (span / 4).as_secs().max(2).to_string();
    let mut rates = [0.0, 0.0];
    for turn in 0..4 {
        let of = if turn % 2 == 0 { &url } else { &nginx.url };
        rates[turn % 2] += ask(of, &part)? / 2.0;
    }
    process.terminate()?;
    let [ours, theirs] = rates;
    println!("the page, packed: {} bytes, {COMPONENTS} components with ninety days each", bytes.len());
    println!("AllClear: {ours:>8.0} requests/s on one processor");
    println!("nginx:    {theirs:>8.0} requests/s on one processor, the same bytes from a file");
    println!("ratio: {:.2}", ours / theirs);
    if ours / theirs < WANTED { bail!("a ratio of {:.2}, wanted {WANTED}", ours / theirs) } else { Ok(()) }
}

fn world() -> String {
    let component = |n: usize| format!("---\nkind: component\nname: Part {n}\npage: SYNQ\ngroup: Group {}\n", n / 5);
    let components: String = (0..COMPONENTS).map(component).collect();
    format!("kind: page\nname: SYNQ\n{components}")
}

/// Asks as fast as it can from the other processor; the answers a second.
fn ask(url: &str, seconds: &str) -> anyhow::Result<f64> {
    let output = Command::new("taskset")
        .args(["-c", "1", "wrk", "-t", "1", "-c", CONNECTIONS, "-d", &format!("{seconds}s"), "-H", "accept-encoding: gzip", url])
        .output()
        .context("wrk is needed")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if text.contains("Non-2xx") || text.contains("Socket errors") {
        bail!("not every request was answered:\n{text}");
    }
    let rate = text.lines().find_map(|line| line.strip_prefix("Requests/sec:"));
    rate.and_then(|rate| rate.trim().parse().ok()).with_context(|| format!("wrk says nothing:\n{text}"))
}

struct Nginx {
    child: Child,
    url: String,
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _killed = self.child.kill();
        let _status = self.child.wait();
    }
}

impl Nginx {
    /// One worker on one processor, as it is set up to be fast.
    fn start(folder: &Path, bytes: &[u8]) -> anyhow::Result<Self> {
        let addr = free_addr()?;
        let root = folder.join("nginx");
        std::fs::create_dir(&root)?;
        std::fs::write(root.join("page"), bytes)?;
        let here = root.display();
        let settings = format!(
            "worker_processes 1;\nworker_cpu_affinity 1;\ndaemon off;\nmaster_process off;\npid {here}/pid;\nerror_log /dev/null;\n\
             events {{ worker_connections 1024; }}\n\
             http {{\n  access_log off;\n  sendfile on;\n  tcp_nopush on;\n  keepalive_requests 100000000;\n  open_file_cache max=16;\n  \
             client_body_temp_path {here}/b; proxy_temp_path {here}/p; fastcgi_temp_path {here}/f; uwsgi_temp_path {here}/u; scgi_temp_path {here}/s;\n  \
             server {{ listen {addr}; root {here}; default_type 'text/html; charset=utf-8';\n    \
             add_header content-encoding gzip; add_header cache-control 'public, max-age=0'; }}\n}}\n"
        );
        let file = root.join("nginx.conf");
        std::fs::write(&file, settings)?;
        let mut command = Command::new("taskset");
        command.args(["-c", "0", "/usr/sbin/nginx", "-c"]).arg(&file).stdout(Stdio::null()).stderr(Stdio::null());
        let nginx = Self { child: command.spawn().context("nginx is needed")?, url: format!("http://{addr}/page") };
        if !wait(Duration::from_secs(10), || get(addr, "/page").is_some_and(|(status, _)| status == 200)) {
            bail!("nginx does not answer");
        }
        Ok(nginx)
    }
}
