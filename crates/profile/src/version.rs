//! Versions of kernels, as profiles have them.

/// The major and minor number of a kernel version such as `6.10`; `None` if it has another form.
pub fn kernel_version(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once('.')?;
    let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?;
    Some((number(major)?, number(minor)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_versions_are_two_numbers() {
        assert_eq!(kernel_version("4.8"), Some((4, 8)));
        assert_eq!(kernel_version("6.10"), Some((6, 10)));
        for text in ["", "6", "6.", ".8", "6.x", "+6.1", "6.1.2", "6.-1", "99999999999.1"] {
            assert_eq!(kernel_version(text), None, "{text}");
        }
    }
}
