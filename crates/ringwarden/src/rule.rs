//! Rules as messages name them.

use ringwarden_policy::RuleOrigin;

/// A rule and where it is written, for people.
pub(crate) fn at(rule: &RuleOrigin) -> String {
    /// How many characters of a rule are shown.
    const SHOWN: usize = 120;
    // A rule of several lines is one here.
    let mut text = rule.text.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((end, _)) = text.char_indices().nth(SHOWN) {
        text.truncate(end);
        text.push('…');
    }
    format!("`{} = {text}` at {}:{}", rule.key, rule.file, rule.line)
}
