//! What would happen to a connection, and why, by the very functions that decide about it.

use std::net::{Ipv4Addr, Ipv6Addr};

use bastide_inspect::{Name, NameError};
use bastide_plan::RuleName;
use bastide_plan::explanation::{Explanation, Question, Suggestion};
use bastide_plan::flow::FlowKind;
use bastide_plan::hub_plan::{Action, NameRule, PrefixRule, Protocol};
use bastide_plan::packet::{Packet, PacketVerdict};
use bastide_plan::policy::{AddressVerdict, NameVerdict};

use crate::resolver::Resolver;
use crate::resolver::lookup::{Leads, leads};
use crate::resolver::reading::End;
use crate::resolver::verdict::refused_name;
use crate::view::View;

/// Something that is not let through, and what would let it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// Why not; part of a sentence.
    pub reason: String,
    /// What to do; part of a sentence.
    pub advice: String,
    /// What to add. None: nothing would help.
    pub suggestion: Option<Suggestion>,
}

/// Says what would happen to a connection.
pub fn explain(view: &View, resolver: &Resolver, question: &Question) -> Explanation {
    let port = question.port.unwrap_or(HTTPS);
    if let Some(compute) = &question.compute
        && !view.legs().any(|leg| leg.name.eq_ignore_ascii_case(compute))
    {
        let mut computes: Vec<_> = view.legs().map(|leg| leg.name.as_str()).collect();
        computes.sort_unstable();
        let known =
            if computes.is_empty() { "has none that runs".to_owned() } else { format!("has {}", computes.join(", ")) };
        return denied(None, format!("Hub '{}' has no compute '{compute}'; it {known}.", view.hub()));
    }
    let to = question.to.trim();
    let literal = to.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(to);
    match (literal.parse::<Ipv4Addr>(), literal.parse::<Ipv6Addr>(), Name::parse(to)) {
        (Ok(address), ..) => explain_address(view, resolver, address, port),
        (_, Ok(_), _) => denied(None, "Hubs have no IPv6; name the host, or give an IPv4 address.".to_owned()),
        (.., Ok(name)) => Explanation { addresses: resolver.told(&name), ..explain_name(view, resolver, &name, port) },
        (.., Err(NameError::Address)) => denied(
            None,
            format!("'{to}' is a way to write an address that the wall does not read; write it in four parts."),
        ),
        (.., Err(error)) => denied(None, format!("'{to}' is not the name of a host: {error}")),
    }
}

/// Why a name is not resolved, and what would let it through.
pub fn missing_name(view: &View, name: &Name) -> Missing {
    let hub = view.hub();
    let missing = |reason: String, advice: String| Missing { reason, advice, suggestion: None };
    if name.labels().count() == 1 {
        let reason = format!("'{name}' is one word, and no rule of hub '{hub}' names it");
        return missing(reason, "ask for the whole name of the host".to_owned());
    }
    if let Some(whole) = before_search_domain(view, name) {
        let reason =
            format!("no rule of hub '{hub}' approves '{name}', which is '{whole}' with a search domain behind it");
        return missing(reason, format!("'{whole}' itself is approved"));
    }
    if is_storage(name) {
        let reason = format!("no rule of hub '{hub}' approves '{name}', and storage accounts are not approved by name");
        return missing(reason, format!("add a private endpoint for the storage account to hub '{hub}'"));
    }
    let reason = match view.policy.rule_below(name) {
        Some(rule) => {
            format!("rule '{}' of hub '{hub}' approves the names below '{name}', not that name itself", rule.rule)
        }
        None => format!("no rule of hub '{hub}' approves '{name}'"),
    };
    let suggestion = Suggestion { rule_type: FQDN.to_owned(), destination: name.to_string(), port: None };
    Missing { reason, advice: format!("add an FQDN rule for '{name}' to hub '{hub}'"), suggestion: Some(suggestion) }
}

