//! The live-streaming API of the story, with a switch and a finite capacity.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::house::{House, Violation};
use crate::wire::{Player, Reply, Request, Response};

/// How the API is today.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Switch {
    /// It works.
    #[default]
    Healthy,
    /// A backend has run out of resources: no new streams.
    OutOfCapacity,
    /// Every answer takes very long.
    Slow,
    /// The answers lack what they should have.
    WrongJson,
    /// Connections break.
    Down,
}

#[derive(Debug, Clone)]
struct Stream {
    name: String,
}

/// The API.
#[derive(Debug)]
pub struct LiveStreaming {
    switch: Switch,
    streams: BTreeMap<String, Stream>,
    capacity: usize,
    created: u64,
    key: String,
    requests: u64,
    house: House,
}

/// How long an answer takes while the switch stands on slow.
const SLOW_MS: u64 = 60_000;

impl LiveStreaming {
    /// An API that wants `key` as its bearer token and has room for `capacity` streams.
    #[must_use]
    pub fn new(key: &str, capacity: usize) -> Self {
        Self {
            switch: Switch::Healthy,
            streams: BTreeMap::new(),
            capacity,
            created: 0,
            key: key.to_owned(),
            requests: 0,
            house: House::default(),
        }
    }

    /// Turns the switch.
    pub const fn turn(&mut self, to: Switch) {
        self.switch = to;
    }

    /// How many streams there are.
    #[must_use]
    pub fn stream_count(&self) -> usize {
        self.streams.len()
    }

    /// Everything that broke a rule: requests that did not say who sends them.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        self.house.violations()
    }

    fn state(&self) -> Value {
        let streams: Vec<Value> = self
            .streams
            .iter()
            .take(100)
            .map(|(id, s)| json!({ "id": id, "name": s.name }))
            .collect();
        json!({
            "switch": self.switch, "streams": self.streams.len(), "capacity": self.capacity,
            "created": self.created, "requests": self.requests, "latest": streams,
        })
    }

    fn control(&mut self, request: &Request) -> Reply {
        let body = request.json();
        match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/_stage/state") => {}
            ("POST", "/_stage/switch") => match serde_json::from_value(body["to"].clone()) {
                Ok(to) => self.turn(to),
                Err(_) => {
                    let known = ["healthy", "out_of_capacity", "slow", "wrong_json", "down"];
                    return Response::json(
                        400,
                        &json!({ "error": "unknown switch", "known": known }),
                    )
                    .into();
                }
            },
            ("POST", "/_stage/capacity") => {
                self.capacity = body["capacity"]
                    .as_u64()
                    .and_then(|n| usize::try_from(n).ok())
                    .unwrap_or(self.capacity);
            }
            ("POST", "/_stage/clear") => self.streams.clear(),
            _ => return Response::json(404, &json!({ "error": "no such control" })).into(),
        }
        Response::json(200, &self.state()).into()
    }

    fn create(&mut self, request: &Request) -> Response {
        if self.switch == Switch::OutOfCapacity || self.streams.len() >= self.capacity {
            return Response::json(
                503,
                &json!({ "error": "no capacity", "message": "the encoder pool has no free slot" }),
            );
        }
        self.created += 1;
        let id = format!("st{:06}", self.created);
        let name = request.json()["name"].as_str().unwrap_or("unnamed").to_owned();
        self.streams.insert(id.clone(), Stream { name });
        Response::json(200, &self.view(&id))
    }

    fn view(&self, id: &str) -> Value {
        let name = self.streams.get(id).map_or("", |stream| stream.name.as_str());
        if self.switch == Switch::WrongJson {
            return json!({ "id": id, "name": name, "playback_url": "", "stream_url": null });
        }
        json!({
            "id": id, "name": name, "state": "created",
            "playback_url": format!("https://play.example/{id}/index.m3u8"),
            "stream_url": format!("rtmp://ingest.example/live/{id}"),
        })
    }

    fn delete_by_name(&mut self, name: &str) -> Response {
        self.streams.retain(|_, stream| stream.name != name);
        Response::empty(204)
    }

    fn serve(&mut self, request: &Request) -> Response {
        if request.header("authorization") != Some(&format!("Bearer {}", self.key)) {
            return Response::json(401, &json!({ "error": "a valid API key is needed" }));
        }
        let id = request.path.strip_prefix("/v1/streams/").unwrap_or_default();
        match (request.method.as_str(), request.path.as_str()) {
            ("POST", "/v1/streams") => self.create(request),
            ("GET", "/v1/streams") => Response::json(200, &json!({ "total": self.streams.len() })),
            ("DELETE", "/v1/streams") => match request.param("name") {
                Some(name) => self.delete_by_name(name),
                None => Response::json(400, &json!({ "error": "name is missing" })),
            },
            ("GET", _) if self.streams.contains_key(id) => Response::json(200, &self.view(id)),
            ("DELETE", _) if self.streams.remove(id).is_some() => Response::empty(204),
            _ => Response::json(404, &json!({ "error": "not found" })),
        }
    }
}

impl Player for LiveStreaming {
    fn handle(&mut self, request: &Request, _now_ms: u64) -> Reply {
        if let Some(reply) = self.house.control(request) {
            return reply;
        }
        if request.path.starts_with("/_stage/") {
            return self.control(request);
        }
        self.house.greet(request);
        self.requests += 1;
        match self.switch {
            Switch::Down => Reply { dropped: true, ..Reply::default() },
            Switch::Slow => Reply { delay_ms: SLOW_MS, ..self.serve(request).into() },
            Switch::Healthy | Switch::OutOfCapacity | Switch::WrongJson => {
                self.serve(request).into()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(api: &mut LiveStreaming, method: &str, target: &str, body: &str) -> (u16, Value) {
        let headers = vec![("authorization".to_owned(), "Bearer k".to_owned())];
        let reply = api.handle(&Request::new(method, target, headers, body.as_bytes().to_vec()), 0);
        (reply.response.status, serde_json::from_slice(&reply.response.body).unwrap_or(Value::Null))
    }

    #[test]
    fn streams_that_nobody_deletes_exhaust_the_api() {
        let mut api = LiveStreaming::new("k", 2);
        let (_, first) = call(&mut api, "POST", "/v1/streams", "{\"name\":\"a\"}");
        assert_eq!(call(&mut api, "POST", "/v1/streams", "{\"name\":\"b\"}").0, 200);
        assert_eq!(call(&mut api, "POST", "/v1/streams", "{\"name\":\"c\"}").0, 503);
        assert_eq!(
            call(
                &mut api,
                "DELETE",
                &format!("/v1/streams/{}", first["id"].as_str().expect("an id")),
                ""
            )
            .0,
            204
        );
        assert_eq!(call(&mut api, "DELETE", "/v1/streams?name=b", "").0, 204);
        assert_eq!(api.stream_count(), 0);
        assert_eq!(call(&mut api, "POST", "/v1/streams", "{\"name\":\"c\"}").0, 200);
    }
}
