use proptest::prelude::*;

use super::*;

const ALL: [Manifest; 9] = [
    Manifest::Pyproject,
    Manifest::Requirements,
    Manifest::SetupPy,
    Manifest::Gradle,
    Manifest::GradleSettings,
    Manifest::Dockerfile,
    Manifest::Go,
    Manifest::GoMod,
    Manifest::Python,
];

#[test]
fn pyproject_paths_of_every_tool() {
    let text = r#"[project]
name = "x"
dependencies = [
  "requests>=2 ; python_version > '3'",
  "base @ file:../base",
  "other[all] @ file://localhost/../other#egg=other ; extra == 'x'",
  "web @ https://example.com/../x.whl",
]
[project.optional-dependencies]
dev = ["kit @ file:///bases/kit"]
[dependency-groups]
test = ["t @ ../t", { include-group = "dev" }]
[tool.poetry.dependencies]
cdk = { path = "../cdk", develop = true }  # path = "../comment"
both = [{ path = "../mac", markers = "a" }, { path = "../linux" }]
dpath = "^2"
[tool.poetry.group.dev.dependencies.kit2]
path = "../kit2"
[tool.poetry.dev-dependencies]
old = { file = "../old.whl" }
git = { git = "https://example.com/x.git" }
[tool.uv.sources]
u = { path = "../u", editable = true }
[tool.pdm.dev-dependencies]
dev = ["-e file:///${PROJECT_ROOT}/../pdm#egg=pdm"]
[tool.hatch.envs.default]
dependencies = ["h @ {root:uri}/../hatch", "p @ {root:parent:uri}/hatch2"]
[tool.other]
path = "../not-a-dependency"
"#;
    assert_eq!(
        mentions(Manifest::Pyproject, text),
        [
            "5 ../base",
            "6 ../other",
            "10 /bases/kit",
            "12 ../t",
            "14 ../cdk",
            "15 ../mac",
            "15 ../linux",
            "18 ../kit2",
            "20 ../old.whl",
            "23 ../u",
            "25 ./../pdm",
            "27 ./../hatch",
            "27 ./../hatch2",
        ]
    );
}

#[test]
fn a_broken_pyproject_still_says_what_it_can() {
    let text = "[tool.poetry.dependencies]\na = { path = \"../a\" }\nb = = 3\n";
    assert_eq!(mentions(Manifest::Pyproject, text), ["2 ../a"]);
    assert!(mentions(Manifest::Pyproject, "[[[[").is_empty());
}

#[test]
fn requirements_in_every_form() {
    let text = "# -e ../comment\n-e ../a\n--editable=../b[extra]  # why\n./c[x,y] ; python_version < '3'\n\
        d @ file:../d\nfile:../e#egg=e\n-r dev/more.txt\n-cconstraints.txt\n--requirement base.txt\n\
        requests==2 \\\n  --hash=sha256:../no\n-e \\\n  ../f\npkgs/g\nname==1.0\n\
        git+https://example.com/x/y.git\nhttps://example.com/x.whl\n--index-url https://x/y\n-r https://x/y.txt\n\
        ../wheels/h-1.0.whl --hash=sha256:00\n-e .\n\"../quoted\"\nfoo#../bar\n";
    assert_eq!(
        mentions(Manifest::Requirements, text),
        [
            "2 ../a",
            "3 ../b",
            "4 ./c",
            "5 ../d",
            "6 ../e",
            "7 include dev/more.txt",
            "8 include constraints.txt",
            "9 include base.txt",
            "12 ../f",
            "14 pkgs/g",
            "20 ../wheels/h-1.0.whl",
            "21 .",
            "22 ../quoted",
            "23 foo",
        ]
    );
}

#[test]
fn setup_py_takes_plain_texts_and_its_own_place() {
    let text = r#"# "../comment"
"""A module that says ../nothing
"../here"
"""
setup(
    install_requires=["requests", "base-python @ file://localhost/../base", f"x @ file:{here}/../f"],
    extras_require={"dev": ['./dev', "../kit"]},
    a=Path(__file__).parent.parent / "shared" / "lib",
    b=os.path.join(os.path.dirname(__file__), "..", "joined"),
    c=Path(__file__).parent,
    d=", ".join(["../listed"]),
    e="file:///bases/kit",
)
"#;
    assert_eq!(
        mentions(Manifest::SetupPy, text),
        [
            "6 ../base",
            "7 ./dev",
            "7 ../kit",
            "8 ./../shared/lib",
            "9 ../joined",
            "11 ../listed",
            "12 /bases/kit"
        ]
    );
}

