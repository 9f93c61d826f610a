//! `holdfast config`.

use clap::Subcommand;

use crate::config::schema;
use crate::error::Result;

/// What is done with the form of a configuration.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Prints the JSON Schema of the configuration, for editors and other programs.
    Schema,
}

/// Runs a command on the form of a configuration.
pub fn run(command: &Command) -> Result<()> {
    match command {
        Command::Schema => print!("{}", schema::text()?),
    }
    Ok(())
}
