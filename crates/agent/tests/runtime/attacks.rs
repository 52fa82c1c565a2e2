//! What whoever has an instance may try from inside: as its user, as its root, and with system calls of their own.

use std::fs;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use bastide_agent::compute::runtime::{Observed, Order, RuntimeError, SHARE_USERS, Target};
use bastide_plan::compute_plan::Share;
use bastide_plan::way_in::{Account, Exit, Process};
use uuid::Uuid;

use crate::support::{finish, leftovers, process, read_until, shell, until, with_oci};

#[test]
fn root_inside_is_nobody() {
    with_oci(|stage| {
        let order = stage.running();
        for attempt in [
            "mount -t tmpfs none /tmp",
            "mount -t proc none /tmp",
            "mount -t cgroup none /tmp",
            "mount -o bind / /tmp",
            "mount -o remount,rw /proc/sys",
            "umount /proc/kcore",
            "umount /run/init",
            "mknod /tmp/disk b 7 0",
            "mknod /tmp/memory c 1 1",
            "chroot / true",
            "pivot_root / /tmp",
            "hostname evil",
            "date -s 2001-01-01; test $(date +%Y) = 2001",
            "dmesg",
            "unshare -U true",
            "unshare -m true",
            "unshare -n true",
            "nsenter -t 1 -m true",
            "echo 1 > /proc/sys/kernel/core_pattern",
            "echo 1 > /proc/sys/net/ipv4/ip_forward",
            "echo b > /proc/sysrq-trigger",
            "echo -1000 > /proc/self/oom_score_adj",
            "echo 0 100000 1 > /proc/self/uid_map",
            "mkdir /sys/fs/cgroup/mine",
            "mkdir /sys/fs/cgroup/memory/mine",
            "echo $$ > /sys/fs/cgroup/memory/cgroup.procs",
            "echo -1 > /sys/fs/cgroup/memory/memory.limit_in_bytes",
            "echo 1 > /sys/devices/system/cpu/cpu1/online",
            "ip link set lo down",
            "ip link add evil type dummy",
            "ip address add 10.9.9.9/32 dev lo",
            "ip route add 10.9.9.0/24 dev lo",
            "ping -c 1 -W 1 127.0.0.1",
            "arping -c 1 -I lo 127.0.0.1",
            "echo evil > /etc/resolv.conf",
            "echo evil > /etc/hosts",
            "rm -f /etc/resolv.conf && ! test -e /etc/resolv.conf",
            "mv /etc/hosts /etc/others",
            "kill -9 1 && sleep 0.1 && ! test -d /proc/1",
            "swapon /tmp",
            "losetup /dev/loop0 /etc/passwd",
            "insmod /bin/busybox",
            "su azureuser -c true",
            "nice -n -5 true && test $(nice -n -5 nice) = -5",
        ] {
            let (_, exit) = stage.say_as(&order, Account::Root, &format!("({attempt}) 2>/dev/null"));
            assert_ne!(exit, Exit::Status(0), "{attempt}");
        }
        assert_eq!(stage.runtime.observe(order.instance.compute).unwrap(), Observed::Running);
        assert_eq!(stage.say(&order, "hostname").0, "workbench\n");
    });
}

#[test]
fn nothing_of_the_node_is_seen() {
    with_oci(|stage| {
        let order = stage.running();
        let root = |command: &str| stage.say_as(&order, Account::Root, command).0;
        assert_eq!(
            root("for f in /proc/kcore /proc/keys /proc/kallsyms /proc/timer_list; do cat $f 2>/dev/null; done"),
            ""
        );
        // Its own processes, and no others.
        assert!(root("ls -d /proc/[0-9]* | wc -l").trim().parse::<u32>().unwrap() < 6);
        let devices = root("ls /dev");
        assert_eq!(devices.split_whitespace().filter(|device| *device != "core").collect::<Vec<_>>(), DEVICES);
        assert_eq!(root("ls /sys").split_whitespace().collect::<Vec<_>>(), ["devices"]);
        assert_eq!(
            root("grep -c . /proc/self/cgroup; cut -d: -f3 /proc/self/cgroup | sort -u").lines().last(),
            Some("/")
        );
        // The image is nobody's to change, and its files belong to whom they say.
        assert_eq!(root("cat /etc/of-root; stat -c %u /etc/of-root"), "for root alone0\n");
        assert_ne!(stage.say(&order, "cat /etc/of-root").1, Exit::Status(0));
        assert_eq!(root("echo changed > /etc/of-root; cat /etc/of-root"), "changed\n");
        assert_eq!(fs::read_to_string(stage.image().join("etc/of-root")).unwrap(), "for root alone");
    });
}

