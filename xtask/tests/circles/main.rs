//! Files need each other in one direction: a crate has no circle between its files, nor between the modules at its top.
//!
//! A file and those of the folder that is named like it are one noun, between which paths may lead both ways; so the
//! root of a crate, which knows all, counts for nothing. What only tests use is left out.
//!
//! Paths are read and not types ([`source`]): that a file calls methods which another one adds to a type of a third is
//! not seen, nor what macros of other crates make.

mod source;

use source::Source;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The path of a module below the root of its crate, whose own is empty.
type Module = Vec<String>;
/// What each module needs.
type Needs = BTreeMap<Module, BTreeSet<Module>>;

/// The production code of a crate.
struct Crate(BTreeMap<Module, Source>);

impl Crate {
    /// Reads texts, each of the module that it is.
    fn of(texts: impl IntoIterator<Item = (Module, String)>) -> Self {
        let mut files: BTreeMap<_, _> =
            texts.into_iter().map(|(module, text)| (module, Source::of(&text))).collect();
        let of_tests: Vec<Module> = files
            .iter()
            .flat_map(|(module, source)| source.test_modules.iter().map(|name| child(module, name)))
            .collect();
        files.retain(|module, _| !of_tests.iter().any(|test| module.starts_with(test)));
        Self(files)
    }

    /// Reads what is below `src`.
    fn read(src: &Path) -> Self {
        let files = rust_files(src).into_iter().map(|path| {
            let relative = path.strip_prefix(src).expect("below it").with_extension("");
            let mut module: Module =
                relative.iter().map(|part| part.to_str().expect("ASCII").to_owned()).collect();
            if ["mod", "lib", "main"].contains(&module.last().map_or("", String::as_str)) {
                module.pop();
            }
            (module, fs::read_to_string(&path).expect("a source"))
        });
        Self::of(files)
    }

    fn needs(&self) -> Needs {
        let needed = |module: &Module, source: &Source| {
            let paths = source.uses.iter().map(|(_, path)| path).chain(&source.paths);
            let absolute = paths.filter_map(|path| self.absolute(module, path));
            let found = absolute.filter_map(|path| self.find(path, 0));
            found.filter(|other| !other.starts_with(module) && !module.starts_with(other)).collect()
        };
        self.0.iter().map(|(module, source)| (module.clone(), needed(module, source))).collect()
    }

    /// A path of that module from the root of the crate; `None` where it leads to another crate.
    fn absolute(&self, module: &Module, path: &[String]) -> Option<Module> {
        let (first, mut rest) = path.split_first()?;
        let mut from = match first.as_str() {
            "crate" => Vec::new(),
            "self" => module.clone(),
            "super" => module[..module.len().saturating_sub(1)].to_vec(),
            name if self.0.contains_key(&child(module, name)) => child(module, name),
            _ => return None,
        };
        while let Some(("super", more)) = rest.split_first().map(|(name, more)| (name.as_str(), more)) {
            from.pop();
            rest = more;
        }
        from.extend(rest.iter().cloned());
        Some(from)
    }

    /// The module in which what a path names is written: what another one only gives on is followed.
    fn find(&self, path: Module, followed: usize) -> Option<Module> {
        let length = (0..=path.len()).rev().find(|&length| self.0.contains_key(&path[..length]))?;
        let (module, rest) = (path[..length].to_vec(), &path[length..]);
        let given_on = rest.first().and_then(|name| {
            self.0[&module].uses.iter().find(|(known, _)| known == name).map(|(_, path)| path)
        });
        match given_on {
            Some(further) if followed < 8 => {
                let mut further = self.absolute(&module, further)?;
                further.extend_from_slice(&rest[1..]);
                self.find(further, followed + 1)
            }
            _ => Some(module),
        }
    }
}

fn child(module: &Module, name: &str) -> Module {
    module.iter().cloned().chain([name.to_owned()]).collect()
}

/// The modules at the top, each with what is below it.
fn at_the_top(needs: &Needs) -> Needs {
    let mut tops = Needs::new();
    for (module, needed) in needs.iter().filter(|(module, _)| !module.is_empty()) {
        let others = needed.iter().map(|other| other[..1].to_vec()).filter(|other| other[0] != module[0]);
        tops.entry(module[..1].to_vec()).or_default().extend(others);
    }
    tops
}

