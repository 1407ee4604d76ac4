//! `ringwarden report`: the page as a browser's parser sees it, and what becomes of the file.

#[path = "../../cli/tests/launch/mod.rs"]
mod launch;

use launch::built;
use ringwarden::policy::PRESETS;
use ringwarden::uapi::OPCODES;
use scraper::{ElementRef, Html, Node, Selector};
use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn ringwarden(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(built("ringwarden"));
    command.args(arguments).current_dir(folder).env("NO_COLOR", "1").output().expect("the binary starts")
}

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        fs::write(folder.path().join(name), text).expect("writable");
    }
    folder
}

/// The page that is written to standard output, and the exit status.
fn report(folder: &Path, arguments: &[&str]) -> (Html, String, i32) {
    let output = ringwarden(folder, &[&["report"], arguments].concat());
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let status = output.status.code().expect("a status");
    assert!(status < 2, "{}", String::from_utf8_lossy(&output.stderr));
    let page = Html::parse_document(&text);
    assert!(page.errors.is_empty(), "{:?}", page.errors);
    (page, text, status)
}

fn all<'p>(page: &'p Html, selector: &str) -> Vec<ElementRef<'p>> {
    page.select(&Selector::parse(selector).expect("a selector")).collect()
}

fn one<'p>(page: &'p Html, selector: &str) -> ElementRef<'p> {
    let found = all(page, selector);
    assert_eq!(found.len(), 1, "{selector}");
    found[0]
}

/// What there is to read: spaces put together, and one before each block and cell.
fn text(element: ElementRef<'_>) -> String {
    let mut text = String::new();
    for node in element.descendants() {
        match node.value() {
            Node::Text(part) => text.push_str(part),
            Node::Element(part) if !["a", "code", "span", "strong", "small"].contains(&part.name()) => {
                text.push(' ')
            }
            _ => {}
        }
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn within<'p>(element: ElementRef<'p>, selector: &str) -> Vec<ElementRef<'p>> {
    element.select(&Selector::parse(selector).expect("a selector")).collect()
}

const SMALL: &str = r#"version = 1
name = "small"
default = "deny"

[define]
inside = "{10.0.0.0/8, fd00::/8}"

[ops]
"@read-write" = "allow"
openat  = "allow"
socket  = "family in {AF_INET, AF_INET6}"
connect = '''
  addr in inside
    && port == 443
'''

[[never]]
name = "nothing outside"
op   = "connect"
when = "addr in 192.0.2.0/24"

[[test]]
op     = "connect"
with   = { addr = "10.1.2.3", port = 443 }
expect = "allow"
"#;

/// What holds for every page.
fn examine(page: &Html, source: &str) {
    assert_eq!(one(page, "html").attr("lang"), Some("en"));
    let mut ids = HashSet::new();
    for element in all(page, "[id]") {
        assert!(ids.insert(element.attr("id").expect("an id")), "{:?} is there twice", element.attr("id"));
    }
    // Every link within the page leads somewhere.
    let links = all(page, "a[href^='#']");
    assert!(links.len() > 60, "{} links", links.len());
    for link in links {
        assert!(ids.contains(&link.attr("href").expect("a link")[1..]), "{:?}", link.attr("href"));
    }
    for table in all(page, "table") {
        assert_eq!(within(table, "caption").len(), 1, "{}", table.html());
        for head in within(table, "th") {
            assert!(matches!(head.attr("scope"), Some("col" | "row" | "rowgroup")), "{}", head.html());
        }
        // A cell without columns says what it is.
        assert!(within(table, "td").iter().all(|cell| cell.attr("data-label").is_some()));
    }
    for section in all(page, "section") {
        assert!(ids.contains(section.attr("aria-labelledby").expect("a name")));
    }
    // Nothing comes from elsewhere; a link is what the reader follows.
    for element in all(page, "*") {
        for (name, value) in element.value().attrs() {
            let is_link = element.value().name() == "a" && name == "href";
            assert!(is_link || !value.contains("://"), "{}", element.html());
            assert!(!["src", "srcset", "style", "action", "data"].contains(&name), "{}", element.html());
            assert!(!name.starts_with("on"), "{}", element.html());
        }
    }
    for forbidden in ["link", "img", "iframe", "object", "base", "script[src]", "svg"] {
        assert!(all(page, forbidden).is_empty(), "{forbidden}");
    }
    let style = text(one(page, "style"));
    assert!(!style.contains("url(") && !style.contains("@import"));
    let policy = one(page, "meta[http-equiv='Content-Security-Policy']").attr("content").expect("a policy");
    assert!(policy.starts_with("default-src 'none'; ") && !policy.contains("unsafe"), "{policy}");
    // Without scripts nothing is offered that needs one.
    assert!(one(page, "#tools").attr("hidden").is_some());
    assert!(!source.contains("ringwarden-report") && !source.contains('\r'));
}

