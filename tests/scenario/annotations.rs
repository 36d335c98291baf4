//! What tools complain of, at the lines of the change.

use std::collections::BTreeSet;

use super::world::cutter::Cutter;
use super::world::{Extra, Steps, Via, World};

const CONFIG: &str = r#"
preset: none
connectors: [{ match: "{name}/connector.txt" }]
pipelines:
  - steps:
      - { id: lint, image: x, run: "sh ./lint.sh" }
"#;

/// Complains of an old file, of one that is not there, and of every line of a new one.
const LINT: &str = "echo 'old.py:1:1: F401 unused'\necho 'gone.py:1:1: F401 unused'\n\
                    echo 'see old.py:2 for more'\ni=0\n\
                    while [ $i -lt 120 ]; do i=$((i+1)); \
                    echo \"./code.py:$i:1: E501 line $i is too long\"; done\nexit 1\n";

#[tokio::test(flavor = "multi_thread")]
async fn annotations_arrive_once_however_the_line_is_cut() {
    // Two answers are lost, one of each batch: what was sent has arrived all the same.
    let cutter = Cutter::new(b"\"annotations\":[", 2).await;
    let through = cutter.clone();
    let via: Via = Box::new(move |url| through.via(url));
    let extra = Extra { via: Some(via), ..Extra::default() };
    let files = [
        (".github/checkvalve.yml", CONFIG),
        ("source-a/connector.txt", "a"),
        ("source-a/lint.sh", LINT),
        ("source-a/old.py", "import os\n"),
    ];
    let mut world = World::set_up(Steps::Host, None, extra, &files).await;
    let head = world.push("change", &[("source-a/code.py", "x = 1\n")]).await;
    world.open("change").await;
    world.settle().await;
    assert!(cutter.is_used_up());
    let told = |world: &World| {
        let lint = world.check(&head, "source-a / lint");
        assert_eq!(lint.conclusion.as_deref(), Some("failure"));
        let annotations = lint.output.annotations.iter();
        let place = annotations.map(|it| {
            (it["path"].as_str().unwrap().to_owned(), it["start_line"].as_u64().unwrap())
        });
        place.collect::<Vec<_>>()
    };
    let annotations = told(&world);
    assert_eq!(annotations.len(), 100);
    assert_eq!(annotations.iter().collect::<BTreeSet<_>>().len(), 100, "{annotations:?}");
    assert!(annotations.iter().all(|(path, _)| path == "source-a/code.py"), "the changed first");
    let lint = world.check(&head, "source-a / lint");
    let first = &lint.output.annotations[0];
    assert_eq!(first["title"], "E501");
    assert_eq!(first["message"], "line 1 is too long");
    assert_eq!(first["annotation_level"], "failure");
    let summary = lint.output.summary.unwrap();
    assert!(summary.contains("### Findings: 121 errors"), "{summary}");
    assert!(summary.contains("21 more are not shown at the lines of files"), "{summary}");
    let all = world.check(&head, "checkvalve").output.text.unwrap();
    assert!(all.contains("source-a / lint") && all.contains("line 1 is too long"), "{all}");

    // Nobody sends them again, whoever publishes next.
    world.kill();
    world.start().await;
    world.settle().await;
    assert_eq!(told(&world), annotations);
    world.finish().await;
}
