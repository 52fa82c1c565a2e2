//! Rules of others on this host that keep hubs from the internet, though not from being walled: Docker, a firewall manager,
//! a hardened default.

use serde_json::Value;

use super::names::HOST_INTERFACE;
use crate::tool;

/// What stands in the way of the hubs of this host, whose network namespace the calling thread is in: sentences that say
/// what to do about it. It is told, not mended: who made these rules should know what passes by them.
pub fn obstacles() -> Vec<String> {
    let Some(tables) = listing(&["-j", "list", "tables"]) else { return Vec::new() };
    let tables =
        entries(&tables, "table").filter_map(|table| Some((table["family"].as_str()?, table["name"].as_str()?)));
    let foreign = tables.filter(|(family, name)| FAMILIES.contains(family) && !name.starts_with(OURS));
    let mut found: Vec<_> = foreign
        .filter_map(|(family, name)| in_table(&listing(&["-j", "list", "table", family, name])?, family, name))
        .collect();
    found.extend(in_legacy_tables());
    found
}

/// What a table does, as `nft -j` lists it.
fn in_table(table: &Value, family: &str, name: &str) -> Option<String> {
    let forwards = |chain: &&Value| chain["hook"] == "forward" && chain["type"] == "filter";
    let stops = entries(table, "chain").filter(forwards).find(|chain| drops(table, chain))?;
    let passes = |key| entries(table, "rule").any(|rule| lets_through(rule, key));
    let passes_back = || entries(table, "rule").any(lets_answers_through);
    if passes("iifname") && (passes("oifname") || passes_back()) {
        return None;
    }
    let has_docker = entries(table, "chain").any(|chain| chain["name"] == DOCKER_USER);
    let chain = stops["name"].as_str()?;
    Some(if has_docker { docker_sentence(&format!("{family} {name}")) } else { sentence(family, name, chain) })
}

/// Whether a chain lets nothing through that no rule of its table names: by its policy, or by its last rule.
fn drops(table: &Value, chain: &Value) -> bool {
    let last = || entries(table, "rule").filter(|rule| rule["chain"] == chain["name"]).last();
    let is_final = |rule: &Value| {
        let steps = rule["expr"].as_array().into_iter().flatten();
        let mut steps = steps.filter(|step| !PASSIVE.iter().any(|passive| step.get(passive).is_some())).peekable();
        steps.peek().is_some() && steps.all(|step| step.get("drop").is_some() || step.get("reject").is_some())
    };
    chain["policy"] == "drop" || last().is_some_and(is_final)
}

/// Whether a rule accepts what comes by the hubs' ways out, or goes there.
fn lets_through(rule: &Value, key: &str) -> bool {
    let steps = || rule["expr"].as_array().into_iter().flatten();
    let names_hubs = |step: &Value| {
        let names = |name: &Value| name.as_str().is_some_and(|name| name.starts_with(HOST_INTERFACE));
        step.pointer("/match/left/meta/key").is_some_and(|found| found == key)
            && step.pointer("/match/op").is_some_and(|operator| operator == "==")
            && step.pointer("/match/right").is_some_and(names)
    };
    steps().any(names_hubs) && steps().any(|step| step.get("accept").is_some())
}

/// Whether a rule accepts whatever belongs to a connection that was let through.
fn lets_answers_through(rule: &Value) -> bool {
    let steps = || rule["expr"].as_array().into_iter().flatten();
    let conditions: Vec<_> = steps().filter_map(|step| step.get("match")).collect();
    let is_state = |condition: &Value| condition.pointer("/left/ct/key").is_some_and(|key| key == "state");
    let is_established =
        |condition: &Value| condition.get("right").is_some_and(|states| states.to_string().contains("established"));
    matches!(conditions.as_slice(), [condition] if is_state(condition) && is_established(condition))
        && steps().any(|step| step.get("accept").is_some())
}

/// What the tables of before nftables do, which `nft` does not show.
fn in_legacy_tables() -> Option<String> {
    let names = std::fs::read_to_string("/proc/thread-self/net/ip_tables_names").ok()?;
    names.lines().find(|name| *name == "filter")?;
    let rules = tool::run("iptables-legacy", &["-S"], "").ok()?;
    let passes = |flag: &str| {
        rules.lines().any(|rule| rule.contains(&format!("{flag} {HOST_INTERFACE}")) && rule.ends_with("-j ACCEPT"))
    };
    let is_shut = rules.lines().any(|rule| rule == "-P FORWARD DROP") && !(passes("-i") && passes("-o"));
    is_shut.then(|| docker_sentence("filter (iptables-legacy)"))
}

