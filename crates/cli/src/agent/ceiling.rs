//! What no container's policy may go beyond.

use crate::diff::{calls, example};
use crate::layers;
use ringwarden::Enforcement;
use ringwarden::diff::{Difference, Effort, compare};
use ringwarden::policy::Policy;
use ringwarden::uapi::OPCODES;

/// Whether policies allow nothing that the policy named `ceiling` refuses. No container's requests are judged by what
/// only the guard sees, but a ceiling may ask for that: then all are compared by it.
///
/// # Errors
/// What it allows beyond, for people.
pub(super) fn check(policies: &[Policy], ceiling: &str) -> Result<(), String> {
    let most = layers::enforceable(&[ceiling.to_owned()]);
    let most = most.map_err(|unusable| format!("the ceiling is unusable: {}", unusable.line()))?;
    let model = Enforcement::needed(policies.iter().chain(&most));
    let compiled = |layers| layers::enforce(layers, model).map_err(|unusable| unusable.line());
    let (policy, most) = (compiled(policies)?, compiled(&most)?);
    for opcode in OPCODES.iter().map(|info| info.opcode).filter(|&opcode| model.has_opcode(opcode)) {
        let comparison = compare(most.filters(), policy.filters(), opcode, Effort::default())
            .map_err(|error| format!("it cannot be compared with the ceiling {ceiling}: {error}"))?;
        match comparison.loosened {
            Difference::Never => {}
            Difference::Unknown => {
                return Err(format!(
                    "whether it goes beyond the ceiling {ceiling} for {opcode} is too much to compute"
                ));
            }
            Difference::Example(context) => {
                let (fields, _) = example::described(model, &context);
                let fields: String = fields.iter().map(|field| format!(" {field}")).collect();
                return Err(format!("it goes beyond the ceiling {ceiling}: it allows `{opcode}{fields}`"));
            }
        }
    }
    let (theirs, most) = (policy.calls(), most.calls());
    let beyond = [calls::rings(theirs.setup, most.setup), calls::registers(theirs.register, most.register)];
    match beyond.concat().first() {
        None => Ok(()),
        Some(what) => Err(format!("it goes beyond the ceiling {ceiling}: it allows {what}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beyond(policy: &str, ceiling: &str) -> Option<String> {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, format!("version = 1\n{text}\n")).expect("writable");
            path.to_str().expect("text").to_owned()
        };
        let policies =
            layers::enforceable(&[file("policy.toml", policy)]).unwrap_or_else(|_| panic!("a policy"));
        check(&policies, &file("ceiling.toml", ceiling)).err()
    }

    #[test]
    fn a_ceiling_may_ask_for_what_only_the_guard_sees() {
        const CEILING: &str = "default = \"allow\"\n[ops]\nuring_cmd = \"cmd_op == 3\"";
        assert_eq!(beyond("default = \"allow\"\n[ops]\nuring_cmd = \"deny\"", CEILING), None);
        let beyond = beyond("default = \"allow\"", CEILING).expect("more than a command");
        assert!(beyond.contains("it allows `uring_cmd"), "{beyond}");
    }

    #[test]
    fn what_only_gives_names_is_no_ceiling() {
        let beyond = beyond("default = \"allow\"", "[define]\nweb = \"{80, 443}\"").expect("no policy");
        assert!(beyond.contains("there is nothing to enforce"), "{beyond}");
    }
}
