//! What a step left for people: artifacts and reports, without secrets.

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use globset::{GlobBuilder, GlobSetBuilder};
use tokio_util::sync::CancellationToken;

use crate::domain::annotation::Annotations;
use crate::domain::coverage::{self, Coverage};
use crate::domain::pipeline::StepSpec;
use crate::domain::redact::{Clip, RedactedStream, Redactor};
use crate::domain::run::Tests;
use crate::domain::{junit, sarif};

/// The largest report that is read.
const REPORT_LIMIT: u64 = 64 << 20;
/// How much of a report is freed of secrets at once.
const CHUNK: usize = 1 << 20;
/// Bytes of what is wrong with a report that are told: it may quote the report.
const WHY_MAX: usize = 1024;

/// The reports that a step's results are read from, by their paths under `$CHECKVALVE_OUT`.
#[derive(Debug, Default)]
pub(super) struct Reports {
    junit: Option<String>,
    sarif: Option<String>,
    coverage: Option<String>,
}

impl Reports {
    pub(super) fn of(spec: &StepSpec) -> Self {
        let (junit, sarif) = (spec.junit.clone(), spec.sarif.clone());
        Self { junit, sarif, coverage: spec.coverage.clone() }
    }

    pub(super) fn any(&self) -> bool {
        [&self.junit, &self.sarif, &self.coverage].into_iter().any(Option::is_some)
    }
}

/// What is to be looked for in what a step left.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) out: PathBuf,
    pub(super) globs: Vec<String>,
    pub(super) reports: Reports,
    /// What the SARIF report holds, if it was read before.
    pub(super) annotations: Option<Annotations>,
    pub(super) redactor: Arc<Redactor>,
}

impl Look {
    /// Looks on a thread of its own, which ends soon after nobody waits for it any more.
    pub(super) async fn found(mut self) -> Found {
        let enough = CancellationToken::new();
        let _enough = enough.clone().drop_guard();
        let found = tokio::task::spawn_blocking(move || Found::below(&mut self, &enough));
        found.await.unwrap_or_else(|e| Found::nothing(&e.to_string()))
    }
}

/// What is of interest in what a step left.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Paths of plain files, `/`-separated and sorted.
    pub(super) artifacts: Vec<String>,
    pub(super) tests: Option<Tests>,
    pub(super) annotations: Option<Annotations>,
    pub(super) coverage: Option<Coverage>,
    /// What is wrong with the reports or the artifacts, in words.
    pub(super) trouble: Option<String>,
}

/// Reads what the file holds, with a remark on it if there is something to be said; the redactor is
/// for what the format has in a form of its own.
type Parse<T> = fn(&[u8], &Arc<Redactor>) -> Result<(T, Option<String>), String>;

/// Why a report was not read.
#[derive(Debug)]
struct Unread {
    why: String,
    /// May it hold secrets still?
    telling: bool,
}

impl Found {
    /// Looks through a folder; what has secrets in its name is left out, and reports are freed of
    /// them where they lie. Blocks; ends early if that is asked for.
    fn below(look: &mut Look, enough: &CancellationToken) -> Self {
        let artifacts = matching(&look.out, &look.globs, enough);
        let annotations = look.annotations.take();
        let mut found = Self { artifacts, annotations, ..Self::default() };
        let (look, Reports { junit, sarif, coverage }) = (&*look, &look.reports);
        let tests = ("test report", junit.as_deref());
        found.tests = found.read(tests, (look, enough), junit::read);
        if found.annotations.is_none() {
            let sarif = ("SARIF report", sarif.as_deref());
            found.annotations = found.read(sarif, (look, enough), whole_sarif);
        }
        let coverage = ("coverage report", coverage.as_deref());
        let whole = |bytes: &[u8], _: &Arc<Redactor>| Ok((coverage::parse(bytes)?, None));
        found.coverage = found.read(coverage, (look, enough), whole);
        let before = found.artifacts.len();
        found.artifacts.retain(|path| matches!(look.redactor.text(path), Cow::Borrowed(_)));
        let telling = before - found.artifacts.len();
        if telling > 0 {
            found.trouble(format!(
                "{telling} artifacts have a secret in their names and are not kept"
            ));
        }
        found
    }

    /// It could not be looked through.
    pub(super) fn nothing(why: &str) -> Self {
        let trouble = format!(
            "what it left for people could not be looked through: {why}; its artifacts and reports \
             are missing"
        );
        Self { trouble: Some(trouble), ..Self::default() }
    }

