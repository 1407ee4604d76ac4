//! From what filters see back to a request that shows it.

use ringwarden_filter::{Context, KernelModel, Payload, sqe_shown};
use ringwarden_uapi::Opcode;
use ringwarden_uapi::ring::Sqe;

const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;

/// The context with those words, of a request that was put together to show them; `None` if it does not.
pub(crate) fn context(model: KernelModel, words: &[u32]) -> Option<Context> {
    let wide = |low: usize| u64::from(words[low]) | u64::from(words[low + 1]) << 32;
    let [opcode, flags, ..] = words.get(2)?.to_ne_bytes();
    // Flags that its place among others would add, the program may as well set itself. What the guard shows of the
    // SQE says nothing of what others do.
    let mut sqe = Sqe { opcode, flags, user_data: wide(0), ..sqe_shown(words) };
    let bytes: Vec<u8>;
    let payload = match Opcode(opcode) {
        Opcode::SOCKET => {
            sqe.fd = words[4] as i32;
            sqe.off = words[5].into();
            sqe.len = words[6];
            Payload::None
        }
        Opcode::OPENAT => {
            sqe.op_flags = words[4];
            sqe.len = words[6];
            Payload::None
        }
        Opcode::OPENAT2 => {
            bytes = words[4..10].iter().flat_map(|word| word.to_ne_bytes()).collect();
            Payload::OpenHow(&bytes)
        }
        Opcode::CONNECT | Opcode::BIND => {
            bytes = address(&words[4..10]);
            Payload::Sockaddr(&bytes)
        }
        _ => Payload::None,
    };
    let context = Context::new(model, &sqe, payload).ok()?;
    (context.words() == words).then_some(context)
}

/// A `struct sockaddr_in` or `sockaddr_in6` (`include/uapi/linux/in.h`, `in6.h`), or of another family
/// nothing but that, from what CONNECT shows.
fn address(payload: &[u32]) -> Vec<u8> {
    let bytes: Vec<u8> = payload.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let (family, port, address) = (&bytes[..2], &bytes[4..6], &bytes[8..]);
    let zeros = [0; 8];
    match payload[0] {
        AF_INET => [family, port, &address[..4], &zeros].concat(),
        AF_INET6 => [family, port, &zeros[..4], address, &zeros[..4]].concat(),
        _ => family.to_vec(),
    }
}
