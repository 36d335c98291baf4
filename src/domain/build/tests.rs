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

fn told(files: &[(&str, &str)]) -> String {
    let Unbuildable { file, flaw } = folder(files).recipe().unwrap_err();
    let place = flaw.place.map(|at| format!(":{}:{}", at.line, at.column)).unwrap_or_default();
    format!("{file}{place} {}; {}", flaw.text, flaw.mend)
}

#[test]
fn a_dockerfile_is_taken_with_what_the_metadata_says() {
    let files = [("Dockerfile", "FROM x\n"), ("metadata.yaml", METADATA), ("a/Dockerfile", "no")];
    let recipe = folder(&files).recipe().unwrap();
    assert_eq!((recipe.generated, recipe.dockerfile.as_str()), (None, "FROM x\n"));
    let labels: Vec<(&str, &str)> =
        recipe.labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(labels, [("io.airbyte.name", "airbyte/source-x"), ("io.airbyte.version", "1.2.3")]);
    assert!(recipe.airbyte && recipe.notes.is_empty());
}

#[test]
fn a_base_image_counts_before_a_dockerfile() {
    let files = [
        ("Dockerfile", "FROM x\n"),
        ("metadata.yaml", METADATA),
        ("setup.py", ""),
        ("build_customization.py", ""),
    ];
    let recipe = folder(&files).recipe().unwrap();
    assert!(recipe.dockerfile.starts_with("FROM airbyte/base:1@sha256:ab AS builder\n"));
    let [ignored, hooks] = recipe.notes.as_slice() else { panic!("{:?}", recipe.notes) };
    assert!(ignored.starts_with("the `Dockerfile` does not count"), "{ignored}");
    assert!(hooks.starts_with("`build_customization.py` is not carried out"), "{hooks}");
    let without = METADATA.replace("baseImage", "image");
    let files = [files[0], ("metadata.yaml", without.as_str()), files[2], files[3]];
    let recipe = folder(&files).recipe().unwrap();
    assert_eq!((recipe.dockerfile.as_str(), recipe.notes.len()), ("FROM x\n", 0));
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
    let blank = METADATA.replace("base:1", "ba se:1");
    for (files, why) in [
        (
            &[("metadata.yaml", METADATA)][..],
            " the folder has no `Dockerfile`, and none can be made",
        ),
        (&[("main.py", "")], " the connector's folder has no `Dockerfile`, and no metadata"),
        (
            &[("metadata.yaml", &blank), ("setup.py", "")],
            "metadata.yaml:5:39 `connectorBuildOptions.baseImage` is no image's name",
        ),
    ] {
        assert!(told(files).starts_with(why), "{}", told(files));
    }
}

/// Nobody knows whether it is Airbyte's: an image that was not asked for its spec would be green.
#[test]
fn metadata_that_can_not_be_read_is_told_with_its_place() {
    let line = |n: u32| format!("a{n}: &a{n} [{}]", format!("*a{},", n - 1).repeat(9));
    let lines: Vec<String> = (1..20).map(line).collect();
    let bomb = format!("a0: &a0 [x]\n{}\n", lines.join("\n"));
    let texts = format!("a: &a {}\nb: [{}]\n", "x".repeat(500_000), "*a,".repeat(90_000));
    let long = format!("# {}\n", "x".repeat(yaml::MAX_BYTES));
    for (text, why) in [
        ("metadataSpecVersion: \"1.0\"\ndata: [\n", "metadata.yaml:2:"),
        ("a: 1\n---\nb: 2\n", "more than one document"),
        (&bomb, "metadata.yaml:"),
        (&texts, "metadata.yaml:"),
        (&long, "larger than"),
    ] {
        for beside in ["Dockerfile", "setup.py"] {
            let told = told(&[("metadata.yaml", text), (beside, "FROM x\n")]);
            assert!(told.starts_with("metadata.yaml:") && told.contains(why), "{told}");
        }
    }
}

/// Lines that are refused, and the images that are not.
fn read(text: &str, arguments: &[(&str, &str)]) -> (Vec<usize>, Vec<String>) {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let found = sources(text, &arguments.iter().map(own).collect());
    (found.refused.iter().map(|refused| refused.0).collect(), found.images)
}