    fn trouble(&mut self, what: String) {
        self.trouble = Some(match self.trouble.take() {
            Some(before) => format!("{before}; {what}"),
            None => what,
        });
    }

    /// A report that still may hold secrets is no artifact; any other one is, whatever is wrong
    /// with it.
    fn read<T>(
        &mut self,
        (what, path): (&str, Option<&str>),
        (look, enough): (&Look, &CancellationToken),
        parse: Parse<T>,
    ) -> Option<T> {
        let path = path?;
        let Unread { why, telling } = match read((&look.out, path), &look.redactor, enough, parse) {
            Ok((read, remark)) => {
                if let Some(remark) = remark {
                    self.trouble(format!("{what} `{path}`: {remark}"));
                }
                return Some(read);
            }
            Err(unread) => unread,
        };
        let before = self.artifacts.len();
        if telling {
            self.artifacts.retain(|artifact| !is_same(artifact, path));
        }
        let left_out = self.artifacts.len() < before;
        let kept = if left_out { "; it may hold secrets and is not kept" } else { "" };
        self.trouble(format!("{what} `{path}`: {why}{kept}"));
        None
    }
}

/// Reads the annotations of a SARIF report below `out`, freed of secrets. Blocks.
pub(super) fn annotations(
    (out, path): (&Path, &str),
    redactor: &Arc<Redactor>,
    enough: &CancellationToken,
) -> Result<Annotations, String> {
    let read = read((out, path), redactor, enough, whole_sarif);
    read.map(|(annotations, _)| annotations).map_err(|unread| unread.why)
}

/// What is cut off is no JSON, so that what is read is all there is.
fn whole_sarif(
    bytes: &[u8],
    redactor: &Arc<Redactor>,
) -> Result<(Annotations, Option<String>), String> {
    Ok((sarif::parse(bytes, redactor)?, None))
}

/// Frees a report of secrets where it lies, and reads it.
fn read<T>(
    (out, path): (&Path, &str),
    redactor: &Arc<Redactor>,
    enough: &CancellationToken,
    parse: Parse<T>,
) -> Result<(T, Option<String>), Unread> {
    let veiled = place(out, path).and_then(|file| match veil(&file, redactor, enough) {
        Ok(()) => Ok(file),
        Err(e) => Err(e.to_string()),
    });
    let telling = veiled.is_err() && !redactor.is_empty();
    let read = veiled.and_then(|file| content(&file)).and_then(|bytes| parse(&bytes, redactor));
    read.map_err(|why| Unread { why: Clip::of(redactor, &why, WHY_MAX), telling })
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

/// Where a report lies.
fn place(out: &Path, path: &str) -> Result<PathBuf, String> {
    // The executor left nothing but plain files there; the path is the pipeline's.
    if !Path::new(path).components().all(|c| matches!(c, std::path::Component::Normal(_))) {
        return Err("it must be a path within $CHECKVALVE_OUT".to_owned());
    }
    let mut file = out.to_owned();
    let leads = Path::new(path).components().all(|part| {
        file.push(part);
        fs::symlink_metadata(&file).is_ok_and(|meta| !meta.is_symlink())
    });
    if !leads || !file.is_file() {
        return Err("the step did not write it to $CHECKVALVE_OUT".to_owned());
    }
    Ok(file)
}

/// Leaves a file without secrets, however large it is: it may be an artifact too.
fn veil(file: &Path, redactor: &Arc<Redactor>, enough: &CancellationToken) -> io::Result<()> {
    if redactor.is_empty() {
        return Ok(());
    }
    let Some(folder) = file.parent() else { return Ok(()) };
    let mut from = File::open(file)?;
    let mut to = tempfile::NamedTempFile::new_in(folder)?;
    let mut stream = RedactedStream::new(redactor.clone());
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = from.read(&mut chunk)?;
        if read == 0 {
            break;
        }
        if enough.is_cancelled() {
            return Err(io::Error::other("it was not read to its end"));
        }
        to.write_all(&stream.push(Bytes::copy_from_slice(&chunk[..read])))?;
    }
    to.write_all(&stream.finish())?;
    to.persist(file).map_err(|e| e.error)?;
    Ok(())
}

fn content(file: &Path) -> Result<Vec<u8>, String> {
    let size = fs::metadata(file).map_err(|e| e.to_string())?.len();
    if size > REPORT_LIMIT {
        let (size, most) = (size >> 20, REPORT_LIMIT >> 20);
        return Err(format!("{size} MiB are too much to read, {most} MiB are the most"));
    }
    fs::read(file).map_err(|e| e.to_string())
}