fn docker_sentence(table: &str) -> String {
    format!(
        "the table '{table}' of this host drops what hubs send to the internet and nobody names, as Docker has it: run \
         'iptables -I {DOCKER_USER} -i {HOST_INTERFACE}+ -j ACCEPT' and 'iptables -I {DOCKER_USER} -o {HOST_INTERFACE}+ -j ACCEPT' \
         (chain FORWARD where there is no {DOCKER_USER}), and make it last over a reboot"
    )
}

fn sentence(family: &str, name: &str, chain: &str) -> String {
    let command = |key: &str| format!("'nft insert rule {family} {name} {chain} {key} \"{HOST_INTERFACE}*\" accept'");
    format!(
        "the chain '{chain}' of the table '{family} {name}' of this host drops what hubs send to the internet: run {} and {}, \
         and make it last over a reboot",
        command("iifname"),
        command("oifname"),
    )
}

fn listing(arguments: &[&str]) -> Option<Value> {
    // A table may have gone since it was named.
    serde_json::from_str(&tool::run("nft", arguments, "").ok()?).ok()
}

fn entries<'a>(listing: &'a Value, kind: &'a str) -> impl Iterator<Item = &'a Value> {
    let all = listing.get("nftables").and_then(Value::as_array).into_iter().flatten();
    all.filter_map(move |entry| entry.get(kind))
}

/// What hubs send is IPv4.
const FAMILIES: [&str; 2] = ["ip", "inet"];

/// How the names of our own tables begin.
const OURS: &str = "bastide_";

/// Docker's chain for rules of others; they come before its own.
const DOCKER_USER: &str = "DOCKER-USER";

/// What a rule does beside deciding.
const PASSIVE: [&str; 3] = ["counter", "log", "xt"];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn chain(name: &str, policy: &str) -> Value {
        json!({"chain": {"name": name, "type": "filter", "hook": "forward", "prio": 0, "policy": policy}})
    }

    fn rule(chain: &str, steps: &Value) -> Value {
        json!({"rule": {"chain": chain, "expr": steps}})
    }

    fn by_interface(key: &str, name: &str) -> Value {
        json!([
            {"match": {"op": "==", "left": {"meta": {"key": key}}, "right": name}},
            {"counter": {"packets": 0, "bytes": 0}},
            {"accept": null},
        ])
    }

    fn found(entries: &[Value]) -> Option<String> {
        in_table(&json!({"nftables": entries}), "ip", "filter")
    }

    #[test]
    fn a_policy_that_drops_is_told_until_hubs_pass_both_ways() {
        let docker = json!({"chain": {"name": "DOCKER-USER"}});
        let mut table = vec![chain("FORWARD", "drop"), docker, rule("FORWARD", &by_interface("iifname", "docker0"))];
        assert!(found(&table).unwrap().contains("iptables -I DOCKER-USER -i bas-u-+ -j ACCEPT"));
        table.push(rule("DOCKER-USER", &by_interface("iifname", "bas-u-*")));
        assert!(found(&table).is_some(), "answers do not come back");
        let mut with_state = table.clone();
        let answers = json!([
            {"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["established", "related"]}},
            {"accept": null},
        ]);
        with_state.push(rule("FORWARD", &answers));
        assert_eq!(found(&with_state), None);
        table.push(rule("DOCKER-USER", &by_interface("oifname", "bas-u-*")));
        assert_eq!(found(&table), None);
    }

    #[test]
    fn a_last_word_that_rejects_is_told_and_what_only_some_hear_is_not() {
        let reject = json!([{"counter": {"packets": 0, "bytes": 0}}, {"reject": {"type": "icmpx"}}]);
        let some =
            json!([{"match": {"op": "==", "left": {"meta": {"key": "iifname"}}, "right": "eth7"}}, {"drop": null}]);
        assert!(
            found(&[chain("forward", "accept"), rule("forward", &reject)])
                .unwrap()
                .contains("nft insert rule ip filter")
        );
        assert_eq!(found(&[chain("forward", "accept"), rule("forward", &some)]), None);
        assert_eq!(found(&[chain("forward", "accept")]), None);
    }
}
