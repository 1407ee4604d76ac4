//! From a file to a profile.

use crate::resource::{self, Resource};
use crate::{Profile, ReadError, stranger, yaml};
use serde::Deserialize;
use serde::de::IgnoredAny;

fn of_json(json: &str, wanted: Option<&str>) -> Result<Profile, ReadError> {
    /// What tells the files apart.
    #[derive(Deserialize)]
    struct Outside {
        linux: Option<IgnoredAny>,
        #[serde(rename = "ociVersion")]
        oci_version: Option<IgnoredAny>,
        kind: Option<String>,
        spec: Option<IgnoredAny>,
        items: Option<IgnoredAny>,
        #[serde(rename = "defaultAction")]
        default_action: Option<IgnoredAny>,
        syscalls: Option<IgnoredAny>,
    }
    #[derive(Deserialize)]
    struct Container {
        linux: Linux,
    }
    #[derive(Deserialize)]
    struct Linux {
        seccomp: Option<Profile>,
    }
    if !json.trim_start().starts_with('{') {
        return Err(ReadError::whole("a profile is an object, of JSON or YAML, and this is not one"));
    }
    let outside: Outside = serde_json::from_str(json)?;
    if outside.items.is_some() {
        return resource::of_list(json, wanted)?.enabled();
    }
    if let Some(kind) = outside.kind.filter(|kind| kind != resource::KIND) {
        let advice = stranger::of_kind(&kind);
        return Err(ReadError::whole(format!("this is a {kind}, and not a {}{advice}", resource::KIND)));
    }
    if outside.spec.is_some() {
        return serde_json::from_str::<Resource>(json)?.spec.enabled();
    }
    let profile: Profile = if outside.linux.is_some() || outside.oci_version.is_some() {
        let Linux { seccomp } = serde_json::from_str::<Container>(json)?.linux;
        let message = "this container has no seccomp profile: there is no `linux.seccomp`";
        seccomp.ok_or_else(|| ReadError::whole(message))?
    } else if outside.default_action.is_none() && outside.syscalls.is_none() {
        return Err(ReadError::whole(
            "this is not a seccomp profile: it has neither `defaultAction` nor `syscalls`",
        ));
    } else {
        serde_json::from_str(json)?
    };
    let strangers = [
        ("disabled", profile.disabled.is_some()),
        ("state", profile.state.is_some()),
        ("baseProfileName", profile.base_profile_name.is_some()),
        ("targetWorkload", profile.target_workload.is_some()),
    ];
    match strangers.iter().find(|(_, there)| *there) {
        Some((key, _)) => {
            Err(ReadError::whole(format!("unknown field `{key}`, which only objects of Kubernetes have")))
        }
        None => Ok(profile),
    }
}

impl Profile {
    /// Reads a profile, or the file of which one is a part: a container's `config.json`, a `SeccompProfile` of
    /// Kubernetes, or a list of those, of which `wanted` is the name of one. The file is JSON or YAML.
    ///
    /// # Errors
    /// It is neither, or not a profile.
    pub fn read(text: &str, wanted: Option<&str>) -> Result<Self, ReadError> {
        // Windows' editors begin a file with the mark.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let profile = match text.trim_start().chars().next() {
            None => Err(ReadError::whole("this is empty")),
            Some('{' | '[' | '"') => of_json(text, wanted),
            _ => yaml::as_json(text)
                .map_err(|error| yaml::within(error, text))
                .and_then(|json| of_json(&json, wanted).map_err(|error| yaml::placed(error, text))),
        };
        profile.map_err(|error| stranger::told(error, text))
    }

    /// The profile of an object, unless that says not to use it, or is only a part of one.
    fn enabled(self) -> Result<Self, ReadError> {
        if self.disabled == Some(true) {
            return Err(ReadError::whole("this profile is not in force: `spec.disabled` is true"));
        }
        if let Some(state) = self.state.as_deref().filter(|state| *state != "Enabled") {
            return Err(ReadError::whole(format!("this profile is not in force: `spec.state` is `{state}`")));
        }
        if let Some(base) = self.base_profile_name.as_deref().filter(|base| !base.is_empty()) {
            return Err(ReadError::whole(format!(
                "this profile adds to another one, `spec.baseProfileName` `{base}`: import what the operator makes \
                 of both"
            )));
        }
        Ok(self)
    }
}
