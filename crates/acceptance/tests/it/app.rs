//! The app as a browser sees it: coming in, looking, acting, and what nobody else may do.

use std::process::{Child, Command, Stdio};

use allclear_acceptance::binary::{exchange, path, wait};
use allclear_stage::live::Switch;

use super::binary::{Ground, PATIENCE};

/// A server whose first words are read: the link stands in them.
pub(super) struct Up {
    child: Child,
    pub(super) link: String,
}

impl Drop for Up {
    fn drop(&mut self) {
        let _killed = self.child.kill();
        let _status = self.child.wait();
    }
}

pub(super) fn up(ground: &Ground) -> Up {
    let said = ground.folder.path().join("said.txt");
    let out = std::fs::File::create(&said).expect("a file");
    let mut command = Command::new(path().expect("the binary"));
    command.args(["up", "--config", "config", "--data", "data", "--listen", &ground.addr.to_string()]);
    command.envs(ground.world.secrets()).current_dir(ground.folder.path()).stdout(out).stderr(Stdio::null());
    let child = command.spawn().expect("it runs");
    let link = || {
        let text = std::fs::read_to_string(&said).unwrap_or_default();
        text.split("/enter/").nth(1).and_then(|rest| rest.split_whitespace().next()).map(str::to_owned)
    };
    let shown = wait(PATIENCE, || {
        std::fs::read_to_string(&said).is_ok_and(|text| text.contains("AllClear is up")) && ground.data().join("allclear.sock").exists()
    });
    assert!(shown, "it does not start");
    let _there = wait(std::time::Duration::from_secs(2), || link().is_some());
    Up { child, link: link().unwrap_or_default() }
}

/// Somebody at a browser.
pub(super) struct Browser<'a> {
    ground: &'a Ground,
    pub(super) cookie: Option<String>,
}

pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn location(&self) -> &str {
        self.head.lines().find_map(|line| line.strip_prefix("location: ")).unwrap_or_default()
    }
}

impl Browser<'_> {
    pub(super) fn send(&mut self, method: &str, path: &str, more: &str, body: &str) -> Answer {
        let cookie = self.cookie.as_ref().map_or(String::new(), |cookie| format!("cookie: {cookie}\r\n"));
        let form = "content-type: application/x-www-form-urlencoded\r\n";
        let raw = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n{cookie}{form}{more}content-length: {}\r\n\r\n{body}",
            self.ground.addr,
            body.len()
        );
        let (status, head, body) = exchange(self.ground.addr, &raw).expect("an answer");
        if let Some(set) = head.lines().find_map(|line| line.strip_prefix("set-cookie: ")) {
            self.cookie = set.split(';').next().map(str::to_owned).filter(|cookie| cookie != "allclear=");
        }
        Answer { status, head, body }
    }

    pub(super) fn get(&mut self, path: &str) -> Answer {
        self.send("GET", path, "", "")
    }

    /// A form of the page itself.
    pub(super) fn post(&mut self, path: &str, body: &str) -> Answer {
        let origin = format!("origin: http://{}\r\n", self.ground.addr);
        self.send("POST", path, &origin, body)
    }
}

pub(super) fn nobody(ground: &Ground) -> Browser<'_> {
    Browser { ground, cookie: None }
}

/// The first link of a page that begins like this.
pub(super) fn link_to(start: &str, page: &str) -> String {
    let found = page.split("href=\"").find_map(|rest| rest.split('"').next().filter(|path| path.starts_with(start)));
    found.unwrap_or_else(|| panic!("no link to {start} in:\n{page}")).to_owned()
}

pub(super) const PASSWORD: &str = "correct+horse+battery";

/// The first owner, who is Ada of the files.
pub(super) fn owner<'a>(ground: &'a Ground, up: &Up) -> Browser<'a> {
    let mut browser = nobody(ground);
    let answer = browser.post(&format!("/enter/{}", up.link), &format!("name=&email=Ada%40synq.example&password={PASSWORD}"));
    assert_eq!((answer.status, answer.location()), (303, "/"), "{}", answer.body);
    browser
}