#[test]
fn a_setuid_file_gives_nothing() {
    with_oci(|stage| {
        let order = stage.running();
        assert_eq!(stage.say(&order, "busybox-setuid id -u").0, "1000\n");
        // Neither does one of their own making.
        let own = "cp /bin/busybox /tmp/busybox-own && chmod 6755 /tmp/busybox-own";
        assert_eq!(stage.say_as(&order, Account::Root, own).1, Exit::Status(0));
        assert_eq!(stage.say(&order, "stat -c %a /tmp/busybox-own; /tmp/busybox-own id -u").0, "6755\n1000\n");
    });
}

#[test]
fn system_calls_that_reach_out_fail() {
    with_oci(|stage| {
        let order = stage.order();
        carry_in(&order);
        let order = stage.run(order);
        for account in [Account::User, Account::Root] {
            let attack = Process { account, ..attack("calls", "") };
            let (printed, exit) = finish(stage.runtime.exec(order.instance.compute, &attack).unwrap());
            assert_eq!(exit, Exit::Status(0), "{printed}");
            assert!(printed.contains("1 passed"), "{printed}");
        }
    });
}

/// Puts this program into the image of an instance.
fn carry_in(order: &Order) {
    let program = std::env::current_exe().unwrap();
    let libraries = shell(&format!("ldd {} | grep -o '/[^ ]*'", program.display()));
    for file in libraries.lines().map(Path::new) {
        let place = order.root.join(file.strip_prefix("/").unwrap());
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::copy(file, place).unwrap();
    }
    fs::copy(program, order.root.join("attack")).unwrap();
}

/// Runs a test of this file inside, which finds what it is about in a variable.
fn attack(test: &str, target: &str) -> Process {
    let test = format!("attacks::{test}");
    let command = ["/attack", &test, "--exact", "--ignored", "--nocapture"];
    let environment = [(TARGET.to_owned(), target.to_owned())].into();
    Process { environment, ..process(&command) }
}

