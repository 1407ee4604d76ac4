//! The binary interface: symbols and their versions, structs, numbers and signatures, as they were agreed (`abi.txt`), as
//! the header has them, and as Rust has them.
//!
//! `UPDATE_ABI=1 cargo test -p ringwarden-capi --test abi` writes `abi.txt` anew. Only additions keep programs working that
//! were linked before.

mod signature;
mod stage;

use ringwarden_capi::abi::{Code, Diagnostic, Filter, Reason, Rule, Verdict};
use signature::{Function, of_c, of_rust, synopsis};
use stage::{C99, Stage, source, sources, succeed};
use std::collections::BTreeSet;
use std::fmt::{Debug, Write};
use std::mem::offset_of;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::{env, fs};

fn read(path: impl AsRef<Path>) -> String {
    let path = sources().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// That both are the same; else what is in one alone.
fn agree<T: Ord + Debug>(one: &BTreeSet<T>, other: &BTreeSet<T>, which: &str) {
    let apart: Vec<_> = one.symmetric_difference(other).collect();
    assert!(apart.is_empty(), "{which}: {apart:#?}");
}

/// Exported functions with their versions, as `name@@VERSION`.
fn symbols(stage: &Stage) -> BTreeSet<String> {
    let mut nm = Command::new("nm");
    nm.args(["--dynamic", "--defined-only", "--with-symbol-versions"])
        .arg(stage.libraries().join("libringwarden.so"));
    let said = String::from_utf8(succeed(&mut nm).stdout).expect("UTF-8");
    // Of the versions themselves there is an absolute symbol each.
    let defined = said.lines().filter_map(|line| {
        let [_, kind, name] = line.split_whitespace().collect::<Vec<_>>().try_into().ok()?;
        (kind != "A").then(|| name.to_owned())
    });
    defined.collect()
}

/// What the C compiler makes of the header.
fn layout(stage: &Stage) -> &'static str {
    static LAYOUT: OnceLock<String> = OnceLock::new();
    LAYOUT.get_or_init(|| {
        let program = stage.program(&source("layout.c"), C99, "layout");
        String::from_utf8(succeed(&mut stage.run(&program)).stdout).expect("UTF-8")
    })
}

#[test]
fn it_is_what_was_agreed() {
    let Some(stage) = Stage::find() else { return };
    let mut found: String = symbols(stage).into_iter().map(|symbol| symbol + "\n").collect();
    found += layout(stage);
    if env::var_os("UPDATE_ABI").is_some() {
        fs::write(sources().join("tests/abi.txt"), &found).expect("written");
    }
    assert_eq!(found, read("tests/abi.txt"));
}

#[test]
fn nothing_but_the_headers_functions_is_exported() {
    let Some(stage) = Stage::find() else { return };
    let header: BTreeSet<_> = of_c(&read("include/ringwarden.h"))
        .into_iter()
        .map(|function| function.name + "@@RINGWARDEN_0.1")
        .collect();
    agree(&symbols(stage), &header, "the library and the header");
    let mut readelf = Command::new("readelf");
    let dynamic =
        succeed(readelf.args(["--dynamic", "--wide"]).arg(stage.libraries().join("libringwarden.so"))).stdout;
    let dynamic = String::from_utf8(dynamic).expect("UTF-8");
    assert!(dynamic.contains("Library soname: [libringwarden.so.0]"), "{dynamic}");
    let needed: Vec<_> = dynamic.lines().filter(|line| line.contains("(NEEDED)")).collect();
    assert!(
        needed.iter().all(|line| ["libc.so", "libgcc_s.so", "ld-linux"].iter().any(|own| line.contains(own))),
        "{needed:?}"
    );
}

/// The lines of `layout.c` as Rust has them.
macro_rules! lines {
    ($out:expr, $type:ident as $name:literal: $($field:ident: $of:ty),* $(,)?) => {{
        writeln!($out, "struct {}: {} bytes", $name, size_of::<$type>()).expect("text");
        $(
            // The type is the field's: that compiles.
            let _: fn(&$type) -> &$of = |value| &value.$field;
            let (size, at) = (size_of::<$of>(), offset_of!($type, $field));
            writeln!($out, "{}.{}: {size} bytes at {at}", $name, stringify!($field)).expect("text");
        )*
    }};
}

