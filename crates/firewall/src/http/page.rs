//! What is said to a client in place of a response.

/// A response of our own, for people to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Page {
    status: &'static str,
    text: String,
}

impl Page {
    /// No rule lets the host through.
    pub fn forbidden(reason: &str) -> Self {
        Self::new("403 Forbidden", reason)
    }

    /// The request could be read in two ways, or in none.
    pub fn bad_request(reason: &str) -> Self {
        Self::new("400 Bad Request", reason)
    }

    /// The far side did not answer, or not in HTTP.
    pub fn bad_gateway(reason: &str) -> Self {
        Self::new("502 Bad Gateway", reason)
    }

    /// The compute or its hub has too many connections.
    pub fn too_many(reason: &str) -> Self {
        Self::new("503 Service Unavailable", reason)
    }

    /// As it is sent. Nobody may take it for the host's, or keep it.
    pub fn write(&self) -> Vec<u8> {
        format!(
            "HTTP/1.1 {}\r\nServer: Bastide\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\
             Cache-Control: no-store\r\nConnection: close\r\n\r\n{}",
            self.status,
            self.text.len(),
            self.text
        )
        .into_bytes()
    }

    fn new(status: &'static str, reason: &str) -> Self {
        Self { status, text: format!("Bastide: {reason}\n") }
    }
}
