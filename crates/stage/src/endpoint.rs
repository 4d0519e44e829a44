//! A program that takes webhooks (Standard Webhooks, Slack's incoming ones): it keeps what came and drops repeats by their
//! id, as the specification asks.

use serde::Serialize;
use serde_json::{Value, json};

use crate::faults::Faults;
use crate::wire::{Player, Reply, Request, Response};

/// A message that came.
#[derive(Debug, Clone, Serialize)]
pub struct Received {
    /// The path that it was posted to.
    pub path: String,
    /// Its `webhook-id`; empty where there is none.
    pub id: String,
    /// Its headers.
    pub headers: Vec<(String, String)>,
    /// Its body, as it came.
    pub raw: String,
    /// Its body.
    pub body: Value,
    /// How often the same id came again.
    pub repeats: u32,
    /// When it came, in milliseconds since 1970.
    pub at_ms: u64,
}

/// The program.
#[derive(Debug, Default)]
pub struct Endpoint {
    received: Vec<Received>,
    faults: Faults,
}

impl Endpoint {
    /// Every message, oldest first; repeats are counted, not kept.
    #[must_use]
    pub fn received(&self) -> &[Received] {
        &self.received
    }

    /// The faults in force.
    pub const fn faults(&mut self) -> &mut Faults {
        &mut self.faults
    }

    fn take(&mut self, request: &Request, now_ms: u64) {
        let id = request.header("webhook-id").unwrap_or_default().to_owned();
        if let Some(known) = self.received.iter_mut().find(|known| !id.is_empty() && known.id == id && known.path == request.path) {
            known.repeats += 1;
            return;
        }
        self.received.push(Received {
            path: request.path.clone(),
            id,
            headers: request.headers.clone(),
            raw: String::from_utf8_lossy(&request.body).into_owned(),
            body: request.json(),
            repeats: 0,
            at_ms: now_ms,
        });
    }
}

impl Player for Endpoint {
    fn handle(&mut self, request: &Request, now_ms: u64) -> Reply {
        match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/_stage/received") => return Response::json(200, &json!({ "received": self.received })).into(),
            ("POST", "/_stage/faults") => return self.faults.set(request),
            _ => {}
        }
        if let Some(refusal) = self.faults.refusal() {
            return refusal;
        }
        self.take(request, now_ms);
        self.faults.spoil(Response { status: 200, headers: vec![], body: b"ok".to_vec() }.into())
    }
}
