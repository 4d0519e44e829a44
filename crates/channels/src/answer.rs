//! What answers mean, as far as all providers agree.

use std::time::{Duration, UNIX_EPOCH};

use allclear_domain::delivery::Outcome;
use allclear_domain::{Span, Timestamp};
use allclear_egress::{Error, Response};
use http::header::RETRY_AFTER;

/// An exchange that did not come to its end.
pub(crate) fn of_error(error: &Error) -> Outcome {
    let why = error.to_string();
    match error {
        // The address itself is a secret, mostly, and may be what makes it unreadable.
        Error::BadUrl(_) => Outcome::ChannelBroken { why: "its address is not one that can be called".to_owned() },
        Error::Blocked { addr, .. } => {
            Outcome::ChannelBroken { why: format!("{why}; write allow: [\"{addr}\"] into the channel to allow it") }
        }
        Error::Local(_) => Outcome::LocalFault { why },
        Error::Dns { .. }
        | Error::Connect { .. }
        | Error::Tls(_)
        | Error::Timeout { .. }
        | Error::BadAnswer { .. }
        | Error::TooLarge { .. }
        | Error::TooManyRedirects(_)
            if error.may_have_been_sent() =>
        {
            Outcome::Unknown { why }
        }
        Error::Dns { .. }
        | Error::Connect { .. }
        | Error::Tls(_)
        | Error::Timeout { .. }
        | Error::BadAnswer { .. }
        | Error::TooLarge { .. }
        | Error::TooManyRedirects(_) => Outcome::Retry { why, after: None, may_have_worked: false },
    }
}

/// A status that says the same at every provider: 429 asks to wait, 503 means later, and other 5xx may
/// have had their effect.
pub(crate) fn of_status(response: &Response, now: Timestamp) -> Option<Outcome> {
    let status = response.status.as_u16();
    let (why, after) = (format!("answered {status}"), retry_after(response, now));
    match status {
        429 => Some(Outcome::RateLimited { why, after }),
        503 => Some(Outcome::Retry { why, after, may_have_worked: false }),
        500..=599 => Some(Outcome::Retry { why, after, may_have_worked: true }),
        _ => None,
    }
}

/// `Retry-After`, which is a number of seconds or a date (RFC 9110 §10.2.3).
pub(crate) fn retry_after(response: &Response, now: Timestamp) -> Option<Span> {
    let value = response.headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse::<i64>() {
        return Some(Span::from_secs(seconds.clamp(0, LONGEST_S)));
    }
    let at = httpdate::parse_http_date(value).ok()?;
    let now = UNIX_EPOCH + Duration::from_micros(u64::try_from(now.0).unwrap_or(0));
    let left = at.duration_since(now).unwrap_or_default();
    Some(Span::from_secs(i64::try_from(left.as_secs()).unwrap_or(LONGEST_S).min(LONGEST_S)))
}

/// The longest pause that is read: a year. What decides on pauses has its own bounds.
const LONGEST_S: i64 = 365 * 24 * 3_600;

/// The beginning of an answer's body, for people.
pub(crate) fn excerpt(response: &Response) -> String {
    String::from_utf8_lossy(&response.body).chars().take(200).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use allclear_egress::Timings;
    use bytes::Bytes;
    use http::{HeaderMap, StatusCode};

    use super::*;

    /// An answer with this status, headers and body.
    pub(crate) fn answered(status: u16, headers: &[(&'static str, &str)], body: &str) -> Response {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().expect("a value"));
        }
        Response {
            status: StatusCode::from_u16(status).expect("a status"),
            headers: map,
            body: Bytes::from(body.to_owned()),
            timings: Timings::default(),
            remote: None,
            url: String::new(),
        }
    }

    #[test]
    fn a_pause_is_asked_for_in_seconds_or_by_a_date() {
        let now = Timestamp(1_774_699_200_000_000); // Sat, 28 Mar 2026 12:00:00 GMT
        for (value, seconds) in [
            ("30", Some(30)),
            ("0", Some(0)),
            ("-5", Some(0)),
            ("Sat, 28 Mar 2026 12:01:30 GMT", Some(90)),
            ("Sat, 28 Mar 2026 11:00:00 GMT", Some(0)),
            ("99999999999999", Some(LONGEST_S)),
            ("soon", None),
            ("", None),
        ] {
            let asked = retry_after(&answered(429, &[("retry-after", value)], ""), now);
            assert_eq!(asked, seconds.map(Span::from_secs), "{value:?}");
        }
    }
}
