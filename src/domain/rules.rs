//! A repository's configuration after parsing: connector rules, impact rules, pipelines.
