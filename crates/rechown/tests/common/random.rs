//! Random maps and random trees for them.

use super::Tree;
use idmap::IdMap;
use proptest::{
    bool::weighted,
    collection::{btree_set, vec},
    option,
    prelude::*,
    sample::select,
};
use rechown::IdMaps;
use rustix::fs::{
    CWD, FileType, IFlags, Mode, XattrFlags, chmod, ioctl_getflags, ioctl_setflags, lsetxattr,
    mknodat,
};
use std::{
    collections::BTreeSet,
    fs::{self, File},
    ops::RangeInclusive,
    os::unix::fs::{lchown, symlink},
    path::{Path, PathBuf},
};

/// Extents as the engine's example takes them: `u:1:2:3,g:4:5:6`.
pub type Extents = String;

/// A map and a tree that has something to do with it.
#[derive(Debug, Clone)]
pub struct Case {
    pub extents: Extents,
    pub root: Item,
    pub items: Vec<Item>,
}

/// What becomes of one name.
#[derive(Debug, Clone)]
pub struct Item {
    /// Which of the directories before it holds it.
    parent: usize,
    kind: Kind,
    uid: u32,
    gid: u32,
    mode: u32,
    acl: Option<Ids>,
    /// For directories only.
    default_acl: Option<Ids>,
    capability: Option<Capability>,
    immutable: bool,
    append: bool,
    /// Has a name outside the tree, too.
    outside: bool,
}

/// Named users and groups of an ACL.
type Ids = (BTreeSet<u32>, BTreeSet<u32>);

#[derive(Debug, Clone, Copy)]
enum Capability {
    Revision2,
    Revision3(u32),
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Directory,
    File,
    Symlink,
    Special(FileType),
    /// Another name of one of the non-directories before it.
    Link(usize),
}

/// What a tree may hold that not every test can do with.
#[derive(Debug, Clone, Copy)]
pub struct Scope {
    pub outside_links: bool,
    /// Ids of the target side and outside the map.
    pub foreign_ids: bool,
    /// Immutable files that lose something at a change of owner: a killed run cannot always give it back (see
    /// `tests/capability.rs`).
    pub immutable_fragile: bool,
}

impl Case {
    /// A tree to be shifted, and in it an immutable file that looks shifted and has a name outside.
    pub fn kept_immutable() -> Self {
        let item = |kind, id, fixed| Item {
            parent: 0,
            kind,
            uid: id,
            gid: id,
            mode: 0o755,
            acl: None,
            default_acl: None,
            capability: None,
            immutable: fixed,
            append: false,
            outside: fixed,
        };
        Self {
            extents: "1:1001:10".to_owned(),
            root: item(Kind::Directory, 5, false),
            items: vec![item(Kind::File, 1005, true)],
        }
    }

    pub fn maps(&self) -> IdMaps {
        IdMaps::parse(&self.extents.split(',').collect::<Vec<_>>()).unwrap()
    }
}

pub fn cases(scope: Scope, sizes: RangeInclusive<usize>) -> impl Strategy<Value = Case> {
    extents()
        .prop_flat_map(move |extents| (Just(extents.clone()), pool(&extents, scope)))
        .prop_flat_map(move |(extents, pool)| {
            let items = vec(item(pool.clone(), scope), sizes.clone());
            (Just(extents), item(pool, scope), items).prop_map(|(extents, root, items)| Case {
                extents,
                root,
                items,
            })
        })
}

/// The root of a capability cannot be told from none at all where it is host root (see `tests/capability.rs`).
const LEAST: u32 = 1;

/// Of small ids, so that they meet: targets far away, next door or among the sources.
fn extents() -> impl Strategy<Value = Extents> {
    let side = |letter: char, least: usize| {
        let hosts = prop_oneof![LEAST..40, 1000..1040_u32];
        vec((LEAST..40, hosts, 1..12_u32), least..4).prop_map(move |triples| {
            let mut extents = Vec::new();
            for (container, host, size) in triples {
                extents.push(format!("{letter}:{container}:{host}:{size}"));
                if IdMaps::parse(&extents).is_err() {
                    extents.pop();
                }
            }
            extents
        })
    };
    (side('u', 1), side('g', 0)).prop_map(|(uids, gids)| [uids, gids].concat().join(","))
}

