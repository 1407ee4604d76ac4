//! The player of the conformance tables (`conformance/player`), as a program of this package for its tests.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    Ok(ringwarden_player::main()?)
}
