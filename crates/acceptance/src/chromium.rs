//! A real Chromium, driven over its debugging protocol: what a person at a screen would see and press.
//!
//! Facts: chromedevtools.github.io/devtools-protocol.

use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use base64::Engine;
use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

use crate::binary::wait;

/// How long anything may take in a browser on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running browser with one page.
pub struct Chromium {
    child: Child,
    _profile: tempfile::TempDir,
    socket: WebSocket<TcpStream>,
    session: String,
    calls: u64,
}

impl Drop for Chromium {
    fn drop(&mut self) {
        let _killed = self.child.kill();
        let _status = self.child.wait();
    }
}

fn program() -> anyhow::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let found = std::env::split_paths(&path).flat_map(|folder| names.map(|name| folder.join(name))).find(|file| file.is_file());
    found.context("there is no Chromium on the search path; `cargo xtask test` installs it")
}

impl Chromium {
    /// Starts a browser with an empty profile.
    ///
    /// # Errors
    /// A browser that is not there or does not start.
    #[expect(clippy::disallowed_methods, reason = "the harness talks to its browser")]
    pub fn start() -> anyhow::Result<Self> {
        let profile = tempfile::tempdir()?;
        let child = Command::new(program()?)
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--hide-scrollbars"])
            .args(["--disable-background-networking", "--disable-component-update", "--remote-debugging-port=0"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let said = profile.path().join("DevToolsActivePort");
        let place = || {
            let text = std::fs::read_to_string(&said).ok()?;
            let (port, path) = text.trim_end().split_once('\n')?;
            Some((port.parse::<u16>().ok()?, path.to_owned()))
        };
        wait(PATIENCE, || place().is_some());
        let (port, path) = place().context("Chromium does not say where it listens")?;
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let (socket, _) = tungstenite::client(format!("ws://127.0.0.1:{port}{path}"), stream).map_err(|error| anyhow!("{error}"))?;
        let mut browser = Self { child, _profile: profile, socket, session: String::new(), calls: 0 };
        let target = browser.call("Target.createTarget", &json!({ "url": "about:blank" }))?;
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        browser.session = browser.call("Target.attachToTarget", &attach)?["sessionId"].as_str().unwrap_or_default().to_owned();
        browser.call("Page.enable", &json!({}))?;
        Ok(browser)
    }

    /// Calls a method of the protocol.
    fn call(&mut self, method: &str, params: &Value) -> anyhow::Result<Value> {
        self.calls += 1;
        let mut message = json!({ "id": self.calls, "method": method, "params": params });
        if !self.session.is_empty() {
            message["sessionId"] = self.session.clone().into();
        }
        self.socket.send(Message::text(message.to_string()))?;
        loop {
            let Message::Text(text) = self.socket.read()? else { continue };
            let mut answer: Value = serde_json::from_str(&text)?;
            if answer["id"] != self.calls {
                continue;
            }
            if let Some(error) = answer.get("error") {
                bail!("{method}: {error}");
            }
            return Ok(answer["result"].take());
        }
    }

    /// A window of this width, light or dark.
    ///
    /// # Errors
    /// A browser that is gone.
    pub fn look(&mut self, width: u32, dark: bool) -> anyhow::Result<()> {
        self.look_at(width, 900, dark)
    }

    /// The same with a height: what stands in a frame is drawn only where the window is.
    ///
    /// # Errors
    /// A browser that is gone.
    pub fn look_at(&mut self, width: u32, height: u32, dark: bool) -> anyhow::Result<()> {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.call("Emulation.setDeviceMetricsOverride", &size)?;
        let scheme = if dark { "dark" } else { "light" };
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.call("Emulation.setEmulatedMedia", &media)?;
        Ok(())
    }

    /// Opens a page and waits until it is there.
    ///
    /// # Errors
    /// A page that does not come.
    pub fn open(&mut self, url: &str) -> anyhow::Result<()> {
        let answer = self.call("Page.navigate", &json!({ "url": url }))?;
        if let Some(why) = answer.get("errorText") {
            bail!("{url}: {why}");
        }
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'")
    }

    /// What an expression of JavaScript gives; a promise is waited for. No policy of the page stands in its way.
    ///
    /// # Errors
    /// An expression that throws.
    pub fn evaluate(&mut self, expression: &str) -> anyhow::Result<Value> {
        let params = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true, "userGesture": true });
        let mut answer = self.call("Runtime.evaluate", &params)?;
        if let Some(thrown) = answer.get("exceptionDetails") {
            bail!("{expression}: {thrown}");
        }
        Ok(answer["result"]["value"].take())
    }

    /// Waits until an expression is true. A page that is just being replaced counts as one where it is not.
    ///
    /// # Errors
    /// Where it does not become true.
    pub fn until(&mut self, expression: &str) -> anyhow::Result<()> {
        if wait(PATIENCE, || self.evaluate(expression).is_ok_and(|value| value == true)) {
            return Ok(());
        }
        let text = self.evaluate("document.body.innerText").unwrap_or_default();
        bail!("{expression} did not become true on:\n{}", text.as_str().unwrap_or_default())
    }

    /// Presses and releases a key: `Tab`, `Enter`.
    ///
    /// # Errors
    /// A browser that is gone.
    pub fn press(&mut self, key: &str) -> anyhow::Result<()> {
        let (code, text) = match key {
            "Enter" => (13, "\r"),
            "Tab" => (9, ""),
            _ => (0, key),
        };
        let kind = if text.is_empty() { "rawKeyDown" } else { "keyDown" };
        let down = json!({ "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text });
        self.call("Input.dispatchKeyEvent", &down)?;
        self.call("Input.dispatchKeyEvent", &json!({ "type": "keyUp", "key": key, "code": key, "windowsVirtualKeyCode": code }))?;
        Ok(())
    }

    /// Presses with a thumb in the middle of what an expression gives, after scrolling there.
    ///
    /// # Errors
    /// Something that is not there, or too small for a thumb.
    pub fn tap(&mut self, element: &str) -> anyhow::Result<()> {
        let place = self.evaluate(&format!(
            "(() => {{ const e = {element}; e.scrollIntoView({{ block: 'center' }}); const r = e.getBoundingClientRect(); \
             return [r.x + r.width / 2, r.y + r.height / 2, r.height]; }})()"
        ))?;
        let number = |n: usize| place[n].as_f64().unwrap_or(0.0);
        if number(2) < 48.0 {
            bail!("{element} is {} high: too small for a thumb", number(2));
        }
        let point = json!([{ "x": number(0), "y": number(1) }]);
        self.call("Input.dispatchTouchEvent", &json!({ "type": "touchStart", "touchPoints": point }))?;
        self.call("Input.dispatchTouchEvent", &json!({ "type": "touchEnd", "touchPoints": [] }))?;
        Ok(())
    }

    /// Signs the browser in.
    ///
    /// # Errors
    /// A browser that is gone.
    pub fn set_cookie(&mut self, url: &str, cookie: &str) -> anyhow::Result<()> {
        let (name, value) = cookie.split_once('=').context("a cookie has a name")?;
        self.call("Network.setCookie", &json!({ "name": name, "value": value, "url": url }))?;
        Ok(())
    }

    /// The page, from its top to its end, as a PNG.
    ///
    /// # Errors
    /// A browser that is gone.
    pub fn picture(&mut self) -> anyhow::Result<Vec<u8>> {
        let answer = self.call("Page.captureScreenshot", &json!({ "format": "png", "captureBeyondViewport": true }))?;
        Ok(base64::engine::general_purpose::STANDARD.decode(answer["data"].as_str().unwrap_or_default())?)
    }
}
