//! The `loopline` binary: everything is in the library.

fn main() -> std::process::ExitCode {
    loopline::cli::main()
}
