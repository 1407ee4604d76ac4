//! `ringwarden check`: everything that is wrong with policies.

pub(crate) mod assertions;
pub(crate) mod audit;
pub(crate) mod fit;
pub(crate) mod judged;
mod loosened;

use crate::format::{self, Document, Format};
use crate::layers::{self, Unusable};
use crate::style::{self, GOOD, complain, say, tell};
use crate::{FAILED, UNUSABLE, kernels};
use assertions::Asserted;
use audit::Threshold;
use clap::Args;
use fit::Fit;
use judged::Judged;
use ringwarden::Exposure;
use ringwarden::diff::Effort;
use ringwarden::oci::IoUring;
use ringwarden::policy::{Diagnostic, Diagnostics, Release, Severity, file};
use ringwarden::profile::{Profile, ReadError};
use ringwarden::uapi::KernelModel;
use schemars::JsonSchema;
use serde::Serialize;
use std::fmt::Display;
use std::process::ExitCode;

/// Say everything that is wrong with policies.
///
/// Each policy is read and compiled by itself. Errors make it unusable; warnings are about rules that are
/// valid but probably do not do what was intended. What a policy says of all requests at once, by `[[never]]`, `[[always]]` and
/// `within`, is proved, or a request is shown that it does not hold for.
///
/// Layers of policies, separated by commas, are held to the assertions of each of them together.
///
/// With --audit it ranks what each policy leaves open: operations, register opcodes and flags that led to bugs of
/// the kernel, with their CVE numbers and what to write to close them; and rules that mean less than they seem
/// to. That fails only with --fail-on.
#[derive(Args)]
#[command(after_help = "\
Exit status: 0 when every policy can be used;
  1  some policy has errors or an assertion that is not proved; with --deny-warnings, warnings;
     with --fail-on, something of that rank left open
  2  a policy cannot be read

Examples:
  ringwarden check policy.toml
  ringwarden check --audit @net-server
  ringwarden check --audit --release \"$(uname -r)\" --fail-on high policy.toml")]
pub(crate) struct Check {
    /// Policy files, - for standard input, or presets such as @file-io; layers separated by commas
    #[arg(required = true, value_name = "POLICY")]
    policies: Vec<String>,
    #[arg(long, value_name = "KERNEL", help = kernels::needed("The kernel that the policies are compiled for"))]
    kernel: Option<KernelModel>,
    /// Take warnings for errors, in the exit status
    #[arg(long)]
    deny_warnings: bool,
    /// Print each policy as one file, with all that it extends: where each rule is from stands behind it
    #[arg(long, conflicts_with = "format")]
    show: bool,
    /// Say what each policy leaves open that led to bugs, or that means less than it seems to
    #[arg(long, conflicts_with = "show")]
    audit: bool,
    /// The Linux that the policies are for, as uname -r prints it: bugs that it does not have are mere notes
    /// [default: the one of --kernel, if that is given]
    #[arg(long, value_name = "RELEASE", requires = "audit")]
    release: Option<Release>,
    /// Exit with 1 where something of this rank, or above, is left open
    #[arg(long, value_name = "RANK", value_enum, requires = "audit")]
    fail_on: Option<Threshold>,
    /// For people or for scripts
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

/// Everything that was found.
#[derive(JsonSchema, Serialize)]
pub(crate) struct Report {
    /// The kernel that policies are compiled for.
    kernel: String,
    /// How many there are.
    errors: usize,
    /// How many there are.
    warnings: usize,
    /// Errors and warnings, by file.
    diagnostics: Vec<Entry>,
    /// Of those that can be enforced.
    policies: Vec<Fit>,
    /// What was found out about assertions.
    assertions: Vec<Asserted>,
    /// What is left open; with `--audit`.
    #[serde(skip_serializing_if = "Option::is_none")]
    audit: Option<audit::Report>,
}

impl Document for Report {}

/// One error or warning.
#[derive(JsonSchema, Serialize)]
struct Entry {
    /// The policy.
    file: String,
    /// From 1.
    line: usize,
    /// From 1, in characters.
    column: usize,
    /// `error` or `warning`.
    severity: &'static str,
    /// Its code, such as `P201`: docs/policy.md lists them.
    code: &'static str,
    /// What is wrong.
    message: String,
    /// What could stand there.
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<String>,
    /// What to write.
    #[serde(skip_serializing_if = "Option::is_none")]
    suggestion: Option<String>,
}

impl From<&Diagnostic> for Entry {
    fn from(diagnostic: &Diagnostic) -> Self {
        let (line, column) = diagnostic.place();
        Self {
            file: diagnostic.file().to_owned(),
            line,
            column,
            severity: diagnostic.code().severity().as_str(),
            code: diagnostic.code().as_str(),
            message: diagnostic.message().to_owned(),
            expected: diagnostic.expected_text().map(str::to_owned),
            suggestion: diagnostic.suggestion().map(str::to_owned),
        }
    }
}

/// What a file turned out to be.
struct Found {
    /// Unless it has errors of its own.
    judged: Option<Judged>,
    diagnostics: Vec<Diagnostics>,
    /// What it leaves open, where that was asked for and can be said.
    exposures: Option<Vec<Exposure>>,
    /// The command that makes a policy of what is none.
    import: Option<&'static str>,
}

/// The command that makes a policy of such a text.
fn import(text: &str) -> Option<&'static str> {
    // What is in a list counts, too, whichever of its profiles is meant.
    let is_profile = matches!(Profile::read(text, None), Ok(_) | Err(ReadError::Choice { .. }));
    match (is_profile, IoUring::read(text)) {
        (true, _) => Some("seccomp"),
        (false, Ok(_)) => Some("oci"),
        (false, Err(_)) => None,
    }
}

