//! A Python with PagerDuty's own client, and the text of axe (which judges pages), in an environment of its own.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, bail};

use crate::packages;

/// What comes from PyPI, as it was when the tests were last looked at. Of the second only a file is used, so that what it
/// would need to run is left out.
const CLIENT: &str = "pagerduty==7.2.0";
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
    println!("installing {CLIENT} and {AXE} from PyPI into {}", folder.display());
    let make = || Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder).status().context("cannot run python3");
    if !make()?.success() {
        packages::install("python3-venv")?;
        if !make()?.success() {
            bail!("python3 cannot make an environment in {}", folder.display());
        }
    }
    for what in [&[CLIENT][..], &["--no-deps", AXE]] {
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
        if !Command::new(&program).args(pip).args(what).status()?.success() {
            bail!("{what:?} cannot be installed");
        }
    }
    let axe = look(&program).with_context(|| format!("{CLIENT} and {AXE} were installed and are not there"))?;
    Ok(Python { program, axe })
}

/// Where axe lies, if everything is there.
fn look(program: &PathBuf) -> Option<PathBuf> {
    const WHERE: &str = "import pagerduty, importlib.util as u; print(u.find_spec('axe_playwright_python').submodule_search_locations[0])";
    let output = Command::new(program).args(["-c", WHERE]).output().ok().filter(|output| output.status.success())?;
    let axe = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim()).join("axe.min.js");
    axe.is_file().then_some(axe)
}
