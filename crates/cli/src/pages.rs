//! `ringwarden pages`: what packages install beside the program, made from the same source as `--help`.

use crate::{CommandLine, UNUSABLE, style};
use clap::{Args, CommandFactory};
use clap_complete::Shell;
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

/// Write man pages and completions for bash, zsh and fish.
///
/// They are laid out as below /usr/share on Debian.
#[derive(Args)]
pub(crate) struct Pages {
    /// The folder
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

/// Where each shell looks for them, and under which name.
const COMPLETIONS: [(Shell, &str, &str); 3] = [
    (Shell::Bash, "bash-completion/completions", "ringwarden"),
    (Shell::Zsh, "zsh/vendor-completions", "_ringwarden"),
    (Shell::Fish, "fish/vendor_completions.d", "ringwarden.fish"),
];

impl Pages {
    pub(crate) fn execute(self) -> ExitCode {
        match self.write() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                style::fail(format_args!("cannot write below {}: {error}", self.folder.display()), UNUSABLE)
            }
        }
    }

    fn write(&self) -> io::Result<()> {
        let manual = self.folder.join("man/man1");
        fs::create_dir_all(&manual)?;
        clap_mangen::generate_to(CommandLine::command(), manual)?;
        let mut offered = offered(CommandLine::command());
        for (shell, folder, name) in COMPLETIONS {
            let folder = self.folder.join(folder);
            fs::create_dir_all(&folder)?;
            let mut file = File::create(folder.join(name))?;
            clap_complete::generate(shell, &mut offered, "ringwarden", &mut file);
        }
        Ok(())
    }
}

/// What completions offer: generators do not leave hidden subcommands out.
fn offered(command: clap::Command) -> clap::Command {
    let shown = command.get_subcommands().filter(|subcommand| !subcommand.is_hide_set()).cloned();
    clap::Command::new("ringwarden").version(env!("CARGO_PKG_VERSION")).subcommands(shown)
}