/// Paths of plain files below `out` that a glob matches, sorted.
fn matching(out: &Path, globs: &[String], enough: &CancellationToken) -> Vec<String> {
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
            if enough.is_cancelled() {
                return Vec::new();
            }
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

    fn below(out: &Path, globs: &[String], reports: Reports, secrets: &Arc<Redactor>) -> Found {
        let (out, globs, redactor) = (out.to_owned(), globs.to_vec(), secrets.clone());
        let mut look = Look { out, globs, reports, annotations: None, redactor };
        Found::below(&mut look, &CancellationToken::new())
    }

    fn matching(out: &Path, globs: &[String]) -> Vec<String> {
        super::matching(out, globs, &CancellationToken::new())
    }

    fn junit(path: &str) -> Reports {
        Reports { junit: Some(path.to_owned()), ..Reports::default() }
    }

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
    fn links_and_pipes_are_neither_artifacts_nor_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (out, other) = (folder.path().join("out"), folder.path().join("other"));
        fs::create_dir_all(&out).unwrap();
        fs::create_dir_all(&other).unwrap();
        fs::write(other.join("a.log"), "not of this step").unwrap();
        std::os::unix::fs::symlink(&other, out.join("folder")).unwrap();
        std::os::unix::fs::symlink(other.join("a.log"), out.join("b.log")).unwrap();
        let pipe = std::process::Command::new("mkfifo").arg(out.join("c.log")).status().unwrap();
        assert!(pipe.success());
        fs::write(out.join("d.log"), "").unwrap();
        assert_eq!(matching(&out, &["**".to_owned()]), ["d.log"]);
        for report in ["b.log", "c.log", "folder/a.log"] {
            let found = below(&out, &[], junit(report), &Arc::default());
            assert!(found.trouble.is_some(), "{report}");
        }
    }

    #[test]
    fn a_report_outside_of_the_folder_or_missing_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let none = Arc::default();
        let found = below(folder.path(), &[], junit("../x.xml"), &none);
        assert!(found.trouble.unwrap().contains("within $CHECKVALVE_OUT"));
        let found = below(folder.path(), &[], junit("x.xml"), &none);
        assert!(found.trouble.unwrap().contains("did not write it"));
    }

    #[test]
    fn secrets_leave_reports_and_names_of_artifacts() {
        let folder = tempfile::tempdir().unwrap();
        let name = "token".parse().unwrap();
        let redactor = Redactor::new([(&name, b"sesame<open>42".as_slice())], "source-x").unwrap();
        let redactor = Arc::new(redactor);
        let report = "<testsuite><testcase name=\"a sesame&lt;open&gt;42\"><failure message=\"m\">\
                      <![CDATA[got sesame<open>42]]></failure></testcase></testsuite>";
        fs::write(folder.path().join("junit.xml"), report).unwrap();
        fs::write(folder.path().join("of sesame<open>42"), "").unwrap();
        let found = below(folder.path(), &["**".to_owned()], junit("junit.xml"), &redactor);
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
        let secrets = Arc::new(Redactor::of([b"sesame-open-42".as_slice()], "source-x").unwrap());
        fs::write(folder.path().join("junit.xml"), "").unwrap();
        fs::write(folder.path().join("other.xml"), "").unwrap();
        let globs = ["*.xml".to_owned()];
        for path in ["./junit.xml", "x/../junit.xml"] {
            let found = below(folder.path(), &globs, junit(path), &secrets);
            assert_eq!(found.artifacts, ["other.xml"], "{path}");
            assert!(found.trouble.unwrap().ends_with("it may hold secrets and is not kept"));
        }
        // Where there are no secrets it holds none.
        let none = Arc::default();
        let found = below(folder.path(), &globs, junit("x/../junit.xml"), &none);
        assert_eq!(found.artifacts, ["junit.xml", "other.xml"]);
        let told = "test report `x/../junit.xml`: it must be a path within $CHECKVALVE_OUT";
        assert_eq!(found.trouble.as_deref(), Some(told));
    }

    #[test]
    fn a_report_of_100_mib_is_told_and_kept_without_secrets() {
        let folder = tempfile::tempdir().unwrap();
        let secrets = Arc::new(Redactor::of([b"sesame-open-42".as_slice()], "source-x").unwrap());
        let mut report = File::create(folder.path().join("junit.xml")).unwrap();
        let line = vec![b' '; 100 << 20];
        report.write_all(&line).unwrap();
        report.write_all(b"sesame-open-42").unwrap();
        let reports = Reports { sarif: Some("junit.xml".to_owned()), ..junit("junit.xml") };
        let found = below(folder.path(), &["*".to_owned()], reports, &secrets);
        assert_eq!(found.artifacts, ["junit.xml"]);
        let why = "100 MiB are too much to read, 64 MiB are the most";
        let told = format!("test report `junit.xml`: {why}; SARIF report `junit.xml`: {why}");
        assert_eq!(found.trouble.unwrap(), told);
        let kept = fs::read(folder.path().join("junit.xml")).unwrap();
        assert!(kept.ends_with(b"  ***"), "what is kept holds no secret");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn every_report_is_read_and_what_is_wrong_with_each_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let sarif =
            r#"{"version":"2.1.0","runs":[{"results":[{"ruleId":"R","message":{"text":"m"}}]}]}"#;
        fs::write(folder.path().join("a.sarif"), sarif).unwrap();
        fs::write(folder.path().join("lcov.info"), "SF:a\nDA:1,1\nend_of_record\n").unwrap();
        let named = |sarif: &str, coverage: &str| Reports {
            junit: None,
            sarif: Some(sarif.to_owned()),
            coverage: Some(coverage.to_owned()),
        };
        let none = Arc::default();
        let found = below(folder.path(), &[], named("a.sarif", "lcov.info"), &none);
        assert_eq!(found.annotations.unwrap().warnings, 1);
        assert_eq!(found.coverage.unwrap(), Coverage { covered: 1, lines: 1 });
        assert_eq!(found.trouble, None);
        let found = below(folder.path(), &[], named("lcov.info", "a.sarif"), &none);
        assert!(found.annotations.is_none() && found.coverage.is_none());
        let trouble = found.trouble.unwrap();
        assert!(trouble.contains("SARIF report `lcov.info`: it is no SARIF"), "{trouble}");
        assert!(trouble.contains("; coverage report `a.sarif`: it is neither"), "{trouble}");
    }

    #[test]
    fn what_is_told_of_a_report_has_an_end() {
        let folder = tempfile::tempdir().unwrap();
        let secrets = Arc::new(Redactor::of([b"sesame-open-42".as_slice()], "source-x").unwrap());
        // An error quotes what it did not expect, and what the format spells otherwise.
        let runs = format!("{}\\u0073esame-open-42{}", "x".repeat(960), "x".repeat(1 << 20));
        let sarif = format!("{{\"version\":\"2.1.0\",\"runs\":\"{runs}\"}}");
        fs::write(folder.path().join("a.sarif"), sarif).unwrap();
        let reports = Reports { sarif: Some("a.sarif".to_owned()), ..Reports::default() };
        let trouble = below(folder.path(), &[], reports, &secrets).trouble.unwrap();
        assert!(trouble.contains("invalid type: string \"xxx"), "{trouble}");
        assert!(trouble.len() < 1100 && trouble.contains("x***x"), "{trouble}");
    }

    #[test]
    fn annotations_that_were_read_are_not_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let reports = Reports { sarif: Some("a.sarif".to_owned()), ..Reports::default() };
        let annotations = Some(Annotations { errors: 3, ..Annotations::default() });
        let (out, globs, redactor) = (folder.path().to_owned(), Vec::new(), Arc::default());
        let mut look = Look { out, globs, reports, annotations: annotations.clone(), redactor };
        let found = Found::below(&mut look, &CancellationToken::new());
        assert_eq!((found.annotations, found.trouble), (annotations, None));
    }

    #[test]
    fn a_look_ends_early_and_what_was_not_looked_through_is_no_artifact() {
        let folder = tempfile::tempdir().unwrap();
        let redactor = Arc::new(Redactor::of([b"sesame-open-42".as_slice()], "source-x").unwrap());
        fs::write(folder.path().join("junit.xml"), "<testsuite/>").unwrap();
        let enough = CancellationToken::new();
        enough.cancel();
        let unread = read((folder.path(), "junit.xml"), &redactor, &enough, junit::read);
        let unread = unread.unwrap_err();
        assert!(unread.telling && unread.why == "it was not read to its end", "{unread:?}");
        assert!(super::matching(folder.path(), &["**".to_owned()], &enough).is_empty());
    }
}
