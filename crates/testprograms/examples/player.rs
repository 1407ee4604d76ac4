//! The player of the conformance tables (`conformance/player`), built beside the other programs that tests run.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    Ok(ringwarden_player::main()?)
}
