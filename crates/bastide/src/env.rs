//! `bastide env`: shell lines that point a client at a Bastide. Standard output holds nothing else.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use crate::Outcome;
use crate::bootstrap::Bootstrap;
use crate::client::local;
use crate::data_directory::DataDirectory;
use crate::shell::{exports, quote};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The client to set up.
    #[arg(value_enum)]
    client: Client,
    /// The data directory of the Bastide.
    #[arg(long, env = "BASTIDE_DATA_DIR", hide_env_values = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Client {
    /// The Azure CLI: registers the cloud and logs in.
    Az,
    /// The Python SDKs (azure-ai-ml, azure-identity).
    Python,
    /// Terraform with the azurerm and azapi providers.
    Terraform,
    /// curl and the like: endpoint, certificate, token.
    Shell,
}

/// Prints the lines.
pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let (directory, bootstrap) = local(arguments.data_dir.as_deref())?;
    let lines = match arguments.client {
        Client::Az => az(&directory, &bootstrap),
        Client::Python => python(&directory, &bootstrap),
        Client::Terraform => terraform(&directory, &bootstrap),
        Client::Shell => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            shell(&bootstrap, &runtime.block_on(bootstrap.token(None))?)
        }
    };
    print!("{lines}");
    Ok(ExitCode::SUCCESS)
}

/// The recipe of `reference/wire-az-cli.md` section 1.
///
/// az gets a configuration directory of its own in the caller's home, unless one is chosen already: the everyday az stays
/// as it is. It is named after the endpoint and the tenant, because az caches login addresses and tokens in it. (Not in
/// the data directory: az keeps the client secret there in the clear.) Registering fails when the cloud is known, then it
/// is updated. The authority ends in `/adfs` because for any other one msal first asks Microsoft whether it knows the
/// host.
fn az(directory: &Path, bootstrap: &Bootstrap) -> String {
    let endpoint = &bootstrap.endpoint;
    let host: String = endpoint
        .trim_start_matches("https://")
        .chars()
        .map(|letter| if letter.is_ascii_alphanumeric() || letter == '.' { letter } else { '_' })
        .collect();
    let own = format!("$HOME/.local/state/bastide/az/{host}-{}", bootstrap.tenant_id.simple());
    let mut lines = format!("export AZURE_CONFIG_DIR=\"${{AZURE_CONFIG_DIR:-{own}}}\"\n");
    lines += &exports(&[
        ("REQUESTS_CA_BUNDLE", &DataDirectory::trust_file(directory).to_string_lossy()),
        ("AZURE_CORE_COLLECT_TELEMETRY", "false"),
    ]);
    let endpoints = format!(
        "-n Bastide --endpoint-resource-manager {} --endpoint-active-directory {} --only-show-errors -o none",
        quote(endpoint),
        quote(&format!("{endpoint}/adfs")),
    );
    let login = format!(
        "-u {} -p {} --tenant {}",
        quote(&bootstrap.client_id.to_string()),
        quote(&bootstrap.client_secret),
        quote(&bootstrap.tenant_id.to_string()),
    );
    let subscription = quote(&bootstrap.subscription_id.to_string());
    for command in [
        &format!("az cloud register {endpoints} 2>/dev/null || az cloud update {endpoints}"),
        "az cloud set -n Bastide --only-show-errors -o none",
        &format!("az login --service-principal {login} --only-show-errors -o none"),
        &format!("az account set -s {subscription} --only-show-errors -o none"),
    ] {
        lines.push_str(command);
        lines.push('\n');
    }
    lines
}

/// The settings of `reference/wire-azure-ai-ml.md` section 1.
///
/// The one source of tokens is `EnvironmentCredential`, the first that `DefaultAzureCredential` tries, with "adfs" for a
/// tenant: with a real tenant id azure-identity asks login.microsoftonline.com about our host and fails without internet.
/// The managed-identity variables would work too but stand for an identity of a compute, not for this client.
/// `AZUREML_CURRENT_CLOUD` makes the SDK stop where it would otherwise fall back to the public cloud without a word.
fn python(directory: &Path, bootstrap: &Bootstrap) -> String {
    exports(&[
        ("ARM_CLOUD_METADATA_URL", &format!("{}/metadata/endpoints?api-version=2019-05-01", bootstrap.endpoint)),
        ("AZUREML_CURRENT_CLOUD", "Bastide"),
        ("REQUESTS_CA_BUNDLE", &DataDirectory::trust_file(directory).to_string_lossy()),
        ("AZURE_AUTHORITY_HOST", &bootstrap.endpoint),
        ("AZURE_TENANT_ID", "adfs"),
        ("AZURE_CLIENT_ID", &bootstrap.client_id.to_string()),
        ("AZURE_CLIENT_SECRET", &bootstrap.client_secret),
        ("AZURE_SUBSCRIPTION_ID", &bootstrap.subscription_id.to_string()),
    ])
}

