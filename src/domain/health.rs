//! How a connector does on the default branch, by its runs of pushes and schedules.

use std::collections::BTreeMap;

use super::ids::RunId;
use super::names::ConnectorName;
use super::time::Timestamp;

/// A job of the branch that came to a verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Past {
    pub connector: ConnectorName,
    pub passed: bool,
    pub at: Timestamp,
    pub run: RunId,
}

/// The last verdict, and for how long it has been that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    pub connector: ConnectorName,
    pub passes: bool,
    /// When it came to that first.
    pub since: Timestamp,
    /// Verdicts in a row.
    pub streak: u32,
    /// The last run of it.
    pub run: RunId,
    /// An earlier verdict was another one: it is known since when.
    pub turned: bool,
}

/// By connector, from what happened, newest first: those that fail come first, the longest failing of
/// them before the others.
pub fn health(past: Vec<Past>) -> Vec<Health> {
    let mut all: BTreeMap<ConnectorName, Health> = BTreeMap::new();
    for Past { connector, passed, at, run } in past {
        if let Some(health) = all.get_mut(&connector) {
            if health.passes != passed {
                health.turned = true;
            } else if !health.turned {
                health.streak += 1;
                health.since = at;
            }
            continue;
        }
        let health = Health {
            connector: connector.clone(),
            passes: passed,
            since: at,
            streak: 1,
            run,
            turned: false,
        };
        all.insert(connector, health);
    }
    let mut all: Vec<Health> = all.into_values().collect();
    all.sort_by_key(|health| (health.passes, (!health.passes).then_some(health.since)));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::Ulid;

    fn past(connector: &str, passed: bool, at: i64) -> Past {
        let run = RunId::new(Ulid::from(u128::try_from(at).unwrap()));
        Past { connector: connector.parse().unwrap(), passed, at: Timestamp::from_millis(at), run }
    }

    #[test]
    fn a_streak_goes_back_to_the_last_other_verdict_and_what_fails_comes_first() {
        let all = health(vec![
            past("a", true, 9),
            past("c", false, 8),
            past("b", false, 7),
            past("a", true, 6),
            past("b", false, 5),
            past("a", false, 4),
            past("a", true, 3),
        ]);
        let brief = |health: &Health| {
            let Health { connector, passes, since, streak, turned, run } = health;
            assert_eq!(run.to_string().len(), past("a", true, 1).run.to_string().len());
            (connector.to_string(), *passes, since.as_millis(), *streak, *turned)
        };
        assert_eq!(
            all.iter().map(brief).collect::<Vec<_>>(),
            [
                ("b".to_owned(), false, 5, 2, false),
                ("c".to_owned(), false, 8, 1, false),
                ("a".to_owned(), true, 6, 2, true),
            ]
        );
    }
}
