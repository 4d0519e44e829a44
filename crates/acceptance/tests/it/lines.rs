//! What people do with the pages, from the first link to the words for customers, in a real Chromium at the width of a desk and
//! of a telephone: buttons are pressed and fields are filled as they would be.

use allclear_acceptance::chromium::Chromium;
use allclear_acceptance::pictures::WIDTHS;
use allclear_acceptance::scene::Scene;

use super::app::up;
use super::binary::Ground;

fn browser(width: u32) -> Chromium {
    let mut browser = Chromium::start().expect("a browser");
    browser.look(width, width < 600).expect("a size");
    browser
}

/// A demo whose owner is signed in.
fn signed_in(width: u32) -> (Scene, Chromium) {
    let (scene, mut browser) = (Scene::start().expect("a demo"), browser(width));
    browser.open(&scene.enter).expect("the link");
    says(&mut browser, "On call");
    (scene, browser)
}

fn fill(browser: &mut Chromium, field: &str, text: &str) {
    let text = serde_json::to_string(text).expect("JSON");
    let found = format!("document.querySelector('main [name=\"{field}\"]')");
    browser.until(&format!("{found} !== null")).expect(field);
    browser.evaluate(&format!("{found}.value = {text}")).expect(field);
}

/// Presses what carries these words.
fn press(browser: &mut Chromium, words: &str) {
    let words = serde_json::to_string(words).expect("JSON");
    let all = "[...document.querySelectorAll('main button, main a.button, main summary, header button')]";
    let found = format!("{all}.find(e => e.innerText.trim() === {words} && e.offsetParent !== null)");
    browser.until(&format!("(() => {{ const e = {found}; if (e) e.click(); return e !== undefined; }})()")).expect("a button");
}

/// Waits until the page says so.
fn says(browser: &mut Chromium, words: &str) {
    let words = serde_json::to_string(words).expect("JSON");
    browser.until(&format!("document.body !== null && document.body.innerText.includes({words})")).expect("the page");
}

#[test]
fn the_first_link_makes_an_owner_who_sees_what_is_missing_signs_out_and_in_and_ends_other_sessions() {
    for width in WIDTHS {
        let ground = Ground::new();
        std::fs::write(ground.folder.path().join("config/world.yaml"), "{ kind: location, name: local }\n").expect("written");
        let up = up(&ground);
        let mut browser = browser(width);
        let base = format!("http://{}", ground.addr);
        browser.open(&format!("{base}/enter/{}", up.link)).expect("the link");
        for (field, text) in [("name", "Ada"), ("email", "ada@synq.example"), ("password", "correct horse battery")] {
            fill(&mut browser, field, text);
        }
        press(&mut browser, "Begin");
        says(&mut browser, "Until the loop closes");
        says(&mut browser, "Fail it once");
        says(&mut browser, "All clear");
        press(&mut browser, "Sign out");
        says(&mut browser, "Forgotten it?");
        fill(&mut browser, "email", "ada@synq.example");
        fill(&mut browser, "password", "wrong horse battery");
        press(&mut browser, "Sign in");
        says(&mut browser, "The address or the password is not right.");
        fill(&mut browser, "password", "correct horse battery");
        press(&mut browser, "Sign in");
        says(&mut browser, "Until the loop closes");
        browser.open(&format!("{base}/account")).expect("the account");
        press(&mut browser, "End all others");
        says(&mut browser, "Sessions");
        browser.open(&format!("{base}/enter/{}", up.link)).expect("a page");
        says(&mut browser, "This link is no longer good");
    }
}

#[test]
fn the_overview_shows_the_whole_loop_and_a_responder_declares_notes_and_puts_off() {
    for width in WIDTHS {
        let (scene, mut browser) = signed_in(width);
        for words in
            ["Nothing is open.", "What customers see", "All Systems Operational", "Streaming on call", "Ada", "none failing", "Well."]
        {
            says(&mut browser, words);
        }
        browser.open(&format!("{}/incidents", scene.app)).expect("the incidents");
        press(&mut browser, "Declare an incident");
        fill(&mut browser, "title", "The encoder is too hot");
        fill(&mut browser, "details", "81 degrees");
        press(&mut browser, "Declare it");
        says(&mut browser, "The encoder is too hot");
        says(&mut browser, "81 degrees");
        fill(&mut browser, "text", "the fan is dead");
        press(&mut browser, "Note");
        says(&mut browser, "note: the fan is dead");
        press(&mut browser, "Snooze, reassign, change the urgency");
        press(&mut browser, "Snooze");
        says(&mut browser, "snoozed until");
        says(&mut browser, "With you");
        press(&mut browser, "Snooze, reassign, change the urgency");
        press(&mut browser, "Reassign");
        says(&mut browser, "given to Ada");
        press(&mut browser, "Escalate now");
        says(&mut browser, "escalated");
        // Somebody else is faster.
        let late = "fetch(location.pathname, { method: 'POST', body: new URLSearchParams({ act: 'resolve' }) }) \
                    .then(() => [...document.querySelectorAll('main button')].find(one => one.value === 'escalate').click())";
        browser.evaluate(late).expect("pressed");
        says(&mut browser, "Nothing changed: the incident is already resolved.");
        says(&mut browser, "What was wrong");
    }
}

