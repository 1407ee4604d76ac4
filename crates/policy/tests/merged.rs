//! Policies that extend others, and what they require of every request.

use ringwarden_cbpf::Program;
use ringwarden_filter::{CallRules, SetupRules};
use ringwarden_policy::{Base, Code, Compiled, Decision, Diagnostics, Policy, Rule, compile};
use ringwarden_uapi::ring::{Params, SetupFlags};
use ringwarden_uapi::{KernelModel, OPCODES, Opcode, RegisterOp};

/// The policy `top` of some files.
fn read(files: &[(&str, &str)]) -> Result<Policy, Diagnostics> {
    let text = |name: &str| files.iter().find(|(file, _)| *file == name).map(|(_, text)| (*text).to_owned());
    Policy::parse_with(&text("top").expect("the top is there"), "top", |name, _| match text(name) {
        Some(text) => Ok(Base { file: name.to_owned(), text }),
        None => Err("no such file".to_owned()),
    })
}

fn request(opcode: u8, sqe_flags: u8, user_data: u32) -> [u32; 10] {
    let mut words = [0; 10];
    words[0] = user_data;
    words[2] = u32::from_ne_bytes([opcode, sqe_flags, 0, 0]);
    words
}

/// What the programs say of a request, for operations with a filter, and DENY_REST for the others.
fn enforced(compiled: &Compiled, words: &[u32; 10]) -> Decision {
    let opcode = Opcode(words[2].to_ne_bytes()[0]);
    let mut filters = compiled.filters.iter().filter(|filter| filter.opcode == opcode).peekable();
    let rest = compiled.filters.iter().any(|filter| filter.deny_rest);
    let allowed = match filters.peek() {
        Some(_) => filters.all(|filter| Program::new(&filter.insns, 40).expect("acceptable").run(words) != 0),
        None => !rest,
    };
    if allowed { Decision::Allow } else { Decision::Deny }
}

#[test]
fn what_is_required_is_required_of_every_operation() {
    for default in ["allow", "deny"] {
        let policy = read(&[(
            "top",
            &format!(
                "version = 1\ndefault = \"{default}\"\n[all]\nrequire = \"sqe_flags == 1\"\n\
                 [ops]\nread = \"allow\"\nwrite = \"deny\"\nnop = \"user_data == 7\"\n"
            ),
        )]);
        let policy = policy.unwrap_or_else(|errors| panic!("{errors}"));
        let compiled = compile(std::slice::from_ref(&policy), KernelModel::V7_3).expect("it compiles");
        for opcode in 0..=u8::MAX {
            for (sqe_flags, user_data) in [(0, 0), (0, 7), (1, 0), (1, 7), (3, 7)] {
                let words = request(opcode, sqe_flags, user_data);
                let name = OPCODES.iter().find(|info| info.opcode.0 == opcode).map(|info| info.name);
                let allowed = match name {
                    Some("read") => true,
                    Some("write") => false,
                    Some("nop") => user_data == 7,
                    Some(_) => default == "allow",
                    None => false,
                };
                let expected = if allowed && sqe_flags == 1 { Decision::Allow } else { Decision::Deny };
                assert_eq!(policy.evaluate(&words), expected, "{default} {name:?} {sqe_flags} {user_data}");
                assert_eq!(
                    enforced(&compiled, &words),
                    expected,
                    "{default} {name:?} {sqe_flags} {user_data}"
                );
                let origin = policy.decide(&words).1;
                let of_requirement = allowed && sqe_flags != 1 || name.is_none() && default == "allow";
                assert_eq!(origin.key == "require", of_requirement, "{default} {name:?} {sqe_flags}");
            }
        }
    }
}

