//! `loopline serve`: the dashboard, the API and the schedules.

use std::net::SocketAddr;
use std::sync::Arc;

use clap::Args;
use tokio::net::TcpListener;

use crate::base::Secret;
use crate::pipeline::{Access, Hub, Silent};
use crate::serve::{self, Options};

use super::Done;
use super::context::Context;
use super::failure::CliError;

/// Serves the dashboard and the API, and runs pipelines when they are due
#[derive(Args)]
#[command(
    after_help = "Examples:\n  loopline serve\n  loopline serve --bind 0.0.0.0:8080       for others: everything then needs the token\n\nThe token is taken from LOOPLINE_TOKEN; without it, a new one is made and shown at each start."
)]
pub(super) struct Arguments {
    /// Address and port to listen on
    #[arg(long, default_value = "127.0.0.1:8080")]
    bind: SocketAddr,
}

pub(super) async fn run(arguments: &Arguments, context: &Context) -> anyhow::Result<Done> {
    let listener = listen(arguments.bind).await?;
    let hub = context.hub(Access::Write).await?;
    serve_on(listener, hub, context).await
}

/// Takes the port; whoever has long work to do first takes it before that.
pub(super) async fn listen(bind: SocketAddr) -> Result<TcpListener, CliError> {
    TcpListener::bind(bind).await.map_err(|source| CliError::Listen { bind, source })
}

/// Serves until someone interrupts.
pub(super) async fn serve_on(listener: TcpListener, hub: Hub, context: &Context) -> anyhow::Result<Done> {
    let bind = listener.local_addr()?;
    let (token, made) = match std::env::var("LOOPLINE_TOKEN") {
        Ok(token) if token.is_empty() => {
            return Err(CliError::usage("LOOPLINE_TOKEN is empty", "unset it, or set it to a long random text").into());
        }
        Ok(token) => (Secret::new(token), false),
        Err(_) => (serve::generate_token(), true),
    };
    context.output.stderr(&format!("dashboard: http://{bind}/    API: http://{bind}/openapi.json    stop: Ctrl-C"));
    if made {
        // The one place where a token is shown: it exists only for this process, and whoever started it needs it.
        context.output.stderr(&format!("token for approvals: {}", token.expose()));
    }
    let cancel = context.cancel_on_interrupt();
    serve::serve(Arc::new(hub), listener, Options { bind, token }, &Silent, cancel).await?;
    context.output.message("stopped");
    Ok(Done::Well)
}
