//! `run.sh` on machines that lack programs: a copy of the script in a folder that stands for the machine, with fake
//! programs.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is a panic")]

use std::{
    fs,
    os::unix::{
        fs::{PermissionsExt as _, symlink},
        process::ExitStatusExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use im_tests::{programs, stack::PATIENCE, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

const SCRIPT: &str = include_str!("../run.sh");

/// Tools that the script calls itself.
const TOOLS: [&str; 10] = ["cat", "chmod", "dirname", "grep", "head", "nproc", "rm", "sed", "sleep", "sort"];

const REDIS: &str = "echo 'Redis server v=7.0.15 sha=00000000:0'";
const NATS: &str = "echo 'nats-server: v2.9.10'";

/// A fake `apt-get` that installs Redis, and logs whether services may start.
const APT: &str = r#"
echo "apt-get $*" >>"$ROOT/log"
case $1 in
    update) [ ! -e "$ROOT/update-fails" ] ;;
    install)
        [ ! -e "$ROOT/apt-waits" ] || while [ ! -e "$ROOT/apt-goes-on" ]; do sleep 0.02; done
        "$ROOT/usr/sbin/policy-rc.d" || echo "services: $?" >>"$ROOT/log"
        [ ! -e "$ROOT/install-fails" ] || exit 100
        [ -e "$ROOT/installs-nothing" ] || mv "$ROOT/redis-server" "$ROOT/bin/"
        ;;
esac
"#;

/// A machine with every program.
struct Machine(TempDir);

impl Machine {
    fn new() -> Self {
        let machine = Self(tempfile::tempdir().unwrap());
        for folder in [
            "bin",
            "bindings/kotlin",
            "bindings/python",
            "bindings/swift",
            "bindings/web",
            "examples/chat/web",
            "tests",
            "usr/sbin",
            "usr/local/sbin",
            "usr/lib/postgresql/15/bin",
        ] {
            fs::create_dir_all(machine.path(folder)).unwrap();
        }
        let (shebang, script) = SCRIPT.split_once('\n').unwrap();
        let root = machine.0.path().display();
        let script = script.replace("/usr/", &format!("{root}/usr/"));
        fs::write(machine.path("tests/run.sh"), format!("{shebang}\n{script}")).unwrap();
        let path = std::env::var_os("PATH").unwrap();
        for tool in TOOLS.iter().chain(&["mv"]) {
            let found =
                std::env::split_paths(&path).map(|folder| folder.join(tool)).find(|file| file.is_file());
            symlink(found.unwrap(), machine.path("bin").join(tool)).unwrap();
        }
        machine.program("bin/cargo", r#"echo "cargo $*" >>"$ROOT/log""#);
        machine.program("bin/id", "echo 0");
        machine.program("bin/cc", "cat >/dev/null");
        machine.program("bin/python3", "");
        machine.program("bin/faketime", "");
        machine.program("bin/node", "echo v20.20.2");
        for program in ["npm", "chromium", "firefox-esr", "javac", "java", "mvn", "haproxy"] {
            machine.program(&format!("bin/{program}"), "");
        }
        machine.program("bin/swift", "echo 'Swift version 6.0.3 (swift-6.0.3-RELEASE)'");
        let languages = ["web", "kotlin", "swift", "python"].map(|name| format!("bindings/{name}/test.sh"));
        for script in languages.iter().map(String::as_str).chain(["examples/chat/web/test.sh"]) {
            machine.program(script, &format!(r#"echo {script} >>"$ROOT/log""#));
        }
        machine.program("bin/redis-server", REDIS);
        machine.program("usr/sbin/nats-server", NATS);
        machine.program("usr/lib/postgresql/15/bin/postgres", "");
        machine.program("usr/lib/postgresql/15/bin/initdb", "");
        machine
    }

    /// Returns a machine that has no Redis and can install it.
    fn without_redis() -> Self {
        let machine = Self::new();
        fs::rename(machine.path("bin/redis-server"), machine.path("redis-server")).unwrap();
        machine.program("bin/apt-get", APT);
        machine
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn program(&self, path: &str, does: &str) {
        fs::write(self.path(path), format!("#!/bin/sh\n{does}\n")).unwrap();
        fs::set_permissions(self.path(path), fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn remove(&self, path: &str) {
        fs::remove_file(self.path(path)).unwrap();
    }

    fn touch(&self, path: &str) {
        fs::write(self.path(path), "").unwrap();
    }

    fn start(&self, arguments: &[&str]) -> Child {
        // A shell cannot handle signals that are ignored when it starts, as they are under `nohup`.
        let mut bash = Command::new("/usr/bin/env");
        bash.args(["--default-signal", "/bin/bash"])
            .arg(self.path("tests/run.sh"))
            .args(arguments)
            .current_dir("/");
        bash.env_clear().env("PATH", self.path("bin")).env("ROOT", self.0.path());
        bash.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        Ran::from(self.start(arguments).wait_with_output().unwrap())
    }

    /// Returns the arguments of all calls of `cargo` and `apt-get`.
    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    fn policy(&self) -> PathBuf {
        self.path("usr/sbin/policy-rc.d")
    }
}

struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        assert_eq!(output.status.signal(), None, "it ends by itself");
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

/// Calls of `cargo` and of scripts if no tests are selected.
const EVERYTHING: &str = "\
cargo build --locked --workspace --bins --lib --tests
cargo test --locked --workspace --no-fail-fast
cargo test --locked -p im-sdk --no-default-features --features client
cargo test --locked -p im-sdk --no-default-features --features backend
bindings/web/test.sh
examples/chat/web/test.sh
bindings/kotlin/test.sh
bindings/python/test.sh
";

#[test]
fn where_nothing_lacks_everything_is_tested() {
    let machine = Machine::new();
    let ran = machine.run(&[]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{}", ran.out);
    assert!(ran.out.ends_with("== all tests passed\n"), "{}", ran.out);
    assert_eq!(machine.log(), EVERYTHING);
}

#[test]
fn what_is_chosen_is_for_the_main_run_alone() {
    for (arguments, built, tested) in [
        (&["--test", "it"][..], "--test it", "--workspace --no-fail-fast --test it"),
        (&["-p", "im-tests", "--test", "it", "one"], "--test it", "--no-fail-fast -p im-tests --test it one"),
        (
            &["--lib", "--", "--nocapture", "--ful"],
            "--tests",
            "--workspace --no-fail-fast --lib -- --nocapture --ful",
        ),
    ] {
        let machine = Machine::new();
        assert_eq!(machine.run(arguments).code, Some(0));
        let main = format!("cargo test --locked {tested}\n");
        let expected = EVERYTHING
            .replace("--bins --lib --tests\n", &format!("--bins --lib {built}\n"))
            .replace("cargo test --locked --workspace --no-fail-fast\n", &main);
        assert_eq!(machine.log(), expected);
    }
}

#[test]
fn the_full_profile_runs_the_long_scenarios_too() {
    let machine = Machine::new();
    assert_eq!(machine.run(&["--full", "--test", "it"]).code, Some(0));
    let log = machine.log();
    assert!(log.contains("cargo build --locked --release -p im-server -p im-tests --bins\n"), "{log}");
    assert!(log.contains("cargo test --locked --release -p im-tests --test chaos\n"), "{log}");
    assert!(
        log.contains(
            "bindings/web/test.sh\nexamples/chat/web/test.sh\nbindings/kotlin/test.sh\nbindings/swift/test.sh\n\
             bindings/python/test.sh\n"
        ),
        "{log}"
    );
}

#[test]
fn the_full_profile_alone_needs_swift_or_what_gets_it() {
    for other in ["echo 'Swift version 5.10.1'", "echo 'python-swiftclient 4.1.0'", "exit 1"] {
        let machine = Machine::new();
        machine.program("bin/swift", other);
        machine.program("bin/id", "echo 1000");
        assert_eq!(machine.run(&[]).code, Some(0));
        let ran = machine.run(&["--full"]);
        let told = "missing: debootstrap\n\
                    install them first, on Debian or Ubuntu: sudo apt-get install debootstrap\n";
        assert_eq!((ran.code, ran.err.as_str()), (Some(1), told));
        machine.program("usr/sbin/debootstrap", "");
        assert_eq!(machine.run(&["--full"]).code, Some(0));
    }
}

#[test]
fn help_helps_and_what_is_unknown_is_told_before_anything_is_done() {
    let machine = Machine::without_redis();
    for option in ["--help", "-h"] {
        let ran = machine.run(&[option]);
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
        assert!(ran.out.starts_with("usage: ./tests/run.sh [--full]"), "{}", ran.out);
    }
    for (arguments, told) in [
        (&["--ful"][..], "run.sh: there is no option --ful\n"),
        (&["--test"], "run.sh: --test needs a name\n"),
    ] {
        let ran = machine.run(arguments);
        assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""));
        assert!(ran.err.starts_with(told) && ran.err.contains("usage: "), "{}", ran.err);
    }
    assert_eq!(machine.log(), "");
}

#[test]
fn who_cannot_install_is_told_what_to_install() {
    let (no_root, no_apt) = (Machine::without_redis(), Machine::without_redis());
    no_root.program("bin/id", "echo 1000");
    no_apt.remove("bin/apt-get");
    for machine in [no_root, no_apt] {
        machine.program("bin/cc", "cat >/dev/null; exit 1");
        machine.remove("usr/lib/postgresql/15/bin/initdb");
        let ran = machine.run(&[]);
        let told = "missing: redis-server postgres initdb cc\n\
                    install them first, on Debian or Ubuntu: sudo apt-get install redis-server postgresql gcc libc6-dev\n";
        assert_eq!((ran.code, ran.err.as_str()), (Some(1), told));
        assert_eq!(machine.log(), "");
    }
    let machine = Machine::new();
    machine.remove("bin/cargo");
    let ran = machine.run(&[]);
    assert!(ran.code == Some(1) && ran.err.starts_with("missing: cargo; install Rust from"), "{}", ran.err);
}

#[test]
fn what_lacks_is_installed_and_starts_no_service() {
    let machine = Machine::without_redis();
    // A broken package source may not be a needed one.
    machine.touch("update-fails");
    let ran = machine.run(&[]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    assert_eq!(ran.err, "warning: apt-get update failed; going on with the lists that are there\n");
    let install = "apt-get install -y -qq --no-install-recommends redis-server\nservices: 101\n";
    assert_eq!(machine.log(), format!("apt-get update -qq\n{install}{EVERYTHING}"));
    assert!(!machine.policy().exists(), "services start again");
}

#[test]
fn the_machines_own_policy_stays() {
    let machine = Machine::without_redis();
    machine.program("usr/sbin/policy-rc.d", "exit 104");
    let before = fs::read(machine.policy()).unwrap();
    assert_eq!(machine.run(&[]).code, Some(0));
    assert!(machine.log().contains("services: 104"));
    assert_eq!(fs::read(machine.policy()).unwrap(), before);
}

#[test]
fn an_installation_that_fails_is_told_and_leaves_nothing_behind() {
    for (how, told) in [
        ("install-fails", "apt-get could not install: redis-server\n"),
        ("installs-nothing", "installed, and still not found: redis-server\n"),
    ] {
        let machine = Machine::without_redis();
        machine.touch(how);
        let ran = machine.run(&[]);
        assert_eq!((ran.code, ran.err.as_str()), (Some(1), told));
        assert!(!machine.policy().exists(), "services start again");
        assert!(!machine.log().contains("cargo"));
    }
}

#[tokio::test]
async fn a_run_that_is_ended_while_apt_works_lets_services_start_again() {
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130), (Signal::HUP, 129)] {
        let machine = Machine::without_redis();
        machine.touch("apt-waits");
        let running = machine.start(&[]);
        wait_until("apt works", PATIENCE, async || machine.log().contains("apt-get install")).await;
        kill_process(Pid::from_child(&running), signal).unwrap();
        // The script waits for apt, which must not start what it has begun to install.
        machine.touch("apt-goes-on");
        let ran = Ran::from(running.wait_with_output().unwrap());
        assert_eq!(ran.code, Some(code), "{}", ran.err);
        assert!(machine.log().ends_with("services: 101\n"), "{}", machine.log());
        assert!(!machine.policy().exists(), "services start again");
    }
}

#[tokio::test]
async fn what_a_killed_run_left_behind_goes_with_the_next_one() {
    let machine = Machine::without_redis();
    machine.touch("apt-waits");
    let mut running = machine.start(&[]);
    wait_until("apt works", PATIENCE, async || machine.log().contains("apt-get install")).await;
    running.kill().unwrap();
    running.wait().unwrap();
    assert!(machine.policy().exists());
    // The apt of the killed run must not install what the next run should.
    machine.touch("installs-nothing");
    machine.touch("apt-goes-on");
    wait_until("the first apt has ended", PATIENCE, async || machine.log().contains("services")).await;
    machine.remove("apt-waits");
    machine.remove("installs-nothing");
    assert_eq!(machine.run(&[]).code, Some(0));
    assert!(!machine.policy().exists(), "services start again");
}

#[test]
fn programs_count_where_the_tests_find_them() {
    let machine = Machine::new();
    let move_all = |from: &str, to: &str| {
        for program in programs::POSTGRES.programs {
            fs::rename(machine.path(from).join(program), machine.path(to).join(program)).unwrap();
        }
    };
    for (from, to) in [("usr/lib/postgresql/15/bin", "usr/local/sbin"), ("usr/local/sbin", "bin")] {
        move_all(from, to);
        assert_eq!(machine.run(&[]).code, Some(0), "in {to}");
    }
    // Programs of one package in different folders may have different versions.
    fs::rename(machine.path("bin/initdb"), machine.path("usr/sbin/initdb")).unwrap();
    machine.program("bin/id", "echo 1000");
    assert!(machine.run(&[]).err.starts_with("missing: postgres initdb\n"));
}

#[test]
fn what_is_too_old_is_told_before_anything_is_built() {
    for (program, says, told) in [
        (
            "bin/redis-server",
            "echo 'Redis server v=6.0.16 sha=00000000:0'",
            "redis-server is 6.0.16, and the tests need 7.0",
        ),
        (
            "usr/sbin/nats-server",
            "echo 'nats-server: v2.1.9'",
            "nats-server is 2.1.9, and the tests need 2.9",
        ),
        ("usr/sbin/nats-server", "echo", "nats-server is of no version that it says, and the tests need 2.9"),
    ] {
        let machine = Machine::new();
        machine.program(program, says);
        let ran = machine.run(&[]);
        assert_eq!(ran.code, Some(1));
        assert!(ran.err.starts_with(told), "{}", ran.err);
        assert_eq!(machine.log(), "");
    }
    let machine = Machine::new();
    machine.program("bin/redis-server", "echo 'Redis server v=10.2.1 sha=00000000:0'");
    assert_eq!(machine.run(&[]).code, Some(0));
}

#[test]
fn the_script_and_the_tests_have_the_same_rules() {
    let [local, system, postgres] = programs::BESIDE_PATH;
    assert!(SCRIPT.contains(&format!("beside_path=({local} {system} '{postgres}')\n")));
    let rules = [programs::REDIS, programs::NATS, programs::PYTHON, programs::POSTGRES, programs::FAKETIME]
        .map(|needed| {
            let oldest = needed.oldest.map_or("-".into(), |(major, minor)| format!("{major}.{minor}"));
            format!("    \"{} {oldest} {}\"\n", needed.package, needed.programs.join(" "))
        });
    // For the clients in other languages and the chat application, whose tests start these by themselves.
    let others: String = [
        "nodejs 20 node",
        "npm - npm",
        "chromium - chromium",
        "firefox-esr - firefox-esr",
        "default-jdk-headless - javac java",
        "maven - mvn",
        "haproxy - haproxy",
    ]
    .map(|line| format!("    \"{line}\"\n"))
    .concat();
    assert!(SCRIPT.contains(&format!("needed=(\n{}{others})\n", rules.concat())));
    assert!(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("run.sh").metadata().unwrap().permissions().mode() & 0o111
            != 0
    );
}
