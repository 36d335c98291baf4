//! Steps over several values.

use checkvalve::domain::names::StepId;
use checkvalve::domain::pipeline::StepSpec;

use super::{read, refused, with_steps};

fn steps(text: &str) -> Vec<StepSpec> {
    let rules = read(&with_steps(text)).unwrap_or_else(|invalid| panic!("{invalid}"));
    rules.pipelines[0].steps.clone()
}

fn ids(of: &[StepSpec]) -> Vec<&str> {
    of.iter().map(|step| step.id.as_str()).collect()
}

#[test]
fn each_value_makes_an_instance_that_is_named_by_it() {
    let steps = steps(
        "      - { id: unit, image: \"python:{python}-{os}\", run: pytest, env: { A: b }, when: { files: tests/** },\n\
         \x20         matrix: { python: [3.10, \"3.11\"], os: [slim] } }\n\
         \x20     - { id: tell, image: busybox, run: y, needs: unit }\n",
    );
    assert_eq!(ids(&steps), ["unit (3.10, slim)", "unit (3.11, slim)", "tell"]);
    assert_eq!(steps[0].image, "python:3.10-slim", "as it is written");
    let env: Vec<(&str, &str)> =
        steps[1].env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(env, [("A", "b"), ("MATRIX_OS", "slim"), ("MATRIX_PYTHON", "3.11")]);
    let needs: Vec<&str> = steps[2].needs.iter().map(StepId::as_str).collect();
    assert_eq!(needs, ["unit (3.10, slim)", "unit (3.11, slim)"], "all of them");
    for name in ["unit", "UNIT (3.10, slim)", "unit(3.10,slim)"] {
        assert!(steps[0].is_called(name), "{name}");
    }
    for name in ["unit (3.10)", "tell", "unit (3.11, slim)"] {
        assert!(!steps[0].is_called(name), "{name}");
    }
}

#[test]
fn a_condition_is_each_instances_condition() {
    let text = with_steps(
        "      - { id: u, image: x, run: y, when: { files: tests/** }, matrix: { v: [1, 2] } }\n",
    );
    let rules = read(&text).unwrap();
    let with: Vec<&str> = rules.pipelines[0].when.keys().map(StepId::as_str).collect();
    assert!(with.contains(&"u (1)") && with.contains(&"u (2)"), "{with:?}");
}

#[test]
fn heirs_with_the_same_matrix_inherit_in_pairs() {
    let steps = steps(
        "      - { id: install, image: \"python:{python}\", run: x, matrix: { python: [a, b], os: [c] } }\n\
         \x20     - { id: unit, from: install, needs: install, run: y, matrix: { os: [c], python: [b, a] } }\n\
         \x20     - { id: more, from: unit, run: z, matrix: { os: [c], python: [a, b] } }\n",
    );
    let pair = |id: &str| {
        let step = steps.iter().find(|step| step.id.as_str() == id).unwrap();
        (step.from.as_ref().unwrap().as_str(), step.image.as_str(), step.needs.len())
    };
    // The pair alone is waited for, and `Plan` adds it.
    assert_eq!(pair("unit (c, a)"), ("install (a, c)", "python:a", 0));
    assert_eq!(pair("unit (c, b)"), ("install (b, c)", "python:b", 0));
    assert_eq!(pair("more (c, b)"), ("unit (c, b)", "python:b", 0));
}

#[test]
fn a_plain_parent_has_heirs_of_many_values() {
    let steps = steps(
        "      - { id: install, image: x, run: x }\n\
         \x20     - { id: unit, from: install, run: y, matrix: { part: [1, 2] } }\n",
    );
    assert_eq!(ids(&steps), ["install", "unit (1)", "unit (2)"]);
    assert!(steps[1..].iter().all(|step| step.from.as_ref().unwrap().as_str() == "install"));
}

