//! What the help of options says of the kernels that they take.

use ringwarden::Enforcement;
use ringwarden::policy::Policy;
use ringwarden::uapi::KernelModel;

/// Every kernel from that one on, oldest first.
pub(crate) fn since(first: KernelModel) -> String {
    let names = KernelModel::ALL.into_iter().filter(|model| *model >= first).map(|model| model.to_string());
    names.collect::<Vec<_>>().join(", ")
}

/// The first kernel whose own filters hold the policies, if any has them.
pub(crate) fn first_to_hold(policies: &[Policy]) -> Option<KernelModel> {
    let holds =
        |&model: &KernelModel| model >= KernelModel::V7_0 && Enforcement::new(policies, model).is_ok();
    KernelModel::ALL.into_iter().find(holds)
}

/// Help on an option that takes any model.
pub(crate) fn any(what: &str) -> String {
    format!("{what}: {}; or guard", since(KernelModel::Posted))
}

/// The same where rules have a say in what is taken without the option.
pub(crate) fn needed(what: &str) -> String {
    format!("{} [default: {}, or guard where a rule needs it]", any(what), KernelModel::default())
}
