//! A compose file of simple services. What would be done otherwise than the file says, or would
//! reach out of the sandbox, is an error with its line; nothing is left out silently.

mod health;
mod values;

use std::collections::BTreeMap;

use super::{MAX_SERVICES, Ready, Service, waves};
use crate::domain::image_name;
use crate::domain::names::ServiceAlias;
use crate::domain::yaml::{self, Entry, MAX_ERRORS, Node, Place, Value};

/// What a compose file comes to.
#[derive(Debug, Clone, PartialEq)]
pub struct Compose {
    pub services: Vec<Service>,
    /// Keys that say nothing here, each with its line.
    pub notes: Vec<String>,
}

/// One error of a compose file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    pub place: Place,
    pub what: String,
    pub mend: String,
}

/// Keys of a service that are obeyed.
const OBEYED: [&str; 6] =
    ["image", "environment", "command", "entrypoint", "healthcheck", "depends_on"];
/// Keys that say nothing where a network is the step's alone and services end with it.
const NOTED: [&str; 10] = [
    "ports",
    "expose",
    "networks",
    "container_name",
    "hostname",
    "restart",
    "labels",
    "init",
    "stop_grace_period",
    "stop_signal",
];
const SANDBOX: &str = "remove it: a service has a step's sandbox, and neither privileges nor the host's files, \
                       devices and networks";
const LIMITS: &str = "remove it; for limits, write the service under `services:` of the repository file, \
                      with `resources`";
/// Other keys that people write, with the mend.
const REFUSED: [(&str, &str); 28] = [
    ("build", "name an `image` that can be pulled: services are not built"),
    ("volumes", "use an image that holds the files, or let the step bring them over the network"),
    ("volumes_from", "use an image that holds the files"),
    ("configs", "use an image that holds the files, or `environment`"),
    ("secrets", "write what is no secret under `environment`; services are given no secrets"),
    ("env_file", "write the variables under `environment`"),
    ("extends", "write the whole service here"),
    ("profiles", "keep the services of the step in a file of their own"),
    ("platform", "remove it: the image is the engine's own platform's"),
    ("links", "remove it: services reach each other by their names"),
    ("privileged", SANDBOX),
    ("cap_add", SANDBOX),
    ("cap_drop", "remove it: a service has a step's capabilities"),
    ("security_opt", SANDBOX),
    ("devices", SANDBOX),
    ("pid", SANDBOX),
    ("ipc", SANDBOX),
    ("userns_mode", SANDBOX),
    ("cgroup", SANDBOX),
    ("cgroup_parent", SANDBOX),
    ("network_mode", SANDBOX),
    ("extra_hosts", SANDBOX),
    ("sysctls", SANDBOX),
    ("ulimits", LIMITS),
    ("deploy", LIMITS),
    ("mem_limit", LIMITS),
    ("cpus", LIMITS),
    ("pids_limit", LIMITS),
];

/// Reads a compose file; all that is wrong with it at once.
pub fn read(text: &str) -> Result<Compose, Vec<Wrong>> {
    let document = yaml::parse(text).map_err(|broken| {
        vec![Wrong { place: broken.place, what: broken.what, mend: broken.mend.to_owned() }]
    })?;
    let mut reader = Reader::default();
    let services = reader.file(&document);
    let Reader { mut wrong, notes } = reader;
    if wrong.is_empty() {
        return Ok(Compose { services, notes });
    }
    wrong.sort_by_key(|wrong| wrong.place);
    Err(wrong)
}

/// Gathers errors and notes.
#[derive(Default)]
struct Reader {
    wrong: Vec<Wrong>,
    notes: Vec<String>,
}

impl Reader {
    fn add(&mut self, place: Place, what: impl Into<String>, mend: impl Into<String>) {
        if self.wrong.len() > MAX_ERRORS {
            return;
        }
        self.wrong.push(if self.wrong.len() == MAX_ERRORS {
            let what = format!("there are more than {MAX_ERRORS} errors; no more are named");
            Wrong { place, what, mend: "mend those first".to_owned() }
        } else {
            Wrong { place, what: what.into(), mend: mend.into() }
        });
    }

