//! Disk images, through `qemu-img`.

use crate::command;
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::{path::Path, time::Duration};

/// One file of a chain, as `qemu-img info --output=json` tells.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Image {
    /// The file.
    pub filename: String,
    /// `qcow2`, `raw`…
    pub format: String,
    /// What the machine sees, in bytes.
    pub virtual_size: u64,
    /// What it takes on the disk, in bytes; block devices tell nothing.
    #[serde(default)]
    pub actual_size: u64,
    /// The file below, from the root directory on.
    pub full_backing_filename: Option<String>,
    /// What the file below is.
    pub backing_filename_format: Option<String>,
    /// The snapshots within.
    #[serde(default)]
    pub snapshots: Vec<Internal>,
}

/// A snapshot within an image.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Internal {
    /// Its name, which libvirt takes from its own.
    pub name: String,
    /// The RAM it holds, in bytes.
    #[serde(default)]
    pub vm_state_size: u64,
}

/// The chain of images below `file`, itself first. Nothing is locked: a machine may have it open.
///
/// # Errors
/// When a file of it is missing or is no image, with what qemu-img said.
pub fn chain(file: &str, format: &str, timeout: Duration) -> Result<Vec<Image>> {
    let words = [
        "info",
        "-U",
        "--backing-chain",
        "--output=json",
        "-f",
        format,
        file,
    ];
    let told = qemu_img(&words, timeout)?;
    serde_json::from_str(&told).with_context(|| format!("what qemu-img tells of {file}"))
}

/// Checks an image's own structure; of formats that have none (raw), that it can be read.
///
/// # Errors
/// When it is damaged, with what qemu-img said. Space that is merely lost is no damage.
pub fn check(file: &str, format: &str, timeout: Duration) -> Result<()> {
    let words = ["qemu-img", "check", "-q", "-U", "-f", format, file];
    let done = command::run(words).timeout(timeout).finish()?;
    match done.status.code() {
        // 3: clusters that nobody uses; 63: the format knows no check.
        Some(0 | 3 | 63) => Ok(()),
        _ => bail!("{file} is damaged: {}{}", done.stdout, done.stderr),
    }
}

/// Whether a qcow2 image that nobody has open holds data of its own, apart from the image below it.
///
/// # Errors
/// When it cannot be read.
pub fn holds_data(file: &str, timeout: Duration) -> Result<bool> {
    #[derive(Deserialize)]
    #[serde(rename_all = "kebab-case")]
    struct Check {
        #[serde(default)]
        allocated_clusters: u64,
    }
    let words = ["qemu-img", "check", "--output=json", "-f", "qcow2", file];
    // After a power cut its status tells of lost clusters.
    let told = command::run(words).timeout(timeout).finish()?;
    let check: Check = serde_json::from_str(&told.stdout)
        .with_context(|| format!("what qemu-img tells of {file}: {}", told.stderr))?;
    Ok(check.allocated_clusters > 0)
}

/// Makes an empty qcow2 image on top of `below`.
///
/// # Errors
/// When it is there already, or cannot be made.
pub fn create_overlay(file: &str, below: &str, format: &str, timeout: Duration) -> Result<()> {
    if Path::new(file).exists() {
        bail!("{file} is there already");
    }
    qemu_img(
        &[
            "create", "-q", "-f", "qcow2", "-b", below, "-F", format, file,
        ],
        timeout,
    )
    .map(drop)
}

/// Writes what `file` holds into the image below it, and leaves `file` as it is. Repeatable.
///
/// # Errors
/// When a machine has it open, or the file below cannot take it.
pub fn commit(file: &str, timeout: Duration) -> Result<()> {
    qemu_img(&["commit", "-q", "-d", "-f", "qcow2", file], timeout).map(drop)
}

/// Names another file as the one below, whose content has to be the same.
///
/// # Errors
/// When a machine has it open, or it cannot be written.
pub fn name_below(file: &str, below: &str, format: &str, timeout: Duration) -> Result<()> {
    qemu_img(
        &[
            "rebase", "-q", "-u", "-f", "qcow2", "-b", below, "-F", format, file,
        ],
        timeout,
    )
    .map(drop)
}

fn qemu_img(words: &[&str], timeout: Duration) -> Result<String> {
    let argv = ["qemu-img"].iter().chain(words);
    command::run(argv).timeout(timeout).stdout()
}
