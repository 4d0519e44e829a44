//! Programs of the system, installed where they are missing.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, bail};

/// Whether this is the superuser.
pub(crate) fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|output| output.stdout.starts_with(b"0\n"))
}

/// Where a program is, by the search path.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// Installs `package` where `program` is missing.
pub(crate) fn ensure(program: &str, package: &str) -> anyhow::Result<()> {
    if find(program).is_some() {
        return Ok(());
    }
    install(package)?;
    if find(program).is_none() {
        bail!("{package} is installed, but {program} is not on the search path");
    }
    Ok(())
}

/// Installs a Debian package.
pub(crate) fn install(package: &str) -> anyhow::Result<()> {
    if find("apt-get").is_none() {
        bail!("{package} is missing; install it with this system's package manager");
    }
    println!("installing {package} with apt-get");
    let apt = |args: &[&str]| -> anyhow::Result<bool> {
        let root = is_root();
        let mut command = if root { Command::new("apt-get") } else { Command::new("sudo") };
        if !root {
            command.arg("apt-get");
        }
        Ok(command.args(args).env("DEBIAN_FRONTEND", "noninteractive").status().context("cannot run apt-get")?.success())
    };
    let installed = apt(&["install", "-y", "--no-install-recommends", package])?
        || (apt(&["update"])? && apt(&["install", "-y", "--no-install-recommends", package])?);
    if !installed {
        bail!("apt-get could not install {package}");
    }
    Ok(())
}