#[test]
fn gradle_in_both_languages() {
    let text = r#"// project(':comment')
/* project(":comment") */
plugins { id 'project' }
dependencies {
    implementation project(':a:b')
    api(project(path: ':c', configuration: 'shadow'))
    testImplementation project(configuration: "x", path: ':d')
    implementation(project(":e"))
    api(project(path = ":f", configuration = "g"))
    implementation project ( ":spaced" )
    implementation project(":$computed")
    implementation 'group:name:1.0'
}
evaluationDependsOn(':g')
apply from: '../common.gradle'
apply(from = "$rootDir/tools/x.gradle.kts")
apply from: "https://example.com/x.gradle"
implementation files("../libs/y.jar")
project.version = '1'
"#;
    assert_eq!(
        mentions(Manifest::Gradle, text),
        [
            "5 :a:b",
            "6 :c",
            "7 :d",
            "8 :e",
            "9 :f",
            "10 :spaced",
            "14 :g",
            "15 include ../common.gradle",
            "16 include /tools/x.gradle.kts",
            "18 ../libs/y.jar",
        ]
    );
    let text = r#"include ':x', ':y'
project(':x').projectDir = file('elsewhere/x')
project(":y").projectDir = new File(settingsDir, "../y")
project(':z').projectDir = file("$rootDir/z")
project(':w').name = 'w'
includeBuild 'build-logic'
includeBuild("plugins") { name = "p" }
"#;
    assert_eq!(
        mentions(Manifest::GradleSettings, text),
        ["2 :x in elsewhere/x", "3 :y in ../y", "4 :z in ./z", "6 build-logic", "7 plugins"]
    );
}

#[test]
fn dockerfiles_with_all_their_quirks() {
    let text = r#"# syntax=docker/dockerfile:1
ARG BASE=example.com/team/base-image:v2
ARG TAG
FROM --platform=linux/amd64 golang:1.25 AS Builder
COPY go.* ./
COPY --chown=a:b go ./go
COPY first second \
     # a comment on the way

     third /dest/
COPY ["listed", "with blank", \
  "/dest"]
COPY --from=builder /not/a/path ./x
COPY --from=busybox:latest /bin/sh /bin/sh
COPY --from=0 /x /y
ADD https://example.com/x.tgz archive.tgz /x/
COPY <<EOF inline.txt /x/
COPY not-an-instruction /x
EOF
RUN <<-'END' sh
	COPY neither /x
	END
ENV DIR=src/app
ARG NAME
COPY ${DIR}/main $DIR/other tail/${NAME}/x ${NAME} /x/
RUN --mount=type=bind,source=bound,target=/b --mount=type=cache,target=/c make
ONBUILD COPY later /x
FROM ${BASE}
FROM scratch
FROM team/x:${TAG}@sha256:00
FROM registry:5000/team/${TAG}
FROM builder AS last
COPY ${DIR}/inherited /x
"#;
    assert_eq!(
        mentions(Manifest::Dockerfile, text),
        [
            "4 image golang",
            "5 copy go.*",
            "6 copy go",
            "7 copy first",
            "7 copy second",
            "10 copy third",
            "11 copy listed",
            "11 copy with blank",
            "14 image busybox",
            "16 copy archive.tgz",
            "17 copy inline.txt",
            "25 copy src/app/main",
            "25 copy src/app/other",
            "25 copy tail",
            "26 copy bound",
            "27 copy later",
            "28 image example.com/team/base-image",
            "30 image team/x",
            "33 copy src/app/inherited",
        ]
    );
}

#[test]
fn dockerfiles_with_another_escape_and_with_variables_of_variables() {
    let text = "# escape=`\nFROM a`\n  :1\nCOPY x`\n y /z\n";
    assert_eq!(mentions(Manifest::Dockerfile, text), ["2 image a", "4 copy x", "5 copy y"]);
    // A variable that multiplies itself ends as one that is not known.
    let doubled: Vec<String> = (1..40).map(|n| format!("ENV A{n}=$A{0}$A{0}\n", n - 1)).collect();
    let doubled = doubled.concat();
    let text = format!("FROM a\nENV A0=xxxx\n{doubled}COPY b/$A39 /c\n");
    assert_eq!(mentions(Manifest::Dockerfile, &text), ["1 image a", "42 copy b"]);
}

