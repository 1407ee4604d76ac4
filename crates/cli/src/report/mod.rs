//! `ringwarden report`: everything that there is to say of policies, as a page to look at.

mod assertions;
mod calls;
mod difference;
mod effect;
mod exposure;
mod facts;
mod files;
mod lanes;
mod matrix;
mod page;
mod prose;
mod section;
mod sources;
mod summary;
mod tested;
mod tiles;

use crate::layers::Unusable;
use crate::replace::replace;
use crate::{FAILED, UNUSABLE, input, kernels, output, style};
use clap::Args;
use facts::{Facts, NoFacts};
use ringwarden::policy::Release;
use ringwarden::uapi::KernelModel;
use std::fs::{self, OpenOptions};
use std::io::{IsTerminal, stdout};
use std::path::Path;
use std::process::ExitCode;

/// Write a page about policies: what each says of every operation, by which rule; what is proved of them, what their
/// tests decide, what they leave open.
///
/// It is one HTML file that needs nothing else, neither a network nor other files. Several policies are layers, and so are
/// those of one name that are separated by commas.
///
/// The same policies make the same page, byte for byte: nothing in it is of this machine but the kind of its processor.
#[derive(Args)]
#[command(after_help = "\
Exit status: 0 when the page is written;
  1  it is written, and says that an assertion is not proved or that a test has failed
  2  a policy cannot be read or has errors, or the page cannot be written: nothing is

Examples:
  ringwarden report policy.toml -o report.html
  ringwarden report @container-default app.toml --against app-old.toml -o report.html")]
pub(crate) struct Report {
    /// Policy files, - for standard input, or presets such as @file-io: the layers, all of which must allow
    #[arg(required = true, value_name = "POLICY")]
    policies: Vec<String>,
    /// The file to write, or - for standard output
    #[arg(short, long, value_name = "FILE", default_value = input::STDIN, hide_default_value = true)]
    output: String,
    /// What there was before, to say how it differs: a policy, or layers of policies separated by commas
    #[arg(long, value_name = "OLD")]
    against: Option<String>,
    /// What the page is called
    #[arg(long, value_name = "TEXT")]
    title: Option<String>,
    #[arg(long, value_name = "KERNEL", help = kernels::needed("The kernel that the policies are compiled for"))]
    kernel: Option<KernelModel>,
    /// The Linux that the policies are for, as uname -r prints it: bugs that it does not have are mere notes
    /// [default: the one of --kernel, if that is given]
    #[arg(long, value_name = "RELEASE")]
    release: Option<Release>,
}

impl Report {
    pub(crate) fn execute(self) -> ExitCode {
        let to = Some(Path::new(&self.output)).filter(|path| *path != Path::new(input::STDIN));
        if to.is_none() && stdout().is_terminal() {
            let error = "a page is not for a terminal: name a file by `-o report.html`, or `| cat`";
            return style::fail(error, UNUSABLE);
        }
        let facts = match Facts::find(&self) {
            Ok(facts) => facts,
            Err(NoFacts::Unusable(unusable)) => {
                unusable.print();
                return ExitCode::from(UNUSABLE);
            }
            Err(NoFacts::Failed(error)) => return style::fail(error, FAILED),
        };
        let page = page::page(&facts);
        if let Err(status) = to.map_or_else(|| written(None, &page), |path| write(path, &page, &facts)) {
            return status;
        }
        if facts.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    /// The layers, one name each.
    fn layers(&self) -> Vec<String> {
        self.policies.iter().flat_map(|names| names.split(',')).map(str::to_owned).collect()
    }

    /// The release whose fixes count.
    fn release(&self) -> Option<Release> {
        self.release.or_else(|| self.kernel?.to_string().parse().ok())
    }
}

/// Puts a page in the place of a file, or of what a link leads to: whole, or not at all.
fn write(path: &Path, page: &str, facts: &Facts) -> Result<(), ExitCode> {
    let place = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    // A pipe or a device is not replaced.
    if place.exists() && !place.is_file() {
        return written(Some(path), page);
    }
    let is_place = |name: &str| fs::canonicalize(name).is_ok_and(|file| file == place);
    if let Some((policy, _)) = facts.files.iter().find(|(name, _)| is_place(name)) {
        let error =
            format!("the page would take the place of the policy `{policy}`: name another file by `-o`");
        return Err(style::fail(error, UNUSABLE));
    }
    // Whoever may not write to a file may not replace it either, although the folder would let them.
    let may_write = || OpenOptions::new().write(true).open(&place).map(drop);
    let may_write = if place.exists() { may_write() } else { Ok(()) };
    may_write
        .map_err(|error| format!("cannot write to {}: {error}", path.display()))
        .and_then(|()| replace(&place, page))
        .map_err(|error| style::fail(error, UNUSABLE))
}

fn written(to: Option<&Path>, page: &str) -> Result<(), ExitCode> {
    match output::write(to, page.as_bytes()) {
        ExitCode::SUCCESS => Ok(()),
        status => Err(status),
    }
}

impl From<Unusable> for NoFacts {
    fn from(unusable: Unusable) -> Self {
        Self::Unusable(unusable)
    }
}
