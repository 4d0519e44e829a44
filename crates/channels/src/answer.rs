//! What answers mean, as far as all providers agree.

use allclear_domain::Span;
use allclear_domain::delivery::Outcome;
use allclear_egress::{Error, Response};
use http::header::RETRY_AFTER;

/// An exchange that did not come to its end.
pub(crate) fn of_error(error: &Error) -> Outcome {
    let why = error.to_string();
    match error {
        Error::Blocked { .. } | Error::BadUrl(_) => Outcome::Permanent { why },
        _ if error.may_have_been_sent() => Outcome::Unknown { why },
        _ => Outcome::Retry { why, after: None, may_have_worked: false },
    }
}

/// A status that says the same at every provider: 429 and 503 mean later, other 5xx may have had their effect.
pub(crate) fn of_status(response: &Response) -> Option<Outcome> {
    let status = response.status.as_u16();
    match status {
        429 | 503 => Some(Outcome::Retry { why: format!("answered {status}"), after: retry_after(response), may_have_worked: false }),
        500..=599 => Some(Outcome::Retry { why: format!("answered {status}"), after: None, may_have_worked: true }),
        _ => None,
    }
}

/// `Retry-After` in seconds; a date is rare enough that the back-off serves.
fn retry_after(response: &Response) -> Option<Span> {
    let seconds = response.headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse::<i64>().ok()?;
    Some(Span::from_secs(seconds.max(0)))
}