/// Runs inside an instance, started by the test above.
#[test]
#[ignore = "is for the inside of an instance"]
fn calls() {
    let own = unsafe { libc::getppid() };
    let zeros = [0_u8; 256];
    let pointer = zeros.as_ptr() as libc::c_long;
    let attempts: &[(&str, libc::c_long, [libc::c_long; 5], i32)] = &[
        ("ptrace", libc::SYS_ptrace, [16, own.into(), 0, 0, 0], libc::EPERM),
        ("process_vm_readv", libc::SYS_process_vm_readv, [own.into(), pointer, 1, pointer, 1], libc::EPERM),
        ("keyctl", libc::SYS_keyctl, [0, -3, 0, 0, 0], libc::EPERM),
        ("add_key", libc::SYS_add_key, [pointer, pointer, 0, 0, -3], libc::EPERM),
        ("bpf", libc::SYS_bpf, [0, pointer, 64, 0, 0], libc::EPERM),
        ("perf_event_open", libc::SYS_perf_event_open, [pointer, 0, -1, -1, 0], libc::EPERM),
        ("userfaultfd", libc::SYS_userfaultfd, [1, 0, 0, 0, 0], libc::EPERM),
        ("io_uring_setup", libc::SYS_io_uring_setup, [1, pointer, 0, 0, 0], libc::EPERM),
        ("unshare", libc::SYS_unshare, [libc::CLONE_NEWUSER.into(), 0, 0, 0, 0], libc::EPERM),
        ("setns", libc::SYS_setns, [0, 0, 0, 0, 0], libc::EPERM),
        ("clone", libc::SYS_clone, [libc::CLONE_NEWUSER.into(), 0, 0, 0, 0], libc::EPERM),
        ("clone3", libc::SYS_clone3, [pointer, 88, 0, 0, 0], libc::ENOSYS),
        ("mount", libc::SYS_mount, [pointer, pointer, pointer, 0, 0], libc::EPERM),
        ("fsopen", libc::SYS_fsopen, [pointer, 0, 0, 0, 0], libc::EPERM),
        ("open_tree", libc::SYS_open_tree, [-100, pointer, 1, 0, 0], libc::EPERM),
        ("open_by_handle_at", libc::SYS_open_by_handle_at, [-100, pointer, 0, 0, 0], libc::EPERM),
        ("fanotify_init", libc::SYS_fanotify_init, [0, 0, 0, 0, 0], libc::EPERM),
        ("init_module", libc::SYS_init_module, [pointer, 0, pointer, 0, 0], libc::EPERM),
        ("kexec_load", libc::SYS_kexec_load, [0, 0, 0, 0, 0], libc::EPERM),
        ("personality", libc::SYS_personality, [0x040_0000, 0, 0, 0, 0], libc::EPERM),
        ("raw", libc::SYS_socket, [libc::AF_INET.into(), libc::SOCK_RAW.into(), 1, 0, 0], libc::EPERM),
        ("packet", libc::SYS_socket, [libc::AF_PACKET.into(), libc::SOCK_RAW.into(), 0, 0, 0], libc::EAFNOSUPPORT),
        ("vsock", libc::SYS_socket, [libc::AF_VSOCK.into(), libc::SOCK_STREAM.into(), 0, 0, 0], libc::EAFNOSUPPORT),
        ("alg", libc::SYS_socket, [libc::AF_ALG.into(), libc::SOCK_SEQPACKET.into(), 0, 0, 0], libc::EAFNOSUPPORT),
        ("audit", libc::SYS_socket, [libc::AF_NETLINK.into(), libc::SOCK_RAW.into(), 9, 0, 0], libc::EPROTONOSUPPORT),
    ];
    for (name, number, [a, b, c, d, e], expected) in attempts {
        // SAFETY: none of them is let through; what pointers there are lead to zeros.
        let outcome = unsafe { libc::syscall(*number, *a, *b, *c, *d, *e) };
        let error = io::Error::last_os_error();
        assert_eq!((outcome, error.raw_os_error()), (-1, Some(*expected)), "{name}: {error}");
    }
    // What every program does works: threads, processes, sockets, addresses.
    std::thread::spawn(|| ()).join().unwrap();
    assert!(std::process::Command::new("true").status().unwrap().success());
    std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    UnixListener::bind(format!("/tmp/{}", std::process::id())).unwrap();
}