#[test]
fn what_may_be_anothers_is_refused() {
    for (text, refused) in [
        ("from checkvalve/1:x as a\n", vec![1]),
        ("FROM docker.io/Checkvalve/1:x\n", vec![1]),
        ("FROM --platform=linux/amd64 \\\n  # no\n  checkvalve/1:x\n", vec![1]),
        ("FROM checkvalve-snapshot/i:k\nFROM checkvalve-share:1\n", vec![1, 2]),
        ("\u{feff}FROM checkvalve/1:x\n", vec![1]),
        ("FROM \"checkvalve/1:x\"\n", vec![1]),
        ("FROM 3f\nFROM sha256:3f\n", vec![1, 2]),
        ("FROM chec\\\nkvalve/1:x\n", vec![1]),
        ("FROM x:1\nRUN echo `\nFROM checkvalve/1:x\n", vec![3]),
        ("FROM x:1\nCOPY --from=checkvalve/1:x /a /b\n", vec![2]),
        ("FROM x:1\nRUN --mount=type=bind,from=checkvalve/1:x,target=/a cat /a\n", vec![2]),
        // A stage's name is none in its own stage, and a number is one for `--from` alone.
        ("FROM beef AS beef\n", vec![1]),
        ("FROM x:1 AS beef\nCOPY --from=beef /a /a\n", vec![2]),
        ("FROM x:1\nFROM 0\nFROM 4711\n", vec![2, 3]),
        ("FROM x:1\nCOPY --from=99999999999999999999 /a /a\n", vec![2]),
        // Flags are freed of quotes and escapes before they are read.
        ("FROM x:1\nCOPY --fr\\om=checkvalve/1:x /a /b\n", vec![2]),
        ("FROM x:1\nCOPY --\"from=checkvalve/1:x\" /a /b\n", vec![2]),
        ("FROM x:1\nCOPY --from=$X /a /b\n", vec![2]),
        ("FROM --platform=\"a b\" checkvalve/1:x\n", vec![1, 1]),
        ("FROM --platform=$P x:1\n", vec![1]),
    ] {
        assert_eq!(read(text, &[]).0, refused, "{text}");
    }
}

#[test]
fn variables_of_from_are_the_global_ones() {
    let set = [("BASE", "checkvalve/2:job"), ("FINE", "python:3")];
    for (text, refused) in [
        ("ARG B=checkvalve/1\nFROM ${B}:x\n", vec![2]),
        ("ARG BASE=python\nFROM $BASE\n", vec![2]),
        ("ARG FINE\nFROM $FINE\n", vec![]),
        ("FROM $FINE\n", vec![1]),
        ("FROM ${B:-checkvalve/1}:x\n", vec![1]),
        ("ARG B=\nFROM ${B:-checkvalve/1:job}\n", vec![2]),
        ("ARG B=\nFROM $B\n", vec![2]),
        ("FROM ${X:+checkvalve/1:x}\n", vec![1]),
        // A stage's own is not the global one, and there is no other.
        ("ARG B=checkvalve/1:x\nFROM x:1\nARG B=python:3\nFROM $B\n", vec![4]),
        ("FROM x:1\nARG B=python:3\nFROM $B\n", vec![3]),
        ("FROM x:1\nENV B=python:3\nFROM $B\n", vec![3]),
        // A word in quotes is no value of its own.
        ("ARG B=checkvalve/1:x\nARG A=\"a B=python c\"\nFROM $B\n", vec![3]),
        ("ARG A=checkvalve/1:x\nARG B='$A'\nFROM $B\n", vec![3]),
        ("ARG A=checkvalve/1:x\nARG B=\"$A\"\nFROM $B\n", vec![3]),
        ("ARG A=checkvalve\nARG B=$A\\/1:x\nFROM $B\n", vec![3]),
        ("ARG A=1 B=\"checkvalve/$A:x\"\nFROM ${B}\n", vec![2]),
        ("ARG A=\"3\" B=python:$A\nFROM $B-slim\n", vec![]),
    ] {
        assert_eq!(read(text, &set).0, refused, "{text}");
    }
}

#[test]
fn addresses_are_refused_that_the_engine_would_fetch() {
    for (text, is_refused) in [
        ("ADD http://169.254.169.254/x /x", true),
        ("ARG U=http://h/\nADD $U /x", true),
        ("ENV U=http://h/\nADD $U /x", true),
        ("ADD ${U:+http://x} /y", true),
        ("ADD h$U /y", true),
        ("ADD ./${U:-http://x} /y", true),
        ("ADD http:\"//h/x\" /y", true),
        ("ADD http:\\//h/x /y", true),
        ("ADD [\"http:\\u002f\\u002fh\",\"/y\"]", true),
        ("ADD --ch\\own=1 http://h/x /y", true),
        ("ADD git@github.com:x/y.git /y", true),
        ("ADD \\\n http://h/x /y", true),
        ("A\\\nDD http://h/x /y", true),
        ("ADD\u{b}http://h/x /y", true),
        // Builders differ in whether the line goes on.
        ("LABEL a=b \\\u{a0}\nADD http://h/x /y", true),
        ("LABEL a=b \\\u{c}\nADD http://h/x /y", true),
        ("LABEL a=b \\\r\r\nADD http://h/x /y", true),
        ("LABEL a=b\\\\\nADD http://h/x /y", true),
        ("\u{a0}ADD http://h/x /y", true),
        // What a build on it does is done in this build for later stages.
        ("ONBUILD ADD http://h/x /y\nFROM s", true),
        ("ONBU\u{130}LD ADD http://h/x /y\nFROM s", true),
        ("ADD a.tar b/*.tar.gz /z/", false),
        ("ADD --chown=1000:$GROUP build/distributions/app-${VERSION}*.tar /app/$NAME", false),
        ("COPY --chmod=755 $X \"a b\" /x", false),
        ("RUN echo \u{a0}é \\\n\n  # no\n  b # c\\d", false),
        ("RUN curl \"https://x/?from=abc\"\nRUN uv tool install --from=black x", false),
        ("LABEL a=b\r\nRUN x\r", false),
    ] {
        let text = format!("FROM x:1 AS s\n{text}\n");
        let (refused, images) = read(&text, &[]);
        assert_eq!((!refused.is_empty(), images), (is_refused, vec!["x:1".to_owned()]), "{text:?}");
    }
    for head in ["# escape=`\n", "# plain\n#\tESCAPE = `\n"] {
        let text = format!("{head}FROM x:1\nRUN a `\nADD http://h/x /y\n");
        assert_eq!(read(&text, &[]).0.len(), 2, "{text}");
    }
}

