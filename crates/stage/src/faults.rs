//! How a provider misbehaves. Set at `POST /_stage/faults`.

use serde::{Deserialize, Serialize};

use crate::wire::{Answer, Callback, Reply, Request, Response};

/// Faults in force.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Faults {
    /// Answers that get lost after the request had its effect.
    pub drop_answers: u32,
    /// Requests that are refused with 503 before they have any effect.
    pub refuse: u32,
    /// Requests that are refused as too many, in the provider's words, to come again after a
    /// second.
    pub limit: u32,
    /// How long every answer takes.
    pub delay_ms: u64,
    /// Whether every callback is sent twice.
    pub duplicate: bool,
    /// Whether callbacks that follow each other come in the opposite order.
    pub reorder: bool,
    /// Callbacks that are never sent.
    pub lose_callbacks: u32,
    /// Answers to callbacks that get lost on their way back.
    pub lose_answers: u32,
    /// Texts whose `201` says already that they failed, with this code (Twilio).
    pub fail_at_once: Option<u32>,
    /// Whether a sender that was never seen is put off at first (mail).
    pub greylist: bool,
}

/// A request that a fault refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The provider does not work.
    Unavailable,
    /// It says that there are too many.
    TooMany,
}

/// How much later a callback comes that is sent twice, in milliseconds.
const SECOND_AFTER_MS: u64 = 50;

impl Faults {
    /// Takes new faults from a request to `/_stage/faults`.
    pub fn set(&mut self, request: &Request) -> Reply {
        match serde_json::from_slice(&request.body) {
            Ok(faults) => {
                *self = faults;
                Response::json(200, &serde_json::json!(self)).into()
            }
            Err(error) => {
                Response::json(400, &serde_json::json!({ "error": error.to_string() })).into()
            }
        }
    }

    /// A refusal, if one is due.
    pub fn refusal(&mut self) -> Option<Refusal> {
        let due = |left: &mut u32| {
            let is_due = *left > 0;
            *left = left.saturating_sub(1);
            is_due
        };
        match () {
            () if due(&mut self.refuse) => Some(Refusal::Unavailable),
            () if due(&mut self.limit) => Some(Refusal::TooMany),
            () => None,
        }
    }

    /// What a player hears of an answer to a callback.
    pub fn hears(&mut self, answer: &Answer) -> Answer {
        match answer {
            Answer::Given { .. } if self.lose_answers > 0 => {
                self.lose_answers -= 1;
                Answer::None
            }
            answer => answer.clone(),
        }
    }

    /// Puts the faults on a reply that had its effect.
    pub fn spoil(&mut self, mut reply: Reply) -> Reply {
        reply.delay_ms = reply.delay_ms.max(self.delay_ms);
        if self.drop_answers > 0 {
            self.drop_answers -= 1;
            reply.dropped = true;
        }
        reply
    }

    /// What leaves of the callbacks that are to leave. Notes of a player to itself always arrive.
    pub fn spoil_callbacks(&mut self, callbacks: Vec<Callback>) -> Vec<Callback> {
        let (wakes, mut posts): (Vec<_>, Vec<_>) =
            callbacks.into_iter().partition(Callback::is_wake);
        let lost = posts.len().min(usize::try_from(self.lose_callbacks).unwrap_or(usize::MAX));
        self.lose_callbacks -= u32::try_from(lost).unwrap_or(0);
        posts.drain(..lost);
        if self.reorder {
            let mut times: Vec<u64> = posts.iter().map(|post| post.after_ms).collect();
            times.sort_unstable();
            posts.iter_mut().zip(times.into_iter().rev()).for_each(|(post, at)| post.after_ms = at);
            posts.sort_by_key(|post| post.after_ms);
        }
        if self.duplicate {
            let twice = |post: Callback| {
                let second = Callback { after_ms: post.after_ms + SECOND_AFTER_MS, ..post.clone() };
                [post, second]
            };
            posts = posts.into_iter().flat_map(twice).collect();
        }
        posts.into_iter().chain(wakes).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn posts(faults: &mut Faults) -> Vec<(String, u64)> {
        let post = |note: &str, after_ms| Callback {
            url: "http://allclear.sim/".into(),
            note: note.into(),
            after_ms,
            ..Callback::default()
        };
        let sent = vec![post("a", 0), post("b", 100), Callback::wake("w", 5)];
        faults.spoil_callbacks(sent).into_iter().map(|c| (c.note, c.after_ms)).collect()
    }

    #[test]
    fn callbacks_come_twice_in_another_order_or_never_and_wakes_always() {
        let of = |list: &[(&str, u64)]| {
            list.iter().map(|(note, at)| ((*note).to_owned(), *at)).collect::<Vec<_>>()
        };
        let mut twice = Faults { duplicate: true, ..Faults::default() };
        assert_eq!(posts(&mut twice), of(&[("a", 0), ("a", 50), ("b", 100), ("b", 150), ("w", 5)]));
        let mut turned = Faults { reorder: true, ..Faults::default() };
        assert_eq!(posts(&mut turned), of(&[("b", 0), ("a", 100), ("w", 5)]));
        let mut lost = Faults { lose_callbacks: 3, ..Faults::default() };
        assert_eq!(posts(&mut lost), of(&[("w", 5)]));
        assert_eq!(posts(&mut lost), of(&[("b", 100), ("w", 5)]));
    }

    #[test]
    fn what_is_refused_comes_first_and_ends() {
        let mut faults = Faults { refuse: 1, limit: 1, ..Faults::default() };
        assert_eq!(faults.refusal(), Some(Refusal::Unavailable));
        assert_eq!(faults.refusal(), Some(Refusal::TooMany));
        assert_eq!(faults.refusal(), None);
    }
}
