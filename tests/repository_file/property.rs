//! What holds for every file that anybody may write. The fuzz target asks the same.

use checkvalve::config::repository::{Invalid, decode, resolve, resolved};
use checkvalve::domain::catalog::Paths;

/// Never a panic; either rules, which are the same once shown and read again, or errors with places
/// inside the file.
pub(crate) fn holds(bytes: &[u8]) {
    let text = match decode("a.yml", bytes.to_vec()) {
        Ok(text) => text,
        Err(invalid) => return inside(&invalid, &String::from_utf8_lossy(bytes)),
    };
    let airflow = ["dags/a.py", "plugins/a.py", "airflow-customized/Dockerfile"];
    let trees = [
        None,
        Some(Paths::default()),
        Some(Paths::new(airflow.iter().map(|&path| path.to_owned()).collect())),
    ];
    for paths in &trees {
        match resolved(Some(("a.yml", &text)), "here", paths.as_ref()) {
            Err(invalid) => inside(&invalid, &text),
            Ok(found) => {
                let shown = found.to_yaml();
                // Rules that wait for a tree say nothing of connectors yet.
                let whole =
                    !found.rules.connectors.is_empty() || !found.rules.components.is_empty();
                if whole {
                    let again = resolve(Some(("b.yml", &shown)), "here", &Paths::default());
                    let again = again.unwrap_or_else(|invalid| panic!("{invalid}\n{shown}"));
                    assert!(found.rules.selects_as(&again), "{shown}");
                    assert_eq!(found.rules.pipelines, again.pipelines, "{shown}");
                }
                let origins = &found.to_json()["origins"];
                assert!(origins.as_object().is_some_and(|origins| !origins.is_empty()));
            }
        }
    }
}

fn inside(invalid: &Invalid, text: &str) {
    assert!(!invalid.errors.is_empty());
    let lines: Vec<&str> = text.lines().collect();
    for wrong in &invalid.errors {
        let (line, column) = (wrong.place.line as usize, wrong.place.column as usize);
        assert!((1..=lines.len().max(1)).contains(&line), "{invalid}\nis not in\n{text}");
        let length = lines.get(line - 1).map_or(0, |line| line.chars().count());
        assert!((1..=length + 1).contains(&column), "{invalid}\nis not in\n{text}");
        assert!(!wrong.what.is_empty());
    }
    let printed = invalid.to_string();
    assert!(!printed.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t')), "{printed:?}");
}
