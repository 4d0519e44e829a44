//! People who are removed, and what they leave: nothing that opens anything, and an id that nobody
//! else gets.

use allclear_base::OsRng;
use allclear_domain::catalog::{Catalog, Document, Kind};
use allclear_domain::delivery::{Person, Role};
use allclear_domain::{PersonId, Span};
use allclear_ops::session::{self, Claim, Entry};
use allclear_ops::{Actor, OpsError, config, resource, token};
use allclear_store::record::session::{EntryLink, find_password, has_passwords, insert_link};
use allclear_store::{Lane, Tx, Write};
use http::{Request, StatusCode};
use tower::ServiceExt;

use super::binary::Ground;
use super::routes::{Api, api};

const ADA: &str = "{ kind: person, name: Ada, email: ada@synq.example, role: owner }";
/// What is kept of the link `gone`: its SHA-256.
const HASH_OF_GONE: &str = "283bb9deef02e6843abfb538efa1eca70801bd8a701c3f98191e123496339247";

const BEN: &str = "{ kind: person, name: Ben }";

async fn apply(api: &Api, text: &str) {
    let documents = allclear_config::load_str("people.yaml", text, &|_, _| false).into_documents();
    config::apply(&api.store, &OsRng, &Actor::files(), "people", documents).await.expect("applied");
}

async fn with_both() -> Api {
    let api = api();
    apply(&api, &format!("{ADA}\n---\n{BEN}")).await;
    api
}

fn id_of(api: &Api, name: &str) -> PersonId {
    api.store.catalog().id_of(Kind::Person, name).map(Into::into).expect("the person")
}

fn ada() -> Document {
    Document::Person(Person {
        name: "Ada".into(),
        email: Some("ada@synq.example".into()),
        time_zone: None,
        job_title: None,
        role: Role::Owner,
        contact_methods: vec![],
        notification_rules: vec![],
        extra: serde_json::Map::new(),
    })
}

#[tokio::test]
async fn a_person_of_the_same_name_does_not_get_the_id_of_a_removed_one() {
    let api = with_both().await;
    let mut known = vec![id_of(&api, "Ada")];
    for round in 0..2 {
        apply(&api, BEN).await;
        apply(&api, &format!("{ADA}\n---\n{BEN}")).await;
        assert!(!known.contains(&id_of(&api, "Ada")), "by files, round {round}");
        known.push(id_of(&api, "Ada"));
    }
    apply(&api, BEN).await;
    for round in 0..2 {
        let make = |_: Option<&Document>, _: &Catalog| Ok(ada());
        let made = resource::put(&api.store, &OsRng, &Actor::local(), Kind::Person, None, make).await.expect("made").id.clone();
        assert!(!known.contains(&made.as_str().into()), "over REST, round {round}");
        resource::remove(&api.store, &OsRng, &Actor::local(), Kind::Person, &made).await.expect("removed");
        known.push(made.into());
    }

    let link = session::set_up_link(&api.store, &OsRng).await.expect("a link").expect("nobody can sign in");
    let claim = Claim { name: "Ada".into(), email: "ada@synq.example".into(), password_hash: "h".into() };
    session::claim(&api.store, &OsRng, &link, claim).await.expect("claimed");
    assert!(!known.contains(&id_of(&api, "Ada")), "by the first link");
}

async fn asks_with(api: &Api, value: &str) -> StatusCode {
    let request = Request::get("/pagerduty/incidents").header("authorization", format!("Bearer {value}"));
    let request = request.body(axum::body::Body::empty()).expect("a request");
    api.router.clone().oneshot(request).await.expect("infallible").status()
}

#[tokio::test]
async fn a_token_of_a_removed_person_opens_nothing() {
    let api = with_both().await;
    let scopes = ["incidents:read".to_owned()];
    let hers = token::create(&api.store, &OsRng, &Actor::local(), "hers", &scopes, Some("Ada")).await.expect("a token");
    let his = token::create(&api.store, &OsRng, &Actor::local(), "his", &scopes, Some("Ben")).await.expect("a token");
    assert_eq!(asks_with(&api, &hers.value).await, StatusCode::OK);
    apply(&api, BEN).await;
    assert_eq!(asks_with(&api, &hers.value).await, StatusCode::UNAUTHORIZED);
    apply(&api, &format!("{ADA}\n---\n{BEN}")).await;
    assert_eq!(asks_with(&api, &hers.value).await, StatusCode::UNAUTHORIZED, "another Ada came");
    assert_eq!(asks_with(&api, &his.value).await, StatusCode::OK);
    let listed = token::list(&api.store, &Actor::local()).await.expect("a list").tokens;
    let holders: Vec<_> = listed.iter().map(|one| (one.name.as_str(), one.holder.clone())).collect();
    assert!(holders.contains(&("hers", token::Holder::Removed)), "{holders:?}");
    assert!(holders.contains(&("his", token::Holder::Person("Ben".into()))), "{holders:?}");
}

