//! `ringwarden export kubernetes`: the agent on every node, and what a pod has to say to use it.

use super::profile::{Lane, Options};
use crate::{UNUSABLE, layers, output, style};
use clap::Args;
use ringwarden::policy::Preset;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Write objects for Kubernetes: the agent on every node, a policy and its seccomp profile, and a pod that uses them.
///
/// The DaemonSet's first container installs the profile where the kubelet looks for it (/var/lib/kubelet/seccomp), the
/// second is the agent: root, with the node's processes in sight. The profile is written as the runtime specification has
/// it, since containerd passes over all else. Of the pod at the end its `seccompProfile` counts.
#[derive(Args)]
#[command(after_help = "\
Exit status: 0 when it is done;
  1  a rule is more than the agent holds
  2  a policy or the profile cannot be read or used, or FILE cannot be written

Examples:
  ringwarden export kubernetes web.toml --image ringwarden:1 -o ringwarden.yaml
  kubectl apply -f ringwarden.yaml")]
pub(super) struct Kubernetes {
    /// A policy file, - for standard input, or a preset such as @container-default
    #[arg(value_name = "POLICY")]
    policy: String,
    #[command(flatten)]
    options: Options,
    /// The image with `ringwarden` and `cp` in its path
    #[arg(long, value_name = "IMAGE", default_value = concat!("ringwarden:", env!("CARGO_PKG_VERSION")), value_parser = word)]
    image: String,
    /// The namespace of the agent
    #[arg(long, value_name = "NAMESPACE", default_value = "ringwarden", value_parser = label)]
    namespace: String,
    /// Where it goes, in place of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// A reference to an image, or a path.
fn word(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:@+".contains(&byte);
    match !text.is_empty() && text.bytes().all(plain) {
        true => Ok(text.to_owned()),
        false => Err("other characters than letters, digits and -_./:@+".to_owned()),
    }
}

/// A name of an object (RFC 1123).
fn label(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let inside = !text.starts_with('-') && !text.ends_with('-');
    match (1..=63).contains(&text.len()) && inside && text.bytes().all(plain) {
        true => Ok(text.to_owned()),
        false => Err("not 1 to 63 lower-case letters, digits, and - in between".to_owned()),
    }
}

impl Kubernetes {
    pub(super) fn export(self) -> ExitCode {
        match self.objects() {
            Ok(text) => output::write(self.output.as_deref(), text.as_bytes()),
            Err(status) => status,
        }
    }

    fn objects(&self) -> Result<String, ExitCode> {
        let Self { policy, options, image, namespace, .. } = self;
        let policies = std::slice::from_ref(policy);
        let name = options.metadata(policies).map_err(|reason| reason.tell())?;
        let profile = options.profile(Lane::Agent, policies).map_err(|reason| reason.tell())?;
        let unusable = |reason: String| style::fail(reason, UNUSABLE);
        let profile = profile
            .resolved(options.setting())
            .map_err(|reason| unusable(format!("this profile cannot be used: {reason}")))?;
        let profile =
            serde_json::to_string_pretty(&profile).map_err(|error| style::fail(error, crate::FAILED))?;
        let socket = word(&options.socket).map_err(|error| unusable(format!("--socket has {error}")))?;
        let Some(folder) = Path::new(&socket).parent().filter(|folder| folder.parent().is_some()) else {
            return Err(unusable(format!(
                "`{socket}` is not the absolute path of a socket in a folder of its own"
            )));
        };
        let bare = name.strip_prefix('@').unwrap_or(&name);
        let text = text_of(policy)?;
        let policies =
            text.map_or_else(|| "data: {}".to_owned(), |text| entry(&format!("{bare}.toml"), &text));
        let profiles = entry(&format!("{bare}.json"), &profile);
        let folder = folder.display();
        Ok(format!(
            r#"# io_uring for pods, held to the policy {name}.
apiVersion: v1
kind: Namespace
metadata:
  name: "{namespace}"
  labels:
    # The agent is root on its node.
    pod-security.kubernetes.io/enforce: privileged
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: ringwarden-policies
  namespace: "{namespace}"
{policies}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: ringwarden-profiles
  namespace: "{namespace}"
{profiles}
---
apiVersion: apps/v1
kind: DaemonSet
metadata:
  name: ringwarden-agent
  namespace: "{namespace}"
spec:
  selector:
    matchLabels:
      app: ringwarden-agent
  # Pods that run already get no new rings from an agent that was started after them.
  updateStrategy:
    type: OnDelete
  template:
    metadata:
      labels:
        app: ringwarden-agent
    spec:
      # It looks into the processes that ask for rings.
      hostPID: true
      priorityClassName: system-node-critical
      automountServiceAccountToken: false
      tolerations:
        - operator: Exists
      initContainers:
        - name: profile
          image: "{image}"
          command: ["cp", "/profiles/{bare}.json", "/seccomp/{bare}.json"]
          volumeMounts:
            - name: profiles
              mountPath: /profiles
              readOnly: true
            - name: seccomp
              mountPath: /seccomp
      containers:
        - name: agent
          image: "{image}"
          command: ["ringwarden", "agent", "--listen", "{socket}", "--policies", "/etc/ringwarden/policies"]
          securityContext:
            privileged: true
          volumeMounts:
            - name: policies
              mountPath: /etc/ringwarden/policies
              readOnly: true
            - name: socket
              mountPath: {folder}
            - name: cgroup
              mountPath: /sys/fs/cgroup
      volumes:
        - name: policies
          configMap:
            name: ringwarden-policies
        - name: profiles
          configMap:
            name: ringwarden-profiles
        - name: seccomp
          hostPath:
            path: /var/lib/kubelet/seccomp/ringwarden
            type: DirectoryOrCreate
        - name: socket
          hostPath:
            path: {folder}
            type: DirectoryOrCreate
        - name: cgroup
          hostPath:
            path: /sys/fs/cgroup
            type: Directory
---
# An example. A pod starts only where the agent listens.
apiVersion: v1
kind: Pod
metadata:
  name: io-uring-example
spec:
  securityContext:
    seccompProfile:
      type: Localhost
      localhostProfile: ringwarden/{bare}.json
  containers:
    - name: program
      image: "{image}"
      command: ["ringwarden", "doctor"]
  restartPolicy: Never
"#
        ))
    }
}

/// A policy as one file; `None` for a preset, which the agent has.
fn text_of(name: &str) -> Result<Option<String>, ExitCode> {
    if Preset::named(name).is_some() {
        return Ok(None);
    }
    let told = |unusable: layers::Unusable| {
        unusable.print();
        ExitCode::from(UNUSABLE)
    };
    let text = layers::read(name).map_err(told)?;
    let policies = layers::parse(&[name.to_owned()]).map_err(told)?;
    // What it extends is in other files.
    Ok(Some(if policies[0].bases().is_empty() { text } else { policies[0].listing() }))
}

/// The data of a ConfigMap: a file by its name.
fn entry(name: &str, text: &str) -> String {
    let lines: Vec<_> = text
        .lines()
        .map(|line| if line.is_empty() { String::new() } else { format!("    {line}") })
        .collect();
    format!("data:\n  {name}: |2\n{}", lines.join("\n"))
}
