//! The App's manifest, for a server: `app-manifest.yml` with its addresses and its name.

use serde_json::Value;

use crate::domain::yaml;

const MANIFEST: &str = include_str!("../../app-manifest.yml");
/// What stands there for a server's address.
const EXAMPLE: &str = "https://checkvalve.example.com";
/// GitHub's longest name of an App.
const LONGEST_NAME: usize = 34;

/// The manifest that GitHub is given, as JSON. `public` is our address; `owner` is told apart by the
/// name, since names of Apps are unique over all of GitHub; Enterprise Servers without merge queues
/// refuse what belongs to them.
pub fn manifest(public: &str, owner: Option<&str>, merge_queues: bool) -> Result<Value, String> {
    let node =
        yaml::parse(MANIFEST).map_err(|broken| format!("app-manifest.yml: {}", broken.what))?;
    let mut manifest = json(&node.value, public);
    if let Some(owner) = owner {
        let name = format!("Checkvalve {owner}");
        manifest["name"] = name.chars().take(LONGEST_NAME).collect::<String>().into();
    }
    if !merge_queues {
        if let Some(permissions) = manifest["default_permissions"].as_object_mut() {
            permissions.remove("merge_queues");
        }
        if let Some(events) = manifest["default_events"].as_array_mut() {
            events.retain(|event| event != "merge_group");
        }
    }
    Ok(manifest)
}

fn json(value: &yaml::Value, public: &str) -> Value {
    match value {
        yaml::Value::Null => Value::Null,
        yaml::Value::Bool(bool) => (*bool).into(),
        yaml::Value::Number(number) => number.as_str().into(),
        yaml::Value::Text(text) => match text.strip_prefix(EXAMPLE) {
            Some(rest) => format!("{public}{rest}").into(),
            None => text.as_str().into(),
        },
        yaml::Value::List(items) => items.iter().map(|item| json(&item.value, public)).collect(),
        yaml::Value::Map(entries) => entries
            .iter()
            .map(|entry| (entry.key.clone(), json(&entry.node.value, public)))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifest_has_our_addresses_and_is_private() {
        let manifest = manifest("https://ci.acme.example", Some("acme"), true).unwrap();
        assert_eq!(manifest["name"], "Checkvalve acme");
        assert_eq!(manifest["url"], "https://ci.acme.example");
        let hook = serde_json::json!({
            "url": "https://ci.acme.example/webhooks/github", "active": true,
        });
        assert_eq!(manifest["hook_attributes"], hook);
        assert_eq!(manifest["redirect_url"], "https://ci.acme.example/setup/callback");
        assert_eq!(manifest["public"], false);
        assert_eq!(manifest["default_permissions"]["merge_queues"], "read");
        assert!(!manifest.to_string().contains("example.com"), "{manifest}");
    }

    #[test]
    fn a_server_without_merge_queues_is_not_asked_for_them() {
        let long = "a-name-of-an-organisation-of-39-letters";
        let manifest = manifest("https://ci.acme.example", Some(long), false).unwrap();
        let text = manifest.to_string();
        assert!(!text.contains("merge_"), "{text}");
        assert!(text.contains("check_suite") && text.contains("checks"), "{text}");
        assert_eq!(manifest["name"].as_str().unwrap().chars().count(), LONGEST_NAME);
    }
}