#[test]
fn the_nearer_file_wins_rule_by_rule() {
    let policy = read(&[
        ("far", "version = 1\ndefault = \"allow\"\n[ops]\nread = \"deny\"\nnop = \"deny\"\n"),
        (
            "near",
            "version = 1\ndefault = \"deny\"\n[all]\nrequire = \"sqe_flags == 0\"\n\
             [ops]\nnop = \"allow\"\nopenat = \"deny\"\nclose = \"deny\"\n",
        ),
        (
            "top",
            "version = 1\nextends = [\"far\", \"near\"]\n[ops]\n\"@files\" = \"allow\"\nclose = \"user_data == 1\"\n",
        ),
    ]);
    let policy = policy.unwrap_or_else(|errors| panic!("{errors}"));
    for (operation, expected) in [
        (Opcode::READ, "far: read = deny"),
        (Opcode::NOP, "near: nop = allow"),
        (Opcode::OPENAT, "top: @files = allow"),
        (Opcode::CLOSE, "top: close = user_data == 1"),
        (Opcode::WRITE, "near: default = deny"),
    ] {
        let origin = policy.rule(operation).origin();
        assert_eq!(format!("{}: {} = {}", origin.file, origin.key, origin.text), expected);
    }
    assert_eq!(policy.requirement().map(|origin| origin.file.as_str()), Some("near"));
    assert_eq!(policy.evaluate(&request(Opcode::OPENAT.0, 0, 0)), Decision::Allow);
    assert_eq!(policy.evaluate(&request(Opcode::OPENAT.0, 1, 0)), Decision::Deny);
}

fn codes(files: &[(&str, &str)]) -> Vec<(String, Code)> {
    let errors = read(files).expect_err("it is wrong");
    errors.iter().map(|error| (error.file().to_owned(), error.code())).collect()
}

#[test]
fn errors_are_told_of_the_file_that_has_them() {
    let base = "version = 1\ndefault = \"deny\"\n[ops]\nraed = \"allow\"\n";
    let top = "version = 1\nextends = [\"base\", \"missing\"]\n[ops]\nwirte = \"allow\"\n";
    let mut found = codes(&[("base", base), ("top", top)]);
    found.sort();
    let expected =
        [("base", Code::UnknownOperation), ("top", Code::UnknownOperation), ("top", Code::Extends)];
    assert_eq!(found, expected.map(|(file, code)| (file.to_owned(), code)));
    let on_connect = "version = 1\ndefault = \"deny\"\n[ops]\nconnect = \"port == 1\"\n";
    let policy = read(&[("base", on_connect), ("top", "version = 1\nextends = [\"base\"]\n")]).expect("good");
    let errors = compile(&[policy], KernelModel::V7_0).expect_err("CONNECT shows nothing there");
    let places: Vec<_> = errors.iter().map(|error| (error.file(), error.place())).collect();
    assert_eq!(places, [("base", (4, 11))]);
}

#[test]
fn circles_and_crowds_end() {
    let itself = "version = 1\nextends = [\"top\"]\n";
    assert_eq!(codes(&[("top", itself)]), [("top".to_owned(), Code::Extends)]);
    // Each names the next one eight times: 8 to the power of 8 files.
    let names: Vec<_> =
        (0..9).map(|level| if level == 0 { "top".into() } else { level.to_string() }).collect();
    let texts: Vec<_> = (1..10)
        .map(|level| {
            format!(
                "version = 1\ndefault = \"deny\"\nextends = [{}]\n",
                vec![format!("\"{level}\""); 8].join(", ")
            )
        })
        .collect();
    let files: Vec<_> = names.iter().map(String::as_str).zip(texts.iter().map(String::as_str)).collect();
    assert!(codes(&files).iter().all(|(_, code)| *code == Code::Extends));
}

