//! What a step left for people: artifacts and the test report, without secrets.

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobSetBuilder};

use crate::domain::junit;
use crate::domain::redact::Redactor;
use crate::domain::run::Tests;

/// The largest test report that is read.
const REPORT_LIMIT: u64 = 64 << 20;

/// What is of interest in what a step left.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Paths of plain files, `/`-separated and sorted.
    pub(super) artifacts: Vec<String>,
    pub(super) tests: Option<Tests>,
    /// What is wrong with the test report or the artifacts, in words.
    pub(super) trouble: Option<String>,
}

impl Found {
    /// Looks through a folder; what has secrets in its name is left out, and a report is freed of
    /// them where it lies. Blocks.
    pub(super) fn below(
        out: &Path,
        globs: &[String],
        report: Option<String>,
        redactor: &Redactor,
    ) -> Self {
        let mut found = Self { artifacts: matching(out, globs), ..Self::default() };
        if let Some(path) = report {
            found.read_tests(out, &path, redactor);
        }
        let before = found.artifacts.len();
        found.artifacts.retain(|path| matches!(redactor.text(path), Cow::Borrowed(_)));
        let telling = before - found.artifacts.len();
        if telling > 0 {
            let what = format!("{telling} artifacts have a secret in their names and are not kept");
            let before = found.trouble.take();
            found.trouble = Some(before.map_or(what.clone(), |before| format!("{before}; {what}")));
        }
        found
    }

    /// A report that still may hold secrets is no artifact.
    fn read_tests(&mut self, out: &Path, path: &str, redactor: &Redactor) {
        let read = read_tests(out, path, redactor);
        let mut kept = "";
        if read.is_err() && !redactor.is_empty() {
            let before = self.artifacts.len();
            self.artifacts.retain(|artifact| !is_same(artifact, path));
            if self.artifacts.len() < before {
                kept = "; it may hold secrets and is not kept";
            }
        }
        match read.and_then(|xml| junit::parse(&xml)) {
            Ok(tests) => self.tests = Some(tests),
            Err(why) => self.trouble = Some(format!("test report `{path}`: {why}{kept}")),
        }
    }
}

/// Do both lead to one file?
fn is_same(artifact: &str, path: &str) -> bool {
    let mut plain = PathBuf::new();
    for part in Path::new(path).components() {
        match part {
            std::path::Component::ParentDir => {
                plain.pop();
            }
            std::path::Component::Normal(name) => plain.push(name),
            std::path::Component::Prefix(_)
            | std::path::Component::RootDir
            | std::path::Component::CurDir => {}
        }
    }
    Path::new(artifact) == plain
}

/// Reads the report, and leaves it without secrets where it lies, as it may be an artifact too.
fn read_tests(out: &Path, path: &str, redactor: &Redactor) -> Result<Vec<u8>, String> {
    // The executor left nothing but plain files there; the path is the pipeline's.
    let inside = Path::new(path).components().all(|c| matches!(c, std::path::Component::Normal(_)));
    let file = out.join(path);
    let size =
        fs::symlink_metadata(&file).ok().filter(fs::Metadata::is_file).map(|meta| meta.len());
    match size {
        _ if !inside => Err("it must be a path within $CHECKVALVE_OUT".to_owned()),
        None => Err("the step did not write it to $CHECKVALVE_OUT".to_owned()),
        Some(size) if size > REPORT_LIMIT => {
            Err(format!("{} MiB are too much to read", size >> 20))
        }
        Some(_) => {
            let xml = fs::read(&file).map_err(|e| e.to_string())?;
            let Cow::Owned(redacted) = redactor.bytes(&xml) else { return Ok(xml) };
            fs::write(&file, &redacted).map_err(|e| e.to_string())?;
            Ok(redacted)
        }
    }
}

