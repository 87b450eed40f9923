//! The engine by hand: `rechown survey MAP ROOT…`, `rechown shift MAP JOURNAL ROOT…`, `rechown undo JOURNAL`;
//! `rechown done MAP JOURNAL ROOT…` fails unless the journal tells of that shift and the roots are as it left them.
//! MAP is extents as `[u:|g:|b:]container:host:size`, separated by commas. `survey` and `shift` refuse what a
//! policy may allow, unless told so: `shift+unmapped+strays+immutable+links`.

use rechown::{IdMaps, Immutable, OutsideLinks, Policy, Strays, Unknown};
use std::{error::Error, path::Path};

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
