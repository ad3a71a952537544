//! What a request or the server can fail with, and how a caller is told.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::base::{Blame, Diagnose};
use crate::model::ModelError;
use crate::pipeline::PipelineError;
use crate::store::StoreError;
use crate::writeback::WritebackError;

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Writeback(#[from] WritebackError),
    #[error("{what}")]
    BadRequest { what: String, hint: Option<String> },
    #[error("there is no {what} \"{name}\"")]
    NotFound { what: &'static str, name: String, hint: Option<String> },
    #[error("this needs the token")]
    Unauthorized,
    #[error("{0}")]
    Forbidden(&'static str),
    #[error("the server stopped")]
    Http(#[source] std::io::Error),
}

impl Diagnose for ServeError {
    fn blame(&self) -> Blame {
        match self {
            Self::Pipeline(error) => error.blame(),
            Self::Model(error) => error.blame(),
            Self::Store(error) => error.blame(),
            Self::Writeback(error) => error.blame(),
            Self::Http(_) => Blame::Program,
            _ => Blame::User,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Pipeline(error) => error.hint(),
            Self::Model(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::Writeback(error) => error.hint(),
            Self::BadRequest { hint, .. } | Self::NotFound { hint, .. } => hint.clone(),
            Self::Unauthorized => {
                Some("send it as `Authorization: Bearer …`; `loopline serve` shows it, or takes it from LOOPLINE_TOKEN".into())
            }
            _ => None,
        }
    }
}

/// What an error's body holds.
#[derive(Serialize, ToSchema)]
pub(super) struct Problem {
    pub error: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl IntoResponse for ServeError {
    fn into_response(self) -> Response {
        let status = match &self {
            Self::BadRequest { .. } => StatusCode::BAD_REQUEST,
            Self::NotFound { .. } => StatusCode::NOT_FOUND,
            Self::Pipeline(PipelineError::NoCut) => StatusCode::CONFLICT,
            Self::Pipeline(PipelineError::Store(StoreError::NoCutOf { .. })) => StatusCode::NOT_FOUND,
            Self::Pipeline(PipelineError::Store(StoreError::CutGone { .. } | StoreError::BaseGone { .. })) => StatusCode::GONE,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::error!(error = %self, "request failed");
        }
        (status, Json(Problem { error: self.to_string(), hint: self.hint() })).into_response()
    }
}
