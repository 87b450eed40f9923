//! What a unit file says. Pure.

use std::{collections::BTreeSet, path::PathBuf};

/// The settings of a unit file, in their order.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct UnitText {
    settings: Vec<Setting>,
}

#[derive(Debug, PartialEq, Eq)]
struct Setting {
    section: String,
    key: String,
    value: String,
}

/// Settings by which a quadlet names others: `data.volume:/var/lib/mysql`, `back.network:alias=db`.
const NAMES_QUADLETS: [(&str, &[&str]); 4] = [
    ("Volume", &["volume"]),
    ("Network", &["network"]),
    ("Pod", &["pod"]),
    ("Image", &["image", "build"]),
];

impl UnitText {
    /// As systemd.syntax(7) has it: a line that is none of a section or a setting says nothing.
    pub fn parse(text: &str) -> UnitText {
        let mut settings = vec![];
        let mut section = None;
        for line in lines(text) {
            let line = line.trim();
            if line.starts_with('[') {
                let name = line
                    .strip_prefix('[')
                    .and_then(|name| name.strip_suffix(']'));
                section = name.map(str::to_owned);
            } else if let (Some(section), Some((key, value))) = (&section, line.split_once('=')) {
                settings.push(Setting {
                    section: section.clone(),
                    key: key.trim_end().to_owned(),
                    value: value.trim_start().to_owned(),
                });
            }
        }
        UnitText { settings }
    }

    /// All values of a setting, in whatever section.
    pub fn all(&self, key: &str) -> impl Iterator<Item = &str> {
        let of_key = self
            .settings
            .iter()
            .filter(move |setting| setting.key == key);
        of_key.map(|setting| setting.value.as_str())
    }

    /// The value that counts of a setting that has one.
    pub fn last(&self, section: &str, key: &str) -> Option<&str> {
        let fits = |setting: &&Setting| setting.section == section && setting.key == key;
        let setting = self.settings.iter().rfind(fits);
        setting.map(|setting| setting.value.as_str())
    }

    /// The service's name where it is not that of the file.
    pub fn service_name(&self) -> Option<&str> {
        self.all("ServiceName").last()
    }

    /// The quadlets that it names.
    pub fn quadlets(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for (key, kinds) in NAMES_QUADLETS {
            for value in self.all(key) {
                let first = value.split(':').next().unwrap_or_default();
                if let Some((_, kind)) = first.rsplit_once('.')
                    && kinds.contains(&kind)
                    && !first.contains('/')
                {
                    found.insert(first.to_owned());
                }
            }
        }
        found
    }

    /// How each container says that its user namespace is made: `keep-id:uid=5`, `auto`, …
    pub fn user_namespaces(&self) -> Vec<String> {
        let settings = self.all("UserNS").map(str::to_owned);
        let options = self.options("--userns");
        settings.chain(options).collect()
    }

    /// Explicit maps of ids: `0:10000:10`, `+5:@1000:1`.
    pub fn id_maps(&self) -> Vec<String> {
        let settings = [
            "UIDMap",
            "GIDMap",
            "SubUIDMap",
            "SubGIDMap",
            "RemapUid",
            "RemapGid",
            "RemapUsers",
        ];
        let settings = settings
            .into_iter()
            .flat_map(|key| self.all(key))
            .map(str::to_owned);
        let options = ["--uidmap", "--gidmap", "--subuidname", "--subgidname"];
        let options = options.into_iter().flat_map(|option| self.options(option));
        settings.chain(options).collect()
    }

    /// Podman's secrets that it names.
    pub fn secrets(&self) -> BTreeSet<String> {
        let settings = self.all("Secret").map(str::to_owned);
        let values = settings.chain(self.options("--secret"));
        let name = |value: String| {
            let first = value.split(',').next().unwrap_or_default();
            first.strip_prefix("source=").unwrap_or(first).to_owned()
        };
        values.map(name).filter(|name| !name.is_empty()).collect()
    }

    /// What its containers mount: a path, or the name of a volume or of a quadlet of one.
    pub fn mounted(&self) -> BTreeSet<String> {
        let first = |value: &str| value.split(':').next().unwrap_or_default().to_owned();
        let settings = self.all("Volume").map(first);
        let options = ["--volume", "-v"].into_iter();
        let options = options.flat_map(|option| self.options(option));
        let options: Vec<_> = options.map(|value| first(&value)).collect();
        let mounts = self.all("Mount").map(str::to_owned);
        let mounts = mounts.chain(self.options("--mount")).filter_map(|value| {
            let source = |part: &str| {
                let named = part.strip_prefix("source=").or(part.strip_prefix("src="));
                named.map(str::to_owned)
            };
            value.split(',').find_map(source)
        });
        let all = settings.chain(options).chain(mounts);
        all.filter(|source| !source.is_empty()).collect()
    }

