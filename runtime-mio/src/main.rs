//! `xxnet`: runs a command on another machine, with its files, and brings the results back.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