#[test]
fn a_test_is_written_corrected_by_its_carets_tried_out_kept_and_its_runs_are_looked_at() {
    for width in WIDTHS {
        let (scene, mut browser) = signed_in(width);
        browser.open(&format!("{}/new-test", scene.app)).expect("a page");
        let test = |comparison: &str| {
            format!(
                "kind: test\nname: It is up\nenvironments: {{ production: {{}} }}\nschedules: [{{ every: 1m, environment: production }}]\nsteps:\n  - name: Look\n    \
                 request: \"GET {}/healthz\"\n    assert: [{{ source: status, comparison: {comparison}, value: 200 }}]\n",
                scene.app
            )
        };
        fill(&mut browser, "text", &test("equal_numbre"));
        press(&mut browser, "Check");
        says(&mut browser, "did you mean \"equal_number\"?");
        says(&mut browser, "^^^");
        fill(&mut browser, "text", &test("equal_number"));
        press(&mut browser, "Run it");
        says(&mut browser, "How it went in production");
        says(&mut browser, "pass");
        press(&mut browser, "Keep it");
        says(&mut browser, "Run it now in production");
        browser.until("document.querySelector('main a[href^=\"/runs/\"]') !== null").expect("it runs once at once, and the page shows it");
        press(&mut browser, "Pause");
        says(&mut browser, "it goes on");
        press(&mut browser, "Let it go on");
        browser.until("document.querySelector('main [name=span]') !== null").expect("it goes on");
        press(&mut browser, "Run it now in production");
        browser.until("document.querySelectorAll('main a[href^=\"/runs/\"]').length > 1").expect("a second run");
        // The first pass is kept with its evidence.
        let run = browser.evaluate("[...document.querySelectorAll('main a[href^=\"/runs/\"]')].pop().href").expect("a run");
        browser.open(run.as_str().unwrap_or_default()).expect("the run");
        says(&mut browser, "Step by step");
        browser.evaluate("document.querySelectorAll('main details').forEach(one => one.open = true)").expect("opened");
        says(&mut browser, "status is 200, expected 200");
        browser.open(&format!("{}/tests", scene.app)).expect("the tests");
        says(&mut browser, "It is up");
    }
}

#[test]
fn a_component_is_set_by_hand_and_given_back_and_customers_are_told_with_a_preview() {
    for width in WIDTHS {
        let (scene, mut browser) = signed_in(width);
        browser.open(&format!("{}/pages", scene.app)).expect("the pages");
        let room = browser.evaluate("document.querySelector('main a[href^=\"/pages/\"]').href").expect("a page");
        let room = room.as_str().unwrap_or_default().to_owned();
        browser.open(&room).expect("its room");
        fill(&mut browser, "status", "major_outage");
        press(&mut browser, "Set");
        says(&mut browser, "set by hand");
        let mut customer = self::browser(width);
        customer.open(&format!("{}/status/synq", scene.app)).expect("the page");
        says(&mut customer, "Major System Outage");
        says(&mut customer, "Major outage");
        press(&mut browser, "Back to automatic");
        says(&mut browser, "automatic");
        press(&mut browser, "Tell customers about an incident");
        fill(&mut browser, "name", "Streams are slow to start");
        fill(&mut browser, "body", "We look *into* it.");
        press(&mut browser, "Preview");
        says(&mut browser, "Customers would read:");
        browser.until("document.querySelector('.preview em') !== null").expect("emphasis is shown");
        press(&mut browser, "Publish it");
        browser.until("location.pathname.startsWith('/public-incidents/')").expect("its page");
        fill(&mut browser, "stage", "resolved");
        fill(&mut browser, "body", "It is over.");
        press(&mut browser, "Publish it");
        browser.until("document.querySelector('.lead .resolved') !== null").expect("over");
        customer.open(&format!("{}/status/synq/history", scene.app)).expect("the history");
        says(&mut customer, "Streams are slow to start");
        browser.open(&format!("{room}/new-rule")).expect("a page");
        says(&mut browser, "New rule");
        browser.open(&room).expect("its room");
        browser.until("document.querySelector('main a[href^=\"/rules/\"]') !== null").expect("a rule");
        let rule = browser.evaluate("document.querySelector('main a[href^=\"/rules/\"]').href").expect("a rule");
        browser.open(rule.as_str().unwrap_or_default()).expect("the rule");
        says(&mut browser, "SYNQ Live Stream Check");
    }
}