/// azurerm finds every endpoint through `ARM_METADATA_HOSTNAME`; azapi is told the three it needs, and not to ask
/// Microsoft about the authority (its 2.4.0 does not read that variable yet). `reference/infrastructure-as-code.md` 5.
fn terraform(directory: &Path, bootstrap: &Bootstrap) -> String {
    exports(&[
        ("ARM_METADATA_HOSTNAME", bootstrap.endpoint.trim_start_matches("https://")),
        ("ARM_RESOURCE_MANAGER_ENDPOINT", &bootstrap.endpoint),
        ("ARM_RESOURCE_MANAGER_AUDIENCE", &bootstrap.endpoint),
        ("ARM_ACTIVE_DIRECTORY_AUTHORITY_HOST", &bootstrap.endpoint),
        ("ARM_DISABLE_INSTANCE_DISCOVERY", "true"),
        ("ARM_TENANT_ID", &bootstrap.tenant_id.to_string()),
        ("ARM_CLIENT_ID", &bootstrap.client_id.to_string()),
        ("ARM_CLIENT_SECRET", &bootstrap.client_secret),
        ("ARM_SUBSCRIPTION_ID", &bootstrap.subscription_id.to_string()),
        ("SSL_CERT_FILE", &DataDirectory::trust_file(directory).to_string_lossy()),
    ])
}

fn shell(bootstrap: &Bootstrap, token: &str) -> String {
    exports(&[
        ("BASTIDE_ENDPOINT", &bootstrap.endpoint),
        ("BASTIDE_CA_FILE", &bootstrap.ca_file.to_string_lossy()),
        ("BASTIDE_TOKEN", token),
        ("BASTIDE_SUBSCRIPTION", &bootstrap.subscription_id.to_string()),
    ])
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use uuid::Uuid;

    use super::*;

    fn bootstrap() -> Bootstrap {
        Bootstrap {
            endpoint: "https://localhost:8443".to_owned(),
            ca_file: "/data/pki/ca.pem".into(),
            tenant_id: Uuid::from_u128(1),
            subscription_id: Uuid::from_u128(2),
            client_id: Uuid::from_u128(3),
            client_secret: "it's $HOME `here`".to_owned(),
            portal_url: "https://localhost:8443/portal".to_owned(),
            admin_user: "admin@bastide.localhost".to_owned(),
            admin_password: "unused".to_owned(),
        }
    }

    const HOME: [(&str, &str); 2] = [("PATH", "/usr/bin:/bin"), ("HOME", "/home/m ei")];

    /// Evaluates the lines in a shell that has only a stand-in for az, and prints what `after` prints.
    fn evaluate(lines: &str, after: &str) -> String {
        let script = format!("az() {{ echo \"az $*\"; }}\nset -eu\n{lines}{after}");
        let output = Command::new("sh").arg("-c").arg(script).env_clear().envs(HOME).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn az_lines_register_log_in_and_choose_the_subscription() {
        let lines = az(Path::new("/da ta/$x"), &bootstrap());
        let printed = evaluate(&lines, "echo \"in $AZURE_CONFIG_DIR\"");
        assert!(printed.contains("--endpoint-active-directory https://localhost:8443/adfs"), "{printed}");
        assert!(printed.contains("-p it's $HOME `here` --tenant 00000000-0000-0000-0000-000000000001"), "{printed}");
        assert!(printed.contains("az account set -s 00000000-0000-0000-0000-000000000002"), "{printed}");
        let own = "in /home/m ei/.local/state/bastide/az/localhost_8443-00000000000000000000000000000001\n";
        assert!(printed.contains(own), "{printed}");
    }

    #[test]
    fn az_keeps_a_configuration_directory_that_was_chosen() {
        let lines = format!("AZURE_CONFIG_DIR=/mine\n{}", az(Path::new("/data"), &bootstrap()));
        assert!(evaluate(&lines, "echo \"in $AZURE_CONFIG_DIR\"").contains("in /mine\n"));
    }

    #[test]
    fn a_registered_cloud_is_updated() {
        let failing = "az() { echo \"az $*\"; [ \"$2\" != register ]; }\n";
        let printed = evaluate(&format!("{failing}{}", az(Path::new("/data"), &bootstrap())), "");
        assert!(printed.contains("az cloud update -n Bastide"), "{printed}");
    }

    #[test]
    fn every_variable_arrives_as_it_is() {
        let data = Path::new("/data");
        for (lines, variable, value) in [
            (python(data, &bootstrap()), "AZURE_CLIENT_SECRET", "it's $HOME `here`"),
            (python(data, &bootstrap()), "AZURE_TENANT_ID", "adfs"),
            (terraform(data, &bootstrap()), "ARM_METADATA_HOSTNAME", "localhost:8443"),
            (terraform(data, &bootstrap()), "SSL_CERT_FILE", "/data/pki/trust.pem"),
            (shell(&bootstrap(), "a.b.c"), "BASTIDE_TOKEN", "a.b.c"),
        ] {
            assert_eq!(evaluate(&lines, &format!("printf %s \"${variable}\"")), value);
        }
    }
}
