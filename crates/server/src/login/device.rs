use super::Login;
pub(super) async fn show(_: axum::extract::State<Login>) {}
pub(super) async fn submit(_: axum::extract::State<Login>) {}