/// Each flag, size and opcode that a policy lets through, and by which line.
#[test]
fn tables_about_calls_merge_key_by_key() {
    let base = "version = 1\ndefault = \"deny\"\n[setup]\ndeny_flags = [\"IOPOLL\"]\nmax_entries = 64\n\
                [register]\ndefault = \"deny\"\nallow = [\"@files\", \"probe\"]\n";
    let policy = |top: &str| {
        let text = format!("version = 1\nextends = [\"base\"]\n{top}");
        read(&[("base", base), ("top", &text)]).unwrap_or_else(|errors| panic!("{errors}"))
    };
    let allowed = |policy: &Policy| -> Vec<String> {
        policy.calls().register.known(true).map(|op| op.to_string()).collect()
    };
    let files = ["files", "unregister_files", "files_update", "files2", "files_update2", "file_alloc_range"];

    let same = policy("");
    assert_eq!(same.calls().setup, SetupRules { denied: SetupFlags::IOPOLL, max_entries: 64 });
    let mut expected = files.map(str::to_owned).to_vec();
    expected.insert(3, "probe".to_owned());
    assert_eq!(allowed(&same), expected);
    assert!(!same.calls().register.allow(RegisterOp(38)));

    let nearer =
        policy("[setup]\ndeny_flags = [\"SQPOLL\", \"SQE128\"]\n[register]\ndeny = [\"files\", \"probe\"]\n");
    let denied = SetupFlags::SQPOLL | SetupFlags::SQE128;
    assert_eq!(nearer.calls().setup, SetupRules { denied, max_entries: 64 });
    assert_eq!(allowed(&nearer), files[1..]);
    let origin = |op| nearer.register_rule(op).map(|rule| (rule.origin().to_owned(), rule));
    let (by, rule) = origin(RegisterOp::REGISTER_PROBE).expect("a rule");
    assert!(matches!(rule, Rule::Deny(_)));
    assert_eq!((by.file.as_str(), by.key.as_str(), by.text.as_str()), ("top", "register.deny", "probe"));
    let (by, _) = origin(RegisterOp::REGISTER_EVENTFD).expect("a rule");
    assert_eq!((by.file.as_str(), by.key.as_str(), by.line), ("base", "register.default", 7));
    let refusal = |entries, flags: SetupFlags| {
        let params = Params { flags: flags.bits(), ..Params::default() };
        nearer.setup_refusal(entries, &params).map(|origin| format!("{}:{}", origin.file, origin.key))
    };
    assert_eq!(refusal(64, SetupFlags::IOPOLL), None);
    assert_eq!(refusal(65, SetupFlags::empty()).as_deref(), Some("base:setup.max_entries"));
    assert_eq!(refusal(65, SetupFlags::SQPOLL).as_deref(), Some("top:setup.deny_flags"));

    let open = policy("[setup]\ndeny_flags = []\nmax_entries = 32768\n[register]\ndefault = \"allow\"\n");
    assert_eq!(open.calls(), CallRules::default());
    // An opcode's own name beats its group, whichever list it is in.
    let own = policy("[register]\ndefault = \"deny\"\ndeny = [\"@files\"]\nallow = [\"files2\"]\n");
    assert_eq!(allowed(&own), ["probe", "files2"]);
    assert_eq!(
        read(&[("top", "version = 1\ndefault = \"deny\"\n")]).expect("good").calls(),
        CallRules::default()
    );
}

/// What a file defines, those can use that extend it, whatever lies between them.
#[test]
fn names_are_extended_with_their_file() {
    let files = [
        ("names", "version = 1\ndefault = \"deny\"\n[define]\nlan = \"10.0.0.0/8\"\nweb = \"{80, 443}\"\n"),
        (
            "base",
            "version = 1\nextends = [\"names\"]\n[define]\nlocal = \"{lan, fd00::/8}\"\n[ops]\nnop = \"allow\"\n",
        ),
        (
            "top",
            "version = 1\nextends = [\"names\", \"base\"]\n[define]\nweb = \"{443, 80}\"\nports = \"{web, 8443}\"\n\
             [ops]\nconnect = \"addr in local && port in ports\"\n",
        ),
    ];
    let again = read(&files).expect_err("`web` is written in another order");
    assert_eq!(again.iter().map(|error| error.code()).collect::<Vec<_>>(), [Code::Taken]);
    let top = files[2].1.replace("web = \"{443, 80}\"\n", "web = \"{80, 443}\"\n");
    let policy = read(&[files[0], files[1], ("top", &top)]).unwrap_or_else(|errors| panic!("{errors}"));
    assert!(policy.warnings().is_none(), "{:?}", policy.warnings());
    let connect = |family: u32, port: u16, first: [u8; 4]| {
        let mut words = request(16, 0, 0);
        (words[4], words[5], words[6]) = (family, port.swap_bytes().into(), u32::from_ne_bytes(first));
        policy.evaluate(&words)
    };
    assert_eq!(connect(2, 443, [10, 1, 1, 1]), Decision::Allow);
    assert_eq!(connect(10, 8443, [0xfd, 0, 0, 0]), Decision::Allow);
    assert_eq!(connect(2, 22, [10, 1, 1, 1]), Decision::Deny);
    assert_eq!(connect(2, 80, [11, 1, 1, 1]), Decision::Deny);
    // The listing is a file of its own.
    let listed = Policy::parse(&policy.listing(), "listing").unwrap_or_else(|errors| panic!("{errors}"));
    let programs = |policy| compile(&[policy], KernelModel::V7_3).expect("it compiles").filters;
    assert_eq!(programs(policy), programs(listed));
}

