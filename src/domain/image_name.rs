//! Names of images, where somebody else may write them: an engine takes more for a name than
//! people do.

/// Names that we give to images: what other jobs built, and what their steps left.
const OWN: [&str; 3] = ["checkvalve/", "checkvalve-share", "checkvalve-snapshot"];
const MEND: &str = "name an image of a registry: `name:tag`, or `name@sha256:…`";

/// What speaks against a name, and the mend: an image may be another repository's.
pub fn fault(image: &str) -> Option<(String, &'static str)> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "./:@_-".contains(c);
    let why =
        if !image.starts_with(|c: char| c.is_ascii_alphanumeric()) || !image.chars().all(plain) {
            "is not an image's name"
        } else if is_own(image) {
            "is an image that another job made"
        } else if may_be_id(image) {
            "may be the begin of any image's id"
        } else {
            return None;
        };
    Some((format!("`{image}` {why}"), MEND))
}

/// However the engine's own registry is written.
fn is_own(image: &str) -> bool {
    let lower = image.to_ascii_lowercase();
    let name = lower.strip_prefix("index.").unwrap_or(&lower);
    let name = name.strip_prefix("docker.io/").unwrap_or(name);
    let name = name.strip_prefix("library/").unwrap_or(name);
    OWN.iter().any(|own| name.starts_with(own))
}

/// An engine takes an image's id for a name, and the begin of it, be it one digit.
fn may_be_id(image: &str) -> bool {
    let id = image.strip_prefix("sha256:").unwrap_or(image);
    id.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_anothers_is_no_name() {
        for (image, why) in [
            ("checkvalve/1:job_x", "another job made"),
            ("docker.io/Checkvalve/1:x", "another job made"),
            ("index.docker.io/library/checkvalve-share:1", "another job made"),
            ("library/checkvalve-snapshot:1", "another job made"),
            ("beef", "any image's id"),
            ("4711", "any image's id"),
            ("5A15988ad7ec", "any image's id"),
            ("sha256:5a", "any image's id"),
            ("", "not an image's name"),
            ("-x", "not an image's name"),
            ("a b", "not an image's name"),
            ("x\u{a0}y", "not an image's name"),
            ("$IMAGE", "not an image's name"),
            ("\"x\"", "not an image's name"),
        ] {
            let (text, mend) = fault(image).unwrap_or_else(|| panic!("{image} passes"));
            assert!(text.contains(why) && mend.contains("`name:tag`"), "{image}: {text}");
        }
        for image in [
            "python:3.11-slim",
            "beef:1",
            "cafe@sha256:00",
            "checkvalves/1:x",
            "checkvalve-test/busybox:1",
            "registry.example:5000/checkvalve/1:x",
            "docker.io/airbyte/python-connector-base:4.0.0@sha256:00",
        ] {
            assert_eq!(fault(image), None, "{image}");
        }
    }
}
