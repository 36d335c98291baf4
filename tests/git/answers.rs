//! Answers about blobs are kept, and never believed: what is asked of git, and what is answered,
//! with a cache that is fresh, poisoned, torn or in use by others.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use checkvalve::ambient;
use checkvalve::git::{GitCache, LocalRepo};
use checkvalve::service::planning::survey_here;

use super::git_fixture::{Repo, plan};

const CONNECTORS: usize = 40;

/// Connectors with facts, a folder for the cache, and a git that notes which blobs are asked for.
struct Kept {
    repo: Repo,
    folder: tempfile::TempDir,
    base: String,
}

impl Kept {
    fn new() -> Self {
        let repo = Repo::new();
        for nth in 0..CONNECTORS {
            facts(&repo, nth, "1.0.0");
        }
        let base = repo.commit("base").to_string();
        repo.write("airbyte-integrations/connectors/source-7/main.py", "x");
        repo.commit("one changed file");
        let folder = tempfile::tempdir().unwrap();
        let bin = folder.path().join("bin");
        fs::create_dir(&bin).unwrap();
        let path = ambient::env("PATH").unwrap();
        let script = format!(
            "#!/bin/sh\nPATH='{path}'\ncase \" $* \" in\n\
             *' cat-file --batch '*) tee -a '{asked}' | git \"$@\" ;;\n*) exec git \"$@\" ;;\nesac\n",
            asked = folder.path().join("asked").display(),
        );
        fs::write(bin.join("git"), script).unwrap();
        fs::set_permissions(bin.join("git"), fs::Permissions::from_mode(0o755)).unwrap();
        Self { repo, folder, base }
    }

    fn caches(&self) -> PathBuf {
        self.folder.path().join("caches")
    }

