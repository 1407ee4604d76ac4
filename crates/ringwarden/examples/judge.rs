//! Judges requests by a policy and names the rule that refuses one. No kernel takes part: this runs on any machine.

use ringwarden::Enforcement;
use ringwarden::filter::{Context, Payload, Verdict};
use ringwarden::policy::Policy;
use ringwarden::uapi::ring::Sqe;
use ringwarden::uapi::{KernelModel, Opcode};
use std::error::Error;
use std::net::{Ipv4Addr, SocketAddrV4};

const POLICY: &str = r#"
version = 1
default = "deny"
[ops]
"@read-write" = "allow"
connect = "family == AF_INET && addr in 10.0.0.0/8 && port == 443"
"#;

fn main() -> Result<(), Box<dyn Error>> {
    for line in judged()? {
        println!("{line}");
    }
    Ok(())
}

/// Some requests, and what becomes of each.
fn judged() -> Result<Vec<String>, Box<dyn Error>> {
    let policy = Policy::parse(POLICY, "client.toml")?;
    let enforcement = Enforcement::new(&[policy], KernelModel::default())?;
    let sqe = |opcode: Opcode| Sqe { opcode: opcode.0, ..Sqe::default() };
    let connect = |port| {
        let bytes = sockaddr(SocketAddrV4::new(Ipv4Addr::new(10, 1, 2, 3), port));
        // Its length is where other operations have an offset.
        (Sqe { off: bytes.len() as u64, ..sqe(Opcode::CONNECT) }, bytes)
    };
    let ((https, its), (http, other)) = (connect(443), connect(80));
    let requests = [
        ("read", sqe(Opcode::READ), Payload::None),
        ("connect 10.1.2.3:443", https, Payload::Sockaddr(&its)),
        ("connect 10.1.2.3:80", http, Payload::Sockaddr(&other)),
        ("unlinkat", sqe(Opcode::UNLINKAT), Payload::None),
    ];
    let judge = |(what, sqe, payload)| {
        // What a filter of that kernel is shown of the request.
        let context = Context::new(KernelModel::default(), &sqe, payload)?;
        let verdict = match enforcement.filters().verdict(&context) {
            Verdict::Allow => "allowed".to_owned(),
            Verdict::Deny(denial) => match enforcement.origin(&denial, &context) {
                Some(origin) => {
                    format!("refused by {}:{}, `{}`", origin.rule.file, origin.rule.line, origin.rule.key)
                }
                None => "refused".to_owned(),
            },
        };
        Ok(format!("{what}: {verdict}"))
    };
    requests.into_iter().map(judge).collect()
}

/// `struct sockaddr_in`.
fn sockaddr(address: SocketAddrV4) -> Vec<u8> {
    const AF_INET: u16 = 2;
    [&AF_INET.to_ne_bytes()[..], &address.port().to_be_bytes(), &address.ip().octets(), &[0; 8]].concat()
}

#[test]
fn each_request_is_judged_by_its_rule() {
    let expected = [
        "read: allowed",
        "connect 10.1.2.3:443: allowed",
        "connect 10.1.2.3:80: refused by client.toml:6, `connect`",
        "unlinkat: refused by client.toml:3, `default`",
    ];
    assert_eq!(judged().expect("a policy"), expected);
}
