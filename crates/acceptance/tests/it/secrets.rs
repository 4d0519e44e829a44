//! A canary in every secret: after a whole loop, with failures on the way, none is found in anything that was
//! written or shown.

use std::path::Path;
use std::time::Duration;

use allclear_acceptance::binary::{SECRETS, get, wait};
use allclear_stage::live::Switch;

use super::binary::{Ground, log_of};

fn files_below(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { files_below(&path, found) } else { found.push(path) }
    }
}

fn contains(haystack: &[u8], needle: &str) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle.as_bytes())
}

#[test]
fn no_secret_reaches_the_disk_a_page_a_log_or_the_console() {
    let ground = Ground::new();
    let mut process = ground.start();
    ground.world.live.player().turn(Switch::WrongJson);
    ground.world.phone.player().faults().refuse = 1;
    ground.world.slack.player().faults().drop_answers = 1;
    let told = wait(Duration::from_secs(20), || !ground.world.phone.player().texts().is_empty());
    assert!(told, "{}", log_of(&process));
    let mut shown = vec![ground.say(&["show", "1"]), ground.say(&["incidents"]), ground.say(&["show", "Live Stream"])];
    shown.extend(get(ground.addr, "/status/synq/api/v2/summary.json").map(|(_, body)| body));
    shown.extend(get(ground.addr, "/readyz").map(|(_, body)| body));
    ground.world.live.player().turn(Switch::Healthy);
    process.terminate().expect("a clean stop");
    let run = ground.command(&["run", "config/world.yaml", "--report", "json=r.json"]);
    shown.extend([run.stdout, run.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()));
    let mut files = Vec::new();
    files_below(ground.folder.path(), &mut files);
    assert!(files.iter().any(|file| file.ends_with("allclear.db")));
    for (name, secret) in SECRETS {
        assert!(!shown.iter().any(|text| text.contains(secret)), "{name} was shown");
        for file in &files {
            let bytes = std::fs::read(file).unwrap_or_default();
            assert!(!contains(&bytes, secret), "{name} stands in {}", file.display());
        }
    }
    let evidence = files.iter().find(|file| file.extension().is_some_and(|e| e == "runs"));
    assert!(evidence.is_some(), "a failing run leaves evidence");
}
