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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Capability, Profile};

    #[test]
    fn rules_are_those_of_the_setting_in_the_words_of_the_specification() {
        let json = format!(
            r#"{{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "defaultErrno": "ENOSYS",
            "archMap": [{{"architecture": "SCMP_ARCH_S390X", "subArchitectures": ["SCMP_ARCH_S390"]}},
                        {{"architecture": "{NATIVE}", "subArchitectures": ["SCMP_ARCH_OTHER"]}}],
            "syscalls": [
            {{"names": ["bpf"], "action": "SCMP_ACT_ALLOW", "comment": "c", "includes": {{"caps": ["CAP_BPF"]}}}},
            {{"names": ["bpf"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1, "errno": "EPERM", "excludes": {{"caps": ["CAP_BPF"]}}}},
            {{"names": ["ptrace"], "action": "SCMP_ACT_ALLOW", "includes": {{"minKernel": "5.1"}}}}]}}"#
        );
        let profile = Profile::read(&json, None).expect("a profile");
        let bpf = [Capability::from_name("CAP_BPF").expect("a capability")];
        for (capabilities, kernel, expected) in [
            (
                &[][..],
                (6, 10),
                r#"[{"names":["bpf"],"action":"SCMP_ACT_ERRNO","errnoRet":1},{"names":["ptrace"],"action":"SCMP_ACT_ALLOW"}]"#,
            ),
            (&bpf, (4, 19), r#"[{"names":["bpf"],"action":"SCMP_ACT_ALLOW"}]"#),
        ] {
            let resolved = profile.resolved(Setting { capabilities, kernel }).expect("numbers");
            assert_eq!(serde_json::to_string(&resolved.syscalls).expect("JSON"), expected);
            assert_eq!(resolved.architectures, [NATIVE, "SCMP_ARCH_OTHER"]);
            assert_eq!((resolved.default_errno_ret, resolved.default_errno), (Some(38), None));
            assert!(resolved.arch_map.is_empty());
        }
        // What is written is read the same.
        let text = serde_json::to_string(&profile).expect("JSON");
        assert_eq!(Profile::read(&text, None).expect("a profile"), profile);
        let nameless = text.replace("\"errnoRet\":1,", "");
        let profile = Profile::read(&nameless, None).expect("a profile");
        let error = profile.resolved(Setting { capabilities: &[], kernel: (6, 10) }).expect_err("no number");
        assert!(error.contains("`EPERM` has no number"), "{error}");
    }
}
