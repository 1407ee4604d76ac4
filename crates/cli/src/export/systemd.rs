//! `ringwarden export systemd`: units for the agent, or a drop-in for a service.

use super::SOCKET;
use crate::{UNUSABLE, input, layers, output, style};
use clap::Args;
use ringwarden::policy::Preset;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Write units for systemd: the agent and its socket, or a drop-in that runs a service under policies.
///
/// The agent's units are for containers of any policy in --policies. With --service COMMAND it is a drop-in for one
/// service, whose program is then started by `ringwarden run`: COMMAND is the service's own ExecStart, as systemd writes
/// it.
#[derive(Args)]
#[command(after_help = "\
Exit status: 0 when it is done;
  2  a policy cannot be read or has errors, or a file cannot be written

Examples:
  ringwarden export systemd --output-dir /etc/systemd/system
  systemctl enable --now ringwarden-agent.socket ringwarden-agent.service
  ringwarden export systemd --service '/usr/sbin/mariadbd $MYSQLD_OPTS' @mariadb \\
    -o /etc/systemd/system/mariadb.service.d/ringwarden.conf")]
pub(super) struct Systemd {
    /// Of a service: policy files, or presets such as @file-io; every one must allow a request
    #[arg(value_name = "POLICY", requires = "service")]
    service_policies: Vec<String>,
    /// Write a drop-in for the service that starts COMMAND
    #[arg(long, value_name = "COMMAND", requires = "service_policies", allow_hyphen_values = true)]
    service: Option<String>,
    /// Where `ringwarden` is
    #[arg(long, value_name = "PATH", default_value = "/usr/bin/ringwarden")]
    binary: PathBuf,
    /// The socket of the agent
    #[arg(long, value_name = "PATH", default_value = SOCKET, conflicts_with = "service")]
    socket: PathBuf,
    /// The folder of the agent's policies
    #[arg(long, value_name = "DIR", default_value = "/etc/ringwarden/policies", conflicts_with = "service")]
    policies: PathBuf,
    /// A policy, or a preset: what it refuses no container's policy may allow
    #[arg(long, value_name = "POLICY", conflicts_with = "service")]
    ceiling: Option<String>,
    /// Where the agent's units go, as ringwarden-agent.service and .socket, in place of standard output
    #[arg(long, value_name = "DIR", conflicts_with = "service")]
    output_dir: Option<PathBuf>,
    /// Where the drop-in goes, in place of standard output
    #[arg(short, long, value_name = "FILE", requires = "service")]
    output: Option<PathBuf>,
}

const SERVICE: &str = "ringwarden-agent.service";
const SOCKET_UNIT: &str = "ringwarden-agent.socket";

impl Systemd {
    pub(super) fn export(self) -> ExitCode {
        let result = match &self.service {
            Some(command) => self.drop_in(command),
            None => self.agent(),
        };
        result.unwrap_or_else(|reason| style::fail(reason, UNUSABLE))
    }

