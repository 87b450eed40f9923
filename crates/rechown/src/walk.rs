//! The parallel walk: every thread takes a directory from one stack, shows its entries to its own visitor
//! and puts the directories in it on the stack. All names are looked up in an open directory, without
//! following links or crossing mounts.

use crate::{Error, meter, roots::Root};
use rustix::{
    fs::{
        AtFlags, FileType, Mode, OFlags, RawDir, ResolveFlags, Statx, StatxFlags, openat2, statx,
    },
    io::Errno,
    process::{Resource, getrlimit},
};
use std::{
    ffi::{CStr, CString, OsStr},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    panic::resume_unwind,
    path::PathBuf,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

/// Entries of one directory that go into the meter at once.
const METERED: u64 = 1024;

/// Bytes of directory entries asked of the kernel at once.
const BATCH: usize = 1 << 17;

/// Sees every entry of its thread.
pub(crate) trait Visitor: Send {
    /// An entry on the mount of its root. An error stops the whole walk, unless it says the entry vanished.
    fn visit(&mut self, entry: &Entry<'_>) -> Result<(), Error>;
    /// Another mount.
    fn boundary(&mut self, path: PathBuf);
}

/// One name in an open directory, or the directory itself.
pub(crate) struct Entry<'a> {
    pub(crate) dir: &'a Arc<Dir>,
    pub(crate) at: BorrowedFd<'a>,
    /// Empty: `at` itself.
    pub(crate) name: &'a CStr,
    pub(crate) stat: &'a Statx,
}

impl Entry<'_> {
    pub(crate) fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.stx_mode.into())
    }

    pub(crate) fn is_directory(&self) -> bool {
        self.kind() == FileType::Directory
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path(self.name)
    }
}

/// A directory's place in its tree, kept as names so that no descriptor need stay open for it.
pub(crate) struct Dir {
    parent: Option<Arc<Dir>>,
    root: Root,
    name: CString,
    inode: u64,
    mount: u64,
}

impl Dir {
    pub(crate) fn root(&self) -> &Root {
        &self.root
    }

    fn chain(&self) -> Vec<&Dir> {
        let mut chain = vec![self];
        while let Some(parent) = chain.last().and_then(|dir| dir.parent.as_deref()) {
            chain.push(parent);
        }
        chain.pop();
        chain.reverse();
        chain
    }

    /// The path of `name` in the directory, from the root on.
    pub(crate) fn relative(&self, name: &CStr) -> PathBuf {
        let chain = self.chain();
        let names = chain.iter().map(|dir| dir.name.as_c_str()).chain([name]);
        names
            .filter(|name| !name.is_empty())
            .map(|name| OsStr::from_bytes(name.to_bytes()))
            .collect()
    }

    pub(crate) fn path(&self, name: &CStr) -> PathBuf {
        let relative = self.relative(name);
        match relative.as_os_str().is_empty() {
            true => self.root.path.to_path_buf(),
            false => self.root.path.join(relative),
        }
    }
}

/// A long chain must not be dropped by recursion.
impl Drop for Dir {
    fn drop(&mut self) {
        let mut parent = self.parent.take();
        while let Some(mut dir) = parent.and_then(Arc::into_inner) {
            parent = dir.parent.take();
        }
    }
}

/// A directory that is known by name and not open yet.
struct Task {
    root: Root,
    parent: Option<Parent>,
    name: CString,
}

struct Parent {
    dir: Arc<Dir>,
    /// Shared by the siblings; none when too many are open.
    open: Option<Arc<Counted>>,
}

/// A descriptor that counts against the limit.
struct Counted {
    fd: OwnedFd,
    count: Arc<AtomicUsize>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Default)]
struct Queue {
    tasks: Vec<Task>,
    busy: usize,
    stopped: bool,
}

struct Walk {
    queue: Mutex<Queue>,
    wake: Condvar,
    open: Arc<AtomicUsize>,
    most_open: usize,
}

/// Walks all roots at once on as many threads as there are processors, and returns their visitors.
pub(crate) fn walk<V: Visitor>(
    roots: &[Root],
    visitor: impl Fn() -> V + Sync,
) -> Result<Vec<V>, Error> {
    let tasks = roots.iter().map(|root| Task {
        root: root.clone(),
        parent: None,
        name: CString::default(),
    });
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let walk = Walk {
        queue: Mutex::new(Queue {
            tasks: tasks.rev().collect(),
            ..Queue::default()
        }),
        wake: Condvar::new(),
        open: Arc::default(),
        most_open: usize::try_from(limit / 2).unwrap_or(usize::MAX).min(4096),
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let work = || {
            let mut visitor = visitor();
            walk.work(&mut visitor).map(|()| visitor)
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let join = |worker: thread::ScopedJoinHandle<'_, _>| {
            worker.join().unwrap_or_else(|panic| resume_unwind(panic))
        };
        workers.into_iter().map(join).collect()
    })
}

