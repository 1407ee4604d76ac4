//! `ringwarden check`: everything that is wrong with policies.

mod assertions;
mod audit;
mod loosened;

use crate::format::{self, Document, Format};
use crate::layers::{self, Unusable};
use crate::style::{self, GOOD, say, tell};
use crate::{FAILED, UNUSABLE};
use assertions::Asserted;
use audit::Threshold;
use clap::Args;
use ringwarden::diff::Effort;
use ringwarden::guard::SPLITS_RINGS;
use ringwarden::oci::IoUring;
use ringwarden::policy::{Diagnostic, Diagnostics, Policy, Release, Severity};
use ringwarden::profile::{Profile, ReadError};
use ringwarden::uapi::KernelModel;
use ringwarden::{Enforcement, Exposure, Refused};
use schemars::JsonSchema;
use serde::Serialize;
use std::fmt::{self, Display};
use std::process::ExitCode;

/// Say everything that is wrong with policies.
///
/// Each policy is read and compiled by itself. Errors make it unusable; warnings are about rules that are
/// well-formed and hardly meant. What a policy says of all requests at once, by `[[never]]`, `[[always]]` and
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
    /// The kernel that the policies are compiled for: posted, 7.0, 7.2, 7.3 [default: 7.3]
    #[arg(long, value_name = "KERNEL")]
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

/// Which lane holds a policy where the kernel has no filters, which hold every one (docs/lanes.md).
#[derive(JsonSchema, Serialize)]
struct Fit {
    /// The policy, or policies with commas between them.
    file: String,
    /// `restricted` or `split`.
    lane: &'static str,
    /// What keeps it out of the restricted one.
    #[serde(skip_serializing_if = "Option::is_none")]
    because: Option<String>,
    /// The first Linux whose filters hold it.
    filters: String,
}

impl Fit {
    fn of(file: &str, layers: &[Policy], enforcement: &Enforcement) -> Self {
        let because = enforcement.operations().err().map(|beyond| beyond.to_string());
        let lane = if because.is_none() { "restricted" } else { "split" };
        let holds = |model: &KernelModel| Enforcement::new(layers, *model).is_ok();
        let mut models = KernelModel::ALL.into_iter().filter(|&model| model >= KernelModel::V7_0);
        let filters = models.find(holds).unwrap_or_default().to_string();
        Self { file: file.to_owned(), lane, because, filters }
    }
}

impl Display for Fit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.because {
            Some(because) => {
                let only = if SPLITS_RINGS { "" } else { ", which is x86-64 only," };
                write!(f, "split lane{only} before Linux {}: {because}", self.filters)
            }
            None => f.write_str("restricted lane: requests cost nothing"),
        }
    }
}

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
    /// Empty where one has errors of its own.
    layers: Vec<Policy>,
    /// Unless it cannot be enforced.
    fit: Option<Fit>,
    diagnostics: Vec<Diagnostics>,
    assertions: Vec<Asserted>,
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
            let kernel = self.model().to_string();
            let audited = found.iter().filter_map(|(name, found)| Some((*name, found.exposures.as_deref()?)));
            let audit = self.audit.then(|| audit::Report::new(self.fixes_of(), audited));
            let (mut policies, mut assertions) = (Vec::new(), Vec::new());
            for (_, found) in found {
                policies.extend(found.fit);
                assertions.extend(found.assertions);
            }
            let report = Report { kernel, errors, warnings, diagnostics, policies, assertions, audit };
            return format::json(&report, status);
        }
        for (name, Found { layers, fit, diagnostics, assertions, exposures, import }) in found {
            for diagnostics in &diagnostics {
                anstream::eprintln!("{}", diagnostics.render(style::stderr_is_coloured()));
            }
            if let Some(import) = import {
                style::note(format_args!("`ringwarden import {import} {name}` makes a policy of this"));
            }
            let proved = assertions.iter().filter(|assertion| assertion.is_proved()).count();
            let of_them = (proved < assertions.len()).then(|| format!(" of {}", assertions.len()));
            let plural = if assertions.len() == 1 { "" } else { "s" };
            let proved = (!assertions.is_empty())
                .then(|| format!("{proved}{} assertion{plural} proved", of_them.unwrap_or_default()));
            if self.show && !layers.is_empty() {
                layers.iter().for_each(|policy| say!("{}", policy.listing().trim_end()));
            } else if diagnostics.is_empty() {
                match fit {
                    Some(_) => tell!("{GOOD}ok{GOOD:#}  {name} for kernel {}", self.model()),
                    None => tell!("{GOOD}ok{GOOD:#}  {name} gives names to policies that extend it"),
                }
                fit.iter().for_each(|fit| tell!("    {fit}"));
                proved.iter().for_each(|proved| tell!("    {proved}"));
            } else {
                fit.iter().for_each(|fit| tell!("{name}: {fit}"));
                proved.iter().for_each(|proved| tell!("{name}: {proved}"));
            }
            if let Some(exposures) = exposures {
                audit::print(name, &exposures, self.fixes_of());
            }
        }
        status
    }

    fn model(&self) -> KernelModel {
        self.kernel.unwrap_or_default()
    }

    /// What there is to say of a policy, or of several layers: nothing, if they are good ones.
    fn of(&self, names: &str) -> Result<Found, NotChecked> {
        let mut found = Found {
            layers: Vec::new(),
            fit: None,
            diagnostics: Vec::new(),
            assertions: Vec::new(),
            exposures: None,
            import: None,
        };
        let mut layers = Vec::new();
        for name in names.split(',') {
            let text = layers::read(name).map_err(NotChecked::Unreadable)?;
            match layers::policy(&text, name) {
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
        let enforcement = match Enforcement::new(&layers, self.model()) {
            Ok(enforcement) => Some(enforcement),
            Err(Refused::Policy(errors)) => {
                found.diagnostics.push(errors);
                None
            }
            Err(other) => return Err(failed(&other)),
        };
        let mut told: Vec<_> = layers.iter().filter_map(Policy::warnings).collect();
        if let Some(enforcement) = &enforcement {
            found.fit = match layers.iter().all(Policy::defines_alone) {
                true => None,
                false => Some(Fit::of(names, &layers, enforcement)),
            };
            told.extend(enforcement.unproved().cloned());
            for policy in &layers {
                // Alone, as it says what it extends.
                let own = match &layers[..] {
                    [_] => enforcement.clone(),
                    _ => Enforcement::new(std::slice::from_ref(policy), self.model())
                        .map_err(|error| failed(&error))?,
                };
                told.extend(loosened::by(policy, &own).map_err(|error| failed(&error))?);
            }
            let (assertions, of_them) =
                assertions::of(&layers, enforcement).map_err(|error| failed(&error))?;
            found.assertions = assertions;
            told.extend(of_them);
            if self.audit {
                let exposures = enforcement.exposures(self.fixes_of(), Effort::default());
                found.exposures = Some(exposures.map_err(|error| failed(&error))?);
            }
        }
        found.diagnostics.extend(joined(told));
        found.layers = layers;
        Ok(found)
    }
}

/// All of them in one list.
fn joined(diagnostics: Vec<Diagnostics>) -> Option<Diagnostics> {
    Diagnostics::of(diagnostics.iter().flatten().cloned().collect())
}
