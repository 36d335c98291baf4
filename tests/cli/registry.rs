//! `registry build`, and what `list` says of metadata.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::bench::{Answer, Bench, WEATHER};

fn read(folder: &Path, name: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(folder.join(name)).unwrap()).unwrap()
}

fn build(bench: &Bench, more: &[&str]) -> (PathBuf, Answer) {
    let out = bench.place("out/registry");
    let path = out.display().to_string();
    let args = [&["registry", "build", "--out", path.as_str()], more].concat();
    let answer = bench.run(&args);
    (out, answer)
}

fn names(entries: &Value) -> Vec<&str> {
    entries.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect()
}

#[test]
fn a_registry_is_built_of_the_tree_and_says_who_committed_what() {
    let bench = Bench::new();
    let begin = bench.git(&["rev-parse", "HEAD"]);
    let metadata = format!("{WEATHER}/metadata.yaml");
    let text = std::fs::read_to_string(bench.repo().join(&metadata)).unwrap();
    bench.write(&metadata, &text.replace("0.1.0", "0.2.0"));
    let second = bench.commit("Release the weather");
    bench.write("README.md", "another commit\n");
    bench.commit("Something else");

    let (out, answer) = build(&bench, &[]);
    answer.exits(0).says(&["registry.json: 4 sources, 1 destination", "0 left out"]);
    let registry = read(&out, "registry.json");
    assert_eq!(names(&registry["destinations"]), ["Ledger"]);
    let sources = registry["sources"].as_array().unwrap();
    let weather = sources.iter().find(|one| one["name"] == "Weather").unwrap();
    for (key, value) in [
        ("sourceDefinitionId", json!("0e7f6a3a-9a06-4d7e-8c58-2f9d0b61c5a2")),
        ("dockerImageTag", json!("0.2.0")),
        ("sourceType", json!("file")),
        ("language", json!("python")),
        ("releaseStage", json!("alpha")),
        ("supportLevel", json!("community")),
        ("spec", Value::Null),
    ] {
        assert_eq!(weather[key], value, "{key}");
    }
    let git = &weather["generated"]["git"];
    assert_eq!((&git["commit_sha"], &git["commit_author"]), (&json!(second), &json!("Ada")));
    assert_eq!(git["commit_author_email"], "ada@example.org");
    let other = sources.iter().find(|one| one["name"] != "Weather").unwrap();
    assert_eq!(other["generated"]["git"]["commit_sha"], begin);
    assert_eq!(read(&out, "oss_registry.json")["sources"].as_array().unwrap().len(), 4);
    assert_eq!(read(&out, "invalid.json"), json!({"invalid": []}));

    // The same again, of the commit and of a bare clone: the same bytes.
    let bytes = std::fs::read(out.join("registry.json")).unwrap();
    let bare = bench.place("bare.git").display().to_string();
    bench.git(&["clone", "--quiet", "--bare", ".", &bare]);
    for more in [&[][..], &["--head", "HEAD"], &["--repo", &bare]] {
        build(&bench, more).1.exits(0);
        assert_eq!(std::fs::read(out.join("registry.json")).unwrap(), bytes, "{more:?}");
    }
    let left: Vec<_> = std::fs::read_dir(&out).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left.len(), 4, "nothing but the four files is left: {left:?}");

    // What is not committed has no commit; commits alone can be asked for.
    bench.write(&metadata, &text.replace("0.1.0", "0.3.0"));
    build(&bench, &[]).1.exits(0).complains(&["`generated.git` of 1 is null"]);
    let registry = read(&out, "registry.json");
    let weather = registry["sources"].as_array().unwrap().iter().find(|s| s["name"] == "Weather");
    assert_eq!(weather.unwrap()["generated"]["git"], Value::Null);
    build(&bench, &["--head", "HEAD"]).1.exits(0);
    assert_eq!(std::fs::read(out.join("registry.json")).unwrap(), bytes);
}