    fn agent(&self) -> Result<ExitCode, String> {
        let (service, socket) = (self.agent_service()?, self.agent_socket()?);
        let Some(folder) = &self.output_dir else {
            let text = format!("# {SERVICE}\n{service}\n# {SOCKET_UNIT}\n{socket}");
            return Ok(output::write(None, text.as_bytes()));
        };
        // Neither without the other: what can be found out before is.
        if !folder.is_dir() {
            return Err(format!("{} is not a folder", folder.display()));
        }
        for (name, text) in [(SERVICE, service), (SOCKET_UNIT, socket)] {
            let path = folder.join(name);
            fs::write(&path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn agent_service(&self) -> Result<String, String> {
        let mut command = vec![absolute(&self.binary)?, "agent".to_owned(), "--policies".to_owned()];
        command.push(absolute(&self.policies)?);
        if let Some(ceiling) = &self.ceiling {
            command.extend(["--ceiling".to_owned(), policy(ceiling)?]);
        }
        let command: Vec<_> = command.iter().map(|word| quoted(word)).collect();
        Ok(format!(
            "\
[Unit]
Description=io_uring for containers, under policies
Requires={SOCKET_UNIT}
After={SOCKET_UNIT}
# Containers start only where it listens.
Before=containerd.service crio.service docker.service podman.service kubelet.service

[Service]
Type=notify
ExecStart={}
Restart=always
# Of each container one process goes on: rings of containers that run depend on it.
KillMode=process
OOMPolicy=continue
OOMScoreAdjust=-900
LimitNOFILE=524288
TasksMax=infinity
# It looks into processes of all users, takes on their ids, and goes to the control groups of containers.
CapabilityBoundingSet=CAP_SYS_PTRACE CAP_SYS_ADMIN CAP_SETUID CAP_SETGID CAP_KILL CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_SYS_RESOURCE CAP_PERFMON
NoNewPrivileges=yes
ProtectSystem=full
ProtectHome=yes
ProtectKernelModules=yes
ProtectClock=yes
PrivateTmp=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictRealtime=yes
MemoryDenyWriteExecute=yes
UMask=0077

[Install]
WantedBy=multi-user.target
Also={SOCKET_UNIT}
",
            command.join(" ")
        ))
    }

    fn agent_socket(&self) -> Result<String, String> {
        let socket = absolute(&self.socket)?;
        if socket.chars().any(char::is_whitespace) {
            return Err(format!("`{socket}` has white space"));
        }
        Ok(format!(
            "\
[Unit]
Description=Where container runtimes hand over seccomp listeners

[Socket]
ListenStream={}
# Runtimes are root.
SocketMode=0600
DirectoryMode=0700

[Install]
WantedBy=sockets.target
",
            socket.replace('%', "%%")
        ))
    }

    fn drop_in(&self, command: &str) -> Result<ExitCode, String> {
        let program = command.trim();
        // Prefixes as `-` and `+` stand before the whole command.
        let prefix = program.find(|letter| !"@-:+!|".contains(letter)).unwrap_or(program.len());
        let (prefix, program) = program.split_at(prefix);
        if prefix.contains('@') {
            return Err(
                "a service whose program gets another name (`@`) cannot be started by `ringwarden run`"
                    .into(),
            );
        }
        if !program.starts_with('/') || program.contains(|letter: char| letter.is_control()) {
            return Err(format!(
                "`{command}` is not a command of a service: an absolute path, and arguments, in one line"
            ));
        }
        if self.service_policies.iter().any(|name| name == input::STDIN) {
            return Err("a service reads its policy when it starts: write it to a file".into());
        }
        if let Err(unusable) = layers::load(&self.service_policies, None) {
            unusable.print();
            return Ok(ExitCode::from(UNUSABLE));
        }
        let mut run = vec![absolute(&self.binary)?, "run".to_owned()];
        for name in &self.service_policies {
            run.extend(["-p".to_owned(), policy(name)?]);
        }
        let run: Vec<_> = run.iter().map(|word| quoted(word)).collect();
        let text = format!(
            "\
# Runs the service's program under {}.
[Service]
# In place of its own.
ExecStart=
ExecStart={prefix}{} -- {program}
# The program is a child of the process that systemd has started.
NotifyAccess=all
",
            self.service_policies.join(", "),
            run.join(" ")
        );
        Ok(output::write(self.output.as_deref(), text.as_bytes()))
    }
}

/// A policy as a unit names it: a service's folder is its own.
fn policy(name: &str) -> Result<String, String> {
    if Preset::named(name).is_some() { Ok(name.to_owned()) } else { absolute(Path::new(name)) }
}

fn absolute(path: &Path) -> Result<String, String> {
    let absolute = std::path::absolute(path).map_err(|error| format!("{}: {error}", path.display()))?;
    match absolute.to_str().filter(|text| !text.contains(|letter: char| letter.is_control())) {
        Some(text) => Ok(text.to_owned()),
        None => Err(format!("{} cannot be written in a unit", path.display())),
    }
}

/// A word of a command line (systemd.service(5)).
fn quoted(word: &str) -> String {
    let word = word.replace('%', "%%").replace('$', "$$");
    match word.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_./@%$:+,=".contains(letter)) {
        true => word,
        false => format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\"")),
    }
}
