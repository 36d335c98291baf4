//! Pipelines without the product: the same containers, commits and commands, asked for by hand as soon
//! as what they need is done.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use crate::containers::{self, Container};
use crate::docker::Engine;
use crate::pipelines::{Repository, Run, Step, in_order};

/// How it is done by hand.
#[derive(Debug, Clone, Copy)]
pub(crate) struct How {
    /// Steps at once.
    pub(crate) slots: usize,
    /// The product's container, or the cheapest that there is.
    pub(crate) sandbox: bool,
}

/// Runs steps, those first that most others wait for, and of these the first one's.
pub(crate) fn run(repository: &Repository, steps: &[Step], how: How) -> anyhow::Result<Run> {
    let begin = Instant::now();
    let source = containers::source(&repository.archive()?)?;
    let mut by_hand = ByHand::new(steps);
    let (done, ended) = mpsc::channel();
    let mut images = Vec::new();
    thread::scope(|scope| -> anyhow::Result<()> {
        while by_hand.logs.len() < steps.len() {
            while let Some(step) = by_hand.next(how.slots) {
                let (done, source) = (done.clone(), &source);
                let base = by_hand.bases.remove(&step.id).unwrap_or(Base::Source);
                let heirs = by_hand.heirs(step);
                let (id, container) = (step.id.clone(), container(step, how.sandbox));
                let errand = Errand { id, container, base, heirs };
                scope.spawn(move || errand.run(source, &done));
            }
            let (id, log, left) = ended.recv()??;
            images.extend(left.values().filter_map(Base::image));
            by_hand.bases.extend(left);
            by_hand.done.insert(id.clone());
            by_hand.logs.push((id, log));
        }
        Ok(())
    })?;
    let wall = begin.elapsed();
    images.sort();
    images.dedup();
    let mut engine = Engine::connect()?;
    for image in images {
        engine.remove_image(&image)?;
    }
    Ok(Run { wall, marks: in_order(by_hand.logs)? })
}

fn container(step: &Step, sandbox: bool) -> Container {
    let env = [
        ("CI", "true"),
        ("CHECKVALVE_CONNECTOR", &step.connector),
        ("CHECKVALVE_ROOT", &step.root),
        ("CHECKVALVE_OUT", "/checkvalve/out"),
        ("CHECKVALVE_SECRETS", "/checkvalve/secrets"),
    ];
    Container {
        image: step.image.clone(),
        script: step.script.clone(),
        workdir: format!("/workspace/{}", step.root),
        env: env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        sandbox,
    }
}

/// What a step begins with.
enum Base {
    Source,
    /// A container that waits for commands.
    Open(String),
    /// What another step left.
    Image(String),
}

impl Base {
    fn image(&self) -> Option<String> {
        match self {
            Self::Image(image) => Some(image.clone()),
            Self::Source | Self::Open(_) => None,
        }
    }
}

/// A step's outcome: its log, and what its heirs begin with.
type Done = mpsc::Sender<anyhow::Result<(String, String, BTreeMap<String, Base>)>>;

/// A step to be carried out.
struct Errand {
    id: String,
    container: Container,
    base: Base,
    heirs: Vec<String>,
}

impl Errand {
    fn run(self, source: &[u8], done: &Done) {
        let Self { id, container, base, heirs } = self;
        let log = Engine::connect()
            .and_then(|mut engine| carry_out(&mut engine, &container, (base, source), heirs));
        // Nobody listens any more once another step has failed.
        let _ = done.send(log.map(|(log, left)| (id, log, left)));
    }
}

