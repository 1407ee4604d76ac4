//! What the page tells, found out by what the other commands find it out with.

use super::Report;
use super::files::Files;
use crate::check::judged::Judged;
use crate::diff;
use crate::diff::side::Side;
use crate::layers::{self, Unusable};
use crate::style;
use crate::test::coverage::Coverage;
use crate::test::{self, Outcome};
use ringwarden::diff::{CompareError, Effort};
use ringwarden::policy::{Diagnostics, Policy, Release};
use ringwarden::uapi::{KernelModel, OPCODES, Opcode};
use ringwarden::{Enforcement, Exposure};
use std::fmt::Display;

/// Everything about some layers.
pub(super) struct Facts {
    pub(super) title: String,
    pub(super) model: KernelModel,
    pub(super) release: Option<Release>,
    pub(super) judged: Judged,
    pub(super) enforcement: Enforcement,
    pub(super) tested: Vec<Tested>,
    pub(super) exposures: Vec<Exposure>,
    /// From what there was before, if that was asked for.
    pub(super) difference: Option<Difference>,
    pub(super) files: Files,
}

/// What a layer's tests say of it alone.
pub(super) struct Tested {
    pub(super) file: String,
    pub(super) outcomes: Vec<Outcome>,
    pub(super) coverage: Coverage,
}

/// How the layers differ from others.
pub(super) struct Difference {
    pub(super) old: String,
    pub(super) report: diff::report::Report,
}

/// Why there is nothing to tell.
pub(super) enum NoFacts {
    /// A policy cannot be used.
    Unusable(Unusable),
    /// This program has failed.
    Failed(String),
}

impl Facts {
    pub(super) fn find(asked: &Report) -> Result<Self, NoFacts> {
        let (names, release) = (asked.layers(), asked.release());
        let layers = layers::enforceable(&names)?;
        let before = asked.against.as_deref().map(|old| {
            let names: Vec<_> = old.split(',').map(str::to_owned).collect();
            Ok::<_, Unusable>((old, layers::enforceable(&names)?))
        });
        let before = before.transpose()?;
        let all = layers.iter().chain(before.iter().flat_map(|(_, layers)| layers));
        let needed = all.map(Policy::needs_in_all).fold(KernelModel::default(), KernelModel::max);
        let model = asked.kernel.unwrap_or(needed);
        let old = before.map(|(name, layers)| Old::new(name, layers, model)).transpose()?;
        let mut judged = Judged::new(&names.join(","), layers, Some(model)).map_err(failed)?;
        // What cannot be enforced is no page.
        let Some(enforcement) = judged.enforcement.take() else {
            let wrong = Diagnostics::of(judged.diagnostics.iter().flatten().cloned().collect());
            let rendered = wrong.map(|wrong| wrong.render(style::stderr_is_coloured())).unwrap_or_default();
            return Err(Unusable::Wrong(rendered).into());
        };
        let tested =
            judged.layers.iter().map(|policy| Tested::of(policy, model)).collect::<Result<_, _>>()?;
        let exposures = enforcement.exposures(release, Effort::default()).map_err(failed)?;
        let files = Files::new(judged.layers.iter().chain(old.iter().flat_map(|old| &old.layers)));
        let difference = old.map(|old| old.to(&judged, &enforcement)).transpose().map_err(failed)?;
        let title = asked.title.clone().unwrap_or_else(|| called(&judged.layers));
        Ok(Self { title, model, release, judged, enforcement, tested, exposures, difference, files })
    }

    pub(super) fn layers(&self) -> &[Policy] {
        &self.judged.layers
    }

    /// The file that everything is said of, where there is one.
    pub(super) fn whole(&self) -> &str {
        match self.layers() {
            [policy] => policy.file(),
            _ => "",
        }
    }

    /// What cells of a layer are called where a table has no columns: a word, or the end of the file's name.
    pub(super) fn label<'l>(&self, layer: &'l Policy) -> &'l str {
        match self.layers() {
            [_] => "Rule",
            _ => layer.file().rsplit('/').next().unwrap_or_default(),
        }
    }

    /// Whether there are more layers than a table can have columns for.
    pub(super) fn has_many_layers(&self) -> bool {
        self.layers().len() > 4
    }

    /// Whether every assertion is proved and every test passed.
    pub(super) fn is_good(&self) -> bool {
        let broken = self.judged.assertions.iter().filter(|assertion| !assertion.is_proved()).count();
        broken == 0 && self.tested.iter().all(|tested| tested.failed() == 0)
    }
}

impl Tested {
    fn of(policy: &Policy, model: KernelModel) -> Result<Self, Unusable> {
        let enforcement = layers::enforce(std::slice::from_ref(policy), model)?;
        Ok(Self {
            file: policy.file().to_owned(),
            outcomes: test::outcomes(policy, &enforcement),
            coverage: Coverage::of(policy, model),
        })
    }

    pub(super) fn failed(&self) -> usize {
        self.outcomes.iter().filter(|outcome| !outcome.passed).count()
    }
}

/// What there was before.
struct Old {
    name: String,
    layers: Vec<Policy>,
    enforcement: Enforcement,
}

impl Old {
    fn new(name: &str, layers: Vec<Policy>, model: KernelModel) -> Result<Self, Unusable> {
        let enforcement = layers::enforce(&layers, model)?;
        Ok(Self { name: name.to_owned(), layers, enforcement })
    }

    fn to(self, new: &Judged, enforcement: &Enforcement) -> Result<Difference, CompareError> {
        let model = enforcement.filters().model();
        let names: Vec<_> = new.layers.iter().map(Policy::file).collect();
        let old = Side::of(&self.name, self.layers, self.enforcement);
        let new = Side::of(&names.join(","), new.layers.clone(), enforcement.clone());
        let report = diff::report::Report::new(&old, &new, &operations(model).collect::<Vec<_>>())?;
        Ok(Difference { old: self.name, report })
    }
}

/// The operations that a kernel has.
pub(super) fn operations(model: KernelModel) -> impl Iterator<Item = Opcode> {
    OPCODES.iter().map(|info| info.opcode).filter(move |opcode| model.has_opcode(*opcode))
}

/// What policies are called where nobody says.
fn called(layers: &[Policy]) -> String {
    let names: Vec<_> = layers.iter().map(|policy| policy.name().unwrap_or(policy.file())).collect();
    names.join(", ")
}

fn failed(error: impl Display) -> NoFacts {
    NoFacts::Failed(error.to_string())
}
