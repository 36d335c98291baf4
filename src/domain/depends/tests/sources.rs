use super::*;

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