#[test]
fn of_many_who_would_be_the_first_owner_at_the_same_time_one_is() {
    let ground = Ground::with_one_test();
    let up = up(&ground);
    let (ground, link) = (&ground, up.link.as_str());
    let claim = |n: usize| {
        let form = format!("name=Owner+{n}&email=owner{n}%40synq.example&password={PASSWORD}");
        nobody(ground).post(&format!("/enter/{link}"), &form).status
    };
    let answers: Vec<u16> = std::thread::scope(|scope| {
        let racing: Vec<_> = (0..8).map(|n| scope.spawn(move || claim(n))).collect();
        racing.into_iter().map(|one| one.join().expect("an answer")).collect()
    });
    assert_eq!(answers.iter().filter(|status| **status == 303).count(), 1, "{answers:?}");
    assert!(answers.iter().all(|status| [303, 404].contains(status)), "{answers:?}");
    assert_eq!(ground.say(&["export"]).matches("name: Owner ").count(), 1);
}

#[test]
fn the_first_link_makes_one_owner_who_is_the_person_of_the_files_and_no_second_one() {
    let ground = Ground::with_one_test();
    let up = up(&ground);
    let mut browser = nobody(&ground);
    let page = browser.get(&format!("/enter/{}", up.link));
    assert!(page.status == 200 && page.body.contains("You are the first"), "{}", page.body);
    let short = browser.post(&format!("/enter/{}", up.link), "name=Eve&email=eve%40synq.example&password=short");
    assert!(
        short.status == 422 && short.body.contains("10 to 200 characters") && short.body.contains("eve@synq.example"),
        "{}",
        short.body
    );
    let mut ada = owner(&ground, &up);
    let again = browser.post(&format!("/enter/{}", up.link), &format!("name=Eve&email=eve%40synq.example&password={PASSWORD}"));
    assert_eq!(again.status, 404, "a link works once");
    let overview = ada.get("/");
    assert!(overview.status == 200 && overview.body.contains(">Ada<"), "she is the Ada of the files: {}", overview.body);
    let ben = ground.say(&["user", "reset", "ben@synq.example"]);
    assert!(ben.contains("/enter/"), "{ben}");
    let link = ben.split("/enter/").nth(1).expect("a link").trim().to_owned();
    let mut ben = nobody(&ground);
    assert_eq!(ben.post(&format!("/enter/{link}"), &format!("password={PASSWORD}")).status, 303);
    assert!(ben.get("/").body.contains(">Ben<"));
}

#[test]
fn one_signs_in_and_out_and_a_wrong_password_tells_nothing() {
    let ground = Ground::with_one_test();
    let up = up(&ground);
    drop(owner(&ground, &up));
    let mut browser = nobody(&ground);
    let asked = browser.get("/incidents");
    assert_eq!(asked.status, 401, "nobody looks without signing in");
    assert!(asked.head.contains("refresh: 0; url=/sign-in?to=%2Fincidents"), "{}", asked.head);
    let wrong = browser.post("/sign-in", "email=ada%40synq.example&password=wrong+password&to=%2Fincidents");
    let nobodys = browser.post("/sign-in", "email=eve%40synq.example&password=wrong+password&to=%2Fincidents");
    for answer in [&wrong, &nobodys] {
        assert!(answer.status == 422 && answer.body.contains("The address or the password is not right."), "{}", answer.body);
    }
    let elsewhere =
        browser.send("POST", "/sign-in", "origin: https://evil.example\r\n", &format!("email=ada%40synq.example&password={PASSWORD}"));
    assert_eq!(elsewhere.status, 403);
    let right = browser.post("/sign-in", &format!("email=ada%40synq.example&password={PASSWORD}&to=%2Fincidents"));
    assert_eq!((right.status, right.location()), (303, "/incidents"));
    assert!(right.head.contains("HttpOnly") && right.head.contains("SameSite=Lax"), "{}", right.head);
    assert_eq!(browser.get("/incidents").status, 200);
    let kept = browser.cookie.clone();
    assert_eq!(browser.post("/sign-out", "").status, 303);
    browser.cookie = kept;
    assert_eq!(browser.get("/incidents").status, 401, "a session that ended is worth nothing");
    for _ in 0..10 {
        browser.post("/sign-in", "email=ada%40synq.example&password=wrong+password");
    }
    assert_eq!(browser.post("/sign-in", &format!("email=ada%40synq.example&password={PASSWORD}")).status, 429, "nobody guesses for long");
}

