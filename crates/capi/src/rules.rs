//! Rules behind verdicts, as text that lives as long as what they are rules of.

use crate::abi;
use crate::string::{c_string, number};
use ringwarden::policy::RuleOrigin;
use std::collections::HashMap;
use std::ffi::CString;
use std::sync::{Mutex, PoisonError};

/// The rules that C programs were told of. There are no more than the policies have, so that none is ever dropped.
#[derive(Debug, Default)]
pub(crate) struct Rules(Mutex<HashMap<(usize, RuleOrigin), Written>>);

/// Where a rule is written. The text stays where it is when this is moved.
#[derive(Debug)]
struct Written {
    file: CString,
    key: CString,
    text: CString,
}

impl Rules {
    /// The rule of that policy as C sees it; valid as long as `self`.
    pub(crate) fn view(&self, layer: usize, rule: &RuleOrigin) -> abi::Rule {
        // Whoever panicked meanwhile has added an entry, or none.
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let written = known.entry((layer, rule.clone())).or_insert_with(|| Written {
            file: c_string(&rule.file),
            key: c_string(&rule.key),
            text: c_string(&rule.text),
        });
        abi::Rule {
            file: written.file.as_ptr(),
            key: written.key.as_ptr(),
            text: written.text.as_ptr(),
            line: number(rule.line),
            column: number(rule.column),
            layer: number(layer),
            reserved: 0,
        }
    }
}
