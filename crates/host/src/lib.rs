//! What is on the machine, and the few ways in which it is changed: commands, systemd units, the
//! Docker engine, libvirt, accounts, files, mounts. No module's own knowledge lives here.

mod account;
pub mod accounts;
pub mod boot;
pub mod cgroups;
pub mod clock;
pub mod command;
pub mod compose;
pub mod docker;
pub mod files;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod groups;
pub mod libvirt;
pub mod login_defs;
pub mod logind;
pub mod mounts;
pub mod podman;
pub mod process;
pub mod progress;
pub mod qemu_img;
pub mod subids;
pub mod sysctl;
pub mod systemd;
pub mod tmpfiles;
pub mod user_namespace;
