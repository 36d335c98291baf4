use super::*;

fn folder(files: &[(&str, &str)]) -> Folder {
    let mut folder = Folder::default();
    for (path, content) in files {
        folder.file(path, content.as_bytes());
    }
    folder
}

const METADATA: &str = "metadataSpecVersion: \"1.0\"\ndata:\n  dockerRepository: airbyte/source-x\n  \
    dockerImageTag: 1.2.3\n  connectorBuildOptions: { baseImage: \"airbyte/base:1@sha256:ab\" }\n";

#[test]
fn a_dockerfile_counts_before_a_base_image() {
    let files = [("Dockerfile", "FROM a\n"), ("metadata.yaml", METADATA), ("a/Dockerfile", "no")];
    let recipe = folder(&files).recipe().unwrap();
    assert_eq!((recipe.generated, recipe.dockerfile.as_str()), (None, "FROM a\n"));
    let labels: Vec<(&str, &str)> =
        recipe.labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(labels, [("io.airbyte.name", "airbyte/source-x"), ("io.airbyte.version", "1.2.3")]);
    assert!(recipe.airbyte);
}

#[test]
fn without_one_it_is_made() {
    let manifest =
        folder(&[("metadata.yaml", METADATA), ("manifest.yaml", ""), ("components.py", "")]);
    let text = manifest.recipe().unwrap().generated.unwrap();
    assert!(
        text.starts_with("FROM airbyte/base:1@sha256:ab\nCOPY manifest.yaml /airbyte/"),
        "{text}"
    );
    assert!(text.contains("COPY components.py "), "{text}");
    let python = folder(&[("metadata.yaml", METADATA), ("pyproject.toml", "")]);
    let text = python.recipe().unwrap().generated.unwrap();
    assert!(text.contains("RUN pip install") && text.contains("ENTRYPOINT [\"python\""), "{text}");
    for (files, told) in [
        (&[("metadata.yaml", METADATA)][..], "neither `manifest.yaml`"),
        (&[("main.py", "")], "no `Dockerfile`, and its metadata no `connectorBuildOptions"),
        (
            &[("metadata.yaml", &METADATA.replace("base:1", "ba se:1")), ("setup.py", "")],
            "no image's name",
        ),
    ] {
        let why = folder(files).recipe().unwrap_err();
        assert!(why.contains(told), "{why}");
    }
}

#[test]
fn what_may_be_anothers_is_refused() {
    let set = BTreeMap::from([("BASE".to_owned(), "checkvalve/2:job".to_owned())]);
    for (text, arguments, refused) in [
        ("FROM python:3\n", false, vec![]),
        ("# FROM checkvalve/1:x\nfrom checkvalve/1:x as a\n", false, vec![2]),
        ("FROM docker.io/Checkvalve/1:x\n", false, vec![1]),
        ("FROM --platform=linux/amd64 \\\n  # no\n  checkvalve/1:x\n", false, vec![1]),
        ("ARG B=checkvalve/1\nFROM ${B}:x\n", false, vec![2]),
        ("FROM ${B:-checkvalve/1}:x\n", false, vec![1]),
        ("ARG BASE=python\nFROM $BASE\n", true, vec![2]),
        ("ARG BASE=python\nFROM $BASE\n", false, vec![]),
        ("FROM a:1\nCOPY --from=checkvalve/1:x /a /b\n", false, vec![2]),
        ("FROM a:1\nRUN --mount=type=bind,from=checkvalve/1:x,target=/a cat /a\n", false, vec![2]),
        ("FROM checkvalves/1:x\n", false, vec![]),
        ("FROM checkvalve-snapshot/i:k\nFROM checkvalve-share:1\n", false, vec![1, 2]),
        ("\u{feff}FROM checkvalve/1:x\n", false, vec![1]),
        ("FROM \"checkvalve/1:x\"\n", false, vec![1]),
        ("FROM 3f\nFROM sha256:3f\n", false, vec![1, 2]),
        ("FROM ${X:+checkvalve/1:x}\n", false, vec![1]),
        ("FROM a:1\nRUN echo `\nFROM checkvalve/1:x\n", false, vec![3]),
        ("# escape=`\nFROM a:1\nRUN echo `\nFROM checkvalve/1:x\n", false, vec![]),
        ("FROM chec\\\nkvalve/1:x\n", false, vec![1]),
        (
            "FROM a:1 AS beef\nFROM beef\nCOPY --from=beef /a /a\nCOPY --from=0 /a /a\n",
            false,
            vec![],
        ),
        ("FROM scratch\nADD http://169.254.169.254/x /x\n", false, vec![2]),
        ("FROM a:1\nADD $URL /x\nADD ${U:+http://x} /y\nADD a.tar /z\n", false, vec![3]),
    ] {
        let arguments = if arguments { set.clone() } else { BTreeMap::new() };
        let lines: Vec<usize> = sources(text, &arguments).refused.iter().map(|r| r.0).collect();
        assert_eq!(lines, refused, "{text}");
    }
    let found = sources("ARG V=3\nFROM python:${V} AS a\nFROM a\nFROM x:1\n", &BTreeMap::new());
    assert_eq!(found.images, ["python:3", "x:1"]);
}

#[test]
fn what_is_ignored_is_left_out() {
    let ignore = Ignore::parse(
        "# no\n*.md\n!README.md\n/secrets\n**/*.pyc\ntests/\n!tests/keep\n./a/../b\nDockerfile\n{x}\n",
    );
    for path in
        ["x.md", "secrets", "secrets/config.json", "a/b/c.pyc", "c.pyc", "tests/t.py", "b/c", "{x}"]
    {
        assert!(ignore.excludes(path), "{path}");
    }
    for path in ["README.md", "a/x.md", "main.py", "tests/keep/t.py", "Dockerfile", "a/b", "x"] {
        assert!(!ignore.excludes(path), "{path}");
    }
    assert!(!Ignore::default().excludes("anything"));
    let only = Ignore::parse("*\n!src\n");
    assert!(only.excludes("main.py") && !only.excludes("src/main.py"));
}

#[test]
fn the_name_for_ones_own_machine() {
    let recipe = |name: Option<&str>| Recipe {
        generated: None,
        dockerfile: String::new(),
        labels: BTreeMap::new(),
        name: name.map(str::to_owned),
        airbyte: true,
    };
    assert_eq!(dev_name(&recipe(Some("airbyte/source-x")), "source-x"), "airbyte/source-x:dev");
    assert_eq!(dev_name(&recipe(Some("Odd Name")), "Source_X"), "source-x:dev");
    assert_eq!(dev_name(&recipe(None), "dags/one"), "dags-one:dev");
}
