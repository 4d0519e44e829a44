//! Providers' callbacks: verified on the raw bytes, decided and committed before they are answered.

use allclear_base::crash;
use allclear_channels::{pagerduty as pagerduty_channel, slack as slack_channel, twilio};
use allclear_domain::catalog::{Account, Channel, Kind};
use allclear_domain::delivery::Receipt;
use allclear_domain::incident::Via;
use allclear_domain::{ChannelId, PersonId};
use allclear_ops::incident::{self, Act, Answered};
use allclear_ops::{Actor, OpsError, delivery, link};
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode, Uri};
use sha2::{Digest, Sha256};

use crate::App;

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// An interaction in Slack. The body of our answer is ignored there: what the person should see goes to
/// the `response_url` of the press, as a row that the engine sends.
pub(crate) async fn slack(State(app): State<App>, Path(channel): Path<String>, headers: HeaderMap, body: Bytes) -> Response {
    let channel = ChannelId(channel);
    let catalog = app.store.catalog();
    let Some(Channel { account: Account::Slack(account), .. }) = catalog.channel(&channel) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let secret = match app.channels.signing_key(&account.signing_secret) {
        Ok(secret) => secret,
        Err(why) => return no_key(&channel, &why),
    };
    let (timestamp, signature) = (header(&headers, "x-slack-request-timestamp"), header(&headers, "x-slack-signature"));
    if !slack_channel::verify(secret.expose(), timestamp, signature, &body, app.store.now().0 / 1_000_000) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let pressed = match slack_channel::parse(&body) {
        slack_channel::Interaction::Pressed(pressed) => pressed,
        slack_channel::Interaction::Challenge(text) => return text.into_response(),
        slack_channel::Interaction::Other => return StatusCode::OK.into_response(),
    };
    let done = match linked(&app, &channel, &pressed.user) {
        Some(person) => press(&app, &channel, &pressed, person, &format!("{timestamp}:{}", digest(&body))).await,
        None => Ok(Some(
            "Your Slack user is not linked to a person in AllClear, so nothing was changed. \
             Add a contact method with your Slack member id."
                .to_owned(),
        )),
    };
    crash::point("hook.after_commit");
    let told = match (done, &pressed.response_url) {
        (Ok(Some(words)), Some(url)) => {
            let about = (&pressed.incident, pressed.user.as_str());
            delivery::answer_press(&app.store, &*app.rng, &channel, about, url, &words).await
        }
        (Ok(_), _) => Ok(()),
        (Err(error), _) => Err(error),
    };
    match told {
        Ok(()) => StatusCode::OK.into_response(),
        Err(error) => unavailable(&error),
    }
}

