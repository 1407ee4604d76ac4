//! The profile as its file has it: that of OCI runtimes, Docker and Podman, and of Kubernetes.
//!
//! Every key is read or refused: one that is passed over could be the one that denies something.
//! Places are those that the JSON reader was at.

use super::resource::{self, Resource};
use super::{ImportError, yaml};
use serde::de::{Error, IgnoredAny};
use serde::{Deserialize, Deserializer};

/// A seccomp profile.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Profile {
    pub(super) default_action: Action,
    pub(super) default_errno_ret: Option<u32>,
    /// Podman's: the name of the number.
    pub(super) default_errno: Option<String>,
    #[serde(default, deserialize_with = "or_null")]
    pub(super) architectures: Vec<String>,
    #[serde(default, deserialize_with = "or_null")]
    pub(super) arch_map: Vec<Architecture>,
    #[serde(default, deserialize_with = "or_null")]
    pub(super) syscalls: Vec<Rule>,
    /// How the filter is installed and who is told; nothing that decides a call.
    #[serde(rename = "flags")]
    _flags: Option<IgnoredAny>,
    pub(super) listener_path: Option<IgnoredAny>,
    pub(super) listener_metadata: Option<IgnoredAny>,
    /// Of Kubernetes' objects only, as the next two.
    disabled: Option<bool>,
    state: Option<String>,
    base_profile_name: Option<String>,
}

/// An architecture, and those whose programs it runs, too.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Architecture {
    pub(super) architecture: String,
    #[serde(default, deserialize_with = "or_null")]
    pub(super) sub_architectures: Vec<String>,
}

/// What becomes of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) enum Action {
    #[serde(rename = "SCMP_ACT_ALLOW")]
    Allow,
    #[serde(rename = "SCMP_ACT_LOG")]
    Log,
    #[serde(rename = "SCMP_ACT_ERRNO")]
    Errno,
    #[serde(rename = "SCMP_ACT_KILL")]
    Kill,
    #[serde(rename = "SCMP_ACT_KILL_PROCESS")]
    KillProcess,
    #[serde(rename = "SCMP_ACT_KILL_THREAD")]
    KillThread,
    #[serde(rename = "SCMP_ACT_TRAP")]
    Trap,
    #[serde(rename = "SCMP_ACT_TRACE")]
    Trace,
    #[serde(rename = "SCMP_ACT_NOTIFY")]
    Notify,
}

impl Action {
    /// Whether the call is made, whoever else is asked or told.
    pub(super) fn allows(self) -> bool {
        matches!(self, Self::Allow | Self::Log)
    }

    /// Whether the action comes with an error number.
    pub(super) fn has_errno(self) -> bool {
        matches!(self, Self::Errno | Self::Trace)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Allow => "SCMP_ACT_ALLOW",
            Self::Log => "SCMP_ACT_LOG",
            Self::Errno => "SCMP_ACT_ERRNO",
            Self::Kill => "SCMP_ACT_KILL",
            Self::KillProcess => "SCMP_ACT_KILL_PROCESS",
            Self::KillThread => "SCMP_ACT_KILL_THREAD",
            Self::Trap => "SCMP_ACT_TRAP",
            Self::Trace => "SCMP_ACT_TRACE",
            Self::Notify => "SCMP_ACT_NOTIFY",
        }
    }
}

/// What becomes of some calls, under conditions.
#[derive(Debug, Deserialize)]
#[serde(try_from = "WrittenRule")]
pub(super) struct Rule {
    pub(super) names: Vec<String>,
    pub(super) action: Action,
    pub(super) errno_ret: Option<u32>,
    pub(super) errno: Option<String>,
    pub(super) args: Vec<Arg>,
    pub(super) includes: Circumstances,
    pub(super) excludes: Circumstances,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WrittenRule {
    name: Option<String>,
    names: Option<Vec<String>>,
    action: Action,
    errno_ret: Option<u32>,
    errno: Option<String>,
    args: Option<Vec<Arg>>,
    includes: Option<Circumstances>,
    excludes: Option<Circumstances>,
    #[serde(rename = "comment")]
    _comment: Option<IgnoredAny>,
}

impl TryFrom<WrittenRule> for Rule {
    type Error = &'static str;

    fn try_from(rule: WrittenRule) -> Result<Self, Self::Error> {
        let names = match (rule.name.filter(|name| !name.is_empty()), rule.names.unwrap_or_default()) {
            (Some(_), names) if !names.is_empty() => {
                return Err("`name` and `names` in one rule: runtimes take one of them");
            }
            (Some(name), _) => vec![name],
            (None, names) if names.is_empty() => return Err("a rule without `names`"),
            (None, names) => names,
        };
        if names.iter().any(String::is_empty) {
            return Err("the name of a system call is empty");
        }
        Ok(Self {
            names,
            action: rule.action,
            errno_ret: rule.errno_ret,
            errno: rule.errno.filter(|errno| !errno.is_empty()),
            args: rule.args.unwrap_or_default(),
            includes: rule.includes.unwrap_or_default(),
            excludes: rule.excludes.unwrap_or_default(),
        })
    }
}

/// A condition on an argument.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Arg {
    #[serde(deserialize_with = "index")]
    pub(super) index: u8,
    pub(super) value: u64,
    #[serde(default, deserialize_with = "or_null")]
    pub(super) value_two: u64,
    pub(super) op: Operator,
}

