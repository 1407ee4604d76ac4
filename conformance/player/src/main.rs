//! See the library of the same package.

fn main() -> anyhow::Result<()> {
    ringwarden_player::main()
}
