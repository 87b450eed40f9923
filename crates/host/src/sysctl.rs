//! Which kernel parameters a container may set in a user namespace: the kernel is asked, since it differs from version
//! to version and hides those that it refuses.

use crate::{command::run, user_namespace};
use anyhow::Result;
use idmap::IdMaps;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::fd::AsRawFd,
    path::PathBuf,
};

/// Tries each parameter, by writing the value that it has, in network, IPC and UTS namespaces that belong to a new
/// user namespace, as a container's do. By name, with the refusal, or `None` where it may be set.
///
/// What the host itself has is not touched: all three are thrown away again. The executable has to call
/// [`user_namespace::hold`] where it is told to.
///
/// # Errors
/// When the kernel makes no user namespace, or a tool of util-linux is missing.
pub fn in_user_namespace(names: &BTreeSet<String>) -> Result<BTreeMap<String, Option<String>>> {
    if names.is_empty() {
        return Ok(BTreeMap::new());
    }
    // The kernel looks at whose the namespaces are, not at which ids that is on the host.
    let maps = IdMaps::parse(&["0:100000:65536"])?;
    let namespace = user_namespace::with_maps(&maps)?;
    let user = format!(
        "--user=/proc/{}/fd/{}",
        std::process::id(),
        namespace.as_raw_fd()
    );
    let tried = names
        .iter()
        .map(|name| Ok((name.clone(), refusal(&user, name)?)));
    tried.collect()
}

fn refusal(user: &str, name: &str) -> Result<Option<String>> {
    let path = path(name);
    // A few can only be written; opening them is all that can be tried.
    let readable = fs::read(&path).is_ok() || !path.exists();
    let from = if readable {
        path.clone()
    } else {
        PathBuf::from("/dev/null")
    };
    let (from, to) = (
        format!("if={}", from.display()),
        format!("of={}", path.display()),
    );
    let tool = [
        "nsenter", user, "--", "unshare", "--net", "--ipc", "--uts", "--",
    ];
    let copy = ["dd", &from, &to, "conv=nocreat,notrunc", "status=none"];
    let tried = run(tool.iter().chain(&copy)).finish()?;
    Ok((!tried.status.success()).then(|| tried.stderr.trim().to_owned()))
}

/// Where the parameter is, as runc looks for it. An interface of the container's does not exist yet; every network
/// namespace has `lo`, which has the same parameters.
fn path(name: &str) -> PathBuf {
    let separator = name
        .find(['.', '/'])
        .and_then(|at| name[at..].chars().next());
    let mut parts: Vec<_> = name.split(separator.unwrap_or('.')).collect();
    if let ["net", "ipv4" | "ipv6", "conf" | "neigh", interface, _] = parts.as_mut_slice()
        && !matches!(*interface, "all" | "default")
    {
        *interface = "lo";
    }
    PathBuf::from("/proc/sys").join(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_looked_for_where_a_container_without_its_interfaces_has_it() {
        let cases = [
            ("net.core.somaxconn", "net/core/somaxconn"),
            ("net/core/somaxconn", "net/core/somaxconn"),
            (
                "net.ipv4.conf.eth0.route_localnet",
                "net/ipv4/conf/lo/route_localnet",
            ),
            (
                "net/ipv6/conf/eth0.100/disable_ipv6",
                "net/ipv6/conf/lo/disable_ipv6",
            ),
            (
                "net.ipv4.conf.all.forwarding",
                "net/ipv4/conf/all/forwarding",
            ),
            ("kernel.msgmax", "kernel/msgmax"),
        ];
        for (name, expected) in cases {
            assert_eq!(path(name), PathBuf::from("/proc/sys").join(expected));
        }
    }
}
