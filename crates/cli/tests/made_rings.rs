//! Programs whose rings are made for them, and held by the kernel: by restrictions, or by its own filters.
//!
//! Kernels before 7.0 have no filters: there these tests say that they skip that lane, unless
//! `RINGWARDEN_REQUIRE_KERNEL` is set. `in-guest` beside this file runs them on other kernels.

mod client;
mod launch;

use client::{lines, policy};
use launch::{Stage, finish, is_root};
use ringwarden::kernel::Facts;
use ringwarden_testring::{Ring, SetupFlags};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{env, thread};

const DENIED: i64 = -13;

/// Each lane, and in it every user that the tests can play, for what privileges may change.
fn stages() -> Vec<Stage> {
    let mut lanes = vec!["restricted"];
    match Facts::find().usable() {
        Ok(_) => lanes.push("filtered"),
        Err(lacking) => {
            assert!(env::var_os("RINGWARDEN_REQUIRE_KERNEL").is_none(), "{lacking}");
            eprintln!("skipped: the lane `filtered`: {lacking}");
        }
    }
    let mut stages: Vec<_> = lanes.iter().map(|lane| Stage::unprivileged().with_backend(lane)).collect();
    // What privileges change is the maker's doing, not the kernel's: one machine will do, a fast one.
    if is_root() && !is_guest() {
        stages.extend(lanes.iter().map(|lane| Stage::new().with_backend(lane)));
    }
    stages
}

/// Whether this is an emulated machine.
fn is_guest() -> bool {
    env::var_os("RINGWARDEN_GUEST").is_some()
}

/// A rule by which no NOP of the captive's is allowed; with a condition, where the lane can hold that.
fn no_nop(stage: &Stage) -> &'static str {
    match stage.backend() {
        "filtered" => "nop = \"user_data == 0xdead\"",
        _ => "nop = \"deny\"",
    }
}

const ALONE: [&str; 3] = ["resize", "swapped", "wide"];
const GROUPS: [&str; 6] = ["rings", "heirs", "outside", "calls", "disabled", "loosen"];

/// What each of the captive's attempts came to, all but swaps where none is asked for.
fn attempts(mut command: Command) -> serde_json::Map<String, Value> {
    if command.get_args().last().is_none_or(|last| !ALONE.iter().any(|asked| last == *asked)) {
        command.args(GROUPS);
    }
    let lines = lines(command);
    serde_json::from_str(lines.last().expect("a line")).expect("JSON")
}

#[test]
fn only_refused_requests_and_their_chains_change() {
    let _alone = alone();
    for stage in stages() {
        let client = stage.example("uring_client");
        let native = finish(stage.native(&client));
        if !native.status.success() {
            return launch::skip("this kernel is too old for the client");
        }
        let native = lines(stage.native(&client));
        assert_eq!(lines(stage.guarded(&policy("allow", ""), &client)), native);
        let refused = lines(stage.guarded(&policy("allow", "read = \"deny\""), &client));
        // Chains with a read in them end as they do natively when one fails.
        let differ: Vec<_> =
            native.iter().zip(&refused).filter(|(native, refused)| native != refused).collect();
        assert!(!differ.is_empty() && refused.len() == native.len());
        for (native, refused) in differ {
            assert!(refused.contains("-13"), "{native} -> {refused}");
        }
    }
}

/// The ways that work natively on this kernel, and are not refused whatever the policy.
fn ways(stage: &Stage) -> Vec<String> {
    // The last is a filter that a task puts on itself, which rings that are made for it would not have.
    let refused = ["parent", "through a socket", "inherited rings", "32-bit", "x32", "older ring"];
    let native = attempts(stage.native(stage.example("captive")));
    let works =
        |(way, result): &(String, Value)| *result == 0 && !refused.iter().any(|part| way.contains(part));
    let ways: Vec<_> = native.into_iter().filter(works).map(|(way, _)| way).collect();
    assert!(ways.len() > 10, "{ways:?}");
    ways
}

#[test]
fn there_is_no_way_out() {
    let _alone = alone();
    for stage in stages() {
        let captive = stage.example("captive");
        let policy = policy("allow", &format!("{}\nmsg_ring = \"deny\"", no_nop(&stage)));
        let denied = attempts(stage.guarded(&policy, &captive));
        for way in ways(&stage) {
            assert_eq!(denied[&way], DENIED, "{way}");
        }
        // Nor by what fails natively.
        for (way, result) in
            denied.iter().filter(|(way, _)| !way.contains("parent") && *way != "inherited rings")
        {
            assert!(result.as_i64().is_some_and(|result| result < 0), "{way}: {result}");
        }
    }
}

