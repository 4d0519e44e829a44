//! A person's own messages in Slack follow what becomes of the incident, as a room's do.

use std::time::Duration;

use allclear_acceptance::binary::wait;
use allclear_stage::live::Switch;
use allclear_stage::slack::Posted;

use super::binary::{Ground, log_of};

const PATIENCE: Duration = Duration::from_secs(20);

/// The messages to Ada herself, but for those in a thread.
fn to_ada(ground: &Ground) -> Vec<Posted> {
    let posted = ground.world.slack.player().messages().to_vec();
    posted.into_iter().filter(|message| message.channel.starts_with('D') && message.thread_ts.is_none()).collect()
}

fn buttons(message: &Posted) -> Vec<&str> {
    message
        .blocks
        .as_array()
        .into_iter()
        .flatten()
        .filter(|block| block["type"] == "actions")
        .flat_map(|block| block["elements"].as_array().into_iter().flatten())
        .filter_map(|button| button["text"]["text"].as_str())
        .collect()
}

#[test]
fn a_message_to_a_person_shows_who_took_the_incident_and_in_the_end_has_no_buttons() {
    let ground = Ground::with_one_test();
    let process = ground.start();
    ground.world.live.player().turn(Switch::WrongJson);
    let paged = || to_ada(&ground).first().is_some_and(|message| buttons(message) == ["Acknowledge", "Resolve"]);
    assert!(wait(PATIENCE, paged), "{:?}\n{}", ground.world.slack.player().messages(), log_of(&process));
    assert!(ground.say(&["ack", "1"]).contains("#1"));
    let taken = || to_ada(&ground).iter().all(|message| message.text.contains("Acknowledged") && buttons(message) == ["Resolve"]);
    assert!(wait(PATIENCE, taken), "{:?}", to_ada(&ground));
    ground.world.live.player().turn(Switch::Healthy);
    let over = || to_ada(&ground).iter().all(|message| message.text.contains("Resolved") && buttons(message).is_empty());
    assert!(wait(PATIENCE, over), "{:?}", to_ada(&ground));
}