#[test]
fn a_name_means_one_thing_in_all_files() {
    let names = |port: u16| format!("version = 1\ndefault = \"deny\"\n[define]\nweb = {port}\n");
    let (one, other) = (names(80), names(443));
    let top = |extends: &str, define: &str| {
        let text =
            format!("version = 1\nextends = [{extends}]\n{define}\n[ops]\nconnect = \"port == web\"\n");
        read(&[("one", &one), ("other", &other), ("top", &text)])
    };
    assert!(top("\"one\"", "").is_ok() && top("\"one\", \"one\"", "[define]\nweb = 80").is_ok());
    for (extends, define, place) in
        [("\"one\"", "[define]\nweb = 81", ("top", 4)), ("\"one\", \"other\"", "", ("top", 2))]
    {
        let errors = top(extends, define).expect_err("two meanings");
        let found: Vec<_> =
            errors.iter().map(|error| (error.code(), error.file(), error.place().0)).collect();
        assert_eq!(found, [(Code::Taken, place.0, place.1)]);
    }
    // What is wrong in a file that is extended is told once, there.
    let broken = "version = 1\ndefault = \"deny\"\n[define]\nweb = \"{80\"\n";
    let errors = read(&[
        ("broken", broken),
        ("top", "version = 1\nextends = [\"broken\"]\n[ops]\nconnect = \"port == 80\"\n"),
    ]);
    let errors = errors.expect_err("a bracket is open");
    assert_eq!(errors.iter().map(|error| error.file()).collect::<Vec<_>>(), ["broken"]);
}

/// Sets of sets of sets, and definitions on definitions, end somewhere.
#[test]
fn definitions_of_strangers_are_bounded() {
    let policy = |define: &str, rule: &str| {
        let text =
            format!("version = 1\ndefault = \"deny\"\n[define]\n{define}\n[ops]\nconnect = \"{rule}\"\n");
        Policy::parse(&text, "top").err().map(|errors| errors.iter().next().expect("one").code())
    };
    let chain = |links: usize| {
        let links = (1..links).map(|link| format!("n{link} = \"n{}\"\n", link - 1));
        format!("n0 = 1\n{}", links.collect::<String>())
    };
    assert_eq!(policy(&chain(60), "port == n59"), None);
    assert_eq!(policy(&chain(2_000), "port == n5"), Some(Code::TooDeep));
    let doubled: String = (1..60).map(|n| format!("n{n} = \"{{n{0}, n{0}}}\"\n", n - 1)).collect();
    assert_eq!(policy(&format!("n0 = \"{{1, 3}}\"\n{doubled}"), "port in n59"), None);
    let thousand: Vec<_> = (0..1000).map(|n| (2 * n).to_string()).collect();
    let set = format!("many = \"{{{}}}\"\n", thousand.join(", "));
    assert_eq!(policy(&set, &vec!["port in many"; 300].join(" && ")), Some(Code::TooLong));
    let copies: String = (0..300).map(|n| format!("n{n} = \"{{many, {}}}\"\n", 2 * n + 1)).collect();
    assert_eq!(policy(&(set + &copies), "port in many"), Some(Code::NotConstant));
}

/// How many bits an inverted number has is decided where it is used.
#[test]
fn what_is_computed_for_a_name_fits_where_it_is_used() {
    let programs = |define: &str, rules: &str| {
        let text = format!("version = 1\ndefault = \"deny\"\n{define}[ops]\n{rules}");
        let policy = Policy::parse(&text, "top").unwrap_or_else(|errors| panic!("{errors}"));
        let filters = compile(&[policy], KernelModel::V7_3).expect("it compiles").filters;
        filters.into_iter().map(|filter| filter.insns).collect::<Vec<_>>()
    };
    let define = "[define]\nopen = \"~(O_CLOEXEC | O_NOFOLLOW)\"\nsocket = \"~SOCK_CLOEXEC\"\n\
                  high = \"1 << 40\"\nsum = \"3 + 4\"\nset = \"{sum, 1..=2, ~0 - 1}\"\n";
    let named = "openat2 = \"flags & open == 0 && mode & high == 0\"\n\
                 socket = \"type_flags & socket == 0 && protocol in set\"\n";
    let plain = "openat2 = \"flags & ~(O_CLOEXEC | O_NOFOLLOW) == 0 && mode & (1 << 40) == 0\"\n\
                 socket = \"type_flags & ~SOCK_CLOEXEC == 0 && protocol in {3 + 4, 1..=2, ~0 - 1}\"\n";
    assert_eq!(programs(define, named), programs("", plain));
}
