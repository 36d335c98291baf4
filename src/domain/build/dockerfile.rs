//! Dockerfiles that are made here.

use std::fmt::Write;

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

/// For a Python package with a `main.py`, in two stages as Airbyte's own build has them.
pub(super) fn of_python(base: &str) -> String {
    format!(
        "FROM {base} AS builder\n\
         WORKDIR {CODE}\n\
         COPY . ./\n\
         RUN pip install --no-cache-dir --prefix=/install .\n\
         FROM {base}\n\
         WORKDIR {CODE}\n\
         COPY --from=builder /install /usr/local\n\
         COPY . ./\n\
         ENV AIRBYTE_ENTRYPOINT=\"python {CODE}/main.py\"\n\
         ENTRYPOINT [\"python\", \"{CODE}/main.py\"]\n"
    )
}
