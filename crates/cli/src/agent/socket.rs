//! The socket that runtimes connect to.

use listenfd::ListenFd;
use rustix::fs::Mode;
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::umask;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

/// The one that the service manager has handed over, or a new one at `path`, which only root may connect to.
///
/// # Errors
/// Somebody else listens there already; or what the system says.
pub(super) fn listen(path: Option<&Path>) -> Result<UnixListener, String> {
    let handed = ListenFd::from_env().take_unix_listener(0);
    if let Some(listener) =
        handed.map_err(|error| format!("what LISTEN_FDS hands over is unusable: {error}"))?
    {
        // Workers must not have it: whoever connects would wait for them when the front is gone.
        fcntl_setfd(&listener, FdFlags::CLOEXEC).map_err(|error| error.to_string())?;
        return Ok(listener);
    }
    let path = path.ok_or("no socket was handed over (LISTEN_FDS): name one by `--listen`")?;
    bind(path).map_err(|error| format!("cannot listen at {}: {error}", path.display()))
}

/// A socket at `path` that only root may connect to; one at which nobody listens any more is removed.
pub(super) fn bind(path: &Path) -> io::Result<UnixListener> {
    let private = || {
        let before = umask(Mode::RWXG | Mode::RWXO | Mode::XUSR);
        let bound = UnixListener::bind(path);
        umask(before);
        bound
    };
    match private() {
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            abandoned(path)?;
            std::fs::remove_file(path)?;
            private()
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(io::Error::new(ErrorKind::NotFound, "there is no such folder"))
        }
        bound => bound,
    }
}

/// Whether what is at `path` is a socket at which nobody listens.
///
/// # Errors
/// It is something else, or somebody does.
fn abandoned(path: &Path) -> io::Result<()> {
    let told = |what: &str| Err(io::Error::new(ErrorKind::AddrInUse, what));
    // A connection to what is no socket is refused in the same way.
    if !std::fs::symlink_metadata(path)?.file_type().is_socket() {
        return told("something other than a socket is there already");
    }
    match UnixStream::connect(path) {
        Err(refused) if refused.kind() == ErrorKind::ConnectionRefused => Ok(()),
        _ => told("another process listens there already, such as a second agent"),
    }
}

/// For people.
pub(super) fn name_of(listener: &UnixListener) -> String {
    let address = listener.local_addr().ok();
    let path = address.as_ref().and_then(|address| address.as_pathname());
    path.map_or_else(|| "a socket without a name".into(), |path| path.display().to_string())
}
