//! x
use ringwarden_policy::*;
fn main() {
    let f = std::env::args().nth(1).unwrap();
    let t = std::fs::read_to_string(&f).unwrap();
    match Policy::parse(&t, &f).and_then(|p| compile(&[p], ringwarden_uapi::KernelModel::V7_3)) {
        Err(e) => print!("{}", e.render(std::env::args().nth(2).is_some())),
        Ok(c) => {
            for f in &c.filters {
                println!(
                    "-- {} deny_rest={} strict={} pdu={} {:?}",
                    f.opcode, f.deny_rest, f.strict_size, f.pdu_size, c.origins[f.tag as usize].text
                );
                print!("{}", ringwarden_cbpf::disasm::disassemble(&f.insns));
            }
        }
    }
}
