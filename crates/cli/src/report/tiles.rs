//! The page in a few words, each a link to what it is about.

use super::effect::Effect;
use super::exposure::tally;
use super::facts::{Facts, operations};
use maud::{Markup, html};

/// A word about a section.
struct Tile {
    name: &'static str,
    /// The section.
    id: &'static str,
    value: String,
    /// What its colour says once more.
    mark: Mark,
    detail: String,
}

#[derive(Clone, Copy)]
enum Mark {
    Plain,
    Good,
    Warn,
    Bad,
}

pub(super) fn tiles(facts: &Facts) -> Markup {
    let tiles = [
        Some(operations_of(facts)),
        difference(facts),
        Some(assertions(facts)),
        Some(tests(facts)),
        Some(coverage(facts)),
        Some(exposure(facts)),
    ];
    html! { dl.tiles { @for tile in tiles.iter().flatten() { (tile.shown()) } } }
}

impl Tile {
    fn new(
        name: &'static str,
        id: &'static str,
        value: impl Into<String>,
        mark: Mark,
        detail: String,
    ) -> Self {
        Self { name, id, value: value.into(), mark, detail }
    }

    fn shown(&self) -> Markup {
        let class = match self.mark {
            Mark::Plain => "tile",
            Mark::Good => "tile good",
            Mark::Warn => "tile warn",
            Mark::Bad => "tile bad",
        };
        html! {
            div class=(class) {
                dt { a href={ "#" (self.id) } { (self.name) } }
                dd { strong { (self.value) } " " span { (self.detail) } }
            }
        }
    }
}

fn operations_of(facts: &Facts) -> Tile {
    let together = |operation| Effect::together(facts.enforcement.filters(), operation);
    let effects: Vec<_> = operations(facts.model).map(together).collect();
    let of = |wanted| effects.iter().filter(|effect| **effect == wanted).count();
    let value = format!("{} allowed", of(Effect::Allow));
    let detail = format!("{} on a condition, {} denied", of(Effect::If), of(Effect::Deny));
    Tile::new("Operations", "operations", value, Mark::Plain, detail)
}

fn difference(facts: &Facts) -> Option<Tile> {
    let report = &facts.difference.as_ref()?.report;
    let (value, detail) = match report.is_equal() {
        true => ("none", "both allow the same".to_owned()),
        false => ("differs", report.summary.sentence()),
    };
    Some(Tile::new("Difference", "difference", value, Mark::Plain, detail))
}

fn assertions(facts: &Facts) -> Tile {
    let all = facts.judged.assertions.len();
    let broken = facts.judged.assertions.iter().filter(|one| !one.is_proved()).count();
    let tile = |value: String, mark, detail| Tile::new("Assertions", "assertions", value, mark, detail);
    match (all, broken) {
        (0, _) => tile("none".into(), Mark::Plain, "nothing is said of all requests at once".to_owned()),
        (all, 0) => tile("all proved".into(), Mark::Good, format!("{all} of {all}")),
        (all, broken) => tile(format!("{broken} not proved"), Mark::Bad, format!("of {all}")),
    }
}

fn tests(facts: &Facts) -> Tile {
    let all: usize = facts.tested.iter().map(|one| one.outcomes.len()).sum();
    let failed: usize = facts.tested.iter().map(|one| one.failed()).sum();
    let tile = |value: String, mark, detail| Tile::new("Tests", "tests", value, mark, detail);
    match (all, failed) {
        (0, _) => tile("none".into(), Mark::Plain, "no request is said to be allowed or refused".to_owned()),
        (all, 0) => tile("all passed".into(), Mark::Good, format!("{all} of {all}")),
        (all, failed) => tile(format!("{failed} failed"), Mark::Bad, format!("of {all}")),
    }
}

fn coverage(facts: &Facts) -> Tile {
    let decided: usize = facts.tested.iter().map(|one| one.coverage.decided).sum();
    let branches: usize = facts.tested.iter().map(|one| one.coverage.branches).sum();
    let percent = (decided * 100).checked_div(branches).unwrap_or(100);
    let detail = format!("tests decide {decided} of {branches} branches");
    Tile::new("Coverage", "coverage", format!("{percent} %"), Mark::Plain, detail)
}

fn exposure(facts: &Facts) -> Tile {
    let (value, mark, detail) = match tally(&facts.exposures) {
        Some((ranks, true)) => ("known to be exploited", Mark::Warn, ranks),
        Some((ranks, false)) => ("led to bugs", Mark::Plain, ranks),
        None => ("nothing known", Mark::Good, "of what led to bugs before".to_owned()),
    };
    Tile::new("Left open", "exposure", value, mark, detail)
}
