//! The command line: one file for each command.
//!
//! What stays true: standard output holds data only, everything else goes to standard error, and both are written in `output` alone. Exit codes: 0 done,
//! 1 the user has to act (data, configuration, a check that failed), 2 a fault of the program.

mod build;
mod check;
mod context;
mod demo;
mod environments;
mod explain;
mod failure;
mod format;
mod init;
mod lineage;
mod maintain;
mod output;
mod plan;
mod progress;
mod promote;
mod pull;
mod replay;
mod run;
mod schedules;
mod schema;
mod select;
mod serve;
mod sql;
mod status;
mod summary;
mod test;
mod trace;
mod verify;
mod what_if;
mod write;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use context::Context;
use output::Output;

/// What a command leaves behind; errors decide themselves, see [`failure`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Done {
    /// Exit code 0.
    Well,
    /// The command worked and reported something that a person has to look at: exit code 1.
    NeedsAttention,
}

#[derive(Parser)]
#[command(
    name = "loopline",
    version,
    about = "Closes the loop between CRM, ERP, MES and WMS: pull, decide in SQL, write back, confirm",
    after_help = "Start here:\n  loopline demo                  a simulated plant, the whole loop once, and the dashboard\n  loopline init my-plant         a new project with commented files\n\nEvery day:\n  loopline check                 is everything right that can be checked?\n  loopline run loop              pull, build, check, publish, write, confirm\n  loopline write plan            what waits for approval, and why\n  loopline write approve --all\n  loopline status                where the loop stands\n\nExit codes: 0 done, 1 something needs you (data, configuration, a failed check), 2 a fault of the program.",
    max_term_width = 110,
    propagate_version = true
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Args)]
struct Global {
    /// The project's folder [default: the nearest folder from here upwards that has a loopline.toml]
    #[arg(long, global = true, value_name = "DIR", env = "LOOPLINE_PROJECT", hide_env = true)]
    project: Option<PathBuf>,
    /// Work in this environment: build what differs into tables of its own, read the rest from production; write to no system
    #[arg(long, global = true, value_name = "NAME", env = "LOOPLINE_ENV", hide_env = true)]
    env: Option<String>,
    /// Data as JSON on standard output
    #[arg(long, global = true)]
    json: bool,
    /// Only data and errors: no progress, no messages
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// Say more: each stream and table as it is done; -vv for details of the program
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
}

#[derive(Subcommand)]
enum Command {
    Init(init::Arguments),
    Check(check::Arguments),
    Test(test::Arguments),
    Pull(pull::Arguments),
    Verify(verify::Arguments),
    Build(build::Arguments),
    Plan(plan::Arguments),
    Explain(explain::Arguments),
    Run(run::Arguments),
    Write(write::Arguments),
    Trace(trace::Arguments),
    Lineage(lineage::Arguments),
    Sql(sql::Arguments),
    WhatIf(what_if::Arguments),
    Status(status::Arguments),
    Schedules(schedules::Arguments),
    Env(environments::Arguments),
    Promote(promote::Arguments),
    Replay(replay::Arguments),
    Maintain(maintain::Arguments),
    Schema(schema::Arguments),
    Serve(serve::Arguments),
    Demo(demo::Arguments),
}

/// Entry point of the binary.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return output::usage(&error),
    };
    let output = Output::new(cli.global.json, cli.global.quiet, cli.global.verbose);
    let context = Context::new(output.clone(), cli.global.project, cli.global.env);
    // A panic has already been shown by the hook; it must not end with a code that blames the user.
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| execute(cli.command, &context)));
    match ended {
        Ok(Ok(Done::Well)) => ExitCode::SUCCESS,
        Ok(Ok(Done::NeedsAttention)) => ExitCode::from(failure::USER),
        Ok(Err(error)) => failure::show(&error, &output),
        Err(_) => ExitCode::from(failure::PROGRAM),
    }
}

fn execute(command: Command, context: &Context) -> anyhow::Result<Done> {
    context.output.start_logging();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(dispatch(command, context));
    runtime.shutdown_timeout(std::time::Duration::from_secs(1)); // a blocked reader of a source must not hold the exit
    result
}

async fn dispatch(command: Command, context: &Context) -> anyhow::Result<Done> {
    match command {
        Command::Init(arguments) => init::run(&arguments, context),
        Command::Check(arguments) => check::run(&arguments, context).await,
        Command::Test(arguments) => test::run(&arguments, context).await,
        Command::Pull(arguments) => pull::run(&arguments, context).await,
        Command::Verify(arguments) => verify::run(&arguments, context).await,
        Command::Build(arguments) => build::run(&arguments, context).await,
        Command::Plan(arguments) => plan::run(&arguments, context).await,
        Command::Explain(arguments) => explain::run(&arguments, context).await,
        Command::Run(arguments) => run::run(&arguments, context).await,
        Command::Write(arguments) => write::run(&arguments, context).await,
        Command::Trace(arguments) => trace::run(&arguments, context).await,
        Command::Lineage(arguments) => lineage::run(&arguments, context).await,
        Command::WhatIf(arguments) => what_if::run(&arguments, context).await,
        Command::Sql(arguments) => sql::run(arguments, context).await,
        Command::Schema(arguments) => schema::run(&arguments, context),
        Command::Maintain(arguments) => maintain::run(&arguments, context).await,
        Command::Env(arguments) => environments::run(&arguments, context).await,
        Command::Promote(arguments) => promote::run(&arguments, context).await,
        Command::Replay(arguments) => replay::run(&arguments, context).await,
        Command::Schedules(arguments) => schedules::run(&arguments, context).await,
        Command::Status(arguments) => status::run(&arguments, context).await,
        Command::Serve(arguments) => serve::run(&arguments, context).await,
        Command::Demo(arguments) => demo::run(&arguments, context).await,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        super::Cli::command().debug_assert();
    }

    #[test]
    fn every_command_says_what_it_does_and_gives_an_example() {
        let root = super::Cli::command();
        for command in root.get_subcommands() {
            assert!(command.get_about().is_some(), "{}: no about", command.get_name());
            assert!(command.get_after_help().is_some(), "{}: no example", command.get_name());
        }
    }
}
