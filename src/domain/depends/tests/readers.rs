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
    assert_eq!(mentions(Manifest::Pyproject, text), ["2 ../a", "1 anything"]);
    assert_eq!(mentions(Manifest::Pyproject, "[[[["), ["1 anything"]);
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

/// What makes readers look closer.
const NASTY: &str = "import |from |(|)|[|]|{|}|\"|'|\"\"\"|'''|`|\\|\n|\r\n| |\t|#|//|/*|*/|COPY |FROM |RUN |\
    ARG |ENV |--from=|--mount=|<<EOF|EOF|$|${|:-|=|,|;|:|@|file:|file://|../|./|project|projectDir|\
    includeBuild|apply from|é|\0|\u{feff}|package a|//go:embed |module |replace |=>|-e |-r|path|\
    [tool.poetry]|dependencies|__file__|parent|join|import_module|x|.|0";

/// The same in any order.
fn nasty() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(NASTY.split('|').collect::<Vec<_>>());
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn no_text_makes_a_reader_fail(bytes in prop::collection::vec(any::<u8>(), 0..400), text in nasty()) {
        for manifest in ALL {
            for text in [bytes.as_slice(), text.as_bytes()] {
                let found = references(manifest, text);
                let lines = text.split(|byte| *byte == b'\n').count();
                prop_assert!(found.iter().all(|one| (1..=lines).contains(&(one.line as usize))));
            }
        }
    }
}

#[test]
fn what_is_longer_than_any_name_or_of_too_many_stages_may_mean_anything() {
    let deep = format!("import \"{}\"\n", "a/".repeat(4096));
    let found = references(Manifest::Go, format!("package a\n{deep}").as_bytes());
    assert_eq!(found.iter().map(|one| &one.to).collect::<Vec<_>>(), [&Written::Anything]);
    let stages: Vec<String> = (0..80).map(|at| format!("FROM x AS s{at}")).collect();
    let found = references(Manifest::Dockerfile, stages.join("\n").as_bytes());
    assert!(found.iter().any(|one| one.to == Written::Anything), "{found:?}");
}