#[test]
fn matrices_that_can_t_be_are_refused_with_a_mend() {
    let many: Vec<String> = (0..51).map(|value| value.to_string()).collect();
    let many = many.join(", ");
    let step = |matrix: &str| format!("      - {{ id: a, image: x, run: y, matrix: {matrix} }}\n");
    let named = |count: usize| {
        let names: Vec<String> = (0..count).map(|at| format!("v{at}: [1]")).collect();
        names.join(", ")
    };
    let heir = |matrix: &str| {
        format!(
            "      - {{ id: a, image: x, run: y, matrix: {{ v: [1, 2] }} }}\n      \
             - {{ id: b, from: a, run: z{matrix} }}\n"
        )
    };
    for (text, expected) in [
        (step("{}"), ":4:36: the matrix of step `a` is empty"),
        (step("{ v: [] }"), "the matrix of step `a` has a variable without values"),
        (step("{ v: 3 }"), "`matrix.v` wants a list"),
        (step("{ v: [[1]] }"), "`matrix.v` wants values"),
        (step("{ v: [a b] }"), "`matrix.v` can't have the value `a b`"),
        (step("{ v: [ghcr.io/x] }"), "it names a check run"),
        (step("{ v: [1, 1] }"), "has the value `1` twice"),
        (step("{ v: [1], v: [2] }"), "`v` stands twice in `matrix`"),
        (step("{ Python: [1] }"), "small letters"),
        (step(&format!("{{ v: [{many}] }}")), "`matrix.v` has 51 values\n"),
        (step(&format!("{{ v: [{many}] }}")), "at most 50"),
        (step("{ v: [1, 2, 3, 4, 5, 6], w: [1, 2, 3, 4, 5, 6, 7, 8, 9] }"), "makes 54 instances\n"),
        (step(&format!("{{ {} }}", named(51))), "the matrix of step `a` has 51 variables\n"),
        (step("{ v: [1] }, env: { MATRIX_V: 2 }"), "both give `MATRIX_V`"),
        (
            "      - { id: a, image: \"x:{w}\", run: y, matrix: { v: [1] } }\n".to_owned(),
            "the image `x:{w}` of step `a` is open",
        ),
        ("      - { id: a, image: \"x:{w}\", run: y }\n".to_owned(), "matrix: { w: [a, b] }"),
        (
            // An engine takes it for an image's id.
            "      - { id: a, image: \"{v}\", run: y, matrix: { v: [aaaaaaaaaaaa] } }\n".to_owned(),
            "may be the begin of any image's id",
        ),
        ("      - { id: a, uses: qa, matrix: { v: [1] } }\n".to_owned(), "`matrix` says nothing"),
        (heir(""), ":5:24: step `b` inherits from `a`, which has 2 instances"),
        (heir(", matrix: { v: [1, 3] }"), "give it the matrix of `a`"),
        (
            step("{ v: [1] }") + "      - { id: \"A (1)\", image: x, run: y }\n",
            "two steps are called `A (1)`",
        ),
        (
            (0..3).fold(String::new(), |text, at| {
                let values = many.trim_end_matches(", 50");
                text + &format!(
                    "      - {{ id: s{at}, image: x, run: y, matrix: {{ v: [{values}] }} }}\n"
                )
            }),
            "with its matrices, the pipeline has 150 steps",
        ),
    ] {
        let text = refused(&with_steps(&text));
        assert!(text.contains(expected), "{expected}\n{text}");
    }
    let secret = "secrets: { matrix_v: { from: gsm, as: env } }";
    assert!(refused(secret).contains("`MATRIX_V`, which is taken"));
}

/// Each would be compared with all before it.
#[test]
fn what_is_refused_for_its_length_is_not_looked_through() {
    let values: Vec<String> = (0..60_000).map(|value| format!("v{value}")).collect();
    let step = |matrix: &str| {
        with_steps(&format!("      - {{ id: a, image: x, run: y, matrix: {matrix} }}\n"))
    };
    let text = refused(&step(&format!("{{ v: [{}] }}", values.join(", "))));
    assert!(text.contains("`matrix.v` has 60000 values"), "{text}");
    // Of the values none is looked at.
    let text = refused(&step(&format!("{{ v: [{}] }}", "A B, ".repeat(60))));
    assert!(text.contains("has 60 values") && !text.contains("`A B`"), "{text}");
    let variables: Vec<String> = (0..30_000).map(|at| format!("V{at}: []")).collect();
    let text = refused(&step(&format!("{{ {} }}", variables.join(", "))));
    assert!(text.contains("has 30000 variables") && !text.contains("`V1`"), "{text}");
    // Nor are instances made that each need all of those of ninety others.
    let many: Vec<String> = (0..50).map(|value| value.to_string()).collect();
    let ids: Vec<String> = (0..90).map(|at| format!("s{at}")).collect();
    let steps = ids.iter().enumerate().map(|(at, id)| {
        let (needs, values) = (ids[..at].join(", "), many.join(", "));
        format!(
            "      - {{ id: {id}, image: x, run: y, needs: [{needs}], matrix: {{ v: [{values}] }} }}\n"
        )
    });
    let text = refused(&with_steps(&steps.collect::<Vec<String>>().concat()));
    assert!(text.contains("with its matrices, the pipeline has 4500 steps"), "{text}");
}
