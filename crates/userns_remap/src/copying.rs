//! Whether the data root can be copied beside itself: what that takes, and what a copy would not carry.

use crate::{
    args::{Args, CarryOver, State},
    kept, layout,
    observed::{Observed, Space},
};
use anyhow::{Context, Result};
use host::command::run;
use rustix::fs::{Mode, OFlags};
use std::{fs::File, io::Write, path::Path, time::Duration};

/// What a file of its own costs where its content is shared: an inode, a name, the list of its extents. An estimate on
/// the safe side for XFS (inodes of 512 bytes) and btrfs (which copies what is small enough to lie in its trees).
const BYTES_A_REFLINK: u64 = 4096;

impl Space {
    /// What has to be free.
    pub fn needed(&self) -> u64 {
        if self.reflinks {
            self.entries * BYTES_A_REFLINK
        } else {
            self.bytes
        }
    }
}

/// Measured only where a copy is going to be made.
pub fn space(args: &Args, data_root: &Path, is_remapped: bool) -> Result<Option<Space>> {
    if (args.state, args.carry_over, is_remapped) != (State::Enabled, CarryOver::Copy, false) {
        return Ok(None);
    }
    measure(data_root).map(Some)
}

/// What a copy of a plain root would take.
pub fn measure(data_root: &Path) -> Result<Space> {
    let stat = rustix::fs::statvfs(data_root).with_context(|| data_root.display().to_string())?;
    let version = run(["cp", "--version"]).finish()?;
    Ok(Space {
        bytes: disk_usage(data_root, "--block-size=1")?,
        entries: disk_usage(data_root, "--inodes")?,
        free_bytes: stat.f_bavail * stat.f_frsize,
        free_entries: (stat.f_files > 0).then_some(stat.f_favail),
        reflinks: can_reflink(data_root),
        has_gnu_cp: version.stdout.contains("GNU coreutils"),
    })
}

fn disk_usage(data_root: &Path, unit: &str) -> Result<u64> {
    let names = layout::carried(data_root)?;
    // Running containers' overlays are mounted inside.
    let words = [
        "du",
        "--summarize",
        "--total",
        "--one-file-system",
        unit,
        "--",
    ];
    let words = words.into_iter().map(str::to_owned).chain(names);
    let du = run(words).directory(data_root).timeout(Duration::MAX);
    // What goes away while it counts makes it fail, but not stop.
    let found = du.finish()?;
    let total = found
        .stdout
        .lines()
        .last()
        .and_then(|line| line.split('\t').next()?.parse().ok());
    total.with_context(|| {
        format!(
            "du does not tell the size of {}: {}",
            data_root.display(),
            found.stderr
        )
    })
}

/// Tried with two files that have no name, so that nothing is left of it.
fn can_reflink(directory: &Path) -> bool {
    let unnamed = || rustix::fs::open(directory, OFlags::TMPFILE | OFlags::RDWR, Mode::RUSR);
    let (Ok(from), Ok(to)) = (unnamed(), unnamed()) else {
        return false;
    };
    // So much that btrfs does not keep it in its trees.
    let mut from = File::from(from);
    from.write_all(&[1; 1 << 16]).is_ok() && rustix::fs::ioctl_ficlone(to, from).is_ok()
}

/// What stands in the way of a copy.
pub fn refusals(observed: &Observed) -> Vec<String> {
    let mut found = vec![];
    let root = observed.data_root.display();
    if let Some(space) = &observed.copy {
        if !space.has_gnu_cp {
            found.push("carry_over=copy needs the cp of GNU coreutils; use in_place".to_owned());
        }
        let how = if space.reflinks {
            format!("files share their blocks there, so this is {BYTES_A_REFLINK} bytes an entry")
        } else {
            "files cannot share their blocks there".to_owned()
        };
        if space.needed() > space.free_bytes {
            found.push(format!(
                "a copy of {root} takes {} MiB, and its file system has {} MiB free ({how}); make room, or use \
                 carry_over=in_place, which takes none",
                space.needed().div_ceil(1 << 20),
                space.free_bytes >> 20
            ));
        }
        if let Some(free) = space.free_entries.filter(|free| space.entries > *free) {
            found.push(format!(
                "a copy of {root} takes {} inodes, and its file system has {free} free; use carry_over=in_place, which \
                 takes none",
                space.entries
            ));
        }
    }
    found.extend(kept::left_aside(observed));
    found.extend(size_limits(observed));
    found
}

