//! Volumes of the local driver that keep their data elsewhere: what they mount. Pure.

use host::docker::Volume;
use std::path::Path;

/// What a volume with driver options mounts when a container uses it (mount(8)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device<'v> {
    /// A directory of this host, as a bind mount does.
    Bind(&'v Path),
    /// Memory: it holds nothing while no container runs.
    Memory,
    /// A file system of another kind, by type and device: a share, a disk.
    Other(&'v str, &'v str),
}

/// `None` for a volume whose data lies in the data root.
pub fn of(volume: &Volume) -> Option<Device<'_>> {
    let option = |key: &str| {
        let options = volume.options.as_ref()?;
        options.get(key).map(String::as_str)
    };
    let device = option("device").filter(|_| volume.driver == "local")?;
    let kind = option("type").unwrap_or_default();
    let mut flags = option("o").unwrap_or_default().split(',');
    Some(match kind {
        _ if flags.any(|flag| matches!(flag, "bind" | "rbind")) => Device::Bind(Path::new(device)),
        "tmpfs" => Device::Memory,
        _ => Device::Other(kind, device),
    })
}

/// Why a share is not prepared here, and who can.
pub fn remedy(kind: &str) -> &'static str {
    match kind {
        "cifs" | "smb3" => {
            "its owners are mount options: make the volume anew with uid= and gid= of the range"
        }
        "nfs" | "nfs4" => "its owners are the server's to change",
        _ => "its owners have to be changed where it is mounted by hand",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::volume;
    use serde_json::{Value, json};

    #[test]
    fn a_device_is_a_bind_mount_or_memory_or_a_share() {
        let check = |options: Value, expected| assert_eq!(of(&volume("v", options)), expected);
        check(Value::Null, None);
        check(json!({"o": "size=1m"}), None);
        let bind = json!({"type": "none", "o": "rw,bind", "device": "/srv/x"});
        check(bind, Some(Device::Bind(Path::new("/srv/x"))));
        check(
            json!({"type": "tmpfs", "device": "tmpfs"}),
            Some(Device::Memory),
        );
        let share = json!({"type": "nfs", "o": "addr=10.0.0.1,rw", "device": ":/srv"});
        check(share, Some(Device::Other("nfs", ":/srv")));
    }
}
