//! The one file that may hold `unsafe`: the system call no crate wraps yet.
#![allow(unsafe_code)]

use rustix::{fs::AtFlags, io::Errno};
use std::{
    ffi::CStr,
    os::fd::{AsRawFd, BorrowedFd},
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
    usize::try_from(length).map_err(|_| {
        let error = std::io::Error::last_os_error();
        Errno::from_io_error(&error).unwrap_or(Errno::INVAL)
    })
}
