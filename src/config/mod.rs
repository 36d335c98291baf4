//! config.

pub mod repository;
