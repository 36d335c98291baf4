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
        (&[("Dockerfile", "FROM x\n"), (SENT, "")], ".checkvalve.dockerfile the folder has a file"),
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

/// What follows them is an instruction for one builder, and text for another.
#[test]
fn here_documents_are_refused_and_other_uses_of_a_shell_are_not() {
    for (text, refused) in [
        ("RUN : <<'A\\'\nA\\\nFROM checkvalve/77:job_x\n", vec![2, 3]),
        ("RUN : << 'A\\'\nA\\\nADD http://169.254.169.254/ /x\n", vec![2, 3]),
        ("RUN cat <<EOF\nhi\nEOF\n", vec![2, 3, 4]),
        ("run \\\n  # no\n  python <<-\"A B\" x\n", vec![2]),
        ("RUN cat 3<<EOF\nEOF\n", vec![2, 3]),
        ("RUN echo 'a' \"b\\\"c\" it\\'s <<EOF\nEOF\n", vec![2, 3]),
        ("RUN echo '\\' <<EOF # '\nEOF\n", vec![2, 3]),
        ("RUN a $X<<EOF ${Y}<<E\n", vec![2]),
        ("RUN \"${X:-a \"<<E\" }\" b\n", vec![2]),
        ("RUN echo $(( 1 <<2 ))\n", vec![2]),
        ("COPY <<EOF /x\nEOF\n", vec![2, 3]),
        ("COPY a<<EOF /x\n", vec![]),
        ("RUN echo $((1<<2)) $((2<< 1)) ${X}$((1<<2))\n", vec![]),
        // Some builders have the name behind blanks, and find it behind a shift as well.
        ("RUN : << 'A'\nA\n", vec![2, 3]),
        ("RUN : <<- A\nUSER x\n", vec![2]),
        ("RUN : 3<<\tA\nUSER x\n", vec![2]),
        ("COPY << A /x\nUSER x\n", vec![2]),
        ("RUN echo $((1 << 2))\n", vec![2]),
        // Within a variable some drop what comes before a sign.
        ("RUN : $((1 << 0)) ${X:-1 <\\<E }\nUSER x\n", vec![2]),
        ("RUN : ${X:-1 <\\<E }\nUSER x\n", vec![2]),
        ("RUN : ${X:-1 <}\\<E\nUSER x\n", vec![2]),
        ("RUN : <${X:+a b}<E\nUSER x\n", vec![2]),
        ("RUN : ${X:-a} << E\nUSER x\n", vec![2]),
        ("RUN : \\<<E\nUSER x\n", vec![2]),
        ("RUN echo ${X%%<*}\n", vec![2]),
        (
            "RUN while read p; do echo \"${p%%=*}\"; done < /x | diff <(a) <(b) > \"${p%.x}\"\n",
            vec![],
        ),
        ("RUN sed 's/<a>/<b>/' \"${p:-x}\" <<< a\n", vec![]),
        ("RUN sh -c \"cat <<EOF; ${X}\" && sh -c 'cat <<EOF'\n", vec![]),
        ("RUN [\"sh\", \"-c\", \"cat <<EOF\"]\n", vec![]),
        ("RUN cat <<<\"${X:-a}\" <<< b\n", vec![]),
        ("RUN cat <<<\"${X:-a}\" <<< b << c\n", vec![2]),
        ("RUN cat <<<\"$X\" <<< b && cat<<EOF\n", vec![]),
        ("LABEL a=<<EOF\nENV B <<EOF\nCMD cat <<EOF\n", vec![]),
    ] {
        assert_eq!(read(&format!("FROM x:1\n{text}"), &[]).0, refused, "{text}");
    }
    let add = read("FROM x:1\nADD <<EOF /x\nEOF\n", &[]).0;
    assert!(add.starts_with(&[2]), "{add:?}");
}

#[test]
fn names_of_stages_are_those_that_engines_take() {
    for (name, fits) in [
        ("a", true),
        ("Build-1_x.y", true),
        ("1a", false),
        ("_a", false),
        ("a/b", false),
        ("é", false),
    ] {
        let text = format!("FROM x:1 AS {name}\n");
        assert_eq!(read(&text, &[]).0.is_empty(), fits, "{name}");
    }
}

