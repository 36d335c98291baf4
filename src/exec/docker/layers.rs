//! Layers of builds. Until it is finished an image of the engine's builder has no name: each layer of
//! a build has a label with its owner, an id that is kept in the folder of notes, and with whom it is
//! shared; and the finished image has that label without a value. Layers of that owner without a name, on which nothing is built,
//! are of use to none but builds under way: each of those writes down what it made and found, and
//! holds the lock of that note for as long as it lives. All others are removed, however late, and
//! whatever ended their build: an engine may finish a layer when nobody listens any more.
//!
//! Where there are no notes, a build has no label, and clears away what it saw itself make.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bollard::Docker as Api;
use bollard::errors::Error as ApiError;
use bollard::models::ImageSummary;
use bollard::query_parameters::{ListImagesOptions, RemoveImageOptions};

use super::container::is_missing;
use super::told;
use crate::ambient;

/// Of a layer, whose it is; of a finished image, nothing. It has to be the last of the finished image's
/// labels, as the engine sorts them: each is a layer of its own.
pub(super) const LABEL: &str = "io.checkvalve.layer";
/// Stands for what stages are built on that begin with nothing.
pub(super) const SCRATCH: &str = "scratch";

/// The file of the folder that has the owner's id. Who makes notes or removes those of others holds
/// its lock.
const OWNER: &str = "owner";
/// The bytes of an owner's id.
const OWNED: usize = 26;
/// The bytes of an id that builders print.
const SHORT: usize = 12;
/// Ids of one build that are taken down: more than Dockerfiles have instructions. What commands print
/// can look like one.
const MOST: usize = 1024;
/// What an engine's clock may be behind, in seconds.
const BEHIND: i64 = 10;
/// How long others may hold a lock, and how often it is looked at.
const TURN: Duration = Duration::from_secs(5);
const LITTLE: Duration = Duration::from_millis(5);
/// How long clearing up after a build may take, and how often it is tried again meanwhile.
const TIDYING: Duration = Duration::from_secs(30);
const SOON: Duration = Duration::from_millis(250);

/// Where builds under way are noted, and whose they are.
#[derive(Debug, Clone)]
pub(super) struct Notes {
    folder: PathBuf,
    owner: String,
}

/// What a build under way wrote down.
#[derive(Debug, Default, PartialEq, Eq)]
struct Note {
    /// The layers that it made or found: the first bytes of each id.
    layers: HashSet<String>,
    /// The last of them; before there is one, all that it builds on.
    last: Vec<String>,
}

/// The layers of a build that is under way.
#[derive(Debug)]
pub(super) struct Layers {
    notes: Option<Notes>,
    /// Locked until this is dropped.
    note: Option<(PathBuf, File)>,
    made: Made,
    last: String,
    written: usize,
}

/// What a build was told to have made, and what can't be that, since it is older: where layers have no
/// label, nothing else tells whose they are.
#[derive(Debug, Default)]
struct Made {
    layers: HashSet<String>,
    /// In seconds since 1970.
    since: i64,
}

impl Made {
    fn has(&self, image: &ImageSummary) -> bool {
        self.layers.contains(short(&image.id)) && image.created >= self.since
    }
}

impl Notes {
    /// Those of a folder. It gets an owner with the first: processes that share it share layers. May
    /// block, as [`Layers::begin`] may.
    pub(super) fn open(folder: PathBuf) -> io::Result<Self> {
        let mut file = turn(&folder)?;
        let mut known = Vec::new();
        file.read_to_end(&mut known)?;
        let known = String::from_utf8_lossy(&known);
        // One that was cut off was used by nobody.
        let whole = known.strip_suffix('\n').filter(|owner| {
            owner.len() == OWNED && owner.bytes().all(|byte| byte.is_ascii_alphanumeric())
        });
        let owner = if let Some(owner) = whole {
            owner.to_owned()
        } else {
            let owner = ambient::ulid().to_string().to_lowercase();
            file.set_len(0)?;
            file.rewind()?;
            file.write_all(format!("{owner}\n").as_bytes())?;
            file.sync_all()?;
            owner
        };
        Ok(Self { folder, owner })
    }

