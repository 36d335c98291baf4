//! `schedules:`: runs that nobody asks for.

use std::collections::BTreeMap;

use super::keys::SCHEDULE;
use super::problems::{Place, Problems};
use super::reader::Fields;
use super::sections::Kinds;
use crate::domain::cron::Cron;
use crate::domain::rules::{PipelineTrigger, RepoRules, Selector};
use crate::domain::schedule::Schedule;
use crate::domain::yaml::Node;

const MAX_SCHEDULES: usize = 50;

impl Problems<'_> {
    pub(super) fn schedules(&mut self, fields: &Fields<'_>, kinds: &mut Kinds) -> Vec<Schedule> {
        let Some(node) = fields.get("schedules") else { return Vec::new() };
        let items = self.list(node, "`schedules`");
        if items.len() > MAX_SCHEDULES {
            let what = format!("the file has {} schedules", items.len());
            self.add(node.place, what, format!("a file has at most {MAX_SCHEDULES}"));
            return Vec::new();
        }
        let mut schedules = Vec::new();
        let mut seen: BTreeMap<String, Place> = BTreeMap::new();
        for item in items {
            let Some(schedule) = self.schedule(item, kinds) else { continue };
            if let Some(first) = seen.insert(schedule.key(), item.place) {
                let mend = format!("keep one of them; the first is on line {}", first.line);
                self.add(item.place, "two schedules say the same", mend);
            }
            schedules.push(schedule);
        }
        schedules
    }

    fn schedule(&mut self, node: &Node, kinds: &mut Kinds) -> Option<Schedule> {
        let fields = self.fields(node, &SCHEDULE)?;
        let select = match fields.get("select") {
            Some(node) => self.selector(node, kinds),
            None => Some(Selector::default()),
        };
        let Some(node) = fields.get("cron") else {
            let mend = "add `cron: \"0 2 * * *\"`: when it is due, in UTC";
            self.add(fields.place, "the schedule has no `cron`", mend);
            return None;
        };
        let text = self.text(node, "`cron`")?;
        match text.parse::<Cron>() {
            Ok(cron) => Some(Schedule { cron, select: select? }),
            Err(error) => {
                self.add(node.place, format!("`cron`: {}", error.what), error.mend);
                None
            }
        }
    }

    /// A schedule of which no pipeline runs anything would be silent for ever.
    pub(super) fn scheduled_pipelines(&mut self, place: Place, rules: &RepoRules) {
        let runs = |on: &[PipelineTrigger]| on.contains(&PipelineTrigger::Schedule);
        if rules.schedules.is_empty() || rules.pipelines.iter().any(|one| runs(&one.on)) {
            return;
        }
        self.add(
            place,
            "there are schedules, and no pipeline runs `on: schedule`",
            "add `schedule` to the `on` of the pipelines that they are to run",
        );
    }
}
