//! What a profile says of a system call, as its runtimes would have it.
//!
//! runc, crun and Docker agree on this much: rules that do not apply are dropped, so are those that
//! repeat the default action; the conditions of a rule have to hold all, unless two are about the
//! same argument, which makes a rule of each. Where rules disagree about a call, libseccomp picks
//! one by the form of its conditions; here the one that denies counts, whichever it is.

use crate::condition::{Reading, Values};
use crate::formula::{Formula, Match, Simplified};
use ringwarden_policy::{Argument, Field};
use ringwarden_profile::{Action, Profile, Rule, Setting};
use ringwarden_uapi::Opcode;

/// What becomes of a call.
#[derive(Debug)]
pub(crate) enum Verdict {
    Allowed,
    /// Why it is not.
    Denied(String),
    Depends(Formula),
}

/// A verdict, and what the reader should know of it.
#[derive(Debug)]
pub(crate) struct Decided {
    pub(crate) verdict: Verdict,
    pub(crate) notes: Vec<String>,
}

/// What a profile says of a call that an operation stands for.
pub(crate) fn decide(profile: &Profile, setting: Setting<'_>, operation: Opcode, call: &str) -> Decided {
    let (mut any, mut none) = (Vec::new(), Vec::new());
    let mut found = Found::default();
    for rule in profile.syscalls.iter().filter(|rule| rule.is_about(call)) {
        match setting.hinders(rule) {
            Some(why) if rule.action.allows() => found.hindered.push(why),
            Some(_) => {}
            None if profile.repeats_default(rule) => {}
            None => {
                let matches = if rule.action.allows() { &mut any } else { &mut none };
                matches.extend(matches_of(rule, operation, call, &mut found));
                if !rule.action.allows() {
                    found.denying = Some(rule.action);
                }
            }
        }
    }
    let mut notes = Vec::new();
    let mut formula = Formula::new(any, none);
    if formula.is_too_long() {
        let why = "its conditions are too long for a filter".to_owned();
        return Decided { verdict: Verdict::Denied(why), notes };
    }
    if formula.disagrees() {
        notes.push("rules of the profile disagree about some calls: those that deny count".to_owned());
    }
    if profile.default_action.allows() {
        formula.any = vec![Match::default()];
    }
    let verdict = match formula.simplify() {
        Simplified::Always => Verdict::Allowed,
        Simplified::Never => Verdict::Denied(found.why(profile.default_action)),
        Simplified::Depends(formula) => Verdict::Depends(formula),
    };
    if let (Verdict::Depends(_), Some(index)) = (&verdict, found.unseen.first()) {
        notes.push(format!(
            "narrower than the profile, which also looks at argument {index}: no filter sees it"
        ));
    }
    Decided { verdict, notes }
}

/// What was met on the way to a verdict.
#[derive(Default)]
struct Found {
    /// Why rules that allow the call do not apply.
    hindered: Vec<String>,
    /// Arguments that rules look at and filters do not see.
    unseen: Vec<u8>,
    /// What the last rule does that denies.
    denying: Option<Action>,
}

impl Found {
    /// Why nothing passes.
    fn why(&self, default: Action) -> String {
        match (self.unseen.first(), self.denying) {
            (Some(index), _) => format!("depends on argument {index}, which no filter sees"),
            (None, Some(action)) => format!("a rule says {}", action.name()),
            (None, None) => match self.hindered.first() {
                Some(why) => format!("a rule allows it only {why}"),
                None => format!("no rule allows it, and the default is {}", default.name()),
            },
        }
    }
}

/// The conditions of a rule that can hold, each with those that have to hold with it.
fn matches_of(rule: &Rule, operation: Opcode, call: &str, found: &mut Found) -> Vec<Match> {
    let allows = rule.action.allows();
    let conditions = rule.args.iter().map(|arg| {
        let argument = Argument::of(call).iter().find(|argument| argument.index == arg.index);
        let Some(argument) = argument else {
            found.unseen.push(arg.index);
            // Unknown: what allows is taken not to hold, what denies to hold.
            return (arg.index, if allows { Values::none() } else { Values::all() });
        };
        let fields = argument.fields.iter().filter_map(|name| Field::of(operation, name));
        let possible = fields.fold(0, |bits, field| bits | field.mask);
        let reading = if allows { Reading::Both } else { Reading::Either };
        (arg.index, Values::of(arg, reading).among(possible))
    });
    let conditions: Vec<_> = conditions.collect();
    if rule.is_several() {
        conditions.into_iter().filter_map(|condition| Match::new([condition])).collect()
    } else {
        Match::new(conditions).into_iter().collect()
    }
}
