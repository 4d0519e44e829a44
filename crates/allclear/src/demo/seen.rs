//! The world as seen from outside: public JSON, the telephone, Slack. Nothing here looks into AllClear.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use allclear_base::{Runtime, SystemClock};
use allclear_egress::{Client, Guard, Request, TcpConnect};
use anyhow::{Context, bail};
use bytes::Bytes;
use hyper::{HeaderMap, Method};
use serde_json::Value;

use super::World;
use super::script::About;
use crate::server::Server;

pub(crate) struct Eyes {
    client: Client,
    runtime: Runtime,
    addr: SocketAddr,
    world: World,
}

/// How often a visitor looks.
const LOOK: Duration = Duration::from_millis(50);

impl Eyes {
    pub(crate) fn new(server: &Server, world: &World) -> Self {
        let clock = Arc::new(SystemClock::start());
        let client = Client::new(Arc::new(TcpConnect::new(Arc::clone(&clock) as _)), clock as _);
        Self { client, runtime: server.runtime.clone(), addr: server.addr, world: world.clone() }
    }

    pub(crate) fn now_us(&self) -> i64 {
        self.runtime.clock.now_us()
    }

    async fn call(&self, method: Method, addr: SocketAddr, path: &str, body: String) -> anyhow::Result<Value> {
        let request = a_request(method, format!("http://{addr}{path}"), body);
        let response = self.client.send(request, &Guard::with_private()).await.with_context(|| format!("http://{addr}{path}"))?;
        if !response.status.is_success() {
            bail!("http://{addr}{path} answered {}", response.status);
        }
        Ok(serde_json::from_slice(&response.body).unwrap_or(Value::Null))
    }

    pub(crate) async fn get(&self, addr: SocketAddr, path: &str) -> anyhow::Result<Value> {
        self.call(Method::GET, addr, path, String::new()).await
    }

    pub(crate) async fn post(&self, addr: SocketAddr, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.call(Method::POST, addr, path, body.to_string()).await
    }

    /// The page's phrase, and the status of a component.
    pub(crate) async fn page(&self, component: &str) -> anyhow::Result<(String, String)> {
        let summary = self.get(self.addr, "/status/synq/api/v2/summary.json").await?;
        let phrase = summary["status"]["description"].as_str().unwrap_or_default().to_owned();
        let found = summary["components"].as_array().into_iter().flatten().find(|c| c["name"] == component);
        Ok((phrase, found.and_then(|c| c["status"].as_str()).unwrap_or_default().to_owned()))
    }

    /// The first text that is meant and contains `part`.
    pub(crate) async fn text(&self, about: &About, part: &str) -> anyhow::Result<Option<String>> {
        let messages = self.get(self.world.phone, "/_stage/messages").await?;
        Ok(containing(&messages["texts"], "body", about.texts, &[part, &about.incident]))
    }

    /// What a call says that rings, or rang: the first that contains `part`.
    pub(crate) async fn call_said(&self, part: &str) -> anyhow::Result<Option<String>> {
        let calls = self.get(self.world.phone, "/_stage/calls").await?;
        let said = calls["calls"].as_array().into_iter().flatten().flat_map(|call| call["says"].as_array().into_iter().flatten());
        Ok(said.filter_map(Value::as_str).find(|words| words.contains(part)).map(str::to_owned))
    }

    /// What AllClear answered to a reply by text.
    pub(crate) async fn answer(&self, part: &str) -> anyhow::Result<Option<String>> {
        let messages = self.get(self.world.phone, "/_stage/messages").await?;
        Ok(containing(&messages["answers"], "body", 0, &[part]))
    }

    /// How many texts there are.
    pub(crate) async fn texts(&self) -> anyhow::Result<usize> {
        let texts = self.get(self.world.phone, "/_stage/messages").await?;
        Ok(texts["texts"].as_array().map_or(0, Vec::len))
    }

    /// The first Slack message that is meant and contains `part`.
    pub(crate) async fn slack(&self, about: &About, part: &str) -> anyhow::Result<Option<String>> {
        let messages = self.get(self.world.slack, "/_stage/messages").await?;
        Ok(containing(&messages["messages"], "text", 0, &[part, &about.incident]))
    }

    /// The subject of the first mail that is meant and contains `part`.
    pub(crate) async fn mail(&self, about: &About, part: &str) -> anyhow::Result<Option<String>> {
        let mails = self.get(self.world.mailbox, "/_stage/mails").await?;
        let meant = |mail: &&Value| mail["text"].as_str().is_some_and(|text| text.contains(&about.incident));
        let subjects = mails["mails"].as_array().into_iter().flatten().filter(meant).filter_map(|mail| mail["subject"].as_str());
        Ok(subjects.filter(|subject| subject.contains(part)).map(str::to_owned).next())
    }

    /// Presses a button behind the last mail's link.
    pub(crate) async fn press_in_mail(&self, act: &str) -> anyhow::Result<()> {
        let mails = self.get(self.world.mailbox, "/_stage/mails").await?;
        let texts = mails["mails"].as_array().into_iter().flatten().rev().filter_map(|mail| mail["text"].as_str());
        let links = texts.flat_map(str::split_whitespace).filter(|word| word.contains("/answer/"));
        let link = links.into_iter().next().context("no mail has a link")?.to_owned();
        let mut headers = HeaderMap::new();
        headers.insert(hyper::header::CONTENT_TYPE, hyper::header::HeaderValue::from_static("application/x-www-form-urlencoded"));
        let request = Request { headers, ..a_request(Method::POST, link, format!("act={act}")) };
        let response = self.client.send(request, &Guard::with_private()).await?;
        if !response.status.is_redirection() {
            bail!("the mail's link answered {}", response.status);
        }
        Ok(())
    }

    /// How many streams the API holds.
    pub(crate) async fn streams(&self) -> anyhow::Result<u64> {
        let state = self.get(self.world.live, "/_stage/state").await?;
        Ok(state["streams"].as_u64().unwrap_or(0))
    }

    /// Looks until `what` is seen, or the deadline.
    pub(crate) async fn watch<T, F>(&self, deadline_us: i64, mut what: impl FnMut() -> F) -> Option<T>
    where
        F: Future<Output = anyhow::Result<Option<T>>>,
    {
        loop {
            match what().await {
                Ok(Some(seen)) => return Some(seen),
                Ok(None) => {}
                Err(error) => tracing::debug!(%error, "a look failed"),
            }
            if self.now_us() >= deadline_us {
                return None;
            }
            self.runtime.sleep(LOOK).await;
        }
    }
}

fn a_request(method: Method, url: String, body: String) -> Request {
    Request {
        method,
        url,
        headers: HeaderMap::new(),
        body: Bytes::from(body),
        timeout: Duration::from_secs(5),
        largest_body: 16 << 20,
        follow_redirects: false,
    }
}

fn containing(list: &Value, field: &str, skip: usize, parts: &[&str]) -> Option<String> {
    let texts = list.as_array()?.iter().skip(skip).filter_map(|item| item[field].as_str());
    texts.filter(|text| parts.iter().all(|part| text.contains(part))).map(str::to_owned).next()
}
