//! The keys of `acceptance-test-config.yml`, as Airbyte's own tests know them.

use super::Suite;

pub(super) const ROOT: &[&str] = &[
    "connector_image",
    "acceptance_tests",
    "tests",
    "base_path",
    "test_strictness_level",
    "custom_environment_variables",
];
/// Suites that are not judged here.
pub(super) const OTHER_SUITES: &[&str] = &["connector_attributes", "connector_documentation"];
pub(super) const SUITE_KEYS: &[&str] = &["tests", "bypass_reason"];
/// Keys of any test.
pub(super) const ANY: &[&str] = &["timeout_seconds", "deployment_mode"];
/// Of `expect_records`; all but the first two are not judged.
pub(super) const EXPECTED_KEYS: &[&str] =
    &["path", "bypass_reason", "exact_order", "extra_fields", "extra_records"];
/// Of `future_state`; all but the first two are not judged.
pub(super) const CURSOR_KEYS: &[&str] =
    &["future_state_path", "bypass_reason", "cursor_format", "missing_streams"];
/// Of what is left out, with the reason.
pub(super) const NAMED_KEYS: &[&str] = &["name", "bypass_reason"];

impl Suite {
    /// Keys of a test that are obeyed.
    pub(super) fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Spec => &["spec_path", "config_path"],
            Self::Connection => &["config_path", "status"],
            Self::Discovery => &["config_path"],
            Self::BasicRead => &[
                "config_path",
                "configured_catalog_path",
                "empty_streams",
                "expect_records",
                "validate_schema",
            ],
            Self::FullRefresh => &["config_path", "configured_catalog_path", "ignored_fields"],
            Self::Incremental => &[
                "config_path",
                "configured_catalog_path",
                "cursor_paths",
                "future_state",
                "threshold_days",
            ],
        }
    }

    /// Keys that ask for what is not judged here.
    pub(super) fn not_judged(self) -> &'static [&'static str] {
        match self {
            Self::Spec => &["backward_compatibility_tests_config", "auth_default_method"],
            Self::Connection => &[],
            Self::Discovery => {
                &["backward_compatibility_tests_config", "validate_primary_keys_data_type"]
            }
            Self::BasicRead => &[
                "validate_stream_statuses",
                "validate_state_messages",
                "validate_primary_keys_data_type",
                "validate_data_points",
                "fail_on_extra_columns",
                "expect_trace_message_on_failure",
                "file_types",
                "client_container_config",
            ],
            Self::FullRefresh => &["client_container_config"],
            Self::Incremental => {
                &["skip_comprehensive_incremental_tests", "client_container_config"]
            }
        }
    }
}

/// Keys of a test of a suite that is not judged.
pub(super) fn of_other_suite(suite: &str) -> &'static [&'static str] {
    match suite {
        "connector_attributes" => {
            &["config_path", "streams_without_primary_key", "allowed_hosts", "suggested_streams"]
        }
        _ => &["config_path"],
    }
}

/// Keys beneath one that is not judged: of its mapping, or of each in its list. None where no
/// mapping stands.
pub(super) fn beneath(key: &str) -> &'static [&'static str] {
    match key {
        "backward_compatibility_tests_config" => {
            &["previous_connector_version", "disable_for_version"]
        }
        "auth_default_method" => &["oauth", "bypass_reason"],
        "file_types" => &["bypass_reason", "unsupported_types", "skip_test"],
        "unsupported_types" => &["extension", "bypass_reason"],
        "client_container_config" => &[
            "secrets_path",
            "client_container_dockerfile_path",
            "setup_command",
            "teardown_command",
            "between_syncs_command",
            "final_teardown_command",
        ],
        "cursor_format" => &["format", "streams"],
        "streams" => &["name", "format"],
        "missing_streams" | "streams_without_primary_key" => NAMED_KEYS,
        "allowed_hosts" | "suggested_streams" => &["bypass_reason"],
        _ => &[],
    }
}
