//! The engine by hand: `rechown survey MAP ROOT…`, `rechown shift MAP JOURNAL ROOT…`, `rechown undo JOURNAL`;
//! `rechown done MAP JOURNAL ROOT…` fails unless the journal tells of that shift and the roots are as it left them.
//! `rechown show MAP DIRECTORY` mounts a directory over itself as the map shows it, and takes it away again.
//! MAP is extents as `[u:|g:|b:]container:host:size`, separated by commas. `survey` and `shift` refuse what a
//! policy may allow, unless told so: `shift+unmapped+strays+immutable+links`.

use rechown::{IdMaps, Immutable, OutsideLinks, Policy, Strays, Unknown, idmapped::View};
use std::{
    error::Error,
    fs::{self, File},
    os::fd::AsFd,
    path::Path,
    process::{Command, Stdio},
    thread::yield_now,
};

fn policy(words: &str) -> Policy {
    let mut policy = Policy::default();
    for word in words.split('+') {
        match word {
            "unmapped" => policy.unmapped = Unknown::Keep,
            "strays" => policy.strays = Strays::Leave,
            "immutable" => policy.immutable = Immutable::Lift,
            "links" => policy.outside_links = OutsideLinks::Keep,
            _ => {}
        }
    }
    policy
}

fn show(maps: &IdMaps, directory: &Path) -> Result<(), Box<dyn Error>> {
    // Waits in a user namespace of its own until its standard input is closed.
    let mut waiting = Command::new("unshare");
    let waiting = waiting.args(["--user", "cat"]).stdin(Stdio::piped());
    let mut waiting = waiting.spawn()?;
    let its = format!("/proc/{}", waiting.id());
    while fs::read_link(format!("{its}/ns/user"))? == fs::read_link("/proc/self/ns/user")? {
        yield_now();
    }
    for (kind, map) in [("uid", &maps.uid), ("gid", &maps.gid)] {
        let line = |extent: &idmap::Extent| {
            format!("{} {} {}\n", extent.container, extent.host, extent.size)
        };
        let lines: String = map.extents().iter().map(line).collect();
        fs::write(format!("{its}/{kind}_map"), lines)?;
    }
    let namespace = File::open(format!("{its}/ns/user"))?;
    drop(waiting.stdin.take());
    waiting.wait()?;
    View::new(directory, maps, namespace.as_fd())?.attach(directory)?;
    rechown::idmapped::detach(directory)?;
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let maps = |text: &str| IdMaps::parse(&text.split(',').collect::<Vec<_>>());
    let (verb, rest) = arguments.split_first().unwrap_or((&"", &[]));
    let (verb, words) = verb.split_once('+').unwrap_or((verb, ""));
    let policy = policy(words);
    let json = match (verb, rest) {
        ("survey", [map, roots @ ..]) => {
            serde_json::to_string_pretty(&rechown::survey(roots, &maps(map)?, policy)?)?
        }
        ("shift", [map, journal, roots @ ..]) => {
            let report = rechown::shift(roots, &maps(map)?, policy, Path::new(journal))?;
            serde_json::to_string_pretty(&report)?
        }
        ("done", [map, journal, roots @ ..]) => {
            if !rechown::is_done(roots, &maps(map)?, policy, Path::new(journal))? {
                return Err("not done".into());
            }
            "true".to_owned()
        }
        ("show", [map, directory]) => {
            show(&maps(map)?, Path::new(directory))?;
            "true".to_owned()
        }
        ("undo", [journal]) => serde_json::to_string_pretty(&rechown::undo(Path::new(journal))?)?,
        _ => {
            return Err(
                "usage: rechown survey MAP ROOT… | shift|done MAP JOURNAL ROOT… | undo JOURNAL"
                    .into(),
            );
        }
    };
    println!("{json}");
    Ok(())
}