#[test]
fn an_image_cannot_reach_out_by_links() {
    with_oci(|stage| {
        let victim = stage.directory.path().join("victim");
        fs::create_dir(&victim).unwrap();
        fs::set_permissions(stage.directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(&victim, fs::Permissions::from_mode(0o777)).unwrap();
        let deep = format!("../../../../../../../../{}", victim.display());
        for place in ["etc", "home", "root", "tmp", "run", "dev", "sys", "proc"] {
            for target in [victim.to_str().unwrap(), &deep] {
                let mut order = stage.order();
                let image = stage.directory.path().join(Uuid::new_v4().to_string());
                shell(&format!("cp -a {} {}", order.root.display(), image.display()));
                let link = image.join(place);
                let _ = fs::remove_dir_all(&link);
                symlink(target, &link).unwrap();
                order.root = image;
                stage.runtime.create(&order).unwrap();
                // Whether it can be made to run at all is all the same.
                if stage.runtime.start(order.instance.compute).is_ok() {
                    stage.say_as(&order, Account::Root, "echo x > /etc/x; echo x > /tmp/x; echo x > /root/x");
                }
                assert_eq!(fs::read_dir(&victim).unwrap().count(), 0, "{place} -> {target}");
                stage.runtime.delete(order.instance.compute).unwrap();
                assert_eq!(leftovers(&order), Vec::<String>::new());
            }
        }
    });
}

#[test]
fn a_fork_bomb_stays_small() {
    with_oci(|stage| {
        let order = stage.running();
        let usage = || stage.runtime.usage(order.instance.compute).unwrap();
        let bomb = stage.runtime.exec(order.instance.compute, &process(&["sh", "-c", "b() { b | b & }; b; sleep 60"]));
        let bomb = bomb.unwrap();
        until("it has gone off", || usage().processes >= 95);
        assert!(usage().processes <= 100);
        assert_eq!(stage.runtime.observe(order.instance.compute).unwrap(), Observed::Running);
        drop(bomb);
        stage.runtime.stop(order.instance.compute, Duration::ZERO).unwrap();
        stage.runtime.start(order.instance.compute).unwrap();
        assert_eq!(stage.say(&order, "echo back").0, "back\n");
    });
}

#[test]
fn a_memory_bomb_ends_itself_and_nothing_else() {
    with_oci(|stage| {
        let order = stage.running();
        let (_, exit) = stage.say(&order, "exec dd if=/dev/zero of=/dev/null bs=400M count=1 2>/dev/null");
        assert_eq!(exit, Exit::Signal(9));
        // Neither does memory that looks like a disk count for less.
        let (_, exit) =
            stage.say(&order, "dd if=/dev/zero of=/dev/shm/full bs=1M count=400 2>/dev/null; ls -s /dev/shm");
        assert_ne!(exit, Exit::Signal(9));
        assert_eq!(stage.runtime.observe(order.instance.compute).unwrap(), Observed::Running);
        assert!(stage.runtime.usage(order.instance.compute).unwrap().memory <= 256 << 20);
        assert_eq!(stage.say(&order, "echo alive").0, "alive\n");
    });
}

#[test]
fn a_full_disk_is_its_own() {
    with_oci(|stage| {
        let order = stage.running();
        let fill = "dd if=/dev/zero of=/tmp/full bs=1M count=400 2>/dev/null; sync; ls -s /tmp/full";
        let (_, exit) = stage.say(&order, fill);
        assert_eq!(exit, Exit::Status(0));
        let used = stage.runtime.usage(order.instance.compute).unwrap().disk;
        assert!((90 << 20..=128 << 20).contains(&used), "{used}");
        assert_ne!(stage.say(&order, "dd if=/dev/zero of=/tmp/more bs=1M count=8").1, Exit::Status(0));
        // What is deleted comes back, to the instance and to the node.
        assert_eq!(stage.say(&order, "rm /tmp/full; sync; echo more > ~/more").1, Exit::Status(0));
        until("the node has it back", || stage.runtime.usage(order.instance.compute).unwrap().disk < 50 << 20);
    });
}

#[test]
fn neighbours_do_not_hear_each_other() {
    with_oci(|stage| {
        let first = stage.running();
        let second = stage.run(stage.order_in(1));
        let listen = process(&["nc", "-ll", "-p", "9000", "-e", "echo", "mine"]);
        let _listening = stage.runtime.exec(first.instance.compute, &listen).unwrap();
        let connect = "nc -w 1 127.0.0.1 9000 < /dev/null";
        until("it listens", || stage.say(&first, connect).0 == "mine\n");
        assert_ne!(stage.say(&second, connect).1, Exit::Status(0));
        // To be user 1000 of both is not to be the same user.
        let (own, other) = (first.first_user, second.first_user);
        assert_ne!(own, other);
        let owner = |order| stage.say(order, "sleep 0.2 & cat /proc/self/uid_map").0;
        assert_ne!(owner(&first), owner(&second));
    });
}

/// An abstract socket has no file that somebody could be kept from: only a network namespace of its own hides it
/// (`reference/compute.md` 2.4).
#[test]
fn abstract_sockets_are_heard_by_nobody_else() {
    with_oci(|stage| {
        let first = stage.order();
        carry_in(&first);
        let (first, second) = (stage.run(first), stage.run(stage.order_in(1)));
        let own = Uuid::new_v4().to_string();
        let listening = stage.runtime.exec(first.instance.compute, &attack("listen", &own)).unwrap();
        read_until(&listening.ends[1], "listening");
        let of_the_host = Uuid::new_v4().to_string();
        let _of_the_host = UnixListener::bind_addr(&abstract_name(&of_the_host)).unwrap();
        let heard = |order: &Order, name: &str| {
            let execution = stage.runtime.exec(order.instance.compute, &attack("dial", name)).unwrap();
            let (printed, exit) = finish(execution);
            assert_eq!(exit, Exit::Status(0), "{printed}");
            printed.contains("connected")
        };
        assert!(heard(&first, &own), "it is heard where it is");
        assert!(!heard(&second, &own));
        assert!(!heard(&first, &of_the_host) && !heard(&second, &of_the_host));
    });
}

/// Runs inside an instance, started by the test above.
#[test]
#[ignore = "is for the inside of an instance"]
fn listen() {
    let listener = UnixListener::bind_addr(&abstract_name(&std::env::var(TARGET).unwrap())).unwrap();
    println!("listening");
    for _visitor in listener.incoming() {}
}

/// Runs inside an instance, started by the test above.
#[test]
#[ignore = "is for the inside of an instance"]
fn dial() {
    match UnixStream::connect_addr(&abstract_name(&std::env::var(TARGET).unwrap())) {
        Ok(_) => println!("connected"),
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused, "{error}"),
    }
}

