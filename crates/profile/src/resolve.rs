//! A profile as the runtime specification has it, and no more: the form that every runtime takes.

use crate::{Circumstances, NATIVE, Profile, Rule, Setting};

impl Profile {
    /// The profile with the rules that apply in a setting, on this machine's architecture. containerd passes over what
    /// is not in the runtime specification: `includes`, `excludes` and `archMap` (`WithProfile`, `contrib/seccomp`).
    ///
    /// # Errors
    /// The name of an error without its number, which is Podman's alone.
    pub fn resolved(&self, setting: Setting<'_>) -> Result<Self, String> {
        let numbered = |name: &Option<String>, number: Option<u32>| match (name, number) {
            (Some(name), None) => Err(format!("`{name}` has no number beside it (`errnoRet`)")),
            _ => Ok(()),
        };
        numbered(&self.default_errno, self.default_errno_ret)?;
        let mut syscalls = Vec::new();
        for rule in self.syscalls.iter().filter(|rule| setting.hinders(rule).is_none()) {
            numbered(&rule.errno, rule.errno_ret)?;
            syscalls.push(Rule {
                errno: None,
                comment: None,
                includes: Circumstances::default(),
                excludes: Circumstances::default(),
                ..rule.clone()
            });
        }
        let mapped = self.arch_map.iter().find(|entry| entry.architecture == NATIVE);
        let architectures = match mapped {
            Some(entry) => {
                [&entry.architecture].into_iter().chain(&entry.sub_architectures).cloned().collect()
            }
            None => self.architectures.clone(),
        };
        Ok(Self { default_errno: None, architectures, arch_map: Vec::new(), syscalls, ..self.clone() })
    }
}