impl Walk {
    fn work(&self, visitor: &mut impl Visitor) -> Result<(), Error> {
        let mut buffer = vec![MaybeUninit::uninit(); BATCH];
        let mut found = Vec::new();
        let mut task = self.next(&mut found, false);
        while let Some(current) = task {
            let done = self.directory(current, visitor, &mut buffer, &mut found);
            if let Err(error) = done {
                self.lock().stopped = true;
                self.wake.notify_all();
                return Err(error);
            }
            task = self.next(&mut found, true);
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands in what was found and waits for the next task; `None` when all is done.
    fn next(&self, found: &mut Vec<Task>, was_busy: bool) -> Option<Task> {
        let mut queue = self.lock();
        queue.busy -= usize::from(was_busy);
        if found.len() > 1 {
            self.wake.notify_all();
        }
        queue.tasks.append(found);
        loop {
            if queue.stopped {
                return None;
            }
            if let Some(task) = queue.tasks.pop() {
                queue.busy += 1;
                return Some(task);
            }
            if queue.busy == 0 {
                self.wake.notify_all();
                return None;
            }
            queue = self
                .wake
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Visits a directory and all in it that is not one; the directories in it go to `found`.
    fn directory(
        &self,
        task: Task,
        visitor: &mut impl Visitor,
        buffer: &mut [MaybeUninit<u8>],
        found: &mut Vec<Task>,
    ) -> Result<(), Error> {
        let fd = match task.open() {
            Ok(fd) => fd,
            Err(Errno::NOENT) if task.parent.is_some() => return Ok(()),
            Err(Errno::XDEV) => {
                visitor.boundary(task.path());
                return Ok(());
            }
            Err(error) => return Err(Error::io("open", || task.path())(error)),
        };
        let stat = look(fd.as_fd(), c"").map_err(Error::io("stat", || task.path()))?;
        if stat.stx_mask & StatxFlags::MNT_ID.bits() == 0 {
            return Err(Error::OldKernel);
        }
        let dir = Arc::new(Dir {
            parent: task.parent.map(|parent| parent.dir),
            root: task.root,
            name: task.name,
            inode: stat.stx_ino,
            mount: stat.stx_mnt_id,
        });
        let names = self.entries(&dir, &fd, &stat, visitor, buffer)?;
        if names.is_empty() {
            return Ok(());
        }
        let few = self.open.load(Ordering::Relaxed) < self.most_open;
        let open = few.then(|| {
            self.open.fetch_add(1, Ordering::Relaxed);
            let count = Arc::clone(&self.open);
            Arc::new(Counted { fd, count })
        });
        found.extend(names.into_iter().map(|name| Task {
            root: dir.root.clone(),
            parent: Some(Parent {
                dir: Arc::clone(&dir),
                open: open.clone(),
            }),
            name,
        }));
        Ok(())
    }

    /// Visits the directory and what is in it, save directories: those are returned.
    fn entries(
        &self,
        dir: &Arc<Dir>,
        fd: &OwnedFd,
        stat: &Statx,
        visitor: &mut impl Visitor,
        buffer: &mut [MaybeUninit<u8>],
    ) -> Result<Vec<CString>, Error> {
        let at = fd.as_fd();
        let mut directories = Vec::new();
        let mut visit = |name: &CStr, stat: &Statx| {
            visitor.visit(&Entry {
                dir,
                at,
                name,
                stat,
            })
        };
        visit(c"", stat)?;
        let mut met = 1;
        let mut entries = RawDir::new(at, buffer);
        while let Some(entry) = entries.next() {
            let entry = entry.map_err(Error::io("read", || dir.path(c"")))?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            if entry.file_type() == FileType::Directory {
                directories.push(name.to_owned());
                continue;
            }
            met += 1;
            if met == METERED {
                meter::add(met);
                met = 0;
            }
            let stat = match look(at, name) {
                Err(Errno::NOENT) => continue,
                stat => stat.map_err(Error::io("stat", || dir.path(name)))?,
            };
            if FileType::from_raw_mode(stat.stx_mode.into()) == FileType::Directory {
                directories.push(name.to_owned());
            } else if stat.stx_mnt_id != dir.mount {
                visitor.boundary(dir.path(name));
            } else {
                let entry = Entry {
                    dir,
                    at,
                    name,
                    stat: &stat,
                };
                match visitor.visit(&entry) {
                    Err(error) if error.is_vanished() => {}
                    result => result?,
                }
            }
        }
        meter::add(met);
        Ok(directories)
    }
}

impl Task {
    fn path(&self) -> PathBuf {
        match &self.parent {
            None => self.root.path.to_path_buf(),
            Some(parent) => parent.dir.path(&self.name),
        }
    }

    fn open(&self) -> Result<OwnedFd, Errno> {
        match &self.parent {
            None => self.root.open(),
            Some(Parent {
                open: Some(open), ..
            }) => open_below(open.fd.as_fd(), &self.name),
            Some(Parent { dir, open: None }) => open_below(dir.reopen()?.as_fd(), &self.name),
        }
    }
}

impl Dir {
    /// Opens the directory again, name by name from its root.
    fn reopen(&self) -> Result<OwnedFd, Errno> {
        let mut fd = self.root.open()?;
        for dir in self.chain() {
            fd = open_below(fd.as_fd(), &dir.name)?;
        }
        match look(fd.as_fd(), c"")?.stx_ino == self.inode {
            true => Ok(fd),
            false => Err(Errno::NOENT),
        }
    }
}

/// Opens a directory; `XDEV` when another mount lies on it. The access time stays, where that is allowed.
pub(crate) fn open_below(at: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS | ResolveFlags::BENEATH;
    match openat2(at, name, flags | OFlags::NOATIME, Mode::empty(), resolve) {
        Err(Errno::PERM) => openat2(at, name, flags, Mode::empty(), resolve),
        result => result,
    }
}

fn look(at: BorrowedFd<'_>, name: &CStr) -> Result<Statx, Errno> {
    let flags = match name.is_empty() {
        true => AtFlags::EMPTY_PATH,
        false => AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT,
    };
    let mask = StatxFlags::TYPE
        | StatxFlags::MODE
        | StatxFlags::NLINK
        | StatxFlags::UID
        | StatxFlags::GID
        | StatxFlags::INO
        | StatxFlags::MNT_ID;
    statx(at, name, flags, mask)
}
