//! The host that speaks TLS: nginx, with a certificate of its own for P-256 (egress.md 1).

use std::path::Path;
use std::process::Child;
use std::time::Duration;
use std::{fs, thread};

use crate::peers::{end, find_program, spawn};
use crate::server::{TLS, find};

/// nginx in the internet of a lab. Dropping it ends it.
pub struct Site(Child);

impl Site {
    /// None, and a sentence about it, when nginx is not installed.
    pub fn start(lab: &str, directory: &Path) -> Option<Self> {
        let Some(program) = find_program("nginx") else {
            println!("TLS is not measured: nginx is missing (Debian: nginx)");
            return None;
        };
        let certified = rcgen::generate_simple_self_signed([TLS.to_owned()]).unwrap();
        let (key, certificate) = (certified.signing_key.serialize_pem(), certified.cert.pem());
        fs::write(directory.join("site.pem"), format!("{key}{certificate}")).unwrap();
        let (place, address) = (directory.display(), find(TLS).address);
        let configuration = format!(
            "daemon off; worker_processes 2; pid {place}/site.pid; error_log {place}/site.log;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000000; default_type text/plain;
  server {{
    listen {address}:443 ssl reuseport; ssl_certificate {place}/site.pem; ssl_certificate_key {place}/site.pem;
    location / {{ return 200 \"{}\"; }}
  }}
}}
",
            "x".repeat(128)
        );
        let file = directory.join("site.conf");
        fs::write(&file, configuration).unwrap();
        let child = spawn(&format!("{lab}s"), &program, &["-c", file.to_str().unwrap()], &directory.join("site.out"));
        thread::sleep(Duration::from_millis(300));
        Some(Self(child))
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        end(&mut self.0);
    }
}
