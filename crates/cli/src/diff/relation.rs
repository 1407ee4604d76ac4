//! What NEW does to OLD, in words.

/// What NEW does to some operation.
pub(super) fn sentence(relation: &str) -> String {
    match relation {
        "neither" => "NEW does neither: it refuses some more and allows some more".to_owned(),
        "unknown" => "unknown: too much to compute".to_owned(),
        relation => format!("NEW {relation}"),
    }
}
