//! What goes wrong around a wall.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bastide_plan::hub_plan::{Action, Protocol};
use bastide_plan::report::WallState;

use crate::flows;
use crate::support::{assert_refused, hub, next, on_a_host, prefix, shell, within};

/// On a busy machine.
const SOON: Duration = Duration::from_secs(30);

#[test]
fn a_full_disk_opens_nothing_stops_nothing_and_is_told() {
    on_a_host(|lab| {
        let lab = lab.with_disk(512, flows::command());
        for port in [22, 23] {
            lab.internet.serve(port);
        }
        let lake = prefix("lake", Action::Allow, Protocol::Tcp, "203.0.113.0/24", &[(22, 22)]);
        let plan = next(hub(1), |plan| plan.prefixes = vec![lake]);
        lab.apply(&plan);
        let inside = lab.attach(&plan, "a");
        let filling = lab.directory.path().join("filling");
        shell(&format!("dd if=/dev/zero of={0} bs=1k 2> /dev/null || test -s {0}", filling.display()));
        // What cannot be kept is not put in force, and says why; what was in force goes on.
        let wider = next(plan, |plan| plan.prefixes[0].ports[0].last = 23);
        let WallState::Shut { reason } = lab.try_apply(&wider).wall else { panic!("it was kept") };
        assert!(reason.contains("No space left"), "{reason}");
        assert_eq!(inside.connect("203.0.113.7:22").unwrap(), "198.18.0.1");
        assert_refused(inside.connect("203.0.113.7:23"));
        // The flow log counts what it loses, and nobody waits for it.
        within(SOON, "losses are counted", || {
            assert_refused(inside.connect("203.0.113.7:24"));
            lab.flows(&wider).dropped > 0
        });
        std::fs::remove_file(filling).unwrap();
        within(SOON, "it is in force", || lab.report(&wider).stamp == Some(wider.stamp));
        assert_eq!(inside.connect("203.0.113.7:23").unwrap(), "198.18.0.1");
        within(SOON, "the log goes on", || {
            assert_refused(inside.connect("203.0.113.7:25"));
            lab.flows(&wider).records.iter().any(|record| record.port == 25)
        });
    });
}

#[test]
fn a_resolver_of_the_host_that_moves_is_followed_and_the_old_one_is_out_of_reach() {
    on_a_host(|lab| {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("resolv.conf");
        let say = |address: &str| std::fs::write(&file, format!("nameserver {address}\n")).unwrap();
        say("198.18.0.2");
        shell(&format!("mount --bind {} /etc/resolv.conf", file.display()));
        let heard = lab.internet.echo(53);
        let lab = lab.with_resolvers_of_the_host();
        let plan = hub(1);
        lab.apply(&plan);
        let inside = lab.attach(&plan, "a");
        assert_eq!(inside.tell_firewall("upstream"), "answered\n");
        assert!(!inside.tell_firewall("upstream 203.0.113.7:53").contains("answered"));
        let before = heard.load(Ordering::SeqCst);
        say("203.0.113.7");
        within(SOON, "the new one is spoken to, and the old one is not", || {
            inside.tell_firewall("upstream 203.0.113.7:53") == "answered\n"
                && !inside.tell_firewall("upstream 198.18.0.2:53").contains("answered")
        });
        assert_eq!(inside.tell_firewall("upstream"), "answered\n");
        assert!(heard.load(Ordering::SeqCst) > before);
    });
}