    /// The names that it gives to its containers.
    pub fn container_names(&self) -> impl Iterator<Item = String> {
        let settings = self.all("ContainerName").map(str::to_owned);
        settings.chain(self.options("--name"))
    }

    /// The images that it names: of a command line only those by digest, which nothing else looks like.
    pub fn images(&self) -> impl Iterator<Item = &str> {
        let is_quadlet = |image: &&str| image.ends_with(".image") || image.ends_with(".build");
        let settings = self.all("Image").filter(move |image| !is_quadlet(image));
        let words = self.all("ExecStart").flat_map(str::split_whitespace);
        settings.chain(words.filter(|word| word.contains("@sha256:")))
    }

    /// Whether it runs a container by a command line, of which only the container tells all that it needs.
    pub fn runs_podman(&self) -> bool {
        self.all("ExecStart").any(|line| {
            let mut words = line.split_whitespace();
            let program = words.next().unwrap_or_default();
            program.ends_with("podman") && words.any(|word| ["run", "start"].contains(&word))
        })
    }

    /// The values of an option on the command lines in it.
    fn options(&self, option: &str) -> Vec<String> {
        let lines = ["ExecStart", "ExecStartPre", "PodmanArgs", "GlobalArgs"];
        let lines = lines.into_iter().flat_map(|key| self.all(key));
        lines.flat_map(|line| option_values(line, option)).collect()
    }

    /// Every path that stands in it, as a word or part of one.
    pub fn paths(&self) -> BTreeSet<PathBuf> {
        let values = self.settings.iter().map(|setting| setting.value.as_str());
        let found = values.flat_map(paths_in);
        found.map(|(_, path)| PathBuf::from(path)).collect()
    }
}

/// Without comments, and with what a backslash at the end continues joined to it: a comment in between does not end it.
fn lines(text: &str) -> Vec<String> {
    let mut lines = vec![];
    let mut open = String::new();
    for line in text.lines() {
        if line.trim_start().starts_with(['#', ';']) {
            continue;
        }
        let whole = std::mem::take(&mut open) + line;
        let backslashes = whole.len() - whole.trim_end_matches('\\').len();
        match backslashes % 2 {
            0 => lines.push(whole),
            _ => open = format!("{} ", &whole[..whole.len() - 1]),
        }
    }
    lines.push(open);
    lines
}

fn option_values(line: &str, option: &str) -> Vec<String> {
    let unquoted = |word: &str| word.trim_matches(['"', '\'']).to_owned();
    let mut words = line.split_whitespace().map(unquoted);
    let mut found = vec![];
    while let Some(word) = words.next() {
        match word.strip_prefix(option) {
            Some("") => found.extend(words.next()),
            Some(rest) => found.extend(rest.strip_prefix('=').map(unquoted)),
            None => {}
        }
    }
    found
}