    fn begin(&self, bases: &[String]) -> io::Result<(PathBuf, File)> {
        let _turn = turn(&self.folder)?;
        let path = self.folder.join(ambient::ulid().to_string());
        let mut file = File::options().create_new(true).append(true).open(&path)?;
        // A look at it takes no time.
        lock(&file)?;
        let bases: Vec<&str> = bases.iter().map(|id| short(id)).collect();
        file.write_all(format!("{}\n", bases.join(" ")).as_bytes())?;
        Ok((path, file))
    }

    fn each(&self) -> io::Result<Vec<PathBuf>> {
        let entries = fs::read_dir(&self.folder)?.collect::<io::Result<Vec<_>>>()?;
        let notes = entries.into_iter().filter(|entry| entry.file_name() != OWNER);
        Ok(notes.map(|entry| entry.path()).collect())
    }

    /// By them it shows whether any was written to, begun or removed.
    fn sizes(&self) -> io::Result<BTreeMap<PathBuf, u64>> {
        let mut sizes = BTreeMap::new();
        for path in self.each()? {
            if let Some(size) = there(fs::metadata(&path))?.map(|note| note.len()) {
                sizes.insert(path, size);
            }
        }
        Ok(sizes)
    }

    /// What builds under way wrote down. Of what can't be read nobody knows what it needs.
    fn living(&self) -> io::Result<Vec<Note>> {
        let mut living = Vec::new();
        for path in self.each()? {
            if let Some(file) = there(File::open(&path))?
                && is_locked(&file)
                && let Some(text) = there(fs::read_to_string(&path))?
            {
                living.push(Note::parse(&text));
            }
        }
        Ok(living)
    }

    /// Removes the notes of builds that are over, or whose process was killed.
    fn sweep(&self) -> io::Result<()> {
        let _turn = turn(&self.folder)?;
        for path in self.each()? {
            if let Some(file) = there(File::open(&path))?
                && !is_locked(&file)
            {
                there(fs::remove_file(&path))?;
            }
        }
        Ok(())
    }

    /// Removes what builds left that are over. Others wait for it: what is not done within a while
    /// is the next look's.
    pub(super) async fn clear(&self, api: &Api) -> Result<(), ApiError> {
        let clear = async {
            let notes = self.clone();
            let swept = tokio::task::spawn_blocking(move || notes.sweep()).await;
            swept.map_err(io::Error::other)??;
            Clearing { notes: Some(self), made: &Made::default() }.carry_out(api).await?;
            Ok(())
        };
        let cleared = tokio::time::timeout(TIDYING, clear).await;
        cleared.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()))
    }
}

/// Waits until nobody else makes notes or removes them, and keeps it so while the file is open.
fn turn(folder: &Path) -> io::Result<File> {
    let mut options = File::options();
    let file = options.create(true).truncate(false).read(true).write(true);
    let file = file.open(folder.join(OWNER))?;
    lock(&file)?;
    Ok(file)
}

/// Blocks until nobody else has it, but not for ever: whoever has it may be stopped.
fn lock(file: &File) -> io::Result<()> {
    let begun = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::Error(e)) => return Err(e),
            Err(TryLockError::WouldBlock) if begun.elapsed() > TURN => {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "the notes of builds are locked",
                ));
            }
            Err(TryLockError::WouldBlock) => std::thread::sleep(LITTLE),
        }
    }
}

/// None of what is gone by now.
fn there<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        found => found.map(Some),
    }
}

/// Is its build under way?
fn is_locked(file: &File) -> bool {
    // Shared, so that those who look do not take each other for builds.
    match file.try_lock_shared() {
        Ok(()) => false,
        Err(TryLockError::WouldBlock) => true,
        Err(TryLockError::Error(e)) => {
            tracing::warn!("a build's note can't be locked: {e}");
            true
        }
    }
}