#[test]
fn every_operation_has_a_row_with_its_rule() {
    let folder = folder(&[("small.toml", SMALL)]);
    let (page, source, status) = report(folder.path(), &["small.toml"]);
    assert_eq!(status, 0);
    examine(&page, &source);
    for info in OPCODES {
        let row = one(&page, &format!("#op-{}", info.name));
        assert_eq!(within(row, "th[scope=row]").len(), 1);
        assert_eq!(within(row, "td").len(), 2, "{}", row.html());
        assert_eq!(within(row, "td .chip").len(), 1, "{}", row.html());
    }
    for (id, expected) in [
        ("op-readv", "readv Linux 5.1 allow @read-write line 9 restricted 5.10"),
        ("op-openat", "openat Linux 5.6 allow line 10 restricted 5.10"),
        ("op-openat2", "openat2 Linux 5.6 deny default line 3 restricted 5.10"),
        ("op-socket", "socket Linux 5.19 if family in {AF_INET, AF_INET6} line 11 filtered 7.0 split 6.10"),
        ("op-connect", "connect Linux 5.5 if addr in inside && port == 443 line 12 filtered 7.2 split 6.10"),
        ("later", "of later kernels deny default line 3 restricted refuses them"),
    ] {
        assert_eq!(text(one(&page, &format!("#{id}"))), expected);
    }
    // Lines of a condition stay as they were written.
    let rule = within(one(&page, "#op-connect"), "code.rule")[0];
    assert_eq!(rule.text().collect::<String>(), "addr in inside\n  && port == 443");
}

#[test]
fn a_rule_leads_to_the_line_that_it_is_in() {
    let base = "version = 1\ndefault = \"allow\"\n[ops]\n\"@commands\" = \"deny\"\n\n[all]\nrequire = \"user_data != 7\"\n";
    let top = "version = 1\nextends = [\"base.toml\"]\n[ops]\nnop = \"deny\"\n[register]\ndefault = \"allow\"\ndeny = [\"probe\"]\n";
    let folder = folder(&[("base.toml", base), ("top.toml", top)]);
    let (page, source, status) = report(folder.path(), &["top.toml", "@nothing"]);
    assert_eq!(status, 0);
    examine(&page, &source);
    let line = |row: &str, cell: usize, link: usize| {
        let cell = within(one(&page, row), "td")[cell];
        let target = within(cell, "a.at")[link].attr("href").expect("a link");
        text(one(&page, &format!("{target} code")))
    };
    assert_eq!(line("#op-nop", 0, 0), "nop = \"deny\"");
    assert_eq!(line("#op-uring_cmd", 0, 0), "\"@commands\" = \"deny\"");
    assert_eq!(line("#op-uring_cmd", 1, 0), "default = \"deny\"");
    assert_eq!(line("#op-read", 0, 0), "default = \"allow\"");
    assert_eq!(line("#every-request", 0, 0), "require = \"user_data != 7\"");
    assert!(
        text(one(&page, "#op-read"))
            .ends_with("if default base.toml:2 + require deny default line 5 deny restricted 5.10"),
        "{}",
        text(one(&page, "#op-read"))
    );
    let register = text(one(&page, "#calls"));
    assert!(register.contains("probe deny probe line 7 deny default line 8"), "{register}");
    // Every file is there as it is.
    let sources: Vec<String> = all(&page, ".source")
        .into_iter()
        .map(|source| within(source, "code").into_iter().flat_map(|code| code.text()).collect())
        .collect();
    assert_eq!(sources[..2], [top, base]);
    assert_eq!(sources.len(), 3);
}

#[test]
fn presets_as_layers_are_whole_pages() {
    let folder = folder(&[]);
    let names: Vec<_> = PRESETS.iter().map(|preset| preset.name).collect();
    let (page, source, _) = report(folder.path(), &names);
    examine(&page, &source);
    let row = one(&page, "#op-read");
    assert_eq!(within(row, "td").len(), PRESETS.len() + 2);
    assert_eq!(text(within(row, ".together")[0]), "deny");
    // The same where they are separated by commas.
    assert_eq!(report(folder.path(), &[&names.join(",")]).1, source);
}

