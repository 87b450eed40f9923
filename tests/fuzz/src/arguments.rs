//! What ansible hands to a module.

use ansible_module::{Kind, Opt, Spec, fuzzing};
use serde_json::Value;

/// An option of every kind.
fn spec() -> Spec {
    let nested = Spec::suboptions()
        .option(Opt::int("size").required())
        .option(Opt::str("name").no_log(true));
    Spec::new("fuzz")
        .option(
            Opt::str("state")
                .choices(["present", "absent"])
                .default("present"),
        )
        .option(Opt::int("count").aliases(["number"]))
        .option(Opt::float("ratio"))
        .option(Opt::bool("force"))
        .option(Opt::path("path"))
        .option(Opt::raw("raw"))
        .option(Opt::json("json"))
        .option(Opt::bytes("bytes"))
        .option(Opt::bits("bits"))
        .option(Opt::list("ids", Kind::Int))
        .option(Opt::dict("mapping"))
        .option(Opt::dict("nested").suboptions(nested))
        .required_if("state", "absent", &["path"], false)
}

/// The JSON on standard input. What was checked once passes as it is.
pub fn arguments(data: &[u8]) {
    let spec = spec();
    if let Ok(params) = fuzzing::arguments(&spec, data) {
        let text = serde_json::to_vec(&params).expect("parameters are JSON");
        assert_eq!(fuzzing::arguments(&spec, &text).as_ref(), Ok(&params));
    }
}

/// A mapping written as a Python literal. What `repr` writes is read as it was.
pub fn literal(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let values = [
        fuzzing::literal(&text),
        serde_json::from_str::<Value>(&text).ok(),
    ];
    // Of numbers with many digits serde_json may read the last one wrong.
    let is_kept =
        |value: &Value| serde_json::from_str(&value.to_string()).ok().as_ref() == Some(value);
    for value in values.into_iter().flatten().filter(is_kept) {
        let repr = fuzzing::repr(&value);
        assert_eq!(fuzzing::literal(&repr).as_ref(), Some(&value), "{repr}");
    }
}
