//! One step of a script.

use crate::entries::{Entries, register_op};
use crate::expect::Expected;
use crate::filter::Filter;
use crate::name::number;
use crate::{Expect, Malformed, Request};
use ringwarden_uapi::ring::SetupFlags;
use ringwarden_uapi::{KernelModel, RegisterOp};

/// Who does what, and what comes of it.
#[derive(Clone, Debug)]
pub struct Step {
    /// The step as the table has it, for messages.
    pub text: String,
    /// The task that acts; the first is called `main`.
    pub by: String,
    /// What it does.
    pub action: Action,
    expected: Expected<Expect>,
}

/// What a task does. Names are of tasks, rings and pipes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Action {
    /// `fork NAME`, `vfork`-like children (`clone_vm NAME`) and threads (`thread NAME`): a new task.
    Spawn {
        /// `fork`, `thread` or `clone_vm`.
        how: String,
        /// The child's name.
        child: String,
    },
    /// `exec`: the task replaces its program by one that goes on with the script.
    Exec,
    /// `drop_privileges`: from root to an ordinary user without `no_new_privs`.
    DropPrivileges,
    /// `no_new_privs`.
    NoNewPrivs,
    /// `unshare_user`: a user namespace of its own, where it has every capability.
    UnshareUser,
    /// `ring NAME [IORING_SETUP_ flags]`.
    Ring {
        /// The ring's name.
        ring: String,
        /// Its set-up flags.
        setup: SetupFlags,
    },
    /// `filter TARGET …`.
    Filter {
        /// Where.
        target: Target,
        /// What.
        filter: Filter,
        /// How often the same.
        times: u32,
    },
    /// `restrict TARGET …`.
    Restrict {
        /// Where.
        target: Target,
        /// What.
        entries: Entries,
    },
    /// `pipe NAME`: makes a pipe.
    Pipe {
        /// The pipe's name.
        pipe: String,
    },
    /// `fill PIPE`: puts a byte into it.
    Fill {
        /// The pipe.
        pipe: String,
    },
    /// `enable RING`.
    Enable {
        /// The ring.
        ring: String,
    },
    /// `register RING OP`: some other register call, of which only counts whether it may be made.
    Register {
        /// The ring.
        ring: String,
        /// The register opcode.
        op: RegisterOp,
    },
    /// `enter RING [min=N] REQUEST, REQUEST…`: puts the requests behind those still queued and submits
    /// all with one call. Requests are numbered from 1 in their `user_data`, across the ring's life.
    Enter {
        /// The ring.
        ring: String,
        /// How many completions the call is to wait for.
        min_complete: u32,
        /// The requests to add.
        requests: Vec<Request>,
    },
    /// `submit RING REQUEST`: one request; the step gives its result.
    Submit {
        /// The ring.
        ring: String,
        /// The request.
        request: Box<Request>,
    },
    /// `complete RING`: waits for all that was submitted.
    Complete {
        /// The ring.
        ring: String,
    },
}

/// What a registration is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The acting task itself, `fd` = -1.
    Task,
    /// A ring.
    Ring(String),
}

impl Step {
    /// What the step gives on that kernel.
    pub fn expect(&self, model: KernelModel) -> &Expect {
        self.expected.of(model)
    }

    /// `[TASK:] ACTION [-> RESULT]`.
    pub(crate) fn parse(text: &str) -> Result<Self, Malformed> {
        let (action, expected) = text.split_once("->").unwrap_or((text, "0"));
        let (by, action) = match action.split_once(": ") {
            Some((by, action)) => (by.trim(), action),
            None => ("main", action),
        };
        let (verb, rest) = action.trim().split_once(' ').unwrap_or((action.trim(), ""));
        Ok(Self {
            text: text.to_owned(),
            by: by.to_owned(),
            action: Action::parse(verb, rest.trim())?,
            expected: Expected::parse(expected, Expect::parse)?,
        })
    }
}

impl Action {
    fn parse(verb: &str, rest: &str) -> Result<Self, Malformed> {
        let (first, more) = rest.split_once(' ').unwrap_or((rest, ""));
        let (name, words) = (first.to_owned(), more.split_whitespace());
        Ok(match verb {
            "fork" | "thread" | "clone_vm" => Self::Spawn { how: verb.to_owned(), child: name },
            "exec" => Self::Exec,
            "drop_privileges" => Self::DropPrivileges,
            "no_new_privs" => Self::NoNewPrivs,
            "unshare_user" => Self::UnshareUser,
            "ring" => Self::Ring {
                ring: name,
                setup: words
                    .map(setup_flag)
                    .try_fold(SetupFlags::empty(), |all, flag| flag.map(|f| all | f))?,
            },
            "filter" => {
                let (filter, times) = Filter::parse(&words.collect::<Vec<_>>())?;
                Self::Filter { target: Target::parse(name), filter, times }
            }
            "restrict" => Self::Restrict { target: Target::parse(name), entries: Entries::parse(words)? },
            "pipe" => Self::Pipe { pipe: name },
            "fill" => Self::Fill { pipe: name },
            "enable" => Self::Enable { ring: name },
            "register" => Self::Register { ring: name, op: register_op(more.trim())? },
            "enter" => {
                let (min_complete, requests) = match more.trim().strip_prefix("min=") {
                    Some(rest) => {
                        let (min, requests) = rest.split_once(' ').unwrap_or((rest, ""));
                        (number(min)? as u32, requests)
                    }
                    None => (0, more),
                };
                let requests = requests.split(',').map(str::trim).filter(|text| !text.is_empty());
                let requests = requests.map(request).collect::<Result<_, _>>()?;
                Self::Enter { ring: name, min_complete, requests }
            }
            "submit" => Self::Submit { ring: name, request: Box::new(request(more)?) },
            "complete" => Self::Complete { ring: name },
            _ => return Err(Malformed::new("an action", verb)),
        })
    }
}

impl Target {
    /// The ring's name, unless it is the task.
    pub fn ring(&self) -> Option<&str> {
        match self {
            Self::Task => None,
            Self::Ring(name) => Some(name),
        }
    }

    fn parse(name: String) -> Self {
        if name == "task" { Self::Task } else { Self::Ring(name) }
    }
}

fn request(text: &str) -> Result<Request, Malformed> {
    text.parse().map_err(Malformed)
}

fn setup_flag(name: &str) -> Result<SetupFlags, Malformed> {
    SetupFlags::from_name(name).ok_or_else(|| Malformed::new("an IORING_SETUP flag", name))
}