#[test]
fn what_strangers_write_is_text() {
    const EVIL: &str = "</script></style><img src=x onerror=alert(1)><!--";
    let name = "a<b>&\"'`\u{202e}.toml";
    let policy = format!(
        "# {EVIL}\nversion = 1\nname = '''{EVIL}'''\ndefault = \"deny\" # \u{202e}\u{200b}]]>\n[ops]\nnop = \"allow\"\n\
         [[test]]\nname = '''{EVIL}'''\nop = \"nop\"\nexpect = \"allow\"\n[[always]]\nname = '''{EVIL}'''\nop = \"nop\"\n"
    );
    let folder = folder(&[(name, &policy)]);
    let (page, source, status) = report(folder.path(), &[name, "--title", EVIL]);
    assert_eq!(status, 0);
    examine(&page, &source);
    assert_eq!(all(&page, "script").len(), 1);
    assert_eq!(text(one(&page, "h1")), EVIL);
    assert!(text(one(&page, "title")).starts_with(EVIL));
    assert!(text(one(&page, "#assertions")).contains(EVIL));
    assert!(text(one(&page, "#tests")).contains(EVIL));
    assert!(text(one(&page, "#sources")).contains(&format!("# {EVIL}")));
    assert!(text(one(&page, "#s1")) == "a<b>&\"'`\\u{202e}.toml");
    assert!(text(one(&page, "#s1-4")).ends_with("default = \"deny\" # \\u{202e}\\u{200b}]]>"));
    assert!(!source.contains(['\u{202e}', '\u{200b}']));
}

#[test]
fn a_broken_assertion_and_a_failed_test_are_told_and_give_1() {
    let policy = "version = 1\ndefault = \"allow\"\n[[never]]\nname = \"no raw\"\nop = \"socket\"\nwhen = \"type == SOCK_RAW\"\n";
    let failing =
        "version = 1\ndefault = \"deny\"\n[[test]]\nname = \"reads\"\nop = \"read\"\nexpect = \"allow\"\n";
    let folder = folder(&[("broken.toml", policy), ("failing.toml", failing)]);
    let (page, source, status) = report(folder.path(), &["broken.toml"]);
    examine(&page, &source);
    assert_eq!(status, 1);
    let card = text(one(&page, "#assertions .card"));
    assert!(
        card.starts_with("does not hold no raw broken.toml:3 Never allowed: socket where type == SOCK_RAW"),
        "{card}"
    );
    assert!(card.contains("Counterexample socket family=AF_UNSPEC type=SOCK_RAW"), "{card}");
    assert!(card.ends_with("By default = allow broken.toml:2"), "{card}");
    let (page, _, status) = report(folder.path(), &["failing.toml"]);
    assert_eq!(status, 1);
    let row = text(one(&page, "#tests tbody tr"));
    assert_eq!(row, "reads line 3 failed expected allow read deny default = deny line 2");
    assert!(text(one(&page, "#summary")).contains("Tests 1 failed of 1"));
}

#[test]
fn tests_coverage_and_what_is_left_open_are_told() {
    let folder = folder(&[("small.toml", SMALL)]);
    let (page, _, _) = report(folder.path(), &["small.toml", "--release", "7.3"]);
    let summary = text(one(&page, "#summary"));
    assert!(summary.contains("Assertions all proved 1 of 1"), "{summary}");
    assert!(
        summary.contains("split lane before Linux 7.2: whether connect is allowed depends on the request")
    );
    let digest = "SHA-256 small.toml the policy, “small” deny ";
    let at = summary.find(digest).expect("a digest") + digest.len();
    let said =
        Command::new("sha256sum").arg("small.toml").current_dir(folder.path()).output().expect("coreutils");
    assert_eq!(summary[at..at + 64], String::from_utf8_lossy(&said.stdout)[..64]);
    let tests = text(one(&page, "#tests"));
    assert!(tests.contains("passed connect addr=10.1.2.3 port=443"), "{tests}");
    assert!(tests.contains("small.toml: tests decide 2 of 9 branches, 22 %"), "{tests}");
    assert!(
        tests
            .contains("connect: port == 443 does not hold line 12 connect family=AF_INET addr=10.0.0.0 deny"),
        "{tests}"
    );
    let open = text(one(&page, "#exposure"));
    assert!(open.contains("bugs that Linux 7.3 has fixed, or never had, do not count"), "{open}");
}

