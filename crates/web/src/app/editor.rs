//! Writing a test: its YAML in a form, checked with the carets of `allclear check`, tried out, and kept.

use allclear_config::Severity;
use allclear_domain::apitest::document::Test;
use allclear_domain::catalog::{Catalog, Document, Kind, Resource};
use allclear_domain::{LocationName, TestId};
use allclear_ops::{OpsError, by_hand, resource};
use askama::Template;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::StatusCode;
use serde::Deserialize;

use super::evidence::Evidence;
use super::guard::{Viewer, failed};
use super::{Shell, open_incidents};
use crate::page::Filled;
use crate::{Web, page};

/// What a new test begins as.
const SAMPLE: &str = "\
kind: test
name: The service answers
environments:
  production:
    variables: { base: \"https://api.example.com\" }
    # notify: { service: NAME }     # without it nobody is told when it fails
schedules: [{ every: 1m, environment: production }]
steps:
  - request: \"GET {{base}}/health\"
    assert:
      - { source: status, comparison: equal_number, value: 200 }
";

/// The longest text of a form.
const LONGEST: usize = 200_000;

#[derive(Debug, Template)]
#[template(path = "app/editor.html")]
struct Editor {
    shell: Shell,
    heading: String,
    /// Where it is kept; nothing for a new one.
    id: Option<String>,
    /// The files that own it; then it is changed there.
    source: Option<String>,
    text: String,
    /// What `check` says, with its carets.
    problems: Vec<Problem>,
    /// Something that is wrong with the whole.
    problem: Option<String>,
    checked: bool,
    environments: Vec<String>,
    tried: Option<Tried>,
}

#[derive(Debug)]
struct Problem {
    is_error: bool,
    text: String,
}

/// How a try went.
#[derive(Debug)]
struct Tried {
    verdict: &'static str,
    why: Option<String>,
    environment: String,
    evidence: Evidence,
}

/// What the form sends.
#[derive(Deserialize)]
pub(crate) struct Sent {
    text: String,
    #[serde(default)]
    act: String,
    #[serde(default)]
    environment: String,
}

/// Reads the one test that a form holds.
fn read(text: &str, catalog: &Catalog) -> Result<(Test, Vec<Problem>), Vec<Problem>> {
    let of_document = |text: &str| vec![Problem { is_error: true, text: text.to_owned() }];
    if text.len() > LONGEST {
        return Err(of_document("This is longer than a test may be here; write it in a file and apply it."));
    }
    let loaded = allclear_config::load_str("test.yaml", text, &|kind, name| catalog.id_of(kind, name).is_some());
    let usable = loaded.is_usable();
    let problems: Vec<Problem> =
        loaded.diagnostics.iter().map(|one| Problem { is_error: one.severity == Severity::Error, text: one.to_string() }).collect();
    if !usable {
        return Err(problems);
    }
    match <[Document; 1]>::try_from(loaded.into_documents()) {
        Ok([Document::Test(test)]) => Ok((*test, problems)),
        Ok(_) | Err(_) => Err(of_document("Write one document of the kind test.")),
    }
}

/// A test as a form shows it: its references are names.
fn written(resource: &Resource, catalog: &Catalog) -> String {
    let mut document = resource.document.clone();
    for (kind, reference) in document.references() {
        if let Some(named) = catalog.get(kind, reference) {
            *reference = named.document.name();
        }
    }
    allclear_config::export([&document]).unwrap_or_default()
}

impl Editor {
    fn new(web: &Web, who: &allclear_ops::session::SignedIn, open: i64, id: Option<&str>, text: Option<String>) -> Option<Self> {
        let catalog = web.store.catalog();
        let found = match id {
            Some(id) => Some(catalog.get(Kind::Test, id)?),
            None => None,
        };
        let text = text.or_else(|| found.map(|found| written(found, &catalog))).unwrap_or_else(|| SAMPLE.to_owned());
        let heading = found.map_or_else(|| "A new test".to_owned(), |found| found.document.name());
        let environments = found.and_then(|found| found.document.as_test()).map_or_else(Vec::new, environments);
        Some(Self {
            shell: Shell::new(heading.clone(), "tests", who, open),
            heading,
            id: id.map(str::to_owned),
            source: found.and_then(|found| found.source.clone()),
            text,
            problems: vec![],
            problem: None,
            checked: false,
            environments,
            tried: None,
        })
    }
}

fn environments(test: &Test) -> Vec<String> {
    test.environments.keys().cloned().collect()
}

async fn show(web: &Web, who: &allclear_ops::session::SignedIn, id: Option<&str>) -> Response {
    let open = match open_incidents(web, who).await {
        Ok(open) => open,
        Err(error) => return failed(&error),
    };
    match Editor::new(web, who, open, id, None) {
        Some(view) => page::app(StatusCode::OK, &view),
        None => failed(&OpsError::NotFound { what: "test", id: id.unwrap_or_default().to_owned() }),
    }
}

/// `GET /new-test`
pub(crate) async fn show_new(State(web): State<Web>, Viewer(who): Viewer) -> Response {
    show(&web, &who, None).await
}

/// `GET /tests/{id}/edit`
pub(crate) async fn show_known(State(web): State<Web>, Viewer(who): Viewer, Path(id): Path<String>) -> Response {
    show(&web, &who, Some(&id)).await
}

/// `POST /new-test`
pub(crate) async fn act_new(State(web): State<Web>, Viewer(who): Viewer, Filled(sent): Filled<Sent>) -> Response {
    act(&web, &who, None, sent).await
}

/// `POST /tests/{id}/edit`
pub(crate) async fn act_known(State(web): State<Web>, Viewer(who): Viewer, Path(id): Path<String>, Filled(sent): Filled<Sent>) -> Response {
    act(&web, &who, Some(&id), sent).await
}

async fn act(web: &Web, who: &allclear_ops::session::SignedIn, id: Option<&str>, sent: Sent) -> Response {
    let open = match open_incidents(web, who).await {
        Ok(open) => open,
        Err(error) => return failed(&error),
    };
    let Some(mut view) = Editor::new(web, who, open, id, Some(sent.text.clone())) else {
        return failed(&OpsError::NotFound { what: "test", id: id.unwrap_or_default().to_owned() });
    };
    view.checked = true;
    // A text that is hard to read holds up nobody else.
    let (text, catalog) = (sent.text.clone(), web.store.catalog());
    let Ok(found) = web.runtime.unblock(move || read(&text, &catalog)).await else { return page::away() };
    let test = match found {
        Ok((test, warnings)) => {
            view.problems = warnings;
            view.environments = environments(&test);
            test
        }
        Err(problems) => {
            view.problems = problems;
            return page::app(StatusCode::UNPROCESSABLE_ENTITY, &view);
        }
    };
    match sent.act.as_str() {
        "try" => {
            let wanted = Some(sent.environment).filter(|name| test.environments.contains_key(name));
            let environment = wanted.or_else(|| view.environments.first().cloned()).unwrap_or_default();
            tracing::info!(person = who.name, test = test.name, environment, "a test is tried out");
            match web.runs.try_out(test, environment.clone()).await {
                Some(report) => {
                    view.tried = Some(Tried {
                        verdict: report.verdict.word(),
                        why: report.verdict.why(),
                        environment,
                        evidence: Evidence::of(&report),
                    });
                }
                None => view.problem = Some("Others try tests out just now. Try again in a moment.".to_owned()),
            }
            page::app(StatusCode::OK, &view)
        }
        "keep" => {
            let kept = resource::put_named(&web.store, &*web.rng, &who.actor(), id, Document::Test(Box::new(test))).await;
            match kept {
                Ok(kept) => Redirect::to(&format!("/tests/{}", kept.id)).into_response(),
                Err(OpsError::Invalid(problem)) => {
                    view.problem = Some(problem);
                    page::app(StatusCode::UNPROCESSABLE_ENTITY, &view)
                }
                Err(error) => failed(&error),
            }
        }
        _ => page::app(StatusCode::OK, &view),
    }
}

/// What the buttons of a test's page send.
#[derive(Deserialize)]
pub(crate) struct Pressed {
    act: String,
    #[serde(default)]
    environment: String,
    #[serde(default)]
    span: String,
}

/// `POST /tests/{id}`: asks for a run now.
pub(crate) async fn run_now(
    State(web): State<Web>,
    Viewer(who): Viewer,
    Path(id): Path<String>,
    Filled(sent): Filled<Pressed>,
) -> Response {
    if sent.act != "run" {
        return page::notice(StatusCode::UNPROCESSABLE_ENTITY, "Nothing was begun", "Go back and use one of the page's forms.");
    }
    let test = TestId::from(id.as_str());
    match by_hand::ask_for_run(&web.store, &who.actor(), &test, &sent.environment, &LocationName::from(by_hand::HERE)).await {
        Ok(asked) => Redirect::to(&format!("/tests/{id}?asked={}", asked.0)).into_response(),
        Err(error) => failed(&error),
    }
}

/// `POST /tests/{id}/pause`: lets it rest for a while, or go on. A test that files own is paused there.
pub(crate) async fn pause(State(web): State<Web>, Viewer(who): Viewer, Path(id): Path<String>, Filled(sent): Filled<Pressed>) -> Response {
    let until = match (sent.act.as_str(), sent.span.parse::<allclear_domain::Span>()) {
        ("pause", Ok(span)) => Some(web.store.now().plus(span)),
        ("go-on", _) => None,
        _ => return page::notice(StatusCode::UNPROCESSABLE_ENTITY, "Nothing was changed", "Go back and use one of the page's forms."),
    };
    let make = move |old: Option<&Document>, _: &Catalog| match old {
        Some(Document::Test(test)) => {
            let mut test = test.clone();
            test.paused_until = until;
            Ok(Document::Test(test))
        }
        _ => Err(OpsError::Invalid("only a test can be paused".into())),
    };
    match resource::put(&web.store, &*web.rng, &who.actor(), Kind::Test, Some(&id), make).await {
        Ok(_) => Redirect::to(&format!("/tests/{id}")).into_response(),
        Err(OpsError::Invalid(problem)) => page::notice(StatusCode::UNPROCESSABLE_ENTITY, "Nothing was changed", &problem),
        Err(error) => failed(&error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_new_test_begins_as_has_no_mistake() {
        let read = read(SAMPLE, &Catalog::default());
        let problems = match &read {
            Ok((_, problems)) | Err(problems) => problems.iter().map(|problem| problem.text.as_str()).collect::<String>(),
        };
        assert!(read.is_ok() && problems.is_empty(), "{problems}");
    }
}
