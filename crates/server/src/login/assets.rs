//! The one stylesheet and the one script of the pages.

use axum::Router;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::response::IntoResponse;
use axum::routing::get;

/// `/login/style.css` and `/login/continue.js`.
pub(super) fn routes() -> Router {
    Router::new()
        .route("/login/style.css", get(|| async { asset("text/css; charset=utf-8", include_str!("style.css")) }))
        .route(
            "/login/continue.js",
            get(|| async { asset("text/javascript; charset=utf-8", include_str!("continue.js")) }),
        )
}

fn asset(media_type: &'static str, text: &'static str) -> impl IntoResponse {
    // An hour: after an upgrade a page may wear its old dress that long.
    let headers =
        [(CONTENT_TYPE, media_type), (CACHE_CONTROL, "public, max-age=3600"), (X_CONTENT_TYPE_OPTIONS, "nosniff")];
    (headers, text)
}