/// By them it is known whose a layer is.
#[test]
fn no_dockerfile_gives_labels_that_are_our_own() {
    for (text, is_refused) in [
        ("LABEL io.checkvalve.layer=x", true),
        ("label a=b \\\n  io.checkvalve.layer=", true),
        ("LABEL io.checkvalve.job 7", true),
        ("LABEL \"io.checkvalve.layer\"=x", true),
        ("LABEL a=\"b c\" io.check\"va\"lve\\.layer='x'", true),
        ("LABEL $K=x", true),
        ("LABEL a=b ${K}checkvalve.layer=x", true),
        ("LABEL a=$K \"b c\"=\"io.checkvalve.layer=x $Y\"", false),
        ("LABEL io.checkvalves=x io.airbyte.name=source-x", false),
        ("LABEL maintainer Somebody of $K io.checkvalve.", false),
        ("RUN echo io.checkvalve.layer=$K", false),
    ] {
        let text = format!("FROM x:1\n{text}\n");
        assert_eq!(!read(&text, &[]).0.is_empty(), is_refused, "{text}");
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
    for own in
        [dockerfile::of_python("python:3", &[]), dockerfile::of_manifest("airbyte/x:1", true)]
    {
        assert_eq!(read(&own, &[]).0, vec![0; 0], "{own}");
    }
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

#[test]
fn what_is_sent_builds_on_the_images_that_were_looked_at() {
    let file = "\u{feff}# syntax=docker/dockerfile:1\nARG BASE=python:3\nFROM  --platform=linux/amd64 \\\n  \
                # the base\n\n  ${BASE} AS first\nARG X\nRUN echo a \\\n  b\nFROM first\nCOPY \
                --chown=1 --from=busy\\\nbox:1 [\"/a  b\", \"/c\"]\nCOPY --from=first /a /a\nFROM scratch\n\
                RUN FROM python:3\nFROM other:1\nFROM python:3 \\";
    let found = sources(file, &BTreeMap::new());
    assert_eq!((found.refused.as_slice(), found.scratch), (&[][..], true));
    assert_eq!(found.images, ["python:3", "busybox:1", "other:1", "python:3"]);
    let id = |digit: &str| format!("sha256:{}", digit.repeat(64));
    let ids = [("python:3", "a"), ("busybox:1", "b")];
    let ids = ids.map(|(name, digit)| (name.to_owned(), id(digit))).into();
    let sent = found.sent(&ids, Some("own=me"));
    let (python, busybox) = (id("a"), id("b"));
    assert_eq!(
        sent.text,
        format!(
            "# syntax=docker/dockerfile:1\nARG BASE=python:3\nFROM  --platform=linux/amd64   {python} \
             AS first\nLABEL own=me\n\n\n\nARG X\nRUN echo a   b\n\nFROM first\nLABEL own=me\nCOPY \
             --chown=1 --from={busybox} [\"/a  b\", \"/c\"]\n\nCOPY --from=first /a /a\nFROM \
             scratch\nLABEL own=me\n\
             RUN FROM python:3\nFROM other:1\nLABEL own=me\nFROM {python} \nLABEL own=me\n"
        )
    );
    // Read again it is the same, but for the ids.
    let again = sources(&sent.text, &BTreeMap::new());
    let refused: Vec<usize> = again.refused.iter().map(|(line, ..)| *line).collect();
    assert_eq!(refused, [3, 13, 21], "{:?}", again.refused);
    let plain = sources("FROM x:1\n", &BTreeMap::new());
    assert_eq!(plain.sent(&BTreeMap::new(), None).text, "FROM x:1\n");
}

/// However a builder takes one for the begin of a text, the lines behind it are whole instructions.
#[test]
fn what_is_sent_has_no_line_that_is_a_part_of_an_instruction() {
    for (file, sent) in [
        (
            "FROM x:1\nRUN : << 'A\\'\nA\\\nADD http://h/ /x\n",
            "FROM x:1\nRUN : << 'A\\'\nAADD http://h/ /x\n",
        ),
        (
            "FROM x:1\nRUN a \\\n# FROM y\n  && b \\\n\n&& c\n# d\nUSER e",
            "FROM x:1\nRUN a   && b && c\n\n\n\n\n\nUSER e\n",
        ),
        (
            "# syntax=x\n  # check=y\n# no\n# z=1\nFROM x:1\n",
            "# syntax=x\n  # check=y\n\n\nFROM x:1\n",
        ),
        ("\\\n  FROM x:1\n", "  FROM x:1\n"),
    ] {
        let read = sources(file, &BTreeMap::new());
        assert_eq!(read.sent(&BTreeMap::new(), None).text, sent, "{file}");
    }
}

#[test]
fn what_does_not_fit_in_one_line_or_is_no_instruction_is_refused() {
    let long = format!("RUN a \\\n  {} \\\n  {}\n", "b".repeat(40_000), "c".repeat(24_000));
    for (text, refused) in [
        (long.as_str(), vec![2]),
        ("RUN a \\ \\\n", vec![2]),
        ("RUN a \\\n", vec![]),
        ("USER a\nA\nhttp://h/\n", vec![3, 4]),
        ("healthcheck NONE\nMaintainer x\nSTOPSIGNAL 9\n", vec![]),
    ] {
        assert_eq!(read(&format!("FROM x:1\n{text}"), &[]).0, refused, "{text}");
    }
}

#[test]
fn what_is_said_of_it_is_told_of_the_connectors_own() {
    let file = "FROM x:1 \\\n  AS a\nRUN true\nFROM x:1\nFRM y\n";
    let ids = BTreeMap::from([("x:1".to_owned(), format!("sha256:{}", "a".repeat(64)))]);
    let sent = sources(file, &BTreeMap::new()).sent(&ids, Some("own=me"));
    let lines: Vec<&str> = sent.text.lines().collect();
    let place = lines.iter().position(|line| *line == "FRM y").unwrap() + 1;
    for (said, told) in [
        (
            format!("dockerfile parse error line {place}: unknown instruction: FRM"),
            "dockerfile parse error line 5: unknown instruction: FRM",
        ),
        (
            format!("dockerfile parse error on line {place}: x"),
            "dockerfile parse error on line 5: x",
        ),
        ("dockerfile parse error line 99: x".to_owned(), "dockerfile parse error line 99: x"),
        (
            "the Dockerfile (.checkvalve.dockerfile) is empty".to_owned(),
            "the Dockerfile (Dockerfile) is empty",
        ),
        (format!("Step 1/9 : {}", lines[0]), "Step 1/9 : FROM x:1   AS a"),
    ] {
        assert_eq!(sent.told(&said), told);
    }
}

#[test]
fn what_a_context_leaves_out_beside_the_dockerfile_that_is_sent() {
    assert_eq!(ignoring(None), ".dockerignore\n.checkvalve.dockerfile\n");
    assert_eq!(ignoring(Some("*.md")), "*.md\n.checkvalve.dockerfile\n");
    // Of these an engine may make nothing, and then it takes nothing out.
    let odd = "[\n!\n ! \na[]b\n[a-\n[z-a]\n[--]\n(\na{2,1}\n+\nx\\\n[]]\na]\n\u{fffd}\n";
    assert_eq!(ignoring(Some(odd)), "\n.checkvalve.dockerfile\n");
    assert_eq!(ignoring(Some("*.md\r\n")), "*.md\r\n\n.checkvalve.dockerfile\n");
    assert_eq!(ignoring(Some(&"x".repeat(70_000))), "\n.checkvalve.dockerfile\n");
    let fine = "# (no)\n\n*.py[cod]\n**/[a-z]?.[^x]\n!/a b/é\n!!x";
    assert_eq!(ignoring(Some(fine)), format!("{fine}\n.checkvalve.dockerfile\n"));
    let ignore = Ignore::parse("Dockerfile\n.dockerignore\n").unwrap();
    for path in ["Dockerfile", ".dockerignore"] {
        assert!(ignore.names(path) && !ignore.excludes(path), "{path}");
    }
}
