//! The story, played unattended: each step is reported as seen from outside, with its time.

use std::process::ExitCode;

use allclear_ops::Actor;
use serde_json::json;

use super::seen::Eyes;
use super::{World, documents};
use crate::server::Server;

/// Both acts end within this time of the start.
const LONGEST_US: i64 = 45_000_000;

/// The longest that one step may take.
const LONGEST_STEP_US: i64 = 20_000_000;

/// A step that was not seen.
struct Unseen(&'static str);

struct Play<'a> {
    eyes: Eyes,
    world: &'a World,
    server: &'a Server,
    started_us: i64,
    steps: usize,
}

pub(crate) async fn run(server: &Server, world: &World) -> anyhow::Result<ExitCode> {
    let eyes = Eyes::new(server, world);
    let started_us = eyes.now_us();
    let mut play = Play { eyes, world, server, started_us, steps: 0 };
    let played = play.both_acts().await?;
    let seconds = tenths(play.eyes.now_us() - play.started_us);
    match played {
        Ok(()) => {
            println!("\nAll clear: {} of {} steps seen in {seconds} s.", play.steps, play.steps);
            Ok(ExitCode::SUCCESS)
        }
        Err(Unseen(step)) => {
            println!("\nNot seen: {step} ({} steps before it, {seconds} s).", play.steps);
            Ok(ExitCode::FAILURE)
        }
    }
}

fn tenths(us: i64) -> String {
    format!("{}.{}", us / 1_000_000, us % 1_000_000 / 100_000)
}

