//! The demo as a visitor has it in a browser, and every page that there is in it.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context;

use crate::binary::{get, path, wait};
use crate::chromium::Chromium;

const PATIENCE: Duration = Duration::from_secs(30);

/// A running demo.
pub struct Scene {
    child: Child,
    folder: tempfile::TempDir,
    /// Where the stage is.
    pub stage: String,
    /// The link that signs in as the owner.
    pub enter: String,
    /// Where AllClear is.
    pub app: String,
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _killed = self.child.kill();
        let _status = self.child.wait();
    }
}

impl Scene {
    /// Starts the demo.
    ///
    /// # Errors
    /// A demo that does not start.
    pub fn start() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let said = folder.path().join("said.txt");
        let child = Command::new(path()?)
            .args(["demo", "--listen", "127.0.0.1:0", "--data"])
            .arg(folder.path().join("data"))
            .stdout(std::fs::File::create(&said)?)
            .stderr(Stdio::null())
            // It is killed, and cannot tidy up: what it leaves goes with our folder.
            .env("TMPDIR", folder.path())
            .spawn()?;
        let text = || std::fs::read_to_string(&said).unwrap_or_default();
        wait(PATIENCE, || text().contains("--script"));
        let text = text();
        let stage = text.split_whitespace().find(|word| word.starts_with("http://")).context("the demo does not say where it is")?;
        let (_, page) = stage.trim_start_matches("http://").parse().ok().and_then(|addr| get(addr, "/")).context("no stage")?;
        let enter = page.split(['"', '?']).find(|part| part.contains("/enter/")).context("no link on the stage signs in")?;
        let app = enter.split("/enter/").next().unwrap_or_default();
        Ok(Self { child, folder, stage: stage.to_owned(), enter: enter.to_owned(), app: app.to_owned() })
    }

    /// Signs the browser in, breaks the API, and waits until everybody has heard of it.
    ///
    /// # Errors
    /// A loop that does not close.
    pub fn break_it(&self, browser: &mut Chromium) -> anyhow::Result<()> {
        browser.open(&self.enter)?;
        browser.until("document.title.startsWith('Overview')")?;
        browser.open(&self.stage)?;
        browser.evaluate("[...document.querySelectorAll('button')].find(b => b.value === 'wrong_json').click()")?;
        browser.until("document.querySelector('.bubbles li') !== null && document.querySelector('.messages li') !== null")?;
        browser.open(&format!("{}/incidents", self.app))?;
        browser.until("document.querySelector('a[href^=\"/incidents/Q\"]') !== null")
    }

    /// The address at which somebody chooses a new password.
    fn new_password(&self) -> anyhow::Result<String> {
        let said =
            Command::new(path()?).args(["user", "reset", "ada@synq.example", "--data"]).arg(self.folder.path().join("data")).output()?;
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        let link = said.split_whitespace().find_map(|word| word.split_once("/enter/"));
        Ok(format!("/enter/{}", link.context("no link resets a password")?.1))
    }

    /// The first link on a page that begins like this.
    fn link(&self, browser: &mut Chromium, on: &str, start: &str) -> anyhow::Result<String> {
        browser.open(&format!("{}{on}", self.app))?;
        let query = format!("document.querySelector('main a[href^=\"{start}\"]')");
        browser.until(&format!("{query} !== null"))?;
        Ok(browser.evaluate(&format!("{query}.getAttribute('href')"))?.as_str().unwrap_or_default().to_owned())
    }

    /// Every page of the app and of the status page, by name: the first incident, test, run, page, component and public
    /// incident that there are.
    ///
    /// # Errors
    /// A page without the link that should stand on it.
    pub fn pages(&self, browser: &mut Chromium) -> anyhow::Result<Vec<(&'static str, String)>> {
        let incident = self.link(browser, "/incidents", "/incidents/Q")?;
        let test = self.link(browser, "/tests", "/tests/")?;
        let run = self.link(browser, &test, "/runs/")?;
        let page = self.link(browser, "/pages", "/pages/")?;
        let component = self.link(browser, &page, "/components/")?;
        // A rule of the demo opens none.
        let words = "act: 'open', name: 'Streams cannot be created', stage: 'investigating', body: 'We are looking into it.'";
        browser.evaluate(&format!(
            "document.querySelector('main a[href^=\"/public-incidents/\"]') !== null || \
             fetch('{page}', {{ method: 'POST', body: new URLSearchParams({{ {words} }}) }}).then(r => r.ok)"
        ))?;
        let public = self.link(browser, &page, "/public-incidents/")?;
        let shown = public.replace("/public-incidents/", "/status/synq/incidents/");
        let rule = self.link(browser, &page, "/rules/")?;
        browser.open(&self.stage)?;
        let behind = "document.querySelector('a[href*=\"/answer/\"]')";
        browser.until(&format!("{behind} !== null"))?;
        let answer = browser.evaluate(&format!("new URL({behind}.href).pathname"))?.as_str().unwrap_or_default().to_owned();
        Ok(vec![
            ("answer", answer),
            ("new-password", self.new_password()?),
            ("rule", rule),
            ("overview", "/".to_owned()),
            ("incidents", "/incidents".to_owned()),
            ("incident", incident),
            ("tests", "/tests".to_owned()),
            ("test", test.clone()),
            ("test-as-yaml", format!("{test}/edit")),
            ("new-test", "/new-test".to_owned()),
            ("run", run),
            ("status-pages", "/pages".to_owned()),
            ("new-rule", format!("{page}/new-rule")),
            ("status-page-room", page),
            ("component", component),
            ("public-incident", public),
            ("account", "/account".to_owned()),
            ("sign-in", "/sign-in".to_owned()),
            ("not-there", "/incidents/QNOTHING".to_owned()),
            ("status-page", "/status/synq".to_owned()),
            ("status-history", "/status/synq/history".to_owned()),
            ("status-incident", shown),
        ])
    }
}