#[test]
fn a_merged_change_is_its_own_commits_and_a_shallow_clone_knows_what_it_does_not_know() {
    let bench = Bench::new();
    let metadata = format!("{WEATHER}/metadata.yaml");
    let text = std::fs::read_to_string(bench.repo().join(&metadata)).unwrap();
    bench.git(&["checkout", "--quiet", "-b", "side"]);
    bench.write(&metadata, &text.replace("0.1.0", "0.2.0"));
    let side = bench.commit("Release the weather");
    bench.git(&["checkout", "--quiet", "-b", "lost", "main"]);
    bench.write(&metadata, &text.replace("0.1.0", "9.9.9"));
    bench.commit("Never to be");
    bench.git(&["checkout", "--quiet", "main"]);
    bench.write("README.md", "meanwhile\n");
    bench.commit("Meanwhile");
    bench.git(&["merge", "--quiet", "--no-ff", "-m", "Merge side", "side"]);
    bench.git(&["merge", "--quiet", "-s", "ours", "-m", "Merge lost", "lost"]);
    let git = |registry: &Value| {
        let sources = registry["sources"].as_array().unwrap();
        let weather = sources.iter().find(|one| one["name"] == "Weather").unwrap();
        weather["generated"]["git"].clone()
    };
    let (out, answer) = build(&bench, &[]);
    answer.exits(0);
    assert_eq!(git(&read(&out, "registry.json"))["commit_sha"], side);

    bench.write("README.md", "the end\n");
    bench.commit("The end");
    let shallow = bench.place("shallow").display().to_string();
    let from = format!("file://{}", bench.repo().display());
    bench.git(&["clone", "--quiet", "--depth", "1", &from, &shallow]);
    let (out, answer) = build(&bench, &["--repo", &shallow]);
    answer.exits(0).complains(&["`generated.git` of 5 is null"]);
    assert_eq!(git(&read(&out, "registry.json")), Value::Null);
}

#[test]
fn invalid_metadata_is_left_out_with_its_line_and_makes_status_1() {
    let bench = Bench::new();
    let metadata = format!("{WEATHER}/metadata.yaml");
    let text = std::fs::read_to_string(bench.repo().join(&metadata)).unwrap();
    bench.write(&metadata, &text.replace("0.1.0", "latest"));
    let slow = "airbyte-integrations/connectors/source-slow/metadata.yaml";
    bench.write(slow, "metadataSpecVersion: \"1.0\"\ndata:\n  name: [\n");
    let place =
        format!("left out: source-weather: {metadata}:8:19: `data.dockerImageTag` can't be");
    let (out, answer) = build(&bench, &[]);
    answer.exits(1).says(&["registry.json: 2 sources, 1 destination", "2 left out"]).complains(&[
        &place,
        "write a version such as",
        &format!("left out: source-slow: {slow}:"),
    ]);
    let invalid = read(&out, "invalid.json");
    assert_eq!(invalid["invalid"][0]["connector"], "source-slow");
    let one = &invalid["invalid"][1];
    assert_eq!(one["connector"], "source-weather");
    let finding = &one["findings"][0];
    assert_eq!((&finding["path"], &finding["line"]), (&json!(metadata), &json!(8)));
    build(&bench, &["--allow-invalid"]).1.exits(0);

    // `list` tells of both, runs nothing, and fails nothing.
    let list = bench.run(&["list", "--all", "--json"]).exits(0).json();
    let findings = list["findings"].as_array().unwrap();
    assert_eq!(findings.len(), 2, "{findings:?}");
    let places = |finding: &Value| (finding["path"].clone(), finding["line"].is_u64());
    assert_eq!(places(&findings[0]), (json!(slow), true));
    assert_eq!(places(&findings[1]), (json!(metadata), true));
    let told = format!("finding: {metadata}:8:19: `data.dockerImageTag` can't be `latest`; write");
    bench.run(&["list", "--all"]).exits(0).says(&[&told, &format!("finding: {slow}:")]);
}

#[test]
fn specs_that_were_captured_are_filled_in() {
    let bench = Bench::new();
    let specs = bench.place("specs");
    let folder = specs.join("example/source-weather/0.1.0");
    std::fs::create_dir_all(&folder).unwrap();
    let spec = json!({"connectionSpecification": {"type": "object"}});
    let path = specs.display().to_string();
    for text in [spec.to_string(), json!({"type": "SPEC", "spec": spec}).to_string()] {
        std::fs::write(folder.join("spec.json"), text).unwrap();
        let (out, answer) = build(&bench, &["--specs", &path]);
        answer.exits(0);
        let registry = read(&out, "registry.json");
        let sources = registry["sources"].as_array().unwrap();
        let filled: Vec<&Value> = sources.iter().filter(|one| !one["spec"].is_null()).collect();
        assert_eq!(filled.len(), 1);
        assert_eq!((&filled[0]["name"], &filled[0]["spec"]), (&json!("Weather"), &spec));
    }
    for (text, complaint) in [("{", "is not JSON"), ("{}", "connectionSpecification")] {
        std::fs::write(folder.join("spec.json"), text).unwrap();
        build(&bench, &["--specs", &path]).1.exits(2).complains(&["spec.json", complaint]);
    }
    build(&bench, &["--specs", "/nowhere"]).1.exits(2).complains(&["--specs /nowhere"]);
}

