//! What the host itself has to be like for a change: user namespaces, room on the disks, and no program of the
//! host's own that writes into containers' files. Looked at before anything stops.

use crate::{
    layout,
    paths::STATE,
    step::Direction::{self, ToRemapped},
};
use anyhow::{Context, Result};
use host::{
    files,
    process::{self, Writer},
};
use rustix::fs::{StatVfsMountFlags, statvfs};
use std::path::{Path, PathBuf};

/// The limit of sysctl user.max_user_namespaces (namespaces(7)).
const LIMIT: &str = "/proc/sys/user/max_user_namespaces";

/// Bytes that the journal, and each configuration written anew beside the old one, may need.
const NEEDED: u64 = 16 << 20;

/// The host as it is.
#[derive(Debug, Clone, Default)]
pub struct Conditions {
    /// How many user namespaces the kernel allows; `None` where it has none.
    pub user_namespaces: Option<u64>,
    /// The directories that are written to, and the state of their file systems.
    pub disks: Vec<(PathBuf, Disk)>,
    /// Programs outside of containers that write into containers' files.
    pub writers: Vec<Writer>,
}

/// A file system.
#[derive(Debug, Clone, Copy)]
pub struct Disk {
    pub read_only: bool,
    /// What root may still write.
    pub free_bytes: u64,
}

pub fn observe(data_root: &Path) -> Result<Conditions> {
    let limit = files::read_text_optional(LIMIT.as_ref())?;
    Ok(Conditions {
        user_namespaces: limit.and_then(|text| text.trim().parse().ok()),
        disks: [data_root, nearest(STATE.as_ref())]
            .into_iter()
            .map(|path| Ok((path.to_owned(), disk(path)?)))
            .collect::<Result<_>>()?,
        writers: writers(data_root)?,
    })
}

/// Programs outside of containers that have a file of a layer or a volume open for writing.
pub fn writers(data_root: &Path) -> Result<Vec<Writer>> {
    process::writers(|path| layout::belongs_to_containers(data_root, path))
}

/// The path itself, or the first directory above that is there.
fn nearest(path: &Path) -> &Path {
    path.ancestors().find(|path| path.exists()).unwrap_or(path)
}

fn disk(path: &Path) -> Result<Disk> {
    let stat = statvfs(path).with_context(|| path.display().to_string())?;
    Ok(Disk {
        read_only: stat.f_flag.contains(StatVfsMountFlags::RDONLY),
        free_bytes: stat.f_bfree * stat.f_frsize,
    })
}

impl Conditions {
    /// What stands in the way of any change.
    pub fn refusals(&self, direction: Direction) -> Vec<String> {
        let mut found = vec![];
        match self.user_namespaces {
            _ if direction != ToRemapped => {}
            None => found.push("this kernel has no user namespaces (CONFIG_USER_NS)".to_owned()),
            Some(0) => found.push(
                "this kernel allows no user namespaces (user.max_user_namespaces=0), so no container could \
                 start; raise that with sysctl, and where it is set for the next boot"
                    .to_owned(),
            ),
            Some(_) => {}
        }
        for (path, disk) in &self.disks {
            let path = path.display();
            if disk.read_only {
                found.push(format!(
                    "the file system of {path} is mounted read-only; find out why (an error of the disk?) and \
                     mount it writable"
                ));
            } else if disk.free_bytes < NEEDED {
                found.push(format!(
                    "the file system of {path} has {} KiB left; make room for {} KiB, which the journal and the \
                     containers' configurations need",
                    disk.free_bytes >> 10,
                    NEEDED >> 10
                ));
            }
        }
        found
    }

    /// What stands in the way of translating owners.
    pub fn of_shift(&self) -> Vec<String> {
        self.writers.iter().map(open_file).collect()
    }
}

pub fn open_file(writer: &Writer) -> String {
    format!(
        "process {} of the host ({}) has {} open for writing, and would go on writing what containers then \
         cannot read; stop it first",
        writer.pid,
        writer.command,
        writer.path.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::Direction::ToPlain;

    fn good() -> Conditions {
        let disk = Disk {
            read_only: false,
            free_bytes: NEEDED,
        };
        Conditions {
            user_namespaces: Some(100),
            disks: vec![("/r".into(), disk)],
            writers: vec![],
        }
    }

    fn assert_refused(found: &[String], words: &[&str]) {
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            words.iter().all(|word| found[0].contains(word)),
            "{found:?}"
        );
    }

    #[test]
    fn a_host_as_it_should_be_is_not_refused() {
        assert!(good().refusals(ToRemapped).is_empty());
        assert!(good().of_shift().is_empty());
    }

    #[test]
    fn a_kernel_without_user_namespaces_is_refused_but_for_the_way_back() {
        for (limit, words) in [
            (Some(0), "user.max_user_namespaces=0"),
            (None, "CONFIG_USER_NS"),
        ] {
            let host = Conditions {
                user_namespaces: limit,
                ..good()
            };
            assert_refused(&host.refusals(ToRemapped), &[words]);
            assert!(host.refusals(ToPlain).is_empty());
        }
    }

    #[test]
    fn a_disk_that_is_read_only_or_full_is_refused_by_path() {
        let with = |read_only, free_bytes| Conditions {
            disks: vec![(
                "/r".into(),
                Disk {
                    read_only,
                    free_bytes,
                },
            )],
            ..good()
        };
        assert_refused(&with(true, NEEDED).refusals(ToPlain), &["/r", "read-only"]);
        assert_refused(
            &with(false, NEEDED - 1).refusals(ToPlain),
            &["/r", "16383 KiB left", "16384 KiB"],
        );
    }

    #[test]
    fn a_program_that_writes_is_refused_by_pid_and_command() {
        let host = Conditions {
            writers: vec![Writer {
                pid: 7,
                command: "tee -a x".to_owned(),
                path: "/r/volumes/v/_data/x".into(),
            }],
            ..good()
        };
        assert_refused(
            &host.of_shift(),
            &["process 7", "tee -a x", "/r/volumes/v/_data/x"],
        );
    }
}