/// Why nothing can be said of a policy.
enum NotChecked {
    Unreadable(Unusable),
    /// This program has failed, and has said so.
    Failed(ExitCode),
}

impl Check {
    pub(crate) fn execute(self) -> ExitCode {
        let (mut found, mut unreadable) = (Vec::new(), Vec::new());
        for name in &self.policies {
            match self.of(name) {
                Ok(of_one) => found.push((name, of_one)),
                // What there is to say of the others is said all the same.
                Err(NotChecked::Unreadable(unusable)) => unreadable.push(unusable),
                Err(NotChecked::Failed(status)) => return status,
            }
        }
        let all = || found.iter().flat_map(|(_, found)| &found.diagnostics).flatten();
        let count = |severity| all().filter(|diagnostic| diagnostic.code().severity() == severity).count();
        let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
        let exposures = || found.iter().filter_map(|(_, found)| found.exposures.as_deref());
        let is_open = self.fail_on.is_some_and(|rank| exposures().any(|list| rank.is_reached(list)));
        let is_good = errors == 0 && !(self.deny_warnings && warnings > 0) && !is_open;
        let status = match (unreadable.is_empty(), is_good) {
            (false, _) => ExitCode::from(UNUSABLE),
            (true, true) => ExitCode::SUCCESS,
            (true, false) => ExitCode::FAILURE,
        };
        unreadable.iter().for_each(Unusable::print);
        if self.format == Format::Json {
            let diagnostics = all().map(Entry::from).collect();
            let models = found.iter().filter_map(|(_, found)| Some(found.judged.as_ref()?.model));
            let kernel = models.max().or(self.kernel).unwrap_or_default().to_string();
            let audited = found.iter().filter_map(|(name, found)| Some((*name, found.exposures.as_deref()?)));
            let audit = self.audit.then(|| audit::Report::new(self.fixes_of(), audited));
            let (mut policies, mut assertions) = (Vec::new(), Vec::new());
            for judged in found.into_iter().filter_map(|(_, found)| found.judged) {
                policies.extend(judged.fit);
                assertions.extend(judged.assertions);
            }
            let report = Report { kernel, errors, warnings, diagnostics, policies, assertions, audit };
            return format::json(&report, status);
        }
        for (name, Found { judged, diagnostics, exposures, import }) in found {
            for diagnostics in &diagnostics {
                complain!("{}", diagnostics.render(style::stderr_is_coloured()));
            }
            if let Some(import) = import {
                style::note(format_args!("`ringwarden import {import} {name}` makes a policy of this"));
            }
            let fit = judged.as_ref().and_then(|judged| judged.fit.as_ref()).map(ToString::to_string);
            let proved = judged.as_ref().and_then(Judged::proved);
            let is_enforced = fit.is_some();
            let told: Vec<_> = fit.into_iter().chain(proved).collect();
            let model = judged.as_ref().map_or_else(KernelModel::default, |judged| judged.model);
            let layers = judged.map_or(Vec::new(), |judged| judged.layers);
            if self.show && !layers.is_empty() {
                layers.iter().for_each(|policy| say!("{}", policy.listing().trim_end()));
            } else if diagnostics.is_empty() {
                match is_enforced {
                    true => tell!("{GOOD}ok{GOOD:#}  {name} for {}", layers::whose(&model)),
                    false => tell!("{GOOD}ok{GOOD:#}  {name} gives names to policies that extend it"),
                }
                told.iter().for_each(|line| tell!("    {line}"));
            } else {
                told.iter().for_each(|line| tell!("{name}: {line}"));
            }
            if let Some(exposures) = exposures {
                audit::print(name, &exposures, self.fixes_of());
            }
        }
        status
    }

    /// What there is to say of a policy, or of several layers: nothing, if they are good ones.
    fn of(&self, names: &str) -> Result<Found, NotChecked> {
        let mut found = Found { judged: None, diagnostics: Vec::new(), exposures: None, import: None };
        let mut layers = Vec::new();
        for name in names.split(',') {
            let text = layers::read(name).map_err(NotChecked::Unreadable)?;
            match file::parse(&text, name) {
                Ok(policy) => layers.push(policy),
                Err(errors) => {
                    found.diagnostics.push(errors);
                    found.import = import(&text);
                }
            }
        }
        if !found.diagnostics.is_empty() {
            return Ok(found);
        }
        let failed = |error: &dyn Display| NotChecked::Failed(style::fail(error, FAILED));
        let judged = Judged::new(names, layers, self.kernel).map_err(|error| failed(&error))?;
        if let (true, Some(enforcement)) = (self.audit, &judged.enforcement) {
            let exposures = enforcement.exposures(self.fixes_of(), Effort::default());
            found.exposures = Some(exposures.map_err(|error| failed(&error))?);
        }
        found.diagnostics.extend(judged.diagnostics.clone());
        found.judged = Some(judged);
        Ok(found)
    }
}
