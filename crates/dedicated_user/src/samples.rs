//! Hosts as the tests of the pure rooms need them.

use crate::{
    args::Args,
    observed::{Entry, Observed},
};
use host::{
    accounts::{Account, Traits},
    groups::Group,
    login_defs::SubidRules,
};
use idmap::subid::{DEFAULT_BOUNDS, DEFAULT_COUNT, Subids};
use serde_json::{Value, json};

/// The options with these set.
pub fn args(options: Value) -> Args {
    let mut all = json!({"name": "web", "state": "present", "group": null, "uid": null, "gid": null, "home": null,
        "shell": null, "groups": null, "comment": null, "linger": true, "subid_count": 65536, "subid_start": null,
        "secrets_dir": null, "remove_home": false, "timeout": 300});
    for (key, value) in options.as_object().unwrap() {
        all[key] = value.clone();
    }
    serde_json::from_value(all).unwrap()
}

pub fn account(name: &str, uid: u32) -> Account {
    Account {
        name: name.to_owned(),
        uid,
        gid: uid,
        home: format!("/var/lib/containers/{name}").into(),
        shell: "/usr/sbin/nologin".into(),
    }
}

pub fn group(name: &str, gid: u32) -> Group {
    Group {
        name: name.to_owned(),
        gid,
        members: vec![],
    }
}

pub fn directory(uid: u32, gid: u32, mode: u32) -> Entry {
    Entry {
        is_directory: true,
        uid,
        gid,
        mode,
    }
}

/// A host with root and ann, and no account for the service.
pub fn host() -> Observed {
    Observed {
        nixos: None,
        account: None,
        traits: None,
        accounts: vec![account("root", 0), account("ann", 1000)],
        groups: vec![
            group("root", 0),
            group("ann", 1000),
            group("podman", 990),
            group("docker", 991),
        ],
        ids: 1000..=60_000,
        rules: SubidRules {
            bounds: DEFAULT_BOUNDS,
            count: DEFAULT_COUNT,
        },
        subuid: Subids::parse(b"ann:100000:65536\n"),
        subgid: Subids::parse(b"ann:100000:65536\n"),
        home: None,
        first_missing: Some("/var/lib/containers/web".into()),
        above_home: vec![("/var/lib/containers".into(), directory(0, 0, 0o755))],
        mounts_in_home: vec![],
        linger: false,
        has_logind: true,
        nologin: "/usr/sbin/nologin".into(),
        has_shell: true,
        tmpfiles: "/etc/tmpfiles.d/bulkhead-secrets-web.conf".into(),
        tmpfiles_line: None,
        secrets: None,
        secrets_files: vec![],
        selinux: false,
        remains: None,
    }
}

/// A host with the account made.
pub fn made() -> Observed {
    let web = account("web", 1001);
    let mut observed = host();
    observed.accounts.push(web.clone());
    observed.groups.push(group("web", 1001));
    Observed {
        traits: Some(Traits {
            group: "web".to_owned(),
            home: web.home.clone(),
            shell: web.shell.clone(),
            groups: vec![],
            comment: String::new(),
        }),
        account: Some(web),
        subuid: Subids::parse(b"ann:100000:65536\nweb:165536:65536\n"),
        subgid: Subids::parse(b"ann:100000:65536\nweb:165536:65536\n"),
        home: Some(directory(1001, 1001, 0o700)),
        first_missing: None,
        linger: true,
        tmpfiles_line: Some("d \"/run/secrets-web\" 0750 root web -\n".to_owned()),
        secrets: Some(directory(0, 1001, 0o750)),
        ..observed
    }
}
