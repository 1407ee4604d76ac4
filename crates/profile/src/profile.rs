//! A profile as its file has it: that of OCI runtimes, Docker and Podman, and of Kubernetes.
//!
//! Every key is read or refused: one that is passed over could be the one that denies something. Only remarks are
//! passed over. Places are those that the JSON reader was at.

use crate::remark::Plain;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A seccomp profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, remote = "Self")]
pub struct Profile {
    /// What becomes of calls that no rule speaks of.
    pub default_action: Action,
    /// The error number that comes with it; EPERM if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_errno_ret: Option<u32>,
    /// Podman's: the name of the number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_errno: Option<String>,
    /// Whose programs' calls are looked at, as `SCMP_ARCH_X86_64`.
    #[serde(default, deserialize_with = "or_null", skip_serializing_if = "Vec::is_empty")]
    pub architectures: Vec<String>,
    /// The same, by machine: Docker's and Podman's.
    #[serde(default, deserialize_with = "or_null", skip_serializing_if = "Vec::is_empty")]
    pub arch_map: Vec<Architecture>,
    /// How the filter is installed, as `SECCOMP_FILTER_FLAG_LOG`; nothing that decides a call.
    #[serde(default, deserialize_with = "or_null", skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<String>,
    /// The socket of the program that is asked about calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listener_path: Option<String>,
    /// What that program is told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listener_metadata: Option<String>,
    /// What becomes of the others.
    #[serde(default, deserialize_with = "or_null")]
    pub syscalls: Vec<Rule>,
    /// Of Kubernetes' objects only, as the next three.
    #[serde(skip_serializing)]
    pub(crate) disabled: Option<bool>,
    #[serde(skip_serializing)]
    pub(crate) state: Option<String>,
    #[serde(skip_serializing)]
    pub(crate) base_profile_name: Option<String>,
    /// Of older objects: for whom the profile was; nothing that decides a call.
    #[serde(skip_serializing)]
    pub(crate) target_workload: Option<String>,
}

/// A machine, and the architectures whose programs it runs, too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Architecture {
    /// The machine's own.
    pub architecture: String,
    /// The others.
    #[serde(default, deserialize_with = "or_null")]
    pub sub_architectures: Vec<String>,
}

/// What becomes of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// They are made.
    #[serde(rename = "SCMP_ACT_ALLOW")]
    Allow,
    /// They are made, and the kernel's log tells of them.
    #[serde(rename = "SCMP_ACT_LOG")]
    Log,
    /// They fail.
    #[serde(rename = "SCMP_ACT_ERRNO")]
    Errno,
    /// They end the thread: the older name.
    #[serde(rename = "SCMP_ACT_KILL")]
    Kill,
    /// They end the process.
    #[serde(rename = "SCMP_ACT_KILL_PROCESS")]
    KillProcess,
    /// They end the thread.
    #[serde(rename = "SCMP_ACT_KILL_THREAD")]
    KillThread,
    /// They send SIGSYS.
    #[serde(rename = "SCMP_ACT_TRAP")]
    Trap,
    /// Who traces the program decides.
    #[serde(rename = "SCMP_ACT_TRACE")]
    Trace,
    /// Who listens decides.
    #[serde(rename = "SCMP_ACT_NOTIFY")]
    Notify,
}

impl Action {
    /// Whether the call is made, logged or not.
    pub fn allows(self) -> bool {
        matches!(self, Self::Allow | Self::Log)
    }

    /// Whether the action comes with an error number.
    pub fn has_errno(self) -> bool {
        matches!(self, Self::Errno | Self::Trace)
    }

    /// As profiles have it.
    pub fn name(self) -> &'static str {
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", try_from = "WrittenRule")]
pub struct Rule {
    /// The calls; at least one.
    pub names: Vec<String>,
    /// What becomes of them.
    pub action: Action,
    /// The error number that comes with it; EPERM if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errno_ret: Option<u32>,
    /// Podman's: the name of the number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errno: Option<String>,
    /// Conditions, which have to hold all; but where two are about one argument runtimes make a rule of each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<Arg>,
    /// For readers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Where the rule applies; Docker's and Podman's, as the next.
    #[serde(skip_serializing_if = "Circumstances::is_empty")]
    pub includes: Circumstances,
    /// Where it does not.
    #[serde(skip_serializing_if = "Circumstances::is_empty")]
    pub excludes: Circumstances,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, remote = "Self")]
struct WrittenRule {
    name: Option<String>,
    names: Option<Vec<String>>,
    action: Action,
    errno_ret: Option<u32>,
    errno: Option<String>,
    args: Option<Vec<Arg>>,
    includes: Option<Circumstances>,
    excludes: Option<Circumstances>,
    comment: Option<String>,
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
            comment: rule.comment.filter(|comment| !comment.is_empty()),
            includes: rule.includes.unwrap_or_default(),
            excludes: rule.excludes.unwrap_or_default(),
        })
    }
}