    fn entries<'n>(&mut self, node: &'n Node, what: &str) -> &'n [Entry] {
        if let Value::Map(entries) = &node.value {
            return entries;
        }
        let what = format!("{what} wants a mapping and has {}", node.value.kind());
        self.add(node.place, what, "write `key: value` lines");
        &[]
    }

    fn file(&mut self, document: &Node) -> Vec<Service> {
        let mut services = None;
        for entry in self.entries(document, "a compose file") {
            match entry.key.as_str() {
                "services" => services = Some(&entry.node),
                "version" | "name" => {}
                "networks" => self.note(entry, "the file"),
                key if key.starts_with("x-") => {}
                key => {
                    let mend = "keep `services` alone: a file of simple services is what is read";
                    self.add(entry.place, format!("`{key}` is not possible here"), mend);
                }
            }
        }
        let Some(node) = services else {
            self.add(document.place, "the file has no `services`", "add them");
            return Vec::new();
        };
        let entries = self.entries(node, "`services`");
        if entries.is_empty() || entries.len() > MAX_SERVICES {
            let what = format!("the file has {} services", entries.len());
            self.add(node.place, what, format!("a step has one to {MAX_SERVICES}"));
            return Vec::new();
        }
        let read: Vec<Service> = entries.iter().filter_map(|entry| self.service(entry)).collect();
        if let Err(unfit) = waves(&read)
            && self.wrong.is_empty()
        {
            let at = entries.iter().rfind(|entry| entry.key == unfit.alias().as_str());
            self.add(at.map_or(node.place, |at| at.place), unfit.to_string(), unfit.mend());
        }
        read
    }

    fn note(&mut self, entry: &Entry, of: &str) {
        let (key, line) = (&entry.key, entry.place.line);
        self.notes.push(format!("line {line}: `{key}` of {of} says nothing here"));
    }

    fn service(&mut self, entry: &Entry) -> Option<Service> {
        let named = format!("service `{}`", entry.key);
        let alias: Option<ServiceAlias> = match entry.key.parse() {
            Ok(alias) => Some(alias),
            Err(error) => {
                let error: crate::domain::names::InvalidName = error;
                self.add(entry.place, error.to_string(), "call it otherwise");
                None
            }
        };
        let mut keys: BTreeMap<&str, &Node> = BTreeMap::new();
        for key in self.entries(&entry.node, &named) {
            self.key(key, &named);
            keys.insert(&key.key, &key.node);
        }
        let image = keys.get("image").and_then(|node| self.image(node));
        if !keys.contains_key("image") && !keys.contains_key("build") {
            self.add(entry.place, format!("{named} has no `image`"), "add one: `image: name:tag`");
        }
        let env = keys.get("environment").map(|node| self.environment(node)).unwrap_or_default();
        let command = keys.get("command").map(|node| self.arguments(node, "`command`"));
        let entrypoint = keys.get("entrypoint").map(|node| self.arguments(node, "`entrypoint`"));
        let ready = keys.get("healthcheck").and_then(|node| self.health(node));
        let needs = keys.get("depends_on").map(|node| self.depends_on(node)).unwrap_or_default();
        Some(Service {
            alias: alias?,
            image: image?,
            env,
            entrypoint: entrypoint.unwrap_or_default(),
            command: command.unwrap_or_default(),
            ready,
            needs,
            resources: None,
        })
    }

    /// Is it a key that may stand there?
    fn key(&mut self, entry: &Entry, named: &str) {
        let key = entry.key.as_str();
        if OBEYED.contains(&key) || key.starts_with("x-") {
            return;
        }
        if NOTED.contains(&key) {
            self.note(entry, named);
            if key == "networks" {
                self.networks(&entry.node, named);
            }
            return;
        }
        let known = REFUSED.iter().find(|(name, _)| *name == key);
        let mend = known.map_or_else(
            || format!("remove it; possible are {}", OBEYED.join(", ")),
            |(_, mend)| (*mend).to_owned(),
        );
        self.add(entry.place, format!("`{key}` of {named} is not possible here"), mend);
    }

    /// All services of a step are on one network; other names than their own they have not.
    fn networks(&mut self, node: &Node, named: &str) {
        let Value::Map(entries) = &node.value else { return };
        for network in entries {
            if let Some(aliases) = network.node.entry("aliases") {
                let what = format!("`aliases` of {named} are not possible here");
                self.add(aliases.place, what, "call the service itself by that name");
            }
        }
    }

    fn image(&mut self, node: &Node) -> Option<String> {
        let image = self.text(node, "`image`")?;
        if let Some((what, mend)) = image_name::fault(&image) {
            self.add(node.place, what, mend);
            return None;
        }
        Some(image)
    }

    fn depends_on(&mut self, node: &Node) -> Vec<ServiceAlias> {
        let mut names = Vec::new();
        match &node.value {
            Value::List(items) => {
                for item in items {
                    names.extend(self.text(item, "`depends_on`").map(|name| (item.place, name)));
                }
            }
            Value::Map(entries) => {
                for entry in entries {
                    self.condition(entry);
                    names.push((entry.place, entry.key.clone()));
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) => {
                self.add(node.place, "`depends_on` wants a list", "write `depends_on: [db]`");
            }
        }
        let parsed = names.into_iter().filter_map(|(place, name)| match name.parse() {
            Ok(name) => Some(name),
            Err(error) => {
                let error: crate::domain::names::InvalidName = error;
                self.add(place, error.to_string(), "name a service of the file");
                None
            }
        });
        parsed.collect()
    }

    fn condition(&mut self, of: &Entry) {
        for entry in self.entries(&of.node, "a dependency") {
            let said = entry.node.text().unwrap_or_default();
            let what = match (entry.key.as_str(), said) {
                ("condition", "service_started" | "service_healthy") => continue,
                ("condition", _) => format!("`condition: {said}` is not possible here"),
                (key, _) => format!("`{key}` of a dependency is not possible here"),
            };
            let mend = "write `condition: service_healthy`: it starts once the other one is ready";
            self.add(entry.place, what, mend);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn services(text: &str) -> Vec<Service> {
        read(text).unwrap_or_else(|wrong| panic!("{wrong:#?}")).services
    }

    fn told(text: &str) -> Vec<String> {
        let wrong = read(text).unwrap_err();
        let one = |wrong: Wrong| format!("{}: {}; {}", wrong.place.line, wrong.what, wrong.mend);
        wrong.into_iter().map(one).collect()
    }

    #[test]
    fn a_file_of_simple_services_is_what_it_says() {
        let compose = read(
            r#"
version: "3.8"
services:
  db:
    image: postgres:${POSTGRES:-16}
    environment:
      POSTGRES_PASSWORD: p$$w
      PORT: 5432
    command: postgres -c 'log_statement=all'
    ports: ["5432:5432"]
    healthcheck:
      test: ["CMD-SHELL", "pg_isready -U postgres"]
      interval: 500ms
      timeout: 5s
      retries: 10
      start_period: 1m30s
  web:
    image: web
    environment: [A=b, "C=d=e"]
    entrypoint: ["/web", "--fast"]
    depends_on:
      db: { condition: service_healthy }
networks:
  flow: { external: true }
"#,
        );
        let Compose { services, notes } = compose.unwrap();
        let [db, web] = services.as_slice() else { panic!("{services:?}") };
        assert_eq!((db.image.as_str(), web.image.as_str()), ("postgres:16", "web"));
        assert_eq!(db.env["POSTGRES_PASSWORD"], "p$w");
        assert_eq!(db.env["PORT"], "5432");
        assert_eq!(db.command, ["postgres", "-c", "log_statement=all"]);
        let ready = db.ready.clone().unwrap();
        assert_eq!(ready.run, ["sh", "-c", "pg_isready -U postgres"]);
        assert_eq!((ready.interval_ms, ready.timeout_ms), (500, 90_000 + 10 * 5_500));
        assert_eq!((web.env["A"].as_str(), web.env["C"].as_str()), ("b", "d=e"));
        assert_eq!(web.entrypoint, ["/web", "--fast"]);
        assert_eq!(web.needs, std::slice::from_ref(&db.alias));
        assert_eq!(
            notes,
            [
                "line 23: `networks` of the file says nothing here",
                "line 10: `ports` of service `db` says nothing here",
            ]
        );
    }

    #[test]
    fn what_reaches_out_of_the_sandbox_is_refused_with_its_line() {
        for (key, value) in [
            ("privileged", "true"),
            ("network_mode", "host"),
            ("pid", "host"),
            ("ipc", "host"),
            ("devices", "[/dev/kvm]"),
            ("cap_add", "[ALL]"),
            ("security_opt", "[seccomp:unconfined]"),
            ("volumes", "[/:/host]"),
            ("build", "."),
            ("env_file", ".env"),
            ("userns_mode", "host"),
            ("something_new", "1"),
        ] {
            let told = told(&format!("services:\n  db:\n    image: x\n    {key}: {value}\n"));
            let start = format!("4: `{key}` of service `db` is not possible here; ");
            assert!(told.len() == 1 && told[0].starts_with(&start), "{told:#?}");
        }
        let told = told("services:\n  db:\n    image: x\nvolumes:\n  data: {}\n");
        assert!(told[0].starts_with("4: `volumes` is not possible here"), "{told:?}");
    }

    #[test]
    fn every_error_is_told_at_once() {
        let told = told(
            "services:\n  db_:\n    image: x\n  b:\n    image: a b\n    environment: [A]\n  c:\n    \
             environment: { A: $HOME }\n    healthcheck: { test: 3, interval: soon }\n    depends_on: \
             { b: { condition: service_completed_successfully } }\n",
        );
        let lines: Vec<&str> = told.iter().filter_map(|told| told.split(':').next()).collect();
        assert_eq!(lines, ["2", "5", "6", "7", "8", "9", "9", "10"], "{told:#?}");
    }

    #[test]
    fn what_is_not_set_has_no_value_here() {
        let of = |image: &str| format!("services:\n  db:\n    image: \"{image}\"\n");
        assert_eq!(services(&of("x:${TAG-1}"))[0].image, "x:1");
        assert!(told(&of("x:$TAG"))[0].contains("`TAG` has no value here"));
        assert!(told(&of("x:${TAG:?give one}"))[0].contains("`TAG` has no value here"));
        assert!(told(&of("x:${TAG"))[0].contains("is open"));
    }

    #[test]
    fn a_file_that_is_no_such_file_says_so() {
        assert!(told("[]")[0].contains("wants a mapping"));
        assert!(told("services: {}")[0].contains("0 services"));
        assert!(told("a: [")[0].starts_with("1:") || told("a: [")[0].starts_with("2:"));
        assert!(told("version: '3'")[0].contains("no `services`"));
    }

    #[test]
    fn a_file_with_a_thousand_errors_names_the_first() {
        let many =
            |line: &dyn Fn(usize) -> String| (0..10_000).map(line).collect::<Vec<_>>().concat();
        let keys = many(&|at| format!("    k{at}: 1\n"));
        let variables = "      - A\n".repeat(10_000);
        for (rest, line) in [(keys, 4), (format!("    environment:\n{variables}"), 5)] {
            let told = told(&format!("services:\n  db:\n    image: x\n{rest}"));
            assert_eq!(told.len(), MAX_ERRORS + 1);
            assert!(told[0].starts_with(&format!("{line}: ")), "{}", told[0]);
            assert!(told[MAX_ERRORS].contains("more than 50 errors"), "{}", told[MAX_ERRORS]);
        }
        let services = many(&|at| format!("  s{at}: 1\n"));
        let told = told(&format!("services:\n{services}"));
        assert!(told.len() == 1 && told[0].contains("10000 services"), "{told:?}");
    }
}