/// Why a packet is refused, and what would let it through. `name` is one that leads to the address, if any does.
pub fn missing_address(view: &View, kind: FlowKind, address: Ipv4Addr, port: u16, name: Option<&Name>) -> Missing {
    let plan = view.policy.rest();
    let hub = view.hub();
    let missing = |reason: String, advice: &str| Missing { reason, advice: advice.to_owned(), suggestion: None };
    if address == plan.gateway() {
        let reason =
            format!("nothing that computes may reach listens at port {port} of {address}, the gateway of hub '{hub}'");
        return missing(reason, "the gateway answers names (port 53) and the services of Bastide");
    }
    if plan.endpoints.iter().any(|endpoint| endpoint.address == address) {
        let reason = format!("the private endpoint at {address} does not listen at port {port}");
        return missing(reason, "use one of its ports");
    }
    if view.leg(address).is_some() || plan.subnet.contains(&address) {
        let reason = format!("{address} is inside hub '{hub}', whose computes do not reach each other");
        return missing(reason, "exchange data through a service that both may reach");
    }
    if let Some(class) = view.filter.refuses(address.into()) {
        let advice = "only a private endpoint reaches such an address";
        return missing(format!("{address} is {class}"), advice);
    }
    if view.policy.is_foreign_resolver(port) && kind != FlowKind::Icmp {
        let reason = format!("port {port} is for questions about names, which only the hub's resolver answers");
        return missing(reason, &format!("ask {}", plan.gateway()));
    }
    let protocol = match kind {
        FlowKind::Udp if port == HTTPS && name.is_some() => {
            return missing(
                format!("QUIC (UDP 443) to {address} is not let through by name"),
                "use TCP, as clients do by themselves",
            );
        }
        FlowKind::Udp => "UDP",
        FlowKind::Icmp => "ICMP",
        FlowKind::Other => {
            return missing(
                format!("only TCP, UDP and ICMP pass, and this to {address} is neither"),
                "use one of them",
            );
        }
        FlowKind::Dns | FlowKind::Tls | FlowKind::Http | FlowKind::Relay | FlowKind::Tcp => "TCP",
    };
    let has_port = kind != FlowKind::Icmp;
    let what = if has_port { format!("{protocol} port {port}") } else { protocol.to_owned() };
    let known_as = name.map(|name| format!(" ({name})")).unwrap_or_default();
    let suggestion = Suggestion {
        rule_type: SERVICE_TAG.to_owned(),
        destination: format!("{address}/32"),
        port: has_port.then_some(port),
    };
    Missing {
        reason: format!("no rule of hub '{hub}' approves {what} to {address}{known_as}"),
        advice: format!("add a ServiceTag rule with the address prefix {address}/32 for {what} to hub '{hub}'"),
        suggestion: Some(suggestion),
    }
}

/// Why a port is refused whose name is approved.
pub fn approves_only(rule: &NameRule) -> String {
    format!("Rule '{}' approves '{}' for {} only.", rule.rule, rule.pattern, rule_ports(rule))
}

/// Makes a sentence of why and what to do.
pub fn sentence(reason: &str, advice: &str) -> String {
    capital(&format!("{reason}; {advice}"))
}

/// Makes a sentence of words.
pub fn capital(words: &str) -> String {
    let mut letters = words.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", letters.as_str())
}

fn explain_name(view: &View, resolver: &Resolver, name: &Name, port: u16) -> Explanation {
    if let Some(refusal) = refused_name(view, name) {
        let suggestion = matches!(view.policy.resolve(name), NameVerdict::Refused)
            .then(|| missing_name(view, name).suggestion)
            .flatten();
        let suggestion = suggestion
            .map(|suggestion| Suggestion { port: (port != HTTP && port != HTTPS).then_some(port), ..suggestion });
        return Explanation { suggestion, ..denied(None, sentence(&refusal.reason, &refusal.advice)) };
    }
    let verdict = view.policy.connect(name, port);
    if view.policy.is_foreign_resolver(port) && !matches!(verdict, NameVerdict::Endpoint(_) | NameVerdict::Service(_)) {
        let gateway = view.policy.rest().gateway();
        let reason = format!("port {port} is for questions about names, which only the hub's resolver answers");
        return denied(None, sentence(&reason, &format!("ask {gateway}")));
    }
    match verdict {
        NameVerdict::Endpoint(endpoint) => match view.policy.relay(endpoint.address, port) {
            Some(relay) if relay.target.is_some() => allowed(
                Some(&endpoint.rule),
                format!("'{name}' is a private endpoint of the hub, at {}.", endpoint.address),
            ),
            Some(_) => {
                let reason = format!("'{name}' is a private endpoint of the hub, and no service stands behind it yet.");
                denied(Some(&endpoint.rule), reason)
            }
            None => {
                let ports: Vec<_> = endpoint.ports.iter().map(ToString::to_string).collect();
                let reason = format!("'{name}' is a private endpoint of the hub, for {} only.", ports_of(&ports));
                denied(Some(&endpoint.rule), reason)
            }
        },
        NameVerdict::Service(service) if view.policy.relay(view.policy.rest().gateway(), port).is_some() => {
            allowed(None, format!("'{}' is a service of Bastide that every compute may reach.", service.name))
        }
        NameVerdict::Service(service) => {
            denied(None, format!("'{}' is a service of Bastide, for port {} only.", service.name, service.port))
        }
        NameVerdict::Rule(rule) => {
            let said = format!("Rule '{}' approves '{}' for {}.", rule.rule, rule.pattern, rule_ports(rule));
            where_it_leads(view, resolver, name, port, Some(&rule.rule), said)
        }
        NameVerdict::Open => {
            let said = format!("Isolation of hub '{}' leaves the internet open.", view.hub());
            where_it_leads(view, resolver, name, port, None, said)
        }
        // The name is approved, or it would not be resolved; the port is not, except by what a rule says of addresses.
        NameVerdict::Refused => {
            if let Some((address, rule)) = opened(view, &addresses(view, resolver, name), port) {
                return allowed(Some(&rule.rule), opens(rule, address, name));
            }
            let (rule, said) = match view.policy.resolve(name) {
                NameVerdict::Rule(rule) => (Some(&rule.rule), approves_only(rule)),
                _ => (None, format!("No rule of hub '{}' approves '{name}'.", view.hub())),
            };
            let suggestion = Suggestion { rule_type: FQDN.to_owned(), destination: name.to_string(), port: Some(port) };
            Explanation { suggestion: Some(suggestion), ..denied(rule, said) }
        }
    }
}

