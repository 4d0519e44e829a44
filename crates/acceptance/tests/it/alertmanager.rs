//! A real Alertmanager that believes it speaks to PagerDuty opens and resolves incidents.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use allclear_acceptance::binary::{free_addr, request, wait};

use crate::binary::Ground;
use crate::calls::{BEN, calls, phone, send};

const PATIENCE: Duration = Duration::from_secs(30);

struct Alertmanager(Child);

impl Drop for Alertmanager {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _gone = self.0.kill();
        let _status = self.0.wait();
    }
}

fn post(addr: std::net::SocketAddr, body: &str) -> Option<u16> {
    let length = body.len();
    let head = format!("POST /api/v2/alerts HTTP/1.1\r\nhost: {addr}\r\ncontent-type: application/json\r\nconnection: close\r\n");
    request(addr, &format!("{head}content-length: {length}\r\n\r\n{body}")).map(|(status, _)| status)
}

#[test]
fn an_alert_of_a_real_alertmanager_rings_a_telephone_is_answered_by_key_and_resolves() {
    let ground = Ground::new();
    let mut process = ground.start();
    let keys = ground.say(&["integrations"]);
    let key = keys.split_whitespace().next().expect("a key").to_owned();
    let (addr, folder) = (free_addr().expect("a port"), ground.folder.path().join("alertmanager"));
    std::fs::create_dir_all(&folder).expect("a folder");
    let settings = format!(
        "route: {{ receiver: allclear, group_by: ['...'], group_wait: 0s, group_interval: 1s, repeat_interval: 1h }}\n\
         receivers:\n  - name: allclear\n    pagerduty_configs:\n      - routing_key: {key}\n        url: http://{}/v2/enqueue\n",
        ground.addr
    );
    std::fs::write(folder.join("alertmanager.yml"), settings).expect("written");
    let log = std::fs::File::create(folder.join("log")).expect("a file");
    let running = Command::new("prometheus-alertmanager")
        .args(["--config.file", "alertmanager.yml", "--storage.path", "data", "--cluster.listen-address="])
        .arg(format!("--web.listen-address={addr}"))
        .current_dir(&folder)
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("an Alertmanager: it is Debian's prometheus-alertmanager, which `cargo xtask test` installs");
    let _running = Alertmanager(running);
    let alert = |more: &str| format!(r#"[{{"labels":{{"alertname":"StreamsDown","severity":"critical"}}{more}}}]"#);
    let said = || std::fs::read_to_string(folder.join("log")).unwrap_or_default();
    assert!(wait(PATIENCE, || post(addr, &alert("")) == Some(200)), "{}", said());
    let shown = || ground.say(&["incidents", "--all"]);
    let opened = wait(PATIENCE, || shown().contains("triggered") && shown().contains("StreamsDown"));
    assert!(opened, "{}\n{}", shown(), said());
    let rings = || calls(&ground).iter().any(|call| call.state == "ringing");
    assert!(wait(PATIENCE, rings), "the alert rings a telephone: {}", ground.say(&["show", "1"]));
    let four = phone(&ground, "/_stage/pick_up", &serde_json::json!({ "to": BEN, "digits": "4" }));
    assert!(send(&ground, &four[0], None).1.contains("Acknowledged incident 1."));
    assert_eq!(post(addr, &alert(r#","endsAt":"2020-01-01T00:00:00Z""#)), Some(200));
    assert!(wait(PATIENCE, || shown().contains("resolved")), "{}\n{}", shown(), said());
    let story = ground.say(&["show", "1"]);
    assert!(story.contains("resolved: the monitoring tool says that it is over  [Monitoring]"), "{story}");
    process.terminate().expect("a clean stop");
}
