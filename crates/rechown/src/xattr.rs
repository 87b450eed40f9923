use crate::{fault, sys};
use rustix::{
    fs::{AtFlags, getxattr, listxattr, llistxattr},
    io::Errno,
    path::DecInt,
};
use std::{
    ffi::CStr,
    os::fd::{AsFd, BorrowedFd},
    sync::atomic::{AtomicBool, Ordering},
};

pub(crate) const CAPABILITY: &CStr = c"security.capability";

/// The attributes that hold ids.
pub(crate) const WITH_IDS: [&CStr; 3] = [
    c"system.posix_acl_access",
    c"system.posix_acl_default",
    CAPABILITY,
];

/// The longest list of names and the longest value the kernel hands out (`XATTR_LIST_MAX`).
pub(crate) const MAX: usize = 65536;

/// What nearly all of them fit in. The kernel allocates as much as it is offered, for every call anew.
const SHORT: usize = 1024;

/// A path to what `fd` holds, whatever became of its name; works for descriptors opened with `O_PATH`.
pub(crate) fn proc_path(fd: BorrowedFd<'_>) -> Vec<u8> {
    let mut path = b"/proc/self/fd/".to_vec();
    path.extend_from_slice(DecInt::from_fd(fd).as_bytes());
    path
}

/// Which of [`WITH_IDS`] `name` in `at` has, or `at` itself when `name` is empty.
pub(crate) fn with_ids(
    at: BorrowedFd<'_>,
    name: &CStr,
    buffer: &mut [u8],
) -> Result<[bool; 3], Errno> {
    match short_first(buffer, |buffer| list(at, name, buffer)) {
        Ok(0) | Err(Errno::OPNOTSUPP) => Ok([false; 3]),
        Ok(length) => {
            let has = |name: &CStr| {
                let mut names = buffer[..length].split(|&byte| byte == 0);
                names.any(|other| other == name.to_bytes())
            };
            Ok(WITH_IDS.map(has))
        }
        Err(error) => Err(error),
    }
}

fn list(at: BorrowedFd<'_>, name: &CStr, buffer: &mut [u8]) -> Result<usize, Errno> {
    static MISSING: AtomicBool = AtomicBool::new(false);
    if !MISSING.load(Ordering::Relaxed) && !fault::no_xattrat() {
        let flags = match name.is_empty() {
            true => AtFlags::EMPTY_PATH,
            false => AtFlags::SYMLINK_NOFOLLOW,
        };
        match sys::listxattrat(at, name, flags, buffer) {
            // EPERM is how a seccomp filter of a container says it.
            Err(Errno::NOSYS | Errno::PERM) => MISSING.store(true, Ordering::Relaxed),
            result => return result,
        }
    }
    let mut path = proc_path(at);
    if name.is_empty() {
        return listxattr(path, buffer);
    }
    path.push(b'/');
    path.extend_from_slice(name.to_bytes());
    llistxattr(path, buffer)
}

/// The value of an attribute of the file `fd` holds.
pub(crate) fn get(fd: impl AsFd, name: &CStr, buffer: &mut [u8]) -> Result<Vec<u8>, Errno> {
    let path = proc_path(fd.as_fd());
    let length = short_first(buffer, |buffer| getxattr(&path, name, buffer))?;
    Ok(buffer[..length].to_owned())
}

/// Offers the call all of the buffer only when the start of it was too short.
fn short_first(
    buffer: &mut [u8],
    call: impl Fn(&mut [u8]) -> Result<usize, Errno>,
) -> Result<usize, Errno> {
    let short = buffer.len().min(SHORT);
    match call(&mut buffer[..short]) {
        Err(Errno::RANGE) => call(buffer),
        result => result,
    }
}
