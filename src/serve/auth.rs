//! Who may do what: the token, the dashboard's session cookie, and protection from other sites' pages.

use std::sync::Arc;

use axum::Form;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{ServeError, Shared};
use crate::base::Secret;

const COOKIE: &str = "loopline_session";

/// A page may load its own style and nothing else, and nobody may frame it.
const HEADERS: [(HeaderName, &str); 4] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'self' 'unsafe-inline'; img-src data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
];

/// A token of 122 random bits from the operating system.
pub fn generate_token() -> Secret {
    Secret::new(uuid::Uuid::new_v4().simple().to_string())
}

fn digest(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What the cookie holds: it opens this server, but does not tell the token.
fn session(token: &Secret) -> String {
    digest(&format!("session:{}", token.expose()))
}

/// Lets a request through, or says why not.
pub(super) async fn guard(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Result<Response, ServeError> {
    let headers = request.headers();
    if shared.loopback && !local_host(headers) {
        // a page of another site whose name was pointed at this machine
        return Err(ServeError::Forbidden("this server answers to localhost only"));
    }
    let safe = matches!(*request.method(), Method::GET | Method::HEAD);
    if !safe && !same_origin(headers) {
        return Err(ServeError::Forbidden("this request comes from a page of another site"));
    }
    let open = request.uri().path() == "/login" || (safe && (shared.loopback || request.uri().path() == "/"));
    if !open && !signed_in(&shared, headers) {
        return Err(ServeError::Unauthorized);
    }
    let mut response = next.run(request).await;
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    Ok(response)
}

/// Whether the request carries the token or the cookie. Digests are compared, so time tells nothing of the token.
pub(super) fn signed_in(shared: &Shared, headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let bearer = text(header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
    if bearer.is_some_and(|token| digest(token.trim()) == digest(shared.token.expose())) {
        return true;
    }
    let expected = digest(&session(&shared.token));
    text(header::COOKIE)
        .into_iter()
        .flat_map(|cookies| cookies.split(';'))
        .filter_map(|cookie| cookie.trim().split_once('='))
        .any(|(name, value)| name == COOKIE && digest(value) == expected)
}

fn local_host(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST).and_then(|value| value.to_str().ok()) else { return true };
    let name = host.rsplit_once(':').map_or(host, |(name, port)| if port.ends_with(']') { host } else { name });
    matches!(name, "localhost" | "127.0.0.1" | "[::1]")
}

fn same_origin(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    match (text(header::ORIGIN), text(header::HOST)) {
        (Some(origin), Some(host)) => origin.split_once("://").is_some_and(|(_, origin)| origin == host),
        (Some(_), None) => false,
        (None, _) => true, // not a browser's form
    }
}

#[derive(Deserialize)]
pub(super) struct Login {
    token: String,
}

/// Takes the token once and gives the browser a cookie that ends with it.
pub(super) async fn login(State(shared): State<Arc<Shared>>, Form(login): Form<Login>) -> Result<Response, ServeError> {
    if digest(login.token.trim()) != digest(shared.token.expose()) {
        return Err(ServeError::Unauthorized);
    }
    let cookie = format!("{COOKIE}={}; HttpOnly; SameSite=Strict; Path=/", session(&shared.token));
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to("/")).into_response())
}