#[test]
fn go_imports_and_what_only_looks_like_them() {
    let text = r#"// import "comment/a"
/* import "comment/b" */
//go:build linux
package main; import "one/line"
import (
	"fmt"
	alias "m/alias" // "comment/c"
	_ "m/blank"; . "m/dot"
	/* "comment/d" */ `m/raw`
)
import under "m/under"
import "C"

//go:embed testdata/*.sql all:web
var files embed.FS

const text = `
import "not/this"
`
func f() { s := "import \"nor/this\"" }
"#;
    assert_eq!(
        mentions(Manifest::Go, text),
        [
            "4 one/line",
            "6 fmt",
            "7 m/alias",
            "8 m/blank",
            "8 m/dot",
            "9 m/raw",
            "11 m/under",
            "12 C",
            "14 testdata",
            "14 web",
        ]
    );
    let text = "module example.com/m // yes\n\ngo 1.25\nrequire (\n\tx/y v1\n\tmodule v2\n)\n\
        replace a/b => ../b\nreplace (\n\tc/d v1.0 => ./d\n\te/f => g/h v2\n)\n";
    assert_eq!(
        mentions(Manifest::GoMod, text),
        ["1 module example.com/m", "8 a/b in ../b", "10 c/d in ./d"]
    );
}

#[test]
fn python_imports_wherever_they_stand() {
    let text = r#"#!/usr/bin/env python
"""import in_a_docstring"""
import a.b, c as d
from e import f as g, h
from . import i
from ..j.k import (l,  # from comment import x
    m as n,
)
from o import *
if TYPE_CHECKING: from p import q
try: import r
except ImportError: pass
def late():
    import s; import t
    text = 'import in_a_text'
    text = f"""
import in_an_f_text
"""
    x = importlib.import_module("u.v")
from w \
    import y
yield_from = (z for z in x)
broken = (
import after_an_open_bracket
raise ValueError from err
"#;
    assert_eq!(
        mentions(Manifest::Python, text),
        [
            "3 a.b",
            "3 c",
            "4 e",
            "4 e.f",
            "4 e.h",
            "5 .",
            "5 .i",
            "6 ..j.k",
            "6 ..j.k.l",
            "7 ..j.k.m",
            "9 o",
            "10 p",
            "10 p.q",
            "11 r",
            "14 s",
            "14 t",
            "19 u.v",
            "20 w",
            "21 w.y",
            "24 after_an_open_bracket",
        ]
    );
}

#[test]
fn a_file_that_mentions_too_much_may_mean_anything() {
    let lines: Vec<String> = (0..MAX_REFERENCES + 10).map(|n| format!("import a{n}\n")).collect();
    let text = lines.concat();
    let found = references(Manifest::Python, text.as_bytes());
    assert_eq!(found.len(), MAX_REFERENCES + 1);
    assert_eq!(found.last().map(|one| &one.to), Some(&Written::Anything));

    let long = format!("import a\n#{}", "é".repeat(MAX_BYTES));
    assert_eq!(mentions(Manifest::Python, &long), ["1 a", "1 anything"]);
    assert!(mentions(Manifest::Go, &long).iter().all(|one| one != "1 anything"));
}

/// Pieces that make readers look closer, in any order.
fn nasty() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "import ",
        "from ",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        "\"",
        "'",
        "\"\"\"",
        "'''",
        "`",
        "\\",
        "\n",
        "\r\n",
        " ",
        "\t",
        "#",
        "//",
        "/*",
        "*/",
        "COPY ",
        "FROM ",
        "RUN ",
        "ARG ",
        "ENV ",
        "--from=",
        "--mount=",
        "<<EOF",
        "EOF",
        "$",
        "${",
        ":-",
        "=",
        ",",
        ";",
        ":",
        "@",
        "file:",
        "file://",
        "../",
        "./",
        "project",
        "projectDir",
        "includeBuild",
        "apply from",
        "é",
        "\u{0}",
        "\u{feff}",
        "package a",
        "//go:embed ",
        "module ",
        "replace ",
        "=>",
        "-e ",
        "-r",
        "path",
        "[tool.poetry]",
        "dependencies",
        "__file__",
        "parent",
        "join",
        "import_module",
        "x",
        ".",
        "0",
    ]);
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn no_text_makes_a_reader_fail(bytes in prop::collection::vec(any::<u8>(), 0..400), text in nasty()) {
        for manifest in ALL {
            for text in [bytes.as_slice(), text.as_bytes()] {
                let found = references(manifest, text);
                let lines = text.iter().filter(|byte| **byte == b'\n').count() + 1;
                prop_assert!(found.iter().all(|one| (1..=lines).contains(&(one.line as usize))));
            }
        }
    }
}