/// The ids in a tree.
#[derive(Debug, Clone)]
struct Pool {
    uids: Vec<u32>,
    gids: Vec<u32>,
}

/// All to be shifted, some or all shifted before, or anything.
fn pool(extents: &str, scope: Scope) -> impl Strategy<Value = Pool> + use<> {
    let maps = IdMaps::parse(&extents.split(',').collect::<Vec<_>>()).unwrap();
    let both = |side: fn(&IdMap) -> Vec<u32>| (side(&maps.uid), side(&maps.gid));
    let sources = both(|map| (0..60).filter(|&id| map.to_host(id).is_some()).collect());
    let targets = both(|map| (0..60).filter_map(|id| map.to_host(id)).collect());
    let all = |one: &Vec<u32>, other: &Vec<u32>| [&one[..], &other[..]].concat();
    let mixed = (all(&sources.0, &targets.0), all(&sources.1, &targets.1));
    let anything = prop_oneof![0..60_u32, 1000..1060_u32, Just(70_000)];
    let some = |(uids, gids)| {
        (
            vec(select::<u32>(uids), 1..6),
            vec(select::<u32>(gids), 1..6),
        )
    };
    let ids = match scope.foreign_ids {
        false => some(sources).boxed(),
        true => prop_oneof![
            5 => some(sources),
            1 => some(targets),
            2 => some(mixed),
            2 => (vec(anything.clone(), 1..6), vec(anything, 1..6)),
        ]
        .boxed(),
    };
    ids.prop_map(|(uids, gids)| Pool { uids, gids })
}

fn item(pool: Pool, scope: Scope) -> impl Strategy<Value = Item> {
    let (uid, gid) = (select(pool.uids), select(pool.gids));
    let named = (btree_set(uid.clone(), 0..4), btree_set(gid.clone(), 0..4));
    let acl = option::weighted(0.25, named);
    let specials = vec![
        FileType::Fifo,
        FileType::Socket,
        FileType::CharacterDevice,
        FileType::BlockDevice,
    ];
    let kind = prop_oneof![
        4 => Just(Kind::Directory),
        8 => Just(Kind::File),
        2 => Just(Kind::Symlink),
        1 => select(specials).prop_map(Kind::Special),
        2 => any::<usize>().prop_map(Kind::Link),
    ];
    let capability = prop_oneof![
        Just(Capability::Revision2),
        uid.clone().prop_map(Capability::Revision3)
    ];
    let mode = prop_oneof![2 => 0..0o1000_u32, 1 => 0..0o10000_u32];
    let rare = || weighted(0.04);
    let outside = weighted(if scope.outside_links { 0.04 } else { 0.0 });
    (
        (any::<usize>(), kind, uid, gid, mode),
        (acl.clone(), acl, option::weighted(0.15, capability)),
        (rare(), rare(), outside),
    )
        .prop_map(
            move |((parent, kind, uid, gid, mode), (acl, default_acl, capability), flags)| {
                let is_fragile = capability.is_some() || mode & 0o6000 != 0;
                let may_be_fixed = scope.immutable_fragile || !is_fragile;
                Item {
                    parent,
                    kind,
                    uid,
                    gid,
                    mode,
                    acl,
                    default_acl,
                    capability,
                    immutable: flags.0 && may_be_fixed,
                    append: flags.1 && may_be_fixed,
                    outside: flags.2,
                }
            },
        )
}

/// A tree of items, which can be removed whatever flags they have.
pub struct Grown {
    pub tree: Tree,
    fixed: Vec<PathBuf>,
}

