//! `xxnet-sim`: the simulator by itself; the same as `xxnet sim`.

use clap::Parser;
use std::process::ExitCode;
use xxnet_sim::command::Arguments;

#[derive(Debug, Parser)]
#[command(version, about)]
struct Program {
    #[command(flatten)]
    arguments: Arguments,
}

fn main() -> ExitCode {
    let program = Program::try_parse().unwrap_or_else(|error| {
        let _ = error.print();
        std::process::exit(if error.use_stderr() { 64 } else { 0 });
    });
    ExitCode::from(program.arguments.run())
}