/// A ring without a list takes the place of one that is being enabled.
#[test]
fn no_ring_is_enabled_in_place_of_another() {
    let _alone = alone();
    // Where filters hold rings, there are none without.
    for stage in stages().into_iter().filter(|stage| stage.backend() == "restricted") {
        for (rule, result) in [("nop = \"deny\"", DENIED), ("read = \"deny\"", 0)] {
            let mut command = stage.guarded(&policy("allow", rule), stage.example("captive"));
            command.arg("swapped");
            let swapped = attempts(command);
            assert!(
                swapped.len() == 1 && swapped.values().all(|came_of_it| *came_of_it == result),
                "{swapped:?}"
            );
        }
    }
}

/// The attempts prove something only if they work where nothing is refused.
#[test]
fn the_attempts_succeed_where_nop_is_allowed() {
    let _alone = alone();
    for stage in stages() {
        let captive = stage.example("captive");
        let allowed = attempts(stage.guarded(&policy("allow", "read = \"deny\""), &captive));
        for way in ways(&stage) {
            assert_eq!(allowed[&way], 0, "{way}");
        }
    }
}

#[test]
fn a_policy_with_a_condition_is_refused_by_name() {
    let _alone = alone();
    let stage = Stage::new().with_backend("restricted");
    let output = finish(stage.guarded(&policy("allow", "socket = \"family == AF_UNIX\""), "true"));
    assert_eq!(output.status.code(), Some(125));
    let stderr = String::from_utf8_lossy(&output.stderr);
    for part in ["`socket`", "family == AF_UNIX", "--lane split"] {
        assert!(stderr.contains(part), "{stderr}");
    }
}