/// Modules of which each needs the next, and the last the first: as `a → b → a`.
fn circle(needs: &Needs) -> Option<String> {
    fn visit<'n>(
        module: &'n Module,
        needs: &'n Needs,
        way: &mut Vec<&'n Module>,
        done: &mut BTreeSet<&'n Module>,
    ) -> bool {
        if done.contains(module) {
            return false;
        }
        let begun = way.iter().position(|known| *known == module);
        way.push(module);
        if let Some(begun) = begun {
            way.drain(..begun);
            return true;
        }
        if needs[module].iter().any(|other| visit(other, needs, way, done)) {
            return true;
        }
        way.pop();
        done.insert(module);
        false
    }
    let (mut way, mut done) = (Vec::new(), BTreeSet::new());
    let found = needs.keys().any(|module| visit(module, needs, &mut way, &mut done));
    found.then(|| way.iter().map(|module| module.join("::")).collect::<Vec<_>>().join(" → "))
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let of_rust = files.into_iter().filter(|path| path.extension().is_some_and(|end| end == "rs"));
    of_rust.chain(folders.iter().flat_map(|folder| rust_files(folder))).collect()
}

/// The folders of the workspace's packages.
fn packages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let below = |folder: &str| {
        let entries = fs::read_dir(root.join(folder)).expect("a folder");
        entries.map(|entry| entry.expect("an entry").path()).collect::<Vec<_>>()
    };
    let all = ["crates", "conformance", "xtask", "."].into_iter().flat_map(below);
    let mut all: Vec<_> = all.filter(|folder| folder.join("src").is_dir()).collect();
    all.sort();
    all
}

#[test]
fn files_need_each_other_in_one_direction() {
    let packages = packages();
    assert!(packages.len() > 15, "{packages:?}");
    let mut circles = Vec::new();
    for package in packages {
        let needs = Crate::read(&package.join("src")).needs();
        for (what, needs) in [("files", &needs), ("modules at the top", &at_the_top(&needs))] {
            let found = circle(needs).map(|circle| format!("{}, {what}: {circle}", package.display()));
            circles.extend(found);
        }
    }
    assert!(circles.is_empty(), "what both need belongs into a file of its own:\n{}", circles.join("\n"));
}

#[test]
fn circles_are_found_through_lists_and_what_is_given_on() {
    let found = |files: &[(&str, &str)]| {
        let module =
            |name: &str| name.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect();
        let files = files.iter().map(|(name, text)| (module(name), (*text).to_owned()));
        let needs = Crate::of(files).needs();
        [circle(&needs), circle(&at_the_top(&needs))]
    };
    let both = |text: &str| [Some(text.to_owned()), Some(text.to_owned())];
    let root = ("", "mod a; mod b; pub use b::{c as d, e};");
    assert_eq!(
        found(&[root, ("a", "use crate::{d, x};"), ("b", "fn c() { super::a::y() }")]),
        both("a → b → a")
    );
    assert_eq!(found(&[root, ("a", "use crate::b::e;"), ("b", "use std::io;")]), [None, None]);
    // Comments, texts and tests need nothing.
    for b in
        ["// crate::a::x", "fn e() { \"crate::a\"; 'a'; '\"' }", "#[cfg(test)]\nmod t { use crate::a::x; }"]
    {
        assert_eq!(found(&[root, ("a", "use crate::b::e;"), ("b", b)]), [None, None], "{b}");
    }
    let tests =
        [root, ("a", "use crate::b::e;"), ("b", "#[cfg(test)]\nmod t;"), ("b::t", "use crate::a::x;")];
    assert_eq!(found(&tests), [None, None]);
    // A folder and its own file are one, until another is between them.
    let folder = [root, ("b", "mod f; use f::g;"), ("b::f", "use super::e;")];
    assert_eq!(found(&folder), [None, None]);
    let between = [root, ("a", "use crate::b::e;"), ("b", "mod f;"), ("b::f", "use crate::a::x;")];
    assert_eq!(found(&between), [None, Some("a → b → a".to_owned())]);
}
