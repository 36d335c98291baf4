//! How finely GitHub shows a head commit: a check run for each step, for each connector, or
//! `checkvalve` alone, by what the hour still allows to be made.

use serde::{Deserialize, Serialize};

/// The finest first.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Detail {
    #[default]
    Step,
    Connector,
    /// `checkvalve` alone.
    Summary,
}

impl Detail {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "as `serde` calls it")]
    pub(super) fn is_finest(&self) -> bool {
        *self == Self::Step
    }
}

/// Check runs that a head commit still has to make, beside `checkvalve`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Need {
    pub step: u32,
    pub connector: u32,
}

impl Need {
    pub fn of(self, detail: Detail) -> u32 {
        match detail {
            Detail::Step => self.step,
            Detail::Connector => self.connector,
            Detail::Summary => 0,
        }
    }
}

/// What other heads of an installation leave of the check runs that may be made this hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Room {
    /// What may be made by all.
    pub left: u32,
    /// What other heads have in hand and not made yet.
    pub claimed: u32,
    /// Repositories that have something in hand, this one included.
    pub repositories: u32,
}

impl Room {
    /// All that nobody else has in hand; at least an equal part of all, so that one repository's
    /// large change doesn't take the hour from the others.
    pub fn own(self) -> u32 {
        self.left.saturating_sub(self.claimed).max(self.left / self.repositories.max(1))
    }
}

/// Getting finer again needs this many times what it takes, so that a head does not go back and
/// forth while the hour runs out.
const CLEARLY: u32 = 2;

/// The finest detail that there is room for, no finer than `wanted`. `before` is what this head was
/// shown in last.
pub fn stage(before: Option<Detail>, wanted: Detail, need: Need, room: u32) -> Detail {
    let stages = [Detail::Step, Detail::Connector, Detail::Summary];
    let fits = |detail: &Detail| {
        let finer = before.is_some_and(|before| *detail < before);
        need.of(*detail).saturating_mul(if finer { CLEARLY } else { 1 }) <= room
    };
    stages.into_iter().filter(|detail| *detail >= wanted).find(fits).unwrap_or(Detail::Summary)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LARGE: Need = Need { step: 2400, connector: 300 };

    #[test]
    fn detail_is_the_finest_that_there_is_room_for() {
        assert_eq!(stage(None, Detail::Step, Need { step: 8, connector: 1 }, 400), Detail::Step);
        assert_eq!(stage(None, Detail::Step, LARGE, 400), Detail::Connector);
        assert_eq!(stage(None, Detail::Step, LARGE, 299), Detail::Summary);
        assert_eq!(stage(None, Detail::Connector, Need::default(), 400), Detail::Connector);
        assert_eq!(stage(None, Detail::Summary, Need::default(), 400), Detail::Summary);
    }

    #[test]
    fn it_gets_finer_again_only_when_there_is_plenty() {
        let need = Need { step: 40, connector: 5 };
        assert_eq!(stage(Some(Detail::Connector), Detail::Step, need, 79), Detail::Connector);
        assert_eq!(stage(Some(Detail::Connector), Detail::Step, need, 80), Detail::Step);
        assert_eq!(stage(Some(Detail::Summary), Detail::Step, need, 9), Detail::Summary);
        assert_eq!(stage(Some(Detail::Summary), Detail::Step, need, 10), Detail::Connector);
        // Room that runs out between two looks is enough to stay, and not to come back.
        assert_eq!(stage(Some(Detail::Step), Detail::Step, need, 40), Detail::Step);
        assert_eq!(stage(Some(Detail::Step), Detail::Step, need, 39), Detail::Connector);
    }

    #[test]
    fn one_repository_leaves_the_others_their_part() {
        let alone = Room { left: 400, claimed: 0, repositories: 1 };
        assert_eq!(alone.own(), 400);
        // Another one wants a little: the rest is free for who needs it.
        assert_eq!(Room { left: 400, claimed: 9, repositories: 2 }.own(), 391);
        // Another one has taken all of it: the equal part stays.
        assert_eq!(Room { left: 400, claimed: 400, repositories: 2 }.own(), 200);
        assert_eq!(Room::default().own(), 0);
    }

    proptest! {
        #[test]
        fn what_is_chosen_fits_and_is_steady(
            step in 0_u32..5_000, connector in 0_u32..600, room in 0_u32..500,
            before in proptest::option::of(prop_oneof![
                Just(Detail::Step), Just(Detail::Connector), Just(Detail::Summary)
            ]),
        ) {
            let need = Need { step, connector: connector.min(step) };
            let chosen = stage(before, Detail::Step, need, room);
            prop_assert!(need.of(chosen) <= room);
            prop_assert_eq!(stage(Some(chosen), Detail::Step, need, room), chosen);
        }
    }
}
