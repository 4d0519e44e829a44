//! How a provider misbehaves. Set at `POST /_stage/faults`.

use serde::{Deserialize, Serialize};

use crate::wire::{Reply, Request, Response};

/// Faults in force.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Faults {
    /// Answers that get lost after the request had its effect.
    pub drop_answers: u32,
    /// Requests that are refused with 503 before they have any effect.
    pub refuse: u32,
    /// Requests that are refused with 429 and a `Retry-After` of one second.
    pub limit: u32,
    /// How long every answer takes.
    pub delay_ms: u64,
    /// Whether every callback is sent twice.
    pub duplicate: bool,
}

impl Faults {
    /// Takes new faults from a request to `/_stage/faults`.
    pub fn set(&mut self, request: &Request) -> Reply {
        match serde_json::from_slice(&request.body) {
            Ok(faults) => {
                *self = faults;
                Response::json(200, &serde_json::json!(self)).into()
            }
            Err(error) => Response::json(400, &serde_json::json!({ "error": error.to_string() })).into(),
        }
    }

    /// A refusal, if one is due.
    pub fn refusal(&mut self) -> Option<Reply> {
        if self.refuse > 0 {
            self.refuse -= 1;
            return Some(Response::json(503, &serde_json::json!({ "error": "unavailable" })).into());
        }
        if self.limit > 0 {
            self.limit -= 1;
            let mut response = Response::json(429, &serde_json::json!({ "error": "ratelimited", "ok": false }));
            response.headers.push(("retry-after".into(), "1".into()));
            return Some(response.into());
        }
        None
    }

    /// Puts the faults on a reply that had its effect.
    pub fn spoil(&mut self, mut reply: Reply) -> Reply {
        reply.delay_ms = reply.delay_ms.max(self.delay_ms);
        if self.drop_answers > 0 {
            self.drop_answers -= 1;
            reply.dropped = true;
        }
        if self.duplicate {
            reply.callbacks = reply.callbacks.into_iter().flat_map(|callback| [callback.clone(), callback]).collect();
        }
        reply
    }
}