impl Play<'_> {
    fn say(&self, sign: &str, text: &str) {
        println!("{:>6} s  {sign} {text}", tenths(self.eyes.now_us() - self.started_us));
    }

    /// Looks for a step until it is seen.
    async fn expect<F>(&mut self, step: &'static str, what: impl FnMut(&Eyes) -> F) -> Result<String, Unseen>
    where
        F: Future<Output = anyhow::Result<Option<String>>>,
    {
        let deadline = (self.started_us + LONGEST_US).min(self.eyes.now_us() + LONGEST_STEP_US);
        let mut what = what;
        let seen = self.eyes.watch(deadline, || what(&self.eyes)).await.ok_or(Unseen(step))?;
        self.steps += 1;
        let shown: String = seen.chars().take(150).collect();
        self.say("seen", &if shown.is_empty() { step.to_owned() } else { format!("{step}: {shown}") });
        Ok(seen)
    }

    async fn both_acts(&mut self) -> anyhow::Result<Result<(), Unseen>> {
        let first = self.first_act().await?;
        if first.is_err() {
            return Ok(first);
        }
        self.second_act().await
    }

    /// A backend runs out of resources: the loop closes, a person answers, it is mended, everyone hears.
    async fn first_act(&mut self) -> anyhow::Result<Result<(), Unseen>> {
        println!("Act one: the live-streaming API runs out of capacity.");
        let eyes = self.private_eyes();
        if let Err(unseen) = self.expect("the page says that all is well", |_| see_page(&eyes, "Live Stream", "operational")).await {
            return Ok(Err(unseen));
        }
        self.turn("out_of_capacity").await?;
        for step in [
            Look::Text("a text rings the engineer on call", "Reply 4"),
            Look::Slack("Slack is told", "Triggered"),
            Look::Page("the component is Degraded on the public page", "Live Stream", "degraded_performance"),
            Look::Call("her telephone rings and speaks", "Press 4 to acknowledge"),
        ] {
            if let Err(unseen) = self.look(&eyes, step, &About::default()).await {
                return Ok(Err(unseen));
            }
        }
        self.eyes.post(self.world.phone, "/_stage/pick_up", &json!({ "to": "+4520000001", "digits": "4" })).await?;
        self.say("do  ", "Ada picks up and presses 4");
        for step in [Look::Call("the voice says so", "Acknowledged"), Look::Slack("Slack shows who has it", "Acknowledged")] {
            if let Err(unseen) = self.look(&eyes, step, &About::default()).await {
                return Ok(Err(unseen));
            }
        }
        self.turn("healthy").await?;
        for step in [
            Look::Page("the component is Operational again", "Live Stream", "operational"),
            Look::Text("the all-clear by text", "All clear"),
            Look::Slack("the all-clear in Slack", "Resolved"),
            Look::Streams("the tests left nothing behind"),
        ] {
            if let Err(unseen) = self.look(&eyes, step, &About::default()).await {
                return Ok(Err(unseen));
            }
        }
        Ok(Ok(()))
    }

    /// The article's own mistake: a test that creates streams and deletes none.
    async fn second_act(&mut self) -> anyhow::Result<Result<(), Unseen>> {
        println!("\nAct two: a test without a teardown uses the API up.");
        let eyes = self.private_eyes();
        // The first act's last messages may still be on their way: the second's name another incident.
        let mut about = About { texts: self.eyes.texts().await?, incident: String::new() };
        self.apply("act-two", include_str!("careless.yaml")).await?;
        self.say("do  ", "somebody adds a test that creates a stream every second and deletes none");
        match self.look(&eyes, Look::Text("the careless test exhausts the API: a text rings again", "Reply 4"), &about).await {
            Ok(text) => {
                about.incident = text.split_inclusive(']').next().and_then(|head| head.split('[').nth(1)).unwrap_or_default().to_owned()
            }
            Err(unseen) => return Ok(Err(unseen)),
        }
        for step in [
            Look::Page("the component is Degraded", "Live Stream", "degraded_performance"),
            Look::Slack("Slack is told again", "Triggered"),
            Look::Mail("a mail came, with a link to answer by", "ALERT"),
        ] {
            if let Err(unseen) = self.look(&eyes, step, &about).await {
                return Ok(Err(unseen));
            }
        }
        self.eyes.press_in_mail("acknowledge").await?;
        self.say("do  ", "Ada opens the mail's link and presses Acknowledge");
        if let Err(unseen) = self.look(&eyes, Look::Slack("Slack shows who has it", "Acknowledged"), &about).await {
            return Ok(Err(unseen));
        }
        self.eyes.post(self.world.phone, "/_stage/reply", &json!({ "from": "+4520000001", "body": "4" })).await?;
        self.say("do  ", "Ada replies 4 to the text as well");
        if let Err(unseen) = self.look(&eyes, Look::Answer("her telephone says what that changed", "cknowledged"), &about).await {
            return Ok(Err(unseen));
        }
        self.apply("act-two", include_str!("careful.yaml")).await?;
        self.eyes.post(self.world.live, "/_stage/clear", &json!({})).await?;
        self.say("do  ", "the test gets its teardown, and the leftovers are deleted");
        for step in [
            Look::Page("the component is Operational again", "Live Stream", "operational"),
            Look::Text("the all-clear by text", "All clear"),
            Look::Mail("the all-clear by mail", "All clear"),
            Look::Slack("the all-clear in Slack", "Resolved"),
            Look::Streams("nothing is left behind any more"),
        ] {
            if let Err(unseen) = self.look(&eyes, step, &about).await {
                return Ok(Err(unseen));
            }
        }
        Ok(Ok(()))
    }

    fn private_eyes(&self) -> Eyes {
        Eyes::new(self.server, self.world)
    }

    async fn look(&mut self, eyes: &Eyes, look: Look, about: &About) -> Result<String, Unseen> {
        match look {
            Look::Page(step, component, status) => self.expect(step, |_| see_page(eyes, component, status)).await,
            Look::Text(step, part) => self.expect(step, |_| eyes.text(about, part)).await,
            Look::Mail(step, part) => self.expect(step, |_| eyes.mail(about, part)).await,
            Look::Slack(step, part) => self.expect(step, |_| eyes.slack(about, part)).await,
            Look::Answer(step, part) => self.expect(step, |_| eyes.answer(part)).await,
            Look::Call(step, part) => self.expect(step, |_| eyes.call_said(part)).await,
            Look::Streams(step) => self.expect(step, |_| see_no_streams(eyes)).await,
        }
    }

    async fn turn(&self, to: &str) -> anyhow::Result<()> {
        self.eyes.post(self.world.live, "/_stage/switch", &json!({ "to": to })).await?;
        self.say("do  ", &format!("the API's switch is turned to {}", to.replace('_', " ")));
        Ok(())
    }

    async fn apply(&self, source: &str, text: &str) -> anyhow::Result<()> {
        let documents = documents(text, self.world)?;
        allclear_ops::config::apply(&self.server.store, &*self.server.runtime.rng, &Actor::files(), source, documents).await?;
        Ok(())
    }
}

/// Which messages are meant: those after the first few texts, and about this incident (`#2]`).
#[derive(Default)]
pub(super) struct About {
    pub(super) texts: usize,
    pub(super) incident: String,
}

/// Something to be seen, with its name.
enum Look {
    Page(&'static str, &'static str, &'static str),
    Text(&'static str, &'static str),
    Slack(&'static str, &'static str),
    Mail(&'static str, &'static str),
    Answer(&'static str, &'static str),
    Call(&'static str, &'static str),
    Streams(&'static str),
}

async fn see_page(eyes: &Eyes, component: &str, status: &str) -> anyhow::Result<Option<String>> {
    let (phrase, found) = eyes.page(component).await?;
    Ok((found == status).then_some(phrase))
}

async fn see_no_streams(eyes: &Eyes) -> anyhow::Result<Option<String>> {
    Ok((eyes.streams().await? == 0).then(String::new))
}
