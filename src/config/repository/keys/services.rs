//! The keys of what runs beside a step.

use super::pipelines::RESOURCES;
use super::{Key, Shape, Takes};

pub(in super::super) static SERVICE: Shape = Shape {
    what: "a service",
    id: "service",
    about: "A container that runs beside a step, on a network of their own, and ends with it.",
    keys: &[
        Key::new("alias", Takes::Text, "The name by which the step reaches it.")
            .required()
            .examples(&["\"db\""]),
        Key::new("image", Takes::Text, "The container's image.")
            .required()
            .examples(&["\"postgres:16\""]),
        Key::new("env", Takes::Environment, "Names and values, as of a step; no secrets.")
            .default("{}"),
        Key::new(
            "command",
            Takes::Texts,
            "In place of the image's own command: a list of arguments, or a line that is split into \
             words.",
        )
        .examples(&["\"postgres -c fsync=off\"", "[\"postgres\", \"-c\", \"fsync=off\"]"]),
        Key::new(
            "entrypoint",
            Takes::Texts,
            "In place of the image's own entrypoint, written like `command`.",
        ),
        Key::new(
            "ready",
            Takes::One(&READY),
            "When the step may begin; without it, once the service has started.",
        ),
        Key::new("needs", Takes::Texts, "Services of the step that must be ready before it starts.")
            .default("[]"),
        Key::new("resources", Takes::One(&RESOURCES), "What it gets; without it, the worker's."),
    ],
    not_yet: &[],
};

pub(in super::super) static READY: Shape = Shape {
    what: "`ready`",
    id: "ready",
    about: "How to tell that a service is ready: all of what is given must hold.",
    keys: &[
        Key::new(
            "run",
            Takes::Texts,
            "Succeeds in the service's container: a line for `sh -c`, or a list, a program and its \
             arguments.",
        )
        .examples(&["\"pg_isready -U postgres\"", "[\"redis-cli\", \"ping\"]"]),
        Key::new("port", Takes::Port, "A TCP port on which it listens for others.")
            .examples(&["5432"]),
        Key::new("interval", Takes::Duration, "The longest pause between two tries.")
            .default("\"1s\""),
        Key::new("timeout", Takes::Duration, "How long it may take to get ready.")
            .default("\"1m\""),
    ],
    not_yet: &[],
};

pub(in super::super) static COMPOSE: Shape = Shape {
    what: "`services` of a file",
    id: "compose",
    about: "Services that a compose file lists.",
    keys: &[Key::new(
        "compose",
        Takes::Text,
        "The file's path from the connector's root. It may hold simple services: `image`, \
         `environment`, `command`, `entrypoint`, `healthcheck`, `depends_on`.",
    )
    .required()
    .examples(&["\"docker-compose.yml\""])],
    not_yet: &[],
};
