//! `depends` of a connector rule.

use checkvalve::domain::rules::Derivation;

use super::{read, refused};

fn rule(depends: &str) -> String {
    format!("connectors:\n  - match: \"{{name}}/x\"\n    depends: {depends}\n")
}

fn derivations(depends: &str) -> Vec<Derivation> {
    let mut rules = read(&rule(depends)).unwrap_or_else(|invalid| panic!("{invalid}"));
    rules.connectors.remove(0).depends
}

#[test]
fn every_way_has_a_word() {
    let all = "[pyproject-path, requirements-path, setup-py, gradle, dockerfile-copy, \
               dockerfile-from, go-imports]";
    assert_eq!(
        derivations(all),
        [
            Derivation::PyprojectPath,
            Derivation::RequirementsPath,
            Derivation::SetupPy,
            Derivation::Gradle,
            Derivation::DockerfileCopy,
            Derivation::DockerfileFrom,
            Derivation::GoImports,
        ]
    );
    assert_eq!(derivations("gradle"), [Derivation::Gradle]);
    assert_eq!(derivations("[]"), []);
}

#[test]
fn roots_are_folders_from_the_top() {
    let roots = |texts: &[&str]| {
        let roots = texts.iter().map(|&text| text.to_owned()).collect();
        vec![Derivation::PythonImports { roots }]
    };
    assert_eq!(
        derivations("[python-imports: [plugins/, ./shared, .]]"),
        roots(&["plugins", "shared", "."])
    );
    assert_eq!(derivations("{ python-imports: src }"), roots(&["src"]));
    assert_eq!(derivations("\n      - python-imports:\n          - ./\n"), roots(&["."]));
}

#[test]
fn what_can_not_be_followed_is_refused_where_it_stands() {
    for (depends, column, expected) in [
        ("[pyproject_path]", 15, "did you mean `pyproject-path`?"),
        ("[setup.py]", 15, "did you mean `setup-py`?"),
        ("[go]", 15, "did you mean `go-imports`?"),
        ("[requirements.txt]", 15, "did you mean `requirements-path`?"),
        ("[maven]", 15, "it is one of: pyproject-path, requirements-path, setup-py, gradle"),
        ("[gradle, gradle]", 23, "`gradle` stands twice"),
        ("[python-imports]", 15, "write `python-imports: [\".\"]`"),
        ("[python-imports: []]", 31, "has no roots"),
        ("[python-imports: [a, a/]]", 35, "stands twice"),
        ("[python-imports: [/src]]", 32, "without the leading `/`"),
        ("[python-imports: [../src]]", 32, "from the repository's root on"),
        ("[python-imports: [\"{name}/src\"]]", 32, "without wildcards and variables"),
        ("[python-imports: [a//b]]", 32, "from the repository's root on"),
        ("[python-imports: [3]]", 32, "put it in quotes"),
        ("[gradle: [a]]", 15, "write `gradle` alone"),
        ("[python-import: [a]]", 15, "did you mean `python-imports`?"),
        ("{ python-imports: [a], gradle: }", 14, "one key"),
        ("[[gradle]]", 15, "wants a word such as `pyproject-path`"),
        ("3", 14, "wants a list"),
        ("", 12, "wants a list"),
    ] {
        let message = refused(&rule(depends));
        assert!(message.contains(expected), "{depends}\n{message}");
        assert!(message.contains(&format!(":3:{column}: ")), "{depends}\n{message}");
    }
    assert!(refused("depends: [gradle]").contains("write it there, beside `match`"));
}
