//! C programs that use the library: those in `c`, and the one of the man page.
//!
//! `RINGWARDEN_C_PROGRAMS=FOLDER` leaves library and programs there, for other machines.

mod stage;

use ringwarden::kernel::Facts;
use ringwarden_capi::abi::Code;
use stage::{C99, SANITIZED, Stage, source, sources, succeed};
use std::path::PathBuf;
use std::process::Command;
use std::{env, fs};

/// Programs that say by their status whether all is well.
const PROGRAMS: [&str; 4] = ["policies", "judge", "filters", "misuse"];

#[test]
fn programs_get_what_the_header_says() {
    let Some(stage) = Stage::find() else { return };
    for name in PROGRAMS {
        let program = stage.program(&source(&format!("{name}.c")), C99, name);
        succeed(&mut stage.run(&program));
    }
}

#[test]
fn sanitizers_have_nothing_against_it() {
    let Some(stage) = Stage::find() else { return };
    let flags = [C99, SANITIZED].concat();
    let sanitized = |name: &str| {
        let program = stage.program(&source(&format!("{name}.c")), &flags, &format!("{name}-sanitized"));
        let mut command = stage.run(&program);
        command.env("ASAN_OPTIONS", "detect_leaks=1:detect_stack_use_after_return=1");
        command
    };
    for name in PROGRAMS {
        succeed(&mut sanitized(name));
    }
    confines_itself(&mut sanitized("confine"));
}

/// A program that leaks a policy must not pass, or nothing is known of those that do.
#[test]
fn sanitizers_see_what_the_library_allocates() {
    let Some(stage) = Stage::find() else { return };
    let leak = "#include <ringwarden.h>\nint main(void)\n{\n    struct ringwarden_policy *policy;\n    int code = \
                ringwarden_policy_from_file(\"@nothing\", &policy, NULL);\n    policy = NULL;\n    return code || \
                policy;\n}\n";
    let program = stage.program(&stage.file("leak.c", leak), &[C99, SANITIZED].concat(), "leak");
    let output = stage.run(&program).env("ASAN_OPTIONS", "detect_leaks=1").output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("LeakSanitizer: detected memory leaks"), "{said}");
}

#[test]
fn the_static_library_is_as_good() {
    let Some(stage) = Stage::find() else { return };
    for name in PROGRAMS {
        let flags = [C99, &["-Wl,--gc-sections"]].concat();
        let program = stage.static_program(&source(&format!("{name}.c")), &flags, &format!("{name}-static"));
        succeed(&mut stage.run(&program));
    }
}

#[test]
fn the_header_stands_by_itself_in_every_dialect() {
    let Some(stage) = Stage::find() else { return };
    let strict = &C99[1..];
    let alone = stage
        .file("alone.c", "#include <ringwarden.h>\n#include <ringwarden.h>\nint main(void) { return 0; }\n");
    for dialect in ["-std=c99", "-std=c11", "-std=gnu17"] {
        stage.program(&alone, &[strict, &[dialect]].concat(), "alone");
    }
    for dialect in ["-std=c++11", "-std=c++20"] {
        let program = stage.program(&source("plain.cc"), &[strict, &[dialect]].concat(), "plain");
        succeed(&mut stage.run(&program));
    }
}

#[test]
fn a_program_confines_itself() {
    let Some(stage) = Stage::find() else { return };
    confines_itself(&mut stage.run(&stage.program(&source("confine.c"), C99, "confine")));
}