#[test]
fn no_name_in_metadata_leads_out_of_the_folder_of_specs() {
    let bench = Bench::new();
    let specs = bench.place("outside/specs");
    std::fs::create_dir_all(specs.join("1.0.0")).unwrap();
    let spec = json!({"connectionSpecification": {"stolen": true}}).to_string();
    for place in [specs.join("1.0.0"), specs.join("..").join("1.0.0"), specs.join("../x/1.0.0")] {
        std::fs::create_dir_all(&place).unwrap();
        std::fs::write(place.join("spec.json"), &spec).unwrap();
    }
    let metadata = format!("{WEATHER}/metadata.yaml");
    let text = std::fs::read_to_string(bench.repo().join(&metadata)).unwrap();
    let path = specs.display().to_string();
    for name in ["..", ".", "../x", "a/../../x", "/etc", ""] {
        for overridden in [false, true] {
            let new = if overridden {
                let own = format!("dockerRepository: {name:?}, dockerImageTag: 1.0.0");
                let overrides = format!("registryOverrides: {{ oss: {{ enabled: true, {own} }} }}");
                format!("{text}  {overrides}\n")
            } else {
                let own = format!("dockerRepository: {name:?}\n");
                let lines = text.lines().map(|line| match line.trim_start() {
                    rest if rest.starts_with("dockerRepository:") => format!("  {own}"),
                    rest if rest.starts_with("dockerImageTag:") => {
                        "  dockerImageTag: 1.0.0\n".into()
                    }
                    _ => format!("{line}\n"),
                });
                lines.collect()
            };
            bench.write(&metadata, &new);
            let (out, answer) = build(&bench, &["--specs", &path]);
            assert!(answer.status < 3, "{}", answer.err);
            for file in ["registry.json", "oss_registry.json", "cloud_registry.json"] {
                let text = std::fs::read_to_string(out.join(file)).unwrap_or_default();
                assert!(!text.contains("stolen"), "{name} {overridden} {file}: {}", answer.out);
            }
        }
    }
}

#[test]
fn what_lies_behind_a_link_is_nobodys_metadata() {
    let bench = Bench::new();
    let elsewhere = bench.place("elsewhere");
    std::fs::rename(bench.repo().join(WEATHER), &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, bench.repo().join(WEATHER)).unwrap();
    let (out, answer) = build(&bench, &[]);
    answer.exits(0);
    assert!(!names(&read(&out, "registry.json")["sources"]).contains(&"Weather"));
    let listed = bench.run(&["list", "--all", "--json"]).exits(0);
    assert!(!listed.out.contains("source-weather"), "{}", listed.out);
}

#[test]
fn what_can_not_be_built_is_said() {
    let bench = Bench::new();
    build(&bench, &["--head", "nowhere"]).1.exits(2).complains(&["nowhere"]);
    bench.run(&["registry", "build"]).exits(2).complains(&["--out"]);
    let file = bench.place("file");
    std::fs::write(&file, "").unwrap();
    let under = file.join("out").display().to_string();
    bench.run(&["registry", "build", "--out", &under]).exits(3).complains(&[&under, "--out"]);
    bench.git(&["rm", "-r", "--quiet", "airbyte-integrations/connectors"]);
    let out = bench.place("out").display().to_string();
    bench
        .run(&["registry", "build", "--out", &out])
        .exits(2)
        .complains(&["no connector here has Airbyte's metadata"]);
    assert!(!Path::new(&out).exists(), "nothing is written of nothing");
}

#[test]
fn a_list_has_pictures_and_pages() {
    let bench = Bench::new();
    bench.write(&format!("{WEATHER}/icon.svg"), "<svg/>");
    let list = bench.run(&["list", "--name", "source-weather", "--json"]).exits(0).json();
    assert_eq!(list["connectors"][0]["icon_file"], format!("{WEATHER}/icon.svg"));
    bench.run(&["list", "--name", "source-weather", "-v"]).exits(0).says(&["icon.svg"]);
}
