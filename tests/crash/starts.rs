//! The engine's own account of what was started, by the labels of the containers.

use std::collections::BTreeMap;
use std::fs::File;
use std::process::{Child, Command, Stdio};

use checkvalve::ambient;
use serde_json::Value;

use crate::images;
use crate::world::World;

/// Follows an installation's containers from when it is made on.
pub(crate) struct Starts {
    events: Child,
    told: tempfile::NamedTempFile,
}

impl Starts {
    pub(crate) fn of(world: &World) -> Self {
        let instance = std::fs::read_to_string(world.state.path().join("state/instance")).unwrap();
        let label = format!("label=io.checkvalve.instance={}", instance.trim());
        // What is started before it listens is told afterwards.
        let since = (ambient::now().as_millis() / 1000).to_string();
        let told = tempfile::NamedTempFile::new().unwrap();
        let events = Command::new("docker")
            .args(["events", "--since", &since, "--format", "{{json .Actor.Attributes}}"])
            .args(["--filter", "type=container", "--filter", "event=start", "--filter", &label])
            .stdin(Stdio::null())
            .stdout(File::create(told.path()).unwrap())
            .spawn()
            .unwrap();
        Self { events, told }
    }

    /// By run, connector and step: the attempts for which a container of the usual image was started,
    /// one after the other.
    pub(crate) fn attempts(&self) -> BTreeMap<[String; 3], Vec<u64>> {
        let id = Command::new("docker")
            .args(["image", "inspect", "--format", "{{.Id}}", images::BUSYBOX])
            .output()
            .unwrap();
        let id = String::from_utf8(id.stdout).unwrap();
        let told = std::fs::read_to_string(self.told.path()).unwrap();
        let mut attempts: BTreeMap<_, Vec<u64>> = BTreeMap::new();
        for line in told.lines() {
            let told: Value = serde_json::from_str(line).unwrap();
            let of = |name: &str| told[name].as_str().unwrap().to_owned();
            let label = |name: &str| of(&format!("io.checkvalve.{name}"));
            // A service has its step's labels.
            if [id.trim(), images::BUSYBOX].contains(&of("image").as_str()) {
                let step = ["run", "connector", "step"].map(label);
                attempts.entry(step).or_default().push(label("attempt").parse().unwrap());
            }
        }
        attempts
    }
}

impl Drop for Starts {
    fn drop(&mut self) {
        let _ = self.events.kill();
        let _ = self.events.wait();
    }
}
