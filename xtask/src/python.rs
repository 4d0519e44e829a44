//! A Python with PagerDuty's own client, in an environment of its own.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, bail};

use crate::packages;

/// The client as it was when the tests were last looked at.
const CLIENT: &str = "pagerduty==7.2.0";

/// The Python of that environment, which is made below the target folder on first use.
pub(crate) fn with_pagerduty() -> anyhow::Result<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    let folder = std::path::absolute(target.join("pagerduty-client"))?;
    let python = folder.join("bin/python");
    let has_client = || Command::new(&python).args(["-c", "import pagerduty"]).output().is_ok_and(|output| output.status.success());
    if has_client() {
        return Ok(python);
    }
    packages::ensure("python3", "python3")?;
    println!("installing {CLIENT} from PyPI into {}", folder.display());
    let make = || Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder).status().context("cannot run python3");
    if !make()?.success() {
        packages::install("python3-venv")?;
        if !make()?.success() {
            bail!("python3 cannot make an environment in {}", folder.display());
        }
    }
    let installed = Command::new(&python).args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", CLIENT]).status()?;
    if !installed.success() || !has_client() {
        bail!("{CLIENT} cannot be installed");
    }
    Ok(python)
}
