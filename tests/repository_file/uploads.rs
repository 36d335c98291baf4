//! Steps that write back what a connector renewed.

use checkvalve::domain::builtin::Builtin;

use super::{read, with_steps};

#[test]
fn secrets_are_written_back_after_all_that_have_them_however_they_end() {
    let steps = "      - { id: upload, uses: upload-secrets, secrets: [config] }\n      \
                 - { id: build, uses: build }\n      \
                 - { id: acceptance, uses: acceptance, needs: build, secrets: [config, other] }\n      \
                 - { id: live, image: x, run: y, secrets: config, matrix: { v: [1, 2] } }\n      \
                 - { id: apart, image: x, run: y, secrets: other }\n      \
                 - { id: report, uses: report }\n";
    let secrets = "secrets: { config: { from: gsm }, other: { from: env } }\n";
    let rules = read(&(with_steps(steps) + secrets)).unwrap();
    let step = |id: &str| {
        let mut steps = rules.pipelines[0].steps.iter();
        steps.find(|step| step.id.as_str() == id).unwrap()
    };
    let needs = |id: &str| step(id).needs.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(needs("upload"), ["acceptance", "live (1)", "live (2)"]);
    assert!(step("upload").always && step("upload").is(Builtin::UploadSecrets));
    assert!(needs("report").contains(&"upload".to_owned()));
    let stored = serde_json::to_value(step("upload")).unwrap();
    assert_eq!(stored["uses"], serde_json::json!({ "builtin": "upload-secrets", "version": 1 }));
}