impl Note {
    /// The last line may be cut off.
    fn parse(text: &str) -> Self {
        let mut note = Self::default();
        for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
            let layers = line.split(' ').filter(|word| *word == SCRATCH || is_short(word));
            note.last = layers.map(str::to_owned).collect();
            note.layers.extend(note.last.iter().cloned());
        }
        note
    }

    /// Adds what it needs of images, by what is made on each: what it noted, and what hangs right on
    /// that, for it may begin a stage there; and all that hangs on what it noted last, for the builder
    /// is ahead of its words.
    fn needs<'i>(&'i self, made_on: &HashMap<&str, Vec<&'i str>>, needed: &mut HashSet<&'i str>) {
        let on = |id: &str| made_on.get(id).into_iter().flatten().copied();
        for layer in &self.layers {
            needed.insert(layer);
            needed.extend(on(layer));
        }
        let mut ahead: Vec<&str> = self.last.iter().map(String::as_str).collect();
        while let Some(id) = ahead.pop() {
            needed.extend(on(id));
            ahead.extend(on(id));
        }
    }
}

impl Layers {
    /// Those of a build that is about to begin on these images. One that can't be noted is built all
    /// the same.
    pub(super) fn begin(notes: Option<&Notes>, bases: &[String]) -> Self {
        let begun = notes.and_then(|notes| {
            let begun = notes.begin(bases).map(|note| (notes.clone(), note));
            begun.inspect_err(|e| tracing::warn!("a build is not noted: {e}")).ok()
        });
        let (notes, note) = begun.unzip();
        let since = ambient::now().as_millis() / 1000 - BEHIND;
        let made = Made { layers: HashSet::new(), since };
        Self { notes, note, made, last: String::new(), written: 0 }
    }

    /// The label that the build's layers have, if they may have one: who has no note has no share in
    /// what is kept for those that do. An engine takes a layer for the same whatever its commands could
    /// reach, so that builds go on from each other's only if they are of one `scope`.
    pub(super) fn label(&self, scope: &str) -> Option<String> {
        self.notes.as_ref().map(|notes| format!("{LABEL}={}.{scope}", notes.owner))
    }

    /// The build made this layer.
    pub(super) fn made(&mut self, layer: &str) {
        if self.made.layers.len() < MOST {
            self.made.layers.insert(layer.to_owned());
        }
        self.write(layer);
    }

    /// The build goes on from this layer, which was there.
    pub(super) fn found(&mut self, layer: &str) {
        self.write(layer);
    }

    fn write(&mut self, layer: &str) {
        if self.last == layer || self.written >= MOST {
            return;
        }
        self.written += 1;
        layer.clone_into(&mut self.last);
        if let Some((_, file)) = &mut self.note
            && let Err(e) = file.write_all(format!("{layer}\n").as_bytes())
        {
            tracing::warn!("a layer of a build is not noted: {e}");
        }
    }

    /// The build is over, or nobody listens to it any more: what is of no use goes. What the engine makes
    /// after this is the reaper's.
    pub(super) async fn end(mut self, api: &Api) {
        self.forget();
        let clear = async {
            let clearing = Clearing { notes: self.notes.as_ref(), made: &self.made };
            loop {
                match clearing.carry_out(api).await {
                    Ok(false) => return,
                    // The engine is not done with some.
                    Ok(true) => tokio::time::sleep(SOON).await,
                    Err(e) => {
                        let error = told(&e);
                        return tracing::warn!(error, "a build's layers are left to the reaper");
                    }
                }
            }
        };
        let _ = tokio::time::timeout(TIDYING, clear).await;
    }

    /// The build is on one's own machine and made what one asked for: its layers are kept for the
    /// next.
    pub(super) fn keep(mut self) {
        self.forget();
    }

