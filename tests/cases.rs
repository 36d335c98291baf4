//! Real changes of four real repositories, and which connectors a stated rule selects. The cases are
//! not ours to publish: they are read from the folder that `CHECKVALVE_CASES` names, and without it
//! the tests print that nothing was checked. With `CHECKVALVE_REAL`, a folder of clones named
//! `<owner>+<repository>`, the program itself is run on the commits of the cases, too.
//!
//! No connector that a case expects may be missed. One more than expected must be of a class that
//! `docs/cases.md` justifies.

#![expect(clippy::unwrap_used, reason = "what a test's helpers expect is part of the test")]

#[path = "cases/airbyte.rs"]
mod airbyte;
#[path = "support/given.rs"]
mod given;
#[path = "cases/layouts.rs"]
mod layouts;
#[path = "cases/real.rs"]
mod real;
#[path = "cases/rows.rs"]
mod rows;
#[path = "cases/synthetic.rs"]
mod synthetic;
#[path = "cases/tree.rs"]
mod tree;
#[path = "cases/verdict.rs"]
mod verdict;

#[test]
fn what_is_named_must_be_there_where_everything_is_required() {
    let here = env!("CARGO_MANIFEST_DIR");
    let judged = |folder: Option<&str>, file: &str, required: bool| {
        let folder = folder.map(str::to_owned);
        let file = file.to_owned();
        std::panic::catch_unwind(move || {
            given::judged("CHECKVALVE_CASES", folder.as_deref(), (&file, required))
        })
    };
    for required in [true, false] {
        assert!(judged(Some(here), "Cargo.toml", required).unwrap().is_ok());
        // A checkout without the folder says so, and passes.
        let why = judged(None, "Cargo.toml", required).unwrap().unwrap_err();
        assert_eq!(why, "CHECKVALVE_CASES names no folder");
    }
    let why = judged(Some(here), "layouts.jsonl.gz", false).unwrap().unwrap_err();
    assert!(why.contains("there is no layouts.jsonl.gz"), "{why}");
    assert!(judged(Some(here), "layouts.jsonl.gz", true).is_err(), "it passed unchecked");
}