/// As they are written in repositories of connectors.
#[test]
fn what_connectors_write_is_taken() {
    for (text, images) in [
        (
            "FROM python:3.9.11-alpine3.15 as base\n\n# build and load all requirements\nFROM base as \
             builder\nWORKDIR /airbyte/integration_code\nRUN apk --no-cache upgrade \\\n    && pip \
             install --upgrade pip \\\n    && apk --no-cache add tzdata\nCOPY setup.py ./\nRUN pip \
             install --prefix=/install .\nFROM base\nCOPY --from=builder /install /usr/local\nCOPY \
             --from=builder /usr/share/zoneinfo/Etc/UTC /etc/localtime\nRUN echo \"Etc/UTC\" > \
             /etc/timezone\nENV AIRBYTE_ENTRYPOINT \"python /airbyte/integration_code/main.py\"\n",
            vec!["python:3.9.11-alpine3.15"],
        ),
        (
            "### WARNING ###\nFROM airbyte/integration-base-java:dev AS build\nENV APPLICATION \
             source-x\nCOPY build/distributions/${APPLICATION}*.tar ${APPLICATION}.tar\nRUN tar xf \
             ${APPLICATION}.tar --strip-components=1\nFROM airbyte/integration-base-java:dev\nCOPY \
             --from=build /airbyte /airbyte\n",
            vec!["airbyte/integration-base-java:dev"; 2],
        ),
        (
            "ARG BASE_IMAGE=ghcr.io/estuary/base-image:v2\nARG URL=\"https://x.example/v1\"\n\nFROM \
             --platform=linux/amd64 golang:1.25-trixie AS builder\nWORKDIR /builder\nCOPY go.* \
             ./\nRUN go build -tags nozstd -v -o ./connector ./source-x/...\nFROM ${BASE_IMAGE}\nARG \
             TEST=yes\nCOPY --from=builder /builder/connector ./connector\nCOPY \
             --from=busybox:latest /bin/sh /bin/sh\nUSER nonroot:nonroot\n",
            vec!["golang:1.25-trixie", "ghcr.io/estuary/base-image:v2", "busybox:latest"],
        ),
        (
            "# syntax=docker/dockerfile:1\n\nFROM python:3.12-slim AS base\nFROM base AS builder\nRUN \
             --mount=type=cache,id=gomod,target=/go/pkg/mod \\\n    \
             --mount=type=cache,id=build,target=/root/.cache pip install .\nFROM base AS \
             runner\nCOPY --from=builder /opt/$CONNECTOR_NAME /opt/$CONNECTOR_NAME\nCOPY --from=0 /a /b\n",
            vec!["python:3.12-slim"],
        ),
    ] {
        let (refused, found) = read(text, &[]);
        assert_eq!(
            (refused, found),
            (vec![], images.iter().map(|i| (*i).to_owned()).collect()),
            "{text}"
        );
    }
    for own in [dockerfile::of_python("python:3"), dockerfile::of_manifest("airbyte/x:1", true)] {
        assert_eq!(read(&own, &[]).0, vec![0; 0], "{own}");
    }
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
        notes: Vec::new(),
    };
    let named = |name: Option<&str>, connector: &str| dev_name(&recipe(name), connector, "dev");
    assert_eq!(named(Some("airbyte/source-x"), "source-x"), "airbyte/source-x:dev");
    assert_eq!(named(Some("Odd Name"), "Source_X"), "source-x:dev");
    assert_eq!(named(None, "dags/one"), "dags-one:dev");
    assert_eq!(dev_name(&recipe(None), "source-x", "local"), "source-x:local");
}
