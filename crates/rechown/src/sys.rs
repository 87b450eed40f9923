//! The one file that may hold `unsafe`: the system calls no crate wraps yet.
#![allow(unsafe_code)]

use rustix::{fs::AtFlags, io::Errno};
use std::{
    ffi::CStr,
    os::fd::{AsRawFd, BorrowedFd, RawFd},
};

/// `__NR_listxattrat`, the same on every architecture this runs on (Linux 6.13).
const LISTXATTRAT: libc::c_long = 465;

/// listxattrat(2): writes the attribute names, each ended by a NUL byte, to `list` and returns their length.
pub(crate) fn listxattrat(
    at: BorrowedFd<'_>,
    name: &CStr,
    flags: AtFlags,
    list: &mut [u8],
) -> Result<usize, Errno> {
    // SAFETY: the call reads `name`, a NUL-terminated string, and writes at most `list.len()` bytes to
    // `list`; both outlive it. Every argument has the width the kernel expects of a register.
    let length = unsafe {
        libc::syscall(
            LISTXATTRAT,
            at.as_raw_fd(),
            name.as_ptr(),
            flags.bits(),
            list.as_mut_ptr(),
            list.len(),
        )
    };
    usize::try_from(length).map_err(|_| last_error())
}

/// mount_setattr(2): gives the detached mount `tree` the id map of the user namespace `namespace`, and takes
/// set-user-id programs and devices out of effect on it.
pub(crate) fn idmap_mount(tree: BorrowedFd<'_>, namespace: BorrowedFd<'_>) -> Result<(), Errno> {
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_IDMAP | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV,
        attr_clr: 0,
        propagation: 0,
        userns_fd: descriptor(namespace.as_raw_fd()),
    };
    // SAFETY: the call reads an empty NUL-terminated string and `attributes`, of the size it is told; both
    // outlive it. Every argument has the width the kernel expects of a register.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attributes,
            size_of_val(&attributes),
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(last_error()),
    }
}

/// As the kernel takes it in `mount_attr`. One that is open is not negative.
fn descriptor(fd: RawFd) -> u64 {
    u64::from(fd.unsigned_abs())
}

fn last_error() -> Errno {
    let error = std::io::Error::last_os_error();
    Errno::from_io_error(&error).unwrap_or(Errno::INVAL)
}
