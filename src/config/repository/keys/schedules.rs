//! The keys of runs that nobody asks for.

use super::selection::SELECTOR;
use super::{Key, Shape, Takes};

pub(in super::super) static SCHEDULE: Shape = Shape {
    what: "a schedule",
    id: "schedule",
    about: "A run of the default branch, due at certain times.",
    keys: &[
        Key::new(
            "cron",
            Takes::Text,
            "When, in UTC: minute, hour, day of the month, month, day of the week.",
        )
        .required()
        .examples(&["\"0 2 * * *\"", "\"*/30 8-18 * * mon-fri\""]),
        Key::new(
            "select",
            Takes::One(&SELECTOR),
            "Which connectors run, changed or not; without it, all.",
        )
        .examples(&["{\"release_stage\": \"generally_available\"}"]),
    ],
    not_yet: &[],
};
