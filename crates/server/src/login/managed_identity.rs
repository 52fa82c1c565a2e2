use super::Login;
pub(super) async fn token(_: axum::extract::State<Login>) {}
