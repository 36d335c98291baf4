//! The product's words and rules, PURE: no I/O, no clock, no async, nothing of ours imported.
//!
//! Every decision — what is affected, what runs next, what the verdict is — is a function here.

pub mod acceptance;
pub mod build;
pub mod builtin;
pub mod cache;
pub mod catalog;
pub mod change;
pub mod check;
pub mod command;
pub mod decide;
pub mod depends;
pub mod event;
pub mod ids;
pub mod image_name;
pub mod impact;
pub mod inherit;
pub mod junit;
pub mod links;
pub mod metadata;
pub mod names;
pub mod objects;
pub mod pipeline;
pub mod plan;
pub mod policy;
pub mod qa;
pub mod redact;
pub mod registry;
pub mod rules;
pub mod run;
pub mod secret;
pub mod state;
pub mod time;
pub mod trigger;
pub mod unselected;
pub mod verdict;
pub mod yaml;