impl Grown {
    pub fn new(tree: Tree, case: &Case) -> Self {
        let mut directories = vec![tree.root()];
        let mut others: Vec<PathBuf> = Vec::new();
        let mut grown = vec![(tree.root(), &case.root)];
        fs::create_dir(tree.beside("outside")).unwrap();
        for (index, item) in case.items.iter().enumerate() {
            let path = directories[item.parent % directories.len()].join(format!("{index}"));
            match item.kind {
                Kind::Link(_) if others.is_empty() => continue,
                Kind::Link(to) => {
                    fs::hard_link(&others[to % others.len()], path).unwrap();
                    continue;
                }
                Kind::Directory => fs::create_dir(&path).unwrap(),
                Kind::File => fs::write(&path, index.to_string()).unwrap(),
                Kind::Symlink => symlink("/etc/passwd", &path).unwrap(),
                Kind::Special(kind) => mknodat(CWD, &path, kind, Mode::empty(), 0).unwrap(),
            }
            match item.kind {
                Kind::Directory => directories.push(path.clone()),
                _ => others.push(path.clone()),
            }
            grown.push((path, item));
        }
        for (path, item) in &grown {
            item.furnish(path);
            if item.outside && !path.is_dir() {
                let name = path.file_name().unwrap();
                fs::hard_link(path, tree.beside("outside").join(name)).unwrap();
            }
        }
        let fixed = |(path, item): &(PathBuf, &Item)| item.fix(path).then(|| path.clone());
        let fixed = grown.iter().filter_map(fixed).collect();
        Self { tree, fixed }
    }
}

impl Drop for Grown {
    fn drop(&mut self) {
        for path in &self.fixed {
            set_flags(path, IFlags::empty());
        }
    }
}

impl Item {
    fn furnish(&self, path: &Path) {
        lchown(path, Some(self.uid), Some(self.gid)).unwrap();
        if path.is_symlink() {
            return;
        }
        let set = |name, value: &[u8]| lsetxattr(path, name, value, XattrFlags::empty()).unwrap();
        if let Some(acl) = &self.acl {
            set("system.posix_acl_access", &acl_bytes(acl));
        }
        if let Some(acl) = self.default_acl.as_ref().filter(|_| path.is_dir()) {
            set("system.posix_acl_default", &acl_bytes(acl));
        }
        if let Some(capability) = self.capability {
            set("security.capability", &capability.bytes());
        }
        chmod(path, Mode::from_raw_mode(self.mode)).unwrap();
    }

    /// Says whether it had to.
    fn fix(&self, path: &Path) -> bool {
        let mut flags = IFlags::empty();
        flags.set(IFlags::IMMUTABLE, self.immutable);
        flags.set(IFlags::APPEND, self.append);
        let is_plain = path.symlink_metadata().unwrap().is_file();
        // What such a file loses cannot always be given back (see `tests/capability.rs`).
        let fix = !flags.is_empty() && (is_plain || path.is_dir() && !path.is_symlink());
        if fix {
            set_flags(path, flags);
        }
        fix
    }
}

/// Sets these of the two, and no other.
fn set_flags(path: &Path, flags: IFlags) {
    let both = IFlags::IMMUTABLE | IFlags::APPEND;
    let Ok(file) = File::open(path) else { return };
    let others = ioctl_getflags(&file).unwrap() - both;
    ioctl_setflags(file, others | flags).unwrap();
}

impl Capability {
    /// `struct vfs_ns_cap_data`: cap_net_raw, effective.
    fn bytes(self) -> Vec<u8> {
        let data = |revision| [&[1, 0, 0, revision, 0, 32][..], &[0; 14]].concat();
        match self {
            Self::Revision2 => data(2),
            Self::Revision3(root) => [data(3), root.to_le_bytes().to_vec()].concat(),
        }
    }
}

/// acl(5) as an extended attribute: owner, named users, group, named groups, mask, others.
fn acl_bytes((users, groups): &Ids) -> Vec<u8> {
    let entry = |tag: u16, id: u32| {
        [
            &tag.to_le_bytes()[..],
            &5_u16.to_le_bytes(),
            &id.to_le_bytes(),
        ]
        .concat()
    };
    let named = |tag, ids: &BTreeSet<u32>| {
        ids.iter()
            .map(move |&id| entry(tag, id))
            .collect::<Vec<_>>()
    };
    let none = u32::MAX;
    [
        2_u32.to_le_bytes().to_vec(),
        entry(0x01, none),
        named(0x02, users).concat(),
        entry(0x04, none),
        named(0x08, groups).concat(),
        entry(0x10, none),
        entry(0x20, none),
    ]
    .concat()
}
