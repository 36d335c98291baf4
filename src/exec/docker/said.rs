//! What the engine's builder says, apart from what commands print between its lines.

use std::sync::LazyLock;

use regex::Regex;

use super::layers::{self, Layers};
use super::{ApiError, Halt, halt};
use crate::domain::build::Sent;

/// What a build says when a layer is gone that its builder had just found: another process cleared it
/// away, the engine's operator did, or the engine itself with an image. What a Dockerfile names may
/// stand in a message as well, but never before this.
static LOST: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let id = "[\"']?sha256:[0-9a-f]{64}[\"']?";
    let before = format!(
        "(?:(?:COPY failed|ADD failed|invalid from flag value {id}|failed to [a-z ]+(?:{id})?(?: to \
         {id})?): )*"
    );
    let signs = "unknown parent image ID|No such image:|failed to get layer(?: for image)?|unable to \
                 (?:get|find) image";
    // What the engine says of a layer lies in two folders of its own.
    let file = format!(
        "failed to [a-z ]+(?:{id})?: [a-z]+ /[^:]*/(?:imagedb|layerdb)/[^:]*: no such file or \
         directory$"
    );
    Regex::new(&format!(
        "^(?:{before}(?:(?:{signs}) {id}|{file})|(?:failed to [a-z ]+: )*layer does not exist$)"
    ))
    .ok()
});

/// What the builder says of a command that failed.
pub(super) const NON_ZERO: &str = "returned a non-zero code";

/// What a build says of its host's or a registry's bad moment.
const OURS: [&str; 8] = [
    "toomanyrequests",
    "no space left on device",
    "No such image",
    "TLS handshake timeout",
    "i/o timeout",
    "connection reset by peer",
    "unexpected EOF",
    "cannot allocate memory",
];

/// What it says when a command's container could not be made or started, which never is the
/// command's own doing; and that it was not found, which is.
const UNSTARTED: [&str; 8] = [
    "failed to create endpoint",
    "failed to set up container networking",
    "OCI runtime create failed",
    "failed to create shim",
    "failed to create task",
    "error gathering device information",
    "could not find an available",
    "is ambiguous",
];
const THEIRS: [&str; 6] = [
    "executable file not found",
    "exec format error",
    "exec: \"",
    "unable to find user",
    "permission denied",
    "chdir to cwd",
];
/// The network that it was given is there no more: the operator cleared networks up.
static NO_NETWORK: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new("(?:^|: )network \\S+ not found$").ok());
/// What an engine notes of a command that it, or its host, ended itself.
const ENDED: [&str; 3] = ["137", "143", "255"];

/// Before the id of a command's container, and after the command ended.
const RUNNING: &str = " ---> Running in ";
const REMOVED: [&str; 2] =
    ["Removing intermediate container ", " ---> Removed intermediate container "];

/// What the builder said.
pub(super) struct Seen {
    /// The finished image.
    pub id: Option<String>,
    pub error: Option<String>,
    pub sent: Option<Sent>,
    pub layers: Layers,
    /// Was the layer that it tells of next there before?
    found: bool,
    /// The container of a command: until it is removed, lines are the command's.
    running: Option<String>,
    /// The number of the last step.
    step: usize,
}

impl Seen {
    pub(super) fn of(layers: Layers, sent: Option<Sent>) -> Self {
        Self { id: None, error: None, sent, layers, found: false, running: None, step: 0 }
    }

    /// The text of an answer; an error if it is ours.
    pub(super) fn take(
        &mut self,
        answer: Result<bollard::models::BuildInfo, ApiError>,
    ) -> Result<String, Halt> {
        let answer = match answer {
            Ok(answer) => answer,
            Err(ApiError::DockerStreamError { error }) => return Ok(self.fail(error)),
            // A Dockerfile that can't be read is refused before anything is done; and what fails before
            // anything was said is answered so.
            Err(ApiError::DockerResponseServerError { status_code, message })
                if status_code == 400 || fault(&message) == Fault::Lost =>
            {
                return Ok(self.fail(message));
            }
            Err(e) => return Err(halt("the image could not be built", &e)),
        };
        if let Some(error) = answer.error_detail {
            return Ok(self.fail(error.message.unwrap_or_default()));
        }
        if let Some(id) = answer.aux.and_then(|aux| aux.id) {
            self.id = Some(id);
        }
        if let Some(status) = answer.status {
            return Ok(format!("{status}\n"));
        }
        Ok(self.hear(answer.stream.unwrap_or_default()))
    }

