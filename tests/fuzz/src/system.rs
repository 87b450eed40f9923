//! What the host and its engine say.

use host::{
    compose::{Resolved, Volume},
    docker::{self, Container, Info, Network},
    fuzzing,
};
use serde_json::{Map, Value};
use userns_remap::fuzzing as config;

/// passwd(5): names without a colon, and in the order of the file.
pub fn accounts(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let accounts = fuzzing::accounts(&text);
    let line = |account: &host::accounts::Account| {
        format!(
            "{}:x:{}:{}::{}:{}:\n",
            account.name,
            account.uid,
            account.gid,
            account.home.display(),
            account.shell.display()
        )
    };
    let written: String = accounts.iter().map(line).collect();
    assert_eq!(fuzzing::accounts(&written), accounts);
}

/// A line of proc_pid_mountinfo(5), and one in which the kernel writes `data` as the place of a mount.
pub fn mounts(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for line in text.lines() {
        let _ = fuzzing::mount(line);
    }
    let escape = |c: char| match c {
        ' ' | '\t' | '\n' | '\\' | '#' => format!("\\{:03o}", u32::from(c)),
        plain => plain.to_string(),
    };
    let text = format!("/{text}");
    let place: String = text.chars().map(escape).collect();
    let line = format!("36 35 98:0 / {place} rw shared:1 - ext4 /dev/x rw,upperdir={place}");
    let mount = fuzzing::mount(&line).expect("it is as the kernel writes it");
    assert_eq!(mount.point.to_str(), Some(&*text));
    assert_eq!(mount.super_options, format!("rw,upperdir={text}"));
}

/// daemon.json: all but one key stays as and where it is, and the way back is the way there.
pub fn daemon_json(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let others = |text: &str| -> Vec<(String, Value)> {
        let keys = serde_json::from_str::<Map<_, _>>(text).unwrap_or_default();
        let others = keys.into_iter().filter(|(key, _)| key != "userns-remap");
        others.collect()
    };
    let Ok(Some(on)) = config::with_remap(Some(&text), Some("a:b")) else {
        return;
    };
    let read = |text: &str| config::remap(Some(text)).expect("it is as we write it");
    let write = |text: &str, value| {
        let written = config::with_remap(Some(text), value).expect("it is as we write it");
        written.expect("there is a file")
    };
    assert_eq!(read(&on).as_deref(), Some("a:b"));
    assert_eq!(others(&on), others(&text));
    assert_eq!(write(&on, Some("a:b")), on);
    let off = write(&on, None);
    assert_eq!(read(&off), None);
    assert_eq!(others(&off), others(&text));
    assert_eq!(write(&off, None), off);
}

/// What `docker info` and `docker inspect` print.
pub fn docker(data: &[u8]) {
    if let Ok(info) = serde_json::from_slice::<Info>(data) {
        let parts = info
            .security_options
            .iter()
            .flatten()
            .flat_map(|option| option.split(','));
        let userns = parts.clone().any(|part| part == "name=userns");
        assert_eq!(info.has_security_option("userns"), userns);
    }
    if let Ok(containers) = serde_json::from_slice::<Vec<Container>>(data) {
        for container in containers {
            assert!(!container.name().starts_with('/'));
            let _ = (container.label("a"), container.state.health());
        }
    }
    let _ = serde_json::from_slice::<Vec<docker::Volume>>(data);
    let _ = serde_json::from_slice::<Network>(data);
}

/// What a compose client prints.
pub fn compose(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Ok(resolved) = Resolved::parse(&text) else {
        return;
    };
    for service in resolved.services.values() {
        for volume in &service.volumes {
            let mount = volume.mount();
            if let Volume::Short(text) = volume {
                assert!(
                    text.contains(&mount.target)
                        && (mount.kind != "bind" || mount.source.is_some())
                );
            }
        }
        assert!(
            service
                .devices
                .iter()
                .all(|device| !device.host_path().to_string_lossy().contains(':'))
        );
    }
}

/// A compose override: every line stays, in its order, and what says so already is left alone.
pub fn compose_override(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let settings = [
        ("web", config::Setting::HostMode),
        ("db", config::Setting::NoSysctls),
    ];
    let settings = settings.map(|(service, setting)| (service.to_owned(), setting));
    let Ok(Some(new)) = config::with_settings(Some(&text), &settings) else {
        return;
    };
    // A file that ends in a carriage return alone gets the line feed that makes it the end of a line.
    let bare = |line: &str| line.trim_end_matches('\r').to_owned();
    let mut lines = new.lines().map(bare);
    assert!(
        text.lines()
            .map(bare)
            .all(|old| lines.any(|line| line == old)),
        "{text:?} became {new:?}"
    );
    assert_eq!(
        config::with_settings(Some(&new), &settings).ok(),
        Some(None)
    );
}