#[test]
fn a_difference_shows_a_request_for_each_direction() {
    let old = "version = 1\ndefault = \"deny\"\n[ops]\nsocket = \"family == AF_UNIX\"\nread = \"allow\"\n";
    let new = "version = 1\ndefault = \"deny\"\n[ops]\nsocket = \"family == AF_INET\"\n[register]\ndefault = \"deny\"\n";
    let folder = folder(&[("old.toml", old), ("new.toml", new)]);
    let (page, source, status) = report(folder.path(), &["new.toml", "--against", "old.toml"]);
    examine(&page, &source);
    assert_eq!(status, 0, "to differ is nothing bad");
    let rows: Vec<_> = all(&page, "#difference tbody tr").into_iter().map(text).collect();
    assert_eq!(rows[0], "read refused read allow read = allow old.toml:5 deny default = deny new.toml:2");
    assert!(rows[1].starts_with("socket refused socket family=AF_UNIX "), "{}", rows[1]);
    let rules = "allow socket = family == AF_UNIX old.toml:4 deny socket = family == AF_INET new.toml:4";
    assert!(rows[1].ends_with(rules), "{}", rows[1]);
    assert!(rows[2].starts_with("socket allowed socket family=AF_INET "), "{}", rows[2]);
    assert!(rows[3].starts_with("[register] refused buffers, "), "{}", rows[3]);
    let (page, _, _) = report(folder.path(), &["old.toml", "--against", "old.toml"]);
    assert!(text(one(&page, "#difference")).ends_with("Both allow the same, for all requests."));
    assert!(all(&report(folder.path(), &["old.toml"]).0, "#difference").is_empty());
}

#[test]
fn the_same_policies_make_the_same_page() {
    let folder = folder(&[("small.toml", SMALL)]);
    let again = || report(folder.path(), &["small.toml", "@container-default"]).1;
    assert_eq!(again(), again());
}

#[test]
fn a_file_is_replaced_whole_or_stays() {
    let names = "version = 1\n[define]\ninside = \"10.0.0.0/8\"\n";
    let wrong = "version = 1\n";
    let folder = folder(&[
        ("small.toml", SMALL),
        ("wrong.toml", wrong),
        ("names.toml", names),
        ("page.html", "before"),
    ]);
    let path = folder.path();
    let page = path.join("page.html");
    for arguments in [
        &["missing.toml"][..],
        &["small.toml", "wrong.toml"],
        // What only gives names says nothing to tell of.
        &["small.toml", "names.toml"],
        &["small.toml", "--against", "missing.toml"],
        &["small.toml", "--against", "wrong.toml"],
        // Filters of that kernel do not see what a connection is for.
        &["small.toml", "--kernel", "7.0"],
    ] {
        for to in ["page.html", "new.html"] {
            let output = ringwarden(path, &[&["report", "-o", to], arguments].concat());
            assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
            assert!(!output.stderr.is_empty() && output.stdout.is_empty());
        }
    }
    assert_eq!(fs::read_to_string(&page).expect("a file"), "before");
    let write = |to: &str| ringwarden(path, &["report", "small.toml", "-o", to]);
    let refused = write("small.toml");
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("the place of the policy `small.toml`"),
        "{refused:?}"
    );
    assert_eq!(write("no/such/folder.html").status.code(), Some(2));
    assert_eq!(fs::read_dir(path).expect("a folder").count(), 4, "something was left behind");

    std::os::unix::fs::symlink("page.html", path.join("link.html")).expect("a link");
    assert_eq!(write("link.html").status.code(), Some(0));
    assert!(fs::symlink_metadata(path.join("link.html")).expect("a link").is_symlink());
    let (_, expected, _) = report(path, &["small.toml"]);
    assert_eq!(fs::read_to_string(&page).expect("a file"), expected);
    assert_eq!(write("/dev/null").status.code(), Some(0));
    assert!(!fs::metadata("/dev/null").expect("a device").is_file());
}

#[test]
fn a_terminal_gets_no_page() {
    let folder = folder(&[("small.toml", SMALL)]);
    // Gives it a terminal, and what it says there.
    let command = format!("{} report small.toml; echo status $?", built("ringwarden").display());
    let output =
        Command::new("script").args(["-qec", &command, "/dev/null"]).current_dir(folder.path()).output();
    let said = String::from_utf8_lossy(&output.expect("util-linux").stdout).into_owned();
    assert!(said.contains("name a file by `-o report.html`") && said.contains("status 2"), "{said}");
    assert!(!said.contains("<html"), "{said}");
}