/// Where rings are not split, what needs that is refused, and why no other lane would do is said.
#[test]
fn without_split_rings_nothing_is_held_in_part() {
    let _alone = alone();
    if ringwarden::guard::SPLITS_RINGS {
        return;
    }
    let refused = |command| {
        let output = finish(command);
        assert_eq!(output.status.code(), Some(125), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let policy = policy("allow", "socket = \"family == AF_UNIX\"");
    let stage = Stage::new().with_backend("split");
    assert!(refused(stage.guarded(&policy, "true")).contains("x86-64 only"));
    let why = refused(stage.permissive(&policy, &[] as &[&str], "true"));
    assert!(
        why.contains("x86-64 only") && why.contains("only the guard lets pass what a policy refuses"),
        "{why}"
    );
    let stage = Stage::new().with_backend("auto");
    let output = finish(stage.guarded(&policy, "true"));
    if Facts::find().usable().is_ok() {
        assert!(output.status.success(), "{output:?}");
    } else {
        let why = String::from_utf8_lossy(&output.stderr);
        for part in ["x86-64 only", "Linux 7.0", "`socket`", "family == AF_UNIX"] {
            assert!(why.contains(part), "{why}");
        }
    }
}

/// What a policy says of new rings holds for those that are resized, too.
#[test]
fn a_limited_ring_stays_as_it_is() {
    let _alone = alone();
    for stage in stages() {
        let captive = stage.example("captive");
        let mut native = stage.native(&captive);
        native.arg("resize");
        if attempts(native)["resized"] != 0 {
            return launch::skip("this kernel resizes no rings");
        }
        let resized = |setup: &str| {
            let policy = format!("{}{setup}\n", policy("allow", ""));
            let mut command = stage.guarded(&policy, &captive);
            command.arg("resize");
            attempts(command)["resized"].as_i64().expect("a number")
        };
        assert_eq!(resized(""), 0);
        for setup in ["[setup]\nmax_entries = 8", "[setup]\ndeny_flags = [\"CLAMP\"]"] {
            assert_eq!(resized(setup), DENIED, "{setup}");
        }
    }
}

/// Seconds that races last.
fn seconds() -> String {
    env::var("RINGWARDEN_ADVERSARY_SECONDS").unwrap_or_else(|_| "3".into())
}

/// What each of the adversary's processes says in the end.
fn reports(lines: &[String]) -> Vec<Value> {
    lines.iter().skip(1).map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// How many NOPs ran on the rings of each kind.
fn ran(reports: &[Value]) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for (kind, count) in reports.iter().flat_map(|report| report["nops"].as_object().expect("counts")) {
        *sums.entry(kind.clone()).or_default() += count.as_u64().expect("a count");
    }
    sums
}

/// Whoever has this has all processors, and all the memory that rings of an ordinary user may take, which is all users'
/// whom these tests play: one test after the other.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    // What the rings of the one before had comes back in the background: until a large one has room, for those that
    // it counts for.
    const LARGE: u32 = 8192;
    drop(Ring::when_there_is_room(LARGE, SetupFlags::empty()));
    alone
}

/// The adversary of `testprograms/examples/ring_adversary`: what it can do natively, and what here.
#[test]
fn every_race_is_won_natively_and_none_for_rings_that_are_made() {
    let _alone = alone();
    // What races can be won is the program's doing, not the kernel's: one machine will do, a fast one.
    if !is_guest() {
        let stage = Stage::unprivileged();
        let mut native = stage.native(stage.example("ring_adversary"));
        native.arg("--until-won");
        // Comes to an end only when each race has been won.
        assert!(ran(&reports(&lines(native))).values().all(|&count| count > 0));
    }
    for stage in stages() {
        let mut adversary = stage.guarded(&policy("allow", no_nop(&stage)), stage.example("ring_adversary"));
        adversary.args(["--seconds", &seconds()]);
        let reports = reports(&lines(adversary));
        assert!(ran(&reports).values().all(|&count| count == 0), "{reports:?}");
        for report in reports {
            // Not in vain: an emulated machine makes few.
            let made = report["made"].as_object().expect("counts").values().filter(|count| **count != 0);
            assert!(made.count() > 2, "{report}");
            let kept = report["afterwards"]["kept"].as_array().expect("results");
            assert!(
                kept.iter().all(|result| result.as_i64() < Some(0)) && kept.contains(&DENIED.into()),
                "{report}"
            );
            assert_eq!(report["afterwards"]["new"], DENIED);
        }
    }
}

/// A maker that does not look whether it traces the caller lets each of these calls go on, and the NOP runs; so does one
/// that does not look which of its threads traces it, where the call is made in place of another of the maker's.
#[test]
fn who_takes_the_place_of_a_single_issuer_enables_nothing() {
    let _alone = alone();
    // Where filters hold rings, there are none without. An emulated machine has no second processor to keep busy.
    if is_guest() {
        return;
    }
    let stage = Stage::unprivileged().with_backend("restricted");
    let replaced: &[_] = if cfg!(target_arch = "x86_64") { &["replaced"; 8] } else { &[] };
    for how in ["openly"; 2].iter().chain(replaced) {
        let mut usurper = stage.guarded(&policy("allow", "nop = \"deny\""), stage.example("usurper"));
        usurper.arg(how);
        let told: Value = serde_json::from_str(&lines(usurper)[0]).expect("JSON");
        // It is still disabled, or has its list.
        assert!(told["nop"] == -libc::EBADFD || told["nop"] == DENIED, "{how}: {told}");
    }
}

/// Whatever the maker is about when it is killed, its rings stay held, and there are no more. A process in whose place
/// it was making a call does not live to tell.
#[test]
fn rings_stay_held_when_the_maker_is_killed() {
    let _alone = alone();
    for stage in stages() {
        let (mut killed, mut told) = (0, 0);
        while killed < if is_guest() { 1 } else { 4 } || told == 0 {
            killed += 1;
            assert!(killed < 200, "nobody is left to tell");
            let mut adversary =
                stage.guarded(&policy("allow", no_nop(&stage)), stage.example("ring_adversary"));
            adversary.args(["--seconds", "600"]).stdin(Stdio::null()).stdout(Stdio::piped()).process_group(0);
            let mut maker = adversary.spawn().expect("start");
            let hangs = launch::watch(&maker);
            let mut output = BufReader::new(maker.stdout.take().expect("a pipe")).lines();
            let mut lines = vec![output.next().expect("a line").expect("text")];
            // Any moment will do.
            thread::sleep(Duration::from_millis(fastrand::u64(..400)));
            maker.kill().expect("kill");
            // From processes that have lost their parent.
            lines.extend(output.map(|line| line.expect("text")));
            maker.wait().expect("wait");
            assert!(!hangs(), "{lines:?}");
            let reports = reports(&lines);
            told += reports.len();
            assert!(ran(&reports).values().all(|&count| count == 0), "{reports:?}");
            for report in reports {
                let kept = report["afterwards"]["kept"].as_array().expect("results");
                assert!(kept.iter().all(|result| result.as_i64() < Some(0)), "{report}");
                assert_eq!(report["afterwards"]["new"], -i64::from(libc::ENOSYS), "{report}");
            }
        }
    }
}

/// As the entry point of a container does.
#[test]
fn the_first_process_of_a_namespace_collects_orphans() {
    let _alone = alone();
    const ORPHANS: &str = "for _ in 1 2 3 4 5 6 7 8; do (true &); done; tries=100
        while [ $tries -gt 0 ] && cat /proc/[0-9]*/stat | grep -q ' Z '; do tries=$((tries - 1)); sleep 0.05; done
        echo $tries";
    if !is_root() || is_guest() {
        return launch::skip("a pid namespace takes root, and unshare(1)");
    }
    let stage = Stage::new().with_backend("restricted");
    let run = stage.guarded(&policy("allow", "read = \"deny\""), "sh");
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--mount-proc"]).arg(run.get_program()).args(run.get_args());
    command.args(["-c", ORPHANS]);
    let tries: u32 = lines(command)[0].parse().expect("a number");
    assert_ne!(tries, 0, "the dead are still there");
}

/// A ring that is set up disabled belongs to the thread that enables it, as natively. What differs is listed: while
/// one waits others cannot be restricted, and once one could be there are no single issuers.
#[test]
fn a_disabled_ring_belongs_to_whoever_enables_it() {
    let _alone = alone();
    const DIFFER: [(&str, &str); 2] = [("a list while it waits", "-16"), ("second used by another", "0")];
    for stage in stages() {
        let client = stage.example("single_issuer");
        let native = lines(stage.native(&client));
        if native.len() == 1 {
            return launch::skip("this kernel has no deferred task work");
        }
        let made = |rule| lines(stage.guarded(&policy("allow", rule), &client));
        let differing: Vec<_> = native.iter().zip(made("read = \"deny\"")).filter(|(a, b)| *a != b).collect();
        let expected = DIFFER.map(|(what, result)| format!("{what}: {result}"));
        assert!(differing.iter().map(|(_, made)| made).eq(&expected), "{differing:?}");
        let refused = made(no_nop(&stage));
        let used = |line: &&String| line.contains("used") && !line.contains("first used by another");
        assert_eq!(refused.iter().filter(used).count(), 5, "{refused:?}");
        assert!(refused.iter().filter(used).all(|line| line.ends_with(&DENIED.to_string())), "{refused:?}");
    }
}

/// Daemons make rings, too, where Yama lets nobody but ancestors look into a process.
#[test]
fn orphans_get_rings_where_only_ancestors_may_look_into_them() {
    let _alone = alone();
    const SCOPE: &str = "/proc/sys/kernel/yama/ptrace_scope";
    // The second is an orphan when it is let go on.
    const DAEMON: &str = r#"(sh -c 'read x; exec "$0" 2' "$0" <"$1" >"$2" &); echo go >"$1""#;
    if fs::read_to_string(SCOPE).is_err() || !is_root() {
        // `in-guest` runs this on kernels that have it.
        eprintln!("skipped: setting Yama's scope takes Yama, and root");
        return;
    }
    let before = fs::read_to_string(SCOPE).expect("a scope");
    fs::write(SCOPE, "1").expect("another");
    for stage in stages() {
        let folder = stage.empty_folder();
        let (fifo, out) = (folder.join("fifo"), folder.join("out"));
        mknodat(CWD, &fifo, FileType::Fifo, Mode::RWXU | Mode::RWXO, 0).expect("a fifo");
        fs::set_permissions(&fifo, fs::Permissions::from_mode(0o666)).expect("for everybody");
        let mut daemon = stage.guarded(&policy("allow", no_nop(&stage)), "sh");
        daemon.args(["-c", DAEMON]).args([&stage.example("nops"), &fifo, &out]);
        let output = finish(daemon);
        assert_eq!(fs::read_to_string(&out).expect("text"), "2\n", "{output:?}");
    }
    fs::write(SCOPE, before).expect("the first");
}

/// Only who makes the rings can hold `[setup]`, and only filters a condition.
#[test]
fn filters_and_rules_for_new_rings_go_together() {
    let _alone = alone();
    let text = format!(
        "{}[setup]\ndeny_flags = [\"SQE128\"]\n",
        policy("allow", "openat2 = \"flags & O_CREAT != 0\"\n")
    );
    for stage in stages().into_iter().filter(|stage| stage.backend() == "filtered") {
        let client = stage.example("uring_client");
        let refused = |(native, held): &(String, String)| native != held;
        let native = lines(stage.native(&client));
        let stage = stage.with_backend("auto");
        let held = lines(stage.guarded(&text, &client));
        let changed: Vec<_> = native.into_iter().zip(held).filter(refused).collect();
        assert!(!changed.is_empty());
        for (native, held) in changed {
            assert!(native.contains("openat2") && held.contains("-13"), "{native} -> {held}");
        }
        let mut doctor = stage.native(stage.ringwarden());
        doctor.args(["doctor", "--format", "json", "-p"]).arg(stage.file(&text));
        let report: Value = serde_json::from_slice(&finish(doctor).stdout).expect("JSON");
        assert_eq!(report["lanes"]["auto"], "filtered", "{report}");
        let mut ring = stage.guarded(&text, stage.example("captive"));
        ring.arg("wide");
        assert_eq!(attempts(ring)["wide ring"], -1, "EPERM");
    }
}