/// Adds what is known of a name's addresses to a verdict that lets it through.
fn where_it_leads(
    view: &View,
    resolver: &Resolver,
    name: &Name,
    port: u16,
    rule: Option<&RuleName>,
    said: String,
) -> Explanation {
    let Some(outcome) = resolver.remembered(name) else { return allowed(rule, said) };
    let known = match outcome {
        Ok(known) => known,
        Err(failure) => return allowed(rule, format!("{said} But when it was last asked for, {failure}.")),
    };
    match leads(view, &known) {
        Leads::To(_, addresses) => {
            let denies = |address: &Ipv4Addr| match view.policy.address(*address, Protocol::Tcp, port) {
                AddressVerdict::Rule(rule) if rule.action == Action::Deny => Some(&rule.rule),
                _ => None,
            };
            match addresses.iter().map(denies).collect::<Option<Vec<_>>>().and_then(|rules| rules.first().copied()) {
                Some(denying) => {
                    let first = addresses.first().map(ToString::to_string).unwrap_or_default();
                    denied(Some(denying), format!("{said} But it leads to {first}, which rule '{denying}' denies."))
                }
                None => match opened(view, &addresses, port) {
                    Some((address, rule)) => allowed(Some(&rule.rule), opens(rule, address, name)),
                    None => allowed(rule, said),
                },
            }
        }
        Leads::Own(_, address) => {
            allowed(rule, format!("{said} It is an alias of a private endpoint of the hub, at {address}."))
        }
        Leads::Astray(address, class) => {
            denied(rule, format!("{said} But it leads to {address}, {class}; only a private endpoint reaches that."))
        }
        Leads::Nowhere if known.end == End::NoName => allowed(rule, format!("{said} But the name does not exist.")),
        Leads::Nowhere => allowed(rule, format!("{said} But the name has no IPv4 address.")),
    }
}

