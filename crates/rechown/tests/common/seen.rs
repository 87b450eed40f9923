//! A tree as the kernel shows it, read by nothing of the crate under test.

use rustix::fs::{IFlags, ioctl_getflags, lgetxattr};
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// Everything in a tree, by path.
pub type State = BTreeMap<PathBuf, File>;

#[derive(Debug, Clone, PartialEq)]
pub struct File {
    pub inode: u64,
    pub links: u64,
    pub uid: u32,
    pub gid: u32,
    /// Kind and permissions.
    pub mode: u32,
    device: u64,
    /// For access and by default, those that there are.
    pub acls: Vec<Vec<AclEntry>>,
    pub capability: Option<Capability>,
    /// Immutable or append-only.
    pub fixed: bool,
    flags: IFlags,
}

#[derive(Debug, Clone, PartialEq)]
pub struct AclEntry {
    pub tag: u16,
    permissions: u16,
    pub id: u32,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Capability {
    sets: Vec<u8>,
    /// Of revision 3.
    pub root: Option<u32>,
}

pub fn state(root: &Path) -> State {
    let mut state = State::new();
    read(root, &mut state);
    state
}

fn read(path: &Path, state: &mut State) {
    let file = File::read(path);
    if file.is_directory() {
        for entry in fs::read_dir(path).unwrap() {
            read(&entry.unwrap().path(), state);
        }
    }
    state.insert(path.to_owned(), file);
}

impl File {
    fn read(path: &Path) -> Self {
        let meta = fs::symlink_metadata(path).unwrap();
        let attribute = |name| {
            let mut value = vec![0; 4096];
            let length = lgetxattr(path, name, &mut value[..]).ok()?;
            value.truncate(length);
            Some(value)
        };
        let acls = ["system.posix_acl_access", "system.posix_acl_default"];
        let flags = match meta.is_file() || meta.is_dir() {
            true => ioctl_getflags(fs::File::open(path).unwrap()).unwrap(),
            false => IFlags::empty(),
        };
        Self {
            inode: meta.ino(),
            links: meta.nlink(),
            uid: meta.uid(),
            gid: meta.gid(),
            mode: meta.mode(),
            device: meta.rdev(),
            acls: (acls.into_iter().filter_map(attribute))
                .map(|list| acl(&list))
                .collect(),
            capability: attribute("security.capability").map(|value| capability(&value)),
            fixed: flags.intersects(IFlags::IMMUTABLE | IFlags::APPEND),
            flags,
        }
    }

    pub fn is_directory(&self) -> bool {
        self.mode & 0o170_000 == 0o040_000
    }
}

fn acl(list: &[u8]) -> Vec<AclEntry> {
    let (entries, rest) = list[4..].as_chunks::<8>();
    assert!(list[..4] == [2, 0, 0, 0] && rest.is_empty());
    let entry = |&[t0, t1, p0, p1, id @ ..]: &[u8; 8]| AclEntry {
        tag: u16::from_le_bytes([t0, t1]),
        permissions: u16::from_le_bytes([p0, p1]),
        id: u32::from_le_bytes(id),
    };
    entries.iter().map(entry).collect()
}

fn capability(value: &[u8]) -> Capability {
    let (sets, root) = value.split_at(20);
    Capability {
        sets: sets.to_owned(),
        root: root.try_into().ok().map(u32::from_le_bytes),
    }
}
