//! What runs beside a step.

use std::path::{Component, Path};
use std::time::Duration;

use super::keys::{COMPOSE, READY, SERVICE};
use super::problems::{Place, Problems};
use super::reader::Fields;
use crate::domain::image_name;
use crate::domain::names::{InvalidName, ServiceAlias};
use crate::domain::service::{MAX_SERVICES, Ready, Service, arguments, shell, waves};
use crate::domain::yaml::{Node, Value};

/// The services of a step, as far as the repository file says them.
#[derive(Default)]
pub(super) struct Listed {
    pub(super) services: Vec<Service>,
    /// The compose file that lists them instead.
    pub(super) compose: Option<String>,
}

impl Problems<'_> {
    pub(super) fn services(&mut self, fields: &Fields<'_>) -> Listed {
        let Some(entry) = fields.entry("services") else { return Listed::default() };
        let node = &entry.node;
        let listed = match &node.value {
            Value::Map(_) => Listed { compose: self.compose(node), ..Listed::default() },
            Value::List(items) => Listed { services: self.listed(node, items), compose: None },
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) => {
                self.wrong_type(node, "`services`", "a list, or `{ compose: FILE }`,");
                Listed::default()
            }
        };
        let any = listed.compose.is_some() || !listed.services.is_empty();
        if any
            && let Some(untrusted) = fields.get("untrusted")
            && matches!(untrusted.value, Value::Bool(true))
        {
            let what = "a step with `services` can't be `untrusted`: what runs beside it would be \
                        reached by strangers' code, and reaches what the host can";
            self.add(untrusted.place, what, "remove one of the two");
        }
        listed
    }

    fn compose(&mut self, node: &Node) -> Option<String> {
        let fields = self.fields(node, &COMPOSE)?;
        let Some(node) = fields.get("compose") else {
            let mend = "write a list of services, or `services: { compose: docker-compose.yml }`";
            self.add(fields.place, "`services` names no `compose` file", mend);
            return None;
        };
        let file = self.text(node, "`compose`")?;
        let plain = Path::new(&file).components().all(|part| matches!(part, Component::Normal(_)));
        if plain && !file.chars().any(char::is_control) {
            return Some(file);
        }
        let mend = "write a path below the connector's root, such as `docker-compose.yml`: a change \
                    of it must select the connector";
        self.add(node.place, format!("`compose` can't be `{file}`"), mend);
        None
    }

    fn listed(&mut self, node: &Node, items: &[Node]) -> Vec<Service> {
        if items.len() > MAX_SERVICES {
            let what = format!("the step has {} services", items.len());
            self.add(node.place, what, format!("a step has at most {MAX_SERVICES}"));
            return Vec::new();
        }
        let before = self.error_count();
        let read: Vec<(Place, Service)> =
            items.iter().filter_map(|item| Some((item.place, self.service(item)?))).collect();
        let services: Vec<Service> = read.iter().map(|(_, service)| service.clone()).collect();
        if self.error_count() == before
            && let Err(unfit) = waves(&services)
        {
            let is_it = |service: &Service| service.alias == *unfit.alias();
            let at = read.iter().rfind(|(_, service)| is_it(service));
            self.add(at.map_or(node.place, |(place, _)| *place), unfit.to_string(), unfit.mend());
        }
        services
    }

    fn service(&mut self, node: &Node) -> Option<Service> {
        let fields = self.fields(node, &SERVICE)?;
        let alias = self.required(&fields, "alias", "the name by which the step reaches it");
        let alias = alias.and_then(|(place, text)| self.alias(place, &text));
        let image = self.required(&fields, "image", "as `image: \"postgres:16\"`");
        let image = image.and_then(|(place, image)| match image_name::fault(&image) {
            Some((what, mend)) => {
                self.add(place, what, mend);
                None
            }
            None => Some(image),
        });
        let env = fields.get("env").map(|node| self.env(node)).unwrap_or_default();
        let command = self.arguments(&fields, "command");
        let entrypoint = self.arguments(&fields, "entrypoint");
        let ready = fields.get("ready").map(|node| self.ready(node));
        let needs = fields.get("needs").map(|node| self.texts(node, "`needs`")).unwrap_or_default();
        let needs = needs.into_iter().filter_map(|(place, name)| self.alias(place, &name));
        let needs = needs.collect();
        let resources = fields.get("resources").map(|node| self.resources(node));
        let ready = match ready {
            Some(ready) => Some(ready?),
            None => None,
        };
        let resources = match resources {
            Some(asked) => Some(asked?),
            None => None,
        };
        let (alias, image) = (alias?, image?);
        Some(Service { alias, image, env, entrypoint, command, ready, needs, resources })
    }

    fn required(&mut self, fields: &Fields<'_>, key: &str, about: &str) -> Option<(Place, String)> {
        let Some(node) = fields.get(key) else {
            let what = format!("the service has no `{key}`");
            self.add(fields.place, what, format!("add `{key}`, {about}"));
            return None;
        };
        self.text(node, &format!("`{key}`")).map(|text| (node.place, text))
    }

    fn alias(&mut self, place: Place, text: &str) -> Option<ServiceAlias> {
        match text.parse() {
            Ok(alias) => Some(alias),
            Err(error) => {
                let error: InvalidName = error;
                self.add(place, error.to_string(), "it becomes a host's name, such as `db`");
                None
            }
        }
    }

    fn arguments(&mut self, fields: &Fields<'_>, key: &str) -> Vec<String> {
        let Some(node) = fields.get(key) else { return Vec::new() };
        let what = format!("`{key}`");
        if matches!(node.value, Value::List(_)) {
            return self.texts(node, &what).into_iter().map(|(_, text)| text).collect();
        }
        let Some(line) = self.text(node, &what) else { return Vec::new() };
        arguments(&line, &what).unwrap_or_else(|(what, mend)| {
            self.add(node.place, what, mend);
            Vec::new()
        })
    }

    fn ready(&mut self, node: &Node) -> Option<Ready> {
        let fields = self.fields(node, &READY)?;
        let before = self.error_count();
        let run = fields.get("run").map(|node| self.probe(node)).unwrap_or_default();
        let port = fields.get("port").map(|node| self.port(node));
        if run.is_empty() && port.is_none() && self.error_count() == before {
            let mend = "add `port: 5432`, or `run:` with a command that succeeds once it is ready";
            self.add(fields.place, "`ready` says neither `port` nor `run`", mend);
            return None;
        }
        let mut time = |key: &str, default: Duration| match fields.get(key) {
            Some(node) => self.duration(node, &format!("`{key}`")),
            None => Some(default),
        };
        let interval = time("interval", Ready::INTERVAL);
        let timeout = time("timeout", Ready::TIMEOUT);
        let port = match port {
            Some(port) => Some(port?),
            None => None,
        };
        Some(Ready::new(run, port, interval?, timeout?))
    }

    fn probe(&mut self, node: &Node) -> Vec<String> {
        if matches!(node.value, Value::List(_)) {
            return self.texts(node, "`run`").into_iter().map(|(_, text)| text).collect();
        }
        let line = self.text(node, "`run`");
        line.map(|line| shell(&line)).unwrap_or_default()
    }

    fn port(&mut self, node: &Node) -> Option<u16> {
        let Value::Number(text) = &node.value else {
            self.wrong_type(node, "`port`", "a number");
            return None;
        };
        let port = text.parse::<u16>().ok().filter(|port| *port > 0);
        if port.is_none() {
            self.add(node.place, format!("`{text}` is no TCP port"), "it is from 1 to 65535");
        }
        port
    }
}
