//! What pages say that commands print, of the kernel that was the newest when they were written.

use ringwarden::uapi::KernelModel;

/// The same of the kernel that is the newest now.
pub(crate) fn of_the_newest(text: &str) -> String {
    let newest = format!("kernel {}", KernelModel::default());
    KernelModel::ALL
        .iter()
        .fold(text.to_owned(), |text, model| text.replace(&format!("kernel {model}"), &newest))
}