#[test]
fn whoever_may_do_something_else_from_now_on_signs_in_anew() {
    let ground = Ground::with_one_test();
    let up = up(&ground);
    let mut ada = owner(&ground, &up);
    let link = ground.say(&["user", "reset", "ben@synq.example"]).split("/enter/").nth(1).expect("a link").trim().to_owned();
    let mut ben = nobody(&ground);
    assert_eq!(ben.post(&format!("/enter/{link}"), &format!("password={PASSWORD}")).status, 303);
    assert_eq!(ben.get("/").status, 200);
    let file = ground.folder.path().join("config/world.yaml");
    let world = std::fs::read_to_string(&file).expect("the world");
    std::fs::write(&file, world.replace("email: ben@synq.example\n", "email: ben@synq.example\nrole: observer\n")).expect("written");
    assert!(ground.say(&["apply", "config"]).contains("~ person Ben"));
    assert_eq!(ben.get("/").status, 401);
    assert_eq!(ada.get("/").status, 200, "nobody else does");
    assert_eq!(ben.post("/sign-in", &format!("email=ben%40synq.example&password={PASSWORD}")).status, 303);
    assert_eq!(ben.get("/").status, 200);
}

#[test]
fn a_responder_sees_why_and_acts_and_another_sites_form_does_not() {
    let ground = Ground::with_one_test();
    let up = up(&ground);
    let mut ada = owner(&ground, &up);
    ground.world.live.player().turn(Switch::WrongJson);
    assert!(wait(PATIENCE, || ground.say(&["incidents"]).contains("#1")));
    let list = ada.get("/incidents").body;
    let path = link_to("/incidents/Q", &list);
    let page = ada.get(&path);
    for part in [
        "Live Streaming API fails in production",
        "playback_url",
        "Create a live stream",
        "Acknowledge",
        "was paged",
        "Timeline",
        "Who was told",
    ] {
        assert!(page.body.contains(part), "{part:?} is missing in:\n{}", page.body);
    }
    assert!(page.body.matches("<script").count() == 1 && page.body.contains("<script src=\"/assets/"), "no script but ours: {}", page.body);
    let forged = ada.send("POST", &path, "origin: https://evil.example\r\n", "act=resolve");
    assert_eq!(forged.status, 403);
    assert!(ground.say(&["incidents"]).contains("#1"), "nothing came of it");
    assert_eq!(ada.post(&path, "act=acknowledge").status, 303);
    assert!(ada.get(&path).body.contains("Ada has it (in the app)"), "{}", ada.get(&path).body);
    assert_eq!(ada.post(&path, "act=note&text=%3Cb%3Elooking%3C%2Fb%3E+into+it").status, 303);
    let noted = ada.get(&path).body;
    assert!(noted.contains("looking") && !noted.contains("<b>looking</b>"), "what people write is text");
    assert_eq!(ada.post(&path, "act=snooze&span=1h").status, 303);
    assert_eq!(ada.post(&path, "act=reassign&person=Ben").status, 303);
    assert!(ada.get(&path).body.contains("Ben was paged"));
    assert_eq!(ada.post(&path, "act=dance").status, 422);
    let run = link_to("/runs/", &page.body);
    assert!(ada.get(&run).body.contains("Step by step"));
    let tests = ada.get("/tests").body;
    assert!(tests.contains("Live Streaming API") && tests.contains("failing") && tests.contains("every 1s in production"), "{tests}");
    assert!(ada.get("/tests?q=nothing+like+it").body.contains("No test has this in its name"));
    let test = link_to("/tests/", &tests);
    let shown = ada.get(&test).body;
    assert!(shown.contains("The last runs") && shown.contains("class=\"fail\"") && shown.contains("Streams"), "{shown}");
    ground.world.live.player().turn(Switch::Healthy);
    assert!(wait(PATIENCE, || ada.get("/").body.contains("All clear")), "{}", ada.get("/").body);
    assert_eq!(ada.post("/incidents", "title=Too+hot&service=Streams&details=").status, 303);
    assert!(ada.get("/").body.contains("Too hot"));
    for missing in ["/incidents/QNOTHING", "/runs/nothing", "/tests/nothing"] {
        assert_eq!(ada.get(missing).status, 404, "{missing}");
    }
}

#[test]
fn a_number_typed_as_an_address_leads_to_the_incident_whose_buttons_work() {
    let ground = Ground::with_one_test();
    let up = up(&ground);
    let mut ada = owner(&ground, &up);
    assert!(ground.say(&["declare", "The disk is full", "--service", "Streams"]).contains("#1"));
    let typed = ada.get("/incidents/1");
    assert_eq!(typed.status, 303, "{}", typed.body);
    let page = ada.get(typed.location());
    assert!(page.status == 200 && page.body.contains("The disk is full"), "{}", page.body);
    assert_eq!(ada.post(typed.location(), "act=acknowledge").status, 303);
    assert!(ground.say(&["incidents"]).contains("acknowledged"));
}