fn abstract_name(name: &str) -> SocketAddr {
    SocketAddr::from_abstract_name(name).unwrap()
}

/// Neither by its path, nor by a descriptor that somebody forgot to close.
#[test]
fn the_agent_and_the_files_of_the_node_are_not_there() {
    with_oci(|stage| {
        let socket = stage.directory.path().join("agent/agent.sock");
        let _agent = UnixListener::bind(&socket).unwrap();
        // Open, and without the flag that closes it when a program is run.
        let secret = stage.directory.path().join("secret");
        fs::write(&secret, "of the node").unwrap();
        let held = fs::File::open(&secret).unwrap();
        rustix::io::fcntl_setfd(&held, rustix::io::FdFlags::empty()).unwrap();
        let order = stage.running();
        for path in [&socket, &secret] {
            for place in ["", "/proc/1/root", "/proc/self/root", "/proc/1/cwd/../../../..", "/..", "/run/.."] {
                let look = format!("ls -d {place}{}", path.display());
                assert_ne!(stage.say_as(&order, Account::Root, &look).1, Exit::Status(0), "{look}");
            }
        }
        let first = stage.say_as(&order, Account::Root, "ls -l /proc/1/fd /proc/self/fd").0;
        let targets = first.lines().filter_map(|line| line.split_once(" -> ").map(|(_, target)| target));
        let foreign: Vec<_> = targets.filter(|target| !is_harmless(target)).collect();
        assert_eq!(foreign, Vec::<&str>::new(), "{first}");
    });
}

/// What a first process and a command have open: nothing, pipes of their own, and what they look at.
fn is_harmless(target: &str) -> bool {
    ["/dev/null", "pipe:", "anon_inode:[signalfd]", "/proc/"].iter().any(|start| target.starts_with(start))
}

#[test]
fn dialling_leads_nowhere_else() {
    with_oci(|stage| {
        let mut order = stage.order();
        let folder = stage.directory.path().join("share");
        order.instance.shares = vec![Share { id: Uuid::nil(), path: "/shared".into(), read_only: false }];
        order.shares = vec![folder.clone()];
        let order = stage.run(order);
        let host = stage.directory.path().join("host.sock");
        let _of_the_host = UnixListener::bind(&host).unwrap();
        let _inside = UnixListener::bind(folder.join("inside.sock")).unwrap();
        let owner = Some(SHARE_USERS + 1000);
        chown(folder.join("inside.sock"), owner, owner).unwrap();
        symlink(&host, folder.join("absolute")).unwrap();
        symlink("../../../../../../../..".to_owned() + host.to_str().unwrap(), folder.join("relative")).unwrap();
        symlink("inside.sock", folder.join("good")).unwrap();
        stage.say(
            &order,
            "mkfifo /shared/fifo; ln -s /proc/1/root/shared/inside.sock /shared/magic; touch /shared/file",
        );
        let dial = |path: &str| stage.runtime.dial(order.instance.compute, &Target::Socket(path.into()));
        for path in ["/shared/inside.sock", "/shared/good"] {
            dial(path).unwrap();
        }
        for path in [
            "/shared/absolute",
            "/shared/relative",
            "/shared/magic",
            "/shared/fifo",
            "/shared/file",
            "/shared",
            "shared/good",
        ] {
            let error = dial(path).unwrap_err();
            assert!(matches!(error, RuntimeError::Failed { .. }), "{path}: {error}");
        }
    });
}

/// What a test inside is about.
const TARGET: &str = "BASTIDE_TARGET";

const DEVICES: [&str; 13] =
    ["fd", "full", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty", "urandom", "zero"];