/// How an argument is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) enum Operator {
    #[serde(rename = "SCMP_CMP_NE")]
    Ne,
    #[serde(rename = "SCMP_CMP_LT")]
    Lt,
    #[serde(rename = "SCMP_CMP_LE")]
    Le,
    #[serde(rename = "SCMP_CMP_EQ")]
    Eq,
    #[serde(rename = "SCMP_CMP_GE")]
    Ge,
    #[serde(rename = "SCMP_CMP_GT")]
    Gt,
    #[serde(rename = "SCMP_CMP_MASKED_EQ")]
    MaskedEq,
}

/// Where a rule applies, or does not: of several circumstances, `includes` wants all and `excludes`
/// one.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Circumstances {
    #[serde(default, deserialize_with = "or_null")]
    pub(super) caps: Vec<String>,
    #[serde(default, deserialize_with = "or_null")]
    pub(super) arches: Vec<String>,
    #[serde(default, deserialize_with = "kernel")]
    pub(super) min_kernel: Option<(u32, u32)>,
}

/// `null` is what Go writes for an empty list.
fn or_null<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

fn index<'de, D: Deserializer<'de>>(from: D) -> Result<u8, D::Error> {
    match u8::deserialize(from)? {
        index @ 0..=5 => Ok(index),
        index => {
            Err(D::Error::custom(format_args!("no system call has an argument {index}: they are 0 to 5")))
        }
    }
}

fn kernel<'de, D: Deserializer<'de>>(from: D) -> Result<Option<(u32, u32)>, D::Error> {
    let Some(text) = Option::<String>::deserialize(from)?.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    match super::kernel_version(&text) {
        Some(version) => Ok(Some(version)),
        None => Err(D::Error::custom(format_args!("`{text}` is no kernel version such as `4.8`"))),
    }
}

/// Reads a profile, or the file of which one is a part: a container's `config.json`, a `SeccompProfile` of
/// Kubernetes, or a list of those, of which `wanted` is the name of one. The file is JSON or YAML.
///
/// # Errors
/// It is neither, or not a profile.
pub(super) fn read(text: &str, wanted: Option<&str>) -> Result<Profile, ImportError> {
    match text.trim_start_matches('\u{feff}').trim_start().chars().next() {
        None | Some('{' | '[' | '"') => of_json(text, wanted),
        _ => of_json(&yaml::as_json(text)?, wanted).map_err(|error| yaml::placed(error, text)),
    }
}

fn of_json(json: &str, wanted: Option<&str>) -> Result<Profile, ImportError> {
    /// What tells the files apart.
    #[derive(Deserialize)]
    struct Outside {
        linux: Option<IgnoredAny>,
        #[serde(rename = "ociVersion")]
        oci_version: Option<IgnoredAny>,
        kind: Option<String>,
        spec: Option<IgnoredAny>,
        items: Option<IgnoredAny>,
    }
    #[derive(Deserialize)]
    struct Container {
        linux: Linux,
    }
    #[derive(Deserialize)]
    struct Linux {
        seccomp: Option<Profile>,
    }
    let outside: Outside = serde_json::from_str(json)?;
    if outside.items.is_some() {
        return resource::of_list(json, wanted)?.enabled();
    }
    if outside.spec.is_some() {
        if let Some(kind) = outside.kind.filter(|kind| kind != resource::KIND) {
            return Err(whole(format!("this is a {kind}, and not a {}", resource::KIND)));
        }
        return serde_json::from_str::<Resource>(json)?.spec.enabled();
    }
    let profile: Profile = if outside.linux.is_some() || outside.oci_version.is_some() {
        let Linux { seccomp } = serde_json::from_str::<Container>(json)?.linux;
        let message = "this container has no seccomp profile: there is no `linux.seccomp`";
        seccomp.ok_or_else(|| whole(message.to_owned()))?
    } else {
        serde_json::from_str(json)?
    };
    let strangers = [
        ("disabled", profile.disabled.is_some()),
        ("state", profile.state.is_some()),
        ("baseProfileName", profile.base_profile_name.is_some()),
    ];
    match strangers.iter().find(|(_, there)| *there) {
        Some((key, _)) => Err(whole(format!("unknown field `{key}`, which only objects of Kubernetes have"))),
        None => Ok(profile),
    }
}

/// The error that is about the file, and no place in it.
fn whole(message: String) -> ImportError {
    ImportError::Profile { line: 1, column: 1, message }
}

impl Profile {
    /// The profile of an object, unless that says not to use it, or is only a part of one.
    fn enabled(self) -> Result<Self, ImportError> {
        if self.disabled == Some(true) {
            return Err(whole("this profile is not in force: `spec.disabled` is true".to_owned()));
        }
        if let Some(state) = self.state.as_deref().filter(|state| *state != "Enabled") {
            return Err(whole(format!("this profile is not in force: `spec.state` is `{state}`")));
        }
        if let Some(base) = self.base_profile_name.as_deref().filter(|base| !base.is_empty()) {
            return Err(whole(format!(
                "this profile adds to another one, `spec.baseProfileName` `{base}`: import what the operator makes \
                 of both"
            )));
        }
        Ok(self)
    }
}
