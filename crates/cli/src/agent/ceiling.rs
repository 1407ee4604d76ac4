//! What no container's policy may go beyond.

use crate::diff::{calls, example};
use crate::layers;
use ringwarden::Enforcement;
use ringwarden::diff::{Difference, Effort, compare};
use ringwarden::uapi::OPCODES;

/// Whether `policy` allows nothing that the policy named `ceiling` refuses.
///
/// # Errors
/// What it allows beyond, for people.
pub(super) fn check(policy: &Enforcement, ceiling: &str) -> Result<(), String> {
    let model = policy.filters().model();
    let names = [ceiling.to_owned()];
    let most = layers::load(&names, model)
        .map_err(|unusable| format!("the ceiling is unusable: {}", unusable.line()))?;
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