/// Where a name leads, as far as it is remembered.
fn addresses(view: &View, resolver: &Resolver, name: &Name) -> Vec<Ipv4Addr> {
    match resolver.remembered(name) {
        Some(Ok(known)) => match leads(view, &known) {
            Leads::To(_, addresses) => addresses,
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// The first address that a rule opens, whatever name a connection shows: the kernel does not ask for one.
fn opened<'a>(view: &'a View, addresses: &[Ipv4Addr], port: u16) -> Option<(Ipv4Addr, &'a PrefixRule)> {
    addresses.iter().find_map(|address| {
        let packet = Packet { address: *address, protocol: Some(Protocol::Tcp), port };
        match view.policy.packet(&view.filter, packet) {
            PacketVerdict::Rule(rule) if rule.action == Action::Allow => Some((*address, rule)),
            _ => None,
        }
    })
}

fn opens(rule: &PrefixRule, address: Ipv4Addr, name: &Name) -> String {
    format!("Rule '{}' approves {address}, to which '{name}' leads.", rule.rule)
}

fn explain_address(view: &View, resolver: &Resolver, address: Ipv4Addr, port: u16) -> Explanation {
    let name = resolver.name_of(address);
    let missing = missing_address(view, FlowKind::Tcp, address, port, name.as_ref());
    match view.policy.packet(&view.filter, Packet { address, protocol: Some(Protocol::Tcp), port }) {
        PacketVerdict::Resolver => {
            allowed(None, format!("{address} is the gateway of hub '{}', where its resolver answers.", view.hub()))
        }
        PacketVerdict::Relay(relay) if relay.target.is_some() => {
            allowed(relay.rule, format!("{address} is an address of hub '{}' that computes may reach.", view.hub()))
        }
        PacketVerdict::Relay(relay) => {
            let reason = format!(
                "{address} is a private endpoint of hub '{}', and no service stands behind it yet.",
                view.hub()
            );
            denied(relay.rule, reason)
        }
        PacketVerdict::Inside
        | PacketVerdict::Unreachable(_)
        | PacketVerdict::Protocol
        | PacketVerdict::ForeignResolver => denied(None, sentence(&missing.reason, &missing.advice)),
        PacketVerdict::Rule(rule) => match rule.action {
            Action::Allow => allowed(Some(&rule.rule), format!("Rule '{}' approves {address}.", rule.rule)),
            Action::Deny => denied(Some(&rule.rule), format!("Rule '{}' denies {address}.", rule.rule)),
        },
        PacketVerdict::Open => allowed(None, format!("Isolation of hub '{}' leaves the internet open.", view.hub())),
        PacketVerdict::Named | PacketVerdict::Refused => {
            if let Some((name, rule)) = view.approved_for(resolver, address, port) {
                let said = format!(
                    "Rule '{rule}' approves port {port} of '{name}', which was found at {address}. A connection that shows \
                     another name is refused."
                );
                return allowed(Some(&rule), said);
            }
            let by_name = name.filter(|name| matches!(view.policy.connect(name, port), NameVerdict::Rule(_)));
            let reason = match by_name {
                Some(name) => {
                    let reason = format!("{address} is approved only for connections that show the name '{name}'");
                    sentence(&reason, "connect by that name")
                }
                None => sentence(&missing.reason, &missing.advice),
            };
            Explanation { suggestion: missing.suggestion, ..denied(None, reason) }
        }
    }
}

fn allowed(rule: Option<&RuleName>, reason: String) -> Explanation {
    Explanation { allowed: true, rule: rule.cloned(), reason, suggestion: None, addresses: Vec::new() }
}

fn denied(rule: Option<&RuleName>, reason: String) -> Explanation {
    Explanation { allowed: false, rule: rule.cloned(), reason, suggestion: None, addresses: Vec::new() }
}

fn rule_ports(rule: &NameRule) -> String {
    let ports: Vec<_> = rule.ports.iter().map(ToString::to_string).collect();
    ports_of(&ports)
}

fn ports_of(ports: &[String]) -> String {
    match ports {
        [] => "no port".to_owned(),
        [port] => format!("port {port}"),
        [ports @ .., last] => format!("ports {} and {last}", ports.join(", ")),
    }
}

/// The approved name that `name` begins with, when what follows is a search domain of the asking client.
fn before_search_domain(view: &View, name: &Name) -> Option<Name> {
    let whole = name.as_str();
    let ends = whole.match_indices('.').map(|(end, _)| end).skip(1).take(MAX_SEARCHED);
    let begins = ends.filter_map(|end| Name::parse(whole.get(..end)?).ok());
    begins.filter(|begin| !matches!(view.policy.resolve(begin), NameVerdict::Refused | NameVerdict::Open)).last()
}

/// Storage accounts are not approved by name in approved mode (mission.md G10).
fn is_storage(name: &Name) -> bool {
    let mut labels = name.labels().rev();
    let is_cloud = labels.by_ref().take(3).eq(["net", "windows", "core"]);
    is_cloud && labels.next().is_some_and(|service| STORAGE_SERVICES.contains(&service))
}

const FQDN: &str = "FQDN";
const SERVICE_TAG: &str = "ServiceTag";
const STORAGE_SERVICES: [&str; 6] = ["blob", "dfs", "file", "queue", "table", "web"];

const HTTP: u16 = 80;
const HTTPS: u16 = 443;

/// Beginnings of a name that are looked at for search domains.
const MAX_SEARCHED: usize = 8;

#[cfg(test)]
mod tests;