/// Carries out a press; what the person should be told, if the message itself does not show it.
async fn press(
    app: &App,
    channel: &ChannelId,
    pressed: &slack_channel::Pressed,
    person: PersonId,
    of_its_own: &str,
) -> Result<Option<String>, OpsError> {
    let act = match pressed.press {
        slack_channel::Press::Acknowledge => Act::Acknowledge,
        slack_channel::Press::Resolve => Act::Resolve,
    };
    let actor = Actor::responder(person, Via::Slack);
    let key = callback_key(channel, of_its_own);
    match incident::answer(&app.store, &*app.rng, &actor, vec![pressed.incident.clone()], act, Some(key)).await {
        Ok(Answered { refused, .. }) => Ok(refused.map(|refused| format!("Nothing changed: {refused}."))),
        Err(OpsError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A callback that cannot be verified, because there is no key that could prove anything.
fn no_key(channel: &ChannelId, why: &str) -> Response {
    tracing::error!(channel.id = %channel, why, "a callback was refused: it cannot be verified");
    (StatusCode::SERVICE_UNAVAILABLE, format!("callbacks cannot be verified: {why}\n")).into_response()
}

/// What a user did in the real PagerDuty. Only answered: an echo of what we sent ourselves changes nothing.
pub(crate) async fn pagerduty(State(app): State<App>, Path(channel): Path<String>, headers: HeaderMap, body: Bytes) -> Response {
    let channel = ChannelId(channel);
    let catalog = app.store.catalog();
    let Some(Channel { account: Account::Pagerduty(account), .. }) = catalog.channel(&channel) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let missing = || "the channel names no webhook_secret".to_owned();
    let setting = account.webhook_secret.as_deref().ok_or_else(missing);
    let secret = match setting.and_then(|setting| app.channels.signing_key(setting)) {
        Ok(secret) => secret,
        Err(why) => return no_key(&channel, &why),
    };
    if !pagerduty_channel::verify(secret.expose(), header(&headers, "x-pagerduty-signature"), &body) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let Some(told) = pagerduty_channel::parse(&body) else { return StatusCode::ACCEPTED.into_response() };
    let act = match told.what {
        pagerduty_channel::Happened::Acknowledged => Act::Acknowledge,
        pagerduty_channel::Happened::Unacknowledged => Act::Unacknowledge,
        pagerduty_channel::Happened::Resolved => Act::Resolve,
    };
    let message = callback_key(&channel, &digest(&body));
    let done =
        link::Done { channel, act, key: told.key, incident: told.incident, by: told.by, by_person: told.by_person, at: told.at, message };
    match link::follow(&app.store, &*app.rng, done).await {
        Ok(_) => StatusCode::ACCEPTED.into_response(),
        Err(error) => unavailable(&error),
    }
}

/// What names a callback, by something in it that is signed and no other callback has. One without a name is nobody's repeat: an
/// answer must not be lost for it.
fn named_callback(channel: &ChannelId, of_its_own: &str) -> Option<String> {
    (!of_its_own.is_empty()).then(|| callback_key(channel, of_its_own))
}

fn callback_key(channel: &ChannelId, of_its_own: &str) -> String {
    format!("{channel}:{of_its_own}")
}

fn digest(body: &[u8]) -> String {
    Sha256::digest(body).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The person whose contact method on this channel has this address.
fn linked(app: &App, channel: &ChannelId, address: &str) -> Option<PersonId> {
    let catalog = app.store.catalog();
    let has =
        |person: &allclear_domain::delivery::Person| person.contact_methods.iter().any(|m| m.channel == *channel && m.address == address);
    catalog.of_kind(Kind::Person).find(|r| r.document.as_person().is_some_and(has)).map(|r| PersonId(r.id.clone()))
}

fn unavailable(error: &OpsError) -> Response {
    tracing::error!(%error, "a callback could not be carried out");
    (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "1")]).into_response()
}

/// The parameters of a request that is Twilio's, or the refusal. Twilio signs the address that it calls,
/// which is our public one.
fn from_twilio(
    app: &App,
    channel: &ChannelId,
    uri: &Uri,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Vec<(String, String)>, Box<Response>> {
    let catalog = app.store.catalog();
    let Some(Channel { account: Account::Twilio(account), .. }) = catalog.channel(channel) else {
        return Err(Box::new(StatusCode::NOT_FOUND.into_response()));
    };
    let token = app.channels.signing_key(&account.auth_token).map_err(|why| Box::new(no_key(channel, &why)))?;
    let Some(public) = app.channels.site().public() else {
        return Err(Box::new(no_key(channel, "no --public-url says which address Twilio signs")));
    };
    let url = format!("{public}{}", uri.path_and_query().map_or("", |p| p.as_str()));
    let parameters = twilio::form(body);
    let genuine = twilio::verify(token.expose(), &url, &parameters, header(headers, "x-twilio-signature"));
    if genuine { Ok(parameters) } else { Err(Box::new(StatusCode::FORBIDDEN.into_response())) }
}

/// A text to our number. `4` acknowledges, `6` resolves what the last message to the sender's number was
/// about. Words that Twilio answers itself are recorded and not answered; neither is a number to which no
/// message ever went, because it may be a machine that answers every answer.
pub(crate) async fn twilio_sms(State(app): State<App>, Path(channel): Path<String>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let channel = ChannelId(channel);
    let parameters = match from_twilio(&app, &channel, &uri, &headers, &body) {
        Ok(parameters) => parameters,
        Err(refused) => return *refused,
    };
    let value = |name: &str| parameters.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value.as_str());
    let (from, silent) = (value("From"), twiml(twilio::no_reply_xml()));
    let answer = match twilio::read_text(&parameters) {
        twilio::Inbound::OptedOut => {
            tracing::warn!(channel.id = %channel, "a number asked for silence: no text reaches it any more");
            return done_or_unavailable(delivery::opted_out(&app.store, &*app.rng, &channel, from).await, silent);
        }
        twilio::Inbound::OptedIn => {
            return done_or_unavailable(delivery::opted_in(&app.store, &channel, from).await, silent);
        }
        twilio::Inbound::AnsweredByTwilio => return silent,
        twilio::Inbound::Answer(answer) => answer,
    };
    let (person, incidents) = match delivery::last_message_to(&app.store, &channel, from).await {
        Ok(Some(found)) => found,
        Ok(None) if linked(&app, &channel, from).is_some() => {
            return xml("There is no open message to this number; nothing was changed.");
        }
        Ok(None) => {
            tracing::info!(channel.id = %channel, "a text came from a number that is nobody's; it is not answered");
            return silent;
        }
        Err(error) => return unavailable(&error),
    };
    let act = match answer {
        twilio::Answer::Acknowledge => Act::Acknowledge,
        twilio::Answer::Resolve => Act::Resolve,
        twilio::Answer::Unclear => {
            return match delivery::may_explain(&app.store, &channel, from, value("Body")).await {
                Ok(true) => xml("Reply 4 to take what the last message was about, or 6 if it is over."),
                Ok(false) => silent,
                Err(error) => unavailable(&error),
            };
        }
    };
    let actor = Actor::responder(person, Via::Sms);
    let key = named_callback(&channel, value("MessageSid"));
    let done = incident::answer(&app.store, &*app.rng, &actor, incidents, act.clone(), key).await;
    crash::point("hook.after_commit");
    match done {
        Ok(answered) => xml(&told(&act, &answered)),
        Err(error) => unavailable(&error),
    }
}

fn done_or_unavailable(done: Result<(), OpsError>, answer: Response) -> Response {
    crash::point("hook.after_commit");
    match done {
        Ok(()) => answer,
        Err(error) => unavailable(&error),
    }
}

fn told(act: &Act, answered: &Answered) -> String {
    let changed = answered.changed.as_slice();
    let numbers = changed.iter().map(|number| format!("#{number}")).collect::<Vec<_>>().join(", ");
    match (act, changed) {
        (_, []) => answered.refused.as_ref().map_or_else(
            || "Nothing changed: nothing that you were told of is open.".to_owned(),
            |refused| format!("Nothing changed: {refused}."),
        ),
        (Act::Acknowledge, _) => format!("Acknowledged {numbers}."),
        (Act::Resolve, _) => format!("Resolved {numbers}."),
        (Act::Unacknowledge | Act::ByHand(_), _) => format!("Changed {numbers}."),
    }
}

fn xml(text: &str) -> Response {
    twiml(twilio::reply_xml(text))
}

/// A key pressed in a call: 4 acknowledges, 6 resolves what the call was about. It is the only proof that somebody heard it.
pub(crate) async fn twilio_voice(
    State(app): State<App>,
    Path((channel, attempt)): Path<(String, String)>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let channel = ChannelId(channel);
    let parameters = match from_twilio(&app, &channel, &uri, &headers, &body) {
        Ok(parameters) => parameters,
        Err(refused) => return *refused,
    };
    let value = |name: &str| parameters.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value.as_str());
    let digits = value("Digits");
    let act = match twilio::answer_of(digits) {
        twilio::Answer::Acknowledge => Act::Acknowledge,
        twilio::Answer::Resolve => Act::Resolve,
        twilio::Answer::Unclear => return twiml(twilio::again(&format!("{}{}", app.channels.site().url(), uri.path()))),
    };
    let (person, incidents) = match delivery::message_of(&app.store, &attempt).await {
        Ok(Some(found)) => found,
        Ok(None) => return twiml(twilio::goodbye("This call is not known any more; nothing was changed. Goodbye.")),
        Err(error) => return unavailable(&error),
    };
    let actor = Actor::responder(person, Via::Call);
    let key = named_callback(&channel, value("CallSid"));
    let done = incident::answer(&app.store, &*app.rng, &actor, incidents, act.clone(), key).await;
    crash::point("hook.after_commit");
    let answered = match done {
        Ok(answered) => answered,
        Err(error) => return unavailable(&error),
    };
    if let Err(error) = delivery::receipt(&app.store, &*app.rng, &attempt, Receipt::Arrived).await {
        // What matters is done; only that the call was heard is not on record.
        tracing::warn!(%error, attempt, "a call's receipt could not be written down");
    }
    twiml(twilio::goodbye(&format!("{} Goodbye.", told(&act, &answered).replace('#', "incident "))))
}

fn twiml(document: String) -> Response {
    ([(CONTENT_TYPE, "text/xml; charset=utf-8")], document).into_response()
}

/// What became of a text message or a call.
pub(crate) async fn twilio_status(
    State(app): State<App>,
    Path((channel, attempt)): Path<(String, String)>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let parameters = match from_twilio(&app, &ChannelId(channel), &uri, &headers, &body) {
        Ok(parameters) => parameters,
        Err(refused) => return *refused,
    };
    let Some(receipt) = twilio::receipt(&parameters) else { return StatusCode::NO_CONTENT.into_response() };
    match delivery::receipt(&app.store, &*app.rng, &attempt, receipt).await {
        Ok(_) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => unavailable(&error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_has_no_name_of_its_own_is_not_lost_as_a_repeat() {
        let channel = ChannelId("C1".into());
        assert_eq!(named_callback(&channel, ""), None);
        assert_eq!(named_callback(&channel, "SM1").as_deref(), Some("C1:SM1"));
    }
}
