//! The page. Its built files come with the source, so that no Node is needed.

use std::path::Path;

use axum::{
    http::{
        HeaderName, StatusCode, Uri,
        header::{
            CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
        },
    },
    response::{IntoResponse, Response},
};
use include_dir::{Dir, include_dir};

static BUILT: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/web/dist");

/// Scripts, styles and connections of this site alone. Styles of elements carry sizes that are known at run time only.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' blob: data:; \
    media-src 'self' blob:; font-src 'self'; connect-src 'self' ws: wss:; manifest-src 'self'; worker-src 'self'; \
    base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// Answers with a file of the page; with the page itself for every address that it shows.
pub(crate) async fn serve(uri: Uri, replaced_by: Option<&Path>) -> Response {
    let path = uri.path().trim_start_matches('/');
    let is_file = path.rsplit('/').next().is_some_and(|name| name.contains('.'));
    let (name, cache) = match is_file {
        true if path.starts_with("assets/") => (path, "public, max-age=31536000, immutable"),
        true => (path, "no-cache"),
        false => ("index.html", "no-cache"),
    };
    let contents = match replaced_by {
        Some(folder) if !name.contains("..") => tokio::fs::read(folder.join(name)).await.ok(),
        Some(_) => None,
        None => BUILT.get_file(name).map(|file| file.contents().to_vec()),
    };
    let Some(contents) = contents else { return StatusCode::NOT_FOUND.into_response() };
    let headers: [(HeaderName, &str); 6] = [
        (CONTENT_TYPE, content_type(name)),
        (CACHE_CONTROL, cache),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("permissions-policy"), "camera=(self), microphone=(self), geolocation=()"),
    ];
    (headers, contents).into_response()
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript",
        Some("css") => "text/css",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("webp") => "image/webp",
        Some("woff2") => "font/woff2",
        Some("json" | "webmanifest") => "application/json",
        _ => "application/octet-stream",
    }
}
