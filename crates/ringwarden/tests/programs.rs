//! Programs that do something with rings that once went wrong under the guard.

mod launch;

use launch::{Stage, finish};

const ALLOW: &str = "version = 1\ndefault = \"allow\"\n";

/// A descriptor that was a ring is a file by now: its mapping is the file's.
#[test]
fn a_file_with_the_number_of_a_closed_ring_is_mapped_as_a_file() {
    for stage in [Stage::new(), Stage::unprivileged()] {
        let mut command = stage.guarded(ALLOW, stage.example("reused_descriptor"));
        command.arg(stage.empty_folder().join("file"));
        let output = finish(command);
        assert!(output.status.success(), "{output:?}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "of the file\n");
    }
}