impl Rule {
    /// A rule about one call, wherever it is in force.
    pub fn new(name: &str, action: Action, args: Vec<Arg>) -> Self {
        Self {
            names: vec![name.to_owned()],
            action,
            errno_ret: None,
            errno: None,
            args,
            comment: None,
            includes: Circumstances::default(),
            excludes: Circumstances::default(),
        }
    }

    /// Whether the rule is about that call.
    pub fn is_about(&self, call: &str) -> bool {
        self.names.iter().any(|name| name == call)
    }
}

/// A condition on an argument.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, remote = "Self")]
pub struct Arg {
    /// Which argument, from 0 to 5.
    #[serde(deserialize_with = "index")]
    pub index: u8,
    /// What it is compared with; for `SCMP_CMP_MASKED_EQ` the bits that are looked at.
    pub value: u64,
    /// What `SCMP_CMP_MASKED_EQ` compares those bits with.
    #[serde(default, deserialize_with = "or_null")]
    pub value_two: u64,
    /// How it is compared.
    pub op: Operator,
}

impl Arg {
    /// Whether an argument's bits of `mask` are those of `value`.
    pub fn masked(index: u8, mask: u32, value: u32) -> Self {
        Self { index, value: mask.into(), value_two: value.into(), op: Operator::MaskedEq }
    }

    /// Whether the condition holds of a call's arguments.
    pub fn holds(&self, arguments: &[u64; 6]) -> bool {
        let argument = arguments[usize::from(self.index)];
        match self.op {
            Operator::Ne => argument != self.value,
            Operator::Lt => argument < self.value,
            Operator::Le => argument <= self.value,
            Operator::Eq => argument == self.value,
            Operator::Ge => argument >= self.value,
            Operator::Gt => argument > self.value,
            // libseccomp drops the bits of the second number that are not in the first.
            Operator::MaskedEq => argument & self.value == self.value_two & self.value,
        }
    }
}

/// How an argument is compared: all 64 bits, unsigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operator {
    /// Is another.
    #[serde(rename = "SCMP_CMP_NE")]
    Ne,
    /// Is less.
    #[serde(rename = "SCMP_CMP_LT")]
    Lt,
    /// Is not more.
    #[serde(rename = "SCMP_CMP_LE")]
    Le,
    /// Is the same.
    #[serde(rename = "SCMP_CMP_EQ")]
    Eq,
    /// Is not less.
    #[serde(rename = "SCMP_CMP_GE")]
    Ge,
    /// Is more.
    #[serde(rename = "SCMP_CMP_GT")]
    Gt,
    /// Is the same in some bits.
    #[serde(rename = "SCMP_CMP_MASKED_EQ")]
    MaskedEq,
}

/// Where a rule applies, or does not: of several circumstances, `includes` wants all and `excludes` one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Circumstances {
    /// The container has these capabilities.
    #[serde(default, deserialize_with = "or_null", skip_serializing_if = "Vec::is_empty")]
    pub caps: Vec<String>,
    /// The machine is one of these, as `amd64`.
    #[serde(default, deserialize_with = "or_null", skip_serializing_if = "Vec::is_empty")]
    pub arches: Vec<String>,
    /// The kernel is not older.
    #[serde(
        default,
        deserialize_with = "kernel",
        serialize_with = "version",
        skip_serializing_if = "Option::is_none"
    )]
    pub min_kernel: Option<(u32, u32)>,
}

impl Circumstances {
    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Objects in which remarks may stand: what is derived reads and writes them without.
macro_rules! with_remarks {
    ($($object:ty),*) => {$(
        impl<'de> Deserialize<'de> for $object {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                <$object>::deserialize(Plain(from))
            }
        }
    )*};
}

with_remarks!(Profile, WrittenRule, Arg);

impl Serialize for Profile {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, to)
    }
}

impl Serialize for Arg {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, to)
    }
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
    // Docker's earliest profiles with a version name the kernel's patch, too.
    match crate::kernel_version(text.strip_suffix(".0").filter(|text| text.contains('.')).unwrap_or(&text)) {
        Some(version) => Ok(Some(version)),
        None => Err(D::Error::custom(format_args!("`{text}` is not a kernel version such as `4.8`"))),
    }
}

fn version<S: Serializer>(kernel: &Option<(u32, u32)>, to: S) -> Result<S::Ok, S::Error> {
    let text = kernel.map(|(major, minor)| format!("{major}.{minor}"));
    text.serialize(to)
}