/// Where the kernel has no filters, that is what the program says.
fn confines_itself(program: &mut Command) {
    let output = program.output().expect("it starts");
    let said = [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat();
    match output.status.code() {
        Some(0) => {}
        Some(77) => eprintln!("{said}"),
        _ => panic!("{}\n{said}", output.status),
    }
}

#[test]
fn the_program_of_the_man_page_works() {
    let Some(stage) = Stage::find() else { return };
    let program = stage.program(&example(stage), C99, "example");
    let policy = |connect: &str| {
        stage.file(
            "policy.toml",
            &format!("version = 1\ndefault = \"deny\"\n[ops]\nconnect = \"{connect}\"\n"),
        )
    };
    let said =
        |policy: &PathBuf| String::from_utf8(succeed(stage.run(&program).arg(policy)).stdout).expect("UTF-8");
    assert_eq!(said(&policy("port == 443")), "10.1.2.3:443: allowed\n");
    let refusing = policy("port == 80");
    let refused = format!("10.1.2.3:443: Permission denied, says `connect` at {}:4\n", refusing.display());
    assert_eq!(said(&refusing), refused);
    let output = stage.run(&program).arg(&refusing).args(["echo", "executed"]).output().expect("it starts");
    match output.status.code() {
        Some(0) => assert_eq!(String::from_utf8_lossy(&output.stdout), refused + "executed\n"),
        // A machine without filters.
        Some(125) if env::var_os("RINGWARDEN_REQUIRE_KERNEL").is_none() => {
            assert_eq!(String::from_utf8_lossy(&output.stdout), refused);
            assert!(String::from_utf8_lossy(&output.stderr).starts_with("this machine: "), "{output:?}");
        }
        _ => panic!("{output:?}"),
    }
    let missing = stage.run(&program).arg("missing.toml").output().expect("it starts");
    assert_eq!(missing.status.code(), Some(125));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("No such file"), "{missing:?}");
}

#[test]
fn the_function_of_the_documentation_works() {
    let Some(stage) = Stage::find() else { return };
    let text = fs::read_to_string(sources().join("../../docs/c.md")).expect("the documentation");
    let (_, behind) = text.split_once("\n```c\n").expect("a function");
    let (function, _) = behind.split_once("\n```\n").expect("its end");
    // It is for a file of its own.
    let main = "int confine(const char *path);\nint main(int argc, char **argv) { return argc > 1 ? -confine(argv[1]) : 0; }";
    let source = stage.file("confining.c", &format!("{main}\n{function}\n"));
    let program = stage.program(&source, &[C99, SANITIZED].concat(), "confining");
    let status = |policy: &str| {
        let mut command = stage.run(&program);
        command.arg(policy).env("ASAN_OPTIONS", "detect_leaks=1").output().expect("it starts").status.code()
    };
    assert_eq!(status("missing.toml"), Some(-Code::File.number()));
    let lacks = env::var_os("RINGWARDEN_REQUIRE_KERNEL").is_none() && Facts::find().usable().is_err();
    let expected = if lacks { Code::Lacking } else { Code::Ok };
    assert_eq!(status("@nothing"), Some(-expected.number()));
}

/// The program of the page, as a reader would copy it.
fn example(stage: &Stage) -> PathBuf {
    let page = fs::read_to_string(sources().join("man/ringwarden.3")).expect("the page");
    let (_, behind) = page.split_once("\n.EX\n").expect("an example");
    let (program, _) = behind.split_once("\n.EE\n").expect("its end");
    let lines = program.lines().map(|line| {
        assert!(!line.starts_with(['.', '\'']), "a request of roff's: {line}");
        line.replace("\\e", "\u{0}").replace("\\-", "-")
    });
    let text: String = lines.map(|line| line + "\n").collect();
    assert!(!text.contains('\\'), "an escape of roff's that is not known here: {text}");
    stage.file("example.c", &text.replace('\u{0}', "\\"))
}

/// As the release profile of this workspace would make it.
#[test]
fn a_library_that_ends_programs_is_not_installed() {
    if Stage::find().is_none() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let archive = folder.path().join("libringwarden_capi.a");
    std::fs::write(&archive, "!<arch>\n").expect("written");
    let mut install = Command::new(sources().join("install"));
    let output = install.arg(&archive).arg(folder.path()).args(["/usr", "lib"]).output().expect("sh");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && told.contains("`--profile capi`"), "{told}");
    assert!(!folder.path().join("usr").exists(), "nothing is half-done");
}