/// Runs a step and divides what it leaves: its first heir goes on in its container, the others have
/// an image. What it printed, and what each heir begins with.
fn carry_out(
    engine: &mut Engine,
    container: &Container,
    (base, source): (Base, &[u8]),
    heirs: Vec<String>,
) -> anyhow::Result<(String, BTreeMap<String, Base>)> {
    let id = match (base, heirs.is_empty()) {
        (Base::Source, true) => return Ok((container.run(engine, source)?, BTreeMap::new())),
        (Base::Image(image), true) => {
            let container = Container { image, ..container.clone() };
            return Ok((container.run(engine, &[])?, BTreeMap::new()));
        }
        (Base::Source, false) => container.open(engine, source)?,
        (Base::Image(image), false) => {
            Container { image, ..container.clone() }.open(engine, &[])?
        }
        (Base::Open(id), _) => id,
    };
    let log = container.run_in(engine, &id)?;
    let mut left = BTreeMap::new();
    if heirs.len() > 1 {
        let image = engine.commit(&id)?;
        left.extend(heirs.iter().skip(1).map(|heir| (heir.clone(), Base::Image(image.clone()))));
    }
    match heirs.into_iter().next() {
        Some(first) => drop(left.insert(first, Base::Open(id))),
        None => engine.remove(&id)?,
    }
    Ok((log, left))
}

/// What was started by hand, and what has ended, with its log.
struct ByHand<'a> {
    steps: &'a [Step],
    /// How many steps come after each at most, one after the other.
    behind: BTreeMap<&'a str, usize>,
    started: BTreeSet<&'a str>,
    done: BTreeSet<String>,
    logs: Vec<(String, String)>,
    bases: BTreeMap<String, Base>,
}

impl<'a> ByHand<'a> {
    fn new(steps: &'a [Step]) -> Self {
        let mut behind: BTreeMap<&str, usize> = BTreeMap::new();
        // A plan has its steps in an order in which they can run.
        for step in steps.iter().rev() {
            let own = behind.get(step.id.as_str()).copied().unwrap_or(0);
            behind.insert(&step.id, own);
            for need in &step.needs {
                let before = behind.entry(need).or_default();
                *before = (*before).max(own + 1);
            }
        }
        Self {
            steps,
            behind,
            started: BTreeSet::new(),
            done: BTreeSet::new(),
            logs: Vec::new(),
            bases: BTreeMap::new(),
        }
    }

    /// The next step to start, if one may be.
    fn next(&mut self, slots: usize) -> Option<&'a Step> {
        if self.started.len() - self.logs.len() >= slots {
            return None;
        }
        let ready = self.steps.iter().filter(|step| {
            !self.started.contains(step.id.as_str())
                && step.needs().all(|need| self.done.contains(need))
        });
        let step = ready.min_by_key(|step| std::cmp::Reverse(self.behind(step)))?;
        self.started.insert(&step.id);
        Some(step)
    }

    fn behind(&self, step: &Step) -> usize {
        self.behind.get(step.id.as_str()).copied().unwrap_or(0)
    }

    /// Who inherits from a step, the one that most others wait for first.
    fn heirs(&self, step: &Step) -> Vec<String> {
        let heirs = self.steps.iter().filter(|heir| heir.from.as_ref() == Some(&step.id));
        let mut heirs: Vec<&Step> = heirs.collect();
        heirs.sort_by_key(|heir| std::cmp::Reverse(self.behind(heir)));
        heirs.into_iter().map(|heir| heir.id.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_starts_when_all_that_it_needs_has_ended() {
        let steps = [Step::named("c", &[]), Step::named("a", &[]), Step::named("b", &["a"])];
        let mut by_hand = ByHand::new(&steps);
        let next = |by_hand: &mut ByHand<'_>, slots| {
            by_hand.next(slots).map(|step| step.id.clone()).unwrap_or_default()
        };
        assert_eq!(next(&mut by_hand, 1), "a", "b waits for it");
        assert_eq!(next(&mut by_hand, 1), "", "no slot");
        assert_eq!(next(&mut by_hand, 2), "c");
        assert_eq!(next(&mut by_hand, 9), "", "b still needs a");
        by_hand.logs.push(("a".to_owned(), String::new()));
        by_hand.done.insert("a".to_owned());
        assert_eq!(next(&mut by_hand, 9), "b");
    }
}
