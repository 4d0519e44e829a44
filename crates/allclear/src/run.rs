//! `allclear run`: tests from files, without a server.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use allclear_api::console::report_text;
use allclear_base::runtime::{Switch, TokioSpawn};
use allclear_base::{OsRng, Runtime, SystemClock};
use allclear_domain::apitest::document::Test;
use allclear_domain::apitest::report::{RunReport, Verdict};
use allclear_domain::catalog::Document;
use allclear_egress::{Client, Guard, TcpConnect};
use allclear_probe::{Job, Runner};
use anyhow::{Context, anyhow, bail};
use serde_json::Value;

use crate::cli::RunArgs;
use crate::say::say;
use crate::{UNUSABLE, check, secrets};

pub(crate) fn run(args: &RunArgs) -> anyhow::Result<ExitCode> {
    let loaded = allclear_config::load(&args.paths, &|_, _| true);
    check::show(&loaded);
    if !loaded.is_usable() {
        return Ok(ExitCode::from(UNUSABLE));
    }
    let jobs = match jobs(args, loaded.into_documents()) {
        Ok(jobs) => jobs,
        Err(error) => {
            eprintln!("allclear: {error:#}");
            return Ok(ExitCode::from(UNUSABLE));
        }
    };
    let runtime = tokio::runtime::Runtime::new().context("no runtime")?;
    let reports = runtime.block_on(run_all(&jobs));
    for wish in &args.reports {
        write_report(wish, &reports)?;
    }
    let failed = reports.iter().filter(|report| report.verdict != Verdict::Passed).count();
    say(&format!("{} passed, {failed} failed\n", reports.len() - failed))?;
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn jobs(args: &RunArgs, documents: Vec<Document>) -> anyhow::Result<Vec<Job>> {
    let mut overrides = BTreeMap::new();
    for pair in &args.vars {
        let (name, value) = pair.split_once('=').ok_or_else(|| anyhow!("--var {pair}: write NAME=VALUE"))?;
        overrides.insert(name.to_owned(), Value::String(value.to_owned()));
    }
    for wish in &args.reports {
        report_kind(wish)?;
    }
    let mut jobs = Vec::new();
    for document in documents {
        let Document::Test(test) = document else { continue };
        let environment = environment_of(&test, args.env.as_deref())?;
        jobs.push(Job {
            test_id: "".into(),
            test: Arc::new(*test),
            environment,
            overrides: overrides.clone(),
            location: "local".into(),
            guard: Guard::with_private(),
            canaries: vec![],
            slot: None,
            attempt: 1,
            catalog_rev: 0,
        });
    }
    if jobs.is_empty() {
        bail!("there is no test in these files");
    }
    Ok(jobs)
}

fn environment_of(test: &Test, wanted: Option<&str>) -> anyhow::Result<String> {
    let known: Vec<&str> = test.environments.keys().map(String::as_str).collect();
    match (wanted, known.as_slice()) {
        (Some(wanted), _) if test.environments.contains_key(wanted) => Ok(wanted.to_owned()),
        (Some(wanted), _) => bail!("the test {:?} has no environment {wanted:?}; it has {}", test.name, known.join(", ")),
        (None, [only]) => Ok((*only).to_owned()),
        (None, _) => bail!("the test {:?} has several environments; choose with --env: {}", test.name, known.join(", ")),
    }
}

async fn run_all(jobs: &[Job]) -> Vec<RunReport> {
    let clock = Arc::new(SystemClock::start());
    let runtime = Runtime { clock: Arc::clone(&clock) as _, rng: Arc::new(OsRng), spawner: Arc::new(TokioSpawn) };
    let client = Client::new(Arc::new(TcpConnect::new(Arc::clone(&clock) as _)), clock as _);
    let runner = Runner::new(client, runtime.clone(), Arc::new(secrets::from_environment()), None);
    let stop = Switch::default();
    let interrupted = stop.clone();
    runtime.spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            eprintln!("interrupted; cleaning up");
            interrupted.turn();
        }
    });
    let mut reports = Vec::new();
    for (n, job) in jobs.iter().enumerate() {
        if stop.is_turned() {
            break;
        }
        eprint!("[{}/{}] {} in {} … ", n + 1, jobs.len(), job.test.name, job.environment);
        let report = runner.run_until(job, &stop).await;
        let took = report.finished_at.since(report.started_at);
        eprintln!("{} in {} ms", report.verdict.word(), took.as_millis());
        let mut text = String::new();
        report_text(&mut text, &report);
        if let Some(why) = report.verdict.why().filter(|_| report.steps.iter().all(|step| step.passed)) {
            // Writing to a String cannot fail.
            let _written = writeln!(text, "  {why}");
        }
        if let Err(error) = say(&text) {
            eprintln!("allclear: {error}");
        }
        reports.push(report);
    }
    reports
}

fn report_kind(wish: &str) -> anyhow::Result<(&str, &Path)> {
    match wish.split_once('=') {
        Some((kind @ ("junit" | "json"), file)) if !file.is_empty() => Ok((kind, Path::new(file))),
        _ => bail!("--report {wish}: write junit=FILE or json=FILE"),
    }
}

fn write_report(wish: &str, reports: &[RunReport]) -> anyhow::Result<()> {
    let (kind, file) = report_kind(wish)?;
    let text = if kind == "json" { serde_json::to_string_pretty(reports)? } else { junit(reports) };
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

fn junit(reports: &[RunReport]) -> String {
    let seconds = |report: &RunReport| {
        let us = report.finished_at.since(report.started_at).as_micros();
        format!("{}.{:06}", us / 1_000_000, us % 1_000_000)
    };
    let failed = reports.iter().filter(|report| report.verdict != Verdict::Passed).count();
    let mut xml = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites tests=\"{}\" failures=\"{failed}\">\n", reports.len());
    xml.push_str("  <testsuite name=\"allclear\">\n");
    for report in reports {
        let head = format!(
            "    <testcase name=\"{}\" classname=\"{}\" time=\"{}\"",
            escape(&report.test_name),
            escape(&report.environment),
            seconds(report)
        );
        let line = match report.verdict.why() {
            None => format!("{head}/>\n"),
            Some(why) => {
                let mut detail = String::new();
                report_text(&mut detail, report);
                format!("{head}>\n      <failure message=\"{}\">{}</failure>\n    </testcase>\n", escape(&why), escape(&detail))
            }
        };
        // Writing to a String cannot fail.
        let _written = xml.write_str(&line);
    }
    xml.push_str("  </testsuite>\n</testsuites>\n");
    xml
}

/// XML's five, and no character that XML cannot hold.
fn escape(text: &str) -> String {
    let allowed = text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t'));
    allowed.fold(String::new(), |mut out, c| {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            other => out.push(other),
        }
        out
    })
}
