use super::*;

impl Layers {
    pub(in crate::exec::docker) fn noted(&self) -> Vec<String> {
        let text = self.note.as_ref().and_then(|(path, _)| fs::read_to_string(path).ok());
        let mut all: Vec<String> =
            Note::parse(&text.unwrap_or_default()).layers.into_iter().collect();
        all.sort();
        all
    }

    pub(in crate::exec::docker) fn told_as_made(&self) -> Vec<String> {
        let mut all: Vec<String> = self.made.layers.iter().cloned().collect();
        all.sort();
        all
    }
}

const OWN: &str = "01k9zzzzzzzzzzzzzzzzzzzzzz";

/// An image with a label of whose it is, if it has one.
fn image(id: &str, parent: &str, whose: Option<&str>, name: &str) -> ImageSummary {
    let full = |id: &str| if id.is_empty() { String::new() } else { format!("sha256:{id:0<64}") };
    let repo_tags = if name.is_empty() { Vec::new() } else { vec![name.to_owned()] };
    let labels = whose.map(|whose| (LABEL.to_owned(), whose.to_owned()));
    ImageSummary {
        id: full(id),
        parent_id: full(parent),
        labels: labels.into_iter().collect(),
        repo_tags,
        ..ImageSummary::default()
    }
}

fn padded(id: &str) -> String {
    if id == SCRATCH { id.to_owned() } else { format!("{id:0<12}") }
}

/// One that noted these, of which the last ones are the last.
fn note(layers: &[&str], last: &[&str]) -> Note {
    let all = layers.iter().chain(last).map(|id| padded(id)).collect();
    Note { layers: all, last: last.iter().map(|id| padded(id)).collect() }
}

/// What goes of these images, in that order.
fn going(images: &[ImageSummary], living: &[Note], made: &[&str]) -> Vec<String> {
    let notes = Notes { folder: PathBuf::new(), owner: OWN.to_owned() };
    gone(images, living, Some(&notes), made)
}

fn gone(
    images: &[ImageSummary],
    living: &[Note],
    notes: Option<&Notes>,
    made: &[&str],
) -> Vec<String> {
    let made = Made { layers: made.iter().map(|id| padded(id)).collect(), since: 1000 };
    let clearing = Clearing { notes, made: &made };
    let (mut images, mut gone) = (images.to_vec(), Vec::new());
    while let Some(id) = clearing.next(&images, living, &HashSet::new()).map(str::to_owned) {
        gone.push(short(&id).trim_end_matches('0').to_owned());
        images.retain(|image| image.id != id);
    }
    gone
}

#[test]
fn what_is_left_of_ones_own_goes_and_nothing_of_others() {
    let own = Some(OWN);
    let images = [
        image("ba5e", "", None, "base:1"),
        image("a1", "ba5e", own, "<none>:<none>"),
        image("a2", "a1", own, ""),
        image("b1", "ba5e", Some("01k9yyyyyyyyyyyyyyyyyyyyyy"), ""),
        image("b2", "ba5e", None, ""),
        // Of whatever scope, and of another owner whose id begins with the own one.
        image("5c0", "ba5e", Some(&format!("{OWN}.1.pull-7.ab")), ""),
        image("5c1", "ba5e", Some(&format!("{OWN}z.1.all.ab")), ""),
        // A finished image, and what others made of it.
        image("c1", "ba5e", own, ""),
        image("c2", "c1", Some(""), "x:1"),
        image("c3", "c2", Some(""), ""),
        // What others made of a layer has its label: only its name tells.
        image("d1", "ba5e", own, ""),
        image("d2", "d1", own, "theirs:1"),
    ];
    assert_eq!(going(&images, &[], &[]), ["a2", "a1", "5c"]);
    // Whatever is told to be made: its label says whose it is.
    assert_eq!(going(&images, &[], &["b2", "c2"]), ["a2", "a1", "5c"]);
    // Without labels it goes by what was told, unless that was there before.
    let at = |mut image: ImageSummary, created| {
        image.created = created;
        image
    };
    let images = [
        at(image("b2", "", None, ""), 1000),
        at(image("b3", "", None, ""), 999),
        images[0].clone(),
    ];
    assert_eq!(gone(&images, &[], None, &["b2", "b3", "ba5e"]), ["b2"]);
}

