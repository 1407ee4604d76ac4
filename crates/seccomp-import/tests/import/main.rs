//! Policies imported from seccomp profiles: nothing passes that the profile denies as a system call.

mod broken;
mod compare;
mod docs;
mod handmade;
mod libseccomp;
mod oracle;
mod random;
mod real;
mod resources;