/// Every path in a text, and at which byte it begins. `%h` is the home directory, systemd.unit(5): a path that begins
/// with it is kept so. Letters before one say how a file is read or a program is run, systemd.exec(5).
pub fn paths_in(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let ends = |letter: char| letter.is_whitespace() || ":,;=\"'`()[]{}<>|&".contains(letter);
    let mut begin = 0;
    let words = text.split_inclusive(ends).map(move |word| {
        let at = begin;
        begin += word.len();
        let path = word
            .trim_end_matches(ends)
            .trim_start_matches(['-', '@', '+', '!']);
        (at + word.find(path).unwrap_or_default(), path)
    });
    words.filter(|(_, path)| (path.starts_with('/') || path.starts_with("%h/")) && path.len() > 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIT: &str = "[Unit]\nDescription=a\n\n[Container]\nImage=localhost/a:1\n# Volume=no.volume:/x\n\
        Volume=a.volume:/data:Z\nVolume=/srv/a:/a\nVolume=/run/secrets-a/key:/key:ro\nNetwork=back.network:alias=a\n\
        Network=host\nPod=shop.pod\nSecret=token,type=env,target=T\nUserNS=keep-id\nPodmanArgs=--uidmap 0:1:5 \\\n  \
        --secret=other\n[Service]\nEnvironmentFile=-%h/a.env\nExecStart=/usr/bin/podman run --userns=auto --env-file=/run/secrets-a/env \
        --secret source=third,target=x a\n";

    #[test]
    fn a_unit_says_what_it_needs() {
        let unit = UnitText::parse(UNIT);
        let quadlets: Vec<_> = unit.quadlets().into_iter().collect();
        assert_eq!(quadlets, ["a.volume", "back.network", "shop.pod"]);
        assert_eq!(unit.user_namespaces(), ["keep-id", "auto"]);
        assert_eq!(unit.id_maps(), ["0:1:5"]);
        let named = UnitText::parse("[Container]\nSubUIDMap=db\nSubGIDMap=db\n");
        assert_eq!(named.id_maps(), ["db", "db"]);
        let secrets: Vec<_> = unit.secrets().into_iter().collect();
        assert_eq!(secrets, ["other", "third", "token"]);
        for path in ["/srv/a", "/run/secrets-a/key", "/run/secrets-a/env"] {
            assert!(
                unit.paths().contains(&PathBuf::from(path)),
                "{path}: {:?}",
                unit.paths()
            );
        }
    }

    #[test]
    fn what_is_mounted_is_told_however_it_is_written() {
        let unit = UnitText::parse(
            "[Container]\nVolume=a.volume:/data:Z\nVolume=/srv/a:/a\nMount=type=bind,src=/srv/b,dst=/b\n\
             Mount=type=tmpfs,destination=/t\nPodmanArgs=-v %h/c:/c --volume=named:/d\nImage=x.build\nImage=x:1\n",
        );
        let mounted: Vec<_> = unit.mounted().into_iter().collect();
        assert_eq!(mounted, ["%h/c", "/srv/a", "/srv/b", "a.volume", "named"]);
        assert_eq!(unit.images().collect::<Vec<_>>(), ["x:1"]);
        let unit =
            UnitText::parse("[Service]\nExecStart=podman run --rm \\\n\t--name web -v a:/b x\n");
        assert_eq!(unit.container_names().collect::<Vec<_>>(), ["web"]);
        assert!(unit.runs_podman());
        let unit = UnitText::parse("[Service]\nExecStart=/usr/bin/podman run --rm x@sha256:ab c\n");
        assert_eq!(unit.images().collect::<Vec<_>>(), ["x@sha256:ab"]);
    }

    #[test]
    fn the_home_is_seen_behind_its_specifier() {
        let unit = UnitText::parse("[Service]\nEnvironmentFile=%h/a.env\n");
        assert_eq!(unit.paths(), BTreeSet::from(["%h/a.env".into()]));
        let unit = UnitText::parse("[Service]\nEnvironmentFile=-%h/a.env\nEnvironmentFile=-/b\n");
        assert_eq!(
            unit.paths(),
            BTreeSet::from(["%h/a.env".into(), "/b".into()])
        );
    }

    #[test]
    fn the_last_value_counts() {
        let unit = UnitText::parse("[Service]\nUser=a\nUser=b\n[Container]\nUser=c\n");
        assert_eq!(unit.last("Service", "User"), Some("b"));
        assert_eq!(unit.last("Service", "Group"), None);
        assert_eq!(
            UnitText::parse("no unit\n=\nkey=value\n"),
            UnitText::default()
        );
    }

    #[test]
    fn lines_are_read_as_systemd_reads_them() {
        let unit = UnitText::parse(
            " \n  [Container]\n\tImage = x:1\n  # Image=y:1\n;Image=z:1\nPodmanArgs=-v /a:/a \\\n# -v /b:/b \\\n  -v /c:/c\\\\\n\
             no setting\n[broken\nVolume=/d:/d\n[Service]\r\nUser=x\r\nExecStart=a=b \\",
        );
        assert_eq!(unit.images().collect::<Vec<_>>(), ["x:1"]);
        let args: Vec<_> = unit.all("PodmanArgs").collect();
        assert_eq!(args, ["-v /a:/a    -v /c:/c\\\\"]);
        assert_eq!(unit.all("Volume").count(), 0);
        assert_eq!(unit.last("Service", "User"), Some("x"));
        assert_eq!(unit.last("Service", "ExecStart"), Some("a=b"));
    }
}