    /// A line, in words of the connector's own Dockerfile if it is the builder's.
    fn hear(&mut self, text: String) -> String {
        let line = text.trim_end();
        let step = step_of(line);
        if let Some(container) = &self.running {
            let removed = REMOVED.iter().any(|sign| line.strip_prefix(sign) == Some(container));
            if !removed && step.is_none_or(|(number, _)| number != self.step + 1) {
                return text;
            }
            self.running = None;
        }
        if let Some((number, instruction)) = step {
            self.step = number;
            // What it builds on is not its own.
            let keyword = instruction.split_whitespace().next().unwrap_or_default();
            self.found = keyword.eq_ignore_ascii_case("from");
            return self.told(text);
        }
        if let Some(container) = line.strip_prefix(RUNNING) {
            self.running = Some(container.to_owned());
        } else if line == " ---> Using cache" {
            self.found = true;
        } else if let Some(layer) = layers::id_of(line) {
            if self.found { self.layers.found(layer) } else { self.layers.made(layer) }
        }
        text
    }

    fn told(&self, said: String) -> String {
        self.sent.as_ref().map(|sent| sent.told(&said)).unwrap_or(said)
    }

    fn fail(&mut self, error: String) -> String {
        let error = self.told(error);
        let line = format!("{}\n", error.trim_end());
        self.error.get_or_insert(error);
        line
    }
}

/// The number and the instruction of `Step 1/2 : FROM x`.
fn step_of(line: &str) -> Option<(usize, &str)> {
    let (place, instruction) = line.strip_prefix("Step ")?.split_once(" : ")?;
    let (number, all) = place.split_once('/')?;
    all.parse::<usize>().ok()?;
    Some((number.parse().ok()?, instruction))
}

/// Whose fault is it that a build failed?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The connector's.
    Theirs,
    Ours,
    /// The engine's builder had found a layer that is gone by now.
    Lost,
}

pub(super) fn fault(error: &str) -> Fault {
    // What a command printed is not what the builder says of it, nor is what a Dockerfile says.
    let quotes = [NON_ZERO, "parse error"];
    if quotes.iter().any(|sign| error.contains(sign)) {
        return Fault::Theirs;
    }
    if LOST.as_ref().is_some_and(|lost| lost.is_match(error)) {
        return Fault::Lost;
    }
    if NO_NETWORK.as_ref().is_some_and(|gone| gone.is_match(error)) {
        return Fault::Ours;
    }
    // A file's name comes before what is wrong with it.
    let copies = ["COPY failed", "ADD failed"].iter().any(|sign| error.starts_with(sign));
    let says = |sign: &&str| if copies { error.ends_with(*sign) } else { error.contains(*sign) };
    let unstarted = !copies
        && UNSTARTED.iter().any(|sign| error.contains(sign))
        && !THEIRS.iter().any(|sign| error.contains(sign));
    if unstarted || OURS.iter().any(says) { Fault::Ours } else { Fault::Theirs }
}

