//! Where BPF programs could stand in for a ring's wait loop, and be shown its private SQEs, the guard
//! leaves nobody `bpf(2)` (`testprograms/examples/bpf_caller.rs`); elsewhere it is as natively.

mod client;
mod launch;

use client::lines;
use launch::Stage;
use ringwarden::guard::hazards::kernel_has_uring_bpf_ops;

#[test]
fn bpf_is_refused_where_it_would_reach_the_ring() {
    let stage = Stage::new();
    let client = stage.example("bpf_caller");
    let native = lines(stage.native(&client));
    let refused = ["native: 1", "x32: 1", "i386: 1"];
    // The call means nothing, which only whoever may make it is told.
    assert_ne!(native, refused);
    let guarded = lines(stage.guarded("version = 1\ndefault = \"allow\"\n", &client));
    if kernel_has_uring_bpf_ops() {
        assert_eq!(guarded, refused);
    } else {
        assert_eq!(guarded, native);
    }
}