#[tokio::test]
async fn with_a_removed_person_go_their_password_their_sessions_and_their_links() {
    let api = with_both().await;
    let link = |who: &'static str| session::link_for(&api.store, &OsRng, Entry::Reset, who);
    let claim = || Claim { name: String::new(), email: String::new(), password_hash: "h".into() };
    let first = link("Ada").await.expect("a link");
    let value = session::claim(&api.store, &OsRng, &first, claim()).await.expect("claimed");
    let left = link("Ada").await.expect("a link");
    let (bens, ada) = (link("Ben").await.expect("a link"), id_of(&api, "Ada"));
    assert!(session::who(&api.store, &value).await.expect("read").is_some());
    apply(&api, BEN).await;
    assert!(session::who(&api.store, &value).await.expect("read").is_none());
    assert!(session::look_at_link(&api.store, &left).await.expect("read").is_none());
    assert!(session::look_at_link(&api.store, &bens).await.expect("read").is_some(), "others keep theirs");
    assert_eq!(api.store.read("look", move |tx| find_password(tx, &ada)).await.ok(), Some(None));
}

#[tokio::test]
async fn a_link_that_was_made_while_its_person_was_removed_sets_no_password() {
    let api = api();
    let work = |tx: &mut Tx<'_>| {
        let expires_at = tx.now().plus(Span::from_mins(1));
        insert_link(tx, HASH_OF_GONE, &EntryLink { kind: "reset".into(), person: Some("PGONE00".into()), expires_at })
    };
    api.store.write(Write::new("link", Lane::Act), work).await.expect("kept");
    let claim = Claim { name: String::new(), email: String::new(), password_hash: "h".into() };
    let refused = session::claim(&api.store, &OsRng, "gone", claim).await;
    assert!(matches!(refused, Err(OpsError::UnknownKey)), "{refused:?}");
    assert_eq!(api.store.read("look", has_passwords).await.ok(), Some(false));
}

#[test]
fn tokens_are_listed_and_revoked_on_the_command_line() {
    let ground = Ground::with_one_test();
    let create = |name: &str, more: &[&str]| ground.say(&[&["token", "create", name], more].concat()).trim().to_owned();
    let mut process = ground.start();
    create("ci", &["--scope", "incidents:read", "--scope", "config:read"]);
    create("hers", &["--person", "Ada"]);
    let line_of = |name: &str| {
        let listed = ground.say(&["token", "list"]);
        let lines: Vec<String> = listed.lines().filter(|line| line.contains(&format!("  {name}  "))).map(str::to_owned).collect();
        assert_eq!(lines.len(), 1, "{listed}");
        lines[0].clone()
    };
    let ci = line_of("ci");
    assert!(ci.contains("[incidents:read config:read]  for nobody  made ") && ci.ends_with("  good"), "{ci}");
    assert!(line_of("hers").contains("for Ada"));
    let revoked = ground.say(&["token", "revoke", "ci"]);
    assert!(revoked.starts_with("The token ci (") && revoked.ends_with("is revoked: nothing accepts it any more.\n"), "{revoked}");
    let again = ground.say(&["token", "revoke", "ci"]);
    assert!(again.contains("was revoked") && again.ends_with("nothing was changed.\n"), "{again}");
    assert!(line_of("ci").contains("  revoked "));
    create("twice", &[]);
    let value = create("twice", &[]);
    let refused = ground.command(&["token", "revoke", "twice", "--data", "data"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("several tokens are named \"twice\"; say which by its id: "), "{said}");
    let id = said.trim().rsplit(": ").next().and_then(|ids| ids.split(", ").next()).expect("an id").to_owned();
    assert!(ground.say(&["token", "revoke", "nobody's"]).contains("there is no token \"nobody's\""));

    // From elsewhere it needs a token that may.
    let elsewhere = |token: &str| {
        let mut command = std::process::Command::new(allclear_acceptance::binary::path().expect("the binary"));
        command.args(["token", "list", "--server", &format!("http://{}", ground.addr)]).env("ALLCLEAR_TOKEN", token);
        let output = command.output().expect("it runs");
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    };
    assert!(elsewhere(&value).contains("the scope tokens:write is needed"));
    assert!(elsewhere(&create("owner", &["--scope", "tokens:write"])).contains("  hers  "));
    process.terminate().expect("a clean stop");

    // Without a server the database is asked.
    assert!(ground.say(&["token", "revoke", &id]).contains(&format!("The token twice ({id}) is revoked")));
    assert!(ground.say(&["token", "revoke", "twice"]).contains("is revoked"), "one good token has the name now");
    let file = ground.folder.path().join("config/world.yaml");
    let world = std::fs::read_to_string(&file).expect("the world").replace("name: Ada\n", "name: Eve\n").replace("[Ada]", "[Eve]");
    std::fs::write(&file, world).expect("written");
    assert!(ground.say(&["apply", "config"]).contains("- person Ada\n"));
    assert!(line_of("hers").contains("for a removed person") && line_of("hers").ends_with("dead: its person was removed"));
}