#[test]
fn what_a_build_under_way_needs_stays() {
    let own = Some(OWN);
    let images = [
        image("ba5e", "", None, "base:1"),
        image("a1", "ba5e", own, ""),
        image("a2", "a1", own, ""),
        image("a3", "a2", own, ""),
        image("a4", "a3", own, ""),
        image("b2", "a1", own, ""),
        image("b3", "b2", own, ""),
        image("e1", "", own, ""),
        image("e2", "e1", own, ""),
    ];
    let none: [&str; 0] = [];
    // It is about to begin, and what it finds is not told yet.
    assert_eq!(going(&images, &[note(&[], &["ba5e", SCRATCH])], &[]), none);
    assert_eq!(going(&images, &[note(&[], &["ba5e"])], &[]), ["e2", "e1"]);
    // It has come to `a2`, and the builder may be ahead. A stage may begin anew on what is noted.
    assert_eq!(going(&images, &[note(&["ba5e", "a1"], &["a2"])], &[]), ["b3", "e2", "e1"]);
    let both = [note(&["ba5e", "a1"], &["a2"]), note(&["ba5e", SCRATCH], &["b2"])];
    assert_eq!(going(&images, &both, &[]), ["e2"]);
    assert_eq!(going(&images, &both[1..], &["a2"]), ["a4", "a3", "a2", "e2"]);
    // At the end of a stage what is made on its base is not kept for that alone.
    assert_eq!(going(&images, &[note(&["ba5e"], &["e2"])], &[]), ["a4", "a3", "a2", "b3", "b2"]);
}

#[test]
fn what_the_engine_does_not_let_go_is_not_asked_for_again() {
    let images = [image("a1", "", Some(OWN), ""), image("a2", "a1", Some(OWN), "")];
    let notes = Notes { folder: PathBuf::new(), owner: OWN.to_owned() };
    let clearing = Clearing { notes: Some(&notes), made: &Made::default() };
    let tried = HashSet::from([images[1].id.clone()]);
    assert_eq!(clearing.next(&images, &[], &HashSet::new()), Some(images[1].id.as_str()));
    assert_eq!(clearing.next(&images, &[], &tried), None);
}

#[test]
fn a_note_is_read_as_far_as_it_was_written() {
    let text = "ba5e00000000 scratch\na10000000000\na20000000000\n";
    assert_eq!(Note::parse(text), note(&["ba5e", SCRATCH, "a1"], &["a2"]));
    let cut = "ba5e00000000 scratch\na1000000";
    assert_eq!(Note::parse(cut), note(&[], &["ba5e", SCRATCH]));
    assert_eq!(Note::parse("ba5e"), Note::default());
}

#[test]
fn a_note_is_a_living_builds_for_as_long_as_that_holds_it() {
    let folder = tempfile::tempdir().unwrap();
    let notes = Notes::open(folder.path().to_owned()).unwrap();
    let bases = ["sha256:ba5e000000000000".to_owned(), SCRATCH.to_owned()];
    let mut layers = Layers::begin(Some(&notes), &bases);
    let label = format!("io.checkvalve.layer={}.1.all.ab", notes.owner);
    assert_eq!(layers.label("1.all.ab"), Some(label));
    assert_eq!(notes.living().unwrap(), [note(&[], &["ba5e", SCRATCH])]);
    layers.found("a10000000000");
    layers.made("a20000000000");
    layers.made("a20000000000");
    notes.sweep().unwrap();
    assert_eq!(notes.living().unwrap(), [note(&["ba5e", SCRATCH, "a1"], &["a2"])]);
    drop(layers);
    assert!(notes.living().unwrap().is_empty());
    assert_eq!(notes.each().unwrap().len(), 1);
    notes.sweep().unwrap();
    assert!(notes.each().unwrap().is_empty());
    // Without a note there is no label: others would not know that its layers are in use.
    fs::remove_dir_all(folder.path()).unwrap();
    assert_eq!(Layers::begin(Some(&notes), &bases).label("x"), None);
    assert_eq!(Layers::begin(None, &bases).label("x"), None);
}

#[test]
fn a_folder_has_one_owner_whoever_opens_it_first() {
    let folder = tempfile::tempdir().unwrap();
    let open = || Notes::open(folder.path().to_owned()).unwrap().owner;
    let owners: HashSet<String> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(owners.len(), 1, "{owners:?}");
    assert_eq!(owners, HashSet::from([open()]));
    // Whoever was about to write it was killed.
    let known = owners.into_iter().next().unwrap();
    fs::write(folder.path().join(OWNER), &known[..9]).unwrap();
    let next = open();
    assert!(next.len() == OWNED && next != known, "{next}");
    assert_eq!(open(), next);
}

#[test]
fn lines_that_tell_of_a_layer() {
    assert_eq!(id_of(" ---> 0123456789ab\n"), Some("0123456789ab"));
    for line in
        [" ---> Running in 0123456789ab\n", " ---> Using cache\n", "0123456789ab", " ---> \n"]
    {
        assert_eq!(id_of(line), None);
    }
}

/// A process that holds it may be stopped.
#[test]
fn nobody_waits_for_the_notes_without_end() {
    let folder = tempfile::tempdir().unwrap();
    let notes = Notes::open(folder.path().to_owned()).unwrap();
    let held = turn(folder.path()).unwrap();
    assert_eq!(turn(folder.path()).unwrap_err().kind(), io::ErrorKind::TimedOut);
    drop(held);
    assert!(Layers::begin(Some(&notes), &[]).label("x").is_some());
}