/// Paths of plain files below `out` that a glob matches, sorted.
fn matching(out: &Path, globs: &[String]) -> Vec<String> {
    let mut set = GlobSetBuilder::new();
    for glob in globs {
        // The configuration was checked when it was read; a glob that is none matches nothing.
        if let Ok(glob) =
            GlobBuilder::new(glob.trim_start_matches("./")).literal_separator(true).build()
        {
            set.add(glob);
        }
    }
    let Ok(set) = set.build() else { return Vec::new() };
    if set.is_empty() {
        return Vec::new();
    }
    let mut paths = Vec::new();
    let mut folders = vec![out.to_owned()];
    while let Some(folder) = folders.pop() {
        for child in fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(kind) = child.file_type() else { continue };
            if kind.is_dir() {
                folders.push(child.path());
                continue;
            }
            let path = child.path();
            let path = path.strip_prefix(out).ok().and_then(Path::to_str);
            paths.extend(
                path.filter(|path| kind.is_file() && set.is_match(path)).map(str::to_owned),
            );
        }
    }
    paths.sort();
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn artifacts_are_the_matching_files_in_order() {
        let folder = tempfile::tempdir().unwrap();
        for path in ["b.log", "a.log", "htmlcov/index.html", "htmlcov/deep/x.html", "other"] {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        let globs = ["*.log", "htmlcov/**", "[", "missing"].map(String::from);
        assert_eq!(
            matching(folder.path(), &globs),
            ["a.log", "b.log", "htmlcov/deep/x.html", "htmlcov/index.html"]
        );
        assert!(matching(folder.path(), &[]).is_empty());
    }

    #[test]
    fn a_report_outside_of_the_folder_or_missing_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let none = Redactor::default();
        let found = Found::below(folder.path(), &[], Some("../x.xml".into()), &none);
        assert!(found.trouble.unwrap().contains("within $CHECKVALVE_OUT"));
        let found = Found::below(folder.path(), &[], Some("x.xml".into()), &none);
        assert!(found.trouble.unwrap().contains("did not write it"));
    }

    #[test]
    fn secrets_leave_reports_and_names_of_artifacts() {
        let folder = tempfile::tempdir().unwrap();
        let name = "token".parse().unwrap();
        let redactor = Redactor::new([(&name, b"sesame<open>42".as_slice())], "source-x").unwrap();
        let report = "<testsuite><testcase name=\"a sesame&lt;open&gt;42\"><failure message=\"m\">\
                      <![CDATA[got sesame<open>42]]></failure></testcase></testsuite>";
        fs::write(folder.path().join("junit.xml"), report).unwrap();
        fs::write(folder.path().join("of sesame<open>42"), "").unwrap();
        let report = Some("junit.xml".to_owned());
        let found = Found::below(folder.path(), &["**".to_owned()], report, &redactor);
        assert_eq!(found.artifacts, ["junit.xml"]);
        assert!(found.trouble.unwrap().starts_with("1 artifacts have a secret in their names"));
        let failure = &found.tests.unwrap().failures[0];
        assert_eq!(failure.name, "a ***");
        let kept = fs::read_to_string(folder.path().join("junit.xml")).unwrap();
        assert!(!kept.contains("sesame"), "{kept}");
    }

    #[test]
    fn a_report_that_could_not_be_rewritten_is_no_artifact() {
        let folder = tempfile::tempdir().unwrap();
        let name = "token".parse().unwrap();
        let secrets = Redactor::new([(&name, b"sesame-open-42".as_slice())], "source-x").unwrap();
        let report = fs::File::create(folder.path().join("junit.xml")).unwrap();
        report.set_len(REPORT_LIMIT + 1).unwrap();
        fs::write(folder.path().join("other.xml"), "").unwrap();
        let globs = ["*.xml".to_owned()];
        for path in ["junit.xml", "./junit.xml", "x/../junit.xml"] {
            let found = Found::below(folder.path(), &globs, Some(path.to_owned()), &secrets);
            assert_eq!(found.artifacts, ["other.xml"], "{path}");
            assert!(found.trouble.unwrap().ends_with("it may hold secrets and is not kept"));
        }
        // Where there are no secrets it holds none.
        let none = Redactor::default();
        let found = Found::below(folder.path(), &globs, Some("junit.xml".to_owned()), &none);
        assert_eq!(found.artifacts, ["junit.xml", "other.xml"]);
        let told = "test report `junit.xml`: 64 MiB are too much to read";
        assert_eq!(found.trouble.as_deref(), Some(told));
    }
}