/// Project quotas are the file system's, and would be lost.
fn size_limits(observed: &Observed) -> Vec<String> {
    let sized = observed.containers.iter().filter(|container| {
        let options = container.host_config.storage_opt.as_ref();
        options.is_some_and(|options| options.contains_key("size"))
    });
    let of_containers = sized.map(|container| format!("container {}", container.name()));
    let words = observed.config.iter().chain(&observed.flags);
    let of_all = words
        .filter(|text| text.contains("overlay2.size"))
        .map(|_| "the engine".to_owned());
    let limited = of_containers.chain(of_all);
    limited
        .map(|whose| {
            format!("{whose} limits the size of layers, which a copy does not carry; use in_place")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{container, entry, plain};
    use serde_json::json;

    const SPACE: Space = Space {
        bytes: 9 << 20,
        entries: 100,
        free_bytes: 9 << 20,
        free_entries: Some(100),
        reflinks: false,
        has_gnu_cp: true,
    };

    fn with(space: Space) -> Vec<String> {
        refusals(&Observed {
            copy: Some(space),
            ..plain()
        })
    }

    #[test]
    fn a_copy_that_does_not_fit_is_refused_with_numbers() {
        assert_eq!(with(SPACE), Vec::<String>::new());
        let said = with(Space {
            bytes: (9 << 20) + 1,
            ..SPACE
        });
        assert!(
            said[0].contains("takes 10 MiB") && said[0].contains("has 9 MiB free"),
            "{said:?}"
        );
        let said = with(Space {
            entries: 101,
            ..SPACE
        });
        assert!(
            said[0].contains("101 inodes") && said[0].contains("100 free"),
            "{said:?}"
        );
        assert!(
            with(Space {
                free_entries: None,
                entries: 101,
                ..SPACE
            })
            .is_empty()
        );
    }

    #[test]
    fn shared_blocks_take_only_what_their_names_do() {
        let space = Space {
            bytes: 1 << 40,
            reflinks: true,
            ..SPACE
        };
        assert_eq!(with(space), Vec::<String>::new());
        let said = with(Space {
            free_bytes: 4096 * 100 - 1,
            ..space
        });
        assert!(said[0].contains("4096 bytes an entry"), "{said:?}");
    }

    #[test]
    fn what_a_copy_would_lose_is_refused() {
        assert!(
            with(Space {
                has_gnu_cp: false,
                ..SPACE
            })[0]
                .contains("GNU")
        );
        let mut observed = plain();
        observed.containers = vec![container("web", |c| {
            c["HostConfig"]["StorageOpt"] = json!({"size": "1G"})
        })];
        assert!(refusals(&observed)[0].contains("container web limits"));
        let mut observed = plain();
        observed.config = Some("{\"storage-opts\": [\"overlay2.size=1G\"]}".to_owned());
        assert!(refusals(&observed)[0].contains("the engine limits"));
        let mut observed = plain();
        observed.root.push(entry(crate::layout::ASIDE));
        assert!(refusals(&observed)[0].contains("bulkhead-aside"));
    }

    /// A file system of its own kind, mounted as long as this lives.
    struct Mounted(tempfile::TempDir);

    impl Mounted {
        fn new(kind: &str) -> Mounted {
            let scratch = tempfile::tempdir_in("/var/tmp").unwrap();
            let image = scratch.path().join("image");
            File::create(&image).unwrap().set_len(1 << 30).unwrap();
            let mounted = Mounted(scratch);
            std::fs::create_dir(mounted.point()).unwrap();
            let words = |words: [&str; 2], path: &Path| {
                let words = words.map(std::ffi::OsString::from);
                words.into_iter().chain([path.into()])
            };
            run(words([&format!("mkfs.{kind}"), "-q"], &image))
                .stdout()
                .unwrap();
            let mount = words(["mount", "-oloop"], &image).chain([mounted.point().into()]);
            run(mount).stdout().unwrap();
            mounted
        }

        fn point(&self) -> std::path::PathBuf {
            self.0.path().join("point")
        }
    }

    impl Drop for Mounted {
        fn drop(&mut self) {
            let _ = run(["umount".as_ref(), self.point().as_os_str()]).stdout();
        }
    }

    #[test]
    fn whether_blocks_can_be_shared_is_tried_and_leaves_no_trace() {
        for (kind, shares) in [("ext4", false), ("xfs", true), ("btrfs", true)] {
            let mounted = Mounted::new(kind);
            let before = layout::names(&mounted.point()).unwrap();
            assert_eq!(can_reflink(&mounted.point()), shares, "{kind}");
            assert_eq!(layout::names(&mounted.point()).unwrap(), before);
        }
    }

    #[test]
    fn what_is_measured_is_what_is_carried() {
        let root = tempfile::tempdir_in("/var/tmp").unwrap();
        for (path, bytes) in [("image/a", 100_000), ("165536.165536/overlay2", 900_000)] {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, vec![1; bytes]).unwrap();
        }
        let wish = Args {
            carry_over: CarryOver::Copy,
            ..crate::samples::args(State::Enabled)
        };
        assert_eq!(space(&wish, root.path(), true).unwrap(), None);
        let space = space(&wish, root.path(), false).unwrap().unwrap();
        assert!(
            (100_000..200_000).contains(&space.bytes) && space.entries == 2,
            "{space:?}"
        );
        assert!(space.has_gnu_cp && space.free_bytes > 0);
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 2);
    }
}
