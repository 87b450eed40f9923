//! User namespaces made for their id maps alone, as an idmapped mount needs one.

use anyhow::{Context, Result, ensure};
use idmap::{IdMap, IdMaps};
use nix::sched::{CloneFlags, unshare};
use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{self, Read, Write},
    os::fd::OwnedFd,
    process::{Child, Command, Stdio},
};

/// With this as its first argument an executable that calls [`with_maps`] has to call [`hold`].
pub const HOLD: &str = "hold-user-namespace";

/// Most extents of a map, and most bytes of its text, that user_namespaces(7) allows.
const MAX_EXTENTS: usize = 340;
const MAX_BYTES: usize = 4095;

/// A descriptor of a new user namespace with these maps. A process can only leave its namespace while it has
/// a single thread, so this executable is started once more for it, and ended.
///
/// # Errors
/// When the kernel refuses a namespace or the maps.
pub fn with_maps(maps: &IdMaps) -> Result<OwnedFd> {
    let texts = [
        ("uid_map", lines(&maps.uid)?),
        ("gid_map", lines(&maps.gid)?),
    ];
    let mut holder = Command::new("/proc/self/exe")
        .arg(HOLD)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start a process for a user namespace")?;
    let namespace = fill(&mut holder, &texts);
    // Closes its standard input, at which it ends.
    let ended = holder.wait_with_output()?;
    ensure!(
        ended.status.success(),
        "cannot make a user namespace: {}",
        String::from_utf8_lossy(&ended.stderr).trim()
    );
    namespace
}

fn fill(holder: &mut Child, texts: &[(&str, String)]) -> Result<OwnedFd> {
    let stdout = holder.stdout.as_mut().context("no pipe")?;
    stdout
        .read_exact(&mut [0])
        .context("the process of a user namespace ended")?;
    let process = format!("/proc/{}", holder.id());
    for (name, text) in texts {
        let path = format!("{process}/{name}");
        fs::write(&path, text)
            .with_context(|| format!("the kernel refuses the {name} {text:?}"))?;
    }
    Ok(File::open(format!("{process}/ns/user"))?.into())
}

/// What the process that [`with_maps`] starts does: enters a new user namespace, says so, and waits for the
/// end of its standard input.
///
/// # Errors
/// When the kernel refuses.
pub fn hold() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWUSER)
        .context("unshare (is user.max_user_namespaces large enough?)")?;
    let mut stdout = io::stdout();
    stdout.write_all(b"\n")?;
    stdout.flush()?;
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(())
}

/// The maps of the user namespace that a process is in, in the ids of our own.
///
/// # Errors
/// When the process is gone, or what /proc says is no map.
pub fn maps_of(pid: u32) -> Result<IdMaps> {
    let read = |name: &str| {
        let path = format!("/proc/{pid}/{name}");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        parse(&text).with_context(|| format!("{path} is no map: {text:?}"))
    };
    Ok(IdMaps {
        uid: read("uid_map")?,
        gid: read("gid_map")?,
    })
}

fn parse(text: &str) -> Result<IdMap> {
    let extents = text.lines().map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        Ok(fields.join(":").parse()?)
    });
    Ok(IdMap::new(extents.collect::<Result<_>>()?)?)
}

/// The text of a map file: `inside outside size`, an extent a line.
fn lines(map: &IdMap) -> Result<String> {
    let mut text = String::new();
    for extent in map.extents() {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{} {} {}", extent.container, extent.host, extent.size);
    }
    ensure!(
        map.extents().len() <= MAX_EXTENTS && text.len() <= MAX_BYTES,
        "the map has {} extents in {} bytes; the kernel takes {MAX_EXTENTS} in {MAX_BYTES}",
        map.extents().len(),
        text.len()
    );
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_is_read_as_the_kernel_writes_it() {
        let whole = parse("         0          0 4294967295\n").unwrap();
        assert_eq!(whole, IdMap::identity());
        let two = parse("0 100000 10\n        10 300000 65536\n").unwrap();
        assert_eq!(
            (two.to_host(9), two.to_host(10)),
            (Some(100_009), Some(300_000))
        );
        assert!(parse("0 1\n").is_err());
    }

    #[test]
    fn a_map_is_written_as_the_kernel_reads_it_and_refused_where_it_is_too_long() {
        let map = |extents: u32| {
            let extents = (0..extents).map(|n| format!("{}:{}:1", 10 * n, 1_000_000 + 20 * n));
            IdMaps::parse(&extents.collect::<Vec<_>>()).unwrap().uid
        };
        assert_eq!(lines(&map(2)).unwrap(), "0 1000000 1\n10 1000020 1\n");
        assert!(lines(&map(250)).is_ok());
        for too_long in [300, 341] {
            assert!(lines(&map(too_long)).is_err());
        }
    }
}
