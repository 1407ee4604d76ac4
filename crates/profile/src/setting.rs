//! Where a profile is to be in force: what its `includes` and `excludes` ask.

use crate::Rule;

/// Every capability, without `CAP_` (`include/uapi/linux/capability.h`, Linux 7.2).
const CAPABILITIES: &[&str] = &[
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// A capability that the container has, such as `CAP_SYS_ADMIN`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Capability(&'static str);

impl Capability {
    /// The capability of that name, in any case and with or without `CAP_`.
    pub fn from_name(name: &str) -> Option<Self> {
        let name = name.to_ascii_uppercase();
        let name = name.strip_prefix("CAP_").unwrap_or(&name);
        CAPABILITIES.iter().find(|known| **known == name).map(|known| Self(known))
    }

    fn is(self, name: &str) -> bool {
        name.strip_prefix("CAP_") == Some(self.0)
    }
}

/// `CAP_SYS_ADMIN`.
impl std::fmt::Display for Capability {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CAP_{}", self.0)
    }
}

/// What Docker calls the architecture that this was built for.
pub const ARCHITECTURE: &str = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };

/// What profiles call it.
pub const NATIVE: &str = if cfg!(target_arch = "aarch64") { "SCMP_ARCH_AARCH64" } else { "SCMP_ARCH_X86_64" };

/// Where the profile is to be in force.
#[derive(Clone, Copy, Debug)]
pub struct Setting<'a> {
    /// What the container may do besides.
    pub capabilities: &'a [Capability],
    /// Major and minor number of the kernel, or of the oldest of several.
    pub kernel: (u32, u32),
}

impl Setting<'_> {
    /// What keeps a rule from applying; `None` if it applies.
    pub fn hinders(&self, rule: &Rule) -> Option<String> {
        let has = |name: &String| self.capabilities.iter().any(|capability| capability.is(name));
        let here = |name: &String| name == ARCHITECTURE;
        let (wanted, unwanted) = (&rule.includes, &rule.excludes);
        let version = |(major, minor): (u32, u32)| format!("{major}.{minor}");
        if let Some(capability) = unwanted.caps.iter().find(|name| has(name)) {
            return Some(format!("without {capability}"));
        }
        if unwanted.arches.iter().any(here) || !wanted.arches.is_empty() && !wanted.arches.iter().any(here) {
            return Some("on other architectures".to_owned());
        }
        if let Some(kernel) = unwanted.min_kernel.filter(|&kernel| self.kernel >= kernel) {
            return Some(format!("before Linux {}", version(kernel)));
        }
        if let Some(capability) = wanted.caps.iter().find(|name| !has(name)) {
            return Some(format!("with {capability}"));
        }
        let kernel = wanted.min_kernel.filter(|&kernel| self.kernel < kernel)?;
        Some(format!("from Linux {}", version(kernel)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_have_their_names() {
        let name = |text| Capability::from_name(text).map(|capability| capability.to_string());
        for text in ["CAP_SYS_ADMIN", "SYS_ADMIN", "sys_admin", "cap_sys_admin"] {
            assert_eq!(name(text).as_deref(), Some("CAP_SYS_ADMIN"), "{text}");
        }
        for text in ["", "CAP_", "SYSADMIN", "CAP_CAP_SYS_ADMIN", "ALL"] {
            assert_eq!(name(text), None, "{text}");
        }
        assert_eq!(CAPABILITIES.len(), 41);
    }
}
