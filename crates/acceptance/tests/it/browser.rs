//! The pages in a real Chromium, as somebody at a desk, on a telephone, or with a keyboard alone meets them.

use std::path::PathBuf;

use allclear_acceptance::chromium::Chromium;
use allclear_acceptance::pictures::WIDTHS;
use allclear_acceptance::scene::Scene;

/// The text of axe, which finds what keeps people from using a page. The test command says where it put it.
fn axe() -> String {
    let file = std::env::var_os("ALLCLEAR_TEST_AXE").map(PathBuf::from).expect("ALLCLEAR_TEST_AXE: `cargo xtask test` sets it");
    std::fs::read_to_string(file).expect("axe")
}

fn broken() -> (Scene, Chromium) {
    let scene = Scene::start().expect("a demo");
    let mut browser = Chromium::start().expect("a browser");
    scene.break_it(&mut browser).expect("the loop closes");
    (scene, browser)
}

#[test]
fn no_page_keeps_anybody_out_or_moves_sideways_in_either_theme_at_either_width() {
    let (scene, mut browser) = broken();
    let axe = axe();
    let mut pages: Vec<(&str, String)> = scene.pages(&mut browser).expect("every page").into_iter().collect();
    pages.iter_mut().for_each(|(_, path)| path.insert_str(0, &scene.app));
    pages.push(("stage", scene.stage.clone()));
    let mut found = Vec::new();
    for (name, url) in &pages {
        for (width, dark) in WIDTHS.into_iter().flat_map(|width| [(width, false), (width, true)]) {
            browser.look(width, dark).expect("a size");
            browser.open(url).expect("a page");
            browser.evaluate(&axe).expect("axe");
            // The status page within the stage is looked at by itself.
            let run = "axe.run({ exclude: ['iframe'] }).then(r => r.violations.map(v => v.id + ': ' + v.nodes.map(n => n.html).slice(0, 3).join(' ')))";
            let violations = browser.evaluate(run).expect("a judgement");
            for violation in violations.as_array().into_iter().flatten() {
                found.push(format!("{name} {width} {dark}: {violation}"));
            }
            let sideways = browser.evaluate(&format!("document.scrollingElement.scrollWidth > {width}")).expect("a width");
            if sideways == true {
                found.push(format!("{name} {width}: wider than its window"));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn an_open_page_shows_what_happens_without_a_reload_and_keeps_what_is_being_typed() {
    let (scene, mut browser) = broken();
    let pages = scene.pages(&mut browser).expect("every page");
    let incident = pages.iter().find(|(name, _)| *name == "incident").map(|(_, path)| path.clone()).expect("an incident");
    browser.open(&format!("{}{incident}", scene.app)).expect("the incident");
    browser.evaluate("window.stays = true; document.querySelector('input[name=text]').value = 'half a sen'").expect("typed");
    // A thumb on its way to one button must not meet another.
    let places = |browser: &mut Chromium| {
        let of_one = "(e => { const r = e.getBoundingClientRect(); return [e.value, r.x, r.y, r.width, r.height].join(' '); })";
        let all = format!("[...document.querySelectorAll('.fixed button')].map({of_one}).join(', ')");
        let at = |width: u32, browser: &mut Chromium| {
            browser.look(width, false).expect("a size");
            browser.evaluate(&all).expect("places").as_str().unwrap_or_default().to_owned()
        };
        WIDTHS.map(|width| at(width, browser))
    };
    let before = places(&mut browser);
    assert!(before[0].contains("acknowledge") && before[1].contains("resolve"), "{before:?}");
    let other = "fetch(location.href, { method: 'POST', body: new URLSearchParams({ act: 'acknowledge' }) }).then(r => r.ok)";
    assert_eq!(browser.evaluate(other).expect("acknowledged by another window"), true);
    browser.until("document.querySelector('.lead').innerText.includes('has it')").expect("the page says so");
    assert_eq!(places(&mut browser), before);
    let typed = "window.stays === true && document.querySelector('input[name=text]').value";
    assert_eq!(browser.evaluate(typed).expect("kept"), "half a sen");
    browser.evaluate("document.querySelector('details.step').open = false").expect("closed");
    let end = other.replace("acknowledge", "resolve");
    assert_eq!(browser.evaluate(&end).expect("resolved by another window"), true);
    browser.until("document.querySelector('.lead').innerText.includes('resolved')").expect("the page says so");
    browser.until("[...document.querySelectorAll('button')].every(b => b.value !== 'acknowledge')").expect("its buttons are gone");
    browser.evaluate("document.querySelector('main button').focus()").expect("focused");
    assert_eq!(browser.evaluate(typed).expect("kept"), "half a sen");
    assert_eq!(browser.evaluate("document.querySelector('details.step').open").expect("a step"), false);
}

#[test]
fn a_browser_hears_of_a_change_and_does_not_wait_to_look_by_itself() {
    let (scene, mut browser) = broken();
    browser.open(&format!("{}/incidents", scene.app)).expect("a page");
    // Tests run every second: something is committed all the time.
    let heard = "new Promise(done => { const s = new EventSource('/live'); s.addEventListener('changed', e => done(e.data !== '')); \
                 setTimeout(() => done('nothing came'), 10000); })";
    assert_eq!(browser.evaluate(heard).expect("an answer"), true);
}

#[test]
fn a_keyboard_alone_acknowledges_and_resolves_and_so_does_a_thumb_on_a_telephone() {
    let (scene, mut browser) = broken();
    let says = |browser: &mut Chromium, words: &str| {
        let lead = "document.querySelector('.lead')";
        browser.until(&format!("{lead} !== null && {lead}.innerText.includes('{words}')")).expect(words);
    };
    // The test goes on failing: when one incident is resolved by hand, the next opens.
    let open_the_next = |browser: &mut Chromium| {
        browser.open(&format!("{}/incidents?status=triggered", scene.app)).expect("the incidents");
        browser.until("document.querySelector('.row.triggered a[href^=\"/incidents/Q\"]') !== null").expect("an incident");
        browser.evaluate("location.href = document.querySelector('.row.triggered a[href^=\"/incidents/Q\"]').href").expect("followed");
        browser.until("document.querySelector('button[value=acknowledge]:enabled') !== null").expect("the incident");
    };
    browser.look(1280, false).expect("a desk");
    open_the_next(&mut browser);
    for (button, words) in [("Acknowledge", "has it"), ("Resolve", "resolved")] {
        let mut steps = 0;
        while browser.evaluate("document.activeElement.innerText").expect("a focus") != button {
            browser.press("Tab").expect("a key");
            steps += 1;
            assert!(steps < 30, "{button} is not reached");
        }
        browser.press("Enter").expect("a key");
        says(&mut browser, words);
    }
    browser.look(390, true).expect("a telephone");
    open_the_next(&mut browser);
    for (button, words) in [("Acknowledge", "has it"), ("Resolve", "resolved")] {
        browser.tap(&format!("[...document.querySelectorAll('button')].find(b => b.innerText === '{button}')")).expect("a tap");
        says(&mut browser, words);
    }
}

#[test]
fn whatever_a_responder_presses_on_a_telephone_is_as_large_as_a_thumb() {
    let (scene, mut browser) = broken();
    browser.look(390, false).expect("a telephone");
    let mut found = Vec::new();
    for (name, path) in scene.pages(&mut browser).expect("every page") {
        browser.open(&format!("{}{path}", scene.app)).expect("a page");
        let pressed = "main button, main .button, main summary, main select, main input, header button";
        let small = format!(
            "[...document.querySelectorAll('{pressed}')].filter(e => e.offsetParent !== null && e.type !== 'checkbox' && !e.closest('.tree') \
             && e.getBoundingClientRect().height < 48).map(e => e.outerHTML.slice(0, 90))"
        );
        let small = browser.evaluate(&small).expect("sizes");
        found.extend(small.as_array().into_iter().flatten().map(|one| format!("{name}: {one}")));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn a_visitor_of_the_stage_breaks_the_api_answers_by_text_and_everything_returns_at_a_desk_and_on_a_telephone() {
    let (scene, mut browser) = (Scene::start().expect("a demo"), Chromium::start().expect("a browser"));
    browser.open(&scene.enter).expect("signed in");
    browser.until("document.title.startsWith('Overview')").expect("the overview");
    for (turn, width) in WIDTHS.into_iter().enumerate() {
        browser.look(width, turn == 1).expect("a size");
        browser.open(&scene.stage).expect("the stage");
        let tap = |browser: &mut Chromium, value: &str| {
            browser.until(&format!("document.querySelector('button[value=\"{value}\"]') !== null")).expect(value);
            browser.tap(&format!("document.querySelector('button[value=\"{value}\"]')")).expect("a tap");
        };
        let number = turn + 1;
        let says = |word: &str| {
            format!(
                "[...document.querySelectorAll('.bubbles li')].some(li => li.innerText.includes('{word}') && li.innerText.includes('#{number}'))"
            )
        };
        tap(&mut browser, "wrong_json");
        browser.until(&says("Reply 4")).expect("a text comes");
        tap(&mut browser, "4");
        let taken = format!("li.innerText.includes('acknowledged by Ada') && li.innerText.includes('[#{number}]')");
        browser.until(&format!("[...document.querySelectorAll('.messages li')].some(li => {taken})")).expect("Slack shows who has it");
        tap(&mut browser, "healthy");
        browser.until(&says("All clear")).expect("the all-clear comes");
        browser.open(&format!("{}/status/synq", scene.app)).expect("the status page");
        browser.until("document.querySelector('h1').innerText === 'All Systems Operational'").expect("customers see it");
    }
}

#[test]
fn the_stage_shows_what_allclear_does_and_its_links_lead_there_signed_in() {
    let (scene, _) = broken();
    let mut browser = Chromium::start().expect("a browser that is not signed in");
    browser.open(&scene.stage).expect("the stage");
    let part = "document.querySelector('[data-live=allclear]')";
    browser.until(&format!("{part}.innerText.includes('level 1 is paged: Ada')")).expect("the timeline");
    browser.until(&format!("{part}.querySelector('.bars .fail') !== null")).expect("a run that failed");
    for (link, title) in [("/incidents/", "#1 "), ("/runs/", ""), ("/tests/", "Live Streaming API")] {
        browser.open(&scene.stage).expect("the stage");
        browser.evaluate(&format!("location.href = {part}.querySelector('a[href*=\"?to={link}\"]').href")).expect("followed");
        browser.until(&format!("location.pathname.startsWith('{link}') && document.title.startsWith('{title}')")).expect(link);
    }
    browser.open(&format!("{}/account", scene.app)).expect("the account");
    browser.until("document.getElementById('sessions') !== null").expect("its sessions");
    let sessions = "document.querySelectorAll('section[aria-labelledby=sessions] li').length";
    // The scene's own browser has one as well.
    assert_eq!(browser.evaluate(sessions).expect("a number"), 2);
}

#[test]
fn who_holds_a_button_of_the_stage_keeps_it_while_messages_come_and_a_call_that_ended_goes() {
    let (scene, mut browser) = broken();
    browser.open(&scene.stage).expect("the stage");
    browser.until("document.getElementById('call') !== null").expect("it rings");
    browser.evaluate("document.querySelector('.keys button').focus()").expect("focused");
    browser.evaluate("[...document.querySelectorAll('#call button')].find(b => b.value === '4').click()").expect("picked up");
    browser.until("document.getElementById('call') === null").expect("the call is over");
    browser
        .until("[...document.querySelectorAll('.messages li')].some(li => li.innerText.includes('acknowledged by Ada'))")
        .expect("Slack shows who has it");
    assert_eq!(browser.evaluate("document.activeElement.value").expect("a focus"), "4");
}
