//! Targets that misbehave, met by the real binary: each is a failing test with a clear message, within its bounds.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output};
use std::time::Duration;

use allclear_acceptance::binary::{path, pause};

const MEBIBYTE: usize = 1 << 20;

/// A server that answers every path in its own bad way.
fn hostile() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                // The client hangs up on most of these; that is the point.
                let _hung_up = misbehave(stream);
            });
        }
    });
    addr
}

fn misbehave(mut stream: TcpStream) -> std::io::Result<()> {
    let mut head = [0; 4096];
    let n = stream.read(&mut head)?;
    let request = String::from_utf8_lossy(&head[..n]).into_owned();
    let path = request.split(' ').nth(1).unwrap_or_default();
    match path {
        "/slow" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")?;
            loop {
                stream.write_all(b"x")?;
                pause(Duration::from_millis(50));
            }
        }
        "/silent" => loop {
            pause(Duration::from_secs(1));
            stream.write_all(b"")?;
        },
        "/gigabyte" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1073741824\r\n\r\n")?;
            let block = vec![b'x'; MEBIBYTE];
            (0..1024).try_for_each(|_| stream.write_all(&block))
        }
        "/endless" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")?;
            let block = vec![b'x'; MEBIBYTE];
            loop {
                stream.write_all(b"100000\r\n")?;
                stream.write_all(&block)?;
                stream.write_all(b"\r\n")?;
            }
        }
        "/bomb" => {
            let mut zipped = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
            let block = vec![0; MEBIBYTE];
            (0..200).try_for_each(|_| zipped.write_all(&block))?;
            let zipped = zipped.finish()?;
            write!(stream, "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n", zipped.len())?;
            stream.write_all(&zipped)
        }
        "/loop" => stream.write_all(b"HTTP/1.1 302 Found\r\nlocation: /loop\r\ncontent-length: 0\r\n\r\n"),
        "/to-metadata" => stream.write_all(b"HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/latest/\r\ncontent-length: 0\r\n\r\n"),
        "/bytes" => stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n\xff\xfe\x00ok\x80"),
        "/headers" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n")?;
            (0..200_000).try_for_each(|n| write!(stream, "x-{n}: {n}\r\n"))
        }
        "/garbage" => stream.write_all(b"\x16\x03\x01\x00\xff this is not HTTP\r\n\r\n"),
        "/half" => stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf"),
        _ => Ok(()),
    }
}

/// Runs a test of one request; the output and the report.
fn run(addr: SocketAddr, path_and_more: &str) -> (Output, serde_json::Value) {
    let folder = tempfile::tempdir().expect("a folder");
    let text = format!(
        "kind: test\nname: hostile\nsteps:\n  - request: {{ url: \"http://{addr}{path_and_more} }}\n    assert: [{{ source: status, comparison: equal_number, value: 200 }}]\n"
    );
    std::fs::write(folder.path().join("test.yaml"), text).expect("a file");
    let mut command = Command::new(path().expect("the binary"));
    let output =
        command.args(["run", "test.yaml", "--report", "json=r.json"]).current_dir(folder.path()).output().expect("the binary runs");
    let report = std::fs::read(folder.path().join("r.json")).expect("a report");
    (output, serde_json::from_slice(&report).expect("JSON"))
}

fn fails_with(path_and_more: &str, message: &str) {
    ends_with(path_and_more, "failed", message);
}

fn ends_with(path_and_more: &str, result: &str, message: &str) {
    let (output, report) = run(hostile(), path_and_more);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(shown.contains(message), "{message:?} is missing in:\n{shown}");
    assert_eq!(report[0]["verdict"]["result"], result, "{report}");
}

#[test]
fn a_target_that_dribbles_is_cut_off_at_the_time_out() {
    fails_with("/slow\", timeout: 1s", "timed out after 1000 ms while reading the body");
}

#[test]
fn a_target_that_says_nothing_is_cut_off_at_the_time_out() {
    fails_with("/silent\", timeout: 1s", "timed out after 1000 ms while waiting for the response");
}

#[test]
fn a_body_of_a_gigabyte_is_not_read_to_its_end() {
    fails_with("/gigabyte\"", "the body is larger than 10485760 bytes");
}

#[test]
fn a_body_without_an_end_is_not_waited_for() {
    fails_with("/endless\"", "the body is larger than 10485760 bytes");
}

#[test]
fn a_gzip_bomb_stops_at_the_same_bound() {
    fails_with("/bomb\"", "larger than 10485760 bytes");
}

#[test]
fn redirects_in_a_circle_end() {
    fails_with("/loop\", follow_redirects: true", "more than 10 redirects");
}

#[test]
fn a_redirect_to_an_address_of_the_cloud_is_not_followed() {
    ends_with("/to-metadata\", follow_redirects: true", "misconfigured", "it is never called");
}

#[test]
fn a_body_that_is_not_text_is_kept_and_shown() {
    let (output, report) = run(hostile(), "/bytes\"");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(report[0]["verdict"]["result"], "passed");
}

#[test]
fn headers_without_end_are_refused() {
    fails_with("/headers\"", "no proper answer");
}

#[test]
fn what_is_not_http_is_no_proper_answer() {
    fails_with("/garbage\"", "no proper answer");
}

#[test]
fn half_a_body_is_no_proper_answer() {
    fails_with("/half\"", "no proper answer");
}

#[test]
fn a_connection_that_is_closed_at_once_is_no_proper_answer() {
    fails_with("/closed\"", "no proper answer");
}