#[test]
fn structs_and_numbers_are_the_same_in_both_languages() {
    let Some(stage) = Stage::find() else { return };
    type Text = *const std::ffi::c_char;
    let mut rust = String::new();
    lines!(rust, Rule as "ringwarden_rule": file: Text, key: Text, text: Text, line: u32, column: u32, layer: u32, reserved: u32);
    lines!(rust, Verdict as "ringwarden_verdict": res: i32, reason: u32, rule: Rule, reserved: [u64; 2]);
    lines!(rust, Filter as "ringwarden_filter": opcode: u32, flags: u32, payload_size: u32, length: u32,
        instructions: *const ringwarden::cbpf::Insn, rule: Rule, reserved: [u64; 2]);
    lines!(rust, Diagnostic as "ringwarden_diagnostic": id: Text, file: Text, message: Text, help: Text, line: u32,
        column: u32, reserved: [u64; 2]);
    for code in Code::ALL {
        let name = format!("{code:?}").to_uppercase();
        let prefix = if code == Code::Ok { "RINGWARDEN_" } else { "RINGWARDEN_E_" };
        writeln!(rust, "{prefix}{name}: {}", code.number()).expect("text");
    }
    for reason in [Reason::Allowed, Reason::Refused, Reason::Malformed] {
        let name = format!("{reason:?}").to_uppercase();
        writeln!(rust, "RINGWARDEN_{name}: {}", reason as u32).expect("text");
    }
    let [rust, c] = [&rust, layout(stage)].map(|lines| lines.lines().collect());
    agree(&rust, &c, "Rust and C");
}

fn named(functions: Vec<Function>) -> BTreeSet<Function> {
    functions.into_iter().collect()
}

#[test]
fn signatures_are_the_same_in_both_languages_and_on_the_page() {
    let header = named(of_c(&read("include/ringwarden.h")));
    assert!(header.len() > 20, "{header:?}");
    let exports = fs::read_dir(sources().join("src/export")).expect("the folder");
    let rust = exports.flatten().flat_map(|file| of_rust(&read(file.path())));
    agree(&named(rust.collect()), &header, "Rust and the header");
    agree(&named(of_c(&synopsis(&read("man/ringwarden.3")))), &header, "the page and the header");
}

#[test]
fn it_says_its_version() {
    let version = env!("CARGO_PKG_VERSION");
    let header = read("include/ringwarden.h");
    let parts: Vec<_> = version.split('.').collect();
    let [major, minor, patch] = parts[..] else { panic!("{version}") };
    for line in [
        format!("VERSION \"{version}\""),
        format!("VERSION_MAJOR {major}"),
        format!("VERSION_MINOR {minor}"),
        format!("VERSION_PATCH {patch}"),
    ] {
        assert!(header.contains(&format!("\n#define RINGWARDEN_{line}\n")), "{line}");
    }
    assert!(read("man/ringwarden.3").contains(&format!("\"Ringwarden {version}\"")));
    let Some(stage) = Stage::find() else { return };
    assert_eq!(stage.pkg_config(&["--modversion"]), [version]);
}

#[test]
fn every_function_has_a_page() {
    let Some(stage) = Stage::find() else { return };
    for Function { name, .. } in of_c(&read("include/ringwarden.h")) {
        let page = stage.below(&format!("share/man/man3/{name}.3"));
        assert_eq!(
            fs::read_to_string(&page).ok().as_deref(),
            Some(".so man3/ringwarden.3\n"),
            "{}",
            page.display()
        );
    }
    let mut groff = Command::new("groff");
    groff.args(["-man", "-Tutf8", "-ww", "-z"]).arg(stage.below("share/man/man3/ringwarden.3"));
    match groff.output() {
        Ok(output) => assert!(output.status.success() && output.stderr.is_empty(), "{output:?}"),
        Err(error) => stage::skip(&format!("groff: {error}")),
    }
}
