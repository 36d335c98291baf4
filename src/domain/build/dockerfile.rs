//! Dockerfiles that are made here.

use std::fmt::Write;

use super::{AUTHORITIES, AUTHORITIES_AT, SOURCE};

const CODE: &str = "/airbyte/integration_code";

/// For a connector that is a manifest: its base image runs it.
pub(super) fn of_manifest(base: &str, components: bool) -> String {
    let to = format!("{CODE}/source_declarative_manifest");
    let mut text = format!("FROM {base}\nCOPY manifest.yaml {to}/manifest.yaml\n");
    if components {
        let _ = writeln!(text, "COPY components.py {to}/components.py");
    }
    text
}

/// For a Python package with a `main.py`, in two stages as Airbyte's own build has them. Where there
/// are authorities to trust, these variables name them while it is installed, in the stage of which
/// nothing else is taken.
pub(super) fn of_python(base: &str, variables: &[&str]) -> String {
    let (mut trust, mut source) = (String::new(), ".".to_owned());
    if !variables.is_empty() {
        trust = format!("COPY {AUTHORITIES} {AUTHORITIES_AT}\n");
        for name in variables {
            let _ = writeln!(trust, "ARG {name}={AUTHORITIES_AT}");
        }
        SOURCE.clone_into(&mut source);
    }
    format!(
        "FROM {base} AS builder\n\
         WORKDIR {CODE}\n\
         {trust}\
         COPY {source} ./\n\
         RUN pip install --no-cache-dir --prefix=/install .\n\
         FROM {base}\n\
         WORKDIR {CODE}\n\
         COPY --from=builder /install /usr/local\n\
         COPY {source} ./\n\
         ENV AIRBYTE_ENTRYPOINT=\"python {CODE}/main.py\"\n\
         ENTRYPOINT [\"python\", \"{CODE}/main.py\"]\n"
    )
}