/// Did a command end with a status that may be the engine's doing?
pub(super) fn may_have_been_ended(error: &str) -> bool {
    let code = error.trim_end().rsplit_once(NON_ZERO).and_then(|(_, code)| code.strip_prefix(": "));
    code.is_some_and(|code| ENDED.contains(&code))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::domain::build::sources;

    #[test]
    fn whose_fault_a_builds_end_is() {
        const NONE: &str = "no such file or directory";
        let id = format!("sha256:{}", "4e".repeat(32));
        let found = "/var/lib/docker/image/overlay2/imagedb";
        for lost in [
            format!("unknown parent image ID {id}"),
            format!("No such image: {id}"),
            format!("failed to get layer {id}: layer does not exist"),
            "layer does not exist".to_owned(),
            format!("unable to get image {id}: no such file or directory"),
            format!("unable to find image \"{id}\""),
            format!(
                "failed to export image: failed to set parent {id}: unknown parent image ID {id}"
            ),
            format!("COPY failed: failed to get layer for image {id}: layer does not exist"),
            format!("ADD failed: failed to get destination image \"{id}\": No such image: {id}"),
            format!("invalid from flag value {id}: No such image: {id}"),
            format!("failed to get digest {id}: open {found}/content/sha256/4e: {NONE}"),
            format!("failed to read metadata: open {found}/metadata/sha256/4e/parent: {NONE}"),
            format!("COPY failed: failed to get digest {id}: open {found}/content/x: {NONE}"),
        ] {
            assert_eq!(fault(&lost), Fault::Lost, "{lost}");
            // The builder quotes the command, which may say anything.
            let run =
                format!("The command '/bin/sh -c echo {lost}; exit 1' returned a non-zero code: 1");
            assert_eq!(fault(&run), Fault::Theirs, "{run}");
            let parsed = format!("dockerfile parse error line 2: unknown instruction: {lost}");
            assert_eq!(fault(&parsed), Fault::Theirs, "{parsed}");
            // And files, users and folders of whatever name.
            for named in [
                format!(
                    "COPY failed: file not found in build context or excluded by .dockerignore: \
                     stat {lost}: file does not exist"
                ),
                format!("ADD failed: stat /var/lib/x/{lost}: no such file or directory"),
                format!("ADD failed: stat /var/lib/imagedb/{}: {NONE}", lost.replace(':', "")),
                format!(
                    "unable to find user x: {}: no matching entries",
                    lost.replace("No such", "")
                ),
            ] {
                assert_eq!(fault(&named), Fault::Theirs, "{named}");
            }
        }
    }

    #[test]
    fn what_is_ours_is_told_from_a_file_of_that_name() {
        for ours in [
            "write /x: no space left on device",
            "No such image: x:1",
            "i/o timeout",
            "COPY failed: failed to copy files: write /x: no space left on device",
        ] {
            assert_eq!(fault(ours), Fault::Ours, "{ours}");
        }
        for name in [
            "x",
            "layer does not exist",
            "failed to get layer",
            "no space left on device",
            "OCI runtime create failed",
            "network x not found",
        ] {
            let missing = format!(
                "COPY failed: file not found in build context: stat {name}: file does not exist"
            );
            assert_eq!(fault(&missing), Fault::Theirs, "{missing}");
        }
    }

    #[test]
    fn a_command_that_did_not_begin_is_the_connectors_if_it_is_not_there() {
        for ours in [
            "network 5f3c not found",
            "failed to create endpoint x on network y: failed to add the host pair",
            "OCI runtime create failed: container_linux.go:380: starting container process caused: \
             process_linux.go:545: container init caused: cannot allocate memory: unknown",
            "failed to create shim task: ttrpc: closed: unknown",
        ] {
            assert_eq!(fault(ours), Fault::Ours, "{ours}");
        }
        for theirs in [
            "OCI runtime create failed: runc create failed: unable to start container process: exec: \
             \"nope\": executable file not found in $PATH: unknown",
            "failed to create shim task: OCI runtime create failed: exec: \"/x\": permission denied",
            "unable to find user network x not found: no matching entries in passwd file",
        ] {
            assert_eq!(fault(theirs), Fault::Theirs, "{theirs}");
        }
    }

    #[test]
    fn a_status_that_an_engine_gives_to_what_it_ends_is_looked_at_again() {
        let said = |code: &str| {
            format!("The command '/bin/sh -c exit 137' returned a non-zero code: {code}")
        };
        for (code, may) in
            [("137", true), ("143", true), ("255", true), ("1", false), ("13", false)]
        {
            assert_eq!(may_have_been_ended(&said(code)), may, "{code}");
        }
        assert!(!may_have_been_ended("137"));
    }

    fn seen() -> (tempfile::TempDir, Seen) {
        let folder = tempfile::tempdir().unwrap();
        let notes = layers::Notes::open(folder.path().to_owned()).unwrap();
        let file = "FROM x:1 \\\n  AS a\nRUN x\n";
        let sent = sources(file, &BTreeMap::new()).sent(&BTreeMap::new(), Some("own=me"));
        (folder, Seen::of(Layers::begin(Some(&notes), &[]), Some(sent)))
    }

    fn hear(seen: &mut Seen, lines: &[&str]) {
        for line in lines {
            assert_eq!(seen.hear(format!("{line}\n")), format!("{line}\n"));
        }
    }

    #[test]
    fn what_a_command_prints_is_not_what_the_builder_says() {
        let (_folder, mut seen) = seen();
        hear(
            &mut seen,
            &[
                "Step 1/4 : FROM x:1",
                " ---> ba5e00000000",
                "Step 2/4 : LABEL own=me",
                " ---> Using cache",
                " ---> a10000000000",
                "Step 3/4 : RUN x",
                " ---> Running in c00000000001",
                " ---> f00000000001",
                "Step 1/1 : FROM y",
                "Step 9/9 : RUN y",
                " ---> Using cache",
                "Removing intermediate container c00000000002",
                " ---> Running in c00000000003",
                "Removing intermediate container c00000000003",
                " ---> f00000000002",
                "Removing intermediate container c00000000001",
                " ---> a20000000000",
                "Step 4/4 : CMD x",
                " ---> Running in c00000000004",
                " ---> Removed intermediate container c00000000004",
                " ---> a30000000000",
                "Successfully built a30000000000",
            ],
        );
        let noted = ["a10000000000", "a20000000000", "a30000000000", "ba5e00000000"];
        assert_eq!(seen.layers.noted(), noted);
        assert_eq!(seen.layers.told_as_made(), ["a20000000000", "a30000000000"]);
    }

    /// A command knows its container's id, by which it is called.
    #[test]
    fn however_much_a_command_prints_not_much_is_noted() {
        let (_folder, mut seen) = seen();
        hear(
            &mut seen,
            &["Step 1/1 : RUN x", " ---> Running in c1", "Removing intermediate container c1"],
        );
        for n in 0..5000 {
            hear(&mut seen, &[&format!(" ---> {n:012x}")]);
        }
        assert_eq!((seen.layers.noted().len(), seen.layers.told_as_made().len()), (1024, 1024));
    }
}
