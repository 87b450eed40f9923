//! Which files are copied: secrets, what units name below the home, Podman's own configuration.

use super::{Data, Draft};
use crate::{
    args::Switch,
    observed::Kind,
    record::KEPT_SECRETS,
    step::{Copy, What},
};
use host::tmpfiles;
use std::path::Path;

impl Draft<'_> {
    /// The files that the units name, and Podman's own configuration.
    pub(super) fn copies(&mut self, data: &Data) {
        let (from, to) = (&self.observed.from.account, &self.observed.to.account);
        let (secrets_from, secrets_to) = (self.args.secrets_from(), self.args.secrets_to());
        let keeps = self.args.keep_secrets != Switch::Off && secrets_to.starts_with("/run");
        let mut copies = vec![];
        let mut kept = vec![];
        for path in self.named_paths() {
            let secret = path.strip_prefix(&secrets_from).ok();
            let of_home = path.strip_prefix(&from.home).ok();
            let Some(facts) = self.observed.paths.get(&path) else {
                continue;
            };
            let (target, keep) = match (secret, of_home) {
                (Some(below), _) => {
                    let keep = Path::new(KEPT_SECRETS).join(&to.name).join(below);
                    (secrets_to.join(below), keeps.then_some(keep))
                }
                (None, Some(below)) if !data.covers(&path) => (to.home.join(below), None),
                _ => continue,
            };
            match facts.kind {
                Kind::File => {}
                Kind::Missing if secret.is_some() => {
                    self.refuse(format!("secret {} is missing", path.display()));
                    continue;
                }
                Kind::Directory if secret.is_some() => {
                    self.refuse(format!(
                        "a unit names the whole directory {}: that would hand over what is not the service's; name \
                         the files",
                        path.display()
                    ));
                    continue;
                }
                _ => continue,
            }
            let copy = Copy {
                from: path.clone(),
                to: target,
                owner: self.owner(facts.uid, facts.gid),
                mode: facts.mode,
                kept: keep,
            };
            if copy.kept.is_some() {
                kept.push(copy.clone());
            }
            copies.push(copy);
        }
        for (file, setting) in &self.observed.configuration {
            if let Some(setting) = setting {
                let path = Path::new(".config/containers").join(file);
                self.refuse(format!(
                    "{} has \"{setting}\", which is good for {} alone; write {} for {} first",
                    from.home.join(&path).display(),
                    from.name,
                    to.home.join(path).display(),
                    to.name
                ));
            }
        }
        let configuration = self.observed.configuration.keys().map(|file| Copy {
            from: from.home.join(".config/containers").join(file),
            to: to.home.join(".config/containers").join(file),
            owner: (to.uid, to.gid),
            mode: 0o644,
            kept: None,
        });
        copies.extend(configuration);
        if !copies.is_empty() {
            self.steps.push(What::Files { copies });
        }
        if !kept.is_empty() {
            self.keep_secrets(&kept);
        }
    }

    /// Their directory is dedicated_user's to keep.
    fn keep_secrets(&mut self, copies: &[Copy]) {
        let mut text = format!(
            "# Secrets, of which root has copies in {KEPT_SECRETS}. Written by podman_service.\n"
        );
        for copy in copies {
            let Some(kept) = &copy.kept else { continue };
            match tmpfiles::copy(kept, &copy.to, copy.mode, copy.owner) {
                Ok(line) => text.push_str(&line),
                Err(error) => self.refuse(error.to_string()),
            }
        }
        let name = format!("bulkhead-{}-{}", self.args.to, self.args.name);
        self.steps.push(What::KeepSecrets {
            configuration: tmpfiles::file(&name),
            text,
        });
    }

    /// As the new account's containers see them, an owner's ids stay the same; root stays root.
    fn owner(&self, uid: u32, gid: u32) -> (u32, u32) {
        (
            self.maps.uid.to_host(uid).unwrap_or(uid),
            self.maps.gid.to_host(gid).unwrap_or(gid),
        )
    }
}
