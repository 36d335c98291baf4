mod follow;
mod hostile;
mod readers;
mod sources;

use super::*;

/// `line value` of each mention; what it is stands in front where a kind of file has several.
fn mentions(manifest: Manifest, text: &str) -> Vec<String> {
    let shown = |to: &Written| match to {
        Written::Path(path) => path.clone(),
        Written::Included(path) => format!("include {path}"),
        Written::Copied(path) => format!("copy {path}"),
        Written::Image(image) => format!("image {image}"),
        Written::Project(project) => project.clone(),
        Written::ProjectFolder { project, folder } => format!("{project} in {folder}"),
        Written::Module(module) => format!("module {module}"),
        Written::Replaced { module, folder } => format!("{module} in {folder}"),
        Written::Package(import) => import.clone(),
        Written::PythonModule { dots, name } => {
            format!("{}{name}", ".".repeat(*dots as usize))
        }
        Written::Anything => "anything".to_owned(),
    };
    let found = references(manifest, text.as_bytes());
    found.iter().map(|one| format!("{} {}", one.line, shown(&one.to))).collect()
}