    fn forget(&mut self) {
        if let Some((path, _)) = self.note.take() {
            let _ = fs::remove_file(path);
        }
    }
}

/// A look at layers, which removes those that nobody needs.
struct Clearing<'a> {
    notes: Option<&'a Notes>,
    /// Those that one's own build made. Without notes they have no label.
    made: &'a Made,
}

impl Clearing<'_> {
    /// Is something left of one's own build that the engine is not done with?
    async fn carry_out(&self, api: &Api) -> Result<bool, ApiError> {
        let label = self.notes.map(|_| ("label".to_owned(), vec![LABEL.to_owned()]));
        let filters = label.map(|label| HashMap::from([label]));
        let options = ListImagesOptions { all: true, filters, ..ListImagesOptions::default() };
        let mut images = api.list_images(Some(options)).await?;
        let (mut tried, mut busy) = (HashSet::new(), false);
        let (mut living, mut known) = (Vec::new(), None);
        loop {
            // Each time anew: a build may have begun on what goes next. They are read if they changed.
            if let Some(notes) = self.notes {
                let sizes = Some(notes.sizes()?);
                if sizes != known {
                    living = notes.living()?;
                    known = sizes;
                }
            }
            let Some(id) = self.next(&images, &living, &tried).map(str::to_owned) else {
                return Ok(busy);
            };
            // Without what it was made of, which may be somebody else's.
            let options = RemoveImageOptions { noprune: true, ..RemoveImageOptions::default() };
            match api.remove_image(&id, Some(options), None).await {
                Err(e) if !is_missing(&e) => {
                    busy |= self.made.layers.contains(short(&id));
                    tried.insert(id);
                }
                Ok(_) | Err(_) => images.retain(|image| image.id != id),
            }
        }
    }

    /// Which of these images goes next: none on which another is built.
    fn next<'i>(
        &self,
        images: &'i [ImageSummary],
        living: &[Note],
        tried: &HashSet<String>,
    ) -> Option<&'i str> {
        let mut made_on: HashMap<&str, Vec<&str>> = HashMap::new();
        for image in images {
            let on = if image.parent_id.is_empty() { SCRATCH } else { short(&image.parent_id) };
            made_on.entry(on).or_default().push(short(&image.id));
        }
        let mut needed = HashSet::new();
        for note in living {
            note.needs(&made_on, &mut needed);
        }
        let goes = |image: &&ImageSummary| {
            let id = short(&image.id);
            self.is_own(image)
                && !made_on.contains_key(id)
                && !needed.contains(id)
                && !tried.contains(&image.id)
        };
        images.iter().find(goes).map(|image| image.id.as_str())
    }

    /// Is it a layer without a name that one's own builds made?
    fn is_own(&self, image: &ImageSummary) -> bool {
        let own = self.notes.map_or_else(
            || self.made.has(image),
            |notes| image.labels.get(LABEL).and_then(|value| owner_of(value)) == Some(&notes.owner),
        );
        is_unnamed(image) && own
    }
}

/// The owner that a label's value begins with.
fn owner_of(value: &str) -> Option<&str> {
    value.split('.').next()
}

fn short(id: &str) -> &str {
    let id = id.split_once(':').map_or(id, |(_, hex)| hex);
    id.get(..SHORT).unwrap_or(id)
}

fn is_short(id: &str) -> bool {
    id.len() == SHORT && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Engines list some with a name that says so.
fn is_unnamed(image: &ImageSummary) -> bool {
    let mut names = image.repo_tags.iter().chain(&image.repo_digests);
    names.all(|name| name.starts_with("<none>"))
}

/// The id of a layer, if a builder's line tells of one.
pub(super) fn id_of(line: &str) -> Option<&str> {
    line.trim_end().strip_prefix(" ---> ").filter(|id| is_short(id))
}

#[cfg(test)]
mod tests;