    fn start(&self, args: &[&str]) -> Child {
        let path = ambient::env("PATH").unwrap();
        Command::new(env!("CARGO_BIN_EXE_checkvalve"))
            .args(args)
            .current_dir(self.repo.path())
            .env_clear()
            .env("PATH", format!("{}:{path}", self.folder.path().join("bin").display()))
            .env("HOME", self.folder.path())
            .env("XDG_CACHE_HOME", self.caches())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// What the program says.
    fn run(&self, args: &[&str]) -> String {
        ended(self.start(args))
    }

    fn affected(&self) -> String {
        self.run(&["affected", "--base", &self.base, "--head", "HEAD", "--json"])
    }

    /// How many blobs were asked for since the last time.
    fn asked(&self) -> usize {
        let file = self.folder.path().join("asked");
        let count = fs::read_to_string(&file).unwrap_or_default().lines().count();
        let _ = fs::remove_file(file);
        count
    }

    /// The one file of answers.
    fn file(&self) -> PathBuf {
        let found = fs::read_dir(self.caches().join("checkvalve")).unwrap();
        let mut files = found.map(|entry| entry.unwrap().path());
        files.find(|path| path.extension().is_some_and(|e| e == "answers")).unwrap()
    }
}

fn facts(repo: &Repo, nth: usize, version: &str) {
    repo.write(
        format!("airbyte-integrations/connectors/source-{nth}/metadata.yaml"),
        format!(
            "data:\n  name: Source {nth}\n  dockerImageTag: {version}\n  supportLevel: certified\n  \
             documentationUrl: https://docs.airbyte.com/integrations/sources/{nth}\n  tags:\n    \
             - language:python\n"
        ),
    );
}

#[track_caller]
fn ended(child: Child) -> String {
    let done = child.wait_with_output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(done.stderr.is_empty(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

#[test]
fn a_second_survey_reads_only_what_changed() {
    let kept = Kept::new();
    let first = kept.affected();
    assert!(first.contains("source-7") && !first.contains("source-8"), "{first}");
    assert_eq!(kept.asked(), CONNECTORS, "each once, for both sides");
    assert_eq!(kept.affected(), first);
    assert_eq!(kept.asked(), 0);

    facts(&kept.repo, 3, "2.0.0");
    kept.repo.commit("one more");
    let second = kept.affected();
    assert!(second.contains("source-3"), "{second}");
    assert_eq!(kept.asked(), 1);
    // What was true before is true again, without asking.
    kept.run(&["affected", "--base", "HEAD~2", "--head", "HEAD~1", "--json"]);
    assert_eq!(kept.asked(), 0);
    let inside = fs::read_dir(kept.repo.path()).unwrap();
    let inside: Vec<_> = inside.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(inside.len(), 2, "the work tree is as it was: {inside:?}");
}

#[test]
fn a_work_tree_asks_for_no_blob_that_is_known() {
    let kept = Kept::new();
    let list = || kept.run(&["list", "--all", "--json"]);
    let first = list();
    assert_eq!(kept.asked(), CONNECTORS);
    facts(&kept.repo, 3, "2.0.0-unstaged");
    let second = list();
    assert_eq!(kept.asked(), 0, "only the disk has the one that differs");
    assert!(!first.contains("2.0.0-unstaged") && second.contains("2.0.0-unstaged"));
    kept.repo.git(&["checkout", "--quiet", "--", "."]);
    assert_eq!(list(), first, "what was read from the disk was not kept");
}

#[test]
fn a_broken_cache_changes_no_answer() {
    let kept = Kept::new();
    let listed = kept.run(&["list", "--all", "--json"]);
    let answer = kept.affected();
    kept.asked();
    let file = kept.file();
    let whole = fs::read(&file).unwrap();
    let text = String::from_utf8(whole.clone()).unwrap();
    let poisoned = text.replace("1.0.0", "6.6.6");
    assert_ne!(poisoned, text);
    // Each answer under its neighbour's name.
    let mut lines: Vec<Vec<&str>> =
        text.lines().map(|line| line.splitn(4, ' ').collect()).collect();
    let answers: Vec<&str> = lines.iter().skip(1).map(|line| line[3]).collect();
    for (at, line) in lines.iter_mut().skip(1).enumerate() {
        line[3] = answers[(at + 1) % answers.len()];
    }
    let swapped = lines.iter().map(|line| line.join(" ") + "\n").collect::<String>();
    let version = text.replacen("checkvalve answers ", "checkvalve answers 9", 1);
    let mut broken: Vec<(String, Vec<u8>)> = vec![
        ("poisoned".to_owned(), poisoned.into_bytes()),
        ("swapped".to_owned(), swapped.into_bytes()),
        ("another version".to_owned(), version.replace("1.0.0", "6.6.6").into_bytes()),
        ("empty".to_owned(), Vec::new()),
        ("zeros".to_owned(), vec![0; whole.len()]),
        ("not UTF-8".to_owned(), vec![0xff; 100]),
    ];
    for cut in [1, 20, 21, whole.len() / 3, whole.len() - 30, whole.len() - 1] {
        broken.push((format!("cut at {cut}"), whole[..cut].to_vec()));
    }
    for (how, bytes) in broken {
        fs::write(&file, bytes).unwrap();
        assert_eq!(kept.run(&["list", "--all", "--json"]), listed, "{how}");
        assert!(kept.asked() > 0, "{how}: something was believed");
        assert_eq!(kept.affected(), answer, "{how}");
        assert_eq!(kept.asked(), 0, "{how}: it was not mended");
    }
}

#[test]
fn without_a_place_for_the_cache_everything_is_read() {
    let kept = Kept::new();
    // A file where the folder should be: not even root can write there.
    fs::write(kept.caches(), "").unwrap();
    let first = kept.affected();
    kept.asked();
    assert_eq!(kept.affected(), first);
    assert_eq!(kept.asked(), CONNECTORS);

    // A cache within the work tree would be an untracked file: there is none, then.
    fs::remove_file(kept.caches()).unwrap();
    let inside = kept.repo.path().join(".cache");
    let mut command = Command::new(env!("CARGO_BIN_EXE_checkvalve"));
    command.args(["list", "--all", "--json"]).current_dir(kept.repo.path()).env_clear();
    command.env("PATH", ambient::env("PATH").unwrap()).env("HOME", kept.repo.path());
    assert!(command.output().unwrap().status.success());
    assert!(!inside.exists());
}

#[test]
fn many_at_once_spoil_nothing() {
    let kept = Kept::new();
    let args = ["affected", "--base", &kept.base, "--head", "HEAD", "--json"];
    for _ in 0..3 {
        let children: Vec<Child> = (0..4).map(|_| kept.start(&args)).collect();
        let mut answers: Vec<String> = children.into_iter().map(ended).collect();
        answers.dedup();
        assert_eq!(answers.len(), 1);
        kept.asked();
        kept.affected();
        assert_eq!(kept.asked(), 0);
        let folder = fs::read_dir(kept.caches().join("checkvalve")).unwrap();
        assert_eq!(folder.count(), 2, "the answers and their lock, and nothing half-written");
        fs::remove_file(kept.file()).unwrap();
    }
}

#[tokio::test]
async fn a_servers_answers_lie_beside_its_clone() {
    let kept = Kept::new();
    let folder = tempfile::tempdir().unwrap();
    let cached = GitCache::new(folder.path()).repository(7, &kept.repo.url());
    let (base, head) = (kept.base.parse().unwrap(), kept.repo.head());
    cached.fetch(None, &[base, head.clone()]).await.unwrap();
    let base = kept.base.parse().unwrap();
    let scope = checkvalve::domain::trigger::Scope::Affected;
    let first = plan(&cached, &base, &head, &scope).await.unwrap();
    let file = folder.path().join("7.answers");
    assert_eq!(mode(&file), 0o600);
    let written = fs::read(&file).unwrap();
    let second = plan(&cached, &base, &head, &scope).await.unwrap();
    assert_eq!(fs::read(&file).unwrap(), written, "nothing new, nothing written");
    assert_eq!(first.selection.without_pipeline, second.selection.without_pipeline);
    // A few answers are not worth a file.
    let small = Repo::new();
    small.write("airbyte-integrations/connectors/source-1/metadata.yaml", "data: {}");
    let base = small.commit("small");
    let local = LocalRepo::discover(Some(small.path())).await.unwrap();
    let place = folder.path().join("local");
    let local = local.with_answers_in(Some(&place));
    survey_here(&local, Some(&base), None, None).await.unwrap();
    assert!(!place.exists());
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}
