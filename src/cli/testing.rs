//! t
use std::ffi::OsString;
pub fn run_flags_after_subcommand(a: Vec<OsString>) -> Vec<OsString> { a }
#[derive(Debug, clap::Args)]
pub struct TestArgs {}
pub async fn run(_a:&TestArgs,_g:&super::select::Global,_s:&crate::config::server::Settings)->anyhow::Result<super::exit::Exit>{ todo!() }
