//! Verdicts on requests and calls, as C sees them.

use crate::abi::{self, Reason};
use crate::enforcement::Enforcement;
use crate::error::Error;
use ringwarden::filter::{
    Context, DeniedBy, Errno, Payload, RawSqe, Refusal, Requests, Rules, UserMemory, Verdict,
};
use ringwarden::policy::{Call, Decision, RuleOrigin};
use ringwarden::uapi::register::USE_REGISTERED_RING;
use ringwarden::uapi::ring::{Params, SetupFlags};
use ringwarden::uapi::{Opcode, RegisterOp};

const ALLOWED: abi::Verdict =
    abi::Verdict { res: 0, reason: Reason::Allowed as u32, rule: abi::Rule::NONE, reserved: [0; 2] };

fn malformed(errno: Errno) -> abi::Verdict {
    abi::Verdict { res: errno.negated(), reason: Reason::Malformed as u32, ..ALLOWED }
}

/// A request of 64 or 128 bytes.
fn request(bytes: &[u8]) -> Result<RawSqe, Error> {
    let wrong = |_| Error::argument("sqe_size", "is neither 64 nor 128");
    match bytes.len() {
        128 => <[u8; 128]>::try_from(bytes).map(RawSqe::from).map_err(wrong),
        _ => <[u8; 64]>::try_from(bytes).map(RawSqe::from).map_err(wrong),
    }
}

impl Enforcement {
    /// What becomes of a request that stands alone in its submission.
    pub(crate) fn judge(&self, sqe: &[u8], memory: &impl UserMemory) -> Result<abi::Verdict, Error> {
        let request = request(sqe)?;
        let filters = self.inner.filters();
        let setup = if request.second().is_some() { SetupFlags::SQE128 } else { SetupFlags::empty() };
        let submitted = Requests::new(filters.model(), setup).submit(&Rules::from(filters), request, memory);
        Ok(match (submitted.refusal, &submitted.shown) {
            (None, _) => ALLOWED,
            (Some(Refusal::Filtered(_)), Some(context)) => self.verdict(context),
            (Some(refusal), _) => malformed(refusal.errno()),
        })
    }

    /// Where the argument is that the verdict on a request depends on, and how long; nothing where the request says
    /// all that matters.
    pub(crate) fn argument(&self, sqe: &[u8]) -> Result<Option<(u64, usize)>, Error> {
        let request = request(sqe)?;
        let sqe = request.sqe();
        let opcode = Opcode(sqe.opcode);
        let place = opcode.argument().filter(|_| self.inner.filters().reads_payload(opcode));
        Ok(place.map(|place| (place.pointer.get(sqe), place.len(sqe))))
    }

    /// What the policies say of a request with that argument.
    pub(crate) fn judge_argument(&self, sqe: &[u8], argument: &[u8]) -> Result<abi::Verdict, Error> {
        let needed = self.argument(sqe)?;
        let request = request(sqe)?;
        let sqe = request.sqe();
        let model = self.inner.filters().model();
        let context = match needed {
            None => Ok(Context::header(model, sqe)),
            // What is behind its end is somebody else's.
            Some((_, length)) => match argument.get(..length) {
                Some(argument) => Context::new(model, sqe, Payload::of(Opcode(sqe.opcode), argument)),
                None => Err(Errno::EFAULT),
            },
        };
        Ok(context.map_or_else(malformed, |context| self.verdict(&context)))
    }

    fn verdict(&self, context: &Context) -> abi::Verdict {
        match self.inner.filters().verdict(context) {
            Verdict::Allow => ALLOWED,
            Verdict::Deny(denial) if denial.by == DeniedBy::UnknownOpcode => malformed(denial.errno()),
            Verdict::Deny(denial) => {
                let origin = self.inner.origin(&denial, context);
                self.refused(denial.errno(), origin.as_ref().map(|origin| (origin.layer, &origin.rule)))
            }
        }
    }

    fn refused(&self, errno: Errno, by: Option<(usize, &RuleOrigin)>) -> abi::Verdict {
        let rule = by.map_or(abi::Rule::NONE, |(layer, rule)| self.rules.view(layer, rule));
        abi::Verdict { res: errno.negated(), reason: Reason::Refused as u32, rule, ..ALLOWED }
    }

    /// What the policies say of a ring.
    pub(crate) fn judge_setup(&self, entries: u32, params: &Params) -> abi::Verdict {
        let Some(origin) = self.inner.setup_origin(entries, params) else { return ALLOWED };
        let denied = self.layers.get(origin.layer).map(|layer| layer.calls().setup.denied);
        let by_flags =
            denied.is_some_and(|denied| denied.intersects(SetupFlags::from_bits_retain(params.flags)));
        let errno = if by_flags { Errno::EPERM } else { Errno::EINVAL };
        self.refused(errno, Some((origin.layer, &origin.rule)))
    }

    /// What the policies say of a register call.
    pub(crate) fn judge_register(&self, opcode: u32) -> abi::Verdict {
        let call = Call::Register(RegisterOp(opcode & !USE_REGISTERED_RING));
        let refusal =
            self.layers.iter().enumerate().find_map(|(layer, policy)| match policy.decide_call(&call) {
                (Decision::Deny, rule) => Some(rule.map(|rule| (layer, rule))),
                (Decision::Allow, _) => None,
            });
        refusal.map_or(ALLOWED, |by| self.refused(Errno::EACCES, by))
    }
}
