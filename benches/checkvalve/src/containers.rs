//! Steps in containers, made by hand: what the product does for a step, less everything that is not
//! asking the engine.

use std::collections::BTreeMap;

use anyhow::ensure;
use serde_json::{Value, json};

use crate::docker::{Engine, Output};

/// A step's container.
#[derive(Debug, Clone)]
pub(crate) struct Container {
    pub(crate) image: String,
    pub(crate) script: String,
    pub(crate) workdir: String,
    pub(crate) env: BTreeMap<String, String>,
    /// The limits, the init, and the dropped capabilities that the product gives every container;
    /// without them it is the cheapest container that there is.
    pub(crate) sandbox: bool,
}

impl Container {
    fn body(&self) -> Value {
        let env: Vec<String> = self.env.iter().map(|(k, v)| format!("{k}={v}")).collect();
        let mut host = json!({ "NetworkMode": "none", "LogConfig": { "Type": "none" } });
        if self.sandbox {
            let memory: u64 = 1 << 30;
            host = json!({
                "NetworkMode": "none", "LogConfig": { "Type": "none" }, "Init": true,
                "CapDrop": ["ALL"],
                "CapAdd": ["CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"],
                "SecurityOpt": ["no-new-privileges:true"], "PidsLimit": 4096,
                "Memory": memory, "MemorySwap": memory, "NanoCpus": 2_000_000_000_u64,
                "Tmpfs": {
                    "/checkvalve/secrets": "rw,noexec,nosuid,nodev,size=16m,mode=1777"
                },
            });
        }
        json!({
            "Image": self.image, "Entrypoint": ["sh", "-e", "-c"], "Cmd": [self.script],
            "Env": env, "WorkingDir": self.workdir, "AttachStdout": true, "AttachStderr": true,
            "Labels": { "checkvalve-bench": "1" }, "HostConfig": host,
        })
    }

    /// Runs it to its end and removes it. What it printed.
    pub(crate) fn run(&self, engine: &mut Engine, source: &[u8]) -> anyhow::Result<String> {
        let id = engine.create(&self.body())?;
        let ended = Self::use_it(engine, &id, source);
        engine.remove(&id)?;
        let (status, printed) = ended?;
        ensure!(status == 0, "the container ended with {status}: {printed}");
        Ok(printed)
    }

    /// Starts one that waits for commands; its id.
    pub(crate) fn open(&self, engine: &mut Engine, source: &[u8]) -> anyhow::Result<String> {
        let waiting = Self { script: "sleep 3600".to_owned(), ..self.clone() };
        let id = engine.create(&waiting.body())?;
        if !source.is_empty() {
            engine.upload(&id, source)?;
        }
        engine.start(&id)?;
        Ok(id)
    }

    /// Runs it as a command in a container that was opened. What it printed.
    pub(crate) fn run_in(&self, engine: &mut Engine, id: &str) -> anyhow::Result<String> {
        let env: Vec<String> = self.env.iter().map(|(k, v)| format!("{k}={v}")).collect();
        let command = json!({
            "Cmd": ["sh", "-e", "-c", self.script], "Env": env, "WorkingDir": self.workdir,
            "AttachStdout": true, "AttachStderr": true,
        });
        engine.exec(id, &command)
    }

    fn use_it(engine: &mut Engine, id: &str, source: &[u8]) -> anyhow::Result<(i64, String)> {
        if !source.is_empty() {
            engine.upload(id, source)?;
        }
        let output = Output::attach(id)?;
        engine.start(id)?;
        let printed = output.text()?;
        Ok((engine.wait(id)?, printed))
    }
}

/// Moves an archive's entries to where containers have the source, and adds the folder for what
/// steps leave.
pub(crate) fn source(tar: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut moved = tar::Builder::new(Vec::new());
    for folder in ["checkvalve", "checkvalve/out", "workspace"] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Directory);
        header.set_mode(0o755);
        header.set_size(0);
        moved.append_data(&mut header, folder, std::io::empty())?;
    }
    for entry in tar::Archive::new(tar).entries()? {
        let entry = entry?;
        let mut header = entry.header().clone();
        if header.entry_type().is_pax_global_extensions() {
            continue;
        }
        let path = std::path::Path::new("workspace").join(entry.path()?);
        moved.append_data(&mut header, path, entry)?;
    }
    Ok(moved.into_inner()?)
}
