//! A Python with the providers' own libraries, which judge what AllClear accepts and sends, and the text
//! of axe (which judges pages), in an environment of its own.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, bail};

use crate::packages;

/// What comes from PyPI, as it was when the tests were last looked at.
const CLIENTS: &[&str] =
    &["pagerduty==7.2.0", "twilio==9.13.0", "slack_sdk==3.48.0", "standardwebhooks==1.1.0", "aiosmtpd==1.4.6", "trustme==1.2.1"];

/// Only a file of it is used, so that what it would need to run is left out.
const AXE: &str = "axe-playwright-python==0.1.8";

/// What the tests use of it.
pub(crate) struct Python {
    /// The interpreter.
    pub(crate) program: PathBuf,
    /// `axe.min.js`.
    pub(crate) axe: PathBuf,
}

/// That environment, which is made below the target folder on first use.
pub(crate) fn with_clients() -> anyhow::Result<Python> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    let folder = std::path::absolute(target.join("python-clients"))?;
    let program = folder.join("bin/python");
    if let Some(axe) = look(&program) {
        return Ok(Python { program, axe });
    }
    packages::ensure("python3", "python3")?;
    println!("installing {} and {AXE} from PyPI into {}", CLIENTS.join(", "), folder.display());
    let make = || Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder).status().context("cannot run python3");
    if !make()?.success() {
        packages::install("python3-venv")?;
        if !make()?.success() {
            bail!("python3 cannot make an environment in {}", folder.display());
        }
    }
    for what in [CLIENTS, &["--no-deps", AXE]] {
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
        if !Command::new(&program).args(pip).args(what).status()?.success() {
            bail!("{what:?} cannot be installed");
        }
    }
    let axe = look(&program).with_context(|| format!("{CLIENTS:?} and {AXE} were installed and are not there"))?;
    Ok(Python { program, axe })
}

/// Where axe lies, if everything is there.
fn look(program: &PathBuf) -> Option<PathBuf> {
    const WHERE: &str = "import pagerduty, twilio, slack_sdk, standardwebhooks, aiosmtpd, trustme, importlib.util as u; print(u.find_spec('axe_playwright_python').submodule_search_locations[0])";
    let output = Command::new(program).args(["-c", WHERE]).output().ok().filter(|output| output.status.success())?;
    let axe = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim()).join("axe.min.js");
    axe.is_file().then_some(axe)
}
