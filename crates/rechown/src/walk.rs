//! The parallel walk: every thread takes a task from one stack, shows the entries it comes to to its own visitor
//! and puts the directories among them on the stack. All names are looked up in an open directory, without
//! following links or crossing mounts.

use crate::{
    Error,
    batch::Batch,
    dir::{Dir, hold, look, open_below},
    entry::Entry,
    meter,
    root::Root,
};
use rustix::{
    fs::{FileType, RawDir, Statx, StatxFlags},
    io::Errno,
    process::{Resource, getrlimit},
};
use std::{
    ffi::{CStr, CString},
    mem::{self, MaybeUninit},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    panic::resume_unwind,
    path::PathBuf,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

/// Bytes of directory entries asked of the kernel at once.
const BUFFER: usize = 1 << 17;

/// So many names of a shared directory are visited in a row.
const PART: usize = 1 << 10;

/// Sees every entry of its thread.
pub(crate) trait Visitor: Send {
    /// Whether each entry is held open from the look at it to the end of its visit, so that nothing done to it
    /// can hit what has taken its name meanwhile. Who only looks need not.
    const HOLDS: bool;
    /// An entry on the mount of its root. An error stops the whole walk, unless it says the entry vanished.
    fn visit(&mut self, entry: &Entry<'_>) -> Result<(), Error>;
    /// Another mount.
    fn boundary(&mut self, path: PathBuf);
}

/// What a thread does next.
enum Task {
    Directory(Named),
    /// Some of the names in a large one.
    Names(Arc<Shared>),
}

/// Names that whoever is free visits part by part.
struct Shared {
    opened: Opened,
    batch: Batch,
    /// Where the next part begins.
    next: AtomicUsize,
}

/// A directory that is known by name and not open yet.
struct Named {
    root: Root,
    parent: Option<Parent>,
    name: CString,
}

struct Parent {
    dir: Arc<Dir>,
    /// None when too many are open.
    open: Option<Arc<Counted>>,
}

/// A directory and its descriptor.
#[derive(Clone)]
struct Opened {
    dir: Arc<Dir>,
    open: Arc<Counted>,
}

/// A descriptor that counts against the limit.
struct Counted {
    fd: OwnedFd,
    count: Arc<AtomicUsize>,
}

impl Counted {
    fn new(fd: OwnedFd, count: &Arc<AtomicUsize>) -> Arc<Self> {
        count.fetch_add(1, Ordering::Relaxed);
        let count = Arc::clone(count);
        Arc::new(Self { fd, count })
    }
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
    threads: usize,
    open: Arc<AtomicUsize>,
    most_open: usize,
}

/// Walks all roots at once on as many threads as there are processors, and returns their visitors.
pub(crate) fn walk<V: Visitor>(
    roots: &[Root],
    visitor: impl Fn() -> V + Sync,
) -> Result<Vec<V>, Error> {
    let tasks = roots.iter().map(|root| {
        Task::Directory(Named {
            root: root.clone(),
            parent: None,
            name: CString::default(),
        })
    });
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let walk = Walk {
        queue: Mutex::new(Queue {
            tasks: tasks.rev().collect(),
            ..Queue::default()
        }),
        wake: Condvar::new(),
        threads: thread::available_parallelism().map_or(1, usize::from),
        open: Arc::default(),
        most_open: usize::try_from(limit / 2).unwrap_or(usize::MAX).min(4096),
    };
    thread::scope(|scope| {
        let work = || {
            let mut worker = Worker {
                walk: &walk,
                visitor: visitor(),
                batch: Batch::default(),
                found: Vec::new(),
            };
            worker.run().map(|()| worker.visitor)
        };
        let workers: Vec<_> = (0..walk.threads).map(|_| scope.spawn(work)).collect();
        let join = |worker: thread::ScopedJoinHandle<'_, _>| {
            worker.join().unwrap_or_else(|panic| resume_unwind(panic))
        };
        workers.into_iter().map(join).collect()
    })
}

impl Walk {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stop(&self) {
        self.lock().stopped = true;
        self.wake.notify_all();
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

    /// Shares with all threads, if they are soon to run out of tasks.
    fn offer(&self, shared: &Arc<Shared>) {
        let mut queue = self.lock();
        if queue.tasks.is_empty() {
            let tasks = (1..self.threads).map(|_| Task::Names(Arc::clone(shared)));
            queue.tasks.extend(tasks);
            self.wake.notify_all();
        }
    }
}

/// One thread of a walk.
struct Worker<'a, V> {
    walk: &'a Walk,
    visitor: V,
    batch: Batch,
    found: Vec<Task>,
}

impl<V: Visitor> Worker<'_, V> {
    fn run(&mut self) -> Result<(), Error> {
        let mut buffer = vec![MaybeUninit::uninit(); BUFFER];
        let mut task = self.walk.next(&mut self.found, false);
        while let Some(current) = task {
            let done = match current {
                Task::Directory(named) => self.directory(named, &mut buffer),
                Task::Names(shared) => self.shared(&shared),
            };
            if done.is_err() {
                self.walk.stop();
                return done;
            }
            task = self.walk.next(&mut self.found, true);
        }
        Ok(())
    }

    /// Visits a directory and all in it that is not one; the directories in it are found.
    fn directory(&mut self, named: Named, buffer: &mut [MaybeUninit<u8>]) -> Result<(), Error> {
        let fd = match named.open() {
            Ok(fd) => fd,
            // Gone, or another kind of thing has its name now.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) if named.parent.is_some() => {
                return Ok(());
            }
            Err(Errno::XDEV) => {
                self.visitor.boundary(named.path());
                return Ok(());
            }
            Err(error) => return Err(Error::io("open", || named.path())(error)),
        };
        let stat = look(fd.as_fd(), c"").map_err(Error::io("stat", || named.path()))?;
        if stat.stx_mask & StatxFlags::MNT_ID.bits() == 0 {
            return Err(Error::OldKernel);
        }
        let opened = Opened {
            dir: Arc::new(Dir {
                parent: named.parent.map(|parent| parent.dir),
                root: named.root,
                name: named.name,
                inode: stat.stx_ino,
                mount: stat.stx_mnt_id,
            }),
            open: Counted::new(fd, &self.walk.open),
        };
        meter::add(1);
        self.visitor.visit(&opened.itself(&stat))?;
        self.entries(&opened, buffer)
    }

    fn entries(&mut self, opened: &Opened, buffer: &mut [MaybeUninit<u8>]) -> Result<(), Error> {
        let mut entries = RawDir::new(&opened.open.fd, buffer);
        let mut batch = mem::take(&mut self.batch);
        loop {
            let more = batch
                .read(&mut entries)
                .map_err(Error::io("read", || opened.dir.path(c"")))?;
            if batch.len() > 2 * PART {
                let shared = Arc::new(Shared {
                    opened: opened.clone(),
                    batch: mem::take(&mut batch),
                    next: AtomicUsize::new(0),
                });
                self.walk.offer(&shared);
                self.shared(&shared)?;
            } else {
                self.names(opened, batch.part(0..batch.len()))?;
            }
            if !more {
                break;
            }
        }
        self.batch = batch;
        Ok(())
    }

    fn shared(&mut self, shared: &Shared) -> Result<(), Error> {
        let all = shared.batch.len();
        loop {
            let start = shared.next.fetch_add(PART, Ordering::Relaxed);
            if start >= all {
                return Ok(());
            }
            let part = shared.batch.part(start..all.min(start + PART));
            self.names(&shared.opened, part)?;
        }
    }

    /// Visits what is not a directory.
    fn names<'n>(
        &mut self,
        opened: &Opened,
        names: impl Iterator<Item = (&'n CStr, FileType)>,
    ) -> Result<(), Error> {
        let (dir, at) = (&opened.dir, opened.open.fd.as_fd());
        let mut met = 0;
        for (name, kind) in names {
            if kind == FileType::Directory {
                self.find(opened, name);
                continue;
            }
            met += 1;
            let held = match V::HOLDS.then(|| hold(at, name)).transpose() {
                Err(Errno::NOENT) => continue,
                held => held.map_err(Error::io("open", || dir.path(name)))?,
            };
            let held = held.as_ref().map(OwnedFd::as_fd);
            let looked = held.map_or_else(|| look(at, name), |held| look(held, c""));
            let stat = match looked {
                Err(Errno::NOENT) => continue,
                stat => stat.map_err(Error::io("stat", || dir.path(name)))?,
            };
            if FileType::from_raw_mode(stat.stx_mode.into()) == FileType::Directory {
                self.find(opened, name);
            } else if stat.stx_mnt_id != dir.mount {
                self.visitor.boundary(dir.path(name));
            } else {
                match self.visitor.visit(&opened.entry(name, held, &stat)) {
                    Err(error) if error.is_vanished() => {}
                    result => result?,
                }
            }
        }
        meter::add(met);
        Ok(())
    }

    fn find(&mut self, Opened { dir, open }: &Opened, name: &CStr) {
        let few = self.walk.open.load(Ordering::Relaxed) <= self.walk.most_open;
        self.found.push(Task::Directory(Named {
            root: dir.root.clone(),
            parent: Some(Parent {
                dir: Arc::clone(dir),
                open: few.then(|| Arc::clone(open)),
            }),
            name: name.to_owned(),
        }));
    }
}

impl Opened {
    fn itself<'a>(&'a self, stat: &'a Statx) -> Entry<'a> {
        self.entry(c"", Some(self.open.fd.as_fd()), stat)
    }

    fn entry<'a>(
        &'a self,
        name: &'a CStr,
        held: Option<BorrowedFd<'a>>,
        stat: &'a Statx,
    ) -> Entry<'a> {
        Entry {
            dir: &self.dir,
            name,
            at: self.open.fd.as_fd(),
            held,
            stat,
        }
    }
}

impl Named {
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
