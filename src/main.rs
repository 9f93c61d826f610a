//! The `holdfast` program: parses the command line, runs the command, maps errors to exit codes.

use std::process::ExitCode;

use clap::Parser;
use holdfast::cli::{Cli, run};

fn main() -> ExitCode {
    run(Cli::parse())
}
