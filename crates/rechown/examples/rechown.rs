//! The engine by hand: `rechown survey MAP ROOT…`, `rechown shift MAP JOURNAL ROOT…`, `rechown undo JOURNAL`.
//! `shift-rest` leaves strays alone. MAP is extents as `[u:|g:|b:]container:host:size`, separated by commas.

use rechown::IdMaps;
use std::{error::Error, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let maps = |text: &str| IdMaps::parse(&text.split(',').collect::<Vec<_>>());
    let json = match arguments[..] {
        ["survey", map, ref roots @ ..] => {
            serde_json::to_string_pretty(&rechown::survey(roots, &maps(map)?)?)?
        }
        ["shift", map, journal, ref roots @ ..] => {
            let report = rechown::shift(roots, &maps(map)?, Path::new(journal))?;
            serde_json::to_string_pretty(&report)?
        }
        ["shift-rest", map, journal, ref roots @ ..] => {
            let report = rechown::shift_leaving_strays(roots, &maps(map)?, Path::new(journal))?;
            serde_json::to_string_pretty(&report)?
        }
        ["undo", journal] => serde_json::to_string_pretty(&rechown::undo(Path::new(journal))?)?,
        _ => {
            return Err(
                "usage: rechown survey MAP ROOT… | shift|shift-rest MAP JOURNAL ROOT… | undo JOURNAL".into(),
            );
        }
    };
    println!("{json}");
    Ok(())
}
